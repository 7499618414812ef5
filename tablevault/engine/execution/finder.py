"""Results that exist before a builder is called: rows or whole tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.artifacts import artifacts_of, show_inherited
from tablevault.engine.calls.keys import CallKeys, Inputs, RowInputs
from tablevault.engine.calls.lookup import Lookup
from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.execution.context import RunContext
from tablevault.engine.execution.reuse import UNCHANGED, Decision
from tablevault.engine.matching import NEW_ROW, all_new
from tablevault.engine.row_values import RowResults, Values, cells_of, where
from tablevault.errors import TVTableError
from tablevault.render import counted


@dataclass(slots=True, kw_only=True)
class FoundRows:
    """Results of a row-wise builder.

    Attributes
    ----------
    decision : Decision
        Which rows the earlier instance holds as calls would return them.
    there : RowResults
        Results by row.
    kept : int
        How many of them are cells of the earlier instance.
    from_others : int
        How many of the rest other executions have made.
    waiting : sequence of int
        Rows for which the function is called, in this order.
    followers : dict of int to list of int
        For such a row the others that get its result.
    inputs : RowInputs
        What the calls of waiting rows are found by.
    in_order : bool
        Whether a waiting row can be searched for only when those before it are made.
    failed : int
        How many of the waiting rows failed in an earlier attempt at this execution.
    """

    decision: Decision
    there: RowResults
    kept: int
    from_others: int = 0
    waiting: Sequence[int]
    followers: dict[int, list[int]] = field(default_factory=dict)
    inputs: RowInputs = field(default_factory=RowInputs)
    in_order: bool = False
    failed: int = 0

    @property
    def columns(self) -> dict[str, pd.Series]:
        """The results, as they were returned."""
        return self.there.columns()

    @property
    def calls(self) -> int:
        """Rows for which the function is called."""
        return len(self.waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """Results of a builder for all rows at once.

    Attributes
    ----------
    decision : Decision
        As that of `FoundRows`.
    columns : mapping of str to Series, optional
        All columns; None where the function is called.
    is_typed : bool
        Whether they have their dtypes, as those of an instance do; else they are as returned.
    reused : int
        Rows of them that other executions have made.
    own : int
        Rows of them that an earlier attempt at this execution has made.
    items : mapping of int to tuple
        What a generator yielded in earlier attempts, from the first item on.
    inputs : bytes, optional
        What the call is found by.
    failed : int
        1 where it failed in an earlier attempt at this execution.
    """

    decision: Decision
    columns: Mapping[str, pd.Series] | None = None
    is_typed: bool = False
    reused: int = 0
    own: int = 0
    items: Mapping[int, Values] = field(default_factory=dict)
    inputs: Inputs | None = None
    failed: int = 0

    @property
    def calls(self) -> int:
        """How often the function is called."""
        return int(self.columns is None)


class Finder:
    """Finds results of one builder, and so decides which calls are made; calls nothing.

    An execution makes the calls whose results it does not find, and a plan counts them.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    code : bytes
        Digest of its code.
    fields : mapping of str to object
        What each call gets besides its arguments.
    context : RunContext
        What it shares with the others.

    Attributes
    ----------
    rows : int, optional
        Rows of the table, after `begin`; None when the builder decides.
    """

    def __init__(
        self, builder: ResolvedBuilder, code: bytes, fields: Mapping[str, Any], context: RunContext
    ) -> None:
        self._builder = builder
        self._code = code
        self._fields = fields
        self._context = context
        self._draft = context.tables.draft
        self._ledger = context.options.ledger
        self._earlier = context.earlier
        self.rows: int | None
        self.lookup: Lookup
        self.artifacts = artifacts_of(builder, context.options.files)

    def begin(self) -> None:
        """Begin the columns in the draft."""
        builder, draft, context = self._builder, self._draft, self._context
        is_row_wise = builder.return_type == "row-wise"
        if builder.kind == "index":
            draft.set_rows(0 if self._earlier is None or not is_row_wise else len(self._earlier))
        draft.grow(builder.changed_columns)
        keys = CallKeys(builder, context.tables, context.options.file_text, context.key_columns)
        keys.add_constant(self._fields)
        self.lookup = Lookup(builder, self._ledger, keys, self._code, self.artifacts)
        self.rows = None if builder.kind == "index" and not is_row_wise else draft.rows

    def find(self, decision: Decision, unknown: Collection[int] = ()) -> FoundRows | FoundTable:
        """Find the results, after `begin`.

        Parameters
        ----------
        decision : Decision
            Which rows the earlier instance holds unchanged.
        unknown : collection of int
            Rows whose arguments are not known yet: they are neither searched for nor waiting.
        """
        builder, ledger = self._builder, self._ledger
        decision = self._trusted(decision)
        ledger.place_again(builder.name)
        if decision.reused:
            ledger.keep(builder.name, decision.rows)
        if (kept := self._kept(decision)) is not None:
            return kept
        files = self._context.options.files
        if files is not None and builder.kind == "column":
            show_inherited(builder, self._draft, decision.rows == NEW_ROW, files)
        if builder.return_type == "row-wise":
            return self._rows(decision, unknown)
        return self._table(decision) if not unknown else FoundTable(decision=decision)

    def reason(self, found: FoundRows | FoundTable, *, is_called: bool) -> str:
        """Return why the function is called, or why it need not be."""
        reason = found.decision.reason
        if not is_called:
            return UNCHANGED if reason == UNCHANGED else f"{reason}; made before"
        if reason == UNCHANGED:
            reason = "no record of its call"
        if not found.failed:
            return reason
        failed = isinstance(found, FoundRows) and counted(found.failed, "row")
        return f"{reason}; {failed or 'its call'} failed before"

    def _trusted(self, decision: Decision) -> Decision:
        """Keep rows of the earlier instance only where they are what calls would return.

        They are when this code made them, and their columns give back exactly what it returned.
        Of calls that differ by their order alone, all rows have to be there. Of an instance
        whose calls were not recorded, being unchanged is enough.
        """
        ledger = self._ledger
        if self._builder.always_run or not ledger.knows_origin:
            return decision
        reason = decision.reason
        if ledger.made_origin(self._builder.name, self._code):
            if decision.keeps_all or not self.lookup.are_numbered:
                return decision
        elif reason == UNCHANGED:
            reason = "code changed"
        return Decision(rows=all_new(len(decision.rows)), reason=reason)

    def _kept(self, decision: Decision) -> FoundTable | None:
        """Return the columns of the earlier instance where all rows are kept; None elsewhere."""
        if not decision.keeps_all or self._earlier is None:
            return None
        rows, columns = decision.rows, {}
        is_part, is_typed = len(rows) < len(self._earlier), True
        for name in self._builder.changed_columns:
            series = self._earlier[name].iloc[rows].reset_index(drop=True).rename(name)
            if is_part and name not in self._builder.dtypes and _depends_on_all(series):
                series, is_typed = series.astype(object), False
            columns[name] = series
        return FoundTable(decision=decision, columns=columns, is_typed=is_typed, reused=len(rows))

    # -- row by row -----------------------------------------------------------------------------

    def _rows(self, decision: Decision, unknown: Collection[int]) -> FoundRows:
        """Find the results of a row-wise builder."""
        there = self._taken(decision)
        lookup = self.lookup
        is_open = ~there.there
        is_open[list(unknown)] = False
        found = FoundRows(decision=decision, there=there, kept=len(there), waiting=where(is_open))
        if self._builder.kind == "index" and self._builder.sees_earlier_rows:
            self._show_earlier(there)
        # In threads the function of a row does not see the rows before it.
        found.in_order = lookup.follows_rows and self._builder.sees_earlier_rows
        if found.in_order:
            return found
        found.inputs = lookup.inputs(found.waiting, unknown)
        found.from_others = lookup.fill(found.inputs, there)
        is_open &= ~there.there
        found.followers = lookup.followers(where(is_open), found.inputs)
        for rows in found.followers.values():
            is_open[rows] = False
        found.waiting = where(is_open)
        found.failed = lookup.failed(found.inputs.get(row) for row in found.waiting)
        return found

    def next_row(self, row: int) -> tuple[Inputs | None, Values | None, bool]:
        """Search for one row, after those before it are made.

        Returns
        -------
        bytes, optional
            What its call is found by.
        tuple, optional
            Its result, if that is there.
        bool
            Whether another execution made it.
        """
        inputs = self.lookup.next_input(row)
        if inputs is None:
            return None, None, False
        values, from_others = self.lookup.rows({row: inputs})
        return inputs, values.get(row), bool(from_others)

    def adopt(self, decision: Decision) -> None:
        """Record rows that the earlier instance holds, if their calls were not recorded.

        From then on they are found by their key: also when they come back after they have gone.
        """
        kept = (decision.rows != NEW_ROW).nonzero()[0]
        ledger, lookup, earlier = self._ledger, self.lookup, self._earlier
        if earlier is None or ledger.knows_origin:
            return
        if self._builder.return_type != "row-wise" or not len(kept) or lookup.follows_rows:
            return
        cells = cells_of(earlier, self._builder.changed_columns, decision.rows[kept])
        lookup.adopt(dict(zip(kept.tolist(), cells, strict=True)))

    def _taken(self, decision: Decision) -> RowResults:
        """Return the cells of the rows that the earlier instance holds unchanged."""
        taken = RowResults(self._builder.changed_columns, self._draft.rows, self._builder.dtypes)
        kept = where(decision.rows != NEW_ROW)
        if self._earlier is not None and kept:
            frame, rows = self._earlier, decision.rows[kept]
            taken.put_columns(kept, (frame[name].iloc[rows].tolist() for name in taken.names))
        return taken

    def _show_earlier(self, there: RowResults) -> None:
        """Let a row-wise index builder see what its columns held."""
        assert self._earlier is not None or not self._draft.rows
        for name in self._builder.changed_columns:
            if self._earlier is not None and name in self._earlier.columns:
                series = self._earlier[name]
                for row, (value, null) in enumerate(zip(series, series.isna(), strict=True)):
                    if not there.there[row] and null is not True:
                        self._draft.put(row, {name: value})

    # -- all rows at once -----------------------------------------------------------------------

    def _table(self, decision: Decision) -> FoundTable:
        """Find the result of a builder whose function is called once."""
        builder, lookup, rows = self._builder, self.lookup, self.rows
        if rows == 0:  # no rows, nothing to ask a function for
            return FoundTable(decision=decision, columns=results.row_columns([], builder))
        inputs = lookup.table_inputs()
        if inputs is None:
            return FoundTable(decision=decision)
        nothing = FoundTable(decision=decision, inputs=inputs, failed=lookup.failed([inputs]))
        if builder.return_type == "dataframe":
            return self._frame(nothing, inputs)
        items = lookup.items(inputs, rows)
        end = lookup.ends_after(inputs, len(items))
        if end is None or rows not in (None, len(items)):
            return replace(nothing, items=items)
        columns = results.row_columns([items[row] for row in range(len(items))], builder)
        return self._found(nothing, columns, len(items), end)

    def _frame(self, nothing: FoundTable, inputs: Inputs) -> FoundTable:
        """Find the dataframe that a recorded call returned."""
        call = self.lookup.table(inputs)
        if call is None:
            return nothing
        if not self._builder.changed_columns:
            return replace(nothing, columns={})
        frame = self._ledger.frame_of(call)
        if frame is None or tuple(frame.columns) != self._builder.changed_columns:
            return nothing
        try:
            for name, series in frame.items():
                results.typed(series, str(name), self._builder)
        except TVTableError:
            return nothing  # it did not fit then, and does not now
        if self.artifacts is not None and not self.artifacts.bring_frame(
            self._ledger, call, frame, is_own=self.lookup.is_own(call)
        ):
            return nothing
        self._ledger.take(self._builder.name, [(NO_ROW, call.id)])
        columns = {str(name): series for name, series in frame.items()}
        return self._found(nothing, columns, len(frame), call)

    def _found(
        self, nothing: FoundTable, columns: Mapping[str, pd.Series], rows: int, call: CallRecord
    ) -> FoundTable:
        """Return columns, and whether this execution made them."""
        own = rows if self.lookup.is_own(call) else 0
        return replace(nothing, columns=columns, reused=rows - own, own=own, failed=0)


def _depends_on_all(series: pd.Series) -> bool:
    """Return whether a part of the values may imply another dtype than that of their column."""
    return series.dtype == object or str(series.dtype) == "UInt64" or not series.notna().any()
