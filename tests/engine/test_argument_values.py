"""Arguments of builders, evaluated for one call after the other."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault.engine.argument_values import Grower, compile_arguments
from tablevault.engine.tables import RunTables
from tablevault.errors import TableReferenceError, TVBuilderError


@pytest.fixture
def tables(inputs):
    made = RunTables(inputs)
    made.draft.set_rows(3)
    made.draft.set_column("k", pd.Series(["Ann", "Bob", "Zed"], dtype="string"))
    made.draft.set_column("t", pd.Series(["x", 1, "y"], dtype=object))
    made.draft.grow(["own"])
    return made


def compiled(arguments, tables):
    node = Grower("b").node(arguments, "arguments")
    return compile_arguments(node, tables, builder="b")


def test_each_call_gets_arguments_of_its_own(tables):
    call = compiled({"a": [1], "b": {"c": [], "d": "<<self.k[index]>>"}, "e": "x"}, tables)
    first = call(0)
    assert first == {"a": [1], "b": {"c": [], "d": "Ann"}, "e": "x"}
    first["a"].append(2)
    first["b"]["c"].append(3)
    first["b"]["z"] = 4
    first.clear()
    assert call(1) == {"a": [1], "b": {"c": [], "d": "Bob"}, "e": "x"}


def test_arguments_stand_in_the_order_written(tables):
    call = compiled({"z": "<<self.k[index]>>", "a": 1, "m": ["<<self.index>>"]}, tables)
    assert list(call(0)) == ["z", "a", "m"]


def test_finished_rows_are_seen_by_the_next(tables):
    call = compiled({"x": "<<self.own[index::0]>>", "y": "so far <<self.own[index::0]>>"}, tables)
    assert call(0) == {"x": None, "y": "so far None"}
    tables.draft.put(0, {"own": 7})
    assert call(1) == {"x": 7, "y": "so far 7"}


def test_without_a_row_only_what_needs_none_is_evaluated(tables):
    assert compiled({"x": "<<people.name[id::1]>>"}, tables)(None) == {"x": "Ann"}
    with pytest.raises(TableReferenceError, match="no current row"):
        compiled({"x": "<<self.k[index]>>"}, tables)(None)


def test_names_from_references_have_to_be_text(tables):
    call = compiled({"<<self.t[index]>>": 1}, tables)
    assert call(0) == {"x": 1}
    with pytest.raises(TVBuilderError, match=r'"b".*arguments is 1'):
        call(1)
    assert call(2) == {"y": 1}
    with pytest.raises(TVBuilderError, match=r'"b".*arguments is 5'):
        compiled({5: 1}, tables)(0)


def test_nothing_is_read_before_the_first_call(tables, inputs):
    call = compiled({"x": "<<people.name[id::<<self.index>>]>>"}, tables)
    assert inputs.asked == []
    assert [call(row)["x"] for row in range(3)] == [None, "Ann", "Bob"]
    assert sorted(inputs.asked) == [("people", ("id",)), ("people", ("name",))]


def test_an_error_of_one_row_leaves_the_others(tables):
    call = compiled({"x": "<<people.name[id::<<self.t[index]>>]>>"}, tables)
    with pytest.raises(TableReferenceError, match="has to be a number") as caught:
        call(0)
    assert (caught.value.builder, caught.value.field) == ("b", "arguments.x")
    assert call(1) == {"x": "Ann"}
