"""Kept rows keep their values, and all values together decide the dtype."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.builder import parse_builder
from tablevault.engine.keep_old import with_old_rows
from tablevault.engine.resolve_fields import settled
from tablevault.engine.tables import RunTables
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.inference import infer

INDEX = """builder_type: IndexBuilder
changed_columns: [k, v]
primary_key: {key}
python_function: f
code_module: m
arguments: {{}}
keep_old: true
"""


@pytest.fixture
def keep(inputs):
    """Join one earlier row with new ones, as an execution does."""

    def keep(old: Any, new: Any, dtype: str | None = None, key: str = "[]") -> pd.Series:
        builder = parse_builder("t_index", INDEX.format(key=key), table="t")
        index = settled(builder, RunTables(inputs), {})
        earlier, frame = (
            pd.DataFrame({"k": infer(range(at, at + len(values)), "k"), "v": typed(values, dtype)})
            for at, values in ((0, old), (100, new))
        )
        return with_old_rows(frame, earlier, index, {"v": dtype} if dtype else {})["v"]

    return keep


def typed(values: Any, dtype: str | None) -> pd.Series:
    if isinstance(values, pd.Series):
        return values
    return infer(values, "v") if dtype is None else cast(pd.Series(values, dtype=object), dtype)


@pytest.mark.parametrize(
    ("old", "new", "dtype"),
    [
        ([5], [None], "Int64"),
        ([5], [], "Int64"),
        ([None], [5], "Int64"),
        ([1.5], [3], "Float64"),
        ([3], [1.5], "Float64"),
        ([True], [None], "boolean"),
        ([5], [2**63], "UInt64"),
        ([-5], [2**63], "object"),
        ([2**53 + 1], [0.5], "object"),
        ([0.5], [2**53 + 1], "object"),
        (["a"], [None], "string"),
        ([[1]], [None], "object"),
        ([[1]], [[2]], "object"),
        ([dt.date(2026, 1, 5)], [None], "object"),
        ([Decimal("1.10")], [Decimal("2.5")], "object"),
    ],
)
def test_values_stay_and_decide_the_dtype_together(keep, old, new, dtype):
    made = keep(old, new)
    assert str(made.dtype) == dtype
    found = [None if value is None or value is pd.NA else value for value in made]
    assert found == [*old, *new]


def test_values_of_several_kinds_become_text_as_if_all_were_made_at_once(keep):
    assert keep([5], ["x"]).tolist() == ["5", "x"]


@pytest.mark.parametrize("units", [("s", "ns"), ("ns", "us")])
def test_times_keep_every_digit(keep, units):
    old, new = (
        pd.Series(np.array(["2026-01-05T09:41:00"], f"M8[{unit}]") + np.timedelta64(1, unit))
        for unit in units
    )
    assert keep(old, new).tolist() == [old[0], new[0]]


def test_times_in_two_zones_keep_theirs(keep):
    old = pd.Series([pd.Timestamp("2026-01-05", tz="UTC")])
    new = pd.Series([pd.Timestamp("2026-01-05", tz="Europe/Rome")])
    assert keep(old, new).tolist() == [old[0], new[0]]


def test_categories_of_both_stay(keep):
    old, new = (pd.Series([text], dtype="category") for text in ("old", "new"))
    for dtype in (None, "category"):
        made = keep(old, new, dtype)
        assert (str(made.dtype), made.tolist()) == ("category", ["old", "new"])


def test_a_declared_dtype_decides_alone(keep):
    assert keep([5], ["x"], "string").tolist() == ["5", "x"]
    with pytest.raises(TVTableError, match="an earlier row does not fit"):
        keep(pd.Series(["x"], dtype="string"), [5], "Int64")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1.5, 3.0], [3], [1.5, 3.0]),
        ([1, 2], [], [1, 2]),
        ([2**53 + 1], [0.5], [2**53 + 1, 0.5]),
    ],
)
def test_keys_are_compared_as_all_values_together_have_them(inputs, old, new, expected):
    builder = parse_builder("t_index", INDEX.format(key="[k]"), table="t")
    index = settled(builder, RunTables(inputs), {})
    earlier, frame = (
        pd.DataFrame({"k": infer(values, "k"), "v": infer(values, "v")}) for values in (old, new)
    )
    made = with_old_rows(frame, earlier, index, {})
    assert made["k"].tolist() == made["v"].tolist() == expected
