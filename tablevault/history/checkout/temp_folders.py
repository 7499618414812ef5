"""Editable folders of temporary instances below ``temp/``, which mirror their branches."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pygit2

from tablevault.errors import TVFileError
from tablevault.files.disk import matching, replace_file
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.lfs.store import ObjectStore
from tablevault.names import TEMP_DIR, BlobId, CommitId, TempRef, builder_path, temp_of_folder
from tablevault.paths import fault_to_write, is_hidden

_log = logging.getLogger("tablevault")
ARTIFACTS_OF = "Vault-Artifacts-Of"
"""Trailer of a commit on a branch: the artifacts that its author had put there, at that commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What is remembered of a folder; None where that is missing, or its commit is gone."""

    checked_out: CommitId | None = None
    """The commit that the folder was checked out from."""
    adopted: CommitId | None = None
    """The commit that took in what was edited by hand last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _BuilderFiles:
    """The builder files in a folder."""

    texts: Mapping[str, bytes]
    blobs: Mapping[str, BlobId]
    left: tuple[str, ...] = ()
    """Names of files that a crash left half written."""


class TempFolders:
    """Folders ``temp/<table>/<version>/`` with ``builders/`` and ``artifacts/``.

    The branch is the truth. A note in ``.git/tablevault/temp-folders/`` says which commit each
    folder was written from, which tells an edit in the folder from a commit on the branch.
    """

    def __init__(self, repository: Repository, state: Path, store: ObjectStore) -> None:
        self._repository = repository
        self._store = store
        self._root = repository.path
        self._notes = state / "temp-folders"

    def folder(self, temp: TempRef) -> Path:
        """Return the folder of a temporary instance; TVFileError where a link leads elsewhere."""
        self._refuse_links(temp)
        return self._root / temp.folder

    def artifacts(self, temp: TempRef) -> Path:
        """Folder into which functions and people put the artifacts of a temporary instance."""
        return self.folder(temp) / "artifacts"

    def check_out(self, temp: TempRef, tip: CommitId) -> None:
        """Write the builders of the branch into the folder, and remove all others.

        Repeatable: the note is written last. Artifacts stay, unless the instance is another one.
        """
        self._check_out(temp, tip, self._scan(temp))

    def edits(self, temp: TempRef, tip: CommitId) -> list[Edit]:
        """Find builders that were edited, added or removed in the folder.

        Raises
        ------
        TVFileError
            The branch moved, too, since the folder was checked out: names the files.
        """
        found, note = self._scan(temp), self._read_note(temp)
        changed = self._pending(temp, tip, found, note)
        if found is None or not changed:
            return []
        if note.checked_out not in (None, tip):
            raise _both_moved(temp, changed)
        for name in changed:
            _check_name(temp, name)
        return [
            Put(path=builder_path(temp.table, temp.version, name), data=found.texts[name])
            if name in found.texts
            else Remove(path=builder_path(temp.table, temp.version, name))
            for name in changed
        ]

    def note_adopted(self, temp: TempRef, commit: CommitId) -> None:
        """Remember the commit that took in what was edited by hand.

        It counts once the branch or ``main`` has it: then the folder holds nothing new.
        """
        self._write_note(temp, _Note(checked_out=self._read_note(temp).checked_out, adopted=commit))

    def builders(self, temp: TempRef) -> dict[str, bytes]:
        """Return the builder files in the folder, by name, sorted."""
        found = self._scan(temp)
        return {} if found is None else dict(found.texts)

    def is_behind(self, temp: TempRef, tip: CommitId) -> bool:
        """Return whether a folder was checked out from another commit than `tip`, or is gone."""
        return self._read_note(temp).checked_out != tip or not self._builders(temp).is_dir()

    def edited(self, temp: TempRef, tip: CommitId) -> dict[str, bytes | None]:
        """Return the builders that were edited, by name; None where one was removed."""
        found, note = self._scan(temp), self._read_note(temp)
        texts = {} if found is None else found.texts
        return {name: texts.get(name) for name in self._pending(temp, tip, found, note)}

    def remove(self, temp: TempRef) -> None:
        """Remove the folder, then its note: as long as that stands, it is tried again."""
        folder = self.folder(temp)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            _log.warning("%s could not be removed.", temp.folder)
            return
        self._remove_note(temp)
        # Not the parent of all of them, and not a folder that still holds another version.
        with contextlib.suppress(OSError):
            folder.parent.rmdir()

    def sync(self) -> None:
        """Write the folders of new branches, remove those of branches that are gone."""
        tips = self._repository.temps()
        for temp in self._noted() | tips.keys():
            self._follow(temp, tips.get(temp))

    def are_behind(self) -> bool:
        """Return whether :meth:`sync` may have something to do."""
        tips = self._repository.temps()
        return self._noted() != tips.keys() or any(
            self.is_behind(temp, tip) for temp, tip in tips.items()
        )

    def faults(self) -> dict[TempRef, tuple[str, bool]]:
        """Return the folders that are not as they should be: why, and whether it can be repaired.

        An edit by hand is no fault.
        """
        tips, found = self._repository.temps(), {}
        for temp in sorted(self._noted() | tips.keys() | self._on_disk(), key=str):
            tip = tips.get(temp)
            wrong = self._wrong_with(temp, tip) if tip is not None else self._left(temp)
            if wrong[0]:
                found[temp] = wrong
        return found

    def repair(self, temp: TempRef) -> None:
        """Repair one folder that :meth:`faults` has named; take the commit lock before."""
        for name in getattr(self._scan(temp), "left", ()):
            (self._builders(temp) / name).unlink(missing_ok=True)
        self._follow(temp, self._repository.tip(temp.ref))

    def _wrong_with(self, temp: TempRef, tip: CommitId) -> tuple[str, bool]:
        """Return what is wrong with the folder of a branch."""
        found, note = self._scan(temp), self._read_note(temp)
        if found is None:
            return "It is missing.", True
        if found.left:
            return f"{found.left[0]} is half written.", True
        if note.checked_out == tip:
            return "", True
        if not self._pending(temp, tip, found, note):
            return "It was checked out in part, or from another commit of its branch.", True
        if note.checked_out is None:
            return (
                "What it was checked out from is not known, and it differs from its branch.",
                False,
            )
        return "It was edited, while its branch moved, too.", False

    def _left(self, temp: TempRef) -> tuple[str, bool]:
        """Return what is wrong with a folder whose branch is gone."""
        if temp in self._noted():
            return "Its branch is gone.", True
        return "It has files that were edited, but there is no branch for it.", False

    def _on_disk(self) -> set[TempRef]:
        """List the temporary instances that have a folder."""
        folders = matching(self._root / TEMP_DIR, "*/*/builders")
        temp_folders = (
            temp_of_folder(folder.parent.relative_to(self._root).as_posix()) for folder in folders
        )
        return {temp for temp in temp_folders if temp is not None}

    def follow(self, temp: TempRef) -> None:
        """Bring one folder to its branch: check it out, or remove it when the branch is gone."""
        self._follow(temp, self._repository.tip(temp.ref))

    def rename(self, old: TempRef, new: TempRef) -> None:
        """Carry a folder over to a new name with the artifacts in it, and check it out anew.

        Whatever was edited by hand was taken into the branch before it got its new name.
        """
        if self.folder(old).is_dir() and not self.folder(new).exists():
            self.folder(new).parent.mkdir(parents=True, exist_ok=True)
            self.folder(old).rename(self.folder(new))
        tip = self._repository.tip(new.ref)
        if tip is not None:
            self.check_out(new, tip)
        self.remove(old)

    def _follow(self, temp: TempRef, tip: CommitId | None) -> None:
        """Bring one folder to the tip of its branch."""
        if tip is None:
            self._drop(temp)
            return
        note = self._read_note(temp)
        if note.checked_out == tip and self._builders(temp).is_dir():
            return
        found = self._scan(temp)
        if not self._pending(temp, tip, found, note):
            self._check_out(temp, tip, found)

    def _drop(self, temp: TempRef) -> None:
        """Remove the folder of a branch that is gone, unless it has builders not committed yet."""
        found, note = self._scan(temp), self._read_note(temp)
        # A missing builder is no edit: the folder may have been removed in part.
        if found is not None and found.blobs and note.checked_out is not None:
            edited = self._pending(temp, self._repository.main(), found, note)
            if found.blobs.keys() & edited:
                _log.warning(
                    "%s has edits, but its branch is gone: the folder was left as it is.",
                    temp.folder,
                )
                self._remove_note(temp)
                return
        self.remove(temp)

    def _check_out(self, temp: TempRef, tip: CommitId, found: _BuilderFiles | None) -> None:
        """Make of the builders that were `found` those of the branch."""
        folder = self._builders(temp)
        if found is None:
            folder.mkdir(parents=True, exist_ok=True)
        artifacts, checked_out = self.artifacts(temp), self._read_note(temp).checked_out
        if checked_out is not None and self._is_replaced(checked_out, tip):
            # If it crashes here, the note still names the commit before: it is done again.
            shutil.rmtree(artifacts, ignore_errors=True)
        if not artifacts.is_dir():
            artifacts.mkdir(exist_ok=True)
        if checked_out is None:
            self._bring_back_artifacts(temp, tip)
        there = {} if found is None else found.blobs
        wanted = Snapshot(self._repository, tip).builders(temp.table, temp.version)
        for name, blob in wanted.items():
            if there.get(name) != blob:
                replace_file(folder / f"{name}.yaml", self._repository.read_blob(blob))
        gone = [f"{name}.yaml" for name in there if name not in wanted]
        for name in (*gone, *(() if found is None else found.left)):
            (folder / name).unlink(missing_ok=True)
        self._write_note(temp, _Note(checked_out=tip))

    def _is_replaced(self, checked_out: CommitId, tip: CommitId) -> bool:
        """Return whether another instance was created on the branch after a commit."""
        while tip != checked_out:
            commit = self._repository.commit(tip)
            if commit.message.first("Vault-Operation") == "create_instance":
                return True
            if not commit.parents:
                return False
            tip = commit.parents[0]
        return False

    def _bring_back_artifacts(self, temp: TempRef, tip: CommitId) -> None:
        """Copy the artifacts of an instance that was undone to where its author had put them."""
        made = self._repository.commit(tip).message.first(ARTIFACTS_OF)
        if not made:
            return
        try:
            pointers = Snapshot(self._repository, CommitId(made)).artifacts(
                temp.table, temp.version
            )
        except (KeyError, ValueError, TVFileError):
            return  # a branch by plain git may say anything
        for name, pointer in pointers.items():
            path = self.artifacts(temp) / name
            if not path.exists() and self._store.has(pointer):
                path.parent.mkdir(parents=True, exist_ok=True)
                beside = self._builders(temp) / ".artifact.yaml.tmp"
                shutil.copyfile(self._store.file(pointer), beside)
                beside.replace(path)

    def _pending(
        self, temp: TempRef, tip: CommitId, found: _BuilderFiles | None, note: _Note
    ) -> list[str]:
        """Name the builders in the folder that are neither as checked out nor in history already.

        A builder that was adopted by a commit below `tip`, or that is the same in `tip`, is no
        edit any more.
        """
        if found is None:
            # The folder as a whole is gone, or was never checked out (a fresh clone): no edit.
            return []
        known = [note.checked_out or tip, tip]
        if note.adopted is not None and self._repository.is_ancestor(note.adopted, tip):
            known.append(note.adopted)
        texts = [
            Snapshot(self._repository, commit).builders(temp.table, temp.version)
            for commit in dict.fromkeys(known)
        ]
        blobs = found.blobs
        # Without a note the folder may be checked out in part: what is missing tells nothing.
        names = sorted(blobs if note.checked_out is None else blobs.keys() | texts[0].keys())
        return [name for name in names if all(blobs.get(name) != text.get(name) for text in texts)]

    # -- files --------------------------------------------------------------------------------

    def _builders(self, temp: TempRef) -> Path:
        """Folder of the builders of a temporary instance."""
        self._refuse_links(temp)
        return self._root / temp.folder / "builders"

    def _refuse_links(self, temp: TempRef) -> None:
        """Refuse a symbolic link on the way, which any commit may contain."""
        above = f"{TEMP_DIR}/{temp.table}"
        folder = f"{above}/{temp.version}"
        for name in (TEMP_DIR, above, folder, f"{folder}/builders", f"{folder}/artifacts"):
            if (self._root / name).is_symlink():
                raise TVFileError(
                    f'"{name}" is a symbolic link, and a vault follows none that lead out of it.',
                    f"Remove it: git rm --cached {name}; rm {name}",
                    path=name,
                )

    def _scan(self, temp: TempRef) -> _BuilderFiles | None:
        """Read the builder files in the folder; None when there is no folder for them."""
        try:
            entries = sorted(os.scandir(self._builders(temp)), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        texts: dict[str, bytes] = {}
        for entry in entries:
            if _is_builder(entry):
                with contextlib.suppress(FileNotFoundError):
                    texts[entry.name.removesuffix(".yaml")] = Path(entry.path).read_bytes()
        return _BuilderFiles(
            texts=texts,
            blobs={name: BlobId(str(pygit2.hash(data))) for name, data in texts.items()},
            left=tuple(entry.name for entry in entries if _is_left(entry.name)),
        )

    def _noted(self) -> set[TempRef]:
        """List the temporary instances that have a note; another name never becomes a path."""
        temp_folders = (
            temp_of_folder(f"{TEMP_DIR}/{table}/{version}")
            for table, at, version in (name.partition("@") for name in self._note_names())
            if at
        )
        return {temp for temp in temp_folders if temp is not None}

    def _note_names(self) -> list[str]:
        """List the file names of all notes."""
        try:
            return [path.name for path in self._notes.iterdir()]
        except FileNotFoundError:
            return []

    def _read_note(self, temp: TempRef) -> _Note:
        """Read the note; what is torn or damaged counts as missing."""
        try:
            lines = self._note(temp).read_bytes().split(b"\n")
        except OSError:
            return _Note()
        return _Note(checked_out=self._existing(lines, 0), adopted=self._existing(lines, 1))

    def _existing(self, lines: list[bytes], number: int) -> CommitId | None:
        """Return the commit that a line of the note names, if it is there still."""
        try:
            commit = CommitId(lines[number].strip().decode("ascii"))
            return commit if commit and self._repository.has(commit) else None
        except (ValueError, IndexError):
            return None

    def _write_note(self, temp: TempRef, note: _Note) -> None:
        """Write the note: one line for each commit, which may be empty."""
        self._notes.mkdir(parents=True, exist_ok=True)
        replace_file(
            self._note(temp), f"{note.checked_out or ''}\n{note.adopted or ''}\n".encode("ascii")
        )

    def _remove_note(self, temp: TempRef) -> None:
        """Remove a note."""
        self._note(temp).unlink(missing_ok=True)

    def _note(self, temp: TempRef) -> Path:
        """File of the note; there is no "@" in the name of a table."""
        return self._notes / f"{temp.table}@{temp.version}"


def _check_name(temp: TempRef, name: str) -> None:
    """Refuse a builder whose name no other vault would pull."""
    if fault := fault_to_write(builder_path(temp.table, temp.version, name)):
        raise TVFileError(
            f"The builder file {f'{name}.yaml'!r} in {temp.folder}/builders cannot be used: "
            f"{fault}.",
            "Rename the file.",
            builder=ascii(name),
        )


def _both_moved(temp: TempRef, changed: list[str]) -> TVFileError:
    """Make the error for a folder and a branch that went different ways."""
    branch = temp.ref.removeprefix("refs/heads/")
    files = ", ".join(f"{temp.folder}/builders/{name}.yaml" for name in changed)
    return TVFileError(
        f"{files} was edited, while the branch {branch} moved, too.",
        f"Compare with `git show {branch}:{builder_path(temp.table, temp.version, changed[0])}`, "
        "keep your text elsewhere, delete the file, and edit it anew when it is checked out again.",
        table=temp.table,
        version=temp.version,
    )


def _is_builder(entry: os.DirEntry[str]) -> bool:
    """Return whether a name in the folder of builders is a builder file."""
    is_named_so = entry.name.endswith(".yaml") and not is_hidden(entry.name)
    return is_named_so and entry.is_file(follow_symlinks=False)


def _is_left(name: str) -> bool:
    """Return whether a crash left the file half written."""
    return name.startswith(".") and name.endswith(".yaml.tmp")
