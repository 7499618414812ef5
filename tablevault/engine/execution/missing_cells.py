"""Cells that are still missing from a table, and the rows whose calls they leave unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from tablevault.engine.builders.reads import reads_of
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.execution.reuse import UnknownRows
from tablevault.engine.matching import Mask
from tablevault.engine.references.view import is_null
from tablevault.engine.row_values import RowResults
from tablevault.engine.tables import TableDraft
from tablevault.names import SELF

_SETTLED = (str, list, dict, set, tuple, frozenset, bytes, bytearray)
"""Types whose values stay what they are, whatever else comes into a column without dtype."""


class MissingCells:
    """The missing cells of a draft, in which they are null.

    Parameters
    ----------
    draft : TableDraft
        The table under construction; its index builder has run.
    """

    def __init__(self, draft: TableDraft) -> None:
        self._draft = draft
        self._missing: dict[str, Mask] = {}

    def add(self, columns: Collection[str], rows: Collection[int]) -> None:
        """Note rows that columns lack."""
        mask = np.zeros(self._draft.rows, dtype=np.bool_)
        mask[list(rows)] = True
        if mask.any():
            self._missing |= {name: mask | self._missing.get(name, False) for name in columns}

    @property
    def columns(self) -> frozenset[str]:
        """The columns that lack cells."""
        return frozenset(self._missing)

    def add_changing(self, builder: ResolvedBuilder, made: RowResults) -> None:
        """Note cells whose type the missing ones may change: 1 may become 1.0 beside 2.5."""
        for name, series in made.columns().items():
            if name in self._missing and name not in builder.dtypes:
                cells = enumerate(series.tolist())
                self.add([name], [row for row, cell in cells if not _is_settled(cell)])

    def unknown(self, builder: ResolvedBuilder, key_columns: Collection[str] = ()) -> UnknownRows:
        """Return the rows of a builder whose calls cannot be known yet.

        Parameters
        ----------
        builder : ResolvedBuilder
            The builder; its columns are not in the draft yet.
        key_columns : collection of str
            The primary key, which names the rows, where that may be missing.
        """
        nothing = UnknownRows.nothing(self._draft.rows)
        if not self._missing:
            return nothing
        rows, columns = nothing.rows.copy(), dict[str, None]()
        key = ((name, True) for name in key_columns)
        for name, is_whole in (*self._read(builder), *key):
            missing = self._missing.get(name)
            if missing is not None and name not in builder.changed_columns:
                columns[name] = None
                rows |= np.bool_(is_whole) | missing
        if builder.return_type != "row-wise":
            rows[:] = rows.any()
        return UnknownRows(rows=rows, columns=tuple(columns))

    def rows_lacking(self, builder: ResolvedBuilder) -> frozenset[int]:
        """Return the rows of a row-wise builder in which a cell is missing that it reads."""
        if not self._missing or builder.return_type != "row-wise":
            return frozenset()
        rows = np.zeros(self._draft.rows, dtype=np.bool_)
        for name, is_whole in self._read(builder):
            if not is_whole and name in self._missing and name not in builder.changed_columns:
                rows |= self._missing[name]
        return frozenset(np.flatnonzero(rows).tolist())

    def _read(self, builder: ResolvedBuilder) -> Iterator[tuple[str, bool]]:
        """Yield columns that arguments read, and whether as a whole or the cell of the row."""
        for read in reads_of(builder.arguments, self._draft.names):
            yield from ((name, False) for name in read.cells)
            for whole in read.wholes:
                if whole.table == SELF:
                    names = self._missing if whole.columns is None else whole.columns
                    yield from ((name, True) for name in names)
            if not read.is_known:
                yield from ((name, True) for name in self._missing)


def _is_settled(value: Any) -> bool:  # noqa: ANN401 - a cell holds anything
    """Return whether a value stays as it is in a column of whatever dtype."""
    return is_null(value) or isinstance(value, _SETTLED)
