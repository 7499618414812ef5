"""Logical hash of a dataframe: of its names, dtypes and values, not of the bytes of a file.

Canonical form, version 1. ``u64`` is eight bytes, little-endian, unsigned; ``text(s)`` is
``u64`` length in bytes, then the UTF-8 bytes; every number is little-endian; H is SHA-256.

``frame`` = ``"v1:" + hex(H(text("tablevault frame 1") u64(rows) u64(columns) then for each
column, in order, text(name) and the 32 bytes of its column hash))``.

``column`` = ``H(text(dtype name) text(rule) node)``, and for a categorical column the 32 bytes
of the column hash of its categories besides: in their order when it is ordered, ascending
otherwise, under the dtype name ``""``. ``rule`` is the form of the `StoredColumn`, then, in this
order and when present in the column's facts, ``,objects=``, ``,missing=``, ``,json=``,
``,ordered=``, each with the value as JSON.

``node`` of an array of n rows = ``text(kind) u64(n) validity values``.

validity
    One byte 0 when there is no null; else one byte 1 and ``ceil(n/8)`` bytes, one bit a row,
    1 for a value, least significant bit first, rest 0.

====================  ===========================================================================
kind                  values
====================  ===========================================================================
``fixed<bits>``       n values of that width, zero under null: integers, decimals, and the counts
                      behind dates, times, timestamps, durations and periods
``float<bits>``       likewise; every NaN is the quiet NaN with positive sign and payload 0
``bool``              one bit a row, as in validity, 0 under null
``bytes``             n u64 lengths, 0 under null, then the bytes of all rows; text is UTF-8
``list``              n u64 lengths, 0 under null, then the node of all items in order
``struct``            for each field text(field name) and its node, null wherever the struct is
``null``              nothing
====================  ===========================================================================

Dictionaries are decoded first, and extension types replaced by their storage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.frames.column_encoding import StoredColumn, whole_array

_RULE_FACTS = ("objects", "missing", "json", "ordered")


class _Hash(Protocol):
    """What is fed."""

    def update(self, data: Any, /) -> None: ...  # noqa: ANN401 - any buffer


def digest_frame(columns: Iterable[tuple[str, str, StoredColumn]], rows: int) -> str:
    """Hash a dataframe by its meaning.

    Parameters
    ----------
    columns : iterable of (name, dtype name, stored column)
        The columns in order.
    rows : int
        Number of rows.

    Returns
    -------
    str
        ``"v1:"`` and 64 hexadecimal digits, as the module describes.
    """
    hashes = [(name, digest_column(stored, dtype)) for name, dtype, stored in columns]
    frame = hashlib.sha256(_text("tablevault frame 1") + _u64(rows) + _u64(len(hashes)))
    for name, column in hashes:
        frame.update(_text(name) + column)
    return f"v1:{frame.hexdigest()}"


def digest_column(stored: StoredColumn, dtype: str) -> bytes:
    """Hash one column.

    Parameters
    ----------
    stored : StoredColumn
        The column in its stored form.
    dtype : str
        Name of its dtype.

    Returns
    -------
    bytes
        32 bytes, as the module describes.
    """
    rule = stored.form + "".join(
        f",{key}={json.dumps(stored.facts[key])}" for key in _RULE_FACTS if key in stored.facts
    )
    column = hashlib.sha256(_text(dtype) + _text(rule))
    _feed(column, stored.array)
    if stored.categories is not None:
        words = stored.categories
        if not stored.facts["ordered"]:
            words = StoredColumn(form=words.form, array=_ascending(words), facts=words.facts)
        column.update(digest_column(words, ""))
    return column.digest()


def _u64(number: int) -> bytes:
    """Format a number."""
    return number.to_bytes(8, "little")


def _text(text: str) -> bytes:
    """Escape text so that no two sequences of texts look alike."""
    encoded = text.encode("utf-8")
    return _u64(len(encoded)) + encoded


def _ascending(stored: StoredColumn) -> pa.Array:
    """Sort categories, whose order means nothing when they are unordered."""
    array = whole_array(stored.array)
    if pa.types.is_nested(array.type):
        keys = [tuple(row.values()) for row in array.to_pylist()]
        return array.take(pa.array(sorted(range(len(keys)), key=keys.__getitem__), pa.int64()))
    return array.take(pc.array_sort_indices(array))


def _feed(column: _Hash, array: pa.Array | pa.ChunkedArray) -> None:
    """Hash the node of an array."""
    array = plain_array(array)
    kind, feed_values = _layout(array.type)
    column.update(_text(kind) + _u64(len(array)))
    null = None
    if array.null_count and kind != "null":
        null = array.is_null().to_numpy(zero_copy_only=False)
        column.update(b"\x01" + np.packbits(~null, bitorder="little").tobytes())
    else:
        column.update(b"\x00")
    feed_values(column, array, null)


def plain_array(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Reduce the ways to say the same: chunks, dictionaries, extensions, widths of offsets."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain_array(whole_array(array).storage)
    if pa.types.is_dictionary(kind):
        return plain_array(array.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        array = array.cast(pa.large_string())
    elif pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.large_binary())
    elif pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        array = array.cast(pa.large_list(kind.value_field))
    elif pa.types.is_map(kind):
        return _list_of_map(whole_array(array))
    return whole_array(array)


def _list_of_map(array: pa.MapArray) -> pa.ListArray:
    """View a map as the list of structs that it is, for which alone Arrow has functions."""
    pairs = pa.StructArray.from_arrays([array.keys, array.items], names=["key", "value"])
    return pa.Array.from_buffers(
        pa.list_(pairs.type),
        len(array),
        array.buffers()[:2],
        array.null_count,
        array.offset,
        children=[pairs],
    )


_Feed = Callable[[_Hash, pa.Array, Any], None]


def _layout(kind: pa.DataType) -> tuple[str, _Feed]:  # noqa: PLR0911 - one line a kind
    """Return the name of a kind, and what hashes its values."""
    if pa.types.is_boolean(kind):
        return "bool", _feed_bits
    if pa.types.is_floating(kind):
        return f"float{kind.bit_width}", _feed_fixed
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return "bytes", _feed_bytes
    if pa.types.is_struct(kind):
        return "struct", _feed_struct
    if pa.types.is_null(kind):
        return "null", _feed_nothing
    if pa.types.is_nested(kind):
        return "list", _feed_list
    return f"fixed{kind.bit_width}", _feed_fixed


def _feed_nothing(_column: _Hash, _array: pa.Array, _null: Any) -> None:  # noqa: ANN401 - unused
    """Hash nothing: the length says all."""


def _feed_bits(column: _Hash, array: pa.Array, null: Any) -> None:  # noqa: ANN401 - mask or None
    """Hash booleans as bits."""
    bits = (array if null is None else array.fill_null(False)).to_numpy(zero_copy_only=False)
    column.update(np.packbits(bits, bitorder="little").tobytes())


def _feed_fixed(column: _Hash, array: pa.Array, null: Any) -> None:  # noqa: ANN401 - mask or None
    """Hash values of one width."""
    values = fixed_bytes(array)
    if null is not None:
        values = np.where(null[:, None], np.uint8(0), values)
    column.update(np.ascontiguousarray(values).data)


def fixed_bytes(array: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """View values of one width as bytes, a row each; every NaN as one."""
    width = array.type.bit_width // 8
    data = array.buffers()[1]
    if not len(array) or data is None:
        return np.zeros((len(array), width), dtype=np.uint8)
    start = array.offset * width
    values = np.frombuffer(data, dtype=np.uint8)[start : start + len(array) * width]
    if pa.types.is_floating(array.type):
        floats = values.view(f"<f{width}")
        if (nan := np.isnan(floats)).any():
            floats = np.where(nan, np.array(np.nan, dtype=floats.dtype), floats)
        values = floats.view(np.uint8)
    return values.reshape(len(array), width)


def _feed_bytes(column: _Hash, array: pa.Array, null: Any) -> None:  # noqa: ANN401 - mask or None
    """Hash lengths and bytes of text."""
    if not len(array):
        return
    offsets = _offsets(array)
    lengths = np.diff(offsets)
    if null is not None and lengths[null].any():
        array = array.fill_null("" if pa.types.is_large_string(array.type) else b"")
        offsets = _offsets(array)
        lengths = np.diff(offsets)
    column.update(lengths.data)
    data = array.buffers()[2]
    if data is not None:
        column.update(memoryview(data)[offsets[0] : offsets[-1]])


def _offsets(array: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """View the offsets of text."""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)
    return offsets[array.offset : array.offset + len(array) + 1]


def _feed_list(column: _Hash, array: pa.Array, _null: Any) -> None:  # noqa: ANN401 - unused
    """Hash lengths and items of lists and maps."""
    lengths = pc.list_value_length(array).cast(pa.int64()).fill_null(0)
    column.update(np.ascontiguousarray(lengths.to_numpy(zero_copy_only=False)).data)
    _feed(column, array.flatten())


def _feed_struct(column: _Hash, array: pa.Array, _null: Any) -> None:  # noqa: ANN401 - unused
    """Hash the fields of a struct."""
    for part, values in zip(array.type, array.flatten(), strict=True):
        column.update(_text(part.name))
        _feed(column, values)
