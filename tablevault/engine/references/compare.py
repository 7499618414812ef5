"""Comparison of the values in conditions with cells, by the dtype of the column."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Cell = Any
"""A value that can be hashed and ordered within its column; None for a null."""

_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.ASCII | re.IGNORECASE
)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Comparable:
    """The comparable cells of a column, and the conversion of values to such cells.

    A value whose type is exactly `same` needs no conversion.
    """

    cells: Sequence[Cell]
    convert: Callable[[object], Cell]
    kind: str
    same: type | None = None


def comparable(series: pd.Series, values: Sequence[Any]) -> Comparable:
    """Convert the cells of a column to comparable ones, by its dtype.

    Numbers, truth values and times compare as such; categories compare as their values, ordered
    ones of text by their order; everything else compares as text.

    Parameters
    ----------
    series : Series
        A column.
    values : sequence
        Its values, row by row. The result may share them.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        held = pd.Series(dtype.categories)
        kinds = comparable(held, held.tolist())
        codes = series.cat.codes.tolist()
        if dtype.ordered and kinds.kind == "text":
            ranks = {cell: rank for rank, cell in enumerate(kinds.cells)}
            places = [code if code >= 0 else None for code in codes]
            return Comparable(places, lambda value: ranks.get(str(value)), kinds.kind)
        found = [kinds.cells[code] if code >= 0 else None for code in codes]
        return Comparable(found, kinds.convert, kinds.kind, kinds.same)
    kind, convert = _conversion(series)
    cells = values
    if kind == "text" and not isinstance(dtype, pd.StringDtype):
        cells = [str(value) for value in values]
    missing = series.isna().to_numpy()
    if missing.any():
        cells = [None if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]
    return Comparable(cells, convert, kind, {str: str, _number: int}.get(convert))


def is_scalar(value: object) -> bool:
    """Return whether the result of a nested reference is a single value."""
    return value is None or value is pd.NA or bool(pd.api.types.is_scalar(value))


def _conversion(series: pd.Series) -> tuple[str, Callable[[object], Cell]]:
    """Return the kind of a column, and the conversion of values to its cells."""
    dtype, types = series.dtype, pd.api.types
    if types.is_bool_dtype(dtype):
        return "true or false", _truth
    if (is_decimal := _holds_decimals(series)) or types.is_numeric_dtype(dtype):
        return "a number", _decimal if is_decimal else _number
    if types.is_datetime64_any_dtype(dtype):
        zone = getattr(dtype, "tz", None)
        return "a time in ISO 8601", lambda value: _time(value, zone)
    if types.is_timedelta64_dtype(dtype):
        return "a duration such as 1 day", _duration
    if isinstance(dtype, pd.PeriodDtype):
        return "a period", lambda value: _period(value, dtype.freq)
    return "text", str


def _plain(value: object) -> Any:  # noqa: ANN401 - what pandas reads, pandas checks
    """Return text trimmed, anything else as it is."""
    return value.strip() if isinstance(value, str) else value


def _truth(value: object) -> bool:
    """Read true, false, 1 or 0."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    text = str(value).strip().lower().removesuffix(".0")
    if text not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text]


def _number(value: object) -> int | float | decimal.Decimal | None:
    """Read a number, as an int if it has no fraction; None for NaN, which equals nothing."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            raise ValueError(text)
        number: int | float | decimal.Decimal = (
            int(text) if text.lstrip("+-").isdigit() else float(text)
        )
    elif isinstance(value, bool | int | float | decimal.Decimal | np.number | np.bool_):
        number = value.item() if isinstance(value, np.generic) else value
    else:
        raise TypeError(value)
    return None if number != number else number  # noqa: PLR0124 - NaN is what differs from itself


def _holds_decimals(series: pd.Series) -> bool:
    """Return whether a column holds exact decimals, which equal no float of the same digits."""
    dtype = series.dtype
    if isinstance(dtype, pd.ArrowDtype):
        return dtype.type is decimal.Decimal
    return dtype.kind == "O" and pd.api.types.infer_dtype(series, skipna=True) == "decimal"


def _decimal(value: object) -> decimal.Decimal | None:
    """Read a number exactly; a float as the decimal of its shortest representation."""
    number = _number(value)
    if number is None or isinstance(number, decimal.Decimal):
        return number
    return decimal.Decimal(value.strip() if isinstance(value, str) else repr(number))


def _time(value: object, zone: Any) -> pd.Timestamp:  # noqa: ANN401 - what pandas has as a zone
    """Read a time; without a zone it is in the zone of the column."""
    text = _plain(value)
    if isinstance(text, str) and not text[:4].isdigit():
        raise ValueError(text)  # pandas would read "now", and guess at 1/2/2023
    time = pd.Timestamp(text)
    if zone is None:
        return time.tz_localize(None) if time.tzinfo is not None else time
    return time.tz_localize(zone) if time.tzinfo is None else time.tz_convert(zone)


def _period(value: object, freq: Any) -> pd.Period:  # noqa: ANN401 - what pandas has as one
    """Read a period of the frequency of its column."""
    return pd.Period(_plain(value), freq=freq)


def _duration(value: object) -> pd.Timedelta:
    """Read a duration."""
    return pd.Timedelta(_plain(value))


POSITIONS = Comparable([], _number, "a number", int)
"""The pseudo column ``index``, whose cells are the positions themselves."""
