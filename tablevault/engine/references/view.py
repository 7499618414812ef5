"""A table as references read it: its columns are fetched and indexed once, results are copies."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tablevault.engine.references.compare import Cell, Comparable, comparable
from tablevault.frames.artifact_string import as_text


class RowIndex:
    """An index of rows by the values of some columns; rows with a null are left out.

    Parameters
    ----------
    columns : sequence of sequence
        Cells of `Comparable` columns of one length.

    Attributes
    ----------
    first : dict
        The first row of each value: a cell when there is one column, else a tuple of them.
    several : dict
        All rows, ascending, of the values that more than one row has.
    """

    def __init__(self, columns: Sequence[Sequence[Cell]]) -> None:
        keys: Sequence[Cell] = columns[0]
        if len(columns) > 1:
            keys = [None if None in key else key for key in zip(*columns, strict=True)]
        rows = len(keys)
        # Backwards, so that the first row of equal keys stays: faster than a loop.
        self.first: dict[Cell, int] = dict(
            zip(reversed(keys), range(rows - 1, -1, -1), strict=True)
        )
        self.several: dict[Cell, list[int]] = {}
        self.first.pop(None, None)
        if len(self.first) < rows:
            self._collect(keys)

    def _collect(self, keys: Sequence[Cell]) -> None:
        """Collect the rows of keys that occur more than once."""
        first, several = self.first, self.several
        for row, key in enumerate(keys):
            if key is not None and (before := first[key]) != row:
                several.setdefault(key, [before]).append(row)

    def rows(self, cells: Sequence[Cell]) -> Sequence[int]:
        """Return the rows that have these cells, in ascending order."""
        key = cells[0] if len(cells) == 1 else tuple(cells)
        found = self.several.get(key)
        if found is not None:
            return found
        row = self.first.get(key)
        return () if row is None else (row,)


class Ordered:
    """The rows of a column in the order of its cells, without those that are null."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        present: Iterable[int] = range(len(cells))
        if None in cells:
            present = (row for row, cell in enumerate(cells) if cell is not None)
        self._rows = sorted(present, key=cells.__getitem__)
        self._cells = [cells[row] for row in self._rows]

    def span(self, low: Cell, high: Cell) -> range:
        """Return the positions of the cells from `low` to below `high`."""
        start = bisect_left(self._cells, low)
        return range(start, max(start, bisect_left(self._cells, high)))

    def rows(self, span: range) -> list[int]:
        """Return the rows at these positions, in ascending order."""
        return sorted(self._rows[span.start : span.stop])


INDEX, OTHER_INDEX = "index", "_index"
POSITION_NAMES = frozenset({INDEX, OTHER_INDEX})
"""Names of the position of the row, from 0; each only in a table without a column of that name."""

_IMMUTABLE = (
    str, int, float, bool, bytes, type(None), type(pd.NA), np.generic, dt.date, dt.time,
    dt.timedelta, decimal.Decimal, pd.Period,
)  # fmt: skip
_CELLS_AT_ONCE = 4096
# Comparing so many rows costs less than sorting a column.
_FEW = 32

Fetch = Callable[[Sequence[str]], pd.DataFrame]
Equal: TypeAlias = tuple[str, Cell]
"""A column, and the cell it has to be equal to."""
Between: TypeAlias = tuple[str, Cell, Cell]
"""A column, and the range of its cell: from the first to below the second."""


class ColumnBlock:
    """Columns in one dataframe, from which dataframes of some rows are copied.

    Parameters
    ----------
    columns : mapping of str to Series
        Stored without a copy, with numbered rows. Artifacts become text, "" if they are missing.
    """

    def __init__(self, columns: Mapping[str, pd.Series]) -> None:
        columns = {name: as_text(series) for name, series in columns.items()}
        self._frame = pd.DataFrame(columns, copy=False)
        self._changeable = [name for name, series in columns.items() if not _is_plain(series)]

    def rows(self, rows: Sequence[int] | None) -> pd.DataFrame:
        """Return a dataframe of some rows, of all if None, in memory of its own."""
        if rows is None:
            made = self._frame.copy()
        elif len(rows) and rows[-1] - rows[0] == len(rows) - 1:
            # A slice costs a third of taking rows by position (pandas 3.1).
            made = self._frame.iloc[rows[0] : rows[-1] + 1].copy()
        else:
            made = self._frame.take(list(rows))
        for name in self._changeable:
            made[name] = copied_column(made[name])
        return made


class View:
    """A table whose columns are fetched on first use.

    Parameters
    ----------
    names : sequence of str
        All columns of the table, in order.
    fetch : callable
        Returns a dataframe of the named columns. Called at most once for a column.

    Attributes
    ----------
    growing : collection of str
        Columns whose cells may still change, so that nothing is cached for them.
    """

    def __init__(self, names: Sequence[str], fetch: Fetch) -> None:
        self.names = tuple(names)
        self.growing: Collection[str] = ()
        self._fetch = fetch
        self._series: dict[str, pd.Series] = {}
        self._cells: dict[str, list[Any]] = {}
        self._plain: dict[str, bool] = {}
        self._comparable: dict[str, Comparable] = {}
        self._ordered: dict[str, Ordered | None] = {}
        self._lookups: dict[tuple[str, ...], RowIndex] = {}
        self._wholes: dict[tuple[str, ...], ColumnBlock] = {}
        self._rows: int | None = None
        self._lock = threading.RLock()

    def is_position(self, name: str) -> bool:
        """Return whether a name is the position of the row, and no column."""
        return name in POSITION_NAMES and name not in self.names

    @property
    def rows(self) -> int:
        """Number of rows."""
        if self._rows is None:
            self.load(self.names[:1])
        return self._rows or 0

    def load(self, names: Sequence[str]) -> None:
        """Fetch the columns among `names` that are missing, all at once."""
        with self._lock:
            missing = [
                name for name in names if name not in self._series and not self.is_position(name)
            ]
            if not missing:
                return
            frame = self._fetch(missing)
            self._rows = len(frame)
            for name in missing:
                self._series[name] = frame[name].reset_index(drop=True)

    def series(self, name: str) -> pd.Series:
        """Return a column; do not change it."""
        if self.is_position(name):
            return pd.Series(range(self.rows), dtype="Int64", name=name)
        if name not in self._series:
            self.load([name])
        return self._series[name]

    def cells(self, name: str) -> Sequence[Any]:
        """Return the values of a column as Python objects; do not change them."""
        if self.is_position(name):
            return range(self.rows)
        cells = self._cells.get(name)
        if cells is None:
            with self._lock:
                cells = self._cells[name] = _cells(self.series(name))
        return cells

    def in_order(self, name: str) -> Callable[[int], Any]:
        """Return a function of the row that returns cells of a column, for rows in order.

        Some thousand cells exist at a time: all would take many times the memory of the column.
        """
        if self.is_position(name):
            return self.cells(name).__getitem__
        series = self.series(name)
        part: tuple[int, Sequence[Any]] = 0, ()  # one variable, for several threads

        def cell(row: int) -> Any:  # noqa: ANN401 - a cell holds anything
            """Return one cell."""
            nonlocal part
            first, cells = part
            if not 0 <= row - first < len(cells):
                first = row - row % _CELLS_AT_ONCE
                cells = _cells(series.iloc[first : first + _CELLS_AT_ONCE])
                part = first, cells
            return cells[row - first]

        return cell

    def is_plain(self, name: str) -> bool:
        """Return whether the cells of a column are immutable, so that they need no copy."""
        if self.is_position(name):
            return True
        plain = self._plain.get(name)
        if plain is None:
            with self._lock:
                plain = self._plain[name] = _is_plain(self.series(name))
        return plain

    def cell(self, name: str, row: int) -> Any:  # noqa: ANN401 - a cell holds anything
        """Return a copy of one value, as a Python object."""
        return copied(self.cells(name)[row])

    def comparable(self, name: str) -> Comparable:
        """Return the comparable cells of a column."""
        found = self._comparable.get(name)
        if found is None:
            with self._lock:
                found = comparable(self.series(name), self.cells(name))
                self._comparable[name] = found
        return found

    def lookup(self, names: tuple[str, ...]) -> RowIndex:
        """Return the index of rows by the values of some columns.

        Made once, so that a reference with a key for each row costs one pass in all.
        """
        found = self._lookups.get(names)
        if found is None:
            with self._lock:
                found = RowIndex([self.comparable(name).cells for name in names])
                self._lookups[names] = found
        return found

    def matching(self, equal: Sequence[Equal], between: Sequence[Between]) -> Sequence[int]:
        """Return the rows that fulfil all conditions, in ascending order.

        Parameters
        ----------
        equal, between : sequence of tuple
            Conditions, at least one; cells are of their columns' kind, None where no cell
            matches. The position may be among the columns.
        """
        if any(None in condition[1:] for condition in (*equal, *between)):
            return ()
        # One lookup for two conditions on the same columns, in whatever order they are written.
        keyed = sorted((each for each in equal if not self.is_position(each[0])), key=itemgetter(0))
        rows: Sequence[int] = range(self.rows)
        if keyed:
            lookup = self.lookup(tuple(name for name, _ in keyed))
            rows = lookup.rows([cell for _, cell in keyed])
        for name, cell in equal:
            if self.is_position(name):
                at = bisect_left(rows, cell)
                rows = rows[at : at + 1] if at < len(rows) and rows[at] == cell else ()
        for name, low, high in between:
            if self.is_position(name):
                rows = rows[bisect_left(rows, low) : bisect_left(rows, high)]
        return self._within(rows, [each for each in between if not self.is_position(each[0])])

    def frame(self, names: Sequence[str], rows: Sequence[int] | None) -> pd.DataFrame:
        """Return a dataframe in memory of its own, with the positions of its rows as index."""
        names = tuple(dict.fromkeys(names))
        if not names:
            return pd.DataFrame(index=pd.RangeIndex(self.rows) if rows is None else pd.Index(rows))
        return self._whole(names).rows(rows)

    def _within(self, rows: Sequence[int], between: list[Between]) -> Sequence[int]:
        """Return the rows whose cells are in all ranges; of many rows, by sorted columns."""
        if isinstance(rows, range) and len(rows) > _FEW:
            found = [
                (ordered, ordered.span(low, high))
                for name, low, high in between
                if (ordered := self._in_order(name)) is not None
            ]
            ordered, span = min(found, key=lambda each: len(each[1]), default=(None, rows))
            if ordered is not None and len(span) < len(rows):
                within = rows
                rows = [row for row in ordered.rows(span) if row in within]
        for name, low, high in between:
            cells = self.comparable(name).cells
            rows = [row for row in rows if (cell := cells[row]) is not None and low <= cell < high]
        return rows

    def _in_order(self, name: str) -> Ordered | None:
        """Return a sorted column from the second use on: sorting costs about ten passes."""
        with self._lock:
            if name not in self._ordered:
                self._ordered[name] = None
                return None
            ordered = self._ordered[name]
            if ordered is None:
                ordered = self._ordered[name] = Ordered(self.comparable(name).cells)
            return ordered

    def _whole(self, names: tuple[str, ...]) -> ColumnBlock:
        """Return whole columns as a block."""
        found = self._wholes.get(names)
        if found is None:
            self.load(names)
            found = self._wholes[names] = ColumnBlock({name: self.series(name) for name in names})
        return found


def is_null(value: Any) -> bool:  # noqa: ANN401 - a cell holds anything
    """Return whether a cell is null: None, NA, NaT, or NaN. No array is, whatever it holds."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return not isinstance(value, np.ndarray) and bool(value != value)  # noqa: PLR0124 - NaN


def _cells(series: pd.Series) -> list[Any]:
    """Return the values of a column as Python objects, None where it is null."""
    cells: list[Any] = series.tolist()
    kind = series.dtype.kind
    if kind == "O" and not isinstance(series.dtype, pd.StringDtype):
        return [None if is_null(cell) else cell for cell in cells]
    missing = series.isna().to_numpy()
    if kind == "f":  # NaN in a nullable column need not be masked
        missing = missing | np.isnan(series.to_numpy(dtype="float64", na_value=np.nan))
    if not missing.any():
        return cells
    return [None if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]


def _is_plain(series: pd.Series) -> bool:
    """Return whether all cells of a column are immutable."""
    if series.dtype.kind in "iufbmM" or isinstance(series.dtype, pd.StringDtype):
        return True
    return all(isinstance(cell, _IMMUTABLE) for cell in series.tolist())


def copied(value: Any) -> Any:  # noqa: ANN401 - a cell holds anything
    """Return a cell, copied if it is mutable."""
    return value if isinstance(value, _IMMUTABLE) else copy.deepcopy(value)


def copied_column(series: pd.Series) -> pd.Series:
    """Copy a column, with the objects in its cells."""
    if series.dtype != object:
        return series.copy(deep=True)
    values = np.empty(len(series), dtype=object)
    for position, value in enumerate(series.tolist()):
        values[position] = copied(value)
    return pd.Series(values, index=series.index, name=series.name, dtype=object)
