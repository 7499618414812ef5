"""Calls for many rows, one after the other or in threads, and what stops them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, TypeVar

from tablevault.engine.calls.claims import AbandonedError
from tablevault.engine.calls.usage import Usage


class CallExecutor(Protocol):
    """Makes the calls of functions: the place where other kinds of executors are plugged in.

    Which calls are made, when one may begin, whether it is made again, and what becomes of its
    result, is decided by the caller, in this process. Methods are called by several threads.
    """

    def call(
        self, usage: Usage, call: partial[Any], timeout_s: float | None, *, is_async: bool
    ) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call, and return what it returns; what it raises passes.

        Parameters
        ----------
        usage : Usage
            What the call reports counts for it.
        call : partial
            The function with its arguments.
        timeout_s : float, optional
            Seconds that it may take.
        is_async : bool
            Whether the function is a coroutine function.

        Raises
        ------
        TimeoutError
            It took longer. A coroutine is cancelled; a function goes on, and its result is dropped.
        """
        ...

    def items(self, usage: Usage, iterable: Iterable[Any]) -> Iterator[Any]:
        """Iterate over what a function returned, whose code runs as its calls do."""
        ...

    def cancel(self) -> None:
        """End the calls that can be ended, and stop waiting for the others."""
        ...


_LOOK_S: Final = 0.1


class Stop:
    """Whether the calls of one builder are to end; for several threads.

    Parameters
    ----------
    check : callable
        Raises when the execution is to stop. Called in the thread that runs the
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


Work = TypeVar("Work")
Result = TypeVar("Result")


def call_rows(
    call: Callable[[Work], Result],
    work: Iterable[Work],
    keep: Callable[[Result], None],
    *,
    n_threads: int,
    stop: Stop,
) -> None:
    """Call for each piece of work and keep what comes back.

    Parameters
    ----------
    call : callable
        Makes the result of a row, or of some.
    work : iterable
        Rows, begun in this order.
    keep : callable
        Receives results, one at a time but with several threads not in order.
    n_threads : int
        Calls at the same time, at least 1. One means the calling thread.
    stop : Stop
        Is set when no call is to begin any more. Its check is called from time to time, in this
        thread, but never while `keep` is; when the run is interrupted, its calls are ended.

    Raises
    ------
    BaseException
        What `call` raised, as it is. Rows in flight are finished and kept, no others are begun;
        if several fail, the first piece of work counts, as it would without threads.
    """
    if n_threads == 1:
        for piece in work:
            keep(call(piece))
        return
    pieces = work if isinstance(work, Sized) else list(work)
    crew = _Crew(call, pieces, keep, stop)
    size = max(1, min(n_threads, len(pieces)))
    with ThreadPoolExecutor(size, thread_name_prefix="tablevault-row") as pool:
        try:
            # In the context of the caller, which says for instance what process this is.
            working = {pool.submit(copy_context().run, crew.work) for _ in range(size)}
            while working:
                # An interrupt that arrives just before the waiting begins does not end it.
                working = wait(working, timeout=_LOOK_S).not_done
                crew.look()
        except BaseException:
            stop.set()  # an interrupt must not wait for rows that have not begun
            stop.cancel()
            raise
    if crew.failures:
        raise min(crew.failures, key=itemgetter(0))[1]


class _Crew(Generic[Work, Result]):
    """Threads that take work from one list until it ends or one of them fails."""

    def __init__(
        self,
        call: Callable[[Work], Result],
        work: Iterable[Work],
        keep: Callable[[Result], None],
        stop: Stop,
    ) -> None:
        self.failures: list[tuple[float, BaseException]] = []
        self._call = call
        self._keep = keep
        self._stop = stop
        self._waiting = enumerate(work)
        self._lock = threading.Lock()

    def work(self) -> None:
        """Make results until there is no work left."""
        while (taken := self._next()) is not None:
            number, piece = taken
            try:
                result = self._call(piece)
                with self._lock:
                    self._keep(result)
            except AbandonedError:
                return  # it waited for its turn
            except BaseException as error:  # noqa: BLE001 - it is raised again by call_rows
                self._fail(number, error)

    def look(self) -> None:
        """Check whether the execution is to stop; rows in flight are finished then, too."""
        with self._lock:
            if not self._stop.is_set:
                try:
                    self._stop.check()
                except Exception as error:  # noqa: BLE001 - it is raised again by call_rows
                    self._fail(-1.0, error)

    def _fail(self, number: float, error: BaseException) -> None:
        """Let no work begin any more."""
        self._stop.set()
        self.failures.append((number, error))

    def _next(self) -> tuple[int, Work] | None:
        """Take a piece of work; None when there is none to begin."""
        with self._lock:
            return None if self._stop.is_set else next(self._waiting, None)
