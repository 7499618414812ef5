"""What an execution has made so far, read while it goes on or after it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine.calls.call_record import WHOLE, CallRecord
from tablevault.engine.calls.ledger import Part
from tablevault.engine.calls.store import CallStore
from tablevault.engine.row_values import decode_values
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.inference import infer
from tablevault.frames.parquet import check_wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialRun:
    """An execution by the calls that it has recorded; no lock is taken.

    What is read may be a moment old, and is never half of a row.
    """

    store: CallStore
    number: int
    process_id: str
    parts: tuple[Part, ...]

    def progress(self) -> dict[str, int]:
        """Count the finished rows of each builder, in the order in which they run."""
        return {part.name: self._count(part) for part in self.parts}

    def errors(self) -> dict[str, int]:
        """Count the rows of builders that failed and have no result; others are left out."""
        return self.store.errors(self.number)

    def cost(self) -> dict[str, float]:
        """Return what the process has spent on builders; those without reports are left out."""
        spent = self.store.spent_by(self.number)
        return {name: each.cost for name, each in spent.items() if each.cost is not None}

    def ended(self) -> tuple[str, ...]:
        """Name the builders that have ended."""
        return self.store.ended(self.number)

    def frame(self, columns: Sequence[str] | None = None, rows: int | None = None) -> pd.DataFrame:
        """Assemble the table, with nulls where nothing is computed yet.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to give, in this order; all when None.
        rows : int, optional
            First rows only, at least 0.

        Returns
        -------
        DataFrame
            RangeIndex. Columns have the dtype that is declared or that fits the rows so far. As
            long as the index builder, the first one, runs, there are as many rows as it has made.

        Raises
        ------
        TVTableError
            An unknown column, negative `rows`.
        """
        if rows is not None and rows < 0:
            raise TVTableError(f"Cannot read {rows} rows.", "Ask for 0 or more.", rows=rows)
        names = [name for part in self.parts for name in part.columns]
        wanted = names if columns is None else check_wanted(columns, names)
        made: dict[str, pd.Series] = {}
        length: int | None = None
        for number, part in enumerate(self.parts):
            if number == 0 or not set(wanted).isdisjoint(part.columns):
                found = self._columns(part, length)
                length = len(next(iter(found.values()), ())) if number == 0 else length
                made.update(found)
        frame = pd.DataFrame({name: made[name] for name in wanted}, index=range(length or 0))
        return frame if rows is None else frame.head(rows)

    def _columns(self, part: Part, length: int | None) -> dict[str, pd.Series]:
        """Give the columns of one builder; `length` rows, or as many as there are."""
        found = self.store.rows(self.number, part.name)
        whole = self._frame(part, found.get(WHOLE))
        if whole is not None and length in (None, len(whole)):
            return {name: _typed(whole[name], part.dtypes.get(name)) for name in part.columns}
        values = {
            row: decode_values(call.value)
            for row, call in found.items()
            if row != WHOLE and call.value is not None
        }
        size = max(values, default=-1) + 1 if length is None else length
        return _with_holes(part, values, size)

    def _frame(self, part: Part, call: CallRecord | None) -> pd.DataFrame | None:
        """Read the dataframe that the function of a builder returned."""
        frame = None if call is None else self.store.frame_of(call)
        return frame if frame is not None and list(frame.columns) == list(part.columns) else None

    def _count(self, part: Part) -> int:
        """Count the finished rows of a builder."""
        count = self.store.count(self.number, part.name)
        if count or not part.columns:
            return count
        frame = self._frame(part, self.store.rows(self.number, part.name).get(WHOLE))
        return 0 if frame is None else len(frame)


def find_run(store: CallStore, temp: str) -> PartialRun | None:
    """Find the execution of a temporary instance; None when there is none, or it has not begun."""
    found = store.execution_of(temp)
    if found is None:
        return None
    number, process, builders = found
    parts = tuple(
        Part(
            name=part["name"],
            columns=tuple(part["columns"]),
            dtypes=part["dtypes"],
            primary_key=tuple(part["primary_key"]),
        )
        for part in json.loads(builders)
    )
    return (
        PartialRun(store=store, number=number, process_id=process, parts=parts) if parts else None
    )


def _with_holes(
    part: Part, found: Mapping[int, tuple[Any, ...]], size: int
) -> dict[str, pd.Series]:
    """Make columns of the rows that are there, null elsewhere."""
    made = {}
    for position, name in enumerate(part.columns):
        cells: np.ndarray[Any, Any] = np.full(size, None, dtype=object)
        for row, values in found.items():
            if row < size and position < len(values):
                cells[row] = values[position]
        series = pd.Series(cells, dtype=object, name=name)
        made[name] = _typed(series, part.dtypes.get(name))
    return made


def _typed(series: pd.Series, dtype: str | None) -> pd.Series:
    """Give a column its declared dtype, or one that fits: what does not fit fails when it ends."""
    if dtype is not None:
        try:
            return cast(series, dtype)
        except TVTableError:
            pass
    return infer(series, str(series.name))
