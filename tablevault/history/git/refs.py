"""Move refs together: the update of ``main`` is the commit point."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
import pygit2.transaction

from tablevault.errors import TVLockError, reason_of
from tablevault.files.disk import replace_file, sync_file, sync_folder
from tablevault.history.git.repository import Repository
from tablevault.names import MAIN, CommitId

_log = logging.getLogger("tablevault")
_OLD_S = 10.0


class RefMovedError(Exception):
    """A ref is no longer where the plan assumed it: nothing was moved, plan again."""


class PartlyMovedError(Exception):
    """The first ref has moved, so the operation has happened; others have not moved yet."""


class RefBusyError(Exception):
    """Another program holds git's lock on a ref: nothing was moved, try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefMove:
    """Move `ref` from `old` to `new`; None means that it is not there."""

    ref: str
    old: CommitId | None
    new: CommitId | None


def move_refs(repository: Repository, moves: Sequence[RefMove], reason: str) -> None:
    """Move refs together, ``main`` before all others: its update is the commit point.

    Every ref is locked (git's own ``.lock`` files) and compared before the first one moves.
    libgit2 applies one transaction in no particular order, hence two of them.

    Raises
    ------
    RefMovedError
        A ref is not at its `old` commit. Nothing has moved.
    RefBusyError
        Another program holds the lock of a ref. Nothing has moved.
    PartlyMovedError
        ``main`` has moved, the others have not.
    """
    error = _move(repository, moves, reason)
    if error:
        first = next((move for move in moves if move.ref == MAIN), None)
        if first is not None and repository.tip(MAIN) == first.new:
            raise PartlyMovedError(error)
        if _is_busy(error):
            raise RefBusyError(error)
        raise TVLockError(
            f"A git ref cannot be moved: {error}.",
            'Is the disk full, or a branch named "temp" in the way of the vault\'s refs?',
        )
    _sync_refs(repository, moves)


def write_packed_refs(git_dir: Path, targets: Mapping[str, CommitId]) -> None:
    """Write the refs of a new repository that nobody else knows yet, all in one file.

    A file for each takes a block of the disk and a sync. The format is that of git-pack-refs.
    """
    lines = [f"{targets[ref]} {ref}\n" for ref in sorted(targets)]
    text = "".join(["# pack-refs with: peeled fully-peeled sorted \n", *lines])
    replace_file(git_dir / "packed-refs", text.encode("ascii"), durable=True)


def break_locks(git_dir: Path, moving: Mapping[str, str]) -> bool:
    """Remove git's lock files on refs that a crashed process was moving.

    Another program may have taken such a lock since. It is ours if it is empty, for libgit2 fills
    it last, or if it holds the commit to which the process was moving the ref; any other one must
    be old.

    Returns
    -------
    bool
        False if there is a lock that may be another program's.
    """
    free = True
    refs = {
        name: target
        for name, target in moving.items()
        # The note may be damaged: what is no ref is no file of ours.
        if pygit2.reference_is_valid_name(name) and name.startswith("refs/")
    }
    for name, target in (*refs.items(), ("packed-refs", "")):
        lock = git_dir / f"{name}.lock"
        try:
            age_s = time.time() - lock.stat().st_mtime
            content = lock.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if content not in (b"", f"{target}\n".encode()) and age_s < _OLD_S:
            free = False
        else:
            _log.warning("%s was left by a crashed process, and is removed.", lock)
            lock.unlink(missing_ok=True)
    return free


def _move(repository: Repository, moves: Sequence[RefMove], reason: str) -> str:
    """Move refs; give git's error as text, "" when there is none."""
    first = [move for move in moves if move.ref == MAIN]
    rest = [move for move in moves if move.ref != MAIN]
    following, leading = repository.handle.transaction(), repository.handle.transaction()
    try:
        with following, leading:
            for transaction, group in ((leading, first), (following, rest)):
                for move in group:
                    transaction.lock_ref(move.ref)
            _compare(repository, moves)
            # Synced late: whoever loses the race need not wait for it.
            repository.sync_objects()
            for transaction, group in ((leading, first), (following, rest)):
                for move in group:
                    _enter(transaction, move, reason)
    except pygit2.GitError as error:
        # A handle that could not write packed-refs believes that it has (libgit2 1.9).
        repository.drop_handle()
        return str(error) or "no reason given"
    finally:
        # A transaction whose commit failed keeps its locks (pygit2 1.21); this frees it.
        for transaction in (leading, following):
            transaction.__exit__(pygit2.GitError, None, None)
    return ""


def _compare(repository: Repository, moves: Iterable[RefMove]) -> None:
    """Check that every ref is where its move starts."""
    for move in moves:
        if repository.tip(move.ref) != move.old:
            raise RefMovedError(move.ref)


def _sync_refs(repository: Repository, moves: Iterable[RefMove]) -> None:
    """Make moved refs durable; a failure is no reason to believe that they did not move."""
    folders = set()
    for move in moves:
        path = f"{repository.git_dir}/{move.ref}"
        folders.add(path.rpartition("/")[0])
        if move.new is not None:
            try:
                sync_file(path)
            except OSError as error:
                _log.warning(
                    "Ref %s has moved, but may not survive: %s", move.ref, reason_of(error)
                )
    for folder in folders:
        sync_folder(folder)


def _enter(
    transaction: pygit2.transaction.ReferenceTransaction, move: RefMove, reason: str
) -> None:
    """Enter one move into a transaction that holds the lock of its ref."""
    if move.new is None:
        transaction.remove(move.ref)
    else:
        # A path in it may be no UTF-8.
        text = reason.encode("utf-8", "backslashreplace").decode("utf-8")
        transaction.set_target(move.ref, move.new, message=text)


def _is_busy(text: str) -> bool:
    """Return whether another program holds a lock file: libgit2 1.9 looks first, then makes it.

    The loser of a race between these two steps gets the second message.
    """
    return "failed to lock file" in text or (
        "failed to create locked file" in text and os.strerror(errno.EEXIST) in text
    )
