"""Columns of pandas as Arrow arrays, with the facts that restore them.

The array has a type that any Parquet reader understands; the facts are plain JSON. `form` names
the rule, one entry of `_RULES`; `tablevault.frames.column_decoding` holds the inverse of each.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault.errors import TVTableError
from tablevault.frames.artifact_string import ArtifactStringDtype
from tablevault.frames.object_columns import encode_objects
from tablevault.frames.tagged_json import UnstorableValueError, to_json, zone_to_plain

_NAT = np.iinfo(np.int64).min
_SECONDS_IN_MS = (1 << 63) // 1000 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """A column ready for Parquet."""

    form: str
    array: pa.Array | pa.ChunkedArray
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Restoring facts, JSON; part of the logical hash."""
    categories: StoredColumn | None = None
    """Categories of a categorical column, in order; the array holds the values."""


def encode_column(values: pd.Series[Any], name: str) -> StoredColumn:
    """Turn a column into its stored form.

    Parameters
    ----------
    values : pandas.Series
        The column; not changed.
    name : str
        Name of the column, for errors.

    Returns
    -------
    StoredColumn
        Arrow array and restoring facts.

    Raises
    ------
    TVTableError
        The dtype, or a Python object in the column, cannot be stored.
    """
    dtype = values.dtype
    try:
        if isinstance(dtype, np.dtype):
            rule = _NUMPY_RULES.get(dtype.kind)
            if rule and dtype.char not in "gG":
                native = dtype.newbyteorder("=")  # Arrow knows no other order
                return rule(values.to_numpy().astype(native, copy=False), name)
        else:
            extension_rule = _RULES.get(type(dtype))
            if extension_rule:
                return extension_rule(values.array, name)
    except UnstorableValueError as problem:
        raise _unstorable(name, dtype, problem.reason) from problem
    except (pa.ArrowException, UnicodeEncodeError) as problem:
        raise _unstorable(name, dtype, str(problem)) from problem
    raise _unstorable(name, dtype, "")


def whole_array(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return one array for one in chunks."""
    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    whole = array.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _unstorable(name: str, dtype: object, reason: str) -> TVTableError:
    """Make the error for a dtype without a rule."""
    because = f": {reason}" if reason else ""
    return TVTableError(
        f'Column "{name}" of dtype {dtype} cannot be stored{because}.',
        "Convert it with astype() to a dtype of pandas such as Float64 or string.",
        column=name,
        dtype=str(dtype),
    )


def _numpy(values: np.ndarray[Any, Any], _name: str) -> StoredColumn:
    """Store numbers and booleans; NaN is a value, not a null."""
    array = pa.array(values, from_pandas=False)
    return StoredColumn(form="numpy", array=array, facts={"type": values.dtype.name})


def _complex(values: np.ndarray[Any, Any], _name: str) -> StoredColumn:
    """Store complex numbers as a struct of their parts."""
    parts = [pa.array(np.ascontiguousarray(p)) for p in (values.real, values.imag)]
    array = pa.StructArray.from_arrays(parts, names=["real", "imag"])
    return StoredColumn(form="complex", array=array, facts={"type": values.dtype.name})


def _instants(values: np.ndarray[Any, Any], _name: str) -> StoredColumn:
    """Store datetime64 or timedelta64 without zone."""
    unit = np.datetime_data(values.dtype)[0]
    form = "datetime" if values.dtype.kind == "M" else "timedelta"
    counts = values.view("i8")
    array = _counted(counts, unit, None) if form == "datetime" else _durations(counts, unit)
    return StoredColumn(form=form, array=array, facts={"unit": unit})


def _zoned(values: Any, _name: str) -> StoredColumn:  # noqa: ANN401 - DatetimeArray, not exported
    """Store instants in UTC, with the zone in type and facts."""
    unit, zone = values.dtype.unit, values.dtype.tz
    array = _counted(values.asi8, unit, str(zone) if "$zone" in zone_to_plain(zone) else "UTC")
    return StoredColumn(
        form="zoned", array=array, facts={"unit": unit, "zone": zone_to_plain(zone)}
    )


def _counted(counts: np.ndarray[Any, Any], unit: str, zone: str | None) -> pa.Array:
    """Make timestamps; Parquet has no seconds, so these are ms, or int64 where ms overflow."""
    null = counts == _NAT
    mask = null if null.any() else None
    if unit == "s":
        if np.abs(np.where(null, 0, counts)).max(initial=0) > _SECONDS_IN_MS:
            return pa.array(counts, mask=mask)
        counts, unit = counts * 1000, "ms"
    return pa.array(counts, mask=mask).view(pa.timestamp(unit, zone))


def _durations(counts: np.ndarray[Any, Any], unit: str) -> pa.Array:
    """Make durations, which Parquet holds as int64 of any unit."""
    null = counts == _NAT
    return pa.array(counts, mask=null if null.any() else None).view(pa.duration(unit))


def _objects(values: np.ndarray[Any, Any], name: str) -> StoredColumn:
    """Store Python objects."""
    stored = encode_objects(values, name)
    facts = {"objects": stored.form, "missing": stored.missing}
    return StoredColumn(form="objects", array=stored.array, facts=facts)


def _masked(values: Any, _name: str) -> StoredColumn:  # noqa: ANN401 - four array classes
    """Store numbers with a mask; NaN under no mask stays a value."""
    # `_data` and `_mask`: the public to_numpy copies, and isna() may count NaN as missing.
    mask = values._mask  # noqa: SLF001
    array = pa.array(values._data, mask=mask if mask.any() else None, from_pandas=False)  # noqa: SLF001
    return StoredColumn(form="masked", array=array, facts={"type": values.dtype.name})


def _strings(values: Any, _name: str) -> StoredColumn:  # noqa: ANN401 - two array classes
    """Store text; a lone surrogate is no Unicode text, so such a column is JSON."""
    dtype = values.dtype
    is_nan = dtype.na_value is not pd.NA
    facts = {"storage": dtype.storage, "na": "NaN" if is_nan else "NA"}
    try:
        if dtype.storage == "python":  # as pandas does it, without its copy
            array = pa.array(np.asarray(values), pa.large_string(), from_pandas=True)
        else:
            array = pa.array(values)
    except UnicodeEncodeError:
        texts = [None if pd.isna(v) else to_json(str(v)) for v in values]
        array, facts = pa.array(texts), facts | {"json": True}
    if array.type != pa.large_string():
        array = array.cast(pa.large_string())
    return StoredColumn(form="string", array=array, facts=facts)


def _artifacts(values: Any, _name: str) -> StoredColumn:  # noqa: ANN401 - as the rest
    """Store names of artifacts as text."""
    return StoredColumn(form="artifact", array=pa.array(values, pa.large_string()))


def _arrow(values: Any, _name: str) -> StoredColumn:  # noqa: ANN401 - ArrowExtensionArray
    """Store an Arrow array; its exact type as a schema, since Parquet knows fewer types."""
    kind = values.dtype.pyarrow_dtype
    array = pa.array(values)
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        counts = np.where(whole.is_null(), _NAT, whole.view(pa.int64()).fill_null(0))
        array = _counted(counts, "s", kind.tz)
    elif pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = array.cast(
            pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()
        )
    elif pa.types.is_fixed_size_list(kind):
        array = _lists_of_any_size(whole_array(array))
    schema = pa.schema([pa.field("", kind)]).serialize().to_pybytes()
    facts = {"type": str(kind), "schema": base64.b64encode(schema).decode("ascii")}
    return StoredColumn(form="arrow", array=array, facts=facts)


def _lists_of_any_size(array: pa.FixedSizeListArray) -> pa.LargeListArray:
    """Let nulls have no items: pyarrow 21 cannot write them otherwise."""
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum(valid * array.type.list_size, out=offsets[1:])
    kind = pa.large_list(array.type.value_field)
    return pa.LargeListArray.from_arrays(offsets, array.flatten(), type=kind, mask=pa.array(~valid))


def _periods(values: Any, _name: str) -> StoredColumn:  # noqa: ANN401 - PeriodArray
    """Store ordinals of periods."""
    null = values.isna()
    array = pa.array(values.asi8, mask=null if null.any() else None)
    return StoredColumn(form="period", array=array, facts={"freq": values.freqstr})


def _intervals(values: Any, name: str) -> StoredColumn:  # noqa: ANN401 - IntervalArray
    """Store both ends as a struct."""
    left, right = (encode_column(pd.Series(side), name) for side in (values.left, values.right))
    null = values.isna()
    array = pa.StructArray.from_arrays(
        [left.array, right.array],
        names=["left", "right"],
        mask=pa.array(null) if null.any() else None,
    )
    ends = [{"form": end.form, "facts": dict(end.facts)} for end in (left, right)]
    return StoredColumn(form="interval", array=array, facts={"closed": values.closed, "ends": ends})


def _categories(values: Any, name: str) -> StoredColumn:  # noqa: ANN401 - Categorical
    """Store the values for any reader, and the categories apart, unused ones too."""
    stored = encode_column(pd.Series(values.categories), name)
    codes = values.codes.astype(np.int32)
    places = pa.array(codes, mask=codes < 0)
    facts: dict[str, Any] = {"ordered": bool(values.ordered)}
    if isinstance(values.categories, pd.DatetimeIndex | pd.TimedeltaIndex):
        facts["freq"] = values.categories.freqstr
    words = whole_array(stored.array)
    return StoredColumn(
        form="category",
        array=_decoded(words, places, ordered=bool(values.ordered)),
        facts=facts,
        categories=stored,
    )


def _decoded(words: pa.Array, places: pa.Array, *, ordered: bool) -> pa.Array:
    """Return the category of each row; text stays a dictionary, which Parquet keeps as one."""
    if pa.types.is_large_string(words.type) and len(words):
        return pa.DictionaryArray.from_arrays(places, words, ordered=ordered)
    return words.take(places)


_NUMPY_RULES: Mapping[str, Callable[[np.ndarray[Any, Any], str], StoredColumn]] = {
    **dict.fromkeys("biuf", _numpy),
    "c": _complex,
    "M": _instants,
    "m": _instants,
    "O": _objects,
}

_MASKED_DTYPES = (
    *(pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype),
    *(pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype),
    *(pd.Float32Dtype, pd.Float64Dtype, pd.BooleanDtype),
)

_RULES: Mapping[type, Callable[[Any, str], StoredColumn]] = {
    **dict.fromkeys(_MASKED_DTYPES, _masked),
    pd.StringDtype: _strings,
    pd.CategoricalDtype: _categories,
    pd.DatetimeTZDtype: _zoned,
    pd.PeriodDtype: _periods,
    pd.IntervalDtype: _intervals,
    pd.ArrowDtype: _arrow,
    ArtifactStringDtype: _artifacts,
}
