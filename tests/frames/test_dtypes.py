"""Names of dtypes, nullable columns, and names of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.dtypes import dtype_name, normalise_columns, nullable, parse_dtype


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
