"""Keep working files and git's index at ``main``, and leave alone what people edited."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pygit2
from pygit2.enums import DeltaStatus, FileMode

from tablevault.errors import TVFileError
from tablevault.files.disk import files_below, hash_file, replace_file
from tablevault.files.links import replace_link
from tablevault.history.checkout.hand_edits import CodeFolder, InstanceBuilders
from tablevault.history.commits.change import BY_HAND
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.index_file import (
    GitIndex,
    GitIndexBusyError,
    free,
    is_left_locked,
    read_index,
)
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit
from tablevault.lfs.pointer import LONGEST_POINTER, Pointer, decode_pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ARRIVED, CODE_DIR, CommitId, ObjectId
from tablevault.paths import is_lfs_path, is_plain_path

_log = logging.getLogger("tablevault")
_BUSY_TRIES = 20
_WRITE = 0o222
_FARTHEST = 1000
_BUSY_WAIT_S = 0.05
_UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
_REGULAR = (int(FileMode.BLOB), int(FileMode.BLOB_EXECUTABLE))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delta:
    """One path that differs between two commits."""

    path: str
    old: str | None
    new: str | None
    executable: bool


class WorkTree:
    """Everything here can be checked out again from the commit; nothing here is truth."""

    def __init__(self, repository: Repository, store: ObjectStore, state: Path) -> None:
        self._repository = repository
        self._store = store
        self._root = repository.path
        self._checked_out = state / "checked-out"
        self._beside = state / "checking-out"
        self._arrived = state / ARRIVED
        self._artifacts = state / "artifacts"
        self.code = CodeFolder(self._root)
        self.instance_builders = InstanceBuilders(self._root)

    def follows_main(self) -> bool:
        """Return whether the working tree shows ``main`` and the user is not amid a merge."""
        git = self._repository.git_dir
        return self._repository.head_is_main() and not any(
            os.path.lexists(f"{git}/{name}") for name in _UNFINISHED
        )

    def refresh(self, target: CommitId) -> None:
        """Bring working files and git's index from the commit checked out last to `target`.

        Take the commit lock before. After a crash, the next call does the rest: the note of what is
        checked out is written last. A file that is neither the old nor the new one was edited by
        hand and stays.
        """
        checked_out = self.checked_out()
        if checked_out == target or not self._repository.head_is_main():
            return
        if checked_out is not None and not os.path.lexists(self._repository.git_dir / "index"):
            # Without one, git takes every file for removed, and so would the next `git commit`.
            self._apply(self._deltas(None, checked_out))
        for commit in (*self._adopted(checked_out, target), target):
            # An index that was left behind would make the next `git commit` undo what it lacks:
            # the note is not written, so that the next refresh brings it up to date.
            if not self._apply(self._deltas(checked_out, commit)):
                return
            replace_file(self._checked_out, f"{commit}\n".encode("ascii"))
            checked_out = commit

    def check_out_objects(self, target: CommitId) -> None:
        """Check out the files of objects that have come since `target` was checked out.

        Take the commit lock before.
        """
        if self.checked_out() != target or not self._repository.head_is_main():
            return
        self._apply(self._unchanged(target, self._is_fetched_pointer), replaces_pointers=True)

    def _unchanged(self, target: CommitId, is_wanted: Callable[[_Delta], bool]) -> list[_Delta]:
        """Return those large files of `target` that are wanted, to be written once more."""
        every = (replace(each, old=each.new) for each in self._deltas(None, target))
        return [each for each in every if each.new and is_lfs_path(each.path) and is_wanted(each)]

    def has_arrivals(self) -> bool:
        """Return whether objects have come that were read, and whose files are still pointers."""
        return os.path.lexists(self._arrived) and self._repository.head_is_main()

    def check_out_fetched(self, target: CommitId) -> None:
        """Check out the files of objects that have come since; take the commit lock before."""
        if self.has_arrivals() and self.checked_out() == target:
            # What comes meanwhile leaves its note anew.
            self._arrived.unlink()
            self.check_out_objects(target)

    def has_unsafe_links(self) -> bool:
        """Return whether working files may be hard links through which we would change objects."""
        return self._store.has_unsafe_links() and self._repository.head_is_main()

    def replace_links(self, target: CommitId) -> None:
        """Replace working files that are hard links to objects by copies of these.

        Take the commit lock before.
        """
        if not self.has_unsafe_links() or self.checked_out() != target:
            return
        with self._store.links_replaced():
            self._apply(self._unchanged(target, self._is_link), replaces_pointers=True)
            for path in files_below(self._artifacts):
                if path.lstat().st_nlink > 1:
                    replace_link(path)

    def _is_link(self, delta: _Delta) -> bool:
        """Return whether a working file is a hard link to its object, and that is sound."""
        path = self._root / delta.path
        status = _stat(path)
        if status is None or status.st_nlink == 1 or not self._is_reachable(path):
            return False
        pointer = None if delta.new is None else self._pointer(delta.new)
        if pointer is None or not self._store.is_sound(pointer):
            return False
        lying = self._store.stat(pointer.oid)
        return lying is not None and os.path.samestat(lying, status)

    def _replace_pointer(self, delta: _Delta, _: GitIndex) -> os.stat_result | None:
        """Put the file in the place of its pointer."""
        path = self._root / delta.path
        self._write(path, delta)
        return _stat(path)

    def _is_fetched_pointer(self, delta: _Delta) -> bool:
        """Return whether a working file is the pointer itself, though its object is here."""
        path = self._root / delta.path
        status = _stat(path)
        if status is None or status.st_size >= LONGEST_POINTER or not self._is_reachable(path):
            return False
        pointer = decode_pointer(path.read_bytes()) if stat.S_ISREG(status.st_mode) else None
        return pointer is not None and pointer.size > 0 and self._store.has(pointer)

    def _adopted(self, checked_out: CommitId | None, target: CommitId) -> list[CommitId]:
        """List the commits since `checked_out` that took in what was edited by hand, oldest first.

        The working tree holds just that, so it is checked out: else it would pass for an edit that
        nobody has committed, outlast the operation, and take that back with the next one.
        """
        found: list[CommitId] = []
        at = target
        for _ in range(_FARTHEST):
            commit = self._repository.commit(at)
            if at == checked_out or not commit.parents:
                break
            if commit.message.first("Vault-Operation") == BY_HAND:
                found.append(at)
            at = commit.parents[0]
        return found[::-1] if at == checked_out else []

    def check_out_files(self, files: Mapping[str, tuple[str, bool]]) -> None:
        """Check out single files of ``main`` where nothing stands any more, and stage them.

        Take the commit lock before. `files` gives the blob of each path, and whether it may be
        run.
        """
        self._apply(
            [
                _Delta(path=path, old=blob, new=blob, executable=executable)
                for path, (blob, executable) in sorted(files.items())
            ]
        )

    def restage(self, files: Mapping[str, tuple[str, bool]]) -> None:
        """Make git's index anew from the files of ``main``; take the commit lock before.

        No working file is touched: what differs shows as an edit.
        """
        index = GitIndex({})
        for path, (blob, executable) in files.items():
            delta = _Delta(path=path, old=blob, new=blob, executable=executable)
            file = self._root / path
            current = self._current(delta, index, file) if self._is_reachable(file) else None
            status = _stat(file) if current == blob else None
            index.put(path, blob, status, executable=executable)
        index.write(self._repository.git_dir / "index")

    def is_behind(self, target: CommitId) -> bool:
        """Return whether :meth:`refresh` has something to do."""
        # Amid a merge, too: it becomes a commit of what git's index holds then, and would take
        # back whatever the index lacks. What the merge itself changed is left alone.
        return self.checked_out() != target and self._repository.head_is_main()

    def is_left_locked(self) -> bool:
        """Return whether git's index is being written, or a crash interrupted that."""
        return is_left_locked(self._repository.git_dir / "index")

    def free(self) -> None:
        """Remove the lock that a crash left on git's index; take the commit lock before."""
        free(self._repository.git_dir / "index")

    def checked_out(self) -> CommitId | None:
        """Return the commit that was checked out last, None when that is not known."""
        try:
            text = self._checked_out.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        commit = CommitId(text)
        try:
            return commit if self._repository.has(commit) else None
        except ValueError:
            return None

    def code_edits(self, snapshot: Snapshot) -> list[Edit]:
        """Find code modules that were edited, added or removed by hand; refresh before."""
        edits = self.code.edits(snapshot.code_modules()) if self.follows_main() else []
        if not edits:
            return []
        index = self._index_or_none(self._repository.git_dir / "index") or GitIndex({})
        return [
            edit
            for edit in edits
            if not (index.is_unmerged(edit.path) or index.is_skipped(edit.path))
        ]

    def _deltas(self, old: CommitId | None, new: CommitId) -> list[_Delta]:
        """List the regular files that differ; links and submodules are never checked out."""
        if old is not None and self._have_one_tree(old, new):
            return []
        deltas = []
        for delta in self._diff(old, new).deltas:
            before, after = delta.old_file, delta.new_file
            # Names that are no UTF-8: pygit2 1.19 cannot tell them as text.
            path = (after.raw_path or before.raw_path).decode("utf-8", "surrogateescape")
            if not is_plain_path(path):
                continue
            was = delta.status != DeltaStatus.ADDED and before.mode in _REGULAR
            stays = delta.status != DeltaStatus.DELETED and after.mode in _REGULAR
            deltas.append(
                _Delta(
                    path=path,
                    old=str(before.id) if was else None,
                    new=str(after.id) if stays else None,
                    executable=after.mode == FileMode.BLOB_EXECUTABLE,
                )
            )
        # Removals first: a folder may become a file, and the other way round.
        return sorted(deltas, key=lambda delta: (delta.new is not None, delta.path))

    def _have_one_tree(self, old: CommitId, new: CommitId) -> bool:
        """Return whether two commits hold the same, as when only history is added to."""
        handle = self._repository.handle
        with contextlib.suppress(KeyError, pygit2.GitError):
            return bool(handle[old].tree.id == handle[new].tree.id)
        return False

    def _diff(self, old: CommitId | None, new: CommitId) -> pygit2.Diff:
        """Compare two commits; everything is new where `old` is unknown or pruned meanwhile."""
        handle = self._repository.handle
        tree = handle[new].tree
        if old is not None:
            with contextlib.suppress(KeyError, pygit2.GitError):
                return handle[old].tree.diff_to_tree(tree, context_lines=0)
        return tree.diff_to_tree(swap=True, context_lines=0)

    def _apply(self, deltas: list[_Delta], *, replaces_pointers: bool = False) -> bool:
        """Change working files, then git's index; False when that stays busy for too long."""
        if not deltas:
            return True
        path = self._repository.git_dir / "index"
        index = self._index_or_none(path)
        known = index if index is not None else GitIndex({})
        change = self._replace_pointer if replaces_pointers else self._change
        states = {delta.path: change(delta, known) for delta in deltas}
        for attempt in range(_BUSY_TRIES):
            if index is None:
                return True
            for delta in deltas:
                self._stage(index, delta, states[delta.path])
            try:
                index.write(path)
            except GitIndexBusyError:
                time.sleep(_BUSY_WAIT_S * (attempt > 0))
                index = self._index_or_none(path)
                continue
            return True
        _log.warning("Git's index is locked by another program; `git status` is behind.")
        return False

    def _index_or_none(self, path: Path) -> GitIndex | None:
        """Read git's index; None, with a warning, when it is of a kind we cannot write."""
        try:
            return read_index(path)
        except TVFileError as error:
            _log.warning("%s", error)
            return None

    def _change(self, delta: _Delta, index: GitIndex) -> os.stat_result | None:
        """Bring one working file up to date; give its stat when it holds the new content."""
        path = self._root / delta.path
        current = self._current(delta, index, path) if self._is_reachable(path) else ""
        status = _stat(path)
        if current == delta.new and _has_mode(status, delta):
            return self._protected(path, delta, status)
        # Files come before the index: where that is new already, git itself has checked it out,
        # by a checkout say, and whatever the file is now came after.
        is_later = bool(index.entries) and index.blob(delta.path) == delta.new != current
        # A file staged as removed, but unchanged on disk, holds no edit.
        is_later &= not (delta.new is None and current == delta.old)
        if current not in (None, delta.old, delta.new) or (current is not None and is_later):
            if delta.old == delta.new or is_later:
                _log.info("%s was edited by hand and is left as it is.", delta.path)
            else:
                _log.warning(
                    "%s was edited by hand, and main has changed it, too: the edit stays. "
                    "See the difference: git diff HEAD -- %s",
                    delta.path,
                    delta.path,
                )
            return None
        if delta.new is None:
            path.unlink(missing_ok=True)
            self._prune(path.parent)
            return None
        self._write(path, delta)
        return _stat(path)

    def _protected(
        self, path: Path, delta: _Delta, status: os.stat_result | None
    ) -> os.stat_result | None:
        """Take the right to write from a large file that git-lfs has checked out, as by a clone."""
        if status is None or delta.new is None or not is_lfs_path(delta.path):
            return status
        pointer = self._pointer(delta.new)
        if pointer is None or status.st_size != pointer.size or not status.st_mode & _WRITE:
            return status
        path.chmod(stat.S_IMODE(status.st_mode) & ~_WRITE)
        return _stat(path)

    def _is_reachable(self, path: Path) -> bool:
        """Return whether only real folders lead to `path`: what lies behind a link is not ours."""
        for folder in path.relative_to(self._root).parents[:-1]:
            status = _stat(self._root / folder)
            if status is not None and not stat.S_ISDIR(status.st_mode):
                return False
        return True

    def _current(self, delta: _Delta, index: GitIndex, path: Path) -> str | None:
        """Return the git id of the working file, None when it is not there."""
        status = _stat(path)
        if status is None:
            return None
        if index.is_fresh(delta.path, status):
            return index.blob(delta.path)
        if path.is_symlink() or not path.is_file():
            return ""
        if not is_lfs_path(delta.path):
            return str(pygit2.hash(path.read_bytes()))
        return self._current_pointer(delta, path, status.st_size)

    def _current_pointer(self, delta: _Delta, path: Path, size: int) -> str:
        """Return the git id of the pointer to a large working file, hashing it as a last resort."""
        for blob in (delta.new, delta.old):
            pointer = None if blob is None else self._pointer(blob)
            if pointer is not None and self._store.is_object(path, pointer.oid):
                return str(blob)
        if size < 1024 and decode_pointer(data := path.read_bytes()) is not None:  # noqa: PLR2004 - a pointer is smaller
            return str(pygit2.hash(data))
        oid = ObjectId(hash_file(path))
        return str(pygit2.hash(Pointer(oid=oid, size=size).encode()))

    def _write(self, path: Path, delta: _Delta) -> None:
        """Check one file out: the real file for a pointer whose object is here, else the blob."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._write_beside(path, delta, self._beside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # ".git" is a link to another disk.
            self._write_beside(path, delta, path.with_name(f".{os.urandom(4).hex()}.tmp"))

    def _write_beside(self, path: Path, delta: _Delta, beside: Path) -> None:
        """Write a file under the name `beside`, and rename it."""
        assert delta.new is not None
        pointer = self._pointer(delta.new) if is_lfs_path(delta.path) else None
        if pointer is not None and pointer.size and self._store.has(pointer):
            self._store.check_out(pointer, path, executable=delta.executable, beside=beside)
            return
        beside.unlink(missing_ok=True)
        mode = 0o777 if delta.executable else 0o666
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(self._repository.read_blob(delta.new))
        beside.replace(path)

    def _pointer(self, blob: str) -> Pointer | None:
        """Decode the pointer in a blob."""
        return decode_pointer(self._repository.read_blob(blob))

    def _stage(self, index: GitIndex, delta: _Delta, status: os.stat_result | None) -> None:
        """Bring one index entry up to date, unless the user staged something else."""
        staged = index.blob(delta.path)
        if staged not in (delta.old, delta.new) or index.is_unmerged(delta.path):
            return
        if delta.new is None:
            index.remove(delta.path)
        else:
            index.put(delta.path, delta.new, status, executable=delta.executable)

    def _prune(self, folder: Path) -> None:
        """Remove folders that became empty, as git does."""
        while folder not in (self._root, self._root / CODE_DIR):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _stat(path: Path) -> os.stat_result | None:
    """Stat of the name itself, None when there is nothing."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _has_mode(status: os.stat_result | None, delta: _Delta) -> bool:
    """Return whether a file may be run if and only if it should."""
    return status is None or bool(status.st_mode & stat.S_IXUSR) == delta.executable
