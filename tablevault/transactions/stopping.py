"""End a process from outside: stop whoever runs it, and roll it back."""

from __future__ import annotations

import os
import time

from tablevault.errors import TVProcessError
from tablevault.names import ProcessId
from tablevault.transactions.cancellation import Cancel, cancel_of
from tablevault.transactions.lock_holders import end_holders
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.record import Record
from tablevault.transactions.recovery import end_stopped
from tablevault.transactions.resource_locks import descendants
from tablevault.wording import Either, Wording

_POLL_S = 0.01
_LOOK_S = 10.0


def halt(parts: VaultParts, record: Record, wait_s: float) -> None:
    """See to it that nobody runs a process nor what was started within it.

    In this interpreter it is asked, and stops between two rows; another operating system process
    is ended, after it was proven that it holds the lock of the process.

    Raises
    ------
    TVProcessError
        A function that it runs in this interpreter does not return within `wait_s` seconds: the
        process ends as soon as it does. Or nobody is proven to run it, though somebody does.
    """
    while running := _running(parts, record):
        here: dict[ProcessId, Cancel] = {}
        # From above: nobody is left who would go on when what it waits for was ended.
        for each in running:
            cancel = _cancel_of(parts, each)
            if cancel is None:
                _end_elsewhere(parts, each)
            else:
                cancel.ask()
                here[each.process_id] = cancel
        _wait(parts, record, here, wait_s)


def _running(parts: VaultParts, record: Record) -> list[Record]:
    """List the processes that run, this one and those that were started within it."""
    family = (record, *descendants(parts.files, record.process_id)[::-1])
    return [each for each in family if parts.files.is_alive(each.process_id)]


def take_down(parts: VaultParts, process_id: ProcessId) -> bool:
    """Take back a process that nobody runs, with what was started within it, deepest first.

    Takes the mutex of the records, so that nobody takes it up meanwhile.

    Returns
    -------
    bool
        False when it has ended already, because it has happened or by itself.
    """
    with parts.files.mutex():
        return end_stopped(parts, process_id)


def _cancel_of(parts: VaultParts, record: Record) -> Cancel | None:
    """Find a process that runs in this interpreter, also one that has begun this very moment."""
    deadline = time.monotonic() + _LOOK_S
    while (found := cancel_of(parts.state, record.process_id)) is None:
        if record.pid != os.getpid() or time.monotonic() > deadline:
            break
        if not parts.files.is_alive(record.process_id):
            break
        time.sleep(_POLL_S)
    return found


def _wait(parts: VaultParts, record: Record, here: dict[ProcessId, Cancel], wait_s: float) -> None:
    """Wait for what runs in this interpreter; when that takes too long, it will end itself."""
    deadline = time.monotonic() + wait_s
    while any(parts.files.is_alive(process_id) for process_id in here):
        if time.monotonic() > deadline:
            # Who has left its end to us is about to let go of its lock: that is waited for.
            withdrawn = [process_id for process_id, cancel in here.items() if cancel.withdraw()]
            if any(parts.files.is_alive(process_id) for process_id in withdrawn):
                raise TVProcessError(
                    f'Process "{record.process_id}" still runs a function; it was asked to stop '
                    "and will be taken back when that returns.",
                    Wording(
                        "Wait, and stop it again",
                        Either(", perhaps with a longer lock_timeout of the vault", ""),
                        ".",
                    ),
                    process=record.process_id,
                )
        time.sleep(_POLL_S)


def _end_elsewhere(parts: VaultParts, record: Record) -> None:
    """End the operating system process that runs a process.

    While it is handed over nobody holds its lock, so that whoever has taken it is looked for anew.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + _LOOK_S
    while parts.files.is_alive(record.process_id):
        ended.update(end_holders(parts.files.lock_file(record.process_id)))
        if time.monotonic() > deadline:
            what = f"{sorted(ended)} did not end" if ended else "nothing proves which one runs it"
            raise TVProcessError(
                f'Process "{record.process_id}" cannot be stopped: it should run in operating '
                f"system process {record.pid}, but {what}.",
                f"Look what {record.pid} is, end it by hand if that is right, and stop again.",
                process=record.process_id,
                pid=record.pid,
            )
        time.sleep(_POLL_S)
