"""The calls of a row-wise builder: one for each row, or for a batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.arguments import MapNode
from tablevault.engine.builders.reads import reads_of, reads_other_rows
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.calls.recorder import CallResult, RunningCall
from tablevault.engine.calls.usage import parts_of
from tablevault.engine.execution.caller import Caller, is_ours
from tablevault.engine.execution.concurrency import call_rows
from tablevault.engine.execution.context import RunContext
from tablevault.engine.execution.finder import Finder, FoundRows
from tablevault.engine.execution.retrying import is_about_content
from tablevault.engine.row_values import RowResults, Values, where
from tablevault.errors import TVBuilderError
from tablevault.render import counted

Arguments = Callable[[int | None], Mapping[str, Any]]


@dataclass(slots=True)
class Batch:
    """What came of a batch of rows: values of some, and why there are none of others."""

    made: list[tuple[int, CallResult]] = field(default_factory=list)
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWork:
    """What makes the rows of one builder.

    Attributes
    ----------
    builder : ResolvedBuilder
        The builder.
    caller : Caller
        Calls its function.
    finder : Finder
        Finds its results that are there.
    arguments : callable
        Evaluates the arguments of a row.
    context : RunContext
        What it shares with the others.
    """

    builder: ResolvedBuilder
    caller: Caller
    finder: Finder
    arguments: Arguments
    context: RunContext


class RowCalls:
    """Makes the rows of one builder.

    In one thread the function of a row sees the rows before it in its own columns. Between threads
    that would depend on luck, so there its own columns stay null until the end.

    Parameters
    ----------
    work : RowWork
        What is called.

    Attributes
    ----------
    failed : set of int
        Rows whose calls failed, and that stay null.
    error : Exception, optional
        What the first of them raised.
    """

    def __init__(self, work: RowWork) -> None:
        self.failed: set[int] = set()
        self.error: Exception | None = None
        self._builder = builder = work.builder
        self._caller = work.caller
        self._finder = work.finder
        self._arguments = work.arguments
        self._context = work.context
        self._draft = work.context.tables.draft
        # Who reads no other rows of them needs no second list of all values.
        self._shows_rows = builder.sees_earlier_rows and reads_other_rows(
            builder.arguments, builder.changed_columns, self._draft.names
        )
        self._by_row = names_by_row(builder, self._draft.names) if builder.batch_size > 1 else None

    def run(self, found: FoundRows, skip: Callable[[int, bool], None]) -> RowResults:
        """Call for the rows whose results are not there, and return all of them.

        Parameters
        ----------
        found : FoundRows
            Results that are; receives the others.
        skip : callable
            Takes a number of rows that need no call of their own, and whether another execution
            made them.
        """
        self._found = found
        self._skip = skip
        if self._shows_rows:
            for row in where(found.there.there):
                self._show(row, found.there[row])
        self._call(found.waiting)
        return found.there

    def _call(self, waiting: Sequence[int]) -> None:
        """Call for rows."""
        builder = self._builder
        how: Any = {"n_threads": builder.n_threads, "stop": self._caller.stop}
        if builder.batch_size == 1:
            call_rows(self._make, waiting, self._keep, **how)
        else:
            batches = _batches(waiting, builder.batch_size)
            call_rows(self._make_batch, batches, self._keep_batch, **how)

    def _enter(self, row: int, values: Values) -> None:
        """Enter the values of a row."""
        self._found.there.put(row, values)
        if self._shows_rows:
            self._show(row, values)

    def _show(self, row: int, values: Values) -> None:
        """Let the calls of later rows see the values of a row."""
        self._draft.put(row, dict(zip(self._builder.changed_columns, values, strict=True)))

    def _keep(self, made: Sequence[tuple[int, CallResult]]) -> None:
        """Enter the values of rows once they outlive this process."""
        ledger, progress = self._context.options.ledger, self._context.progress
        for row, each in made:
            if each.call is not None:
                ledger.add(each.call, calls=each.calls)
            followers = self._found.followers.get(row, ())
            for other in (row, *followers):
                self._enter(other, each.values)
            if each.error is not None:
                self.failed.update((row, *followers))
                self.error = self.error or each.error
                progress.count("errors", 1 + len(followers))
            if followers:
                self._skip(len(followers), False)
            progress.advance(self._builder.name)
        self._context.options.control.check()
        for _, each in made:
            if each.error is not None:
                self._check_errors(each.error)

    def _check_errors(self, error: Exception) -> None:
        """Raise an error that is one too many."""
        most = self._builder.max_errors
        if most is None or most.allows(len(self.failed), self._draft.rows):
            return
        error.add_note(
            f"{counted(len(self.failed), 'row')} failed, more than max_errors, {most}, allows."
        )
        raise error

    # -- one row --------------------------------------------------------------------------------

    def _make(self, row: int) -> Sequence[tuple[int, CallResult]]:
        """Make the values of one row."""
        inputs = self._found.inputs.get(row)
        if self._found.in_order:
            inputs, values, is_from_other = self._finder.next_row(row)
            if values is not None:
                self._skip(1, is_from_other)
                return ((row, CallResult(values, None)),)
        record = self._record(row, inputs)
        call = partial(self._call_row, row, record)
        return ((row, self._made(row, record, call)),)

    def _call_row(self, row: int, record: RunningCall) -> object:
        """Call for one row, once."""
        return self._caller.call(record, self._arguments(row))

    def _made(self, row: int, record: RunningCall, call: Callable[[], object]) -> CallResult:
        """Make the values of a row of what `call` returns, made again as the builder says."""

        def attempt() -> CallResult:
            """Call once."""
            return record.returned(results.row_values(call(), self._builder, row))

        try:
            return self._caller.make(record, attempt)
        except BaseException as error:
            if (null := self._failed(row, record, error)) is None:
                raise
            return null

    def _record(self, row: int, inputs: Inputs | None) -> RunningCall:
        """Return what records the call of a row."""
        return self._caller.record(row, inputs, self._finder.artifacts)

    def _failed(self, row: int, record: RunningCall, error: BaseException) -> CallResult | None:
        """Record an error; return nulls where the row may stay so, else None."""
        self._caller.failed(record, error, row)
        if self._builder.on_error == "keep" and isinstance(error, Exception) and not is_ours(error):
            nulls = (None,) * len(self._builder.changed_columns)
            return CallResult(nulls, None, record.calls, error)
        return None

    # -- batches --------------------------------------------------------------------------------

    def _make_batch(self, rows: Sequence[int]) -> Batch:
        """Make the values of some rows by one call, or by more if that fails."""
        batch = Batch()
        try:
            self._make_part(rows, batch, None)
        except BaseException as error:  # noqa: BLE001 - it is raised when what is made is kept
            batch.error = error
        return batch

    def _keep_batch(self, batch: Batch) -> None:
        """Enter the values of a batch, also if another row of it has failed."""
        if batch.made or batch.error is None:
            self._keep(batch.made)
        if batch.error is not None:
            raise batch.error

    def _make_part(self, rows: Sequence[int], batch: Batch, before: RunningCall | None) -> None:
        """Make the values of some rows of a batch.

        `before` is the record of a call for more rows that failed.
        """
        if len(rows) == 1:
            batch.made.append(self._make_alone(rows[0], before))
            return
        records = {row: self._record(row, self._found.inputs.get(row)) for row in rows}
        lead = records[rows[0]]
        if before is not None:
            lead.carry_on(before)

        def attempt() -> list[Any]:
            """Call once."""
            return self._items(self._caller.call(lead, self._lists(rows)), len(rows))

        try:
            items = self._caller.make(lead, attempt)
        except BaseException as error:
            if is_ours(error):
                self._caller.failed(lead, error, rows[0])
                raise
            if is_about_content(error):
                half = len(rows) // 2
                self._make_part(rows[:half], batch, lead)
                self._make_part(rows[half:], batch, None)
                return
            nulls = [(row, self._failed(row, records[row], error)) for row in rows]
            batch.made += [(row, made) for row, made in nulls if made is not None]
            if any(made is None for _, made in nulls):
                raise
            return
        used = parts_of(lead.used(), len(rows))
        for row, part in zip(rows, used, strict=True):
            records[row].part_of(part, len(rows))
        self._take(items, records, batch)

    def _take(self, items: Sequence[Any], records: Mapping[int, RunningCall], batch: Batch) -> None:
        """Take the results of rows out of those of a batch, then ask for misfits again, alone."""
        misfits = []
        failure: Exception | None = None
        for (row, record), item in zip(records.items(), items, strict=True):
            try:
                made = record.returned(results.row_values(item, self._builder, row))
                batch.made.append((row, made))
            except Exception as error:  # noqa: BLE001 - it is raised when the others are kept
                if self._builder.retry.times and not is_ours(error):
                    misfits.append(row)
                elif (null := self._failed(row, record, error)) is not None:
                    batch.made.append((row, null))
                else:
                    failure = failure or error
        if failure is not None:
            raise failure
        for row in misfits:
            batch.made.append(self._make_alone(row, records[row]))

    def _make_alone(self, row: int, before: RunningCall | None) -> tuple[int, CallResult]:
        """Make the values of a row in a batch of its own."""
        record = self._record(row, self._found.inputs.get(row))
        if before is not None:
            record.carry_on(before)

        def call() -> object:
            """Call once."""
            (item,) = self._items(self._caller.call(record, self._lists([row])), 1)
            return item

        return row, self._made(row, record, call)

    def _lists(self, rows: Sequence[int]) -> dict[str, Any]:
        """Evaluate the arguments of rows: lists of what varies by row, once what does not."""
        each = [self._arguments(row) for row in rows]
        return {
            name: [one[name] for one in each]
            if self._by_row is None or name in self._by_row
            else value
            for name, value in each[0].items()
        }

    def _items(self, returned: object, rows: int) -> list[Any]:
        """Take the results of a batch apart."""
        if isinstance(returned, pd.Series | np.ndarray):
            returned = returned.tolist()
        if not isinstance(returned, list | tuple):
            hint = f"It has to return a list of {counted(rows, 'result')}, one for each row."
            raise self._wrong(f"returned {results.show(returned)} for a batch", hint)
        if len(returned) != rows:
            raise self._wrong(
                f"returned {counted(len(returned), 'result')} for a batch of "
                f"{counted(rows, 'row')}",
                "It has to return one for each row, in order.",
            )
        return list(returned)

    def _wrong(self, did: str, hint: str) -> TVBuilderError:
        """Return the error that says what the function did."""
        return results.wrong(self._builder, did, hint)


def _batches(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield rows, so many at once."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def names_by_row(builder: ResolvedBuilder, columns: Sequence[str]) -> frozenset[str] | None:
    """Return the arguments that may have another value in another row; None for all of them."""
    if not isinstance(builder.written, MapNode):
        return None
    return frozenset(
        str(name)
        for name, node in builder.written.items
        if any(read.by_row for read in reads_of(node, columns))
    )
