"""The calls of one builder: within limits, in time, again after errors that may pass."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from tablevault.engine import results
from tablevault.engine.builders.arguments import KEYWORD, MapNode, compile_arguments, map_text
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.keys import FileText, Inputs
from tablevault.engine.calls.recorder import RunningCall
from tablevault.engine.execution.concurrency import Stop
from tablevault.engine.execution.context import RunContext
from tablevault.engine.execution.remote_calls import RemoteCalls
from tablevault.engine.execution.remote_outcomes import RemoteOutcome
from tablevault.engine.execution.retrying import RetryRules
from tablevault.engine.references import Tables
from tablevault.errors import (
    TableReferenceError,
    TVBudgetError,
    TVBuilderError,
    TVExecutorError,
    TVProcessError,
)
from tablevault.progress import counted_within
from tablevault.secrets import hide, is_secret

_written: dict[str, str] = {}
"""Texts with the value of a secret, as they are passed, and as they stand in a builder."""


class PassedArguments:
    """The arguments of the calls of one builder.

    These are read when a function is about to be called: results that are there need none.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    tables : Tables
        What its arguments read, see `tablevault.engine.builders.arguments.compile_arguments`.
    """

    def __init__(self, builder: ResolvedBuilder, tables: Tables) -> None:
        self._builder = builder
        self._tables = tables
        self._call: Callable[[int | None], dict[str, Any]] | None = None

    def split(self, by_row: Collection[str]) -> tuple[PassedArguments, PassedArguments]:
        """Return the arguments that may differ between rows, and the others."""
        node = self._builder.arguments
        assert isinstance(node, MapNode)
        parts = (
            tuple(each for each in node.items if (str(each[0]) in by_row) is is_by_row)
            for is_by_row in (True, False)
        )
        varying, constant = (
            PassedArguments(replace(self._builder, arguments=MapNode(part)), self._tables)
            for part in parts
        )
        return varying, constant

    def read(self) -> None:
        """Read the environment variables, once.

        Raises
        ------
        TVBuilderError
            One is not set.
        """
        builder = self._builder
        if self._call is None:
            node = map_text(builder.arguments, lambda text: _filled(builder.name, text))
            self._call = compile_arguments(node, self._tables, builder=builder.name)

    def __call__(self, row: int | None) -> dict[str, Any]:
        """Evaluate the arguments of the call for one row, None when there is none."""
        if self._call is None:
            self.read()
        assert self._call is not None
        return self._call(row)


def by_name(file_text: FileText) -> FileText:
    """Return a `FileText` that lets secrets count by their names, too."""
    return lambda text: _written.get(text) or file_text(text)


def _filled(builder: str, text: str) -> str:
    """Put the values of environment variables into a text."""
    if "~ENV:" not in text:
        return text
    used: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        """Read one variable."""
        found = os.environ.get(match[1])
        if found is None:
            raise TVBuilderError(
                f'Builder "{builder}" needs the environment variable "{match[1]}", which is not '
                "set.",
                "Set it, and run this again; its value is passed to the function and kept nowhere.",
                builder=builder,
                field="arguments",
                variable=match[1],
            )
        hide(match[1], found)
        used[match[1]] = found
        return found

    filled = KEYWORD.sub(value, text)
    if any(is_secret(name, found) for name, found in used.items()):
        _written[filled] = text
    return filled


T = TypeVar("T")

_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_OURS: Final = (TableReferenceError, TVBudgetError, TVExecutorError, TVProcessError)


class Caller:
    """Calls the function of one builder.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    function : callable
        What it calls.
    code : bytes
        Digest of the code that this is.
    context : RunContext
        What it shares with the others.

    Attributes
    ----------
    code : bytes
        The same.
    fields : dict of str to object
        What each call gets besides its arguments.
    calls : int
        How often it was called.
    stop : Stop
        Ends its waits.
    """

    def __init__(
        self,
        builder: ResolvedBuilder,
        function: Callable[..., Any],
        code: bytes,
        context: RunContext,
    ) -> None:
        self.fields = _fields_for(function, builder)
        self.calls = 0
        self.stop = Stop(self._look, context.executor.cancel)
        self._builder = builder
        self._function = function
        self.code = code
        self._context = context
        self._is_async = inspect.iscoroutinefunction(function)
        self._gate = context.limiting.gate(builder)
        # Without limits one meter is enough for all calls.
        self._shared_meter = self._gate.meter() if self._gate.is_open else None
        self._rules = RetryRules(builder, function)
        self._is_plain = self._gate.is_open and not builder.retry.times
        self._counting = threading.Lock()
        self._pid = os.getpid()

    def record(
        self, row: int, inputs: Inputs | None, artifacts: CallArtifacts | None = None
    ) -> RunningCall:
        """Return what records the outcome of a call that begins now."""
        record = RunningCall(
            self._builder, self._context.options.ledger, self.code, row, inputs, artifacts
        )
        record.usage.meter = self._shared_meter or self._gate.meter()
        return record

    def make(self, record: RunningCall, attempt: Callable[[], T]) -> T:
        """Make a call, and make it again as the builder says; the last error passes as it is.

        Parameters
        ----------
        record : RunningCall
            Of the call.
        attempt : callable
            Calls once, by `call`, and checks what is returned.

        Raises
        ------
        TVBudgetError
            There is nothing left of a budget.
        """
        if self._is_plain:
            return attempt()
        if not self._builder.retry.times:
            return self._limited(record, attempt)
        calling = self._rules.calling(self._pause, is_ours)
        return calling(partial(self._limited, record, attempt))

    def call(self, record: RunningCall, keywords: Mapping[str, Any]) -> Any:  # noqa: ANN401 - functions return anything
        """Call the function once."""
        self._context.options.control.calling()
        record.calls += 1
        with self._counting:
            self.calls += 1
            self._context.progress.count("calls")
        call = partial(self._function, **self.fields, **keywords)
        value = self._context.executor.call(
            record.usage, call, self._builder.timeout_s, is_async=self._is_async
        )
        self.refuse_copy()
        return value

    def call_all(
        self, records: Sequence[RunningCall], arguments: Sequence[Mapping[str, Any]]
    ) -> Sequence[RemoteOutcome]:
        """Call the function in one worker, once for each record, and return what came of it.

        Where a call was interrupted, the last ones are missing.
        """
        self._context.options.control.calling()
        assert isinstance(self._context.executor, RemoteCalls)
        outcomes = self._context.executor.call_all(
            [partial(self._function, **self.fields, **each) for each in arguments],
            self._builder.timeout_s,
            is_async=self._is_async,
            is_stopped=lambda: self.stop.is_set,
        )
        with self._counting:
            self.calls += len(outcomes)
            self._context.progress.count("calls", len(outcomes))
        for record, outcome in zip(records, outcomes, strict=False):
            record.calls += 1
            record.took(outcome.seconds)
            for used in outcome.used:
                record.usage.add(used)
        return outcomes

    @property
    def is_free(self) -> bool:
        """Whether calls may begin at any time: neither rates nor budgets count them."""
        return self._gate.is_free

    def _limited(self, record: RunningCall, attempt: Callable[[], T]) -> T:
        """Make an attempt once it may begin."""
        meter = record.usage.meter
        if meter is None or meter is self._shared_meter:
            return attempt()
        with self._gate.passing(meter, self.stop):
            return attempt()

    def _pause(self, seconds: float) -> None:
        """Wait before a call is made again."""
        with counted_within(self._context.progress, "retrying"):
            self.stop.sleep(seconds)

    def _look(self) -> None:
        """Refresh the progress, and check whether the execution is to stop."""
        self._context.progress.advance(self._builder.name, 0)
        self._context.options.control.check()

    def refuse_copy(self) -> None:
        """Stop in a copy of the process that a function made: the original goes on."""
        if os.getpid() != self._pid:
            raise TVProcessError(
                f'Builder "{self._builder.name}": function "{self._builder.function}" made a '
                "copy of the process with fork, and returned in the copy.",
                "End the copy with os._exit, or use subprocess or multiprocessing.",
                builder=self._builder.name,
            )

    def failed(self, record: RunningCall, error: BaseException, row: int | None) -> None:
        """Record why a call failed, and note on the exception where it belongs."""
        if record.calls or not isinstance(error, TVBudgetError):  # else there was no call
            record.failed(error)
            self.note(error, row)

    def note(self, error: BaseException, row: int | None) -> None:
        """Note on an exception which builder, function, row and primary key it belongs to."""
        if not isinstance(error, Exception):
            return
        builder, draft = self._builder, self._context.tables.draft
        note = (
            f'In builder "{builder.name}", function "{builder.function}" of module '
            f'"{builder.module}"'
        )
        if row is not None:
            is_there = builder.kind != "index" and row < draft.rows
            key = ", ".join(
                f"{name} {results.show(draft.cell(name, row))}"
                for name in (self._context.key_columns if is_there else ())
            )
            note += f", row {row}" + (f" ({key})" if key else "")
        with contextlib.suppress(Exception):  # a class of the user may refuse notes
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)


def is_ours(error: BaseException) -> bool:
    """Return whether an error is about the execution, not about one call."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return True
    return not isinstance(error, Exception) or isinstance(error, _OURS)


_FIELDS: Final = ("changed_columns", "dtypes")
"""Fields that a function of this package gets if it has a parameter of that name."""


def _fields_for(function: Callable[..., Any], builder: ResolvedBuilder) -> dict[str, Any]:
    """Return the fields of the builder that a function of this package has parameters for."""
    if builder.is_custom:
        return {}
    parameters = inspect.signature(function).parameters
    return {name: getattr(builder, name) for name in _FIELDS if name in parameters}
