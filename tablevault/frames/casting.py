"""Lossless casts, and the error that names the first value that does not fit."""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.errors import TVTableError
from tablevault.frames.artifact_string import ArtifactStringDtype
from tablevault.frames.dtypes import parse_dtype
from tablevault.frames.plain import plain_objects

_LONGEST_SHOWN = 80
_MOST_DIGITS = 20
_ROWS_AT_ONCE = 1 << 16
_ZONE = re.compile(r"[T ].*([zZ]|[+-]\d\d(:?\d\d)?)$")
_PLAIN_INTEGER = r"\A-?[0-9]{1,18}\z"
_WHOLE = re.compile(r"[+-]?\d+")
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})
_DIGIT = re.compile(r"[0-9]")
_DURATION = re.compile(r".*[0-9].*(?:[^\W\d_]|:).*|P.*[0-9].*", re.DOTALL)
_NO_SCALARS = (
    *(list, dict, set, tuple, frozenset, np.ndarray, pd.DataFrame, pd.Series),
    *(bytes, bytearray),  # Python would read digits in them
)
_WRONG = (TypeError, ValueError, OverflowError, ArithmeticError, decimal.InvalidOperation)


def cast(series: pd.Series, name: str) -> pd.Series:
    """Cast a column to the dtype that was declared for it.

    Parameters
    ----------
    series : Series
        Any values; None, NaN, NaT and NA are missing. Not changed.
    name : str
        Declared dtype, as :func:`tablevault.frames.dtypes.parse_dtype` reads it.

    Returns
    -------
    Series
        Same length and name, RangeIndex. Digits in text become numbers, ISO texts times.

    Raises
    ------
    TVTableError
        The dtype is unknown, or a value does not fit it: names column, row, value and dtype.
    """
    dtype = parse_dtype(name)
    values = series.reset_index(drop=True)
    if values.dtype == object:
        values = plain_objects(values)
    if values.dtype == dtype:
        return values.copy()
    if dtype == np.dtype(object):
        return values.astype(object)
    rule = _rule(dtype)
    fast = _fast(values, dtype)
    if fast is not None:
        return fast
    if rule is None:
        return _whole(values, dtype, name)
    return _by_value(values, dtype, name, rule)


def _fast(values: pd.Series, dtype: Any) -> pd.Series | None:  # noqa: ANN401 - numpy's or pandas'
    """Cast numbers to wider or equal numbers, and text to text, without looking at each value."""
    kind = values.dtype
    if isinstance(dtype, pd.StringDtype) and isinstance(kind, pd.StringDtype):
        return values.astype(dtype)
    source, target = _numpy_of(kind), _numpy_of(dtype)
    if source is None or target is None or not np.can_cast(source, target, "safe"):
        return None
    if source.kind in "iu" and target.kind == "f" and source.itemsize >= target.itemsize:
        return None  # beyond 2**53 a float64 loses digits: look at each value
    return values.astype(dtype)


def _numpy_of(dtype: Any) -> np.dtype[Any] | None:  # noqa: ANN401 - as above
    """Return the numpy dtype below a number or boolean column."""
    found = getattr(dtype, "numpy_dtype", dtype)
    return found if isinstance(found, np.dtype) and found.kind in "iufb" else None


def _rule(dtype: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - as above
    """Choose how one value is turned into what the dtype holds; None: pandas casts the column."""
    numpy = _numpy_of(dtype)
    if isinstance(dtype, pd.StringDtype):
        return _text
    if isinstance(dtype, ArtifactStringDtype):
        return _artifact
    if numpy is None:
        return None
    if numpy.kind == "b":
        return _boolean
    if numpy.kind in "iu":
        limits = np.iinfo(numpy)
        return lambda value: _whole_number(value, int(limits.min), int(limits.max))
    return lambda value: _float(value, narrow=numpy.itemsize < 8)  # noqa: PLR2004 - float32


def _by_value(
    values: pd.Series,
    dtype: Any,  # noqa: ANN401 - as above
    name: str,
    rule: Callable[[Any], Any],
) -> pd.Series:
    """Turn each value by the rule, some thousands at a time: pandas copies them several times."""
    missing = values.isna().to_numpy()
    parts = []
    for first in range(0, max(1, len(values)), _ROWS_AT_ONCE):
        some = values.iloc[first : first + _ROWS_AT_ONCE].astype(object)
        fast = _texts(some, dtype) if rule is _text else _plain_integers(some, dtype)
        if fast is not None:
            parts.append(fast)
            continue
        made: list[Any] = []
        for row, value in enumerate(some, first):
            if missing[row]:
                made.append(pd.NA)
                continue
            try:
                made.append(rule(value))
            except _WRONG as error:
                raise _misfit(values.name, row, value, name) from error
        array: Any = pd.array(made, dtype=dtype)
        parts.append(pd.Series(array, name=values.name))
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _texts(values: pd.Series, dtype: Any) -> pd.Series | None:  # noqa: ANN401 - as above
    """Cast what is text and None only, in a tenth of the time; None where something else is."""
    texts = values.tolist()
    if not set(map(type, texts)) <= {str, type(None)}:
        return None
    try:
        "".join(filter(None, texts)).encode()  # half a surrogate pair is text to pandas 2
        return pd.Series(pd.array(values, dtype=dtype), name=values.name)
    except UnicodeEncodeError:
        return None


def _plain_integers(values: pd.Series, dtype: Any) -> pd.Series | None:  # noqa: ANN401 - as above
    """Cast text of plain digits to 64-bit integers, in a tenth of the time; None for all else."""
    if _numpy_of(dtype) != np.int64 or set(map(type, values)) != {str}:
        return None
    try:
        texts = pa.array(values, pa.large_string())
    except UnicodeEncodeError:  # half a surrogate pair
        return None
    if not pc.all(pc.match_substring_regex(texts, _PLAIN_INTEGER)).as_py():
        return None
    return pd.Series(texts.cast(pa.int64()).to_numpy(), name=values.name).astype(dtype)


def _whole(values: pd.Series, dtype: Any, name: str) -> pd.Series:  # noqa: ANN401 - as above
    """Let pandas cast the column; no value may become missing by it."""
    missing = values.isna()
    try:
        made = _converted(values, dtype)
    except _WRONG as error:
        row = _first_misfit(values, missing, dtype)
        raise _misfit(values.name, row, values.iloc[row], name) from error
    lost = made.isna() & ~missing
    if lost.any():
        row = int(lost.to_numpy().argmax())
        raise _misfit(values.name, row, values.iloc[row], name)
    return made


def _converted(values: pd.Series, dtype: Any) -> pd.Series:  # noqa: ANN401 - as above
    """Cast by way of pandas; text that is a time is read as ISO 8601."""
    if isinstance(dtype, pd.PeriodDtype):
        return _periods(values, dtype)
    if isinstance(dtype, pd.IntervalDtype) and _is_text(values):
        return values.astype(object).where(values.notna(), np.nan).astype(dtype)
    may_count = values.dtype == object or _numpy_of(values.dtype) is not None
    if may_count and _unit_of(dtype) and any(map(_is_number, values[values.notna()])):
        return _counts(values, dtype)
    zoned = isinstance(dtype, pd.DatetimeTZDtype) and getattr(values.dtype, "tz", None) is None
    naive = isinstance(dtype, np.dtype) and dtype.kind == "M"
    read = values
    if (zoned or naive) and _is_text(values):
        if naive and any(isinstance(v, str) and _ZONE.search(v) for v in values):
            raise ValueError("a time zone, which the dtype has not")
        if any(isinstance(v, str) and not _DIGIT.search(v) for v in values):
            raise ValueError("no time: pandas would read the clock for a word such as now")
        read = pd.Series(pd.to_datetime(values, utc=zoned, format="ISO8601"))
    elif _is_text(values) and isinstance(dtype, np.dtype) and dtype.kind == "m":
        if any(isinstance(v, str) and not _DURATION.fullmatch(v) for v in values):
            raise ValueError("no unit")
        read = pd.Series(pd.to_timedelta(values))
    made = read.astype(dtype)
    if read.dtype.kind in "mM" and (made.notna() & (made != read)).any():
        raise ValueError("finer than the unit of the dtype")
    return made


def _unit_of(dtype: Any) -> str:  # noqa: ANN401 - as above
    """Return the unit of a dtype of times or durations, "" for others."""
    if isinstance(dtype, pd.DatetimeTZDtype):
        return str(dtype.unit)
    is_time = isinstance(dtype, np.dtype) and dtype.kind in "mM"
    return str(np.datetime_data(dtype)[0]) if is_time else ""


def _is_number(value: Any) -> bool:  # noqa: ANN401 - a cell
    """Return whether a value is a number; numpy's durations are whole numbers, too."""
    return isinstance(value, int | float | np.number | np.bool_) and not isinstance(
        value, np.timedelta64
    )


def _counts(values: pd.Series, dtype: Any) -> pd.Series:  # noqa: ANN401 - as above
    """Take whole numbers for counts of the unit of a dtype, for times since 1970 in UTC."""
    counts = np.full(len(values), np.iinfo(np.int64).min, dtype=np.int64)
    for row, (value, gone) in enumerate(zip(values, values.isna(), strict=True)):
        if not gone:
            if not isinstance(value, int | np.integer) or isinstance(value, bool):
                raise TypeError("no whole number")
            counts[row] = int(value)
    made = pd.Series(counts.view(f"{dtype.kind}8[{_unit_of(dtype)}]"), name=values.name)
    made.index = values.index
    return made.dt.tz_localize("UTC").astype(dtype) if hasattr(dtype, "tz") else made


def _periods(values: pd.Series, dtype: pd.PeriodDtype) -> pd.Series:
    """Cast to periods; pandas is about to change what numbers mean there."""
    present = values[values.notna()]
    if not _is_text(values) and _numpy_of(values.dtype) is None:
        return values.astype(dtype)
    if any(isinstance(v, int | float | np.number) for v in present):
        raise TypeError("a number is no period")
    periods = [pd.NaT if gone else v for v, gone in zip(values, values.isna(), strict=True)]
    return pd.Series(pd.PeriodIndex(periods, freq=dtype.freq), name=values.name)


def _is_text(values: pd.Series) -> bool:
    """Return whether a column holds text."""
    return isinstance(values.dtype, pd.StringDtype) or values.dtype == np.dtype(object)


def _first_misfit(values: pd.Series, missing: pd.Series, dtype: Any) -> int:  # noqa: ANN401 - as above
    """Find the first value that cannot be cast, by halving: the rows before it can be."""
    rows = np.flatnonzero(~missing.to_numpy())
    low, high = 0, len(rows) - 1
    while low < high:
        middle = (low + high) // 2
        try:
            _converted(values.iloc[rows[low : middle + 1]], dtype)
        except _WRONG:
            high = middle
        else:
            low = middle + 1
    return int(rows[low]) if len(rows) else 0


def _misfit(column: object, row: int, value: object, name: str) -> TVTableError:
    """Make the error for a value that does not fit."""
    shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[: _LONGEST_SHOWN - 3]}..."
    return TVTableError(
        f'Column "{column}", row {row}: {shown} does not fit dtype {name}.',
        "Correct the value, or declare another dtype.",
        column=str(column),
        row=row,
        dtype=str(name),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - a cell
    """Format a plain value."""
    if isinstance(value, _NO_SCALARS):
        raise TypeError("no text")
    text = value if isinstance(value, str) else str(value)
    text.encode()  # half a surrogate pair is no text
    return text


def _artifact(value: Any) -> str:  # noqa: ANN401 - a cell
    """Return the name of a file, which is text already."""
    if not isinstance(value, str):
        raise TypeError("no text: artifact_string holds names of files")
    return _text(value)


def _boolean(value: Any) -> bool:  # noqa: ANN401 - a cell
    """Read a boolean, also from 1, 0 and the usual words."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    elif isinstance(value, int | float | np.number | decimal.Decimal) and value in {0, 1}:
        return bool(value)
    raise ValueError("no boolean")


def _whole_number(value: Any, least: int, most: int) -> int:  # noqa: ANN401 - a cell
    """Read a whole number, without a detour through floats."""
    if isinstance(value, str):
        text = _digits(value)
        try:
            number = int(text)
        except ValueError:
            exact = decimal.Decimal(text)
            if exact.adjusted() > _MOST_DIGITS:  # int() would write out every zero
                raise
            number = int(exact)
            if number != exact:
                raise
    elif isinstance(value, _NO_SCALARS):
        raise TypeError("no number")
    else:
        number = int(value)
        if number != value:
            raise ValueError("not whole")
    if not least <= number <= most:
        raise OverflowError("out of range")
    return number


def _float(value: Any, *, narrow: bool) -> float:  # noqa: ANN401 - a cell
    """Read a float; a whole number that it cannot hold exactly is refused."""
    if isinstance(value, _NO_SCALARS):
        raise TypeError("no number")
    if isinstance(value, str):
        value = _digits(value)
    number = float(value)
    if narrow and math.isfinite(number) and abs(number) > _FLOAT32_MAX:
        raise OverflowError("out of range")
    if math.isinf(number) and not _is_infinite(value):
        raise OverflowError("out of range")
    whole = _whole_of(value)
    if whole is not None and whole != (float(np.float32(number)) if narrow else number):
        raise OverflowError("too large to be exact")
    return number


def _digits(text: str) -> str:
    """Return what may be a number; Python, unlike everybody else, reads ``1_000``, too."""
    if "_" in text:
        raise ValueError("no number")
    return text.strip()


def _whole_of(value: Any) -> int | decimal.Decimal | None:  # noqa: ANN401 - a cell
    """Return a value that is written as a whole number, None for all others."""
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, str):
        return decimal.Decimal(value) if _WHOLE.fullmatch(value) else None
    is_whole = isinstance(value, decimal.Decimal) and value.as_tuple().exponent == 0
    return value if is_whole else None


def _is_infinite(value: Any) -> bool:  # noqa: ANN401 - a cell
    """Return whether a value is infinite, not only the float made of it."""
    if isinstance(value, str | decimal.Decimal):
        return decimal.Decimal(value).is_infinite()
    return bool(np.isinf(value))
