"""A table as references read it: fetched once, indexed once, and never shared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.references import View, evaluate, parse_template

COLUMNS = {
    "i": pd.array([1, 2, None, 4], dtype="Int64"),
    "f": np.array([0.5, 1.5, 2.5, 3.5]),
    "s": pd.Series(["a", "b", None, "d"], dtype="string"),
    "l": pd.Series([[1], [2], [3], [4]], dtype=object),
}


@pytest.fixture
def view():
    frame = pd.DataFrame(COLUMNS)
    return View(tuple(COLUMNS), lambda names: frame[list(names)])


@pytest.mark.parametrize("rows", [None, [1], [1, 2], [0, 1, 2, 3], [0, 2], [3, 0]])
def test_a_frame_shares_no_memory_with_its_table(view, rows):
    frame = view.frame(["i", "f", "l"], rows)
    assert not np.shares_memory(frame["i"].array._data, view.series("i").array._data)
    assert not np.shares_memory(frame["i"].array._mask, view.series("i").array._mask)
    assert not np.shares_memory(frame["f"].to_numpy(), view.series("f").to_numpy())
    frame["l"].iloc[0].append(0)
    assert view.series("l").tolist() == [[1], [2], [3], [4]]


@pytest.mark.parametrize("rows", [[1], [1, 2], [0, 2], [3, 0]])
def test_a_frame_of_rows_keeps_their_positions_and_dtypes(view, rows):
    frame = view.frame(["s", "i", "index", "s"], rows)
    assert list(frame.index) == rows
    assert frame["index"].tolist() == rows
    assert list(frame.columns) == ["s", "i", "index"]
    assert frame["i"].dtype == "Int64"
    assert isinstance(frame["s"].dtype, pd.StringDtype)


@pytest.mark.parametrize(
    ("column", "plain"), [("i", True), ("f", True), ("s", True), ("l", False), ("index", True)]
)
def test_only_a_column_that_nobody_can_change_is_plain(view, column, plain):
    assert view.is_plain(column) is plain


@pytest.mark.parametrize("dtype", ["string", "Int64", "object"])
def test_cells_in_order_are_those_of_the_column(dtype):
    values = pd.Series([None if n % 7 == 0 else n for n in range(10_000)], dtype="Int64")
    view = View(("a",), lambda _: values.astype(dtype).to_frame("a"))
    cell = view.in_order("a")
    rows = [0, 1, 4095, 4096, 9_999, 7, 8_191, 8_192]
    assert [cell(row) for row in rows] == [view.cells("a")[row] for row in rows]
    with pytest.raises(IndexError):
        cell(10_000)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("c::1:3", [0, 1, 2, 4, 5, 6]),
        ("c::1:3,index::1:5", [1, 2, 4]),
        ("c::1:3,index::5", [5]),
        ("c::1:3,index::2:90", [2, 4, 5, 6]),
        ("c::3:9,d::0:2", [3, 7]),
        ("d::0:2,c::0:9", [0, 2, 3, 4, 6, 7]),
        ("c::9:1", None),
    ],
)
def test_ranges_give_rows_in_order_however_often_they_are_asked(conditions, expected):
    frame = pd.DataFrame(
        {
            "c": pd.array([2, 1, 1, 3, 2, 1, 2, 3] + [None, 99] * 50, dtype="Int64"),
            "d": pd.array([1, 2, 0, 1, 1, 7, 1, 0] + [50, None] * 50, dtype="Int64"),
        }
    )

    class Tables:
        view_ = View(("c", "d"), lambda names: frame[list(names)])

        def view(self, table, selector):
            return self.view_

    template, tables = parse_template(f"<<t.index[{conditions}]>>"), Tables()
    for _ in range(3):
        found = evaluate(template, tables)
        assert (found if isinstance(found, list | None) else [found]) == expected


def test_values_come_from_one_pass_however_many_rows_ask():
    asked = []
    frame = pd.DataFrame({"c": pd.array(range(1000), dtype="Int64")})

    def fetch(names):
        asked.append(tuple(names))
        return frame[list(names)]

    class Tables:
        view_ = View(("c",), fetch)

        def view(self, table, selector):
            return self.view_

    template = parse_template("<<t.c[c::<<t.c[index]>>]>>")
    tables = Tables()
    assert [evaluate(template, tables, row) for row in range(1000)] == list(range(1000))
    assert asked == [("c",)]
    lookup = tables.view_.lookup(("c",))
    assert tables.view_.lookup(("c",)) is lookup
