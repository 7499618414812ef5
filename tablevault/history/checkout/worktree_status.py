"""Compare working tree and git's index with ``main``; find lost content in other files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pygit2

from tablevault.errors import TVFileError, reason_of
from tablevault.files.disk import files_below, hash_file
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.index_file import GitIndex, read_index
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import write_object
from tablevault.lfs.pointer import LONGEST_POINTER, Pointer, decode_pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import CODE_DIR, TABLES_DIR, TEMP_DIR, BlobId, CommitId, ObjectId
from tablevault.paths import is_lfs_path, is_of_instance
from tablevault.problems import Problem, Severity

_LOST = "Nothing is lost: history has it."
"""Advice for content that was found: in a blob of git, or in a sound object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A file as ``main`` has it."""

    path: str
    blob: BlobId
    executable: bool


class Inspection:
    """One look at the working tree, which is to show `commit`."""

    def __init__(self, repository: Repository, store: ObjectStore, commit: CommitId) -> None:
        self._repository = repository
        self._store = store
        self._root = repository.path
        self._snapshot = Snapshot(repository, commit)

    def tracked(self) -> list[Tracked]:
        """List what git tracks, but for links and submodules, which are never checked out."""
        found: list[Tracked] = []
        for top in self._snapshot.entries(""):
            inner = self._snapshot.files(top.name) if top.is_folder else [top]
            found.extend(
                Tracked(
                    path=f"{top.name}/{entry.name}" if top.is_folder else entry.name,
                    blob=BlobId(entry.id),
                    executable=entry.executable,
                )
                for entry in inner
                if not entry.is_link
            )
        return found

    def files(self, *, data: bool) -> Iterator[Problem]:
        """Find files that are missing or not what they should be; `data` reads large ones."""
        index = None
        with contextlib.suppress(TVFileError, OSError):
            index = read_index(self._repository.git_dir / "index")
        for file in self.tracked():
            if file.path.startswith(f"{CODE_DIR}/"):
                continue  # edited, added or removed at will: the next operation commits it
            if index is not None and index.is_skipped(file.path):
                continue  # a sparse checkout
            found = self._look(file, data=data)
            if found is not None:
                yield found

    def index(self) -> Iterator[Problem]:
        """Find differences of git's index; changes staged by hand are reported, not repaired."""
        path = self._repository.git_dir / "index"
        wrong, index = "Git's index is missing, so git takes all files for deleted.", None
        try:
            if path.exists():
                index = read_index(path)
                if not _has_right_checksum(path):
                    wrong, index = "Git's index is damaged: its checksum is wrong.", None
        except TVFileError as error:
            wrong = error.message
        except OSError as error:
            wrong = f"Git's index cannot be read: {error.strerror}."
        if index is not None:
            yield from self._staged(index)
            return
        yield Problem(
            kind="working tree",
            severity="warning",
            where=".git/index",
            text=wrong,
            advice="`git reset` makes it again; nothing but staged changes is lost.",
            repairable=True,
        )

    def _staged(self, index: GitIndex) -> Iterator[Problem]:
        """Find entries that are not those of ``main``."""
        tracked = {file.path: file.blob for file in self.tracked()}
        entries = {os.fsdecode(name) for name, _ in index.entries}
        for path in sorted(tracked.keys() | entries):
            is_ours = path.startswith(f"{TABLES_DIR}/") and not index.is_unmerged(path)
            if is_ours and index.blob(path) != tracked.get(path):
                yield Problem(
                    kind="working tree",
                    severity="note",
                    where=f".git/index:{path}",
                    text="A change of it is staged, which is not on main.",
                    advice=f'Commit it, or `git restore --staged -- "{path}"`.',
                )

    def _look(self, file: Tracked, *, data: bool) -> Problem | None:
        """Look at one file."""
        path = self._root / file.path
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return self._gone(file, "The file is missing.", data=data)
        if not stat.S_ISREG(status.st_mode):
            return self._gone(file, "It is no regular file.", data=data)
        try:
            blob = self._repository.read_blob(file.blob)
            pointer = decode_pointer(blob) if is_lfs_path(file.path) else None
            if pointer is not None and pointer.size:
                return self._large(file.path, pointer, status, data=data)
            if status.st_size == len(blob) and path.read_bytes() == blob:
                return None
        except (OSError, KeyError, pygit2.GitError) as error:
            # The check of git's objects reports a blob that cannot be read.
            return _problem(
                file.path,
                f"It cannot be compared: {reason_of(error)}.",
                "",
                "note",
                repairable=False,
            )
        # An edit by hand is nothing to repair.
        back = f"`git checkout -- {shlex.quote(file.path)}`"
        advice = f"Commit it with git, or take it back with {back}."
        if is_of_instance(file.path):
            advice = f"An instance never changes: {back} takes it back."
        text = "It was edited, and the edit is not committed."
        return _problem(file.path, text, advice, "note", repairable=False)

    def _gone(self, file: Tracked, text: str, *, data: bool) -> Problem:
        """Describe a file that is not there, and where its content is."""
        pointer = None
        with contextlib.suppress(KeyError, pygit2.GitError):
            blob = self._repository.read_blob(file.blob)
            pointer = decode_pointer(blob) if is_lfs_path(file.path) else None
        advice = _LOST if pointer is None else self._where(pointer, data=data)
        return _problem(file.path, text, advice)

    def _where(self, pointer: Pointer, *, data: bool) -> str:
        """Return where the content of a large file is: in its object, if that is sound."""
        if pointer.size == 0:
            return _LOST
        if self._store.stat(pointer.oid) is None:
            return f"Its object {pointer.oid} is not here either."
        try:
            is_sound = (
                self._store.digest(pointer.oid) == pointer.oid if data else self._store.has(pointer)
            )
        except OSError:
            is_sound = False
        return _LOST if is_sound else f"Its object {pointer.oid} is damaged, too."

    def _large(
        self, path: str, pointer: Pointer, status: os.stat_result, *, data: bool
    ) -> Problem | None:
        """Look at the file of a pointer: a link to its object, a copy, or the pointer itself."""
        file = self._root / path
        lying = self._store.stat(pointer.oid)
        is_here = lying is not None and lying.st_size == pointer.size
        if not is_here and _is_pointer(file, status, pointer):
            return None
        is_link = lying is not None and os.path.samestat(lying, status)
        if not is_link and _is_pointer(file, status, pointer):
            # Git wrote it (GIT_LFS_SKIP_SMUDGE), or the object came later.
            text = "It is a pointer, although its object is here."
            return _problem(path, text, self._where(pointer, data=data), "note")
        if not is_link and (
            status.st_size != pointer.size or (data and hash_file(file) != pointer.oid)
        ):
            text, advice = "It is not what was materialized.", self._where(pointer, data=data)
            return _problem(path, text, advice, repairable=is_here)
        if status.st_mode & 0o222:
            return _problem(path, "It can be written to.", "", "note")
        return None


def _has_right_checksum(path: Path) -> bool:
    """Compare git's index with the checksum at its end; it may be left out (index.skipHash)."""
    text = path.read_bytes()
    computed = hashlib.sha1(text[:-20], usedforsecurity=False).digest()
    return text[-20:] in (computed, bytes(20))


def _is_pointer(file: Path, status: os.stat_result, pointer: Pointer) -> bool:
    """Return whether a file holds the text of its pointer."""
    return status.st_size < LONGEST_POINTER and file.read_bytes() == pointer.encode()


def _problem(
    path: str, text: str, advice: str, severity: Severity = "warning", *, repairable: bool = True
) -> Problem:
    """Make a problem of a working file."""
    return Problem(
        kind="working tree",
        severity=severity,
        where=path,
        text=text,
        advice=advice,
        repairable=repairable,
    )


def copies_of(folder: Path, pointer: Pointer) -> Iterator[Path]:
    """Find files below `folder` that hold the very bytes of `pointer`."""
    for path in files_below(folder):
        try:
            status = path.lstat()
            is_candidate = stat.S_ISREG(status.st_mode) and status.st_size == pointer.size
            if is_candidate and ObjectId(hash_file(path)) == pointer.oid:
                yield path
        except OSError:
            continue


_LARGEST_TEXT = 1 << 20


def restore_blobs(repository: Repository, store: ObjectStore, wanted: Collection[str]) -> None:
    """Write those of the `wanted` blobs again whose content lies somewhere in the vault."""
    found = find_blobs(repository, store, wanted)
    handle = pygit2.Repository(str(repository.git_dir))
    for data in found.values():
        write_object(partial(handle.create_blob, data))


def find_blobs(
    repository: Repository, store: ObjectStore, wanted: Collection[str]
) -> dict[str, bytes]:
    """Return the content of those of the `wanted` blobs that lies somewhere in the vault."""
    if not wanted:
        return {}
    found = ((str(pygit2.hash(data)), data) for data in _candidates(repository.path, store))
    return {name: data for name, data in found if name in wanted}


def _candidates(root: Path, store: ObjectStore) -> Iterator[bytes]:
    """Return the content of small working files, and the pointer of every object."""
    for oid, status in store.every():
        yield Pointer(oid=oid, size=status.st_size).encode()
    yield b""
    for folder in (root, root / TEMP_DIR):
        for path in folder.rglob("*"):
            if ".git" in path.relative_to(root).parts:
                continue
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size < max(_LARGEST_TEXT, LONGEST_POINTER):
                    yield path.read_bytes()
