"""The dtype of a column that nobody declared."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault.frames.dtypes import dtype_name
from tablevault.frames.inference import infer


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
