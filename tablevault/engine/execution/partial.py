"""What an execution has made so far, read while it goes on or after it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine.calls.call_file import FindSource
from tablevault.engine.calls.instance_calls import KeptRows
from tablevault.engine.calls.ledger import BuilderColumns
from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.engine.matching import NEW_ROW
from tablevault.engine.row_values import decode_values
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.dtypes import infer
from tablevault.frames.parquet import check_wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialRun:
    """An execution by the calls that it has recorded and the rows that it keeps; no lock is taken.

    What is read may be a moment old, and is never half of a row.
    """

    store: CallStore
    find_source: FindSource
    number: int
    process_id: str
    parts: tuple[BuilderColumns, ...]

    def progress(self) -> dict[str, int]:
        """Count the finished rows of each builder, in the order in which they run."""
        return {part.name: self._count(part) for part in self.parts}

    def errors(self) -> dict[str, int]:
        """Count the rows of builders that failed and have no result; others are left out."""
        return {name: count for name, (count, _) in self.failed().items()}

    def failed(self) -> dict[str, tuple[int, int]]:
        """Return the number of such rows, and the first of them."""
        return self.store.failed(self.number)

    def cost(self) -> dict[str, float]:
        """Return what the process has spent on builders; those without reports are left out."""
        spent = self.store.spent_by(self.number)
        return {name: each.cost for name, each in spent.items() if each.cost is not None}

    def ended(self) -> tuple[str, ...]:
        """Name the builders that have ended."""
        return self.store.ended(self.number)

    def kept(self) -> dict[str, list[KeptRows]]:
        """Return the rows that builders keep of instances which can be read, by builder."""
        return {part.name: self._kept(part) for part in self.parts}

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

    def _columns(self, part: BuilderColumns, length: int | None) -> dict[str, pd.Series]:
        """Return the columns of one builder; `length` rows, or as many as there are."""
        kept = self._kept(part)
        if len(kept) == 1 and (taken := _taken(part, kept[0], length)) is not None:
            return taken
        found = self.store.rows(self.number, part.name)
        whole = self._frame(part, found.get(NO_ROW))
        if whole is not None and length in (None, len(whole)):
            return {name: _typed(whole[name], part.dtypes.get(name)) for name in part.columns}
        values = {
            row: decode_values(call.value)
            for row, call in found.items()
            if row != NO_ROW and call.value is not None
        }
        size = max(values, default=-1) + 1 if length is None else length
        return _with_holes(part, values, kept, size)

    def _kept(self, part: BuilderColumns) -> list[KeptRows]:
        """Return the rows that a builder keeps of instances which can be read."""
        return [
            KeptRows(source=source, rows=rows)
            for instance, rows in self.store.kept(self.number, part.name)
            if (source := self.find_source(instance)) is not None
        ]

    def _frame(self, part: BuilderColumns, call: CallRecord | None) -> pd.DataFrame | None:
        """Read the dataframe that the function of a builder returned."""
        frame = None if call is None else self.store.frame_of(call)
        return frame if frame is not None and list(frame.columns) == list(part.columns) else None

    def _count(self, part: BuilderColumns) -> int:
        """Count the finished rows of a builder, also those that it keeps."""
        if kept := self._kept(part):
            made = np.array(self.store.finished(self.number, part.name), dtype=np.int64)
            rows = np.concatenate([made, *(np.flatnonzero(each.rows != NEW_ROW) for each in kept)])
            return int(np.count_nonzero(np.bincount(rows)))
        count = self.store.count(self.number, part.name)
        if count or not part.columns:
            return count
        frame = self._frame(part, self.store.rows(self.number, part.name).get(NO_ROW))
        return 0 if frame is None else len(frame)


def find_run(store: CallStore, temp: str, find_source: FindSource) -> PartialRun | None:
    """Find the execution of a temporary instance; None when there is none, or it has not begun.

    Parameters
    ----------
    store : CallStore
        The records of the vault.
    temp : str
        Identifies the temporary instance.
    find_source : callable
        Finds the instances of which the execution keeps rows.
    """
    found = store.execution_of(temp)
    if found is None:
        return None
    number, process, builders = found
    parts = tuple(
        BuilderColumns(
            name=part["name"],
            columns=tuple(part["columns"]),
            dtypes=part["dtypes"],
            primary_key=tuple(part["primary_key"]),
        )
        for part in json.loads(builders)
    )
    if not parts:
        return None
    return PartialRun(
        store=store, find_source=find_source, number=number, process_id=process, parts=parts
    )


def _taken(part: BuilderColumns, kept: KeptRows, length: int | None) -> dict[str, pd.Series] | None:
    """Take whole columns from an instance; None where it does not hold all rows of the table."""
    frame = kept.source.frame()
    if length not in (None, len(kept.rows)) or not _has_rows(part, kept, frame):
        return None
    assert frame is not None
    return {name: frame[name].iloc[kept.rows].reset_index(drop=True) for name in part.columns}


def _has_rows(part: BuilderColumns, kept: KeptRows, frame: pd.DataFrame | None) -> bool:
    """Return whether a dataframe has all columns of a builder and a row for each of the table."""
    if frame is None or not set(part.columns) <= set(frame.columns):
        return False
    return bool(((kept.rows != NEW_ROW) & (kept.rows < len(frame))).all())


def _with_holes(
    part: BuilderColumns, found: Mapping[int, tuple[Any, ...]], kept: Sequence[KeptRows], size: int
) -> dict[str, pd.Series]:
    """Make columns of the rows that are there, null elsewhere."""
    made = {}
    for position, name in enumerate(part.columns):
        cells: np.ndarray[Any, Any] = np.full(size, None, dtype=object)
        for row, values in found.items():
            if row < size and position < len(values):
                cells[row] = values[position]
        for each in kept:
            _put_kept(cells, name, each)
        series = pd.Series(cells, dtype=object, name=name)
        made[name] = _typed(series, part.dtypes.get(name))
    return made


def _put_kept(cells: np.ndarray[Any, Any], name: str, kept: KeptRows) -> None:
    """Put the cells of rows that are kept into a column; null where they are."""
    frame = kept.source.frame()
    if frame is None or name not in frame.columns:
        return
    rows = kept.rows[: len(cells)]
    new = np.flatnonzero((rows != NEW_ROW) & (rows < len(frame)))
    series = frame[name].iloc[rows[new]]
    has_value = series.notna().to_numpy(np.bool_)
    cells[new] = None
    cells[new[has_value]] = series[has_value].astype(object).to_numpy()


def _typed(series: pd.Series, dtype: str | None) -> pd.Series:
    """Cast a column to its declared dtype, or one that fits; misfits fail when the run ends."""
    if dtype is not None:
        try:
            return cast(series, dtype)
        except TVTableError:
            pass
    return infer(series, str(series.name))
