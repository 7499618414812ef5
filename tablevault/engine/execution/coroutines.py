"""Coroutines of users' functions, in one event loop of this package's own.

The loop lives as long as the process, in a thread of its own: clients that a module makes when it
is imported belong to the loop in which they are first used, and must work in later executions.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Coroutine
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

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
        """Run until stopped, and cancel what nobody waits for any more."""
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
            for running in self._running:
                running.cancel()


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
        self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> Any:  # noqa: ANN401 - coroutines return anything
        """Wait for the result; an interrupt cancels it."""
        try:
            task = self._wait()
        except BaseException:
            self.cancel()
            with contextlib.suppress(Empty):
                self._ended.get(timeout=_END_S)
            raise
        if task.cancelled() and not self._is_cancelled:
            raise concurrent.futures.CancelledError("The function cancelled its own task.")
        return task.result()

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

    def _cancel(self) -> None:
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
