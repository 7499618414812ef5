"""What the calls of a row-wise builder returned, column by column: a table has millions of rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine.matching import Mask
from tablevault.engine.row_values import Values


class RowResults:
    """Results by row; 8 bytes for each cell beside the cell itself.

    Parameters
    ----------
    columns : sequence of str
        The columns that a builder fills.
    rows : int
        Rows of the table.

    Attributes
    ----------
    names : sequence of str
        The columns.
    there : array of bool
        Rows that have a result; the cells of the others are None.
    """

    def __init__(self, columns: Sequence[str], rows: int) -> None:
        self.there: Mask = np.zeros(rows, dtype=np.bool_)
        self.names = columns
        self._cells = [np.empty(rows, dtype=object) for _ in columns]

    def __len__(self) -> int:
        """Return how many rows have a result."""
        return int(np.count_nonzero(self.there))

    def __getitem__(self, row: int) -> Values:
        """Return the values of a row."""
        return tuple(cells[row] for cells in self._cells)

    def put(self, row: int, values: Values) -> None:
        """Enter the values of a row."""
        for cells, value in zip(self._cells, values, strict=True):
            cells[row] = value
        self.there[row] = True

    def put_columns(self, rows: Sequence[int], columns: Iterable[Iterable[Any]]) -> None:
        """Enter the values of rows, column by column."""
        for cells, values in zip(self._cells, columns, strict=True):
            for row, value in zip(rows, values, strict=True):
                cells[row] = value
        self.there[rows] = True

    def drop(self, rows: Iterable[int]) -> None:
        """Let rows have no result."""
        self.there[list(rows)] = False

    def columns(self) -> dict[str, pd.Series]:
        """Return the columns, of objects, which share memory with this."""
        return {
            name: pd.Series(cells, dtype=object, name=name, copy=False)
            for name, cells in zip(self.names, self._cells, strict=True)
        }


def where(mask: Mask) -> array[int]:
    """Return the rows for which a mask holds: Python's numbers, of which few exist at a time."""
    return array("q", np.flatnonzero(mask).astype(np.int64).tobytes())
