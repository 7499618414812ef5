"""Stop a process: ask it in this interpreter, or end the program that holds its lock."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tablevault.errors import TVProcessError
from tablevault.names import ProcessId
from tablevault.transactions.claims import descendants
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Record
from tablevault.wording import Either, Parameter, Wording


class Cancel:
    """Whether a process was asked to stop, and who takes back what it did."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._deciding = threading.Lock()
        self._is_left_to_asker = False
        self._is_decided = False

    @property
    def is_asked(self) -> bool:
        """Return whether the process was asked to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask the process to stop; the asker waits, and ends it."""
        self._is_left_to_asker = True
        self._asked.set()

    def withdraw(self) -> bool:
        """Leave the end of the process to itself; False when it has left that to the asker."""
        with self._deciding:
            self._is_left_to_asker = self._is_left_to_asker and self._is_decided
            return not self._is_left_to_asker

    def decide(self) -> bool:
        """Decide, for good, whether the asker ends the process; else it ends itself."""
        with self._deciding:
            self._is_decided = True
            return self._is_left_to_asker

    def check(self, process_id: ProcessId) -> None:
        """Raise TVProcessError when the process was asked to stop."""
        if self._asked.is_set():
            raise TVProcessError(
                f'Process "{process_id}" was stopped.',
                Wording(
                    "Run the operation again, with another ",
                    Parameter("execute_instance", "process_id"),
                    ".",
                ),
                process=process_id,
            )


_here: dict[tuple[str, ProcessId], Cancel] = {}
"""Processes of this interpreter, by the folder of the vault and the process id: a thread that stops
one may have opened the vault for itself, and share nothing else with it."""


@contextmanager
def cancellable(state: Path, process_id: ProcessId) -> Iterator[Cancel]:
    """Let a process be found and asked to stop, as long as this lasts."""
    key = (str(state), process_id)
    cancel = _here[key] = Cancel()
    try:
        yield cancel
    finally:
        # When its record is gone, a thread may have begun another process under its id.
        if _here.get(key) is cancel:
            del _here[key]


def cancel_of(state: Path, process_id: ProcessId) -> Cancel | None:
    """Find a process that runs in this interpreter; None when it runs elsewhere, or not at all."""
    return _here.get((str(state), process_id))


_POLL_S = 0.01
_LOOK_S = 10.0


def halt(parts: VaultParts, record: Record, wait_s: float) -> None:
    """End the run of a process and of all that was started within it.

    In this interpreter it is asked, and stops between two rows. Another operating system process
    is ended once it is proven to hold the lock of the process.

    Raises
    ------
    TVProcessError
        A function that it runs in this interpreter does not return within `wait_s` seconds: the
        process ends as soon as it does. Or it runs, but where cannot be proven.
    """
    while running := _running(parts, record):
        here: dict[ProcessId, Cancel] = {}
        # From above: a parent would go on when a child that it waits for has ended.
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

    While it is handed over its lock is free, so the holder is looked up again and again.
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


_PROC = Path("/proc")
_TERM_S, _KILL_S = 5.0, 30.0


def holders(path: Path) -> list[int]:
    """Return the operating system processes that hold ``flock`` on a file.

    The kernel tells it: of each open file, in ``/proc/<pid>/fdinfo``, which locks are held
    through it. Processes of others are not shown to us, nor is anything on a system that has no
    such files; so an empty answer means "not known".
    """
    return [pid for pid in _pids() if _holds(pid, path)]


def end_holders(path: Path) -> list[int]:
    """End the processes that hold the lock on a file: ask, wait, and then end them at once.

    A process is identified by the lock that it holds, and cannot be mistaken for another one
    that gets its number meanwhile (pidfd, Linux 5.3). This very interpreter is not ended.

    Returns
    -------
    list of int
        The processes that a signal was sent to.
    """
    sent: set[int] = set()
    for number, wait_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        deadline = time.monotonic() + wait_s
        waiting = [pid for pid in holders(path) if _send(pid, number, path)]
        sent.update(waiting)
        while waiting and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            waiting = [pid for pid in waiting if _holds(pid, path)]
    return sorted(sent)


def _send(pid: int, number: signal.Signals, path: Path) -> bool:
    """Send a signal to a process that holds the lock; False when it does not any more."""
    if pid == os.getpid():
        return False
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # macOS, where no holder is known either; it is gone
        return False
    try:
        # From here on `handle` means this very process, even if its number is used again.
        if not _holds(pid, path):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _pids() -> Iterator[int]:
    """List the processes that we can see."""
    with contextlib.suppress(OSError):
        yield from [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]


def _holds(pid: int, path: Path) -> bool:
    """Return whether a process holds a lock on a file, and not only has it open."""
    files = _PROC / str(pid) / "fd"
    with contextlib.suppress(OSError):
        wanted = path.stat()
        return any(
            _is_locked(_PROC / str(pid) / "fdinfo" / file.name)
            for file in list(files.iterdir())
            if _is_same(file, wanted)
        )
    return False


def _is_same(file: Path, wanted: os.stat_result) -> bool:
    """Return whether an open file is the one that is wanted."""
    with contextlib.suppress(OSError):
        return os.path.samestat(file.stat(), wanted)
    return False


def _is_locked(info: Path) -> bool:
    """Return whether a lock is held through an open file, by its ``fdinfo``."""
    with contextlib.suppress(OSError):
        lines = info.read_text("ascii").splitlines()
        return any(
            line.startswith("lock:") and "FLOCK" in line and "WRITE" in line for line in lines
        )
    return False
