"""The logical hash says what a frame means, and nothing about how it lies in memory."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault.frames.column_encoding import StoredColumn, encode_column
from tablevault.frames.digest import digest_column, digest_frame


def of_array(array: Any, **facts: Any) -> bytes:
    return digest_column(StoredColumn(form="arrow", array=array, facts=facts), "x")


def of_values(values: Any) -> bytes:
    return digest_column(encode_column(pd.Series(values), "c"), "x")


ARRAYS = {
    "int": pa.array([1, None, 3]),
    "float": pa.array([1.5, None, float("nan")]),
    "bool": pa.array([True, None, False]),
    "text": pa.array(["a", None, "ü"]),
    "list": pa.array([[1], None, [2, None]]),
    "fixed_list": pa.array([[1, 2], None, [2, None]], pa.list_(pa.int8(), 2)),
    "struct": pa.array([{"a": 1}, None, {"a": None}]),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int8())),
    "decimal": pa.array([1, None, 3]).cast(pa.decimal128(38)),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_slices_offsets_and_chunks_do_not_count(kind: str) -> None:
    array = ARRAYS[kind]
    whole = of_array(array)
    padded = pa.concat_arrays([array, array, array]).slice(3, 3)
    assert of_array(padded) == whole
    assert of_array(pa.chunked_array([array[:1], array[1:1], array[1:]])) == whole


@pytest.mark.parametrize("kind", ARRAYS)
def test_order_and_nulls_count(kind: str) -> None:
    array = ARRAYS[kind]
    hashes = {of_array(array.take(pa.array(o))) for o in ([0, 1, 2], [2, 1, 0], [0, 0, 2], [0, 1])}
    assert len(hashes) == 4


def test_garbage_under_nulls_does_not_count() -> None:
    mask = np.array([False, True])
    numbers = [pa.array(np.array([1, n]), mask=mask) for n in (0, 9)]
    assert of_array(numbers[0]) == of_array(numbers[1])
    bits = pa.array([True, False]).buffers()[1]
    valid = numbers[0].buffers()[0]
    text = pa.py_buffer(b"ab")
    hidden, empty = (
        pa.Array.from_buffers(
            pa.large_string(), 2, [valid, pa.py_buffer(np.array(ends, "i8").tobytes()), text]
        )
        for ends in ([0, 1, 2], [0, 1, 1])
    )
    assert of_array(hidden) == of_array(empty)
    ones = pa.Array.from_buffers(pa.bool_(), 2, [valid, pa.py_buffer(b"\x03")])
    assert of_array(ones) == of_array(pa.Array.from_buffers(pa.bool_(), 2, [valid, bits]))


def test_width_of_offsets_and_dictionaries_do_not_count() -> None:
    text = pa.array(["b", None, "a", "b"])
    same = [text, text.cast(pa.large_string()), text.dictionary_encode()]
    same.append(pa.DictionaryArray.from_arrays([1, None, 0, 1], ["a", "b", "unused"]))
    assert len({of_array(array) for array in same}) == 1


def test_order_of_unordered_categories_does_not_count() -> None:
    one, two = (pd.Categorical(["a", "b"], categories=c) for c in (["a", "b"], ["b", "a"]))
    assert of_values(one) == of_values(two)


def test_order_of_ordered_categories_and_unused_ones_count() -> None:
    kinds = [
        pd.Categorical(["a", "b"], categories=["a", "b"]),
        pd.Categorical(["a", "b"], categories=["a", "b", "c"]),
        pd.Categorical(["a", "b"], categories=["a", "b"], ordered=True),
        pd.Categorical(["a", "b"], categories=["b", "a"], ordered=True),
    ]
    assert len({of_values(kind) for kind in kinds}) == 4


def test_interval_categories_may_come_in_any_order() -> None:
    spans = pd.interval_range(0, 3)
    one, two = (pd.Categorical(spans, categories=spans[order]) for order in ([0, 1, 2], [2, 0, 1]))
    assert of_values(one) == of_values(two)


def test_all_nan_are_one_and_zeros_are_two() -> None:
    other = np.frombuffer(struct.pack("<Q", 0xFFF8000000000001), "f8")
    assert of_values(other) == of_values([np.nan])
    assert of_values([0.0]) != of_values([-0.0])


def test_nan_is_not_null() -> None:
    masked = pd.arrays.FloatingArray
    nan = masked(np.array([np.nan]), np.array([False]))
    assert of_values(nan) != of_values(masked(np.array([np.nan]), np.array([True])))


@pytest.mark.parametrize(
    "pair",
    [
        (["ab", "c"], ["a", "bc"]),
        (["", None], [None, ""]),
        ([["a"], []], [[], ["a"]]),
        ([None], ["None"]),
    ],
)
def test_borders_between_values_count(pair: tuple[list[Any], list[Any]]) -> None:
    one, two = (pd.Series(values, dtype=object) for values in pair)
    assert of_values(one) != of_values(two)


def test_names_dtypes_and_column_order_count() -> None:
    one, two = (encode_column(pd.Series([n]), "c") for n in (1, 2))
    frames = [
        [("a", "x", one), ("b", "x", two)],
        [("b", "x", two), ("a", "x", one)],
        [("a", "x", one), ("c", "x", two)],
        [("a", "x", one), ("b", "y", two)],
        [("a", "x", one)],
    ]
    assert len({digest_frame(columns, 1) for columns in frames}) == 5


def test_the_documented_form_gives_the_hash() -> None:
    def u64(n: int) -> bytes:
        return struct.pack("<Q", n)

    def text(s: str) -> bytes:
        return u64(len(s.encode())) + s.encode()

    numbers = text("Int64") + text("masked") + text("fixed64") + u64(3)
    numbers += b"\x01\x05" + struct.pack("<qqq", 7, 0, -1)
    words = text("string") + text("string") + text("bytes") + u64(3)
    words += b"\x00" + u64(1) + u64(0) + u64(2) + "aü".encode()
    expected = hashlib.sha256(text("tablevault frame 1") + u64(3) + u64(2))
    for name, column in (("n", numbers), ("w", words)):
        expected.update(text(name) + hashlib.sha256(column).digest())
    stored = [
        ("n", "Int64", encode_column(pd.Series([7, None, -1], dtype="Int64"), "n")),
        ("w", "string", encode_column(pd.Series(["a", "", "ü"], dtype="string"), "w")),
    ]
    assert digest_frame(stored, 3) == "v1:" + expected.hexdigest()


def test_the_hash_of_version_1_never_changes() -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2], "i8"),
            "f": [0.5, np.nan],
            "b": [True, False],
            "t": np.array([0, "NaT"], "M8[us]"),
            "k": pd.Categorical(pd.array(["x", None], dtype="string")),
            "o": pd.Series([{"a": 1}, (2,)], dtype=object),
            "l": pd.Series([[1], None], dtype=object),
        }
    )
    stored = [(str(name), str(v.dtype), encode_column(v, str(name))) for name, v in frame.items()]
    assert (
        digest_frame(stored, 2)
        == "v1:d7d1e24116d9e1fab0749a5da330cbd409a722f02bfea69846aebc21be2a8a58"
    )
