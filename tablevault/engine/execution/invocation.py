"""Calls of users' functions: never in a thread that runs an event loop, interrupted at once."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar

from tablevault.engine.calls.usage import CURRENT, Usage
from tablevault.engine.execution.coroutines import Coroutines, timed_out
from tablevault.engine.execution.stop import AbandonedError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_END: Any = object()
_LOOK_S = 0.1


class Invoker:
    """Calls functions of users for one run; for several threads.

    In a thread that runs an event loop, such as that of a notebook, a function could not call
    ``asyncio.run``. There all calls go to one thread without a loop, in the context of the
    caller. So does a call that may take only so long: a thread can be left, not ended. Elsewhere a
    call is a call. A coroutine that it returns is run in the event loop of this package.
    """

    def __init__(self) -> None:
        self._coroutines = Coroutines()
        self._is_cancelled = threading.Event()
        self._threads = threading.local()
        self._all: list[_Away] = []

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function; what it raises passes.

        Raises
        ------
        KeyboardInterrupt
            At once, also while the function goes on in its own thread; its result is dropped.
        """
        if not _runs_loop():
            return function(*args, **kwargs)
        made: R = self._elsewhere(lambda: function(*args, **kwargs), None)
        return made

    def charged(
        self,
        usage: Usage,
        function: Callable[..., Any],
        /,
        *args: object,
        **kwargs: object,
    ) -> Any:  # noqa: ANN401 - functions return anything
        """Call a function whose reports of usage count for `usage`."""
        return self.timed(usage, partial(function, *args, **kwargs), None, is_async=False)

    def timed(
        self, usage: Usage, call: Callable[[], Any], timeout_s: float | None, *, is_async: bool
    ) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call that counts for `usage`, and may take so many seconds.

        Raises
        ------
        TimeoutError
            It took longer. A coroutine is cancelled; a function goes on, and its result is dropped.
        """
        if (timeout_s is None or is_async) and not _runs_loop():
            return self._charged(usage, timeout_s, call)
        return self._elsewhere(
            lambda: self._charged(usage, timeout_s, call), None if is_async else timeout_s
        )

    def items(self, usage: Usage, iterable: Iterable[T]) -> Iterator[T]:
        """Iterate over what a function returned, whose code runs as its calls do."""
        iterator = self.charged(usage, iter, iterable)
        while (item := self.charged(usage, next, iterator, _END)) is not _END:
            yield item

    def cancel(self) -> None:
        """Cancel all coroutines, and wait for no call in another thread any more."""
        self._is_cancelled.set()
        self._coroutines.cancel()

    def close(self) -> None:
        """End the threads, if there are any."""
        self.cancel()
        for away in self._all:
            away.close()

    def _elsewhere(self, call: Callable[[], Any], timeout_s: float | None) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call in a thread that belongs to this one."""
        away = getattr(self._threads, "away", None)
        if away is None or away.is_left:
            away = self._threads.away = _Away(self._is_cancelled)
            self._all.append(away)
        return away.call(call, timeout_s)

    def _charged(self, usage: Usage, timeout_s: float | None, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call in this thread, and charge what it reports."""
        token = CURRENT.set(usage)  # a with statement takes 1 us more, for each row
        try:
            made = call()
            if isinstance(made, CoroutineType):
                return self._coroutines.run(made, timeout_s)
            return made
        finally:
            CURRENT.reset(token)


class _Away:
    """A thread that makes one call at a time.

    It is a daemon: a function that nobody waits for any more does not keep Python from ending.

    Parameters
    ----------
    is_cancelled : Event
        Whether nobody needs its calls any more.
    """

    def __init__(self, is_cancelled: threading.Event) -> None:
        self.is_left = False
        self._is_cancelled = is_cancelled
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._context: Context = copy_context()
        self._pid = os.getpid()
        thread = threading.Thread(target=self._work, name="tablevault-function", daemon=True)
        thread.start()

    def call(self, function: Callable[[], Any], timeout_s: float | None) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call there, and wait for it."""
        self._calls.put(function)
        try:
            result, error = self._wait(timeout_s)
        except BaseException:  # what comes later belongs to no call any more
            self.is_left = True
            self.close()
            raise
        if error is not None:
            raise error
        return result

    def _wait(self, timeout_s: float | None) -> tuple[Any, BaseException | None]:
        """Wait for the result.

        An interrupt that arrives just before the waiting begins does not end it, so it begins
        anew from time to time. A coroutine has its own end, which comes first.
        """
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(Empty):
                return self._results.get(timeout=max(0.0, min(_LOOK_S, end - time.monotonic())))
            if time.monotonic() >= end:
                raise timed_out(timeout_s)
            if self._is_cancelled.is_set():
                raise AbandonedError

    def close(self) -> None:
        """Let the thread end after the call that it makes."""
        self._calls.put(None)

    def _work(self) -> None:
        """Make calls until there are no more; a copy of the process has nobody to answer."""
        while (function := self._calls.get()) is not None:
            result: Any = None
            raised: BaseException | None = None
            try:
                result = self._context.run(function)
            except BaseException as error:  # noqa: BLE001 - it is raised where the call came from
                raised = error
            if os.getpid() != self._pid:
                return
            self._results.put((result, raised))


def _runs_loop() -> bool:
    """Return whether this thread runs an event loop of asyncio."""
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - get_running_loop raises, at ten times the cost
