"""Columns of Python objects: as an Arrow type that returns the same objects, else as JSON text.

A column whose values have one exact type, and at most one sort of missing value, is stored in
the Arrow type of that name (`_FORMS`). Everything else is text of `tablevault.frames.tagged_json`
with null for None. Which form is chosen depends on the values only.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault.errors import TVTableError
from tablevault.frames.plain import PLAIN_TYPES, plain
from tablevault.frames.tagged_json import UnstorableValueError, from_json, to_json

Objects = np.ndarray[Any, np.dtype[np.object_]]

_MISSING: Mapping[str, object] = {"None": None, "NaN": float("nan"), "NA": pd.NA, "NaT": pd.NaT}
_MISSING_TYPES: Mapping[type, str] = {type(None): "None", type(pd.NA): "NA", type(pd.NaT): "NaT"}
_LIST_ITEMS: Mapping[type, pa.DataType] = {
    str: pa.large_string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}
_DECIMAL_DIGITS = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectColumn:
    """A stored column of Python objects."""

    form: str
    missing: str
    array: pa.Array


def encode_objects(values: Objects, column: str) -> ObjectColumn:
    """Store Python objects as an Arrow array.

    Parameters
    ----------
    values : numpy.ndarray of object, shape (rows,)
        The values; not changed.
    column : str
        Name of the column, for the error.

    Returns
    -------
    ObjectColumn
        The array, the form it has, and the name of what its nulls stand for.

    Raises
    ------
    TVTableError
        A value of a type that cannot be stored; names column, row and type.
    """
    kinds = set(map(type, values))
    if not kinds <= PLAIN_TYPES:
        values = objects_of(list(map(plain, values)))
        kinds = set(map(type, values))
    missing = {name for kind, name in _MISSING_TYPES.items() if kind in kinds}
    solid = kinds - set(_MISSING_TYPES)
    if float in solid and len(solid) > 1 and _floats_are_nan(values):
        solid.discard(float)
        missing.add("NaN")
    if len(missing) <= 1 and len(solid) <= 1:
        sort = next(iter(missing), "None")
        form = _FORM_OF.get(next(iter(solid), str))
        array = form and _try_native(form, values, _mask(values, sort) if missing else None)
        if form and array is not None:
            return ObjectColumn(form=form, missing=sort, array=array)
    return ObjectColumn(form="json", missing="None", array=_json_array(values, column))


def decode_objects(stored: ObjectColumn) -> Objects:
    """Return the Python objects that `encode_objects` stored, in a new writable array."""
    is_json = stored.form == "json"
    decode = _read_texts(from_json) if is_json else _FORMS[stored.form].decode
    values = decode(stored.array)
    if stored.missing != "None" and stored.array.null_count:
        values[np.asarray(stored.array.is_null())] = _MISSING[stored.missing]
    return values


def objects_of(values: list[Any]) -> Objects:
    """Make an array of objects that never takes a list of lists for two dimensions."""
    return np.fromiter(values, dtype=object, count=len(values))


def _floats_are_nan(values: Objects) -> bool:
    """Return whether floats occur only as the missing value of older pandas."""
    return all(v != v for v in values if type(v) is float)  # noqa: PLR0124 - NaN differs from itself


def _mask(values: Objects, sort: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark the missing values of one sort."""
    kind = type(_MISSING[sort])
    return np.fromiter((type(v) is kind for v in values), dtype=bool, count=len(values))


def _try_native(
    form: str, values: Objects, mask: np.ndarray[Any, np.dtype[np.bool_]] | None
) -> pa.Array | None:
    """Build the Arrow array of `form`, or None when it would not give back the same objects."""
    present = values if mask is None else values[~mask]
    try:
        array = _FORMS[form].encode(present)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None
    if array is None or mask is None:
        return array
    places = np.cumsum(~mask) - 1
    return (
        array.take(pa.array(places, mask=mask))
        if len(present)
        else pa.nulls(len(values), array.type)
    )


def _plain(kind: pa.DataType) -> Callable[[Objects], pa.Array]:
    """Make an encoder for values that Arrow holds as they are; NaN stays a value."""
    return lambda values: pa.array(values, type=kind, from_pandas=False)


def _checked(kind: pa.DataType) -> Callable[[Objects], pa.Array | None]:
    """Make an encoder that compares: Arrow drops zones and fold, and may wrap what is large."""

    def encode(values: Objects) -> pa.Array | None:
        if any(getattr(v, "tzinfo", None) is not None or getattr(v, "fold", 0) for v in values):
            return None
        array = pa.array(values, type=kind)
        return array if array.to_pylist() == values.tolist() else None

    return encode


def _decimals(values: Objects) -> pa.Array | None:
    """Store decimals that share one exponent, which Arrow keeps as the scale."""
    exponents = {v.as_tuple().exponent for v in values}
    if len(exponents) != 1:
        return None
    (exponent,) = exponents
    if not isinstance(exponent, int) or not -_DECIMAL_DIGITS <= exponent <= 0:
        return None
    if any(v.is_signed() and not v for v in values):
        return None  # Arrow has no negative zero
    return pa.array(values, type=pa.decimal128(_DECIMAL_DIGITS, -exponent))


def _uuids(values: Objects) -> pa.Array:
    """Store UUIDs as text."""
    return pa.array([str(v) for v in values], type=pa.large_string())


def _lists(values: Objects) -> pa.Array | None:
    """Store lists whose items have one type out of `_LIST_ITEMS`, None besides."""
    kinds = {type(item) for value in values for item in value} - {type(None)}
    if len(kinds) > 1 or not kinds <= set(_LIST_ITEMS):
        return None
    item = _LIST_ITEMS[next(iter(kinds), str)]
    return pa.array(values.tolist(), type=pa.large_list(item), from_pandas=False)


def _vectors(values: Objects) -> pa.Array | None:
    """Store one-dimensional arrays of one number type, such as embeddings, as lists."""
    dtypes = {v.dtype for v in values}
    if len(dtypes) != 1 or any(v.ndim != 1 for v in values):
        return None
    (dtype,) = dtypes
    if dtype.kind not in "biuf" or not dtype.isnative or dtype.char == "g":
        return None
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([len(v) for v in values], out=offsets[1:])
    return pa.LargeListArray.from_arrays(offsets, pa.array(np.concatenate(values)))


def _json_array(values: Objects, column: str) -> pa.Array:
    """Encode each value on its own; say which one cannot be."""
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            texts.append(None if value is None else to_json(value))
        except UnstorableValueError as problem:
            reason = f" ({problem.reason})" if problem.reason else ""
            raise TVTableError(
                f'Column "{column}", row {row}: a value of type {problem.value_type} '
                f"cannot be stored{reason}.",
                "Store text, numbers, dates, or lists and dicts of these; keep other things "
                "as files in an artifact column.",
                column=column,
                row=row,
                type=problem.value_type,
            ) from problem
    return pa.array(texts, type=pa.large_string())


def _read_vectors(array: pa.Array) -> Objects:
    """Cut the flat values into arrays of their own."""
    lengths = np.asarray(array.value_lengths().fill_null(0))
    flat = array.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    rows = zip((ends - lengths).tolist(), ends.tolist(), strict=True)
    values = objects_of([flat[a:b].copy() for a, b in rows])
    values[np.asarray(array.is_null())] = None
    return values


def _read_texts(read: Callable[[str], object]) -> Callable[[pa.Array], Objects]:
    """Make a decoder of values that are stored as text."""
    return lambda array: objects_of(
        [None if text is None else read(text) for text in array.to_pylist()]
    )


def _read_objects(array: pa.Array) -> Objects:
    """Let Arrow make the objects."""
    return objects_of(array.to_pylist())


def _read_strings(array: pa.Array) -> Objects:
    """Let Arrow make text or bytes, faster than through a list."""
    values = array.to_numpy(zero_copy_only=False)
    return np.array(values, dtype=object)


class _ObjectForm(NamedTuple):
    """How values of one exact type are stored, and come back."""

    kind: type
    encode: Callable[[Objects], pa.Array | None]
    decode: Callable[[pa.Array], Objects]


_FORMS: Mapping[str, _ObjectForm] = {
    "text": _ObjectForm(str, _plain(pa.large_string()), _read_strings),
    "bytes": _ObjectForm(bytes, _plain(pa.large_binary()), _read_strings),
    "bool": _ObjectForm(bool, _plain(pa.bool_()), _read_objects),
    "int": _ObjectForm(int, _plain(pa.int64()), _read_objects),
    "float": _ObjectForm(float, _plain(pa.float64()), _read_objects),
    "decimal": _ObjectForm(Decimal, _decimals, _read_objects),
    "uuid": _ObjectForm(uuid.UUID, _uuids, _read_texts(uuid.UUID)),
    "date": _ObjectForm(dt.date, _checked(pa.date32()), _read_objects),
    "time": _ObjectForm(dt.time, _checked(pa.time64("us")), _read_objects),
    "datetime": _ObjectForm(dt.datetime, _checked(pa.timestamp("us")), _read_objects),
    "timedelta": _ObjectForm(dt.timedelta, _checked(pa.duration("us")), _read_objects),
    "list": _ObjectForm(list, _lists, _read_objects),
    "vector": _ObjectForm(np.ndarray, _vectors, _read_vectors),
}
_FORM_OF = {form.kind: name for name, form in _FORMS.items()}
