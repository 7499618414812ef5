"""Which cells need not be computed again, and why the others do.

A cell is kept exactly when what made it is unchanged: its builder, the code that this calls, what
its arguments read, and the key of its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from tablevault.engine.builders.builder import DECISIVE, Builder, changed_fields
from tablevault.engine.builders.reads import Dependency, Read, reads_of
from tablevault.engine.builders.resolve_fields import ResolvedBuilder, resolve
from tablevault.engine.execution.context import Earlier, RunOptions
from tablevault.engine.fingerprints.fingerprint import reasons
from tablevault.engine.matching import (
    NEW_ROW,
    Mask,
    Rows,
    all_new,
    cells_equal,
    is_artifact,
    match_rows,
    with_contents,
)
from tablevault.engine.references import View, by_row, evaluate
from tablevault.engine.references.view import POSITION_NAMES
from tablevault.engine.tables import Inputs, TableDraft
from tablevault.errors import TableVaultError
from tablevault.frames.tagged_json import UnstorableValueError, to_json
from tablevault.names import SELF

UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of the columns of one builder.

    Attributes
    ----------
    rows : array of int64
        For each row the row of the earlier frame whose cells are kept, -1 where the function is
        to be asked.
    reason : str
        Why it is asked, or "unchanged".
    """

    rows: Rows
    reason: str

    @property
    def reused(self) -> int:
        """Number of rows that are kept."""
        return int((self.rows != NEW_ROW).sum())

    @property
    def keeps_all(self) -> bool:
        """Whether the function need not be called."""
        return self.reason == UNCHANGED and bool((self.rows != NEW_ROW).all())


INDEX_RUNS = Decision(rows=np.zeros(0, dtype=np.int64), reason="index builders always run")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRows:
    """Rows of one builder whose arguments are not known yet.

    Attributes
    ----------
    rows : array of bool
        The rows.
    columns : tuple of str
        Columns that are to be made before.
    tables : tuple of str
        Other tables that are to be made before.
    """

    rows: Mask
    columns: tuple[str, ...]
    tables: tuple[str, ...] = ()

    @classmethod
    def nothing(cls, rows: int) -> Self:
        """Return what stands for a table of so many rows in which all is known."""
        return cls(rows=np.zeros(rows, dtype=np.bool_), columns=())

    def __str__(self) -> str:
        """Name the columns, and a verb."""
        names = [*self.tables, *(f"{SELF}.{name}" for name in self.columns)]
        shown = " and ".join(f"`{name}`" for name in names)
        return f"{shown} {'is' if len(names) == 1 else 'are'}"


class Reuse:
    """Decides for each builder of one run, after those before it have run.

    Parameters
    ----------
    options : RunOptions
        The instance to start from.
    inputs : Inputs
        The tables as they are read now.
    draft : TableDraft
        The table under construction.
    """

    def __init__(self, options: RunOptions, inputs: Inputs, draft: TableDraft) -> None:
        self._options = options
        self._earlier = options.earlier
        self._inputs = inputs
        self._draft = draft
        self._matched: Rows = np.zeros(0, dtype=np.int64)
        self._same: dict[str, Mask] = {}
        self._names: list[str] = []

    def match(self, index: ResolvedBuilder) -> None:
        """Find the rows that were there before, once the index builder has made the rows."""
        self._same.clear()
        self._matched = all_new(self._draft.rows)
        self._names = list(index.changed_columns)
        if self._earlier is not None:
            made = pd.DataFrame({name: self._draft.stored(name) for name in index.changed_columns})
            self._matched = match_rows(made, self._earlier.frame, index.primary_key)

    @property
    def has_same_rows(self) -> bool:
        """Whether all rows were there before, in the same order, and no others."""
        if self._earlier is None or len(self._matched) != len(self._earlier.frame):
            return False
        return bool((self._matched == np.arange(len(self._matched))).all())

    def index_is_same(self) -> bool:
        """Return whether the index builder made what it made before."""
        index = self._names
        return self.has_same_rows and all(self._cells_same(name).all() for name in index)

    def decide_index(self, builder: ResolvedBuilder, written: Builder) -> Decision:
        """Decide for the index builder, before any row is made."""
        if builder.always_run:
            return INDEX_RUNS
        earlier = self._earlier
        rows = 0 if earlier is None else len(earlier.frame)
        nothing = all_new(rows)
        self._matched = np.arange(rows)  # if nothing has changed, the rows will be these
        decided = self._decide(builder, written, UnknownRows.nothing(rows))
        # What its function returned stands in the instance if that holds nothing else, and if
        # the function did not see it.
        stands = earlier is not None and earlier.is_complete and not builder.keep_old
        if stands and builder.return_type != "row-wise":
            return decided
        return Decision(rows=nothing, reason=decided.reason)

    def decide(
        self, builder: ResolvedBuilder, written: Builder, unknown: UnknownRows | None = None
    ) -> Decision:
        """Decide for a column builder; its own columns are being computed next.

        Parameters
        ----------
        builder : ResolvedBuilder
            What is run.
        written : Builder
            The same as it is written.
        unknown : UnknownRows, optional
            Rows whose arguments are not known yet; none by default.
        """
        decided = self._decide(builder, written, unknown or UnknownRows.nothing(self._draft.rows))
        self._names.extend(builder.changed_columns)
        return decided

    def _decide(self, builder: ResolvedBuilder, written: Builder, unknown: UnknownRows) -> Decision:
        """Compare what made the columns then with what would make them now."""
        nothing = all_new(len(unknown.rows))
        earlier = self._earlier
        if earlier is None:
            return Decision(rows=nothing, reason=self._options.why_not)
        changes = self._changed_recipe(builder, written, earlier)
        if changes:
            return Decision(rows=nothing, reason="; ".join(changes))
        keeps = self._matched != NEW_ROW
        known = int(keeps.sum())
        why = []
        if missing := int((~keeps).sum()):
            why.append(_count(missing, "new row"))
        for read in reads_of(builder.arguments, self._draft.names):
            unchanged, changed_names = self._unchanged(read, builder, earlier, unknown)
            if lost := int((keeps & ~unchanged).sum()):
                why.append(f"{changed_names} changed" + _in_rows(lost, known))
                keeps &= unchanged
        if (keeps & unknown.rows).any():
            why.append(f"{unknown} made first")
            keeps &= ~unknown.rows
        whole = builder.return_type != "row-wise" or self._reads_itself(builder)
        if whole and not (keeps.all() and self.has_same_rows):
            keeps[:] = False
            why = why or ["other rows"]
        if builder.return_type == "row-wise" or not earlier.is_complete:
            empty = keeps & self._empty(builder, earlier)
            if asked := int(empty.sum()):
                kind = "failed or empty row" if builder.name in earlier.with_errors else "empty row"
                why.append(_count(asked, kind))
                keeps &= not whole
                keeps &= ~empty
        rows = np.where(keeps, self._matched, NEW_ROW)
        return Decision(rows=rows, reason="; ".join(dict.fromkeys(why)) or UNCHANGED)

    def _changed_recipe(
        self, builder: ResolvedBuilder, written: Builder, earlier: Earlier
    ) -> list[str]:
        """Return what of builder and code is another; nothing when all is the same."""
        before = earlier.builders.get(builder.name)
        if before is None:
            return ["new builder"]
        if missing := [
            name for name in builder.changed_columns if name not in earlier.frame.columns
        ]:
            return [f"new column `{name}`" for name in missing]
        changes = changed_fields(before, written)
        if changes:
            return changes
        try:  # fields may be given by references
            then = resolve(before, self._side_then(earlier), {})
        except TableVaultError:
            return ["what its fields read is gone"]
        changes = [
            f"field {name} changed"
            for name in DECISIVE
            if getattr(then, name) != getattr(builder, name)
        ]
        return changes or self._changed_code(then, builder, earlier)

    def _changed_code(
        self, then: ResolvedBuilder, builder: ResolvedBuilder, earlier: Earlier
    ) -> list[str]:
        """Return how the code differs; nothing where that does not count."""
        ledger = self._options.ledger
        if builder.code_version or ledger.policy.accept_code:
            return []
        before = ledger.code_of_origin(builder.name)
        if before is None:
            before = earlier.fingerprint(then.module, then.function, then.is_custom)
        now = self._options.fingerprint(builder.module, builder.function, builder.is_custom)
        if before is None or now is None:
            return [f"the code of `{builder.function}` changed"]
        return reasons(before, now)

    def _empty(self, builder: ResolvedBuilder, earlier: Earlier) -> Mask:
        """Find the rows that are to be asked for again: all of their cells are null.

        A stopped execution leaves rows whose function was never called.
        """
        frame = earlier.frame[list(builder.changed_columns)]
        failed = builder.name in earlier.with_errors or not earlier.is_complete
        asked = (builder.retry_null or failed) and bool(builder.changed_columns)
        empty = frame.isna().all(axis=1).to_numpy(dtype=np.bool_) & asked
        found = np.zeros(len(self._matched), dtype=np.bool_)
        there = self._matched != NEW_ROW
        found[there] = empty[self._matched[there]]
        return found

    def _reads_itself(self, builder: ResolvedBuilder) -> bool:
        """Return whether a builder reads its own columns beyond the current row."""
        own = set(builder.changed_columns)
        return any(
            whole.table == SELF and not own.isdisjoint(whole.columns or ())
            for read in reads_of(builder.arguments, self._draft.names)
            for whole in read.wholes
        )

    # -- what arguments read ------------------------------------------------------------------

    def _unchanged(
        self, read: Read, builder: ResolvedBuilder, earlier: Earlier, unknown: UnknownRows
    ) -> tuple[Mask, str]:
        """Return for each row whether a reference gives what it gave, and name what changed.

        Nothing is said of rows whose arguments are not known.
        """
        unchanged = np.ones(len(self._matched), dtype=np.bool_)
        changed_names = []
        for name in read.cells:
            if name in builder.changed_columns:
                continue  # null before it is computed, then as now
            same = self._cells_same(name) | unknown.rows
            if not (same | (self._matched == NEW_ROW)).all():
                changed_names.append(f"`{SELF}.{name}`")
            unchanged &= same
        if unknown.rows.all():
            return unchanged, ""
        try:
            changed = [
                whole for whole in read.wholes if not self._whole_same(whole, builder, earlier)
            ]
        except TableVaultError:  # what was read then is gone
            changed = list(read.wholes)
        if not read.is_known or changed:
            changed_names += [f"`{whole}`" for whole in changed] or ["what it reads"]
            if read.is_known and not read.selects:
                unchanged[:] = False
            else:
                same = self._gives_same(read, unchanged & ~unknown.rows, earlier)
                unchanged &= same | unknown.rows
        return unchanged, " and ".join(changed_names)

    def _cells_same(self, name: str) -> Mask:
        """Return for each row whether its cell of an own column is what it was."""
        if name not in self._same:
            self._same[name] = self._compared(name)
        return self._same[name]

    def _compared(self, name: str) -> Mask:
        """Compare an own column with its earlier state, row by row."""
        matched = self._matched
        same = np.zeros(len(matched), dtype=np.bool_)
        assert self._earlier is not None
        if name in POSITION_NAMES and name not in self._draft.names:
            return np.equal(matched, np.arange(len(matched)))
        if name not in self._earlier.frame.columns or name not in self._draft.names:
            return same
        there = matched != NEW_ROW
        now = self._draft.stored(name).iloc[there]
        before = self._earlier.frame[name].iloc[matched[there]]
        if is_artifact(now) and is_artifact(before):
            now = with_contents(now, self._options.content)
            before = with_contents(before, self._earlier.content)
        same[there] = cells_equal(now, before)
        return same

    def _whole_same(self, whole: Dependency, builder: ResolvedBuilder, earlier: Earlier) -> bool:
        """Return whether columns that are read as wholes hold what they held."""
        if whole.table == SELF:
            own = set(builder.changed_columns)
            names = self._names if whole.columns is None else whole.columns
            return (
                self.has_same_rows
                and (whole.columns is not None or self._same_names(builder, earlier))
                and all(self._cells_same(name).all() for name in names if name not in own)
            )
        now = self._inputs.resolve(whole.table, whole.selector)
        before = earlier.inputs.resolve(whole.table, whole.selector)
        if now.instance_id == before.instance_id:
            return True
        every_now, every_before = self._inputs.columns(now), earlier.inputs.columns(before)
        if POSITION_NAMES.intersection(every_now) != POSITION_NAMES.intersection(every_before):
            return False
        named = whole.columns or every_now
        names_now = [name for name in named if name in every_now or name not in POSITION_NAMES]
        if whole.columns is None and every_now != every_before:
            return False
        if not set(names_now) <= set(every_before):
            return False
        frames = (
            self._inputs.contents(now, names_now),
            earlier.inputs.contents(before, names_now),
        )
        return len(frames[0]) == len(frames[1]) and all(
            cells_equal(frames[0][name], frames[1][name]).all() for name in names_now
        )

    def _same_names(self, builder: ResolvedBuilder, earlier: Earlier) -> bool:
        """Return whether the whole table has the columns before this builder that it had then."""
        before = [name for name in earlier.frame.columns if name not in builder.changed_columns]
        return before[: len(self._names)] == self._names

    def _gives_same(self, read: Read, asked: Mask, earlier: Earlier) -> Mask:
        """Evaluate a reference as it was then and as it is now, in the rows that are `asked`."""
        then = self._side_then(earlier)
        names = self._names
        stored = pd.DataFrame({name: self._draft.stored(name) for name in names})
        now = _Side(self._inputs, stored, names, self._options.content)
        same = np.zeros(len(asked), dtype=np.bool_)
        if not read.by_row:
            same[:] = _given(lambda: evaluate(read.template, then)) == _given(
                lambda: evaluate(read.template, now)
            )
            return same
        was, gives = by_row(read.template, then), by_row(read.template, now)
        for row in np.flatnonzero(asked & (self._matched != NEW_ROW)).tolist():
            before = int(self._matched[row])
            given = _given(lambda b=before: was(b))  # type: ignore[misc]  # bound now
            same[row] = given == _given(lambda r=row: gives(r))  # type: ignore[misc]  # bound now
        return same

    def _side_then(self, earlier: Earlier) -> _Side:
        """Return the tables as they were read then."""
        return _Side(earlier.inputs, earlier.frame, list(earlier.frame.columns), earlier.content)


class _Side:
    """Tables as they are at one of the two times, with what is in files for their names."""

    def __init__(
        self,
        inputs: Inputs,
        frame: pd.DataFrame,
        names: Sequence[str],
        content: Callable[[str], str],
    ) -> None:
        self._inputs = inputs
        self._views: dict[tuple[str, str], View] = {}

        def fetch(wanted: Sequence[str]) -> pd.DataFrame:
            """Return own columns."""
            found = frame[list(wanted)]
            files = [name for name in found.columns if is_artifact(found[name])]
            return found.assign(**{name: with_contents(found[name], content) for name in files})

        self._own = View(tuple(names), fetch)

    def view(self, table: str, selector: str) -> View:
        """Return a table by name and selector."""
        if table == SELF:
            return self._own
        key = (table, selector)
        if key not in self._views:
            source = self._inputs.resolve(table, selector)
            self._views[key] = View(
                self._inputs.columns(source),
                lambda names: self._inputs.contents(source, names),
            )
        return self._views[key]


def _given(give: Callable[[], object]) -> object:
    """Return what a reference gives as something that can be compared; never equal if it fails."""
    try:
        value = give()
    except TableVaultError:
        return object()
    if isinstance(value, pd.DataFrame):
        cells = [_spelled(value[name].tolist()) for name in value.columns]
        kinds = [str(dtype) for dtype in value.dtypes]
        return list(value.columns), kinds, list(value.index), cells
    return type(value).__name__, _spelled(value)


def _spelled(value: object) -> object:
    """Format values as they are stored."""
    try:
        return to_json(value)
    except UnstorableValueError:
        return object()


def _count(number: int, what: str) -> str:
    """Return how many there are."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _in_rows(number: int, rows: int) -> str:
    """Return in how many of the rows that were there before, unless it is in all of them."""
    return "" if number == rows else f" in {_count(number, 'row')}"
