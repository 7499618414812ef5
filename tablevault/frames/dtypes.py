"""Names of dtypes, both ways, and what becomes of columns that carry no declaration."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from typing import Any

import numpy as np
import pandas as pd

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.frames import artifacts
from tablevault.frames.plain import is_pytz, plain_objects, plain_zone

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
    artifacts.NAME,
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
    close = difflib.get_close_matches(str(name), known, n=1)
    mean = f'Did you mean "{close[0]}"? ' if close else ""
    return TVTableError(
        f"{name!r} is an unsupported dtype.",
        f"{mean}Supported are {', '.join(_ACCEPTED)} and the like.",
        dtype=str(name),
    )
