"""The editable faces of temporary instances: folders below ``temp/`` that mirror their branches."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

import pygit2

from tablevault.errors import TVFileError
from tablevault.history.repository import Repository
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit, Put, Remove
from tablevault.names import (
    BlobId,
    CommitId,
    TempRef,
    builder_path,
    temp_of_ref,
)

_log = logging.getLogger("tablevault")


class Faces:
    """Folders ``temp/<table>/<version>/`` with ``builders/`` and ``artifacts/``.

    The branch is the truth. A note beside the journal says which commit each face was laid out
    from, so that an edit in the folder and a commit on the branch can be told apart.
    """

    def __init__(self, repository: Repository, state: Path) -> None:
        self._repository = repository
        self._root = repository.path
        self._notes = state / "faces"

    def folder(self, temp: TempRef) -> Path:
        """Folder of the face."""
        return self._root / temp.face

    def artifacts(self, temp: TempRef) -> Path:
        """Folder into which functions and people put the artifacts of a temporary instance."""
        return self.folder(temp) / "artifacts"

    def lay_out(self, temp: TempRef, tip: CommitId) -> None:
        """Write the builders of the branch into the face, and forget what was there of others.

        Repeatable: the note is written last. Artifacts are left alone.
        """
        folder = self.folder(temp) / "builders"
        folder.mkdir(parents=True, exist_ok=True)
        self.artifacts(temp).mkdir(exist_ok=True)
        snapshot = Snapshot(self._repository, tip)
        wanted = snapshot.builders(temp.table, temp.version)
        for name, blob in wanted.items():
            data = self._repository.handle[blob].data
            path = folder / f"{name}.yaml"
            if not path.is_file() or path.read_bytes() != data:
                _write(path, data)
        for name in self.builders(temp):
            if name not in wanted:
                (folder / f"{name}.yaml").unlink()
        note = self._note(temp)
        note.parent.mkdir(parents=True, exist_ok=True)
        _write(note, f"{tip}\n".encode("ascii"))

    def edits(self, temp: TempRef, tip: CommitId) -> list[Edit]:
        """Find builders that were edited, added or removed in the face.

        Raises
        ------
        TVFileError
            The branch moved, too, since the face was laid out: names the files.
        """
        if not (self.folder(temp) / "builders").is_dir():
            # The folder as a whole is gone, or was never laid out (a fresh clone): no edit.
            return []
        base = self._laid(temp)
        found = self.builders(temp)
        tracked = Snapshot(self._repository, base or tip).builders(temp.table, temp.version)
        changed = {
            name
            for name in found.keys() | tracked.keys()
            if (None if name not in found else _blob(found[name])) != tracked.get(name)
        }
        if base not in (None, tip) and changed:
            changed = self._unlike(temp, tip, found, changed)
            if changed:
                raise self._both_moved(temp, changed)
            return []
        return [
            Put(path=builder_path(temp.table, temp.version, name), data=found[name])
            if name in found
            else Remove(path=builder_path(temp.table, temp.version, name))
            for name in sorted(changed)
        ]

    def builders(self, temp: TempRef) -> dict[str, bytes]:
        """Give the builder files in the face."""
        found: dict[str, bytes] = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in sorted(
                os.scandir(self.folder(temp) / "builders"), key=lambda entry: entry.name
            ):
                if entry.name.endswith(".yaml") and entry.is_file(follow_symlinks=False):
                    found[entry.name.removesuffix(".yaml")] = Path(entry.path).read_bytes()
        return found

    def remove(self, temp: TempRef) -> None:
        """Remove the face and its note."""
        shutil.rmtree(self.folder(temp), ignore_errors=True)
        self._note(temp).unlink(missing_ok=True)
        # Not the parent of all faces, and not a folder that still holds another version.
        for folder in (self.folder(temp).parent, self._note(temp).parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def sync(self) -> None:
        """Lay out the faces of new branches, remove those of branches that are gone."""
        tips = {
            temp: tip
            for ref, tip in self._repository.temp_refs().items()
            if (temp := temp_of_ref(ref)) is not None
        }
        for temp in self._noted() - tips.keys():
            self._drop(temp)
        for temp, tip in tips.items():
            if self._laid(temp) != tip and not self._is_edited(temp, tip):
                self.lay_out(temp, tip)

    def _drop(self, temp: TempRef) -> None:
        """Remove the face of a branch that is gone, unless it holds builders nobody committed."""
        base = self._laid(temp)
        if base is not None and self._is_edited(temp, base):
            _log.warning(
                "%s has edits, but its branch is gone: the folder was left as it is.", temp.face
            )
            self._note(temp).unlink(missing_ok=True)
            return
        self.remove(temp)

    def _is_edited(self, temp: TempRef, tip: CommitId) -> bool:
        """Tell whether the face holds builders that its branch does not."""
        try:
            return bool(self.edits(temp, self._laid(temp) or tip))
        except TVFileError:
            return True

    def _unlike(
        self, temp: TempRef, tip: CommitId, found: dict[str, bytes], changed: set[str]
    ) -> set[str]:
        """Keep of `changed` what differs from the new branch tip, too."""
        now = Snapshot(self._repository, tip).builders(temp.table, temp.version)
        return {
            name
            for name in changed
            if (None if name not in found else _blob(found[name])) != now.get(name)
        }

    def _both_moved(self, temp: TempRef, changed: set[str]) -> TVFileError:
        """Make the error for a face and a branch that went different ways."""
        files = ", ".join(f"{temp.face}/builders/{name}.yaml" for name in sorted(changed))
        return TVFileError(
            f"{files} was edited, while the branch {temp.ref.removeprefix('refs/heads/')} moved, "
            "too.",
            f"Compare with `git diff {temp.ref.removeprefix('refs/heads/')}`, keep the text you "
            "want outside the folder, delete the file and copy it back.",
            table=temp.table,
            version=temp.version,
        )

    def _noted(self) -> set[TempRef]:
        """List the faces that have a note."""
        return {
            TempRef(table=path.parent.name, version=path.name)
            for path in self._notes.glob("*/*")
            if not path.name.endswith(".tmp")
        }

    def _laid(self, temp: TempRef) -> CommitId | None:
        """Give the commit that the face was laid out from."""
        try:
            commit = CommitId(self._note(temp).read_text("ascii").strip())
            return commit if self._repository.has(commit) else None
        except (OSError, ValueError):
            return None

    def _note(self, temp: TempRef) -> Path:
        """File with the commit that the face was laid out from."""
        return self._notes / temp.table / temp.version


def _blob(data: bytes) -> BlobId:
    """Git id of the bytes."""
    return BlobId(str(pygit2.hash(data)))


def _write(path: Path, data: bytes) -> None:
    """Write beside, rename."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(data)
    beside.replace(path)


