"""Waiting that ends when the execution does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_LOOK_S: Final = 0.1


class AbandonedError(BaseException):
    """Ends a wait in a thread whose execution ends: nobody needs the call any more.

    Like an interrupt it passes ``except Exception``.
    """


class Stop:
    """Whether the calls of one builder are to end; for several threads.

    Parameters
    ----------
    check : callable
        Raises when somebody wants the execution to stop. Called in the thread that runs the
        execution.
    cancel : callable
        Ends the calls that can be ended.
    """

    def __init__(self, check: Callable[[], None], cancel: Callable[[], None]) -> None:
        self.check = check
        self.cancel = cancel
        self._is_set = threading.Event()
        self._thread = threading.get_ident()

    @property
    def is_set(self) -> bool:
        """Whether no call is to begin any more."""
        return self._is_set.is_set()

    def set(self) -> None:
        """Let no call begin any more."""
        self._is_set.set()

    def sleep(self, seconds: float) -> None:
        """Wait; also a wait of no time ends when the calls do.

        Raises
        ------
        AbandonedError
            The calls end.
        BaseException
            What `check` raised.
        """
        end = time.monotonic() + seconds
        left = seconds
        while True:
            if self._is_set.wait(max(0.0, min(left, _LOOK_S))):
                raise AbandonedError
            if threading.get_ident() == self._thread:
                self.check()
            if (left := end - time.monotonic()) <= 0:
                return
