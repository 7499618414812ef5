"""One running operation: begin, keep objects, publish, close; only here does ``main`` move."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

from tablevault.errors import TableVaultError, TVLockError, TVProcessError
from tablevault.history.change import Change
from tablevault.history.commits import Signing, write_by_hand, write_change
from tablevault.history.packing import pack_if_many
from tablevault.history.repository import PartlyMovedError, RefBusyError, RefMovedError
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit
from tablevault.journal import locks
from tablevault.journal.journal import Journal
from tablevault.journal.record import Hold, Record, Request
from tablevault.journal.recovery import finish_moves, follow, roll_back, roll_forward
from tablevault.names import (
    CommitId,
    ProcessId,
    TempRef,
    check_process_id,
    new_process_id,
)
from tablevault.objects.oslock import OsLock
from tablevault.objects.store import Draft

_log = logging.getLogger("tablevault")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.005, 0.1
_LOOK_S = 1.0
_current: ContextVar[tuple[str, ProcessId] | None] = ContextVar("tablevault_process", default=None)
"""Vault and id of the operation that runs in this context: an operation of the same vault that
a user's function starts is its child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks, and how."""

    author: str
    process_id: str = ""
    parent: str = ""
    lock_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TempDraft:
    """The branch of a temporary instance with what was edited by hand in its face."""

    temp: TempRef
    tip: CommitId
    commit: CommitId


Plan = Callable[[Snapshot, float], Change]
"""Pure: the snapshot to change and the time of the change in, the change out."""


class Operation:
    """A process that has begun: it has a record, an OS lock, and its resources."""

    def __init__(self, journal: Journal, record: Record) -> None:
        self._journal = journal
        self.record = record
        self.published: CommitId | None = None
        self._has_drafts = False
        self._is_complete = True
        self._code_edits: list[Edit] | None = None

    @property
    def process_id(self) -> ProcessId:
        """Id of the process."""
        return self.record.process_id

    def new_draft(self) -> Draft:
        """Open a temporary file to write an object into; it is gone when the operation ends."""
        self._has_drafts = True
        return self._journal.store.draft(self._journal.owner(self.process_id))

    def draft_of(self, source: Path) -> Draft:
        """Copy a file into a draft, closed."""
        self._has_drafts = True
        return self._journal.store.draft_of(source, self._journal.owner(self.process_id))

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Move closed drafts into the object store, where they are taken back on failure."""
        store = self._journal.store
        with store.locked():
            pins = (*self.record.pins, *(draft.pointer.oid for draft in drafts))
            made = (*self.record.made, *store.missing(drafts))
            self._update(replace(self.record, pins=pins, made=made))
            store.keep(drafts)

    def drafted(self, temp: TempRef) -> TempDraft:
        """Take what was edited by hand in the face of `temp` into a commit on its branch.

        The branch itself moves only when the operation is published.
        """
        repository = self._journal.repository
        tip = repository.tip(temp.ref)
        if tip is None:
            raise RefMovedError(temp.ref)
        edits = self._journal.faces.edits(temp, tip)
        if not edits:
            return TempDraft(temp=temp, tip=tip, commit=tip)
        commit = write_by_hand(repository, tip, edits, self._signing())
        self._journal.faces.note_adopted(temp, commit)
        return TempDraft(temp=temp, tip=tip, commit=commit)

    def snapshot(self) -> Snapshot:
        """Give ``main`` as it is now, with the code modules as the user left them.

        What they are now is what the operation commits, even if they are edited meanwhile.
        """
        main = self._journal.repository.main()
        self._code_edits = self._find_code_edits(main)
        return Snapshot(self._journal.repository, self._base(main))

    def publish(self, plan: Plan) -> CommitId:
        """Commit what `plan` wants on the newest tip of ``main``.

        Takes the commit lock for milliseconds. `plan` is called again when a plain ``git
        commit`` moved ``main`` meanwhile. When this returns, the operation has happened,
        whatever becomes of the working tree: that is repaired by whoever comes next.
        """
        with self._journal.commit_lock():
            self._journal.worktree.refresh(self._journal.repository.main())
            change, commit = self._retry(plan)
            self.published = commit
            self._follow(change)
        return commit

    def _retry(self, plan: Plan) -> tuple[Change, CommitId]:
        """Publish, again and again while other programs move or lock refs."""
        deadline = time.monotonic() + self._journal.lock_timeout_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                return self._try_to_publish(plan)
            except (RefMovedError, RefBusyError) as error:
                if time.monotonic() > deadline:
                    raise TVLockError(
                        f"Another program keeps git's refs locked or moving: {error}.",
                        "If no git command runs, delete the .lock file that is named.",
                    ) from error
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _try_to_publish(self, plan: Plan) -> tuple[Change, CommitId]:
        """Plan on the newest tip, write the commits, move the refs."""
        journal = self._journal
        main = journal.repository.main()
        base = self._base(main)
        at = time.time()
        change = plan(Snapshot(journal.repository, base), at)
        for pointer in change.needs:
            if not journal.store.has(pointer):
                raise TVLockError(
                    f"Object {pointer.oid} disappeared from the store during the operation.",
                    "Run it again.",
                )
        draft = write_change(
            journal.repository, change, main=main, base=base, signing=self._signing()
        )
        # Dies here: nothing has moved.
        if len(draft.moves) > 1:
            self._update(replace(self.record, moves=draft.moves), durable=True)
        try:
            journal.move(draft.moves, change.message.subject)
        except PartlyMovedError:
            # Or dies here: the operation has happened, `roll_forward` makes the other moves.
            self.published, self._is_complete = draft.commit, False
            self._is_complete = finish_moves(journal, self.record)
        return change, draft.commit

    def _base(self, main: CommitId) -> CommitId:
        """Give `main`, or a commit on top of it with the code that was edited by hand."""
        edits = self._code_edits if self._code_edits is not None else self._find_code_edits(main)
        if not edits:
            return main
        return write_by_hand(self._journal.repository, main, edits, self._signing())

    def _find_code_edits(self, main: CommitId) -> list[Edit]:
        """Find code modules that differ from `main` in the working tree."""
        return self._journal.worktree.code_edits(Snapshot(self._journal.repository, main))

    def _follow(self, change: Change) -> None:
        """Bring working tree, faces and index after the commit; a failure is repaired later.

        The record stays then: it alone tells which face was renamed.
        """
        try:
            follow(self._journal, change)
            self._journal.index.catch_up()
        except Exception:  # noqa: BLE001 - the operation has happened: whoever opens the vault next does this
            _log.warning("The working tree could not follow the commit.", exc_info=True)
            self._is_complete = False

    def _signing(self) -> Signing:
        """Give author and time of commits."""
        return Signing(author=self.record.author, at=time.time())

    def _update(self, record: Record, *, durable: bool = False) -> None:
        """Change the record, in memory and on disk."""
        self.record = replace(record, updated_at=time.time())
        self._journal.files.write(self.record, durable=durable)

    def close(self) -> None:
        """End a process that succeeded."""
        if self._has_drafts:
            self._journal.store.discard(self._journal.owner(self.process_id))
        if self._is_complete:
            self._journal.files.remove(self.process_id)

    def revert(self, error: BaseException) -> None:
        """Take back everything that the process left, and remember that it failed."""
        try:
            roll_back(self._journal, self.record.failed(error, time.time()))
        except Exception:  # noqa: BLE001 - must not hide the error that the caller is to see
            _log.warning("Process %s was not taken back wholly.", self.process_id, exc_info=True)


Setup = Callable[[Request, Snapshot], Sequence[Hold]]
"""Checks the request and says what the operation must hold. Called again after each wait."""


@contextmanager
def running(journal: Journal, request: Request, actor: Actor, setup: Setup) -> Iterator[Operation]:
    """Run the body as a process; take it back when the body raises.

    Waits up to the lock time-out for resources that others hold, holding nothing meanwhile.
    An interrupt (KeyboardInterrupt, SystemExit) leaves the record as a crash would.

    Raises
    ------
    TVProcessError
        The process id was used before, or runs just now.
    TVLockError
        A resource is held by another process for too long.
    """
    operation, lock = _begin(journal, request, actor, setup)
    token = _current.set((str(journal.repository.path), operation.process_id))
    with ExitStack() as stack:
        stack.callback(_current.reset, token)
        stack.callback(lock.release)
        try:
            yield operation
        except Exception as error:
            if operation.published is None:
                operation.revert(error)
            else:
                operation.close()
            raise
        operation.close()
    pack_if_many(journal.repository, journal.state)


def _begin(
    journal: Journal, request: Request, actor: Actor, setup: Setup
) -> tuple[Operation, OsLock]:
    """Open the record once nothing excludes the operation."""
    process_id = check_process_id(actor.process_id) if actor.process_id else new_process_id()
    parent = actor.parent or _enclosing(journal)
    started = time.monotonic()
    wait = _FIRST_WAIT_S
    while True:
        with journal.files.mutex():
            record = _record_of(journal, request, actor, process_id)
            family = frozenset({process_id, *locks.ancestors(journal.files, parent)})
            holds = _set_up(journal, record, setup)
            found = _blocking(journal, holds, family)
            if found is None:
                record = replace(record, holds=tuple(holds), parent=parent)
                return _open(journal, record)
        holder, held = found
        # Alive, or it has happened and waits for another program to let go of a ref.
        alive = journal.files.is_alive(holder.process_id) or bool(
            journal.index.process(holder.process_id)
        )
        waited = time.monotonic() - started
        if not alive or waited >= actor.lock_timeout_s:
            error = locks.lock_error(holder, held, alive=alive, waited_s=round(waited, 1))
            if journal.files.read(process_id) is None and record.named:
                journal.files.remember(record.failed(error, time.time()))
            raise error
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT_S)


def _set_up(journal: Journal, record: Record, setup: Setup) -> Sequence[Hold]:
    """Check the request on the vault as it is; what is wrong with it is remembered."""
    try:
        return setup(record.request, Snapshot(journal.repository, journal.repository.main()))
    except TableVaultError as error:
        _remember_failure(journal, record, error)
        raise


def _remember_failure(journal: Journal, record: Record, error: BaseException) -> None:
    """End a process that could not begin; an id that the caller gave is never used again."""
    failed = record.failed(error, time.time())
    if journal.files.read(record.process_id) is not None:
        roll_back(journal, failed)
    elif record.named:
        journal.files.remember(failed)


def _record_of(journal: Journal, request: Request, actor: Actor, process_id: ProcessId) -> Record:
    """Make a new record, or take up the one that a crash left under this id."""
    now = time.time()
    known = journal.files.read(process_id) if actor.process_id else None
    if known is not None:
        if journal.files.is_alive(process_id):
            raise TVProcessError(
                f'Process "{process_id}" runs just now.', "Wait until it ends.", process=process_id
            )
        if known.request.operation != request.operation:
            raise TVProcessError(
                f'Process "{process_id}" is a paused {known.request.operation}, not a '
                f"{request.operation}.",
                f"Call {known.request.operation} with this process_id to go on with it.",
                process=process_id,
            )
        if roll_forward(journal, known):
            known = None
    if known is None and actor.process_id and is_finished(journal, process_id):
        raise TVProcessError(
            f'Process "{process_id}" has ended; its id cannot be used again.',
            "Leave process_id out, or choose another one.",
            process=process_id,
        )
    if known is not None:
        return replace(known, author=actor.author, pid=os.getpid(), updated_at=now, moves=())
    return Record(
        process_id=process_id,
        named=bool(actor.process_id),
        request=request,
        author=actor.author,
        started_at=now,
        updated_at=now,
        pid=os.getpid(),
    )


def is_finished(journal: Journal, process_id: str) -> bool:
    """Tell whether a process ended, in whatever way."""
    return journal.index.process(process_id) is not None or journal.files.remembers(process_id)


def _blocking(
    journal: Journal, holds: Sequence[Hold], family: frozenset[str]
) -> tuple[Record, Hold] | None:
    """Find who excludes `holds`, after taking back what nameless dead processes hold."""
    while (found := locks.blocking(journal.files, holds, family)) is not None:
        holder = found[0]
        if journal.files.is_alive(holder.process_id):
            return found
        if roll_forward(journal, holder) and journal.files.read(holder.process_id) is None:
            continue
        if holder.named or journal.index.process(holder.process_id) is not None:
            return found
        roll_back(journal, holder)
    return None


def _open(journal: Journal, record: Record) -> tuple[Operation, OsLock]:
    """Take the OS lock of the process and write its record."""
    lock = journal.files.lock_of(record.process_id)
    try:
        # Nobody runs it, but somebody may look at its lock just now.
        lock.acquire(timeout_s=_LOOK_S)
    except TimeoutError as error:
        raise TVProcessError(
            f'Process "{record.process_id}" runs just now.',
            "Wait until it ends.",
            process=record.process_id,
        ) from error
    try:
        journal.files.write(record)
    except BaseException:
        lock.release()
        journal.files.remove(record.process_id)
        raise
    return Operation(journal, record), lock


def _enclosing(journal: Journal) -> str:
    """Id of the process within whose function this one is started, "" when there is none."""
    current = _current.get()
    if current is None or current[0] != str(journal.repository.path):
        return ""
    return current[1]
