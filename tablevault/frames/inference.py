"""The dtype of a column for which a builder declares none."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tablevault.frames.dtypes import nullable_column
from tablevault.frames.plain import PLAIN_TYPES, plain

_CONTAINERS = (list, dict, set, tuple, frozenset, np.ndarray, bytes, bytearray)
_INT64 = np.iinfo(np.int64)
_UINT64 = np.iinfo(np.uint64)


def infer(values: Sequence[object] | pd.Series, name: str) -> pd.Series:
    """Cast values to the nullable dtype that holds them all.

    Whole numbers become ``Int64`` (``UInt64`` or ``object`` beyond it), numbers ``Float64``
    (``object`` where it would round a whole one), booleans ``boolean``, text ``string``, times
    and durations their own dtypes. Bytes, decimals, lists, dicts and other containers stay Python
    objects. Only plain values of several kinds become text. A column without any value is
    ``string``, all missing.

    Parameters
    ----------
    values : sequence or Series
        None, NaN, NaT and NA are missing. Not changed.
    name : str
        Name of the result.

    Returns
    -------
    Series
        RangeIndex. A Series of an extension or time dtype keeps it; numpy's become nullable.
    """
    if isinstance(values, pd.Series) and values.dtype != np.dtype(object):
        made = nullable_column(values.reset_index(drop=True)).copy()
        made.name = name
        return made
    items = list(values)
    if not PLAIN_TYPES.issuperset(map(type, items)):
        items = list(map(plain, items))
    missing = [_is_missing(value) for value in items]
    present = [value for value, gone in zip(items, missing, strict=True) if not gone]
    dtype = _common(present)
    if dtype == np.dtype(object):
        return _objects(items, missing, name)
    filled = [pd.NA if gone else value for value, gone in zip(items, missing, strict=True)]
    if isinstance(dtype, pd.StringDtype):
        filled = [value if value is pd.NA else str(value) for value in filled]
    if dtype is None:
        times = [None if value is pd.NA else value for value in filled]
        return pd.Series(times, name=name).infer_objects()
    try:
        return pd.Series(pd.array(filled, dtype=dtype), name=name)
    except UnicodeEncodeError:  # half a surrogate pair: Arrow's text is UTF-8
        return _objects(items, missing, name)


def _objects(items: list[Any], missing: list[bool], name: str) -> pd.Series:
    """Keep values as they are, None where one is missing."""
    objects = np.empty(len(items), dtype=object)
    objects[:] = [None if gone else value for value, gone in zip(items, missing, strict=True)]
    return pd.Series(objects, name=name, dtype=object)


def _common(present: list[Any]) -> Any:  # noqa: ANN401 - numpy's or pandas' dtype, None for times
    """Find the dtype for values none of which is missing."""
    if not present:
        return pd.StringDtype()
    kinds = {_kind(value) for value in present}
    if kinds == {"object"} or "container" in kinds:
        return np.dtype(object)
    if kinds <= {"int", "float"}:
        return _number(present, kinds)
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in ("time", "duration"):
            return None
        return {"bool": pd.BooleanDtype(), "text": pd.StringDtype()}[kind]
    return pd.StringDtype()


def _number(present: list[Any], kinds: set[str]) -> Any:  # noqa: ANN401 - as above
    """Find the dtype for numbers; none that a float64 cannot hold exactly is rounded."""
    if "float" in kinds:
        return pd.Float64Dtype() if all(map(is_exact, present)) else np.dtype(object)
    least, most = min(present), max(present)
    if _INT64.min <= least and most <= _INT64.max:
        return pd.Int64Dtype()
    if least >= 0 and most <= _UINT64.max:
        return pd.UInt64Dtype()
    return np.dtype(object)


def _kind(value: Any) -> str:  # noqa: ANN401 - a cell
    """Name the kind of one value."""
    if isinstance(value, _CONTAINERS):
        return "container"
    for kind, types in _KINDS:
        if isinstance(value, types):
            return kind
    return "object"


_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("duration", (dt.timedelta, np.timedelta64)),  # numpy's is an integer too
    ("bool", (bool, np.bool_)),
    ("int", (int, np.integer)),
    ("object", (decimal.Decimal,)),
    ("float", (float, np.floating)),
    ("text", (str,)),
    ("time", (dt.datetime, np.datetime64)),
)


def is_exact(number: Any) -> bool:  # noqa: ANN401 - a cell
    """Return whether a float64 holds a number as it is."""
    if isinstance(number, np.integer):
        number = int(number)  # numpy would compare as floats
    try:
        return bool(float(number) == number)
    except OverflowError:
        return False


def _is_missing(value: Any) -> bool:  # noqa: ANN401 - a cell
    """Return whether a value stands for nothing."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))
