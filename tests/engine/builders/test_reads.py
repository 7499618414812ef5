"""What a builder reads, as it says itself and as its references say."""

from __future__ import annotations

import pytest

from tablevault.engine.builders.arguments import NodeParser
from tablevault.engine.builders.field_values import FieldPath
from tablevault.engine.builders.reads import Dependency, explicit_dependencies, growing, reads_of
from tablevault.errors import TVBuilderError

NAMED = Dependency(table="people", columns=("name",))
BASE = Dependency(table="people", selector="base", columns=("a", "b"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("people", Dependency(table="people")),
        ("people.*", Dependency(table="people")),
        ("people.name", NAMED),
        ("people.{a,b c}", Dependency(table="people", columns=("a", "b c"))),
        ("<<people.name>>", NAMED),
        ("people(base).{a,b}", BASE),
        ({"table": "people"}, Dependency(table="people")),
        ({"table": "people", "columns": ["a", "b"], "version": "base"}, BASE),
        ({"table": "people", "columns": "name"}, NAMED),
        ({"table": "people", "columns": ["*"]}, Dependency(table="people")),
    ],
)
def test_explicit_dependencies_have_two_forms(written, expected):
    assert explicit_dependencies([written], FieldPath("b", "dependencies")) == (expected,)


@pytest.mark.parametrize("written", [1, "people[id::1]", {"tables": "people"}, {"table": ""}])
def test_other_dependencies_are_refused(written):
    with pytest.raises(TVBuilderError, match=r"dependencies\[0\]"):
        explicit_dependencies([written], FieldPath("b", "dependencies"))


@pytest.mark.parametrize(
    ("text", "cells", "wholes", "by_row"),
    [
        ("<<self.a[index]>>", ("a",), (), True),
        ("<<self.a>>", (), ("self.a",), False),
        ("<<t.x[k::<<self.a[index]>>]>>", ("a",), ("t.{x,k}",), True),
        ("<<t(v)>>", (), ("t(v)",), False),
        ("<<t.x[index]>>", ("index",), ("t.x",), True),
    ],
)
def test_a_reference_reads_cells_of_its_row_and_whole_columns(text, cells, wholes, by_row):
    (read,) = reads_of(NodeParser("b").node(text, "arguments.x"), ["a"])
    assert (read.cells, tuple(map(str, read.wholes)), read.by_row) == (cells, wholes, by_row)


GROWING = ["<<self.a>>", "<<self>>", "<<self.{a,own}>>"]
STAYING = [
    "<<self.a[index]>>",
    "<<self.a[a::<<self.a>>]>>",
    "<<self.index>>",
    "<<self.own>>",
    "<<t>>",
]


@pytest.mark.parametrize("text", [*GROWING, *STAYING])
def test_a_whole_column_of_other_builders_grows_with_the_table(text):
    node = NodeParser("b").node({"x": text}, "arguments")
    found = list(growing(node, ["own"]))
    assert found == ([("arguments.x", text)] if text in GROWING else [])
