"""Casts lose nothing, or name the value that does not fit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.casting import cast


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["1", " 2 ", None, "3.0"], "Int64", [1, 2, pd.NA, 3]),
        (["7", "-12", "007", "9" * 18], "Int64", [7, -12, 7, 10**18 - 1]),
        (["7", "9" * 19], "UInt64", [7, 10**19 - 1]),
        ([2**62 + 1, None], "Int64", [2**62 + 1, pd.NA]),
        ([str(2**63 + 1)], "UInt64", [2**63 + 1]),
        ([1.0, np.nan], "Int8", [1, pd.NA]),
        ([True, False], "Int64", [1, 0]),
        ([Decimal("2.5"), "3e2", 4], "Float64", [2.5, 300.0, 4.0]),
        (["true", "False", 1, 0.0, None], "boolean", [True, False, True, False, pd.NA]),
        ([1, "a", True, None], "string", ["1", "a", "True", pd.NA]),
        (["b", None, "a"], "category", ["b", np.nan, "a"]),
        (["a.txt", None], "artifact_string", ["a.txt", pd.NA]),
        (["2024-01-02"], "datetime64[s]", [pd.Timestamp("2024-01-02")]),
        (["2024-01-02"], "datetime64[ns, UTC]", [pd.Timestamp("2024-01-02", tz="UTC")]),
        (["2024-01", None], "period[M]", [pd.Period("2024-01", "M"), pd.NaT]),
        ([[1], {"a": 1}, None], "object", [[1], {"a": 1}, None]),
        ([], "Int64", []),
        ([None, None], "Float64", [pd.NA, pd.NA]),
    ],
)
def test_what_fits_is_cast(values: list[Any], dtype: str, expected: list[Any]) -> None:
    given = pd.Series(values, dtype=object, name="x", index=range(5, 5 + len(values)))
    before = given.copy()
    made = cast(given, dtype)
    assert made.name == "x"
    assert list(made.index) == list(range(len(values)))
    for one, other in zip(made.tolist(), expected, strict=True):
        assert (pd.isna(one) is True and pd.isna(other)) or one == other
    pd.testing.assert_series_equal(given, before)


@pytest.mark.parametrize(
    ("values", "dtype", "row"),
    [
        ([1, 1.5], "Int64", 1),
        ([300], "Int8", 0),
        ([None, None, "abc"], "Int64", 2),
        (["1.5"], "Int64", 0),
        (["1", "9" * 19], "Int64", 1),
        (["1", "0x1F"], "Int64", 1),
        ([-1], "UInt8", 0),
        ([2**64], "UInt64", 0),
        ([2**53 + 1], "Float64", 0),
        (["x"], "Float64", 0),
        ([1e300], "Float32", 0),
        (["maybe"], "boolean", 0),
        ([2], "boolean", 0),
        ([[1]], "string", 0),
        ([None, 3], "artifact_string", 1),
        (["2024-01-02", "yesterday"], "datetime64[ns]", 1),
        (["nope"], "period[D]", 0),
        ([float("inf")], "Int64", 0),
        ([{}], "Int64", 0),
        (["1", "1e400000000"], "Int64", 1),
        (["2024-01-02T00:00:00.1", "2024-01-02T00:00:00.0000001"], "datetime64[us]", 1),
        (["2024-01-02T00:00:00.1"], "datetime64[s, UTC]", 0),
        (["2024-01-02", "2024-01-02T00:00:00+02:00"], "datetime64[ns]", 1),
        ([pd.Timedelta(1, "s"), pd.Timedelta(1, "ms")], "timedelta64[s]", 1),
        ([1], "period[D]", 0),
        (["a", "\ud800"], "string", 1),
    ],
)
def test_what_does_not_fit_is_named(values: list[Any], dtype: str, row: int) -> None:
    with pytest.raises(TVTableError) as caught:
        cast(pd.Series(values, dtype=object, name="score"), dtype)
    assert '"score"' in str(caught.value)
    assert f"row {row}:" in str(caught.value)
    assert dtype in str(caught.value)
    assert caught.value.row == row


def test_a_cast_to_a_coarser_unit_loses_nothing() -> None:
    times = pd.Series(np.array([1_000, "NaT", 5_000], "M8[ms]"))
    assert cast(times, "datetime64[s]").tolist() == times.tolist()
    with pytest.raises(TVTableError, match="row 2"):
        cast(times + pd.to_timedelta([0, 0, 1], unit="ms"), "datetime64[s]")


def test_numbers_are_no_periods() -> None:
    with pytest.raises(TVTableError, match=r"row 0: .*2024"):
        cast(pd.Series([2024]), "period[D]")


@pytest.mark.parametrize("dtype", ["interval", "period[D]", "datetime64[s]", "timedelta64[ns]"])
def test_missing_values_of_every_sort_stay_missing(dtype: str) -> None:
    values = pd.Series([None, float("nan"), pd.NA, pd.NaT], dtype=object)
    assert cast(values, dtype).isna().all()


def test_the_first_of_many_misfits_is_found_by_halving() -> None:
    texts = pd.Series(["2024-01-02"] * 100_000, dtype=object)
    texts[[70_001, 90_000]] = "soon"
    with pytest.raises(TVTableError, match="row 70001"):
        cast(texts, "datetime64[s]")


def test_a_long_value_is_shown_cut() -> None:
    with pytest.raises(TVTableError) as caught:
        cast(pd.Series(["x" * 1000], name="score"), "Int64")
    assert len(str(caught.value)) < 250


def test_numbers_are_cast_without_looking_at_each() -> None:
    made = cast(pd.Series(np.arange(1_000_000, dtype="int32")), "Int64")
    assert made.dtype == "Int64"
    assert int(made.sum()) == 499999500000


@pytest.mark.parametrize("source", ["int64", "uint64", "Int64", "UInt64"])
def test_a_column_of_whole_numbers_loses_no_digits(source: str) -> None:
    made = cast(pd.Series([0, 2**53], dtype=source, name="x"), "Float64")
    assert (str(made.dtype), made.tolist()) == ("Float64", [0.0, float(2**53)])
    with pytest.raises(TVTableError, match=r"9007199254740993.*row 1|row 1.*9007199254740993"):
        cast(pd.Series([0, 2**53 + 1], dtype=source, name="x"), "Float64")


@pytest.mark.parametrize("dtype", ["datetime64[s]", "datetime64[s, UTC]", "timedelta64[s]"])
@pytest.mark.parametrize("source", ["object", "Int64"])
def test_a_whole_number_counts_the_unit_of_a_dtype_of_times(source, dtype):
    made = cast(pd.Series([1767606060, None], dtype=source), dtype)
    count = pd.Timedelta(seconds=1767606060)
    epoch = pd.Timestamp(0, tz="UTC" if "UTC" in dtype else None)
    assert made[0] == (count if dtype[0] == "t" else epoch + count)
    assert made[1] is pd.NaT


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, "datetime64[ns]"),
        (True, "datetime64[ns]"),
        (0.1, "timedelta64[s]"),
        (2**70, "timedelta64[s]"),
        ("now", "datetime64[ns]"),
        ("today", "datetime64[ns, UTC]"),
        ("5", "timedelta64[ns]"),
        ("2026-01", "timedelta64[ns]"),
        (b"5", "Int64"),
        (b"1.5", "Float64"),
        (b"x", "string"),
        ("1_000", "Int64"),
        ("1_000.5", "Float64"),
        (Decimal(2**53 + 1), "Float64"),
        (Decimal("1e400"), "Float64"),
        ("9007199254740993", "Float64"),
        (2**24 + 1, "Float32"),
    ],
)
def test_no_value_is_guessed_or_cut(value, dtype):
    with pytest.raises(TVTableError, match="does not fit"):
        cast(pd.Series([value], dtype=object), dtype)


@pytest.mark.parametrize("text", ["1 day", "P1D", "24:00:00", "86400s", "1440 min"])
def test_a_duration_says_its_unit(text):
    assert cast(pd.Series([text], dtype=object), "timedelta64[s]")[0] == pd.Timedelta(days=1)


def test_a_misfit_among_many_rows_is_named() -> None:
    values: list[object] = ["1"] * 70_000
    assert cast(pd.Series(values), "Int64").tolist() == [1] * 70_000
    values[66_000] = "x"
    with pytest.raises(TVTableError, match="row 66000"):
        cast(pd.Series(values), "Int64")
