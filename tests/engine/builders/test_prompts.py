from __future__ import annotations

import json

import pytest

from tablevault.engine.builders.arguments import MapNode
from tablevault.engine.builders.builder import parse_builder
from tablevault.engine.builders.prompts import with_schema
from tablevault.errors import TableReferenceError, TVBuilderError

FIELDS = """\
builder_type: ColumnBuilder
changed_columns: [answer]
python_function: complete
code_module: language_model
"""


def parse(prompt, extra=""):
    arguments = f"arguments:\n  prompt: {json.dumps(prompt)}\n  model: small-1\n"
    return parse_builder("b", FIELDS + arguments + extra, table="t")


def prompt_of(builder):
    return dict(builder.arguments.items)["prompt"]


def spelled(prompt):
    return str(prompt_of(parse(prompt)))


def schema_of(columns, **dtypes):
    found = dict(with_schema(MapNode(()), columns, dtypes).items)
    return plain(found["schema"]) if "schema" in found else None


def plain(node):
    if isinstance(node, MapNode):
        return {key: plain(item) for key, item in node.items}
    return [plain(item) for item in node.items] if hasattr(node, "items") else node


def test_a_place_is_a_reference_to_the_row():
    assert (
        spelled("Of {town}: {question}?")
        == "Of <<self.{town}[_index]>>: <<self.{question}[_index]>>?"
    )


def test_a_name_may_have_several_words():
    assert spelled("{name of the town}") == "<<self.{name of the town}[_index]>>"


def test_double_braces_are_braces():
    assert prompt_of(parse('As {{"a": 1}}')) == 'As {"a": 1}'
    assert spelled("{{{a}}}") == "{<<self.{a}[_index]>>}"


def test_references_stay_what_they_are():
    assert spelled("<<t.{a,b}[k::<<self.k[index]>>]>> {a}") == (
        "<<t.{a,b}[k::<<self.{k}[index]>>]>> <<self.{a}[_index]>>"
    )


def test_a_place_may_stand_in_angle_brackets():
    first, reference, last = prompt_of(parse("<{tag}>")).parts
    assert (first, reference.columns, last) == ("<", ("tag",), ">")


def test_escapes_stay_what_they_are():
    assert prompt_of(parse(r"\<<x>> {a} \\")).parts[0] == "<<x>> "
    assert prompt_of(parse(r"\<<x>> {{a}} \\")) == r"<<x>> {a} \\"


def test_a_place_knows_where_it_stands():
    prompt = prompt_of(parse(r"{{x}} \<< <<self.a[index]>> {x} {{"))
    reference = prompt.parts[-2]
    assert prompt.text[reference.start : reference.end] == "{x}"


@pytest.mark.parametrize("prompt", ["a { b", "a } b", '{"a": 1}', "{}", "{ a }", "{a\nb}"])
def test_a_single_brace_is_refused(prompt):
    with pytest.raises(TVBuilderError, match="single") as caught:
        parse(prompt)
    assert (caught.value.builder, caught.value.field) == ("b", "arguments.prompt")
    assert "{{ and }}" in caught.value.hint


def test_other_arguments_may_hold_braces():
    extra = "  system: 'As {label}'\n"
    assert dict(parse("x", extra).arguments.items)["system"] == "As {label}"


@pytest.mark.parametrize(
    "changed",
    [
        ("complete", "other"),
        ("language_model", "mine"),
        ("arguments:", "is_custom: true\narguments:"),
    ],
)
def test_prompts_of_other_functions_have_no_places(changed):
    text = FIELDS + "arguments:\n  prompt: 'a {b'\n"
    assert prompt_of(parse_builder("b", text.replace(*changed), table="t")) == "a {b"


def test_a_malformed_reference_is_an_error_as_anywhere():
    with pytest.raises(TableReferenceError):
        parse("<<self.[index]>> {a}")


def test_a_builder_is_row_wise_unless_it_says_otherwise():
    assert parse("x").return_type == "row-wise"
    assert parse("x", "return_type: dataframe\n").return_type == "dataframe"


def test_calls_are_found_whatever_the_code_of_the_release():
    assert parse("x").code_version == "1"
    assert parse("x", "code_version: mine\n").code_version == "mine"


def test_one_column_of_text_has_no_schema():
    assert schema_of(["a"]) is None
    assert schema_of(["a"], a="string") is None


def test_other_columns_have_the_schema_of_their_dtypes():
    dtypes = {"b": "Int64", "c": "float", "d": "bool", "e": "datetime64[ns]", "f": "category"}
    assert schema_of(["a", *dtypes], **dtypes) == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "integer"},
            "c": {"type": "number"},
            "d": {"type": "boolean"},
            "e": {"type": "string", "format": "date-time"},
            "f": {"type": "string"},
        },
        "required": ["a", "b", "c", "d", "e", "f"],
        "additionalProperties": False,
    }


def test_a_column_of_objects_takes_any_json():
    assert schema_of(["a"], a="object")["properties"] == {"a": {}}


def test_a_schema_that_is_written_stays():
    written = MapNode((("schema", MapNode((("type", "object"),))),))
    assert with_schema(written, ["a", "b"], {}) == written


def test_a_schema_of_null_is_none():
    (pair,) = with_schema(MapNode((("schema", None),)), ["a"], {"a": "Int64"}).items
    assert plain(pair[1])["required"] == ["a"]
