"""What is made once of a column so that rows are found in it without looking at each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from tablevault.engine.reference.compare import Cell


class Lookup:
    """Rows by the values of some columns; a row with a null is under none.

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
        # Backwards, so that of equal keys the first row stays: no step of Python for a row.
        self.first: dict[Cell, int] = dict(
            zip(reversed(keys), range(rows - 1, -1, -1), strict=True)
        )
        self.several: dict[Cell, list[int]] = {}
        self.first.pop(None, None)
        if len(self.first) < rows:
            self._collect(keys)

    def _collect(self, keys: Sequence[Cell]) -> None:
        """Note the rows of keys that stand more than once."""
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
        """Return the places of the cells that are at least `low` and below `high`."""
        start = bisect_left(self._cells, low)
        return range(start, max(start, bisect_left(self._cells, high)))

    def rows(self, span: range) -> list[int]:
        """Return the rows at places, in ascending order."""
        return sorted(self._rows[span.start : span.stop])
