"""One try to move an object: how it is counted, why it may be tried again, and when."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tablevault.errors import TableVaultError
from tablevault.history.remotes import Settings

_LONGEST_WAIT_S = 300.0


class PassingError(Exception):
    """It failed for a reason that may pass: it may be tried again.

    Parameters
    ----------
    reason : str
        What happened, without secrets; the middle of a sentence.
    after_s : float, optional
        How long the other side asked to wait.
    most : int, optional
        After so many tries it will not pass any more.
    unanswered : bool, default False
        Everything was sent, and no answer came: it may have happened.
    """

    def __init__(
        self,
        reason: str,
        *,
        after_s: float | None = None,
        most: int | None = None,
        unanswered: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
        self.most = most
        self.unanswered = unanswered


class StoppedError(Exception):
    """Another thread has given up the whole transfer."""


class HaltError(Exception):
    """No object can be transferred any more.

    Parameters
    ----------
    error : TableVaultError
        Why; it ends the whole transfer.
    """

    def __init__(self, error: TableVaultError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is done at once, how often something is tried again, and after how long.

    Attributes
    ----------
    threads : int
        How many objects may be on their way at once (``lfs.concurrenttransfers``).
    tries : int
        Tries without any progress, before it is given up (``lfs.transfer.maxretries``).
    longest_s : float
        Longest wait between two of them (``lfs.transfer.maxretrydelay``), unless the other side
        asks for more.
    """

    threads: int = 8
    tries: int = 8
    first_s: float = 0.25
    longest_s: float = 10.0

    def wait_s(self, failures: int, error: PassingError) -> float:
        """Tell how long to wait after so many failures: twice as long each time, with jitter.

        Without the jitter all who were cut off together would come back together.
        """
        own = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        own *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return own if error.after_s is None else max(own, error.after_s)

    def is_over(self, failures: int, error: PassingError) -> bool:
        """Tell whether it is time to give up."""
        most = self.tries if error.most is None else min(self.tries, error.most)
        return failures >= most or (error.after_s or 0.0) > _LONGEST_WAIT_S


def limits_of(settings: Settings) -> Limits:
    """Read the limits of git-lfs."""
    return Limits(
        threads=max(1, settings.number("lfs.concurrenttransfers", default=8)),
        tries=max(1, settings.number("lfs.transfer.maxretries", default=8)),
        longest_s=float(settings.number("lfs.transfer.maxretrydelay", default=10)),
    )


class Meter:
    """Counts the bytes of one object as they move; stops the thread when the transfer is stopped.

    Parameters
    ----------
    moved : callable
        Told of bytes as they move, again when they have to be moved again.
    gained : callable
        Told of bytes that had never been there before.
    stop : threading.Event
        Set when the transfer is given up.
    """

    def __init__(
        self, moved: Callable[[int], None], gained: Callable[[int], None], stop: threading.Event
    ) -> None:
        self._moved = moved
        self._gained = gained
        self._stop = stop
        self._at = 0
        self.furthest = 0

    def start(self, at: int) -> None:
        """Begin at byte `at`: 0, or where an earlier try stopped."""
        self._at = at
        self._reach()

    def add(self, count: int) -> None:
        """Note that `count` bytes more have moved.

        Raises
        ------
        StoppedError
            The transfer was given up meanwhile.
        """
        self._moved(count)
        self._at += count
        self._reach()
        if self._stop.is_set():
            raise StoppedError

    def _reach(self) -> None:
        """Tell of the bytes beyond the furthest so far."""
        if self._at > self.furthest:
            self._gained(self._at - self.furthest)
            self.furthest = self._at
