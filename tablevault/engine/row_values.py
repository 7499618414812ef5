"""Values of rows: encoded as JSON, collected into columns, and taken from them."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault.engine.matching import Mask, Rows
from tablevault.engine.references.view import is_null
from tablevault.frames.tagged_json import UnstorableValueError, from_json, has_surrogates, to_json

Values: TypeAlias = tuple[Any, ...]
"""One value for each column that a builder fills."""

_INT64: Final = 1 << 63
_PART_ROWS: Final = 1 << 14
_TEXT: Final = "string"
_TEXT_TYPES: Final = frozenset({str, type(None)})
_WORDS: Final[Mapping[object, str]] = {None: "null", True: "true", False: "false"}


def encode_values(values: Values) -> str:
    """Encode the values of a row: as plain JSON if that is exact, else as tagged JSON.

    Raises
    ------
    UnstorableValueError
        The type of a value cannot be stored.
    """
    text = encode_plain(values)
    return to_json(list(values)) if text is None else text


def encode_plain(values: Values) -> str | None:
    """Encode values if JSON holds them exactly, types included; else return None.

    It takes a third of the time of `json.dumps`.
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
    """Decode a text from `encode_values`."""
    found = json.loads(text) if "$" not in text else from_json(text)
    assert isinstance(found, list)
    return tuple(found)


def decode_all(texts: Sequence[str]) -> Iterator[Values]:
    """Decode texts from `encode_values`, all at once if none holds tagged values."""
    joined = f"[{','.join(texts)}]"
    return map(tuple, json.loads(joined)) if "$" not in joined else map(decode_values, texts)


def why_unstorable(value: object) -> str | None:
    """Return why a value cannot be stored; None if it can."""
    try:
        to_json(value)
    except UnstorableValueError as error:
        return error.reason
    return None


class RowResults:
    """Results of calls, stored by column: a table has millions of rows.

    Parameters
    ----------
    columns : sequence of str
        The columns that a builder fills.
    rows : int
        Rows of the table.
    dtypes : mapping of str to str
        Declared dtypes.

    Attributes
    ----------
    names : sequence of str
        The columns.
    there : array of bool
        Rows that have a result; the cells of the others are None.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: int,
        dtypes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.there: Mask = np.zeros(rows, dtype=np.bool_)
        self.names = columns
        self._cells = [
            _Cells(self.there, is_text=dtypes.get(name, _TEXT) == _TEXT) for name in columns
        ]

    def __len__(self) -> int:
        """Return how many rows have a result."""
        return int(np.count_nonzero(self.there))

    def __getitem__(self, row: int) -> Values:
        """Return the values of a row."""
        return tuple(cells.get(row) for cells in self._cells)

    def put(self, row: int, values: Values) -> None:
        """Enter the values of a row."""
        for cells, value in zip(self._cells, values, strict=True):
            cells.put(row, value)
        self.there[row] = True

    def put_columns(self, rows: Sequence[int], columns: Iterable[Iterable[Any]]) -> None:
        """Enter the values of rows, column by column."""
        for cells, values in zip(self._cells, columns, strict=True):
            for row, value in zip(rows, values, strict=True):
                cells.put(row, value)
        self.there[rows] = True

    def drop(self, rows: Iterable[int]) -> None:
        """Remove the results of rows."""
        self.there[list(rows)] = False

    def columns(self) -> dict[str, pd.Series]:
        """Return the columns: of dtype string if all values are text, else of objects."""
        return {
            name: cells.series(name) for name, cells in zip(self.names, self._cells, strict=True)
        }


def cells_of(frame: pd.DataFrame, columns: Sequence[str], rows: Rows) -> list[Values]:
    """Return the cells of rows, by position, with None for null."""
    if not columns:
        return [()] * len(rows)
    return list(zip(*cell_columns(frame, columns, rows), strict=True))


def cell_columns(frame: pd.DataFrame, columns: Sequence[str], rows: Rows) -> Iterator[list[Any]]:
    """Yield the same as `cells_of`, column by column."""
    for name in columns:
        yield [None if is_null(cell) else cell for cell in frame[name].iloc[rows].tolist()]


class _Cells:
    """The cells of one column; text takes a fifth of the memory of objects.

    Parameters
    ----------
    there : array of bool
        Rows whose cells are final.
    is_text : bool
        Whether to store them as Arrow text while all of them are text or None.
    """

    def __init__(self, there: Mask, *, is_text: bool) -> None:
        self._there = there
        self._is_text = is_text
        self._size = _PART_ROWS if is_text else max(1, len(there))
        self._parts: list[Any] = [None] * -(-len(there) // self._size)
        self._open: set[int] = set()
        """Parts of objects that become text when they are full."""

    def get(self, row: int) -> Any:  # noqa: ANN401 - a cell holds anything
        """Return a value."""
        part, at = divmod(row, self._size)
        cells = self._parts[part]
        cell = None if cells is None else cells[at]
        return cell.as_py() if isinstance(cell, pa.Scalar) else cell

    def put(self, row: int, value: object) -> None:
        """Enter a value."""
        part, at = divmod(row, self._size)
        cells = self._parts[part]
        if type(cells) is not np.ndarray:
            cells = self._opened(part)
        cells[at] = value

    def series(self, name: str) -> pd.Series:
        """Return the column."""
        for part in range(len(self._parts)):
            self._pack(part)
        if self._is_text and self._parts:
            whole = pa.chunked_array(self._parts)  # shares the memory of the parts
            text = pd.StringDtype().__from_arrow__(whole)  # type: ignore[attr-defined]
            return pd.Series(text, name=name)
        cells = [self._opened(part) for part in range(len(self._parts))] or [_objects(0)]
        whole = cells[0] if len(cells) == 1 else np.concatenate(cells)
        return pd.Series(whole, dtype=object, name=name, copy=False)

    def _opened(self, part: int) -> np.ndarray[Any, Any]:
        """Return a part as objects; pack other parts that are full."""
        cells = self._parts[part]
        if not isinstance(cells, np.ndarray):
            for each in [each for each in self._open if self._there[self._rows(each)].all()]:
                self._pack(each)
            size = len(self._there[self._rows(part)])
            known, cells = cells, _objects(size)
            if known is not None:
                cells[:] = known.to_pylist()
            self._parts[part] = cells
            self._open.add(part)
        return cells

    def _pack(self, part: int) -> None:
        """Store a part as text; if it holds other values, stop packing."""
        cells = self._parts[part]
        if self._is_text and not isinstance(cells, pa.Array):
            made = _texts(_objects(len(self._there[self._rows(part)])) if cells is None else cells)
            self._is_text = made is not None
            self._parts[part] = cells if made is None else made
            self._open.discard(part)

    def _rows(self, part: int) -> slice:
        """Return the rows of a part."""
        return slice(part * self._size, (part + 1) * self._size)


def _objects(size: int) -> np.ndarray[Any, Any]:
    """Return an array of None."""
    return np.full(size, None, dtype=object)


def _texts(cells: np.ndarray[Any, Any]) -> pa.Array | None:
    """Return cells as Arrow text; None if they hold other values."""
    if not _TEXT_TYPES.issuperset(map(type, cells)):
        return None
    try:
        # Arrow's own pool takes about twice the memory for many pieces of a hundred kilobytes.
        return pa.array(cells, pa.large_string(), memory_pool=pa.system_memory_pool())
    except UnicodeEncodeError:  # a lone surrogate
        return None


def where(mask: Mask) -> Sequence[int]:
    """Return the rows where a mask is true, as a compact sequence of Python numbers."""
    if mask.all():
        return range(len(mask))
    return array("q", np.flatnonzero(mask).astype(np.int64).tobytes())
