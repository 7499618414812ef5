"""A run without its calls: for each builder the calls that it would make."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.calls.read_only import ReadOnlyLedger
from tablevault.engine.calls.summaries import Expected
from tablevault.engine.execution.finder import Finder, FoundRows, FoundTable
from tablevault.engine.execution.missing_cells import MissingCells
from tablevault.engine.execution.reuse import UnknownRows
from tablevault.engine.execution.run import Ready
from tablevault.engine.matching import is_artifact
from tablevault.engine.row_values import RowResults, where
from tablevault.engine.tables import TableDraft
from tablevault.errors import TVTableError
from tablevault.frames.parquet import read_frame, write_frame
from tablevault.plans import PlannedBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTable:
    """What is known of the instance that an execution would make.

    Attributes
    ----------
    columns : tuple of str
        All columns, in order.
    known : frozenset of str
        Those of which every cell is known.
    rows : int
        How many rows there will be; as far as anybody can tell where no column is known.
    content : bytes
        The known columns as Parquet: what is read of them is what will be read of the instance.
    digest : str
        Logical digest of the dataframe; "" unless all columns are known.
    """

    columns: tuple[str, ...]
    known: frozenset[str] = frozenset()
    rows: int = 0
    content: bytes = b""
    digest: str = ""

    def knows(self, columns: Collection[str] | None) -> bool:
        """Return whether all that some columns will hold is known; of the whole table when None."""
        wanted = self.columns if columns is None else self.known.union(self.columns) & {*columns}
        return bool(self.known) and self.known.issuperset(wanted)

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Read known columns."""
        return read_frame(io.BytesIO(self.content), columns=columns)


def expected_of(
    draft: TableDraft, columns: tuple[str, ...], lacking: Collection[str]
) -> ExpectedTable:
    """Describe what a draft holds, some columns of which lack cells.

    Files of artifacts may be others although their names stay: such columns are not known.
    """
    stored = {name: draft.stored(name) for name in columns if name not in lacking}
    known = [name for name, series in stored.items() if not is_artifact(series)]
    if not known:
        return ExpectedTable(columns=columns, rows=draft.rows)
    sink = io.BytesIO()
    file = write_frame(draft.finished(known), sink)
    return ExpectedTable(
        columns=columns,
        known=frozenset(known),
        rows=draft.rows,
        content=sink.getvalue(),
        digest=file.digest if len(known) == len(columns) else "",
    )


INDEX: Final = "index builder"
ORIGIN: Final = "origin"
LAST_ATTEMPT: Final = "last attempt"
NOBODY: Final = ""
_ANY: Final = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is to be made before a table, and cannot be known.

    Attributes
    ----------
    tables : mapping of str to tuple of str
        For builders that read such columns: the names of the tables. None of their calls can be
        known.
    rows : int
        Rows that the largest of the tables will have which the index builder reads.
    calls : set of (bytes, bytes)
        Inputs and code of calls that will be made before, inputs "" for unknown ones; those that
        are planned are added.
    """

    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows: int = 0
    calls: set[tuple[Inputs, bytes]] = field(default_factory=set)


class Preview:
    """Finds what all builders of a run would find, and counts what they would call.

    Parameters
    ----------
    run : Ready
        From `tablevault.engine.execution.run.ready`, within its body.
    ledger : ReadOnlyLedger
        That of the run.
    origin : DataFrame, optional
        The instance whose rows count where no others are known.
    ahead : Ahead, optional
        What is to be made before; nothing by default.

    Attributes
    ----------
    rows_from : str
        `INDEX` where the index builder was called or need not be, `LAST_ATTEMPT` and `ORIGIN` where
        its rows count, `NOBODY` where the rows are unknown.
    """

    def __init__(
        self,
        run: Ready,
        ledger: ReadOnlyLedger,
        origin: pd.DataFrame | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.rows_from = INDEX
        self._origin = origin
        self._run = run
        self._ahead = ahead or Ahead()
        self._open = self._ahead.tables
        index = self._open.get(run.builders[0].name)
        if index is not None:  # where the rows change, everything may
            self._open = {builder.name: index for builder in run.builders}
        self._has_open_rows = index is not None
        self._ledger = ledger
        self._draft = run.draft
        self._missing = MissingCells(run.draft)

    def builders(self, *, run_index: bool) -> tuple[PlannedBuilder, ...]:
        """Count the calls of each builder, in the order of execution.

        Parameters
        ----------
        run_index : bool
            Whether the index builder is called, unless its rows are there. No other is.

        Raises
        ------
        BaseException
            What the index builder raised.
        """
        run = self._run
        planned = [self._index(run_index=run_index)]
        if self.rows_from == NOBODY:
            return (
                *planned,
                *(self._without_rows(builder) for builder, _, _ in run.column_steps()),
            )
        run.reuse.match(run.builders[0])
        for builder, step, written in run.column_steps():
            key = () if builder.deduplicate else run.context.key_columns
            unknown = self._unknown_rows(builder, key)
            waiting = frozenset(unknown.rows.nonzero()[0].tolist())
            step.finder.begin()
            found = step.finder.find(run.reuse.decide(builder, written, unknown), waiting)
            planned.append(self._column(builder, step.finder, found, waiting))
        return tuple(planned)

    @property
    def _more_rows(self) -> int:
        """Rows that may come to those of today: as many as a table will have that makes them."""
        if not self._has_open_rows:
            return 0
        return max(0, self._ahead.rows - self._draft.rows)

    def expected(self) -> ExpectedTable:
        """Return what is known of the instance, after `builders`."""
        columns = self._run.plan.columns
        if self.rows_from != INDEX or self._run.builders[0].keep_old:
            return ExpectedTable(columns=columns, rows=self._draft.rows + self._more_rows)
        return expected_of(self._draft, columns, self._missing.columns)

    def _unknown_rows(self, builder: ResolvedBuilder, key: Sequence[str]) -> UnknownRows:
        """Return the rows of a builder whose calls cannot be known yet."""
        found = self._missing.unknown(builder, key)
        tables = self._open.get(builder.name, ())
        return replace(found, rows=found.rows | True, tables=tables) if tables else found

    # -- the index builder ----------------------------------------------------------------------

    def _index(self, *, run_index: bool) -> PlannedBuilder:
        """Find the rows of the table, or call for them."""
        builder, step = self._run.builders[0], self._run.steps[0]
        step.finder.begin()
        if self._has_open_rows:
            self._take_index(builder)
            known = None if self.rows_from == NOBODY else self._draft.rows
            unknown = UnknownRows(
                rows=np.ones(0, np.bool_), columns=(), tables=self._open[builder.name]
            )
            reason = f"{unknown} made first"
            return self._planned(builder, rows=known, calls=1, is_exact=False, reason=reason)
        decision = self._run.decide_index()
        found = step.finder.find(decision)
        is_exact = True
        if isinstance(found, FoundRows):
            self._find_in_order(step.finder, found)
            is_exact = not (found.in_order and found.waiting)
        calls = found.calls
        if calls and run_index:
            step.run(decision)
        elif calls:
            self._take_index(builder)
        else:
            self._set_index(builder, found.columns or {})
        reason = step.finder.reason(found, is_called=calls > 0)
        return self._planned(
            builder,
            rows=None if self.rows_from == NOBODY else self._draft.rows,
            calls=calls,
            is_exact=is_exact,
            reason="made before" if builder.always_run and not calls else reason,
        )

    def _take_index(self, builder: ResolvedBuilder) -> None:
        """Take the rows of the last attempt, else those of the origin."""
        made = self._ledger.columns_before(builder)
        self.rows_from = NOBODY
        for frame, whose in ((made, LAST_ATTEMPT), (self._origin, ORIGIN)):
            if frame is not None and self._can_take(builder, frame):
                self.rows_from = whose
                return

    def _can_take(self, builder: ResolvedBuilder, frame: pd.DataFrame) -> bool:
        """Take the columns of a frame; those that it lacks are null, and noted as missing."""
        there = {name: frame[name] for name in builder.changed_columns if name in frame.columns}
        if not there:
            return False
        try:
            self._set_index(builder, there)
        except TVTableError:  # it has to fit what the builder says now
            return False
        lacking = [name for name in builder.changed_columns if name not in there]
        for name in lacking:
            self._draft.set_column(name, pd.Series([None] * len(frame), dtype=object, name=name))
        self._missing.add(lacking, range(len(frame)))
        return True

    def _set_index(self, builder: ResolvedBuilder, columns: Mapping[str, pd.Series]) -> None:
        """Make the rows of the table."""
        typed = {name: results.typed(series, name, builder) for name, series in columns.items()}
        self._draft.set_rows(len(next(iter(typed.values()), ())))
        for name, series in typed.items():
            self._draft.set_column(name, series)

    # -- other builders -------------------------------------------------------------------------

    def _without_rows(self, builder: ResolvedBuilder) -> PlannedBuilder:
        """Plan a builder of a table whose rows are unknown."""
        is_whole = builder.return_type != "row-wise"
        return self._planned(
            builder,
            rows=None,
            calls=1 if is_whole else None,
            is_exact=False,
            reason="the rows are not known",
        )

    def _column(
        self,
        builder: ResolvedBuilder,
        finder: Finder,
        found: FoundRows | FoundTable,
        unknown: frozenset[int],
    ) -> PlannedBuilder:
        """Count the calls of one builder, and enter what it has in the draft."""
        is_exact, calls, reused = not unknown, 0, 0
        if isinstance(found, FoundRows):
            self._find_in_order(finder, found)
            is_certain = not found.waiting or not (found.in_order or self._may_come(builder))
            is_exact = is_certain and not unknown and not self._has_open_rows
            calls = self._count(builder, [found.inputs.get(row) for row in found.waiting])
            calls += len(unknown) + self._more_rows
            if unknown or self._has_open_rows:
                self._ahead.calls.add((_ANY, self._run.codes[builder.name].digest))
            reused = len(found.there)
            self._enter_part(builder, found.there)
        elif found.columns is None:
            calls = self._count(builder, [found.inputs])
            self._enter_part(builder, RowResults(builder.changed_columns, self._draft.rows))
        else:
            for name, series in found.columns.items():
                typed = series if found.is_typed else results.typed(series, name, builder)
                self._draft.set_column(name, typed)
        return self._planned(
            builder,
            rows=self._draft.rows,
            calls=calls,
            is_exact=is_exact,
            reused=reused,
            reason=finder.reason(found, is_called=calls > 0),
        )

    def _enter_part(self, builder: ResolvedBuilder, made: RowResults) -> None:
        """Add columns to the draft, and note the cells that are still to be made."""
        for name, series in results.partial_columns(made, builder).items():
            self._draft.set_column(name, series)
        self._missing.add(builder.changed_columns, where(~made.there))
        self._missing.add_changing(builder, made)

    def _find_in_order(self, finder: Finder, found: FoundRows) -> None:
        """Search for rows that can be searched for only when those before them are there."""
        if not found.in_order:
            return
        for row in where(found.there.there):
            self._draft.put(row, dict(zip(found.there.names, found.there[row], strict=True)))
        waiting, found.waiting = found.waiting, []
        for at, row in enumerate(waiting):
            made = finder.next_row(row)[1]
            if made is None:
                found.waiting = waiting[at:]
                return
            found.there.put(row, made)
            self._draft.put(row, dict(zip(found.there.names, made, strict=True)))

    def _may_come(self, builder: ResolvedBuilder) -> bool:
        """Return whether another table makes calls of the same code that are not known yet."""
        return (_ANY, self._run.codes[builder.name].digest) in self._ahead.calls

    def _count(self, builder: ResolvedBuilder, inputs: Sequence[Inputs | None]) -> int:
        """Count calls, but for those whose results another table will have brought by then."""
        code, policy, made = (
            self._run.codes[builder.name].digest,
            self._ledger.policy,
            self._ahead.calls,
        )
        finds = not (policy.forced or policy.private)
        calls = sum(each is None or not finds or (each, code) not in made for each in inputs)
        made.update((each, code) for each in inputs if each is not None)
        return calls

    def _planned(
        self,
        builder: ResolvedBuilder,
        *,
        rows: int | None,
        calls: int | None,
        reason: str,
        is_exact: bool = True,
        reused: int | None = None,
    ) -> PlannedBuilder:
        """Describe what a builder would do, and what that takes; `calls` has one for each row."""
        each = Expected(seconds=0.0, cost=0.0)
        if calls != 0:
            is_whole = builder.return_type != "row-wise"
            each = self._ledger.expected(self._run.codes[builder.name], whole=is_whole)
        # How many calls follow each other, where some run at the same time.
        rounds = None if calls is None else math.ceil(calls / builder.n_threads)
        return PlannedBuilder(
            name=builder.name,
            rows=rows,
            calls=None if calls is None else math.ceil(calls / builder.batch_size),
            is_exact=is_exact,
            reused=(rows or 0) if calls == 0 else (reused or 0),
            reason=reason,
            seconds=_times(each.seconds, rounds),
            cost=_times(each.cost, calls),
        )


def _times(value: float | None, number: int | None) -> float | None:
    """Multiply what is known."""
    return None if value is None or number is None else value * number
