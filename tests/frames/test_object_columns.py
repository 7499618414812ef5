"""Python objects come back as the same objects, or are refused by name."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.object_columns import decode_objects, encode_objects, objects_of

NAN = float("nan")

ID = uuid.UUID("12345678123456781234567812345678")

BERLIN = ZoneInfo("Europe/Berlin")


def same(a: Any, b: Any) -> bool:
    """Compare type and value, NaN equal to itself and -0.0 unequal to 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and same(a.tolist(), b.tolist())
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, set | frozenset):
        return bool(a == b)
    return bool(a == b) if type(a) is int else repr(a) == repr(b)


NATIVE: dict[str, list[Any]] = {
    "text": ["a", None, "ü\0"],
    "bytes": [b"a", None, b"\0"],
    "bool": [True, None, False],
    "int": [1, None, -(2**63)],
    "float": [1.5, None, NAN, -0.0, math.inf],
    "decimal": [Decimal("1.20"), None, Decimal("-3.00")],
    "uuid": [ID, None],
    "date": [dt.date.min, None, dt.date.max],
    "time": [dt.time(1, 2, 3, 4), None, dt.time.max],
    "datetime": [dt.datetime.min, None, dt.datetime.max],  # noqa: DTZ901 - naive is the case
    "timedelta": [dt.timedelta(1, 2, 3), None, dt.timedelta(-1)],
    "list": [["a", None], [], None],
    "vector": [np.array([1.5], "f4"), np.array([], "f4"), None],
}

TAGGED: dict[str, list[Any]] = {
    "none_beside_nan": ["a", None, NAN],
    "mixed": [1, "a", 1.0, True, None],
    "huge_int": [2**64, -(10**5000)],
    "decimals_of_two_scales": [Decimal("1.2"), Decimal("1.20")],
    "decimal_specials": [Decimal("NaN"), Decimal("-0"), Decimal("1E+9"), Decimal("Infinity")],
    "lists_of_two_types": [[1, 1.0], []],
    "nested": [[[1], {"a": [(2, {3})]}]],
    "tuple": [(1, ("a",)), ()],
    "dict": [{"a": 1}, {}, {"$tuple": 1}, {"$dict": 1, "b": 2}, {1: "x", (2,): None}],
    "set": [{1, "a"}, set(), frozenset([(1, 2)])],
    "arrays": [np.array([[1, 2]]), np.array(["a"]), np.array([1, None], object), np.array(5)],
    "array_of_dates": [np.array(["2020", "NaT"], "M8[D]"), np.array([True])],
    "numpy_scalars": [np.int8(1), np.float32(0.1), np.bool_(True), np.complex64(1j), np.str_("a")],
    "numpy_times": [np.datetime64("2020", "h"), np.timedelta64(5, "ns"), np.bytes_(b"a")],
    "zones": [dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)],
    "offsets": [dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=-3), "X")), dt.UTC],
    "fold": [dt.datetime(2020, 10, 25, 2, 30, fold=1)],  # noqa: DTZ001 - naive is the case
    "extreme_timedelta": [dt.timedelta.max, dt.timedelta.min],
    "timestamps": [pd.Timestamp("2020"), pd.Timestamp("2020", tz=BERLIN), pd.NaT],
    "pandas": [pd.Timedelta(5), pd.Period("2020", "M"), pd.Interval(0, 1.5, "both"), pd.NA],
    "binary": [bytearray(b"a"), b"a", complex(1, -0.0)],
    "lone_surrogate": ["\ud800", "a", None],
    "two_sorts_of_missing": [None, pd.NA],
}


@pytest.mark.parametrize("form", NATIVE)
def test_values_of_one_type_take_the_arrow_type_of_that_name(form: str) -> None:
    stored = encode_objects(objects_of(NATIVE[form]), "c")
    assert stored.form == form
    assert same(decode_objects(stored).tolist(), NATIVE[form])


@pytest.mark.parametrize("case", TAGGED)
def test_all_other_values_come_back_through_json(case: str) -> None:
    stored = encode_objects(objects_of(TAGGED[case]), "c")
    assert stored.form == "json"
    assert same(decode_objects(stored).tolist(), TAGGED[case])


@pytest.mark.parametrize("missing", [None, NAN, pd.NA, pd.NaT], ids=str)
def test_one_sort_of_missing_value_is_a_null_and_comes_back_as_itself(missing: object) -> None:
    stored = encode_objects(objects_of(["a", missing]), "c")
    assert stored.array.to_pylist() == ["a", None]
    assert same(decode_objects(stored).tolist(), ["a", missing])


@pytest.mark.parametrize("missing", [None, NAN, pd.NA, pd.NaT], ids=str)
def test_a_column_of_missing_values_only_comes_back(missing: object) -> None:
    stored = encode_objects(objects_of([missing] * 3), "c")
    assert same(decode_objects(stored).tolist(), [missing] * 3)


def test_arrays_come_back_writable() -> None:
    for values in ([np.array([1.0])], [np.array([[1.0]])]):
        back = decode_objects(encode_objects(objects_of(values), "c"))[0]
        back[...] = 2


def test_encoding_leaves_the_values_alone() -> None:
    values = objects_of(["a", None, NAN])
    encode_objects(values, "c")
    assert same(values.tolist(), ["a", None, NAN])


class Arbitrary:
    pass


def test_an_arbitrary_value_is_refused_by_column_row_and_type() -> None:
    with pytest.raises(TVTableError) as caught:
        encode_objects(objects_of([1, [Arbitrary()]]), "price")
    assert (caught.value.column, caught.value.row, caught.value.type) == ("price", 1, "Arbitrary")
    assert "Store text" in caught.value.hint


def test_a_container_of_itself_is_refused() -> None:
    looped: list[object] = []
    looped.append({"a": (looped,)})
    with pytest.raises(TVTableError, match="contains itself"):
        encode_objects(objects_of([looped]), "c")


@pytest.mark.parametrize("value", [np.longdouble(1), np.zeros(1, "g"), pd.Series([1]), object])
def test_values_without_a_portable_form_are_refused(value: object) -> None:
    with pytest.raises(TVTableError, match='Column "c", row 0'):
        encode_objects(objects_of([value]), "c")


def test_lists_of_text_are_readable_by_any_reader() -> None:
    stored = encode_objects(objects_of([["a"], ["b", None]]), "c")
    assert stored.array.type == pa.large_list(pa.large_string())
