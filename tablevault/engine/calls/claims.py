"""Claims of cached calls: who asks for a call that another one makes waits for its result."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from tablevault.engine.calls.keys import Inputs

_LOOK_S: Final = 0.1


class AbandonedError(BaseException):
    """Ends a wait in a thread whose execution ends: its call is not needed any more.

    Like an interrupt it passes ``except Exception``.
    """


class CallAttempt:
    """An attempt at a call of a builder, in a thread that goes on if the attempt is abandoned.

    Parameters
    ----------
    is_cancelled : Event
        Set when the execution ends, and no attempt is needed any more.
    """

    def __init__(self, is_cancelled: threading.Event) -> None:
        self.is_left = False
        self._is_cancelled = is_cancelled
        self._claims: set[Claim] = set()

    def leave(self) -> None:
        """Abandon it, and release its claims; also those of threads whose attempt is not known."""
        self.is_left = True
        for claim in (*self._claims, *_unknown._claims):  # noqa: SLF001 - the same class
            claim.release()

    def check(self) -> None:
        """Raise AbandonedError if it is abandoned: what it asks for would be paid in vain."""
        if self.is_left or self._is_cancelled.is_set():
            raise AbandonedError

    def wait_for(self, ended: Future[None]) -> None:
        """Wait until a claim has ended, as long as this attempt is not abandoned."""
        while wait([ended], timeout=_LOOK_S).not_done:
            self.check()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Hold a claim while the body runs, or until this is abandoned."""
        self._claims.add(claim)
        try:
            self.check()
            yield
        finally:
            self._claims.discard(claim)
            claim.release()


_unknown: Final = CallAttempt(threading.Event())
"""That of rows that cannot be abandoned, and of threads that a function starts."""
ATTEMPT: ContextVar[CallAttempt] = ContextVar("tablevault_attempt", default=_unknown)


class Claim:
    """A call that is being made.

    Attributes
    ----------
    ended : Future
        Done when it has ended, failed or was abandoned.
    waits : set of Claim
        Calls that it waits for: those within it, wherever they are made.
    """

    def __init__(self, claims: Claims, inputs: Inputs) -> None:
        self.ended: Future[None] = Future()
        self.ended.set_running_or_notify_cancel()  # a coroutine that is cancelled ends its own wait
        self.waits: set[Claim] = set()
        self._claims = claims
        self._inputs = inputs

    def release(self) -> None:
        """Let others make the call."""
        self._claims.end(self._inputs, self)

    def waits_for(self, other: Claim) -> bool:
        """Return whether this cannot end before another one has."""
        seen: set[Claim] = set()
        found = {self}
        while found and other not in found:
            seen |= found
            found = {each for claim in found for each in tuple(claim.waits)} - seen
        return bool(found)


_innermost: ContextVar[Claim | None] = ContextVar("tablevault_claim", default=None)


class Claims:
    """The cached calls that one execution is making; for several threads and event loops."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._running: dict[Inputs, Claim] = {}
        self._lock = threading.RLock()  # the garbage collector may end a coroutine at any time

    @contextmanager
    def claim(self, inputs: Inputs, *, may_wait: bool) -> Iterator[Future[None] | None]:
        """Claim a call for the body, which makes it.

        The value is None, or, if the call is being made elsewhere, a future that is done when that
        has ended: the body waits for it. Without `may_wait`, and where it would wait for itself,
        the value is None, too.

        Raises
        ------
        AbandonedError
            The attempt that asks is abandoned.
        """
        mine, outer = Claim(self, inputs), _innermost.get()
        with self._lock:
            claim = self._running.setdefault(inputs, mine)
            if claim is not mine and not (
                may_wait and (outer is None or not claim.waits_for(outer))
            ):
                claim = mine
            if outer is not None:
                outer.waits.add(claim)
        token = _innermost.set(mine)
        try:
            with ATTEMPT.get().holding(mine):
                yield None if claim is mine else claim.ended
        finally:
            if outer is not None:
                outer.waits.discard(claim)
            _innermost.reset(token)

    def end(self, inputs: Inputs, claim: Claim) -> None:
        """End a claim; not in a forked process, which may have inherited a locked lock."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._running.get(inputs) is claim:
                del self._running[inputs]
            if not claim.ended.done():
                claim.ended.set_result(None)


def runs_loop() -> bool:
    """Return whether this thread runs an event loop of asyncio."""
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - get_running_loop raises, at ten times the cost
