"""Locks between processes, which the operating system frees when their holder ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from filelock import BaseFileLock, FileLock

from tablevault.errors import TVFileError

Lock: TypeAlias = BaseFileLock
_POLL_S = 0.005
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


def take_lock(path: Path, timeout_s: float = -1.0) -> Lock:
    """Return the lock on a file, held; any thread may release it, and no fork inherits it.

    The file and its folder are made if they are missing, and stay. The holder may remove the file:
    a process that waits for the lock then takes that on the next file of this name.

    Parameters
    ----------
    path : Path
        The file, which holds nothing else.
    timeout_s : float, default -1.0
        How long to wait, for ever when negative.

    Raises
    ------
    TimeoutError
        Another process, or another thread of this one, holds it.
    TVFileError
        The file system has no locks.
    """
    # The soft lock, to which filelock else falls back, would outlive a process that is killed.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False, poll_interval=_POLL_S)
    try:
        lock.acquire(timeout_s)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise TVFileError(
            f'"{path}" cannot be locked: {error.strerror}.',
            "Keep the vault in a file system that has file locks.",
            path=str(path),
        ) from error
    return lock


@contextmanager
def locked(path: Path, timeout_s: float = -1.0) -> Iterator[None]:
    """Hold the lock on a file; the same parameters and errors as :func:`take_lock`."""
    lock = take_lock(path, timeout_s)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether the lock on a file is held, without taking it (filelock cannot).

    Raises
    ------
    OSError
        The file is there and cannot be looked at: its holder may still run.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        try:
            # Shared: two that look at the same time do not take each other for the holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            # Without a name it was removed meanwhile: the lock may be that on the next file.
            if os.fstat(descriptor).st_nlink:
                return False
        except BlockingIOError:
            return True
        finally:
            # A fork of this moment has the descriptor, too, and would go on sharing the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
