"""Begin a process: open its record once nothing excludes it, or resume the paused one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from tablevault.argument_types import LOCK_TIMEOUT_S
from tablevault.errors import TableVaultError, TVProcessError
from tablevault.files.locks import Lock, is_held, take_lock
from tablevault.history.commits.snapshot import Snapshot
from tablevault.names import ProcessId, check_process_id, new_process_id
from tablevault.transactions import claims
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Hold, Record, RecordStore, Request
from tablevault.transactions.recovery import finish_stop, roll_back, roll_forward
from tablevault.wording import Call, OperationName, Wording

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
    lock_timeout_s: float = LOCK_TIMEOUT_S
    takes_over: str = ""
    """Process to which nothing is refused that this one and its children hold: it is to end
    them."""
    lock: Lock | None = None
    """Lock of the process when this interpreter was started to go on with it."""


Setup = Callable[[Record, Snapshot], Sequence[Hold]]
"""Checks the request and says what the operation must hold. Called again after each wait."""


def begin(parts: VaultParts, request: Request, actor: Actor, setup: Setup) -> tuple[Record, Lock]:
    """Open the record once nothing excludes the operation.

    Waits up to the lock time-out for resources that others hold, holding nothing meanwhile.

    Raises
    ------
    TVProcessError
        The process id was used before, or runs just now.
    TVLockError
        A resource is held by another process for too long.
    """
    process_id = check_process_id(actor.process_id) if actor.process_id else new_process_id()
    started = time.monotonic()
    wait = _FIRST_WAIT_S
    while True:
        waited = time.monotonic() - started
        with parts.files.mutex():
            record = _record_of(parts, request, actor, process_id)
            holds, found = _claim(parts, record, actor, setup)
            if found is None:
                record = replace(record, holds=tuple(holds))
                return record, _open(parts, record, actor.lock)
            holder, held = found
            alive = not _is_paused(parts, holder)
        if not alive or waited >= actor.lock_timeout_s:
            error = claims.lock_error(holder, held, alive=alive, waited_s=round(waited, 1))
            if parts.files.read(process_id) is None and record.named:
                parts.files.remember(record.failed(error, time.time()))
            raise error
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT_S)


def recorded_request(parts: VaultParts, operation: str, process_id: str) -> Request | None:
    """Return what a process was asked for that waits under this id; None when there is none.

    Who calls an operation again with the id of a paused one goes on with that, whatever else
    is in the call. Another operation is refused later.
    """
    known = parts.files.read(check_process_id(process_id)) if process_id else None
    return known.request if known is not None and known.request.operation == operation else None


@contextmanager
def remembering_refusal(parts: VaultParts, actor: Actor, request: Request) -> Iterator[None]:
    """Remember what is refused before anything has begun."""
    began = time.time()
    try:
        yield
    except TableVaultError as error:
        if actor.process_id:
            process_id = check_process_id(actor.process_id)
            is_known = parts.files.read(process_id) is not None or _is_used(parts, process_id)
            # What ends an execution in its setup frees the id, and is remembered already.
            if not is_known and not parts.files.remembers(process_id, since=began):
                record = _new_record(request, actor, process_id, "")
                parts.files.remember(record.failed(error, time.time()))
        raise


@contextmanager
def enclosing(parts: VaultParts, process_id: ProcessId) -> Iterator[None]:
    """Make operations of the same vault, as long as this lasts, children of the process."""
    token = _current.set((str(parts.repository.path), process_id))
    try:
        yield
    finally:
        _current.reset(token)


def is_finished(parts: VaultParts, process_id: str) -> bool:
    """Return whether a process ended, in whatever way."""
    return parts.index.process(process_id) is not None or parts.files.remembers(process_id)


def _is_used(parts: VaultParts, process_id: str) -> bool:
    """Return whether no process can begin under this id any more."""
    return parts.index.process(process_id) is not None or parts.files.has_used(process_id)


def refuse_used(parts: VaultParts, request: Request, process_id: ProcessId) -> None:
    """Raise TVProcessError when a process with this id has ended."""
    if _is_used(parts, process_id):
        raise TVProcessError(
            f'Process "{process_id}" has ended; its id cannot be used again.',
            Wording("Leave ", request.id_parameter, " out, or choose another id."),
            process=process_id,
        )


def refuse_other(known: Record, request: Request) -> None:
    """Raise TVProcessError when a paused process is of another operation."""
    if known.request.operation != request.operation:
        raise TVProcessError(
            Wording(
                f'Process "{known.process_id}" is a paused ',
                OperationName(known.request.operation),
                ", not a ",
                OperationName(request.operation),
                ".",
            ),
            Wording(known.resumption, " to go on with it."),
            process=known.process_id,
        )


def _record_of(parts: VaultParts, request: Request, actor: Actor, process_id: ProcessId) -> Record:
    """Make a new record, or resume the one that waits under this id."""
    known = _known(parts, request, actor, process_id) if actor.process_id else None
    if known is None and actor.process_id:
        refuse_used(parts, request, process_id)
    parent = _parent(parts, actor)
    if known is None:
        return _new_record(request, actor, process_id, parent)
    return replace(
        known,
        author=actor.author,
        parent=parent or known.parent,
        pid=os.getpid(),
        updated_at=time.time(),
        moves=(),
        error=("", ""),
    )


def _new_record(request: Request, actor: Actor, process_id: ProcessId, parent: str) -> Record:
    """Make the record of a process that begins."""
    now = time.time()
    return Record(
        process_id=process_id,
        named=bool(actor.process_id),
        request=request,
        author=actor.author,
        parent=parent,
        started_at=now,
        updated_at=now,
        pid=os.getpid(),
    )


def _known(
    parts: VaultParts, request: Request, actor: Actor, process_id: ProcessId
) -> Record | None:
    """Find the record that waits under this id; what has happened already is ended here."""
    # Read the record after that: the process may end just now, and leave nothing to resume.
    if actor.lock is None and parts.files.is_alive(process_id):
        raise _runs(process_id)
    known = parts.files.read(process_id)
    if known is None:
        return None
    refuse_other(known, request)
    if roll_forward(parts, known) or finish_stop(parts, process_id):
        return None
    _end_children(parts, process_id)
    return known


def _end_children(parts: VaultParts, process_id: ProcessId) -> None:
    """End the children of a crashed process: resumed, it calls its functions again.

    A child with an id that the function chose stays: it is resumed when it is called again.
    """
    for found in claims.descendants(parts.files, process_id):
        child = parts.files.left(found.process_id)
        if child is None or child.named:
            continue
        if not roll_forward(parts, child):
            roll_back(parts, child)


def _set_up(parts: VaultParts, record: Record, setup: Setup) -> Sequence[Hold]:
    """Check the request on the vault as it is.

    What is wrong with it ends the process, and is remembered. Only a process that has done work
    already goes on waiting: what is wrong now can be corrected, and the work is not lost.
    """
    try:
        return setup(record, Snapshot(parts.repository, parts.repository.main()))
    except TableVaultError as error:
        failed = record.failed(error, time.time())
        if parts.files.read(record.process_id) is None:
            if record.named:
                parts.files.remember(failed)
        elif record.plan:
            parts.files.write(failed)
        else:
            roll_back(parts, failed)
        raise


def _claim(
    parts: VaultParts, record: Record, actor: Actor, setup: Setup
) -> tuple[Sequence[Hold], tuple[Record, Hold] | None]:
    """Return what the operation must hold, and who excludes it; take the mutex before.

    No process begins meanwhile, but one may end: then it may have changed what `setup` has read,
    and hold nothing any more.
    """
    while True:
        there = parts.files.names()
        holds = _set_up(parts, record, setup)
        _refuse_within(parts, record, holds)
        found = _blocking(parts, holds, _family(parts, record, actor))
        if found is not None or there <= parts.files.names():
            return holds, found


def _family(parts: VaultParts, record: Record, actor: Actor) -> frozenset[str]:
    """Return the processes whose claims exclude nothing: itself, its ancestors, its children."""
    ids: set[str] = {record.process_id, *claims.ancestors(parts.files, record.parent)}
    for root in (actor.process_id, actor.takes_over):
        if root:
            ids.add(root)
            ids.update(child.process_id for child in claims.descendants(parts.files, root))
    return frozenset(ids)


def _refuse_within(parts: VaultParts, record: Record, holds: Sequence[Hold]) -> None:
    """Refuse what an ancestor keeps for itself: to wait for it would be to wait for oneself."""
    found = claims.blocking_within(parts.files, holds, record.parent)
    if found is None:
        return
    error = claims.within_error(*found, record.request.operation)
    if record.named and parts.files.read(record.process_id) is None:
        parts.files.remember(record.failed(error, time.time()))
    raise error


def _blocking(
    parts: VaultParts, holds: Sequence[Hold], family: frozenset[str]
) -> tuple[Record, Hold] | None:
    """Find who excludes `holds`, after rolling back crashed processes that cannot be resumed."""
    while (found := claims.blocking(parts.files, holds, family)) is not None:
        if parts.files.is_alive(found[0].process_id):
            return found
        holder = parts.files.left(found[0].process_id)
        if holder is None:
            continue
        if roll_forward(parts, holder) and parts.files.read(holder.process_id) is None:
            continue
        if finish_stop(parts, holder.process_id):
            continue
        if holder.named or parts.index.process(holder.process_id) is not None:
            return holder, found[1]
        # Its children end with it: nothing else would release what they hold.
        _end_children(parts, holder.process_id)
        roll_back(parts, holder)
    return None


def _is_paused(parts: VaultParts, holder: Record) -> bool:
    """Return whether a process with an id waits to be resumed; take the mutex before.

    One that has just ended or crashed does not, nor one that has happened and waits for another
    program to release a ref: the next look finds that it holds nothing any more.
    """
    return (
        holder.named
        and parts.files.left(holder.process_id) is not None
        and parts.index.process(holder.process_id) is None
    )


def _open(parts: VaultParts, record: Record, lock: Lock | None) -> Lock:
    """Take the OS lock of the process, unless it is had already, and write its record."""
    if lock is None:
        lock = take_process(parts.files, record.process_id)
    try:
        parts.files.write(record)
    except BaseException:
        lock.release()
        if parts.files.read(record.process_id) is None:
            parts.files.remove(record.process_id)
        raise
    return lock


def take_process(files: RecordStore, process_id: ProcessId) -> Lock:
    """Return the lock of a process that does not run, held; take the mutex before.

    Raises
    ------
    TVProcessError
        It runs.
    """
    while True:
        try:
            return take_lock(files.lock_file(process_id), _LOOK_S)
        except TimeoutError as error:
            # A process that only tests the lock holds it for a moment.
            if is_held(files.lock_file(process_id)):
                raise _runs(process_id) from error


def _runs(process_id: ProcessId) -> TVProcessError:
    """Make the error for a process that runs."""
    return TVProcessError(
        f'Process "{process_id}" runs just now.',
        Wording(
            "Wait until it ends, or stop it: ",
            Call("stop_process", to_stop_process_id=process_id, force=True),
            ".",
        ),
        process=process_id,
    )


def _parent(parts: VaultParts, actor: Actor) -> str:
    """Id of the process within whose function this one is started, "" when there is none.

    A thread that a function left behind carries its process with it also when that has ended.
    """
    if actor.parent:
        if not parts.files.is_alive(ProcessId(actor.parent)):
            raise TVProcessError(
                f'Process "{actor.parent}", within which this was to happen, does not run.',
                "Open the vault without parent_id.",
                process=actor.parent,
            )
        return actor.parent
    current = _current.get()
    if current is None or current[0] != str(parts.repository.path):
        return ""
    return current[1] if parts.files.is_alive(current[1]) else ""
