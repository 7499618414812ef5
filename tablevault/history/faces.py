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
            data = self._repository.read_blob(blob)
            path = folder / f"{name}.yaml"
            if not path.is_file() or path.read_bytes() != data:
                _write(path, data)
        for name in self.builders(temp):
            if name not in wanted:
                (folder / f"{name}.yaml").unlink()
        for left in folder.glob(".*.yaml.tmp"):
            left.unlink()
        self._write_note(temp, tip)

    def edits(self, temp: TempRef, tip: CommitId) -> list[Edit]:
        """Find builders that were edited, added or removed in the face.

        Raises
        ------
        TVFileError
            The branch moved, too, since the face was laid out: names the files.
        """
        found = self.builders(temp)
        changed = self._pending(temp, tip, found)
        if changed and self._laid(temp) not in (None, tip):
            raise _both_moved(temp, changed)
        return [
            Put(path=builder_path(temp.table, temp.version, name), data=found[name])
            if name in found
            else Remove(path=builder_path(temp.table, temp.version, name))
            for name in changed
        ]

    def note_adopted(self, temp: TempRef, commit: CommitId) -> None:
        """Remember the commit that took in what was edited by hand.

        It counts once the branch or ``main`` has it: then the face holds nothing new.
        """
        self._write_note(temp, self._laid(temp), commit)

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
        """Remove the face, then its note: as long as that stands, it is tried again."""
        shutil.rmtree(self.folder(temp), ignore_errors=True)
        if self.folder(temp).exists():
            _log.warning("%s could not be removed.", temp.face)
            return
        for note in (_beside(self._note(temp)), self._note(temp)):
            note.unlink(missing_ok=True)
        # Not the parent of all faces, and not a folder that still holds another version.
        for folder in (self.folder(temp).parent, self._note(temp).parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def sync(self) -> None:
        """Lay out the faces of new branches, remove those of branches that are gone."""
        tips = self._tips()
        for temp in self._noted() | tips.keys():
            self._follow(temp, tips.get(temp))

    def are_behind(self) -> bool:
        """Tell whether :meth:`sync` may have something to do."""
        tips = self._tips()
        return self._noted() != tips.keys() or any(
            self._is_behind(temp, tip) for temp, tip in tips.items()
        )

    def _is_behind(self, temp: TempRef, tip: CommitId) -> bool:
        """Tell whether a face was laid out from another commit, or is gone."""
        return self._laid(temp) != tip or not (self.folder(temp) / "builders").is_dir()

    def _tips(self) -> dict[TempRef, CommitId]:
        """Give the tips of the branches of temporary instances."""
        return {
            temp: tip
            for ref, tip in self._repository.temp_refs().items()
            if (temp := temp_of_ref(ref)) is not None
        }

    def follow(self, temp: TempRef) -> None:
        """Bring one face to its branch: lay it out, or remove it when the branch is gone."""
        self._follow(temp, self._repository.tip(temp.ref))

    def rename(self, old: TempRef, new: TempRef) -> None:
        """Carry a face over to a new name with the artifacts in it, and lay it out anew.

        Whatever was edited by hand was taken into the branch before it got its new name.
        """
        if self.folder(old).is_dir() and not self.folder(new).exists():
            self.folder(new).parent.mkdir(parents=True, exist_ok=True)
            self.folder(old).rename(self.folder(new))
        tip = self._repository.tip(new.ref)
        if tip is not None:
            self.lay_out(new, tip)
        self.remove(old)

    def _follow(self, temp: TempRef, tip: CommitId | None) -> None:
        """Bring one face to the tip of its branch."""
        if tip is None:
            self._drop(temp)
        elif self._is_behind(temp, tip) and not self._pending(temp, tip, self.builders(temp)):
            self.lay_out(temp, tip)

    def _drop(self, temp: TempRef) -> None:
        """Remove the face of a branch that is gone, unless it holds builders nobody committed."""
        found = self.builders(temp)
        # A builder that is missing is none: the face was perhaps removed in part.
        edited = found.keys() & self._pending(temp, self._repository.main(), found)
        if edited and self._laid(temp) is not None:
            _log.warning(
                "%s has edits, but its branch is gone: the folder was left as it is.", temp.face
            )
            self._note(temp).unlink(missing_ok=True)
            return
        self.remove(temp)

    def _pending(self, temp: TempRef, tip: CommitId, found: dict[str, bytes]) -> list[str]:
        """Name the builders in the face that are neither as laid out nor in history already.

        A builder that was adopted by a commit below `tip`, or that is the same in `tip`, is no
        edit any more.
        """
        if not (self.folder(temp) / "builders").is_dir():
            # The folder as a whole is gone, or was never laid out (a fresh clone): no edit.
            return []
        laid, adopted = self._laid(temp), self._adopted(temp)
        known = [laid or tip, tip]
        if adopted is not None and self._repository.is_ancestor(adopted, tip):
            known.append(adopted)
        texts = [
            Snapshot(self._repository, commit).builders(temp.table, temp.version)
            for commit in dict.fromkeys(known)
        ]
        blobs = {name: _blob(data) for name, data in found.items()}
        # Without a note the face may have been laid out in part: what is missing tells nothing.
        names = sorted(blobs if laid is None else blobs.keys() | texts[0].keys())
        return [name for name in names if all(blobs.get(name) != text.get(name) for text in texts)]

    def _noted(self) -> set[TempRef]:
        """List the faces that have a note."""
        return {
            TempRef(table=path.parent.name, version=path.name)
            for path in self._notes.glob("*/*")
            if not path.name.startswith(".")  # half written; a version may end in ".tmp"
        }

    def _laid(self, temp: TempRef) -> CommitId | None:
        """Give the commit that the face was laid out from."""
        return self._noted_commit(temp, 0)

    def _adopted(self, temp: TempRef) -> CommitId | None:
        """Give the commit that took in what was edited by hand last."""
        return self._noted_commit(temp, 1)

    def _noted_commit(self, temp: TempRef, line: int) -> CommitId | None:
        """Read one line of the note; None when it is missing or its commit is gone."""
        try:
            commit = CommitId(self._note(temp).read_text("ascii").split("\n")[line])
            return commit if commit and self._repository.has(commit) else None
        except (OSError, ValueError, IndexError):
            return None

    def _write_note(
        self, temp: TempRef, laid: CommitId | None, adopted: CommitId | None = None
    ) -> None:
        """Write the note: the commit laid out, and the one that adopted edits."""
        note = self._note(temp)
        note.parent.mkdir(parents=True, exist_ok=True)
        _write(note, f"{laid or ''}\n{adopted or ''}\n".encode("ascii"))

    def _note(self, temp: TempRef) -> Path:
        """File with the commit that the face was laid out from."""
        return self._notes / temp.table / temp.version


def _both_moved(temp: TempRef, changed: list[str]) -> TVFileError:
    """Make the error for a face and a branch that went different ways."""
    branch = temp.ref.removeprefix("refs/heads/")
    files = ", ".join(f"{temp.face}/builders/{name}.yaml" for name in changed)
    return TVFileError(
        f"{files} was edited, while the branch {branch} moved, too.",
        f"Compare with `git show {branch}:{builder_path(temp.table, temp.version, changed[0])}`, "
        "keep your text elsewhere, delete the file, and edit it anew when it is laid out again.",
        table=temp.table,
        version=temp.version,
    )


def _blob(data: bytes) -> BlobId:
    """Git id of the bytes."""
    return BlobId(str(pygit2.hash(data)))


def _write(path: Path, data: bytes) -> None:
    """Write beside, rename; one process at a time works on a face."""
    beside = _beside(path)
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    """Name under which a file is written."""
    return path.with_name(f".{path.name}.tmp")
