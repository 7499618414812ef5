"""Names of dtypes, both ways; the dtype of columns without a declaration."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.frames import artifact_string
from tablevault.frames.plain import PLAIN_TYPES, is_pytz, plain, plain_objects, plain_zone
from tablevault.wording import did_you_mean

_NULLABLE = {
    **{f"int{n}": f"Int{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"UInt{n}" for n in (8, 16, 32, 64)},
    "int": "Int64",
    "uint": "UInt64",
    "integer": "Int64",
    **{f"float{n}": "Float64" for n in ("", 16, 32, 64)},
    "bool": "boolean",
    "str": "string",
}
_PLAIN = (
    *(f"Int{n}" for n in (8, 16, 32, 64)),
    *(f"UInt{n}" for n in (8, 16, 32, 64)),
    "Float32",
    "Float64",
    "boolean",
    "string",
    "object",
    "category",
    artifact_string.NAME,
)
_PATTERNS = re.compile(
    r"datetime64\[(s|ms|us|ns)(, *[^\]]+)?\]|timedelta64\[(s|ms|us|ns)\]|[Pp]eriod\[.+\]"
    r"|interval(\[.+\])?"
)
_ACCEPTED = (
    *_PLAIN,
    "datetime64[ns]",
    "datetime64[ns, UTC]",
    "timedelta64[ns]",
    "period[D]",
    "interval[int64, right]",
)
_CONTAINERS = (list, dict, set, tuple, frozenset, np.ndarray, bytes, bytearray)
_INT64 = np.iinfo(np.int64)
_UINT64 = np.iinfo(np.uint64)


def dtype_name(dtype: object) -> str:
    """Return the name of a dtype, as ``instance.yaml`` records it."""
    if isinstance(dtype, pd.StringDtype):
        return "string" if dtype.na_value is pd.NA else "str"
    return str(dtype)


def parse_dtype(name: str) -> Any:  # noqa: ANN401 - numpy's and pandas' dtypes have no common type
    """Return the dtype that a declaration means, nullable where there is such a one.

    ``int64`` means ``Int64``, ``int`` too; ``bool`` means ``boolean``, ``str`` means ``string``,
    every numpy float ``Float64``.

    Raises
    ------
    TVTableError
        The name is unknown or not supported; names near misses.
    """
    wanted = str(_NULLABLE.get(name, name))
    if wanted in _PLAIN or _PATTERNS.fullmatch(wanted):
        try:
            dtype: Any = pd.api.types.pandas_dtype(_as_pandas_spells(wanted))
        except (TypeError, ValueError, KeyError) as error:
            raise _unsupported(name) from error
        is_zoned = isinstance(dtype, pd.DatetimeTZDtype)
        return pd.DatetimeTZDtype(dtype.unit, _plain_tz(dtype)) if is_zoned else dtype
    raise _unsupported(name)


def nullable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns are those that `nullable_column` gives. Not changed in place."""
    text = pd.StringDtype()
    if all(dtype == text or _is_kept(dtype) for dtype in frame.dtypes):
        return frame
    columns = [nullable_column(series) for _, series in frame.items()]  # noqa: PERF102 - a frame
    made: pd.DataFrame = pd.concat(columns, axis=1)
    made.columns = frame.columns
    return made


def nullable_column(series: pd.Series) -> pd.Series:
    """Return a column of a nullable dtype if it holds numbers, booleans or text.

    That is numpy integers, booleans and floats (NaN becomes NA), every kind of pandas text, and
    object columns that hold nothing but text. Times get a zone of the standard library, UTC if
    there is none like theirs. Any other column is given back itself.
    """
    if isinstance(series.dtype, pd.DatetimeTZDtype) and not _is_kept(series.dtype):
        converted: pd.Series = series.dt.tz_convert(_plain_tz(series.dtype))
        return converted
    if series.dtype == object:
        series = plain_objects(series)
    target = _nullable_of(series)
    if target is None:
        return series
    try:
        return series.astype(target)
    except UnicodeEncodeError:  # half a surrogate pair stays an object
        return series


def _plain_tz(dtype: pd.DatetimeTZDtype) -> dt.tzinfo:
    """Return the zone that a column is stored with; those of pytz are pandas 2's own."""
    return dtype.tz if is_pytz(dtype.tz) else plain_zone(dtype.tz) or dt.UTC


def normalise_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns are named by unique text and whose rows are numbered.

    Names become text, those of several levels are joined by dots; a name that stands before is
    numbered, ``a``, ``a.1``. Not changed in place.

    Raises
    ------
    TVArgumentError
        A name is no plain value, such as a frame.
    """
    names: list[str] = []
    taken = {_column_text(label) for label in frame.columns}
    used: set[str] = set()
    for label in frame.columns:
        text = name = _column_text(label)
        number = 0
        while name in used or (number and name in taken):
            number += 1
            name = f"{text}.{number}"
        used.add(name)
        names.append(name)
    named = frame.set_axis(names, axis=1)
    return named.set_axis(pd.RangeIndex(len(frame)), axis=0)


def _column_text(label: object) -> str:
    """Format the label of a column."""
    if isinstance(label, tuple):
        return ".".join(map(str, label))
    if isinstance(label, pd.DataFrame | pd.Series | np.ndarray):
        raise TVArgumentError(f"A column is named by a {type(label).__name__}.", "Name it by text.")
    return str(label)


def _nullable_of(values: pd.Series) -> Any:  # noqa: ANN401 - as above
    """Return the nullable dtype for a column, None when it is to stay."""
    dtype: Any = values.dtype
    if _is_kept(dtype):
        return None
    if isinstance(dtype, pd.StringDtype):
        return None if dtype == pd.StringDtype() else pd.StringDtype()
    if dtype.kind == "O":
        is_text = pd.api.types.infer_dtype(values, skipna=True) == "string"
        return pd.StringDtype() if is_text else None
    bits = 8 * dtype.itemsize
    # A long double has no nullable dtype.
    if dtype.kind == "f" and bits <= 64:  # noqa: PLR2004 - as above
        return pd.Float64Dtype()
    made = {"i": f"Int{bits}", "u": f"UInt{bits}", "b": "boolean"}.get(dtype.kind)
    return None if made is None else pd.api.types.pandas_dtype(made)


def _is_kept(dtype: object) -> bool:
    """Return whether columns of a dtype keep it."""
    if isinstance(dtype, pd.DatetimeTZDtype):
        return _plain_tz(dtype) is dtype.tz
    return not isinstance(dtype, np.dtype | pd.StringDtype)


def _as_pandas_spells(name: str) -> str:
    """Complete a bare ``interval``, blanks after commas, and ``A``, the older name of ``Y``."""
    if name == "interval":
        return "interval[float64, right]"
    name = re.sub(r",(?! )", ", ", name)
    return re.sub(r"^([Pp]eriod\[\d*)A(?=[-\]])", r"\1Y", name)


def _unsupported(name: object) -> TVTableError:
    """Make the error for a dtype that is not known."""
    known = [*_ACCEPTED, *_NULLABLE]
    return TVTableError(
        f"{name!r} is an unsupported dtype.",
        f"{did_you_mean(name, known)} Supported are {', '.join(_ACCEPTED)} and the like.".lstrip(),
        dtype=str(name),
    )


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
