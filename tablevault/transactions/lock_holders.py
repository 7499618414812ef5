"""Find the operating system process that holds a lock, and prove it before it is signalled."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TERM_S, _KILL_S = 5.0, 30.0
_POLL_S = 0.02


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
        # From here on `handle` means the process that is looked at now, whatever becomes of it.
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


def _is_locked(told: Path) -> bool:
    """Return whether a lock is held through an open file."""
    with contextlib.suppress(OSError):
        lines = told.read_text("ascii").splitlines()
        return any(
            line.startswith("lock:") and "FLOCK" in line and "WRITE" in line for line in lines
        )
    return False
