"""The table under construction: finished columns, and columns that grow."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault.engine.tables import TableDraft


@pytest.fixture
def draft():
    """Three rows of which none is finished."""
    made = TableDraft()
    made.set_rows(3)
    made.grow(["g"])
    return made


def test_a_finished_row_is_seen_at_once(draft):
    assert draft.lookup(("g",)).rows([1]) == ()
    assert draft.series("g").isna().all()
    draft.put(1, {"g": 1})
    assert draft.cell("g", 1) == 1
    assert draft.series("g").tolist()[1] == 1
    assert list(draft.lookup(("g",)).rows([1])) == [1]
    assert draft.frame(["g"], None)["g"].tolist()[1] == 1
    assert list(draft.matching([], [("g", 0, 5)])) == [1]
    draft.put(2, {"g": 1})
    assert list(draft.matching([], [("g", 0, 5)])) == [1, 2]
    assert draft.cells("g")[2] == 1


def test_a_column_that_grows_has_the_dtype_of_what_is_there(draft):
    def dtypes():
        return str(draft.frame(["g"], None)["g"].dtype), str(draft.frame(["g"], [0])["g"].dtype)

    assert dtypes() == ("string", "string")
    draft.put(0, {"g": 1})
    assert dtypes() == ("Int64", "Int64")
    draft.put(1, {"g": 1.5})
    assert dtypes() == ("Float64", "Float64")
    draft.put(2, {"g": "a"})
    assert dtypes() == ("string", "string")


def test_a_row_that_is_entered_again_counts_as_it_is_now(draft):
    draft.put(0, {"g": "a"})
    assert draft.frame(["g"], [0])["g"].dtype == "string"
    draft.put(0, {"g": 1})
    assert draft.frame(["g"], [0])["g"].dtype == "Int64"


def test_columns_stand_in_the_order_asked_for_while_one_grows(draft):
    draft.set_column("a", pd.Series([1, 2, 3], dtype="Int64"))
    assert list(draft.frame(["g", "a"], [1]).columns) == ["g", "a"]
    assert list(draft.frame(["a", "index", "g"], [0, 2]).columns) == ["a", "index", "g"]


def test_what_is_put_into_a_growing_column_is_not_shared(draft):
    value = [1]
    draft.put(0, {"g": value})
    draft.cell("g", 0).append(2)
    draft.frame(["g"], [0])["g"].iloc[0].append(3)
    assert draft.cell("g", 0) == [1]


def test_a_finished_column_no_longer_grows(draft):
    assert list(draft.growing) == ["g"]
    draft.set_column("g", pd.Series([1, 2, 3], dtype="Int64"))
    assert list(draft.growing) == []
    assert draft.names == ("g",)
