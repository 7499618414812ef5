"""Stored columns back to pandas: the inverse of each rule in `column_encoding`."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.frames.artifact_string import ArtifactStringArray
from tablevault.frames.column_encoding import StoredColumn, whole_array
from tablevault.frames.object_columns import ObjectColumn, decode_objects
from tablevault.frames.tagged_json import from_json, zone_from_plain, zone_to_plain

_NAT = np.iinfo(np.int64).min


def decode_column(stored: StoredColumn) -> Any:  # noqa: ANN401 - any pandas array
    """Rebuild the column that `encode_column` stored.

    Parameters
    ----------
    stored : StoredColumn
        The array as Parquet gave it back, with the facts from the file.

    Returns
    -------
    numpy.ndarray or pandas.api.extensions.ExtensionArray
        Values in memory of their own, writable.

    Raises
    ------
    KeyError, ValueError, TypeError, pyarrow.ArrowException
        Facts and array do not fit together: the file is damaged.
    """
    return _RULES[stored.form](stored)


def foreign_column(array: pa.ChunkedArray) -> StoredColumn:
    """Choose a nullable dtype for a column that `encode_column` did not store.

    Parameters
    ----------
    array : pyarrow.ChunkedArray
        A column of any Arrow type.

    Returns
    -------
    StoredColumn
        Numbers, booleans and text for the nullable dtypes of pandas, instants for datetime64 and
        timedelta64, everything else for ``ArrowDtype``.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return foreign_column(array.cast(kind.value_type))
    if name := _FOREIGN_NUMBERS.get(kind):
        return StoredColumn(form="masked", array=array, facts={"type": name})
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        facts: dict[str, Any] = {"storage": "pyarrow", "na": "NA"}
        return StoredColumn(form="string", array=array.cast(pa.large_string()), facts=facts)
    if time := _foreign_time(kind):
        form, facts = time
        return StoredColumn(form=form, array=array, facts=facts)
    schema = pa.schema([pa.field("", kind)]).serialize().to_pybytes()
    facts = {"schema": base64.b64encode(schema).decode("ascii")}
    return StoredColumn(form="arrow", array=array, facts=facts)


def _foreign_time(kind: pa.DataType) -> tuple[str, dict[str, Any]] | None:
    """Choose form and facts for an instant or a duration; None for what pandas has no dtype."""
    if pa.types.is_duration(kind):
        return "timedelta", {"unit": kind.unit}
    if not pa.types.is_timestamp(kind):
        return None
    if kind.tz is None:
        return "datetime", {"unit": kind.unit}
    # Instants of an unknown zone are the same in any other.
    zone = _foreign_zone(kind.tz) or _foreign_zone("UTC")
    return "zoned", {"unit": kind.unit, "zone": zone}


def _foreign_zone(zone: str) -> dict[str, Any] | None:
    """Describe the zone of an Arrow type, ``+HH:MM`` or a key of the tz database."""
    if found := re.fullmatch(r"([+-])([01]\d|2[0-3]):([0-5]\d)", zone):
        minutes = int(found[2]) * 60 + int(found[3])
        return {"$offset": [int(found[1] + "60000000") * minutes]}
    try:
        return zone_to_plain(ZoneInfo(zone))
    except (KeyError, ValueError):
        return None


_FOREIGN_NUMBERS: Mapping[pa.DataType, str] = {
    pa.bool_(): "boolean",
    **{
        pa.type_for_alias(name.lower()): name
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    },
    pa.float32(): "Float32",
    pa.float64(): "Float64",
}


def _buffer_values(array: pa.Array | pa.ChunkedArray, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Copy fixed-width values into a new array, whatever lies under the nulls."""
    whole = whole_array(array)
    if not len(whole):
        return np.empty(0, dtype=dtype)
    data = np.frombuffer(whole.buffers()[1], dtype=dtype)
    return data[whole.offset : whole.offset + len(whole)].copy()


def _null_mask(array: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark the nulls, in a new writable array."""
    return np.array(array.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _numbers(array: pa.Array | pa.ChunkedArray, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Copy numbers or booleans; Arrow packs the latter into bits."""
    if dtype.kind != "b":
        return _buffer_values(array, dtype)
    return np.array(array.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _numpy(stored: StoredColumn) -> np.ndarray[Any, Any]:
    """Rebuild a numpy column."""
    return _numbers(stored.array, np.dtype(stored.facts["type"]))


def _complex(stored: StoredColumn) -> np.ndarray[Any, Any]:
    """Rebuild complex numbers from their parts."""
    values = np.empty(len(stored.array), dtype=stored.facts["type"])
    real, imag = whole_array(stored.array).flatten()
    values.real, values.imag = real.to_numpy(), imag.to_numpy()
    return values


def _counts(stored: StoredColumn) -> np.ndarray[Any, Any]:
    """Return counts of the unit, NaT for null."""
    array = stored.array
    counts = _buffer_values(array, np.dtype("i8"))
    if array.null_count:
        counts[_null_mask(array)] = _NAT
    kind = array.type
    if pa.types.is_timestamp(kind) and (kind.unit, stored.facts["unit"]) == ("ms", "s"):
        valid = counts != _NAT
        np.floor_divide(counts, 1000, out=counts, where=valid)
    return counts


def _datetimes(stored: StoredColumn) -> np.ndarray[Any, Any]:
    """Rebuild datetime64."""
    return _counts(stored).view(f"M8[{stored.facts['unit']}]")


def _timedeltas(stored: StoredColumn) -> np.ndarray[Any, Any]:
    """Rebuild timedelta64."""
    return _counts(stored).view(f"m8[{stored.facts['unit']}]")


def _zoned(stored: StoredColumn) -> Any:  # noqa: ANN401 - DatetimeArray
    """Rebuild datetimes with a zone."""
    zone = zone_from_plain(_zone_facts(stored.facts["zone"]))
    instants = pd.DatetimeIndex(_datetimes(stored)).tz_localize("UTC")
    return instants.tz_convert(zone).array.copy()  # that of an index may be read-only


def _zone_facts(facts: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    """Trust nothing in a file: a zone is an object."""
    assert isinstance(facts, dict)
    return facts


def _objects(stored: StoredColumn) -> np.ndarray[Any, Any]:
    """Rebuild Python objects."""
    facts = stored.facts
    return decode_objects(
        ObjectColumn(
            form=facts["objects"], missing=facts["missing"], array=whole_array(stored.array)
        )
    )


def _masked(stored: StoredColumn) -> Any:  # noqa: ANN401 - four array classes
    """Rebuild a masked array straight from the buffers, which is faster than __from_arrow__."""
    dtype: Any = pd.api.types.pandas_dtype(stored.facts["type"])
    values = _numbers(stored.array, np.dtype(dtype.numpy_dtype))
    return dtype.construct_array_type()(values, _null_mask(stored.array))


def _strings(stored: StoredColumn) -> Any:  # noqa: ANN401 - string array classes
    """Rebuild text in the storage it had, as far as this pandas knows it."""
    dtype = _string_dtype(stored.facts["storage"], stored.facts["na"])
    array = stored.array
    if stored.facts.get("json"):
        texts = [None if v is None else from_json(v) for v in array.to_pylist()]
        return pd.array(np.array(texts, dtype=object), dtype=dtype)
    if not isinstance(array, pa.ChunkedArray):
        array = pa.chunked_array([array])
    return dtype.__from_arrow__(array)


def _string_dtype(storage: str, missing: str) -> Any:  # noqa: ANN401 - StringDtype differs by version
    """Make the string dtype; pandas 2.2 has no ``str``, so it gets ``string`` there."""
    if storage == "pyarrow_numpy":
        if _IS_2_2:
            return pd.StringDtype(storage)
        storage = "pyarrow"
    if missing == "NaN" and not _IS_2_2:
        return pd.StringDtype(storage, na_value=np.nan)
    return pd.StringDtype(storage)


_IS_2_2 = pd.__version__.startswith("2.2.")


def _artifacts(stored: StoredColumn) -> ArtifactStringArray:
    """Rebuild names of artifacts."""
    values = np.array(whole_array(stored.array).to_numpy(zero_copy_only=False), dtype=object)
    values[_null_mask(stored.array)] = pd.NA
    return ArtifactStringArray(values)


def _arrow(stored: StoredColumn) -> Any:  # noqa: ANN401 - ArrowExtensionArray
    """Rebuild an Arrow column in its exact type."""
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored.facts["schema"])))
    kind = schema.field(0).type
    array = stored.array
    if str(array.type) != str(kind):  # equality ignores names of items, which dtype names show
        if pa.types.is_timestamp(kind) and kind.unit == "s":
            counts = _counts(StoredColumn(form="datetime", array=array, facts={"unit": "s"}))
            array = pa.array(counts, mask=counts == _NAT).view(kind)
        elif pa.types.is_fixed_size_list(kind):
            array = _lists_of_one_size(whole_array(array), kind)
        else:
            array = array.cast(kind)
    if not isinstance(array, pa.ChunkedArray):
        array = pa.chunked_array([array], type=kind)
    return pd.arrays.ArrowExtensionArray(array)


def _lists_of_one_size(array: pa.LargeListArray, kind: pa.DataType) -> pa.Array:
    """Restore items of nulls, as lists of one size have them."""
    null = _null_mask(array)
    places = np.repeat(np.cumsum(~null) - 1, kind.list_size) * kind.list_size
    places += np.tile(np.arange(kind.list_size), len(array))
    empty = pa.array(np.repeat(null, kind.list_size))
    items = array.flatten().take(pa.array(places, mask=empty.to_numpy(zero_copy_only=False)))
    return pa.FixedSizeListArray.from_arrays(items, type=kind, mask=pa.array(null))


def _periods(stored: StoredColumn) -> Any:  # noqa: ANN401 - PeriodArray
    """Rebuild periods from ordinals."""
    ordinals = _buffer_values(stored.array, np.dtype("i8"))
    ordinals[_null_mask(stored.array)] = _NAT
    dtype = pd.PeriodDtype(stored.facts["freq"])
    return pd.arrays.PeriodArray(ordinals, dtype=dtype)


def _intervals(stored: StoredColumn) -> Any:  # noqa: ANN401 - IntervalArray
    """Rebuild intervals from their ends."""
    null = _null_mask(stored.array)
    sides = [
        decode_column(StoredColumn(form=end["form"], array=side, facts=end["facts"]))
        for end, side in zip(stored.facts["ends"], whole_array(stored.array).flatten(), strict=True)
    ]
    if null.any() and isinstance(sides[0], np.ndarray) and sides[0].dtype.kind == "f":
        for side in sides:
            side[null] = np.nan
    left, right = sides
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=stored.facts["closed"])


def _categories(stored: StoredColumn) -> pd.Categorical:
    """Rebuild codes by looking each distinct value up among the categories."""
    assert stored.categories is not None
    words = whole_array(stored.categories.array)
    array = stored.array
    if not pa.types.is_dictionary(array.type):
        array = _encoded(whole_array(array))
    whole = whole_array(array.unify_dictionaries() if isinstance(array, pa.ChunkedArray) else array)
    places = _places(whole.dictionary, words)
    codes = places.take(whole.indices).fill_null(-1).to_numpy(zero_copy_only=False)
    known = decode_column(stored.categories)
    # Without the dtype an index of objects would become one of text or dates.
    index: Any = pd.Index(known, dtype=known.dtype, copy=False)
    if freq := stored.facts.get("freq"):
        index.freq = freq
    dtype = pd.CategoricalDtype(index, ordered=stored.facts["ordered"])
    return pd.Categorical.from_codes(np.array(codes), dtype=dtype)


def _encoded(array: pa.Array) -> pa.Array:
    """Find the distinct values."""
    if pa.types.is_nested(array.type):
        rows = pa.array(np.arange(len(array)), mask=_null_mask(array))
        return pa.DictionaryArray.from_arrays(rows, array)
    return array.dictionary_encode()


def _places(values: pa.Array, words: pa.Array) -> pa.Array:
    """Return the place of each value among the words; Arrow cannot look up nested ones."""
    if not pa.types.is_nested(words.type):
        return pc.index_in(values, value_set=words)
    seen = {repr(word): place for place, word in enumerate(words.to_pylist())}
    return pa.array([seen.get(repr(v)) for v in values.to_pylist()], type=pa.int32())


_RULES: Mapping[str, Callable[[StoredColumn], Any]] = {
    "numpy": _numpy,
    "complex": _complex,
    "datetime": _datetimes,
    "timedelta": _timedeltas,
    "zoned": _zoned,
    "objects": _objects,
    "masked": _masked,
    "string": _strings,
    "arrow": _arrow,
    "artifact": _artifacts,
    "period": _periods,
    "interval": _intervals,
    "category": _categories,
}
