"""Comparing frames: every dtype, nulls, columns that come and go, rows that move."""

from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.frame_diff import compare_frames
from tablevault.frames.parquet import FrameColumns, write_frame


@pytest.fixture
def compare(tmp_path):
    """Compare two frames as files."""

    def run(old, new, key=()):
        for name, frame in (("old", old), ("new", new)):
            with (tmp_path / name).open("wb") as sink:
                write_frame(frame, sink)
        return compare_frames(FrameColumns(tmp_path / "old"), FrameColumns(tmp_path / "new"), key)

    return run


def cells(diff):
    return [(row, *rest) for row, *rest in diff.changed.itertuples()]


def test_rows_are_known_by_their_key(compare):
    old = pd.DataFrame({"id": [1, 2, 3], "a": ["x", "y", "z"]})
    new = pd.DataFrame({"id": [3, 1, 4], "a": ["z", "w", "v"]})
    diff = compare(old, new, ["id"])
    assert diff.added["id"].tolist() == [4]
    assert diff.removed["id"].tolist() == [2]
    assert (diff.added.index.tolist(), diff.removed.index.tolist()) == ([2], [1])
    assert cells(diff) == [(1, "a", "x", "w")]
    assert diff.changed.index.name == "id"
    assert diff.is_reordered


def test_a_key_of_several_columns(compare):
    old = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "v": [1.0, 2.0, 3.0]})
    new = old.assign(v=[1.0, 2.5, 3.0])
    assert cells(compare(old, new, ["a", "b"])) == [((1, "y"), "v", 2.0, 2.5)]


def test_a_key_that_is_not_unique_is_not_used(compare):
    old = pd.DataFrame({"id": [1, 1], "a": ["x", "y"]})
    diff = compare(old, old.assign(a=["x", "z"]), ["id"])
    assert diff.key == ()
    assert cells(diff) == [(1, "a", "y", "z")]


def test_without_a_key_rows_are_known_by_content_and_place(compare):
    old = pd.DataFrame({"a": list("abcdef"), "b": [1, 2, 3, 4, 5, 6]})
    new = pd.DataFrame({"a": list("xabcdzf"), "b": [0, 1, 2, 3, 9, 5, 6]})
    diff = compare(old, new)
    assert diff.added.index.tolist() == [0]
    assert len(diff.removed) == 0
    assert cells(diff) == [(4, "b", 4, 9), (5, "a", "e", "z")]


def test_a_row_that_shares_no_cell_is_another_row(compare):
    old = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    diff = compare(old, pd.DataFrame({"a": ["x", "z"], "b": [1, 3]}))
    assert (diff.added["a"].tolist(), diff.removed["a"].tolist()) == (["z"], ["y"])
    assert len(diff.changed) == 0


def test_rows_that_moved_are_the_same_rows(compare):
    old = pd.DataFrame({"a": [1, 2, 3, 4]})
    diff = compare(old, pd.DataFrame({"a": [3, 4, 1, 2]}))
    assert (len(diff.added), len(diff.removed), len(diff.changed)) == (0, 0, 0)
    assert diff.is_reordered
    assert not diff.is_empty


def test_columns_come_and_go(compare):
    old = pd.DataFrame({"a": [1, 2], "b": [1, 2], "c": ["x", "y"]})
    new = pd.DataFrame({"a": [1, 2], "b": [1.0, 2.0], "d": [True, False]})
    diff = compare(old, new)
    assert dict(diff.columns_added) == {"d": "bool"}
    assert list(diff.columns_removed) == ["c"]
    assert dict(diff.columns_changed) == {"b": ("int64", "float64")}
    assert len(diff.changed) == 0


def test_columns_in_another_order_are_a_difference(compare):
    old = pd.DataFrame({"a": [1], "b": [2]})
    diff = compare(old, old[["b", "a"]])
    assert diff.is_reordered
    assert diff.cell_count == 0


VALUES = [
    (pd.array([1, None], "Int8"), pd.array([None, 1], "Int8")),
    (pd.array([0.0, None], "Float64"), pd.array([-0.0, 1.0], "Float64")),
    (pd.Series([0.5, np.nan]), pd.Series([np.nan, 0.5])),
    (pd.array([True, None], "boolean"), pd.array([None, False], "boolean")),
    (pd.array(["", None], "string"), pd.array([None, ""], "string")),
    (pd.Series([b"x", None], dtype=object), pd.Series([None, b"x"], dtype=object)),
    (pd.Series([[1], []], dtype=object), pd.Series([[], None], dtype=object)),
    (pd.Series([{"a": 1}, {"b": [2]}]), pd.Series([{"a": 2}, {"b": [3]}])),
    (pd.Series([1, "x"], dtype=object), pd.Series(["1", "y"], dtype=object)),
    (pd.Categorical(["x", "y"]), pd.Categorical(["y", "x"])),
    (
        pd.Series([decimal.Decimal("1.0"), None], dtype=object),
        pd.Series([decimal.Decimal("1.5"), decimal.Decimal(1)], dtype=object),
    ),
    (
        pd.Series([dt.date(2020, 1, 1), None], dtype=object),
        pd.Series([None, dt.date(2020, 1, 1)], dtype=object),
    ),
    (
        pd.Series(pd.to_datetime(["2020-01-01", None])),
        pd.Series(pd.to_datetime([None, "2020-01-01"])),
    ),
    (
        pd.Series(pd.to_datetime(["2020-01-01", None])).dt.tz_localize("Europe/Paris"),
        pd.Series(pd.to_datetime([None, "2020-01-01"])).dt.tz_localize("Europe/Paris"),
    ),
    (pd.Series(pd.to_timedelta([1, None], "s")), pd.Series(pd.to_timedelta([2, 1], "s"))),
    (pd.period_range("2020", periods=2, freq="M"), pd.period_range("2021", periods=2, freq="M")),
    (pd.interval_range(0, 2), pd.interval_range(1, 3)),
    (pd.Series([1j, 2j]), pd.Series([2j, 1j])),
]


@pytest.mark.parametrize(("old", "new"), VALUES)
def test_cells_of_every_dtype_are_compared(compare, old, new):
    key = {"id": [1, 2]}
    before, after = (pd.DataFrame({**key, "v": values}) for values in (old, new))
    diff = compare(before, after, ["id"])
    assert [row[:2] for row in cells(diff)] == [(1, "v"), (2, "v")]
    assert compare(before, before, ["id"]).is_empty
    assert compare(before, before).is_empty


def test_null_and_nan_are_not_the_same(compare):
    nan = pd.arrays.FloatingArray(np.array([np.nan]), np.array([False]))
    null = pd.arrays.FloatingArray(np.array([0.0]), np.array([True]))
    frames = [pd.DataFrame({"a": values}) for values in (nan, null)]
    assert len(compare(*frames).changed) == 1
    assert compare(frames[0], frames[0]).is_empty


def test_other_categories_are_a_difference_of_the_column(compare):
    old = pd.DataFrame({"a": pd.Categorical(["x"], ["x", "y"])})
    diff = compare(old, pd.DataFrame({"a": pd.Categorical(["x"], ["x", "z"])}))
    assert list(diff.columns_changed) == ["a"]
    assert len(diff.changed) == 0


def test_artifacts_and_objects_of_other_kinds_are_compared(compare):
    old = pd.DataFrame({"a": pd.Series([1, 2], dtype=object)})
    new = pd.DataFrame({"a": pd.Series([1, "2"], dtype=object)})
    assert cells(compare(old, new)) == [(1, "a", 2, "2")]


def test_empty_frames(compare):
    empty = pd.DataFrame({"a": pd.array([], "Int64")})
    full = pd.DataFrame({"a": pd.array([1], "Int64")})
    assert compare(empty, empty).is_empty
    assert len(compare(empty, full).added) == 1
    assert len(compare(full, empty).removed) == 1
    assert compare(full, empty).changed.columns.tolist() == ["column", "old", "new"]


def test_frames_without_a_common_column(compare):
    diff = compare(pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1]}))
    assert (list(diff.columns_added), list(diff.columns_removed)) == (["b"], ["a"])
    assert len(diff.removed) == 1


def test_many_equal_rows(compare):
    old = pd.DataFrame({"a": [0] * 1000})
    new = pd.DataFrame({"a": [0] * 500 + [1] + [0] * 499})
    assert cells(compare(old, new)) == [(500, "a", 0, 1)]


def test_a_file_that_is_no_dataframe_is_one_clear_error(tmp_path):
    (tmp_path / "x").write_bytes(b"PAR1 nothing")
    with pytest.raises(TVTableError, match="cannot be read"):
        FrameColumns(tmp_path / "x")


def test_the_head_of_what_changed_is_its_beginning(compare):
    old = pd.DataFrame({"id": range(50), "a": range(50), "b": range(50)})
    diff = compare(old, old.assign(a=old["a"] + 1, b=old["b"] + 1)[::-1], ["id"])
    for most in (0, 1, 7, 99, 100, 200):
        pd.testing.assert_frame_equal(diff.changed_head(most), diff.changed.head(most))
