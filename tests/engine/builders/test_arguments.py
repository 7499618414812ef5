"""Arguments of builders, evaluated for one call after the other."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from tablevault.engine.builders.arguments import NodeParser, compile_arguments, unset_variables
from tablevault.engine.builders.builder import parse_builder, parse_recorded
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
    node = NodeParser("b").node(arguments, "arguments")
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


FIELDS = {
    "builder_type": "ColumnBuilder",
    "changed_columns": ["x"],
    "python_function": "f",
    "code_module": "work",
    "is_custom": True,
    "return_type": "row-wise",
}


def builder(**fields):
    return yaml.safe_dump(FIELDS | {"arguments": {}} | fields)


def test_it_may_stand_in_values_of_arguments_however_deep():
    arguments = {"a": "~ENV:A_1~", "b": [{"c": "x ~ENV:B~, ~ENV:A_1~ <<self.id[index]>> ~ENV:C~"}]}
    found = parse_builder("x", builder(arguments=arguments), table="t")
    assert unset_variables(found.arguments) == ["A_1", "B", "C"]


def test_variables_that_are_set_are_not_named(monkeypatch):
    monkeypatch.setenv("A_1", "")
    found = parse_builder("x", builder(arguments={"a": "~ENV:A_1~", "b": "~ENV:B~"}), table="t")
    assert unset_variables(found.arguments) == ["B"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("python_function", "~ENV:A~"),
        ("code_module", "~ENV:A~"),
        ("changed_columns", ["x", "~ENV:A~"]),
        ("dtypes", {"x": "~ENV:A~"}),
        ("code_version", "v ~ENV:A~"),
        ("arguments", {"~ENV:A~": 1}),
        ("arguments", {"a": [{"~ENV:A~": 1}]}),
        ("arguments", {"a": "<<self.id[index]>>", "~ENV:A~ <<self.id>>": 1}),
    ],
)
def test_it_is_refused_elsewhere(field, value):
    with pytest.raises(TVBuilderError) as caught:
        parse_builder("x", builder(**{field: value}), table="t")
    assert str(caught.value) == (
        f'Builder "x": "~ENV:A~" in field {field} names no environment variable that can be read '
        "there. It can be a value in arguments, or a part of one."
    )
    assert caught.value.facts == {"builder": "x", "field": field}


@pytest.mark.parametrize("text", ["~ENV:~", "~ENV:A", "~ENV:1A~", "~ENV:A B~", "a ~ENV:A\n~"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(TVBuilderError, match=r"Write ~ENV:NAME~\.$"):
        parse_builder("x", builder(arguments={"a": text}), table="t")


def test_a_builder_that_ran_before_there_were_such_keywords_can_be_read():
    assert parse_recorded("x", builder(arguments={"~ENV:A~": "~ENV:"}), table="t").name == "x"


def test_inside_a_reference_it_is_plain_text():
    arguments = {"a": "<<u.v[w::'~ENV:A~']>>"}
    found = parse_builder("x", builder(arguments=arguments), table="t")
    assert unset_variables(found.arguments) == []
