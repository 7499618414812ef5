"""Names of dtypes, nullable columns, and names of columns."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.dtypes import dtype_name, infer, normalise_columns, nullable, parse_dtype


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("int8", "Int8"),
        ("int", "Int64"),
        ("uint", "UInt64"),
        ("uint16", "UInt16"),
        ("float", "Float64"),
        ("float32", "Float64"),
        ("Float32", "Float32"),
        ("bool", "boolean"),
        ("str", "string"),
        ("string", "string"),
        ("object", "object"),
        ("category", "category"),
        ("artifact_string", "artifact_string"),
        ("datetime64[ns]", "datetime64[ns]"),
        ("datetime64[us, Europe/Rome]", "datetime64[us, Europe/Rome]"),
        ("timedelta64[s]", "timedelta64[s]"),
        ("period[D]", "period[D]"),
        ("Period[D]", "period[D]"),
        ("Period[A]", "period[Y-DEC]"),
        ("datetime64[us,UTC]", "datetime64[us, UTC]"),
        ("interval[int64,both]", "interval[int64, both]"),
    ],
)
def test_a_declared_name_means_a_nullable_dtype(given: str, meant: str) -> None:
    assert dtype_name(parse_dtype(given)) == meant


@pytest.mark.parametrize(
    "name",
    ["", "Int65", "nonsense", "datetime64[ns, Nowhere/At]", "period[nope]", 3, None, "int64 "],
)
def test_an_unknown_name_is_refused_with_what_there_is(name: Any) -> None:
    with pytest.raises(TVTableError, match="unsupported dtype") as caught:
        parse_dtype(name)
    assert "Int64" in caught.value.hint


def test_a_near_miss_is_offered() -> None:
    with pytest.raises(TVTableError, match='Did you mean "boolean"'):
        parse_dtype("boolaen")


def test_numbers_and_text_become_nullable_and_the_rest_stays() -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2], dtype="int16"),
            "u": np.array([1, 2], dtype="uint8"),
            "f": [0.5, np.nan],
            "f4": np.array([0.5, 1], dtype="float32"),
            "b": [True, False],
            "s": np.array(["x", None], dtype=object),
            "o": np.array(["x", 1], dtype=object),
            "e": np.array([None, None], dtype=object),
            "c": pd.Categorical(["a", "b"]),
            "t": pd.to_datetime(["2024-01-01", None]),
            "z": np.array([1j, 2]),
            "n": pd.array([1, None], dtype="Int8"),
        }
    )
    before = frame.copy()
    made = nullable(frame)
    assert [dtype_name(dtype) for dtype in made.dtypes] == [
        "Int16", "UInt8", "Float64", "Float64", "boolean", "string", "object", "object",
        "category", dtype_name(frame["t"].dtype), "complex128", "Int8",
    ]  # fmt: skip
    assert made["f"][1] is pd.NA
    pd.testing.assert_frame_equal(frame, before)


def test_columns_get_unique_text_names() -> None:
    frame = pd.DataFrame([[1, 2, 3, 4, 5]], columns=["a", "a", "a.1", 7, ("x", 1)], index=[9])
    named = normalise_columns(frame)
    assert list(named.columns) == ["a", "a.2", "a.1", "7", "x.1"]
    assert list(named.index) == [0]
    assert list(frame.index) == [9]
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    assert list(normalise_columns(levels).columns) == ["a.b", "a.c"]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None, np.int8(3)], "Int64", [1, None, 3]),
        ([2**63], "UInt64", [2**63]),
        ([0, 2**64 - 1], "UInt64", [0, 2**64 - 1]),
        ([0, 2**64], "object", [0, 2**64]),
        ([-(2**63), 2**63 - 1], "Int64", [-(2**63), 2**63 - 1]),
        ([2**70, None], "object", [2**70, None]),
        ([-1, 2**63], "object", [-1, 2**63]),
        ([1, 0.5, float("nan")], "Float64", [1.0, 0.5, None]),
        ([True, None], "boolean", [True, None]),
        (["a", None, ""], "string", ["a", None, ""]),
        ([1, "a", None, True], "string", ["1", "a", None, "True"]),
        ([b"x", None], "object", [b"x", None]),
        ([Decimal("1.0")], "object", [Decimal("1.0")]),
        ([[1], None, {"a": 1}], "object", [[1], None, {"a": 1}]),
        ([[1], 2], "object", [[1], 2]),
        ([(1, 2), (3,)], "object", [(1, 2), (3,)]),
        ([None, float("nan"), pd.NA], "string", [None, None, None]),
        ([], "string", []),
    ],
)
def test_values_choose_their_dtype(values: list[Any], dtype: str, expected: list[Any]) -> None:
    made = infer(values, "x")
    assert (made.name, dtype_name(made.dtype)) == ("x", dtype)
    plain = [None if value is pd.NA else value for value in made]
    assert plain == expected


def test_times_get_their_own_dtypes() -> None:
    naive = infer([pd.Timestamp(2024, 1, 2).to_pydatetime(), None], "x")
    assert naive.dtype.kind == "M"
    assert naive[0] == pd.Timestamp("2024-01-02")
    zoned = infer([pd.Timestamp("2024-01-02", tz="UTC")], "x")
    assert str(zoned.dtype).endswith("UTC]")
    assert infer([dt.timedelta(seconds=1), None], "x").dtype.kind == "m"


def test_durations_in_days_are_durations() -> None:
    assert infer([np.timedelta64(1, "D"), None], "x")[0] == pd.Timedelta(1, "D")


def test_half_a_surrogate_pair_is_kept() -> None:
    assert infer(["a", "\ud800"], "x").tolist() == ["a", "\ud800"]


def test_a_series_keeps_what_it_is() -> None:
    kept = pd.Series(pd.Categorical(["a", None]), index=[4, 5])
    made = infer(kept, "x")
    assert made.dtype == kept.dtype
    assert list(made.index) == [0, 1]
    assert dtype_name(infer(pd.Series([1, 2]), "x").dtype) == "Int64"


@pytest.mark.parametrize(
    "values",
    [
        [2**53 + 1, 0.5],
        [np.int64(2**53 + 1), np.float64(0.5)],
        [0.5, -(2**63) + 1, None],
        [10**400, 0.5],
    ],
    ids=["int", "numpy", "negative", "huge"],
)
def test_whole_numbers_that_a_float_would_round_stay_what_they_are(values):
    made = infer(values, "c")
    assert made.dtype == object
    assert [repr(value) for value in made] == [repr(value) for value in values]


def test_whole_numbers_that_a_float_holds_become_floats_beside_floats():
    assert str(infer([2**53, 2**60, 0.5], "c").dtype) == "Float64"


def test_bytes_beside_text_stay_bytes():
    assert infer([b"x", "a"], "c").tolist() == [b"x", "a"]
