"""A run without its calls: for each builder the calls that it would make."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.call_file import CallSources
from tablevault.engine.calls.instance_calls import InstanceCalls, KeptRows
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.calls.ledger import BuilderColumns, Ledger, ReusePolicy
from tablevault.engine.calls.records import NO_ROW, CallRecord, KeptFile
from tablevault.engine.calls.store import CallStore
from tablevault.engine.calls.summaries import Expected
from tablevault.engine.execution.finder import Finder, FoundRows, FoundTable, MissingCells
from tablevault.engine.execution.reuse import UnknownRows
from tablevault.engine.execution.run import Ready
from tablevault.engine.fingerprints.fingerprint import Fingerprint
from tablevault.engine.matching import is_artifact
from tablevault.engine.row_values import RowResults, decode_values, where
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
        return PlannedBuilder(
            name=builder.name,
            rows=rows,
            calls=None if calls is None else math.ceil(calls / builder.batch_size),
            is_exact=is_exact,
            reused=(rows or 0) if calls == 0 else (reused or 0),
            reason=reason,
            seconds=_times(each.seconds, None if calls is None else _rounds(calls, builder)),
            cost=_times(each.cost, calls),
        )


def _rounds(calls: int, builder: ResolvedBuilder) -> int:
    """Return how many calls follow each other, where some run at the same time."""
    return math.ceil(calls / builder.n_threads)


def _times(value: float | None, number: int | None) -> float | None:
    """Multiply what is known."""
    return None if value is None or number is None else value * number


_SOME_FILE: Final = KeptFile("0" * 64, 0)


class ReadOnlyCalls(InstanceCalls):
    """Calls that instances hold; those that are found stay in memory only.

    Attributes
    ----------
    frames : dict of (bytes, bytes) to DataFrame
        Dataframes that calls returned, by inputs and code.
    """

    def __init__(self, store: CallStore, sources: CallSources) -> None:
        super().__init__(store, sources)
        self.frames: dict[tuple[Inputs, bytes], pd.DataFrame] = {}

    def _take(
        self,
        instance: str,
        calls: Sequence[CallRecord],
        frames: Mapping[Inputs, pd.DataFrame],
        code: bytes | None,
    ) -> dict[bytes, CallRecord]:
        """Return calls of an instance."""
        del instance, code
        for call in calls:
            if call.inputs in frames:
                self.frames[call.inputs, call.code] = frames[call.inputs]
        return {call.inputs: call for call in calls}


class ReadOnlyLedger(Ledger):
    """Finds what an execution would find; records nothing.

    Parameters
    ----------
    store, temp, process, policy, sources
        As those of `Ledger`.
    """

    def __init__(
        self,
        store: CallStore,
        *,
        temp: str,
        process: str,
        policy: ReusePolicy,
        sources: CallSources,
    ) -> None:
        super().__init__(store, temp=temp, process=process, policy=policy, sources=sources)
        self._instances = ReadOnlyCalls(store, sources)
        self._sources = self._instances

    def begin(self, parts: Sequence[BuilderColumns], codes: Iterable[Fingerprint] = ()) -> None:
        """Find the attempt that the execution would continue."""
        del parts, codes
        self._execution = self._find_attempt()

    def place_again(self, builder: str) -> None:
        """Note nothing."""

    def add(self, call: CallRecord, *, calls: int = 0, builder: str = "") -> None:
        """Record nothing."""

    def flush(self) -> None:
        """Write nothing."""

    def add_frame(self, call: CallRecord, columns: Mapping[str, pd.Series]) -> None:
        """Record nothing."""

    def take(self, builder: str, found: Sequence[tuple[int, int]]) -> None:
        """Note nothing."""

    def take_from(self, builder: str, rows: Mapping[int, int]) -> None:
        """Note nothing."""

    def _note_kept(self, builder: str, kept: Sequence[KeptRows]) -> None:
        """Note nothing."""

    def finish(self, builder: str, code: bytes, columns: Sequence[str], *, is_exact: bool) -> None:
        """Note nothing."""

    def frame_of(self, call: CallRecord) -> pd.DataFrame | None:
        """Return the dataframe that a call returned; None if it is lost."""
        found = self._instances.frames.get((call.inputs, call.code))
        return super().frame_of(call) if found is None else found

    def columns_before(self, builder: ResolvedBuilder) -> pd.DataFrame | None:
        """Return what a builder made in the last attempt; None unless it ended, or had others."""
        before = self._store.execution_of(self._temp)
        if before is None or builder.name not in self._store.ended(before[0]):
            return None
        noted = {part["name"]: part["columns"] for part in json.loads(before[2])}
        if noted.get(builder.name) != list(builder.changed_columns):
            return None
        found = self._store.rows(before[0], builder.name)
        if NO_ROW in found and (frame := self._store.frame_of(found[NO_ROW])) is not None:
            return frame
        calls = [found[row] for row in sorted(found) if row != NO_ROW]
        if [call.row for call in calls] != list(range(len(calls))):
            return None
        rows = [decode_values(call.value) for call in calls if call.value is not None]
        return pd.DataFrame(results.row_columns(rows, builder))


class ReadOnlyFiles:
    """Artifacts for plans: all count as present, none is copied.

    Implements `tablevault.engine.calls.artifacts.ArtifactFiles`.
    """

    @contextmanager
    def kept(self, names: Collection[str]) -> Iterator[Mapping[str, KeptFile]]:
        """Yield a file for each name, as if it had been kept."""
        yield dict.fromkeys(names, _SOME_FILE)

    def inherited(self, names: Collection[str]) -> None:
        """Find nothing."""

    def show(self, names: Collection[str]) -> None:
        """Put nothing into the artifact folder."""

    def bring(self, files: Mapping[str, KeptFile]) -> Mapping[str, str]:
        """Copy nothing."""
        del files
        return {}
