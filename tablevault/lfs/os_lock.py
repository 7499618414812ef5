"""A lock on a file, which the operating system frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Self

from tablevault.errors import TVFileError

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05
_gate = threading.RLock()
"""Held while a descriptor becomes a lock, and by who forks: no child gets one unknown to it."""
_held: set[int] = set()
"""Descriptors of the locks that this operating system process holds. A child of a fork gets them,
too, and would keep the locks of a parent that died, so it closes them at once."""


class OsLock:
    """Holds ``flock`` on `path` for one holder, a thread or a whole operation; not reentrant.

    The file stays when the lock is released. Whoever holds the lock may remove it: who waited
    for the removed file then tries the new one. A lock that nobody refers to any more is free.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._descriptor: int | None = None
        self._pid = 0

    def acquire(self, timeout_s: float | None = None) -> Self:
        """Wait for the lock, for ever when `timeout_s` is None; then TimeoutError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        wait = _FIRST_WAIT_S
        while True:
            # Asked before: who was given no turn meanwhile tries once more.
            is_last = deadline is not None and time.monotonic() >= deadline
            if self._try():
                return self
            if is_last:
                raise TimeoutError(self._path)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def release(self) -> None:
        """Let go; nothing happens when it is not held, or when the holder is a fork's parent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self._pid == os.getpid():
            with _gate:
                # A child may have been forked that had no time yet to close its descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                _held.discard(descriptor)
                os.close(descriptor)

    @property
    def descriptor(self) -> int:
        """The open file through which it is held, for a program that is started to take it over.

        Raises
        ------
        ValueError
            It is not held.
        """
        if self._descriptor is None:
            raise ValueError(f"the lock {self._path} is not held")
        return self._descriptor

    def leave(self) -> None:
        """Close the file without letting go: who was given the descriptor holds the lock now."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with _gate:
                _held.discard(descriptor)
                os.close(descriptor)

    def adopt(self, descriptor: int) -> Self:
        """Hold the lock through a descriptor that this program was started with.

        Raises
        ------
        TimeoutError
            It is another file, or somebody else holds the lock.
        """
        with _gate:
            try:
                is_same = os.path.samestat(os.fstat(descriptor), Path(self._path).stat())
                # Had already through this descriptor, so this changes nothing.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                is_same = False
            if not is_same:
                raise TimeoutError(self._path)
            os.set_inheritable(descriptor, False)
            _held.add(descriptor)
            self._descriptor, self._pid = descriptor, os.getpid()
        return self

    def __enter__(self) -> Self:
        """Acquire, however long that takes, unless that was done already."""
        return self if self._descriptor is not None else self.acquire()

    def __exit__(self, *_: object) -> None:
        """Release."""
        self.release()

    def __del__(self) -> None:
        """Release what an interrupt at a bad moment left."""
        self.release()

    def _try(self) -> bool:
        """Take the lock if it is free."""
        taken = False
        with _gate:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Without a name it was removed by who had it: others lock another file by now.
                if os.fstat(descriptor).st_nlink:
                    _held.add(descriptor)
                    self._pid = os.getpid()
                    self._descriptor = descriptor
                    taken = True
            except BlockingIOError:
                pass
            except OSError as error:
                raise TVFileError(
                    f'"{self._path}" cannot be locked: {error.strerror}.',
                    "Keep the vault in a file system that has file locks.",
                ) from error
            finally:
                if not taken:
                    _held.discard(descriptor)
                    os.close(descriptor)
        return taken

    def _open(self) -> int:
        """Open the file; make it, and its folder, when it is not there."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o666)
        except FileNotFoundError:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o666)


def is_held(path: str | os.PathLike[str]) -> bool:
    """Return whether somebody holds the lock on a file just now, without taking it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared: to look at the lock must not look like holding it to somebody else who looks.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _let_go() -> None:
    """Close the locks of the parent in the child of a fork: the parent keeps them."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()
    _gate.release()


os.register_at_fork(before=_gate.acquire, after_in_parent=_gate.release, after_in_child=_let_go)
