"""Calls of users' functions: in threads of their own, coroutines in one event loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from types import CoroutineType
from typing import Any, Final, ParamSpec, TypeVar

from tablevault.engine.calls.claims import ATTEMPT, CallAttempt, runs_loop
from tablevault.engine.calls.usage import CURRENT, Usage

T = TypeVar("T")

_LOOK_S: Final = 0.1
_END_S: Final = 10.0
"""For so long a coroutine that is cancelled is waited for."""


class _Loop:
    """An event loop that runs in a thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="tablevault-loop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; a copy of the process has no thread to stop."""
        if self.pid == os.getpid():
            self._is_closing = True
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(2 * _END_S)
            if not self.loop.is_running():
                self.loop.close()

    def _run(self) -> None:
        """Run until stopped, and cancel what is left."""
        asyncio.set_event_loop(self.loop)
        while not self._is_closing:
            # SystemExit of a task, which its caller gets, ends the loop besides
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()
        if left := asyncio.all_tasks(self.loop):
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left, timeout=_END_S))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())


_lock = threading.Lock()
_loop: _Loop | None = None


def _own_loop() -> _Loop:
    """Return the loop of this process."""
    global _loop  # noqa: PLW0603 - one for each process
    with _lock:
        if _loop is None or _loop.pid != os.getpid():
            _loop = _Loop()
            atexit.register(_loop.close)
        return _loop


class Coroutines:
    """The coroutines of one execution; for several threads."""

    def __init__(self) -> None:
        self._running: set[_Running] = set()
        self._lock = threading.Lock()
        self._is_cancelled = False

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine to its end, and return its result; what it raises passes.

        Raises
        ------
        TimeoutError
            It took longer than `timeout_s`, and was cancelled.
        CancelledError
            `cancel` was called.
        """
        with self._lock:
            if self._is_cancelled:
                coroutine.close()
                raise asyncio.CancelledError
            running = _Running(coroutine, timeout_s)
            self._running.add(running)
        try:
            result: T = running.result()
            return result
        finally:
            with self._lock:
                self._running.discard(running)

    def cancel(self) -> None:
        """Cancel all that run; from now on none begins."""
        with self._lock:
            self._is_cancelled = True
            if running := tuple(self._running):  # all at once: one may wait for another
                _own_loop().loop.call_soon_threadsafe(_cancel_all, running)


def _cancel_all(running: Iterable[_Running]) -> None:
    """Cancel coroutines, in the thread of the loop."""
    for each in running:
        each.cancel_here()


class _Running:
    """One coroutine that runs."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], timeout_s: float | None) -> None:
        self._coroutine = coroutine
        self._timeout_s = timeout_s
        self._loop = _own_loop().loop
        self._ended: SimpleQueue[asyncio.Task[Any]] = SimpleQueue()
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self._loop.call_soon_threadsafe(self._begin)  # in a copy of this thread's context

    def cancel(self) -> None:
        """Cancel it."""
        self._loop.call_soon_threadsafe(self.cancel_here)

    def result(self) -> Any:  # noqa: ANN401 - coroutines return anything
        """Wait for the result; an interrupt cancels it."""
        try:
            task = self._wait()
        except BaseException:
            self.cancel()
            with contextlib.suppress(Empty):
                self._ended.get(timeout=_END_S)
            raise
        try:
            return task.result()
        except asyncio.CancelledError as error:
            if self._is_cancelled:
                raise
            text = "The function cancelled its own task."
            raise concurrent.futures.CancelledError(text).with_traceback(
                error.__traceback__
            ) from None

    def _wait(self) -> asyncio.Task[Any]:
        """Wait for the end.

        An interrupt that arrives just before the waiting begins does not end it, so the main
        thread, which hears interrupts, begins it anew from time to time.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._ended.get()
        while True:
            with contextlib.suppress(Empty):
                return self._ended.get(timeout=_LOOK_S)

    def _begin(self) -> None:
        """Begin, in the thread of the loop."""
        self._task = self._loop.create_task(self._limited())
        self._task.add_done_callback(self._end)
        if self._is_cancelled:
            self._task.cancel()

    def cancel_here(self) -> None:
        """Cancel it, in the thread of the loop."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        """Hand over what came of it."""
        self._coroutine.close()  # if it was cancelled before it began
        self._ended.put(task)

    async def _limited(self) -> Any:  # noqa: ANN401 - coroutines return anything
        """Await the coroutine for as long as it may take."""
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                return await self._coroutine
        except TimeoutError:
            if limit.expired():
                raise timed_out(self._timeout_s) from None
            raise


def timed_out(timeout_s: float | None) -> TimeoutError:
    """Return the error of a call that took too long."""
    return TimeoutError(f"The call took longer than timeout_s, {timeout_s:g} seconds.")


P = ParamSpec("P")
R = TypeVar("R")

_END: Any = object()


class Invoker:
    """Calls functions of users in this process; implements `CallExecutor` for one run.

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
        if not runs_loop():
            return function(*args, **kwargs)
        made: R = self._elsewhere(lambda: function(*args, **kwargs), None)
        return made

    def call(
        self, usage: Usage, call: Callable[[], Any], timeout_s: float | None, *, is_async: bool
    ) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call; see `CallExecutor`."""
        if (timeout_s is None or is_async) and not runs_loop():
            return self._charged(usage, timeout_s, call)
        return self._elsewhere(
            lambda: self._charged(usage, timeout_s, call), None if is_async else timeout_s
        )

    def items(self, usage: Usage, iterable: Iterable[T]) -> Iterator[T]:
        """Iterate over what a function returned, whose code runs as its calls do."""
        iterator = self.call(usage, partial(iter, iterable), None, is_async=False)
        following = partial(next, iterator, _END)
        while (item := self.call(usage, following, None, is_async=False)) is not _END:
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
        if away is None or away.attempt.is_left:
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

    It is a daemon: an abandoned function does not keep Python from ending.

    Parameters
    ----------
    is_cancelled : Event
        Set when its calls are not needed any more.
    """

    def __init__(self, is_cancelled: threading.Event) -> None:
        self.attempt = CallAttempt(is_cancelled)
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
            self.attempt.leave()
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
            self.attempt.check()

    def close(self) -> None:
        """Let the thread end after the call that it makes."""
        self._calls.put(None)

    def _work(self) -> None:
        """Make calls until there are no more; in a forked process there is no caller."""
        self._context.run(ATTEMPT.set, self.attempt)
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
