"""One builder of a run: results that are there are taken, the function is called for the rest."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from tablevault.engine import results
from tablevault.engine.builders.builder import PROVIDER_BATCH
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.lookup import item_inputs
from tablevault.engine.calls.recorder import RunningCall
from tablevault.engine.calls.records import NO_ROW
from tablevault.engine.calls.usage import Usage
from tablevault.engine.execution.caller import Caller, PassedArguments
from tablevault.engine.execution.context import RunContext
from tablevault.engine.execution.finder import Finder, FoundRows, FoundTable
from tablevault.engine.execution.provider_batches import BatchCalls
from tablevault.engine.execution.remote_calls import RemoteCalls
from tablevault.engine.execution.remote_rows import RemoteRowCalls
from tablevault.engine.execution.reuse import Decision
from tablevault.engine.execution.row_wise import RowCalls, RowWork
from tablevault.engine.fingerprints.fingerprint import Fingerprint
from tablevault.engine.results import refuse_leaks
from tablevault.engine.row_values import RowResults, Values, where
from tablevault.render import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderResult:
    """What one builder did: what was called, how often, for which columns and how many rows."""

    name: str
    module: str
    function: str
    is_custom: bool
    columns: tuple[str, ...]
    rows: int
    calls: int
    reused: int
    """Rows whose cells were there before; the others were made by this execution."""
    errors: int = 0
    """Rows whose calls failed, and that stay null."""
    expected_cost: float | None = None
    """What its calls since the last instance were expected to cost when this execution began to
    call it; None where nothing was known."""
    reason: str
    """Why the others were."""


Function = Callable[..., Any]


class Step:
    """Runs one builder and adds its columns to the draft.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    function : callable
        What it calls.
    code : Fingerprint
        The code that this is.
    context : RunContext
        What it shares with the others.

    Attributes
    ----------
    finder : Finder
        Finds its results that are there.
    missing : frozenset of int
        Rows that stay null: their calls failed or were not made, or a cell that they read is null
        for that reason.
    """

    def __init__(
        self, builder: ResolvedBuilder, function: Function, code: Fingerprint, context: RunContext
    ) -> None:
        self._builder = builder
        self._fingerprint = code
        self._code = code.digest
        self._context = context
        self._draft = context.tables.draft
        self._ledger = context.options.ledger
        self._progress = context.progress
        self._control = context.options.control
        self._caller = Caller(builder, function, self._code, context)
        self.finder = Finder(builder, self._code, self._caller.fields, context)
        self._first_rows: int | None = None
        self._reused = 0
        self._errors = 0
        self._expected_cost: float | None = None
        self._unknown: frozenset[int] = frozenset()
        self.missing: frozenset[int] = frozenset()
        self._is_exact = True

    def run(
        self,
        decision: Decision,
        unknown: frozenset[int] = frozenset(),
        first_rows: int | None = None,
    ) -> BuilderResult:
        """Make the columns.

        Parameters
        ----------
        decision : Decision
            Which rows the earlier instance holds unchanged.
        unknown : frozenset of int
            Rows that read a missing cell: there is nothing to ask for them.
        first_rows : int, optional
            In a trial, the rows for which a row-wise function is called; others are not called.
        """
        builder, draft = self._builder, self._draft
        self._unknown, self._first_rows = unknown, first_rows
        self.finder.begin()
        self._control.check()
        self._arguments = PassedArguments(builder, self._context.tables)
        self._progress.start(builder.name, self.finder.rows)
        try:
            found = self.finder.find(decision, unknown)
            self.finder.adopt(found.decision)
            self._add(self._finished(found))
        finally:
            self._progress.finish(builder.name)
        if first_rows is not None and self.missing:
            self._control.check()
        else:
            columns = builder.changed_columns
            self._ledger.finish(builder.name, self._code, columns, is_exact=self._is_exact)
            self._control.ended(builder.name)
        _release_memory()
        return BuilderResult(
            name=builder.name,
            module=builder.module,
            function=builder.function,
            is_custom=builder.is_custom,
            columns=builder.changed_columns,
            rows=draft.rows,
            calls=self._caller.calls,
            reused=self._reused,
            errors=self._errors,
            expected_cost=self._expected_cost,
            reason=self._reason(found),
        )

    def _reason(self, found: FoundRows | FoundTable) -> str:
        """Return why rows were made, or that none had to be."""
        if self._builder.always_run or found.decision.keeps_all:
            return found.decision.reason
        rows = self._draft.rows
        reason = self.finder.reason(found, is_called=self._reused < rows or not rows)
        left = len(self.missing) - self._errors
        if left and self._first_rows is None:
            return f"{reason}; {counted(left, 'row')} left whose inputs failed"
        return reason

    def _finished(self, found: FoundRows | FoundTable) -> dict[str, pd.Series]:
        """Return the columns with their dtypes."""
        builder, is_trial = self._builder, self._first_rows is not None
        if isinstance(found, FoundRows):
            made = self._row_wise(found)
            if is_trial:
                return results.partial_columns(made, builder)
            columns: Mapping[str, pd.Series] = made.columns()
        elif is_trial and found.columns is None:
            self.missing = frozenset(range(self._draft.rows))
            nothing = RowResults(builder.changed_columns, self._draft.rows)
            return results.partial_columns(nothing, builder)
        else:
            columns = self._whole(found)
            if found.is_typed:
                return dict(columns)
        finished = {name: results.typed(series, name, builder) for name, series in columns.items()}
        self._is_exact = all(
            results.is_exact(columns[name], series) for name, series in finished.items()
        )
        return finished

    def _whole(self, found: FoundTable) -> Mapping[str, pd.Series]:
        """Return all rows as they were found, or call once for them."""
        if found.columns is not None:
            self._skip(found.reused)
            self._skip(found.own, False)
            return found.columns
        self._arguments.read()
        self._expect(1)
        return (
            self._whole_frame(found)
            if self._builder.return_type == "dataframe"
            else self._generated(found)
        )

    def _add(self, finished: dict[str, pd.Series]) -> None:
        """Add columns to the draft; the index builder's decide the number of rows."""
        if self._builder.kind == "index":
            self._draft.set_rows(len(next(iter(finished.values()), ())))
            key = {name: finished[name] for name in self._builder.primary_key}
            results.check_key(pd.DataFrame(key), self._builder)
        for name, series in finished.items():
            self._draft.set_column(name, series)

    def _skip(self, rows: int, reused: bool = True) -> None:
        """Count rows whose results were there, and whether others have made them."""
        if rows:
            self._progress.skip(self._builder.name, rows)
            self._reused += rows if reused else 0

    # -- row by row -----------------------------------------------------------------------------

    def _row_wise(self, found: FoundRows) -> RowResults:
        """Call for each row whose result is not there."""
        self._leave_out(found)
        self._skip(found.kept + found.from_others)
        self._skip(len(found.there) - found.kept - found.from_others, False)
        if found.waiting and not found.in_order:  # in order, all may yet be found
            self._arguments.read()
            self._expect(len(found.waiting))
            _release_memory()
        work = RowWork(
            builder=self._builder,
            caller=self._caller,
            finder=self.finder,
            arguments=self._arguments,
            context=self._context,
        )
        calls = _row_calls(work)
        try:
            finished = calls.run(found, self._skip)
        finally:
            self._errors = len(calls.failed)
        if self._first_rows is not None:
            finished.drop(calls.failed)
            leaders = {row: each for each, rows in found.followers.items() for row in rows}
            shown = {row: each for row, each in leaders.items() if finished.there[row]}
            self._ledger.take_from(self._builder.name, shown)
        self.missing = frozenset(where(~finished.there)).union(calls.failed)
        is_whole = self._unknown.union(calls.failed).issuperset(self.missing)
        assert is_whole or self._first_rows is not None, "no row is forgotten"
        return finished

    def _leave_out(self, found: FoundRows) -> None:
        """Let only the first rows wait in a trial; in order none after an unknown one."""
        end = self._first_rows
        if end is not None:
            end = min(end, *self._unknown) if found.in_order and self._unknown else end
            found.waiting = [row for row in found.waiting if row < end]

    def _expect(self, calls: int) -> None:
        """Note what the builder will have cost, by the mean of earlier calls."""
        ledger = self._ledger
        if self._first_rows is not None:
            return
        each = ledger.expected(
            self._fingerprint, whole=self._builder.return_type != "row-wise"
        ).cost
        if each is not None:
            spent = ledger.spent().get(self._builder.name)
            self._expected_cost = (spent.cost or 0.0 if spent else 0.0) + each * calls

    # -- all rows at once -----------------------------------------------------------------------

    def _whole_frame(self, found: FoundTable) -> dict[str, pd.Series]:
        """Call for a dataframe."""
        builder = self._builder
        record = self._caller.record(NO_ROW, found.inputs)

        def attempt() -> dict[str, pd.Series]:
            """Call once."""
            returned = self._caller.call(record, self._arguments(None))
            columns = results.frame_columns(returned, builder, self.finder.rows)
            refuse_leaks(columns, builder)
            return columns

        try:
            columns = self._caller.make(record, attempt)
        except BaseException as error:
            self._caller.failed(record, error, None)
            raise
        artifacts = self.finder.artifacts
        if artifacts is not None:
            artifacts.record_frame(self._ledger, record.call("[]"), columns)
        else:
            self._ledger.add_frame(record.call("[]"), columns)
        self._progress.advance(builder.name, len(next(iter(columns.values()), ())))
        return columns

    def _generated(self, found: FoundTable) -> dict[str, pd.Series]:
        """Call a generator, and take its items as they come.

        Items that an earlier attempt has recorded stay as they are, and can be seen.
        """
        builder = self._builder
        self._show_items(found.items)
        finished: list[Values] = []
        record = self._caller.record(NO_ROW, found.inputs)
        usage = Usage(builder.name, record.usage.meter)
        try:
            call = partial(self._caller.call, record, self._arguments(None))
            returned = self._caller.make(record, call)
            iterate = partial(self._context.executor.items, usage)
            item_record = self._record_item(0, found, usage)
            for row, item in enumerate(
                results.items_of(returned, builder, self.finder.rows, iterate)
            ):
                finished.append(self._item(row, item, found, item_record))
                record.usage.add(usage.take(), is_metered=True)  # of an item that was there
                item_record = self._record_item(row + 1, found, usage)
            record.usage.add(usage.close(), is_metered=True)
        except BaseException as error:
            record.usage.add(usage.close(), is_metered=True)
            self._caller.failed(record, error, len(finished))
            raise
        self._ledger.add(record.call(f"[{len(finished)}]"), calls=1)
        return results.row_columns(finished, builder)

    def _record_item(self, row: int, found: FoundTable, usage: Usage) -> RunningCall:
        """Return what records an item that the generator is asked for now."""
        inputs = None if found.inputs is None else item_inputs(found.inputs, row)
        record = self._caller.record(row, inputs, self.finder.artifacts)
        record.share(usage)
        return record

    def _item(self, row: int, item: object, found: FoundTable, record: RunningCall) -> Values:
        """Take one item of a generator; one that was recorded before stays as it was."""
        self._caller.refuse_copy()
        values = results.row_values(item, self._builder, row)
        if row in found.items:
            values = found.items[row]
        else:
            try:
                values, call, *_ = record.returned(values)
            except BaseException as error:
                record.failed(error)
                raise
            if call is not None:
                self._ledger.add(call)
        self._control.check()
        self._progress.advance(self._builder.name)
        return values

    def _show_items(self, items: Mapping[int, Values]) -> None:
        """Let a generator see in its own columns what it made before."""
        if self._builder.kind == "index" and items:
            self._draft.set_rows(len(items))
            self._draft.grow(self._builder.changed_columns)
        for row, values in items.items():
            self._draft.put(row, dict(zip(self._builder.changed_columns, values, strict=True)))


def _row_calls(work: RowWork) -> RowCalls | BatchCalls:
    """Return what makes the rows of a builder."""
    if work.builder.mode == PROVIDER_BATCH:
        return BatchCalls(work)
    remote = work.context.executor
    return RemoteRowCalls(work, remote) if isinstance(remote, RemoteCalls) else RowCalls(work)


def _release_memory() -> None:
    """Return free memory to the system: that of Arrow's pool, and of the heap of the C library.

    Both keep tens of megabytes, a third of the peak of an execution of a million rows.
    """
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
