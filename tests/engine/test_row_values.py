from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.row_values import RowResults, where
from tablevault.frames.dtypes import infer


def test_rows_that_are_entered_come_back():
    made = RowResults(("a", "b"), 4)
    made.put(2, ("x", [1, 2]))
    made.put_columns(where(np.array([True, False, False, True])), [["y", "z"], [None, [3]]])
    assert [made[row] for row in (0, 2, 3)] == [("y", None), ("x", [1, 2]), ("z", [3])]
    assert len(made) == 3
    columns = made.columns()
    assert columns["a"].tolist() == ["y", pd.NA, "x", "z"]
    assert columns["b"].tolist() == [None, None, [1, 2], [3]]


MANY = 40_000
CELLS = {
    "text": lambda row: f"text {row}",
    "text and null": lambda row: None if row % 3 else f"text {row}",
    "null": lambda row: None,
    "a number at last": lambda row: row if row == MANY - 1 else "text",
    "numbers": lambda row: row,
    "half a surrogate pair": lambda row: "\ud800" if row == 7 else "text",
    "lists": lambda row: [row],
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("rows", [range(MANY), range(MANY)[::-1], (*range(9, MANY), *range(9))])
def test_a_column_is_what_objects_would_have_given(cell, rows):
    made = RowResults(("a",), MANY)
    for row in rows:
        made.put(row, (cell(row),))
    objects = pd.Series([cell(row) for row in range(MANY)], dtype=object)
    assert made[5] == (cell(5),)
    pd.testing.assert_series_equal(infer(made.columns()["a"], "a"), infer(objects, "a"))


def test_a_row_can_be_entered_again():
    made = RowResults(("a",), MANY)
    for row in (*range(MANY), 0):
        made.put(row, ("again" if made.there[row] else "first",))
    assert made.columns()["a"].tolist() == ["again", *["first"] * (MANY - 1)]


def test_text_stays_objects_where_another_dtype_is_declared():
    made = RowResults(("a",), 2, {"a": "Int64"})
    made.put_columns([0, 1], [["1", None]])
    assert made.columns()["a"].tolist() == ["1", None]


def test_a_row_that_is_dropped_has_no_result():
    made = RowResults(("a",), 2)
    made.put(0, (1,))
    made.put(1, (2,))
    made.drop({1})
    assert made.there.tolist() == [True, False]


def test_values_are_of_as_many_columns_as_there_are():
    with pytest.raises(ValueError, match="zip"):
        RowResults(("a", "b"), 1).put(0, (1,))


def test_rows_of_a_mask_are_numbers_of_python():
    rows = where(np.array([False, True, True]))
    assert list(rows) == [1, 2]
    assert {type(row) for row in rows} == {int}
