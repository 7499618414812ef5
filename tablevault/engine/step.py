"""One builder of a run: what is there already is kept, the function is asked for the rest."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

import pandas as pd

from tablevault.engine import results
from tablevault.engine.checkpoint import Checkpoint
from tablevault.engine.invocation import Invoker
from tablevault.engine.matching import NEW
from tablevault.engine.nodes import compile_arguments
from tablevault.engine.reuse import Decision
from tablevault.engine.row_log import Values
from tablevault.engine.rows import call_rows
from tablevault.engine.settle import Job
from tablevault.engine.tables import RunTables
from tablevault.errors import TVProcessError
from tablevault.progress import Progress

Function = Callable[..., Any]

_FIELDS = ("changed_columns", "dtypes")
"""Fields that a function of this package gets if it has a parameter of that name."""


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
    """Rows whose cells were taken over; the others were computed, in this attempt or before."""
    reason: str
    """Why the others were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What all builders of a run share.

    Attributes
    ----------
    tables : RunTables
        What they read, and the draft that they fill.
    progress, checkpoint : Progress, Checkpoint
        Receive what they have done.
    invoke : Invoker
        Calls their functions.
    primary_key : tuple of str
        Columns that name a row.
    earlier : DataFrame, optional
        The earlier instance.
    """

    tables: RunTables
    progress: Progress
    checkpoint: Checkpoint
    invoke: Invoker
    primary_key: tuple[str, ...]
    earlier: pd.DataFrame | None


class Step:
    """Runs one builder and adds its columns to the draft.

    Parameters
    ----------
    job : Job
        The builder.
    function : callable
        What it calls.
    context : RunContext
        What it shares with other builders.
    """

    def __init__(self, job: Job, function: Function, context: RunContext) -> None:
        self._job = job
        self._function = function
        self._tables, self._draft = context.tables, context.tables.draft
        self._progress, self._checkpoint = context.progress, context.checkpoint
        self._invoke = context.invoke
        self._key = () if job.kind == "index" else context.primary_key
        self._earlier = context.earlier
        self._fields = _fields_for(function, job)
        self._calls = 0
        self._counting = threading.Lock()
        self._pid = os.getpid()

    def run(self, decision: Decision) -> BuilderResult:
        """Make the columns.

        Parameters
        ----------
        decision : Decision
            Which rows are taken over; of no length for an index builder.
        """
        job, draft = self._job, self._draft
        self._arguments = compile_arguments(job.arguments, self._tables, builder=job.name)
        is_row_wise = job.return_type == "row-wise"
        if job.kind == "index":
            draft.set_rows(0 if self._earlier is None or not is_row_wise else len(self._earlier))
        draft.grow(job.changed_columns)
        rows = None if job.kind == "index" and not is_row_wise else draft.rows
        self._progress.start(job.name, rows)
        try:
            finished = self._finished(decision, rows)
        finally:
            self._progress.finish(job.name)
        self._checkpoint.finish(job.name, finished)
        return BuilderResult(
            name=job.name,
            module=job.module,
            function=job.function,
            is_custom=job.is_custom,
            columns=job.changed_columns,
            rows=draft.rows,
            calls=self._calls,
            reused=decision.reused,
            reason=decision.reason,
        )

    def _finished(self, decision: Decision, rows: int | None) -> dict[str, pd.Series]:
        """Give the columns with their dtypes, after adding them to the draft."""
        job = self._job
        before = self._checkpoint.finished(job.name)
        if before is not None and tuple(before) == job.changed_columns:
            self._progress.skip(job.name, len(next(iter(before.values()), ())))
            return self._add(before)
        if job.kind == "column" and decision.keeps_all and self._earlier is not None:
            self._progress.skip(job.name, len(decision.rows))
            taken = {name: self._earlier[name] for name in job.changed_columns}
            return self._add(
                {
                    name: series.iloc[decision.rows].reset_index(drop=True).rename(name)
                    for name, series in taken.items()
                }
            )
        columns = self._made(decision, rows)
        return self._add(
            {name: results.typed(series, name, job) for name, series in columns.items()}
        )

    def _made(self, decision: Decision, rows: int | None) -> Mapping[str, pd.Series]:
        """Ask the function for what is not there."""
        job = self._job
        if job.return_type == "row-wise":
            return self._row_wise(decision)
        if rows == 0:
            return results.row_columns([], job)  # no rows, nothing to ask a function for
        if job.return_type == "dataframe":
            columns = results.frame_columns(self._call(None), job, rows)
            self._progress.advance(job.name, len(next(iter(columns.values()), ())))
            return columns
        return self._generated(rows)

    def _add(self, finished: dict[str, pd.Series]) -> dict[str, pd.Series]:
        """Add columns to the draft; the index builder's decide the number of rows."""
        if self._job.kind == "index":
            self._draft.set_rows(len(next(iter(finished.values()), ())))
            key = {name: finished[name] for name in self._job.primary_key}
            results.check_key(pd.DataFrame(key), self._job)
        for name, series in finished.items():
            self._draft.set_column(name, series)
        return finished

    def _call(self, row: int | None) -> Any:  # noqa: ANN401 - functions return anything
        """Call the function with its arguments evaluated; what it raises is noted with the row."""
        try:
            keywords = {**self._fields, **self._arguments(row)}
            with self._counting:
                self._calls += 1
                self._progress.count("calls")
            value = self._invoke(self._function, **keywords)
        except Exception as error:
            self._note(error, row)
            raise
        if isinstance(value, CoroutineType):
            value.close()
            raise results.wrong(
                self._job,
                "is async, and returned a coroutine",
                "Make it a plain function, which may call asyncio.run.",
            )
        self._refuse_copy()
        return value

    def _items(self, returned: Iterable[Any]) -> Iterator[Any]:
        """Iterate over what the function returned; what it raises is noted with the row."""
        row = 0
        try:
            for item in self._invoke.items(returned):
                yield item
                row += 1
        except Exception as error:
            self._note(error, row)
            raise

    def _note(self, error: Exception, row: int | None) -> None:
        """Note on an exception which builder, function, row and primary key it belongs to."""
        job = self._job
        note = f'In builder "{job.name}", function "{job.function}" of module "{job.module}"'
        if row is not None:
            cells = (f"{name} {results.show(self._draft.cell(name, row))}" for name in self._key)
            key = ", ".join(cells)
            note += f", row {row}" + (f" ({key})" if key else "")
        with contextlib.suppress(Exception):  # a class of the user may refuse notes
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)

    def _refuse_copy(self) -> None:
        """Stop in a copy of the process that a function made: the original goes on."""
        if os.getpid() != self._pid:
            raise TVProcessError(
                f'Builder "{self._job.name}": function "{self._job.function}" made a copy of the '
                "process with fork, and returned in the copy.",
                "End the copy with os._exit, or use subprocess or multiprocessing.",
                builder=self._job.name,
            )

    def _row_wise(self, decision: Decision) -> dict[str, pd.Series]:
        """Call once for each row that neither an earlier instance nor an earlier attempt has.

        In one thread the function of a row sees the rows before it in its own columns. Between
        threads that would depend on luck, so there its own columns stay null until the end.
        """
        job, draft = self._job, self._draft
        finished: list[Values] = [()] * draft.rows
        is_seen = job.n_threads == 1

        def enter(row: int, values: Values) -> None:
            """Enter the values of a row."""
            finished[row] = values
            if is_seen:
                draft.put(row, dict(zip(job.changed_columns, values, strict=True)))

        def keep(row: int, values: Values) -> None:
            """Enter the values of a row once they outlive this process."""
            self._checkpoint.append(job.name, row, values)
            enter(row, values)
            self._progress.advance(job.name)

        there = self._taken(decision)
        there |= self._checkpoint.rows(job.name, job.changed_columns)
        for row in sorted(there):
            enter(row, there[row])
        if there:
            self._progress.skip(job.name, len(there))
        if job.kind == "index" and is_seen:
            self._show_earlier(there)
        call_rows(
            lambda row: results.row_values(self._call(row), job, row),
            [row for row in range(draft.rows) if row not in there] if there else range(draft.rows),
            keep,
            n_threads=job.n_threads,
        )
        return results.row_columns(finished, job)

    def _taken(self, decision: Decision) -> dict[int, Values]:
        """Give the cells of the rows that are taken over."""
        kept = (decision.rows != NEW).nonzero()[0]
        if self._earlier is None or not len(kept):
            return {}
        columns = [
            self._earlier[name].iloc[decision.rows[kept]].tolist()
            for name in self._job.changed_columns
        ]
        return dict(zip(kept.tolist(), zip(*columns, strict=True), strict=True))

    def _show_earlier(self, there: Mapping[int, Values]) -> None:
        """Let a row-wise index builder see what its columns held."""
        assert self._earlier is not None or not self._draft.rows
        for name in self._job.changed_columns:
            if self._earlier is not None and name in self._earlier.columns:
                series = self._earlier[name]
                for row, (value, null) in enumerate(zip(series, series.isna(), strict=True)):
                    if row not in there and null is not True:
                        self._draft.put(row, {name: value})

    def _generated(self, rows: int | None) -> dict[str, pd.Series]:
        """Call once and take items as they come; those taken by an earlier attempt stay.

        The arguments of the call hold these, where they read the columns of the builder itself.
        """
        job = self._job
        finished = []
        before = self._checkpoint.rows(job.name, job.changed_columns)
        self._show(before)
        for row, item in enumerate(results.items_of(self._call(None), job, rows, self._items)):
            self._refuse_copy()
            values = results.row_values(item, job, row)
            if row not in before:
                self._checkpoint.append(job.name, row, values)
            else:
                self._checkpoint.check()
            finished.append(before.get(row, values))
            self._progress.advance(job.name)
        return results.row_columns(finished, job)

    def _show(self, before: Mapping[int, Values]) -> None:
        """Enter the items of an earlier attempt, which nobody has read the columns of yet."""
        columns = self._job.changed_columns
        if self._job.kind == "index" and before:
            self._draft.set_rows(max(before) + 1)
            self._draft.grow(columns)
        for row in sorted(before):
            self._draft.put(row, dict(zip(columns, before[row], strict=True)))


def _fields_for(function: Function, job: Job) -> dict[str, Any]:
    """Return the fields of the builder that a function of this package has parameters for."""
    if job.is_custom:
        return {}
    parameters = inspect.signature(function).parameters
    return {name: getattr(job, name) for name in _FIELDS if name in parameters}
