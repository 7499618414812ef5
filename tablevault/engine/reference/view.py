"""One table as references see it: read once, hashed once, never handed out itself."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine.reference.compare import Comparable, comparable

INDEX = "index"
"""The pseudo column that every table has: the position of the row, from 0."""

_IMMUTABLE = (str, int, float, bool, bytes, np.generic, pd.Timestamp, pd.Timedelta, type(None))

Fetch = Callable[[Sequence[str]], pd.DataFrame]
Lookup = Mapping[tuple[object, ...], Sequence[int]]


class View:
    """A table of fixed columns whose values are fetched when first asked for.

    Parameters
    ----------
    names : sequence of str
        All columns of the table, in order.
    fetch : callable
        Gives a frame of the named columns, rows in order. Called at most once for a column.
    """

    def __init__(self, names: Sequence[str], fetch: Fetch) -> None:
        self.names = tuple(names)
        self._fetch = fetch
        self._series: dict[str, pd.Series] = {}
        self._cells: dict[str, list[Any]] = {}
        self._comparable: dict[str, Comparable] = {}
        self._lookups: dict[tuple[str, ...], Lookup] = {}
        self._rows: int | None = None
        self._lock = threading.RLock()

    @property
    def rows(self) -> int:
        """Number of rows."""
        if self._rows is None:
            self.load(self.names[:1])
        return self._rows or 0

    def load(self, names: Sequence[str]) -> None:
        """Fetch the columns among `names` that are not here yet, all in one go."""
        with self._lock:
            missing = [name for name in names if name not in self._series and name != INDEX]
            if not missing:
                return
            frame = self._fetch(missing)
            self._rows = len(frame)
            for name in missing:
                self._series[name] = frame[name].reset_index(drop=True)

    def series(self, name: str) -> pd.Series:
        """Give a column, which stays the property of the view."""
        if name == INDEX:
            return pd.Series(range(self.rows), dtype="Int64", name=INDEX)
        if name not in self._series:
            self.load([name])
        return self._series[name]

    def cell(self, name: str, row: int) -> Any:  # noqa: ANN401 - a cell holds anything
        """Give one value, as a Python object of its own."""
        if name == INDEX:
            return row
        cells = self._cells.get(name)
        if cells is None:
            with self._lock:
                cells = self._cells[name] = _cells(self.series(name))
        return own(cells[row])

    def comparable(self, name: str) -> Comparable:
        """Give a column made comparable."""
        found = self._comparable.get(name)
        if found is None:
            with self._lock:
                found = self._comparable[name] = comparable(self.series(name))
        return found

    def lookup(self, names: tuple[str, ...]) -> Lookup:
        """Give the rows of each combination of values in `names`; rows with a null have none.

        Made once, so that a reference with a key for each row costs one pass, not one a row.
        """
        found = self._lookups.get(names)
        if found is None:
            with self._lock:
                found = self._lookups[names] = self._hash(names)
        return found

    def frame(self, names: Sequence[str], rows: Sequence[int] | None) -> pd.DataFrame:
        """Make a frame of its own memory; it keeps the positions of its rows as index."""
        self.load(names)
        columns = {}
        for name in names:
            series = self.series(name)
            columns[name] = owned(series if rows is None else series.iloc[list(rows)])
        if columns:
            return pd.DataFrame(columns, copy=False)
        return pd.DataFrame(index=pd.RangeIndex(self.rows) if rows is None else pd.Index(rows))

    def _hash(self, names: tuple[str, ...]) -> Lookup:
        """Collect the rows of each combination of values."""
        lookup: dict[tuple[object, ...], list[int]] = {}
        columns = [self.comparable(name).cells for name in names]
        for row, key in enumerate(zip(*columns, strict=True)):
            if None not in key:
                lookup.setdefault(key, []).append(row)
        return lookup


def _cells(series: pd.Series) -> list[Any]:
    """Give the values of a column; a missing text or category is NA, as in nullable columns."""
    cells: list[Any] = series.tolist()
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.StringDtype):
        return [pd.NA if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells]
    return cells


def own(value: Any) -> Any:  # noqa: ANN401 - a cell holds anything
    """Give a cell that its receiver may change."""
    return value if isinstance(value, _IMMUTABLE) else copy.deepcopy(value)


def owned(series: pd.Series) -> pd.Series:
    """Copy a column together with what the cells of an object column hold."""
    if series.dtype != object:
        return series.copy(deep=True)
    values = np.empty(len(series), dtype=object)
    for position, value in enumerate(series.tolist()):
        values[position] = own(value)
    return pd.Series(values, index=series.index, name=series.name, dtype=object)
