"""One builder of a run: results that are there are taken, the function is called for the rest."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import CoroutineType
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine import results
from tablevault.engine.builder_result import BuilderResult
from tablevault.engine.calls.artifacts import ArtifactFiles, artifacts_of, show_inherited
from tablevault.engine.calls.call_keys import CallKeys
from tablevault.engine.calls.call_record import WHOLE
from tablevault.engine.calls.keys import FileText, Inputs, same_text
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.lookup import Lookup, item_inputs
from tablevault.engine.calls.recorder import Made, Recorder
from tablevault.engine.calls.usage import Usage
from tablevault.engine.control import Control
from tablevault.engine.invocation import Invoker
from tablevault.engine.matching import NEW
from tablevault.engine.nodes import compile_arguments
from tablevault.engine.reuse import UNCHANGED, Decision
from tablevault.engine.row_values import Values
from tablevault.engine.rows import call_rows
from tablevault.engine.settle import Job
from tablevault.engine.tables import RunTables
from tablevault.errors import TVProcessError, TVTableError
from tablevault.progress import Progress

Function = Callable[..., Any]

_FIELDS = ("changed_columns", "dtypes")
"""Fields that a function of this package gets if it has a parameter of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What all builders of a run share.

    Attributes
    ----------
    tables : RunTables
        What they read, and the draft that they fill.
    progress : Progress
        Is told of builders and rows.
    control : Control
        May stop the run.
    invoke : Invoker
        Calls their functions.
    ledger : Ledger, optional
        Calls that were made, and where new ones are recorded; nothing is kept without it.
    earlier : DataFrame, optional
        The instance that the run starts from.
    key_columns : tuple of str
        The primary key.
    file_text : callable
        See `tablevault.engine.calls.keys.FileText`.
    files : ArtifactFiles, optional
        Where the artifacts of calls are; without it, they are in their folder only.
    """

    tables: RunTables
    progress: Progress
    control: Control
    invoke: Invoker
    ledger: Ledger | None = None
    earlier: pd.DataFrame | None = None
    key_columns: tuple[str, ...] = ()
    file_text: FileText = same_text
    files: ArtifactFiles | None = None


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
        self._lookup: Lookup | None = None
        self._artifacts = None if self._ledger is None else artifacts_of(job, context.files)
        self._calls = 0
        self._reused = 0
        self._is_exact = True
        self._counting = threading.Lock()
        self._pid = os.getpid()

    def run(self, decision: Decision) -> BuilderResult:
        """Make the columns.

        Parameters
        ----------
        decision : Decision
            Which rows the earlier instance holds unchanged.
        """
        job, draft = self._job, self._draft
        is_row_wise = job.return_type == "row-wise"
        if job.kind == "index":
            draft.set_rows(0 if self._earlier is None or not is_row_wise else len(self._earlier))
        draft.grow(job.changed_columns)
        rows = None if job.kind == "index" and not is_row_wise else draft.rows
        self._control.check()
        context = self._context
        self._arguments = compile_arguments(job.arguments, context.tables, builder=job.name)
        if self._ledger is not None:
            keys = CallKeys(job, context.tables, context.file_text, context.key_columns)
            keys.add_constant(self._fields)
            self._lookup = Lookup(job, self._ledger, keys, self._code, self._artifacts)
        decision = self._trusted(decision)
        self._progress.start(job.name, rows)
        try:
            self._add(self._finished(decision, rows))
        finally:
            self._progress.finish(job.name)
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

    def _trusted(self, decision: Decision) -> Decision:
        """Keep rows of the earlier instance only where they are what calls would return.

        They are when this code made them, and their columns give back exactly what it returned.
        Of calls that are told apart by their order alone, all rows have to be there. Of an instance
        whose calls nobody recorded, being unchanged is enough.
        """
        ledger, lookup = self._ledger, self._lookup
        if ledger is None or lookup is None or self._job.always_run:
            return decision
        if not ledger.knows_origin:
            return decision
        reason = decision.reason
        if ledger.made_origin(self._job.name, self._code):
            if decision.keeps_all or not lookup.are_numbered:
                return decision
        elif reason == UNCHANGED:
            reason = "code changed"
        return Decision(rows=np.full(len(decision.rows), NEW, dtype=np.int64), reason=reason)

    def _reason(self, decision: Decision) -> str:
        """Return why rows were made, or that none had to be."""
        is_made = self._reused < self._draft.rows or not self._draft.rows
        if self._job.always_run or decision.keeps_all:
            return decision.reason
        if decision.reason == UNCHANGED:
            return "no record of its call" if is_made else UNCHANGED
        return decision.reason if is_made else f"{decision.reason}; made before"

    def _finished(self, decision: Decision, rows: int | None) -> dict[str, pd.Series]:
        """Return the columns with their dtypes."""
        job = self._job
        if decision.keeps_all and self._earlier is not None:
            self._skip(len(decision.rows))
            self._adopt(decision)
            taken = {name: self._earlier[name] for name in job.changed_columns}
            return {
                name: series.iloc[decision.rows].reset_index(drop=True).rename(name)
                for name, series in taken.items()
            }
        columns = self._made(decision, rows)
        finished = {name: results.typed(series, name, job) for name, series in columns.items()}
        self._is_exact = all(
            results.is_exact(columns[name], series) for name, series in finished.items()
        )
        return finished

    def _made(self, decision: Decision, rows: int | None) -> Mapping[str, pd.Series]:
        """Find or make what is not in the earlier instance."""
        job, files = self._job, self._context.files
        if files is not None and job.kind == "column":
            show_inherited(job, self._draft, decision.rows == NEW, files)
        if job.return_type == "row-wise":
            return self._row_wise(decision)
        ledger = self._ledger
        left = None if ledger is None else ledger.left_columns(job.name, job.changed_columns)
        if left is not None:
            return {str(name): series for name, series in left.items()}
        if rows == 0:
            return results.row_columns([], job)  # no rows, nothing to ask a function for
        if job.return_type == "dataframe":
            return self._whole_frame(rows)
        return self._generated(rows)

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
        return Recorder(self._job, self._ledger, self._code, row, inputs, self._artifacts)

    # -- row by row -----------------------------------------------------------------------------

    def _row_wise(self, decision: Decision) -> dict[str, pd.Series]:
        """Call once for each row whose result is not there.

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

        def keep(row: int, made: Made) -> None:
            """Enter the values of a row once they outlive this process."""
            if made.call is not None and self._ledger is not None:
                self._ledger.add(made.call, calls=1)
            enter(row, made.values)
            for other in followers.get(row, ()):
                enter(other, made.values)
            self._skip(len(followers.get(row, ())), reused=False)
            self._control.check()
            self._progress.advance(job.name)

        there = self._taken(decision)
        self._adopt(decision)
        in_order = is_seen and self._lookup is not None and self._lookup.follows_rows
        waiting = [row for row in range(draft.rows) if row not in there]
        inputs: dict[int, Inputs] = {}
        followers: dict[int, list[int]] = {}
        if job.kind == "index" and is_seen:
            self._show_earlier(there)
        if self._lookup is not None and not in_order:
            inputs = self._lookup.inputs(waiting)
            there |= self._found(inputs)
            waiting = [row for row in waiting if row not in there]
            followers = self._lookup.followers(waiting, inputs)
        for row in sorted(there):
            enter(row, there[row])
        behind = {row for rows in followers.values() for row in rows}
        call_rows(
            lambda row: self._make(row, inputs.get(row), in_order=in_order),
            [row for row in waiting if row not in behind],
            keep,
            n_threads=job.n_threads,
        )
        return results.row_columns(finished, job)

    def _make(self, row: int, inputs: Inputs | None, *, in_order: bool) -> Made:
        """Make the values of one row."""
        if in_order and self._lookup is not None:
            inputs = self._lookup.next_input(row)
            found = {} if inputs is None else self._found({row: inputs})
            if found:
                return Made(found[row], None)
        record = self._record(row, inputs)
        try:
            returned = self._call(row, record)
            return record.returned(results.row_values(returned, self._job, row))
        except BaseException as error:
            record.failed(error)
            self._note(error, row)
            raise

    def _taken(self, decision: Decision) -> dict[int, Values]:
        """Return the cells of the rows that the earlier instance holds unchanged."""
        kept = (decision.rows != NEW).nonzero()[0]
        if self._earlier is None or not len(kept):
            return {}
        columns = [
            self._earlier[name].iloc[decision.rows[kept]].tolist()
            for name in self._job.changed_columns
        ]
        self._skip(len(kept))
        return dict(zip(kept.tolist(), zip(*columns, strict=True), strict=True))

    def _adopt(self, decision: Decision) -> None:
        """Record rows that the earlier instance holds, if nobody has recorded their calls.

        From then on they are found by their key: also when they come back after they have gone.
        """
        kept = (decision.rows != NEW).nonzero()[0]
        ledger, lookup, earlier = self._ledger, self._lookup, self._earlier
        if ledger is None or lookup is None or earlier is None or ledger.knows_origin:
            return
        if self._job.return_type != "row-wise" or not len(kept) or lookup.follows_rows:
            return
        cells = [
            [None if results.is_null(cell) else cell for cell in earlier[name].iloc[rows].tolist()]
            for rows in [decision.rows[kept]]
            for name in self._job.changed_columns
        ]
        lookup.adopt(dict(zip(kept.tolist(), zip(*cells, strict=True), strict=True)))

    def _found(self, inputs: Mapping[int, Inputs]) -> dict[int, Values]:
        """Find results of rows that are recorded, and count them."""
        assert self._lookup is not None
        values, from_others = self._lookup.rows(inputs)
        self._skip(from_others)
        self._skip(len(values) - from_others, reused=False)
        return values

    def _show_earlier(self, there: Mapping[int, Values]) -> None:
        """Let a row-wise index builder see what its columns held."""
        assert self._earlier is not None or not self._draft.rows
        for name in self._job.changed_columns:
            if self._earlier is not None and name in self._earlier.columns:
                series = self._earlier[name]
                for row, (value, null) in enumerate(zip(series, series.isna(), strict=True)):
                    if row not in there and null is not True:
                        self._draft.put(row, {name: value})

    # -- all rows at once -----------------------------------------------------------------------

    def _whole_frame(self, rows: int | None) -> dict[str, pd.Series]:
        """Take the dataframe of a recorded call, or call for it."""
        job, ledger = self._job, self._ledger
        inputs = None if self._lookup is None else self._lookup.table_inputs()
        found = None if inputs is None else self._found_frame(inputs)
        if found is not None:
            return found
        record = self._record(WHOLE, inputs)
        try:
            columns = results.frame_columns(self._call(None, record), job, rows)
        except BaseException as error:
            record.failed(error)
            self._note(error, None)
            raise
        if ledger is not None and self._artifacts is not None:
            self._artifacts.record_frame(ledger, record.call("[]"), columns)
        elif ledger is not None:
            ledger.add_frame(record.call("[]"), columns)
        self._progress.advance(job.name, len(next(iter(columns.values()), ())))
        return columns

    def _found_frame(self, inputs: Inputs) -> dict[str, pd.Series] | None:
        """Find the dataframe that a recorded call returned."""
        assert self._lookup is not None
        assert self._ledger is not None
        call = self._lookup.table(inputs)
        if call is None or not self._job.changed_columns:
            return None if call is None else {}
        frame = self._ledger.frame_of(call)
        if frame is None or tuple(frame.columns) != self._job.changed_columns:
            return None
        try:
            for name, series in frame.items():
                results.typed(series, str(name), self._job)
        except TVTableError:
            return None  # it did not fit then, and does not now
        if self._artifacts is not None and not self._artifacts.bring_frame(
            self._ledger, call, frame, is_own=self._lookup.is_own(call)
        ):
            return None
        self._ledger.take(self._job.name, [(WHOLE, call.id)])
        self._skip(len(frame), reused=not self._lookup.is_own(call))
        return {str(name): series for name, series in frame.items()}

    def _generated(self, rows: int | None) -> dict[str, pd.Series]:
        """Take the items of a recorded call when all are there, or call and take them as they come.

        Items that an earlier attempt has recorded stay as they are, and can be seen.
        """
        job = self._job
        inputs = None if self._lookup is None else self._lookup.table_inputs()
        items: dict[int, Values] = {}
        if self._lookup is not None and inputs is not None:
            items = self._lookup.items(inputs, rows)
            end = self._lookup.ends_after(inputs, len(items))
            if end is not None and rows in (None, len(items)):
                self._skip(len(items), reused=not self._lookup.is_own(end))
                return results.row_columns([items[row] for row in range(len(items))], job)
        self._show_items(items)
        finished: list[Values] = []
        record = self._record(WHOLE, inputs)
        usage = Usage(job.name)
        try:
            returned = self._call(None, record)
            iterate = partial(self._context.invoke.items, usage)
            item_record = self._record_item(0, inputs, usage)
            for row, item in enumerate(results.items_of(returned, job, rows, iterate)):
                finished.append(self._item(row, item, items, item_record))
                record.usage.add(usage.take())  # of an item that was there
                item_record = self._record_item(row + 1, inputs, usage)
            record.usage.add(usage.close())
        except BaseException as error:
            record.usage.add(usage.close())
            record.failed(error)
            self._note(error, len(finished))
            raise
        if self._ledger is not None:
            self._ledger.add(record.call(f"[{len(finished)}]"), calls=1)
        return results.row_columns(finished, job)

    def _record_item(self, row: int, inputs: Inputs | None, usage: Usage) -> Recorder:
        """Return what records an item that the generator is asked for now."""
        key = None if inputs is None else item_inputs(inputs, row)
        record = self._record(row, key)
        record.share(usage)
        return record

    def _item(
        self, row: int, item: object, items: Mapping[int, Values], record: Recorder
    ) -> Values:
        """Take one item of a generator; one that was recorded before stays as it was."""
        self._refuse_copy()
        values = results.row_values(item, self._job, row)
        if row in items:
            values = items[row]
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
