"""Calls of users' functions: never in a thread that runs an event loop, interrupted at once."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from tablevault.engine.calls.usage import CURRENT, Usage

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_END: Any = object()
_LOOK_S = 0.1


class Invoker:
    """Calls functions of users for one run.

    In a thread that runs an event loop, such as that of a notebook, a function could not call
    ``asyncio.run``. There all calls go to one thread without a loop, in the context of the
    caller. Elsewhere a call is a call.
    """

    def __init__(self) -> None:
        self._away: _Away | None = None

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function; what it raises passes.

        Raises
        ------
        KeyboardInterrupt
            At once, also while the function goes on in its own thread; its result is dropped.
        """
        if not _runs_loop():
            return function(*args, **kwargs)
        if self._away is None or self._away.is_left:
            self._away = _Away()
        made: R = self._away.call(lambda: function(*args, **kwargs))
        return made

    def charged(
        self, usage: Usage, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function whose reports of usage count for `usage`."""
        if not _runs_loop():
            return _charged(usage, function, *args, **kwargs)
        return self(_charged, usage, function, *args, **kwargs)

    def items(self, usage: Usage, iterable: Iterable[T]) -> Iterator[T]:
        """Iterate over what a function returned, whose code runs as its calls do."""
        iterator = self.charged(usage, iter, iterable)
        while (item := self.charged(usage, next, iterator, _END)) is not _END:
            yield item

    def close(self) -> None:
        """End the thread, if there is one."""
        if self._away is not None:
            self._away.close()
            self._away = None


class _Away:
    """A thread that makes one call at a time.

    It is a daemon: a function that nobody waits for any more does not keep Python from ending.
    """

    def __init__(self) -> None:
        self.is_left = False
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._context: Context = copy_context()
        self._pid = os.getpid()
        thread = threading.Thread(target=self._work, name="tablevault-function", daemon=True)
        thread.start()

    def call(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call there, and wait for it."""
        self._calls.put(function)
        try:
            result, error = self._wait()
        except BaseException:  # what comes later belongs to no call any more
            self.is_left = True
            self.close()
            raise
        if error is not None:
            raise error
        return result

    def _wait(self) -> tuple[Any, BaseException | None]:
        """Wait for the result.

        An interrupt that arrives just before the waiting begins does not end it, so it begins
        anew from time to time.
        """
        while True:
            with contextlib.suppress(Empty):
                return self._results.get(timeout=_LOOK_S)

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


def _charged(usage: Usage, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in the thread that this is called in, and charge what it reports."""
    token = CURRENT.set(usage)  # a with statement takes 1 us more, for each row
    try:
        return function(*args, **kwargs)
    finally:
        CURRENT.reset(token)


def _runs_loop() -> bool:
    """Return whether this thread runs an event loop of asyncio."""
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - get_running_loop raises, at ten times the cost
