"""Where ``~ENV:NAME~`` may stand in a builder."""

from __future__ import annotations

import pytest
import yaml

from tablevault.engine.builder import parse_builder, parse_recorded
from tablevault.engine.environment import unset_variables
from tablevault.errors import TVBuilderError

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
