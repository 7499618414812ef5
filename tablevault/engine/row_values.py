"""What the calls of a builder return for rows: as text, and column by column."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from tablevault.engine.matching import Mask
from tablevault.frames.tagged_json import UnstorableValueError, from_json, has_surrogates, to_json

Values: TypeAlias = tuple[Any, ...]
"""One value for each column that a builder fills."""

_INT64: Final = 1 << 63
_WORDS: Final[Mapping[object, str]] = {None: "null", True: "true", False: "false"}


def encode_values(values: Values) -> str:
    """Encode the values of a row: quickly where JSON has all of them, else with care.

    Raises
    ------
    UnstorableValueError
        A value is of a type that cannot be kept.
    """
    text = encode_plain(values)
    return to_json(list(values)) if text is None else text


def encode_plain(values: Values) -> str | None:
    """Encode values that JSON gives back exactly, types included; None when there are others.

    A third of the time that `json.dumps` takes.
    """
    texts = []
    for value in values:
        kind = type(value)
        if kind is str:
            text = None if has_surrogates(value) else _quoted(value)
        elif kind is int:
            text = int.__repr__(value) if -_INT64 <= value < _INT64 else None
        elif kind is float:
            text = float.__repr__(value) if math.isfinite(value) else None
        else:
            text = _WORDS.get(value) if value is None or kind is bool else None
        if text is None:
            return None
        texts.append(text)
    return f"[{','.join(texts)}]"


def decode_values(text: str) -> Values:
    """Decode what `encode_values` made."""
    found = json.loads(text) if "$" not in text else from_json(text)
    assert isinstance(found, list)
    return tuple(found)


def decode_all(texts: Sequence[str]) -> Iterator[Values]:
    """Decode texts that `encode_values` made, all at once where none holds tagged values."""
    joined = f"[{','.join(texts)}]"
    return map(tuple, json.loads(joined)) if "$" not in joined else map(decode_values, texts)


def why_unstorable(value: object) -> str | None:
    """Return why a value cannot be kept; None when it can."""
    try:
        to_json(value)
    except UnstorableValueError as error:
        return error.reason
    return None


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
