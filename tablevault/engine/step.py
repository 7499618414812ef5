"""One builder of a run: results that are there are taken, the function is called for the rest."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import CoroutineType
from typing import Any

import pandas as pd

from tablevault.engine import results
from tablevault.engine.builder_result import BuilderResult
from tablevault.engine.calls.artifacts import show_inherited
from tablevault.engine.calls.call_record import WHOLE
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.calls.lookup import item_inputs
from tablevault.engine.calls.recorder import Made, Recorder
from tablevault.engine.calls.usage import Usage
from tablevault.engine.control import Control
from tablevault.engine.found import Finder, FinderContext, FoundRows, FoundTable, reason_of
from tablevault.engine.invocation import Invoker
from tablevault.engine.leaks import refuse_leaks
from tablevault.engine.matching import NEW
from tablevault.engine.passed_arguments import PassedArguments
from tablevault.engine.reuse import Decision
from tablevault.engine.row_values import Values
from tablevault.engine.rows import call_rows
from tablevault.engine.settle import Job
from tablevault.errors import TVProcessError
from tablevault.progress import Progress

Function = Callable[..., Any]

_FIELDS = ("changed_columns", "dtypes")
"""Fields that a function of this package gets if it has a parameter of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext(FinderContext):
    """What all builders of a run share.

    Attributes
    ----------
    progress : Progress
        Is told of builders and rows.
    control : Control
        May stop the run.
    invoke : Invoker
        Calls their functions.
    """

    progress: Progress
    control: Control
    invoke: Invoker


@dataclass(slots=True, kw_only=True)
class Trial:
    """The part of one builder that a trial makes.

    Attributes
    ----------
    rows : int
        For so many rows, the first ones, functions are called.
    behind : frozenset of int
        Rows whose arguments read what the trial leaves out.
    missing : set of int
        Rows without a result, once the builder has run.
    """

    rows: int
    behind: frozenset[int]
    missing: set[int] = field(default_factory=set)

    def among(self, found: FoundRows) -> list[int]:
        """Return the waiting rows that are called."""
        end = self.rows
        if found.in_order:
            end = min(self.rows, *self.behind) if self.behind else self.rows
        return [row for row in found.waiting if row < end]


class Step:
    """Runs one builder and adds its columns to the draft.

    Parameters
    ----------
    job : Job
        The builder.
    function : callable
        What it calls.
    code : bytes
        Digest of the code that this is.
    context : StepContext
        What it shares with the others.

    Attributes
    ----------
    finder : Finder
        Finds its results that are there.
    """

    def __init__(self, job: Job, function: Function, code: bytes, context: StepContext) -> None:
        self._job = job
        self._function = function
        self._code = code
        self._context = context
        self._draft = context.tables.draft
        self._ledger = context.ledger
        self._earlier = context.earlier
        self._progress = context.progress
        self._control = context.control
        self._fields = _fields_for(function, job)
        self.finder = Finder(job, code, self._fields, context)
        self._trial: Trial | None = None
        self._calls = 0
        self._reused = 0
        self._failed = 0
        self._is_exact = True
        self._counting = threading.Lock()
        self._pid = os.getpid()

    def run(self, decision: Decision, trial: Trial | None = None) -> BuilderResult:
        """Make the columns.

        Parameters
        ----------
        decision : Decision
            Which rows the earlier instance holds unchanged.
        trial : Trial, optional
            The rows to make; all by default.
        """
        job, draft = self._job, self._draft
        self._trial = trial
        rows = self.finder.begin()
        self._control.check()
        self._arguments = PassedArguments(job, self._context.tables)
        decision = self.finder.trusted(decision)
        self._progress.start(job.name, rows)
        try:
            self._add(self._finished(decision, rows))
        finally:
            self._progress.finish(job.name)
        if trial is not None and trial.missing:
            self._control.check()
        else:
            if self._ledger is not None:
                if decision.reused:
                    self._ledger.keep(job.name, decision.rows)
                columns = job.changed_columns
                self._ledger.finish(job.name, self._code, columns, is_exact=self._is_exact)
            self._control.ended(job.name)
        return BuilderResult(
            name=job.name,
            module=job.module,
            function=job.function,
            is_custom=job.is_custom,
            columns=job.changed_columns,
            rows=draft.rows,
            calls=self._calls,
            reused=self._reused,
            reason=self._reason(decision),
        )

    def _reason(self, decision: Decision) -> str:
        """Return why rows were made, or that none had to be."""
        if self._job.always_run or decision.keeps_all:
            return decision.reason
        return reason_of(
            self._job,
            decision,
            is_called=self._reused < self._draft.rows or not self._draft.rows,
            failed=self._failed,
        )

    def _finished(self, decision: Decision, rows: int | None) -> dict[str, pd.Series]:
        """Return the columns with their dtypes."""
        job = self._job
        kept = None if self._trial is not None else self.finder.kept(decision)
        if kept is not None:
            self._skip(len(decision.rows))
            self.finder.adopt(decision)
            return kept
        if self._trial is not None:
            return self._tried(decision, self._trial, rows)
        columns = self._made(decision, rows)
        finished = {name: results.typed(series, name, job) for name, series in columns.items()}
        self._is_exact = all(
            results.is_exact(columns[name], series) for name, series in finished.items()
        )
        return finished

    def _made(self, decision: Decision, rows: int | None) -> Mapping[str, pd.Series]:
        """Find or make what is not in the earlier instance."""
        job = self._job
        self._show_artifacts(decision)
        if job.return_type == "row-wise":
            values = self._row_wise(decision)
            return results.row_columns([values[row] for row in range(self._draft.rows)], job)
        return self._whole(self.finder.table(rows), rows)

    def _whole(self, found: FoundTable, rows: int | None) -> Mapping[str, pd.Series]:
        """Return all rows as they were found, or call once for them."""
        if found.columns is not None:
            self._skip(found.reused)
            self._skip(found.own, reused=False)
            return found.columns
        self._failed = found.failed
        self._arguments.read()
        if self._job.return_type == "dataframe":
            return self._whole_frame(found, rows)
        return self._generated(found, rows)

    def _tried(self, decision: Decision, trial: Trial, rows: int | None) -> dict[str, pd.Series]:
        """Find or make what belongs to a trial; the other cells are null, and noted as missing.

        What the earlier instance holds is recorded, so that it can be read with the rest.
        """
        job, draft = self._job, self._draft
        self._show_artifacts(decision)
        if job.return_type == "row-wise":
            values = self._row_wise(decision, trial)
            trial.missing = set(range(draft.rows)).difference(values)
            return results.partial_columns(values, draft.rows, job)
        found = self.finder.table(rows)
        kept = None if found.columns is not None else self.finder.kept(decision)
        if kept is not None:
            self._skip(len(decision.rows))
            if self._ledger is not None:
                self._ledger.add_frame(self._record(WHOLE, found.inputs).call("[]"), kept)
            return kept
        if found.columns is None and job.kind == "column":
            trial.missing = set(range(draft.rows))
            return results.partial_columns({}, draft.rows, job)
        columns = self._whole(found, rows)
        return {name: results.typed(series, name, job) for name, series in columns.items()}

    def _show_artifacts(self, decision: Decision) -> None:
        """Put the artifacts that the builder reads into their folder."""
        files = self._context.files
        if files is not None and self._job.kind == "column":
            show_inherited(self._job, self._draft, decision.rows == NEW, files)

    def _add(self, finished: dict[str, pd.Series]) -> None:
        """Add columns to the draft; the index builder's decide the number of rows."""
        if self._job.kind == "index":
            self._draft.set_rows(len(next(iter(finished.values()), ())))
            key = {name: finished[name] for name in self._job.primary_key}
            results.check_key(pd.DataFrame(key), self._job)
        for name, series in finished.items():
            self._draft.set_column(name, series)

    def _skip(self, rows: int, *, reused: bool = True) -> None:
        """Count rows whose results were there."""
        if rows:
            self._progress.skip(self._job.name, rows)
            self._reused += rows if reused else 0

    # -- calls ----------------------------------------------------------------------------------

    def _call(self, row: int | None, record: Recorder) -> Any:  # noqa: ANN401 - functions return anything
        """Call the function with its arguments evaluated."""
        keywords = {**self._fields, **self._arguments(row)}
        record.calls = 1
        with self._counting:
            self._calls += 1
            self._progress.count("calls")
        value = self._context.invoke.charged(record.usage, self._function, **keywords)
        if isinstance(value, CoroutineType):
            value.close()
            raise results.wrong(
                self._job,
                "is async, and returned a coroutine",
                "Make it a plain function, which may call asyncio.run.",
            )
        self._refuse_copy()
        return value

    def _note(self, error: BaseException, row: int | None) -> None:
        """Note on an exception which builder, function, row and primary key it belongs to."""
        if not isinstance(error, Exception):
            return
        job = self._job
        note = f'In builder "{job.name}", function "{job.function}" of module "{job.module}"'
        if row is not None:
            key = ", ".join(
                f"{name} {results.show(self._draft.cell(name, row))}"
                for name in (() if job.kind == "index" else self._context.key_columns)
            )
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

    def _record(self, row: int, inputs: Inputs | None) -> Recorder:
        """Return what records the outcome of a call that begins now."""
        artifacts = self.finder.artifacts
        return Recorder(self._job, self._ledger, self._code, row, inputs, artifacts)

    # -- row by row -----------------------------------------------------------------------------

    def _row_wise(self, decision: Decision, trial: Trial | None = None) -> dict[int, Values]:
        """Call once for each row whose result is not there.

        In one thread the function of a row sees the rows before it in its own columns. Between
        threads that would depend on luck, so there its own columns stay null until the end.
        """
        job, draft = self._job, self._draft
        finished: dict[int, Values] = {}
        is_seen = job.n_threads == 1

        def enter(row: int, values: Values) -> None:
            """Enter the values of a row."""
            finished[row] = values
            if is_seen:
                draft.put(row, dict(zip(job.changed_columns, values, strict=True)))

        def keep(row: int, made: Made) -> None:
            """Enter the values of a row once they outlive this process."""
            if made.call is not None and self._ledger is not None:
                self._ledger.add(made.call, calls=1)
            enter(row, made.values)
            for other in found.followers.get(row, ()):
                enter(other, made.values)
            self._skip(len(found.followers.get(row, ())), reused=False)
            self._control.check()
            self._progress.advance(job.name)

        found = self._found_rows(decision, trial)
        for row, values in sorted(found.there.items()):
            enter(row, values)
        if found.waiting and not found.in_order:  # in order, all may yet be found
            self._arguments.read()
        call_rows(
            lambda row: self._make(row, found.inputs.get(row), in_order=found.in_order),
            found.waiting if trial is None else trial.among(found),
            keep,
            n_threads=job.n_threads,
        )
        if trial is not None and self._ledger is not None:
            leaders = {row: each for each, rows in found.followers.items() for row in rows}
            shown = {row: each for row, each in leaders.items() if row in finished}
            self._ledger.take_from(job.name, shown)
        return finished

    def _found_rows(self, decision: Decision, trial: Trial | None) -> FoundRows:
        """Find results, and count them."""
        if trial is None:
            found = self.finder.rows(decision)
            self.finder.adopt(decision)
        else:
            found = self.finder.readable_rows(decision, trial.behind)
        self._skip(found.kept + found.from_others)
        self._skip(len(found.there) - found.kept - found.from_others, reused=False)
        self._failed = found.failed
        return found

    def _make(self, row: int, inputs: Inputs | None, *, in_order: bool) -> Made:
        """Make the values of one row."""
        if in_order:
            inputs, values, is_from_other = self.finder.next_row(row)
            if values is not None:
                self._skip(1, reused=is_from_other)
                return Made(values, None)
        record = self._record(row, inputs)
        try:
            returned = self._call(row, record)
            return record.returned(results.row_values(returned, self._job, row))
        except BaseException as error:
            record.failed(error)
            self._note(error, row)
            raise

    # -- all rows at once -----------------------------------------------------------------------

    def _whole_frame(self, found: FoundTable, rows: int | None) -> dict[str, pd.Series]:
        """Call for a dataframe."""
        job = self._job
        record = self._record(WHOLE, found.inputs)
        try:
            columns = results.frame_columns(self._call(None, record), job, rows)
            refuse_leaks(columns, job)
        except BaseException as error:
            record.failed(error)
            self._note(error, None)
            raise
        artifacts = self.finder.artifacts
        if self._ledger is not None and artifacts is not None:
            artifacts.record_frame(self._ledger, record.call("[]"), columns)
        elif self._ledger is not None:
            self._ledger.add_frame(record.call("[]"), columns)
        self._progress.advance(job.name, len(next(iter(columns.values()), ())))
        return columns

    def _generated(self, found: FoundTable, rows: int | None) -> dict[str, pd.Series]:
        """Call a generator, and take its items as they come.

        Items that an earlier attempt has recorded stay as they are, and can be seen.
        """
        job = self._job
        self._show_items(found.items)
        finished: list[Values] = []
        record = self._record(WHOLE, found.inputs)
        usage = Usage(job.name)
        try:
            returned = self._call(None, record)
            iterate = partial(self._context.invoke.items, usage)
            item_record = self._record_item(0, found, usage)
            for row, item in enumerate(results.items_of(returned, job, rows, iterate)):
                finished.append(self._item(row, item, found, item_record))
                record.usage.add(usage.take())  # of an item that was there
                item_record = self._record_item(row + 1, found, usage)
            record.usage.add(usage.close())
        except BaseException as error:
            record.usage.add(usage.close())
            record.failed(error)
            self._note(error, len(finished))
            raise
        if self._ledger is not None:
            self._ledger.add(record.call(f"[{len(finished)}]"), calls=1)
        return results.row_columns(finished, job)

    def _record_item(self, row: int, found: FoundTable, usage: Usage) -> Recorder:
        """Return what records an item that the generator is asked for now."""
        record = self._record(row, None if found.inputs is None else item_inputs(found.inputs, row))
        record.share(usage)
        return record

    def _item(self, row: int, item: object, found: FoundTable, record: Recorder) -> Values:
        """Take one item of a generator; one that was recorded before stays as it was."""
        self._refuse_copy()
        values = results.row_values(item, self._job, row)
        if row in found.items:
            values = found.items[row]
        else:
            values, call = record.returned(values)
            if call is not None and self._ledger is not None:
                self._ledger.add(call)
        self._control.check()
        self._progress.advance(self._job.name)
        return values

    def _show_items(self, items: Mapping[int, Values]) -> None:
        """Let a generator see in its own columns what it made before."""
        if self._job.kind == "index" and items:
            self._draft.set_rows(len(items))
            self._draft.grow(self._job.changed_columns)
        for row, values in items.items():
            self._draft.put(row, dict(zip(self._job.changed_columns, values, strict=True)))


def _fields_for(function: Function, job: Job) -> dict[str, Any]:
    """Return the fields of the builder that a function of this package has parameters for."""
    if job.is_custom:
        return {}
    parameters = inspect.signature(function).parameters
    return {name: getattr(job, name) for name in _FIELDS if name in parameters}
