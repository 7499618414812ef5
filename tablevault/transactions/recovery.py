"""Crash recovery: roll an operation forward if its commit reached ``main``, otherwise back."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from pathlib import Path

from tablevault.errors import TVFileError, TVLockError, TVProcessError, reason_of
from tablevault.files.disk import Quarantine, entries_of, matching
from tablevault.history.commits.change import Change
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.refs import RefBusyError, RefMove, RefMovedError
from tablevault.history.git.repack import stale_files
from tablevault.names import ObjectId, ProcessId, TempRef, frame_path, record_file, temp_of_ref
from tablevault.transactions.claims import descendants
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import DIED, STOPPED, Record

_log = logging.getLogger("tablevault")


def catch_up(parts: VaultParts) -> None:
    """Bring working tree and temporary folders to the refs; take the commit lock before."""
    parts.worktree.free()
    main = parts.repository.main()
    parts.worktree.refresh(main)
    parts.worktree.check_out_fetched(main)
    parts.worktree.replace_links(main)
    parts.temp_folders.sync()


def follow(parts: VaultParts, change: Change) -> None:
    """Bring the working tree, and the temporary folders that `change` touched, up to date."""
    main = parts.repository.main()
    parts.worktree.refresh(main)
    parts.worktree.replace_links(main)
    for branch in change.branches:
        if branch.renamed_from is not None:
            parts.temp_folders.rename(branch.renamed_from, branch.temp)
        else:
            parts.temp_folders.follow(branch.temp)
    for removed in change.removed:
        parts.temp_folders.follow(removed.temp)


def recover(parts: VaultParts) -> None:
    """Finish operations that crashed after their commit; called when a vault is opened.

    A vault that may only be read stays as it is.

    One that crashed before its commit keeps its record: it is resumed under its id, or rolled
    back by the first process that needs what it holds.
    """
    if not os.access(parts.state, os.W_OK):
        return
    if any(True for _ in parts.files.every()):
        with parts.files.mutex():
            crashed = {
                record.process_id: record
                for each in parts.files.every()
                if (record := parts.files.left(each.process_id)) is not None
            }
            ended = parts.index.ended(crashed)
            for record in [each for each in crashed.values() if each.process_id in ended]:
                roll_forward(parts, record)
    if parts.files.strays():
        with parts.files.mutex():
            parts.files.sweep()
    # Mostly there is nothing to do, and then no lock is taken.
    if (
        parts.worktree.is_left_locked()
        or parts.worktree.is_behind(parts.repository.main())
        or parts.temp_folders.are_behind()
        or parts.worktree.has_arrivals()
        or parts.worktree.has_unsafe_links()
    ):
        with parts.commit_lock():
            catch_up(parts)


def roll_forward(parts: VaultParts, record: Record) -> bool:
    """Make the remaining ref moves of an operation that has happened, and end it.

    Take the mutex of the records before. What it was to stop ends with it.

    Returns
    -------
    bool
        False when the operation has not happened: no commit in history names its process.
    """
    with parts.commit_lock():
        if parts.index.process(record.process_id) is None:
            return False
        complete = finish_moves(parts, record)
        for old, new in _renamed_temps(record.moves):
            parts.temp_folders.rename(old, new)
        catch_up(parts)
    if complete:
        stopped = record.plan.get("stops")
        if stopped:
            end_stopped(parts, ProcessId(str(stopped)))
        if not (stopped and parts.files.read(ProcessId(str(stopped)))):
            _end(parts, record)
    return True


def end_stopped(parts: VaultParts, process_id: ProcessId) -> bool:
    """Take back a process that was stopped, with what was started within it, deepest first.

    Take the mutex of the records before.

    Returns
    -------
    bool
        False when it has ended already, because it has happened or by itself.
    """
    target = parts.files.read(process_id)
    if target is None or roll_forward(parts, target):
        return False
    for each in (*descendants(parts.files, process_id), target):
        record = parts.files.left(each.process_id)
        if record is None:
            continue  # begun a moment ago, and no child any more; or ended by itself
        if record.plan.get("stops") == process_id:
            continue  # the stop itself, begun within what it stops: it ends last
        if each is target or not roll_forward(parts, record):
            roll_back(parts, record.failed(TVProcessError(STOPPED), time.time()))
    return True


def finish_stop(parts: VaultParts, process_id: ProcessId) -> bool:
    """End a process that waits although a stop of it has happened; return whether that was so.

    Take the mutex of the records before.
    """
    return any(
        record.plan.get("stops") == process_id and roll_forward(parts, record)
        for each in parts.files.every()
        if (record := parts.files.left(each.process_id)) is not None
    )


def finish_moves(parts: VaultParts, record: Record) -> bool:
    """Make the ref moves that follow the first one; return whether all are made."""
    complete = True
    for move in record.moves[1:]:
        if parts.repository.tip(move.ref) == move.old and move.old != move.new:
            try:
                parts.move([move], f"recover {record.request.operation}")
            except (RefMovedError, RefBusyError, TVLockError, OSError) as error:
                _log.warning("Ref %s could not be moved: %s", move.ref, reason_of(error))
                complete = False
    return complete


def _renamed_temps(moves: Sequence[RefMove]) -> list[tuple[TempRef, TempRef]]:
    """Find temporary instances that moved to another table name: same version, two refs."""
    temps = [(temp_of_ref(move.ref), move) for move in moves]
    made = {temp.version: temp for temp, move in temps if temp is not None and move.old is None}
    return [
        (temp, made[temp.version])
        for temp, move in temps
        if temp is not None and move.new is None and temp.version in made
    ]


def roll_back(parts: VaultParts, record: Record) -> None:
    """Remove what an operation that has not happened left, and remember that it failed."""
    if not record.error[0]:  # nobody could note why it ended
        record = record.failed(TVProcessError(DIED), record.updated_at)
    needed = needed_elsewhere(parts, record.process_id)
    parts.store.delete(record.made, needed=needed)
    try:
        parts.files.remember(record)
    except OSError:
        # The disk is full: the vault as it was is worth more than the memory of a failure.
        _log.warning("The end of process %s is not remembered.", record.process_id, exc_info=True)
    _end(parts, record)


def needed_elsewhere(parts: VaultParts, process_id: ProcessId) -> Callable[[ObjectId], bool]:
    """Return a test whether anything but one process needs an object.

    Records and branches are read at the first call, which :meth:`ObjectStore.delete` makes
    under the lock that every pin of an object takes.
    """
    pinned = cache(lambda: _pinned(parts, process_id))
    return lambda oid: oid in pinned() or bool(parts.index.still_needed([oid]))


def _pinned(parts: VaultParts, process_id: ProcessId) -> set[ObjectId]:
    """Collect what other processes, temporary instances and records of calls need."""
    pinned = {ObjectId(oid) for oid in parts.needed_by_calls()}
    for record in parts.files.every():
        if record.process_id != process_id:
            pinned.update(record.pins)
    for temp, tip in parts.repository.temps().items():
        path = frame_path(temp.table, temp.version)
        # A file that was committed around LFS is in git, not in the object store.
        with contextlib.suppress(TVFileError):
            pointer = Snapshot(parts.repository, tip).pointer(path)
            if pointer is not None:
                pinned.add(pointer.oid)
    return pinned


def _end(parts: VaultParts, record: Record) -> None:
    """Remove temporary files, record and lock file."""
    parts.store.discard(record_file(record.process_id))
    parts.files.remove(record.process_id)


_UNREAD = ("checkpoints", "configured")
"""What early versions wrote and nothing reads any more."""
_LEFT_S = 3600.0
"""Age at which a temporary file is a leftover."""


def leftovers(parts: VaultParts, instances: Collection[str], older_than_s: float) -> Iterator[Path]:
    """List files and folders that are leftovers.

    Parameters
    ----------
    parts : VaultParts
        The vault's.
    instances : collection of str
        Ids of the instances that are not deleted.
    older_than_s : float
        Age in seconds of what was set aside, damaged or edited: the last copy, perhaps.
    """
    git_dir, state = parts.repository.git_dir, parts.state
    yield from stale_files(git_dir)
    records = {record_file(record.process_id) for record in parts.files.every()}
    for path in _older(state / "tmp", _LEFT_S):
        if path.name not in records:
            yield path
    yield from _older(state / "incomplete", max(older_than_s, _LEFT_S))
    for name, age_s in (("tmp", max(older_than_s, _LEFT_S)), ("bad", older_than_s)):
        yield from _older(git_dir / "lfs" / name, age_s)
    yield from _older(git_dir / "lfs" / "incomplete", max(older_than_s, _LEFT_S))
    for path in _older(parts.store.drafts, _LEFT_S):
        if path.name not in records and path.parent != state / "tmp":
            yield path
    yield from Quarantine(state).older_than(older_than_s)
    for name in _UNREAD:
        yield from matching(state, name)
    for path in _older(state / "artifacts", _LEFT_S):
        if path.name not in instances:
            yield path


def _older(folder: Path, age_s: float) -> Iterator[Path]:
    """List what lies in a folder and was changed or moved so long ago."""
    for entry in entries_of(folder):
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            if time.time() - max(status.st_mtime, status.st_ctime) >= age_s:
                yield Path(entry.path)
