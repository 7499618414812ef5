"""Cells as whole numbers, which are the same where the logical hash sees no difference."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.frames.digest import plain_array

Codes: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"
"""A number for each row."""

_WORD = 64
_LEAST = np.iinfo(np.int64).min


def cell_codes(array: pa.Array | pa.ChunkedArray) -> Codes:
    """Give numbers to the cells of a stored column, of both frames that are to be compared.

    Nulls are equal to each other and to nothing else. Every NaN is one value, and no null; zero
    with a negative sign is another number than zero (`tablevault.frames.digest`).

    Parameters
    ----------
    array : pyarrow.Array or pyarrow.ChunkedArray
        Of any type.

    Returns
    -------
    array of int64
        The numbers mean nothing beyond this call.
    """
    array = plain_array(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), dtype=np.int64)
    if pa.types.is_struct(kind):
        parts = [cell_codes(part) for part in array.flatten()]
        return _apart(_joined(parts, len(array)), array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_codes(array)
    if pa.types.is_boolean(kind):
        return _apart(array.fill_null(False).cast(pa.int64()).to_numpy(), array)
    if _is_word(kind):
        return _apart(_words(array), array)
    encoded = array.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def mixed(codes: Codes) -> Codes:
    """Spread numbers over all 64 bits, one to one: splitmix64, Steele, Lea and Flood 2014."""
    bits = codes.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits ^ (bits >> np.uint64(31))).view(np.int64)


def _is_word(kind: pa.DataType) -> bool:
    """Return whether a value takes at most 64 bits in a buffer of its own."""
    if pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        return False
    return pa.types.is_primitive(kind) and int(kind.bit_width) <= _WORD


def _words(array: pa.Array) -> Codes:
    """View values of one width as whole numbers; every NaN as one."""
    width = array.type.bit_width // 8
    data = array.buffers()[1]
    if not len(array) or data is None:
        return np.zeros(len(array), dtype=np.int64)
    start = array.offset * width
    values = np.frombuffer(data, dtype=np.uint8)[start : start + len(array) * width]
    if pa.types.is_floating(array.type):
        floats = values.view(f"<f{width}")
        if (nan := np.isnan(floats)).any():
            floats = np.where(nan, np.array(np.nan, dtype=floats.dtype), floats)
        values = floats.view(np.uint8)
    return np.array(values.view(f"<i{width}"), dtype=np.int64)


def _apart(codes: Codes, array: pa.Array) -> Codes:
    """Give nulls a number that no value has."""
    if not array.null_count:
        return codes
    null = array.is_null().to_numpy(zero_copy_only=False)
    least = int(codes[~null].min(initial=0))
    if least == _LEAST:
        codes, least = np.asarray(pd.factorize(codes)[0], dtype=np.int64), 0
    return np.where(null, np.int64(least - 1), codes)


def _joined(parts: list[Codes], rows: int) -> Codes:
    """Give numbers to combinations of numbers."""
    joined = np.zeros(rows, dtype=np.int64)
    for part in parts:
        dense, words = pd.factorize(part)
        joined = np.asarray(
            pd.factorize(joined * np.int64(max(1, len(words))) + dense)[0], dtype=np.int64
        )
    return joined


def _list_codes(array: pa.ListArray | pa.LargeListArray) -> Codes:
    """Give numbers to lists: the numbers of its items are the bytes of a text."""
    lengths = pc.list_value_length(array).cast(pa.int64()).fill_null(0)
    items = np.ascontiguousarray(cell_codes(array.flatten()))
    ends = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=ends[1:])
    ends *= items.itemsize
    texts = pa.Array.from_buffers(
        pa.large_binary(), len(array), [None, pa.py_buffer(ends), pa.py_buffer(items)]
    )
    encoded: Any = texts.dictionary_encode().indices
    return _apart(np.asarray(encoded.to_numpy(zero_copy_only=False), dtype=np.int64), array)
