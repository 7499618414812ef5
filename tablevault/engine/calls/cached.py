"""``tablevault.cached``: recorded calls of functions within the function of a builder."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final, NoReturn, ParamSpec, TypeVar, cast

from tablevault.engine.calls.claims import ATTEMPT, Claims, runs_loop
from tablevault.engine.calls.keys import FileText, Inputs, UnhashableArgumentError, hash_values
from tablevault.engine.calls.ledger import Ledger, OwnCalls
from tablevault.engine.calls.records import NO_ROW, CallRecord, Outcome, error_text
from tablevault.engine.calls.usage import CURRENT, Usage, charging, usage_in
from tablevault.engine.code import plain_name
from tablevault.engine.fingerprints.fingerprint import Fingerprint
from tablevault.engine.row_values import decode_values, encode_values
from tablevault.errors import TVExecutorError
from tablevault.frames.tagged_json import UnstorableValueError
from tablevault.secrets import leaked

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("tablevault")


def cached(function: Callable[P, R]) -> Callable[P, R]:
    """Record the results of a function that builders' functions call.

    During an execution a call with known arguments is not made again: its key is the code of
    `function`, with all code that it uses, and the arguments by value. So a change elsewhere, of a
    parser for example, costs nothing, even after an execution that failed. While one row makes a
    call, others with the same key wait for its result. Outside of an execution the function is
    simply called. Exceptions are not cached: after one, the next of those that wait calls.

    If it returns the response of a provider, with ``usage``, and has not called
    :func:`tablevault.report_usage`, tokens and model are taken from the response.

    Parameters
    ----------
    function : callable
        A function at module level, or a coroutine function. Its arguments and results are values
        that a cell of dtype ``object`` may hold; with others it is called each time.

    Returns
    -------
    callable
        A function of the same name and signature.

    Examples
    --------
    >>> @cached
    ... def ask(model, prompt):
    ...     return f"{model} on {prompt}"
    >>> ask("small", "hello")
    'small on hello'
    """
    bound = _current.get()

    def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _CachedCall | None:
        """Return the call if it is recorded; None if it is only made."""
        # In threads of the user the record is that of the decoration.
        recorded = _current.get() or bound
        if recorded is None or not recorded.is_open:
            return None
        key = recorded.key(function, args, kwargs)
        return None if key is None else _CachedCall(recorded, key)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        """Return the recorded result, or call."""
        made = begin(args, kwargs)
        if made is None:
            return function(*args, **kwargs)
        with made.claimed():
            if (found := made.find()) is not None:
                return cast("R", found[0])
            with made:
                value = function(*args, **kwargs)
            return cast("R", made.returned(value))

    @functools.wraps(function)
    async def await_call(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - any result
        """Return the recorded result, or call and await."""
        made = begin(args, kwargs)
        if made is None:
            return await cast("Any", function(*args, **kwargs))
        async with made.claimed_async():
            if (found := made.find()) is not None:
                return found[0]
            with made:
                value = await cast("Any", function(*args, **kwargs))
            return made.returned(value)

    return cast("Callable[P, R]", await_call) if inspect.iscoroutinefunction(function) else call


_IN_MEMORY = 10_000
"""Calls of a function that are kept in memory, too."""
_UNSTORABLE = "is of a type that cannot be"
_RETURNED: Final = "what it returns"


class _Key:
    """The key of one call; `column` is the builder in its record."""

    __slots__ = ("code", "column", "inputs", "name")

    def __init__(self, name: str, inputs: Inputs, code: bytes) -> None:
        self.name = name
        self.column = f"@{name}"
        self.inputs = inputs
        self.code = code


class _CachedCall:
    """One running call: the body of ``with``; an exception is recorded, with its usage."""

    __slots__ = ("_began", "_began_at", "_calls", "_charging", "_key", "_outer", "_usage")

    def __init__(self, calls: CachedCalls, key: _Key) -> None:
        self._calls = calls
        self._key = key
        self._outer = CURRENT.get()
        outer = self._outer
        self._usage = Usage(
            key.column if outer is None else outer.builder, None if outer is None else outer.meter
        )
        self._charging = charging(self._usage)
        self._began_at = self._began = 0.0

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Run the body once nobody else makes the same call; others wait for its end."""
        while True:
            with self._calls.claim(self._key, is_async=False) as other:
                if other is None:
                    yield
                    return
                ATTEMPT.get().wait_for(other)

    @asynccontextmanager
    async def claimed_async(self) -> AsyncIterator[None]:
        """Do the same in a coroutine."""
        while True:
            with self._calls.claim(self._key, is_async=True) as other:
                if other is None:
                    yield
                    return
                await asyncio.wrap_future(other)

    def find(self) -> tuple[Any] | None:
        """Return the recorded result in a tuple; None if there is none."""
        return self._calls.find(self._key)

    def __enter__(self) -> None:
        """Begin."""
        self._began_at, self._began = time.time(), time.perf_counter()
        self._charging.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        """Record an exception; an interrupt only if the call has reported usage."""
        self._charging.__exit__(None, None, None)
        if error is not None and (isinstance(error, Exception) or self._usage.has_any):
            self._add("error", error=f"{type(error).__name__}: {error_text(error)}")

    def returned(self, value: object) -> object:
        """Record the result of the function, and return it as later calls will receive it."""
        if not self._usage.has_any:
            self._usage.add(usage_in(value))
        try:
            text = encode_values((value,))
        except UnstorableValueError:
            return self._unrecorded(value, _UNSTORABLE)
        if leaked(text):
            return self._unrecorded(value, "holds a secret")
        self._calls.remember(self._key, self._add("ok", value=text))
        return decode_values(text)[0]

    def _unrecorded(self, value: object, why: str) -> object:
        """Return the result unrecorded; charge its usage to the enclosing call."""
        self._calls.warn_once(self._key.name, _RETURNED, why)
        used = self._usage.close()
        if self._outer is not None:
            self._outer.add(used, is_metered=True)
        return value

    def _add(
        self, outcome: Outcome, *, value: str | None = None, error: str | None = None
    ) -> CallRecord:
        """Record the call."""
        key = self._key
        call = CallRecord(
            0,
            key.column,
            NO_ROW,
            key.inputs,
            key.code,
            outcome,
            value,
            self._began_at,
            time.perf_counter() - self._began,
            error,
            None,
            *self._usage.close(),
        )
        self._calls.record(call, self._usage.builder)
        return call


class CachedCalls:
    """The calls of cached functions in one execution; for several threads.

    Parameters
    ----------
    ledger : Ledger
        The records.
    fingerprint : callable
        Returns the fingerprint of a function of the vault.
    file_text : callable
        See `tablevault.engine.calls.keys.FileText`.
    """

    def __init__(
        self,
        ledger: Ledger,
        fingerprint: Callable[[str, str, bool], Fingerprint | None],
        file_text: FileText,
    ) -> None:
        self._is_closed = False
        self._pid = os.getpid()
        self._ledger = ledger
        self._fingerprint = fingerprint
        self._file_text = file_text
        self._codes: dict[str, bytes] = {}
        self._earlier: dict[str, OwnCalls] = {}
        self._latest: dict[str, dict[Inputs, CallRecord]] = {}
        self._warned: set[tuple[str, str]] = set()
        self._claims = Claims()
        self._lock = threading.RLock()

    @property
    def is_open(self) -> bool:
        """Whether calls are recorded: not after the execution, nor in a forked process.

        SQLite forbids the use of a connection that a fork has inherited.
        """
        return not self._is_closed and self._pid == os.getpid()

    def close(self) -> None:
        """Stop recording."""
        self._is_closed = True

    def key(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> _Key | None:
        """Return the key of a call; None if an argument cannot be hashed."""
        name = f"{plain_name(function.__module__)}.{function.__qualname__}"
        try:
            given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
        except TypeError:
            return None  # the call itself raises it
        for cell_name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            given[f"<{cell_name}>"] = cell.cell_contents
        try:
            inputs = hash_values(given, self._file_text, name.encode())
        except UnhashableArgumentError:
            self.warn_once(name, "an argument")
            return None
        return _Key(name, inputs, self._code(function, name))

    def claim(self, key: _Key, *, is_async: bool) -> AbstractContextManager[Future[None] | None]:
        """Claim a call, see `Claims.claim`.

        A thread that runs an event loop waits in coroutines only, and others only outside of them:
        a loop that is blocked, or one of another kind than asyncio's, might not go on. Nobody waits
        for a function whose results are not recorded.
        """
        may_wait = runs_loop() is is_async and (key.name, _RETURNED) not in self._warned
        return self._claims.claim(key.inputs, may_wait=may_wait)

    def find(self, key: _Key) -> tuple[Any] | None:
        """Return the recorded result of a call in a tuple; None if there is none."""
        with self._lock:
            if key.name not in self._earlier:
                self._earlier[key.name] = self._ledger.own(key.column)
            call = self._latest.get(key.name, {}).get(key.inputs)
            if call is None:
                call = self._earlier[key.name].find([key.inputs]).get(key.inputs)
            if call is not None and call.code != key.code:
                call = None
        if call is None:
            call = self._ledger.find([key.inputs], key.code).get(key.inputs)
        if call is None or call.value is None:
            return None
        (value,) = decode_values(call.value)
        return (value,)

    def record(self, call: CallRecord, builder: str) -> None:
        """Record a call that was made within a call of a builder."""
        self._ledger.add(call, builder=builder)

    def remember(self, key: _Key, call: CallRecord) -> None:
        """Keep a recorded call in memory, so that it is found before it is written."""
        with self._lock:
            latest = self._latest.setdefault(key.name, {})
            if len(latest) == _IN_MEMORY:
                self._ledger.flush()
                self._earlier[key.name] = self._ledger.own(key.column)
                latest.clear()
            latest[key.inputs] = call

    def _code(self, function: Callable[..., Any], name: str) -> bytes:
        """Return the digest of the code of a function."""
        with self._lock:
            if name not in self._codes:
                top = function.__qualname__.partition(".")[0]
                found = self._fingerprint(plain_name(function.__module__), top, True)
                assert found is not None, "it is loaded"
                self._ledger.note_code(found)
                self._codes[name] = found.digest
            return self._codes[name]

    def warn_once(self, name: str, what: str, why: str = _UNSTORABLE) -> None:
        """Warn, once, that calls of a function cannot be recorded."""
        with self._lock:
            if (name, what) in self._warned:
                return
            self._warned.add((name, what))
        _log.warning('Calls of "%s" are not recorded: %s %s.', name, what, why)


class RefusedCalls(CachedCalls):
    """Stands for the records of an execution where they are out of reach.

    Parameters
    ----------
    builder : str
        Name of the builder whose function is called.
    """

    def __init__(self, builder: str) -> None:
        self._builder = builder
        self.refusal: TVExecutorError | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are looked up here."""
        return True

    def key(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],  # noqa: ARG002 - as in CachedCalls
        kwargs: Mapping[str, Any],  # noqa: ARG002 - as above
    ) -> NoReturn:
        """Refuse a call: it might be paid for although it is recorded."""
        name = f"{plain_name(function.__module__)}.{function.__qualname__}"
        self.refusal = TVExecutorError(
            f'Builder "{self._builder}": function "{name}" is decorated with cached, and its '
            "records cannot be read in a worker process.",
            "Write executor: threads into the builder, or do without cached.",
            builder=self._builder,
        )
        raise self.refusal


_current: ContextVar[CachedCalls | None] = ContextVar("tablevault_cached_calls", default=None)


@contextmanager
def recording(calls: CachedCalls | None) -> Iterator[None]:
    """Record the calls of cached functions while the body runs."""
    token = _current.set(calls)
    try:
        yield
    finally:
        _current.reset(token)
        if calls is not None:
            calls.close()


@contextmanager
def refusing(builder: str) -> Iterator[None]:
    """Refuse calls of cached functions as long as the body, calls of a builder, runs."""
    token = _current.set(RefusedCalls(builder))
    try:
        yield
    finally:
        _current.reset(token)


def refusal() -> TVExecutorError | None:
    """Return why a call of a cached function was refused; code of the user may have caught it."""
    calls = _current.get()
    return calls.refusal if isinstance(calls, RefusedCalls) else None
