"""Which builder, and which place in it, names a table that cannot be read."""

from __future__ import annotations

import pytest

from tablevault.engine.builder import parse_builder
from tablevault.engine.dependencies import Dependency
from tablevault.engine.error_location import blamed
from tablevault.errors import TableReferenceError

TEXT = """
builder_type: ColumnBuilder
changed_columns: [{name}]
python_function: f
code_module: m
arguments: {arguments}
dependencies: {dependencies}
"""


def builder(name, arguments="{}", dependencies="[]"):
    text = TEXT.format(name=name, arguments=arguments, dependencies=dependencies)
    return parse_builder(name, text, table="t")


BUILDERS = [
    builder("a", "{x: [1, 'plain', '<<books.title>>']}", "[books.title]"),
    builder("b", "{y: {z: 'of <<books.title>> and <<papers.title>>'}}"),
    builder("c", dependencies="[books.author, people.name]"),
    builder("d", "{x: 'in <<maps.city[key::<<cities.<<names.one>>>>]>>'}"),
]
ERROR = TableReferenceError("There is none.", "Make one.", table="x")


@pytest.mark.parametrize(
    ("table", "selector", "builder", "field", "marked"),
    [
        ("books", "", "a", "arguments.x[2]", "<<books.title>>"),
        ("papers", "", "b", "arguments.y.z", "<<papers.title>>"),
        ("people", "", "c", "dependencies", None),
        ("cities", "", "d", "arguments.x", "<<cities.<<names.one>>>>"),
        ("names", "", "d", "arguments.x", "<<names.one>>"),
        ("papers", "base", None, None, None),
        ("nobody", "", None, None, None),
    ],
)
def test_the_first_place_that_names_a_table_is_told(table, selector, builder, field, marked):
    error = blamed(ERROR, BUILDERS, Dependency(table=table, selector=selector))
    assert (error.message, error.hint, error.facts["table"]) == ("There is none.", "Make one.", "x")
    assert error.facts.get("builder") == builder
    assert error.facts.get("field") == field
    if marked is None:
        assert "start" not in error.facts
    else:
        facts = error.facts
        assert facts["text"][facts["start"] : facts["end"]] == marked
