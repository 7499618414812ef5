from __future__ import annotations

import logging

import pytest

from tablevault.engine.builder import check_builder_text, parse_builder
from tablevault.engine.dependencies import Dependency
from tablevault.engine.templates import column_template, index_template
from tablevault.errors import TableReferenceError, TVBuilderError

FULL = {
    "builder_type": "ColumnBuilder",
    "changed_columns": "[a, b]",
    "python_function": "f",
    "code_module": "m",
    "arguments": "{}",
}


def text_of(**changes):
    fields = {**FULL, **changes}
    return "\n".join(f"{key}: {value}" for key, value in fields.items() if value is not None)


def parse(name="b", table="t", **changes):
    return parse_builder(name, text_of(**changes), table=table)


def test_defaults_are_filled_in():
    builder = parse()
    assert builder.name == "b"
    assert builder.kind == "column"
    assert builder.changed_columns == ("a", "b")
    assert (builder.function, builder.module) == ("f", "m")
    assert builder.is_custom is False
    assert builder.return_type == "dataframe"
    assert builder.n_threads == 1
    assert dict(builder.dtypes) == {}
    assert builder.dependencies == ()
    assert builder.primary_key == ()
    assert builder.keep_old is False
    assert builder.text == text_of()


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("n_threads", '"2"', 2),
        ("n_threads", "2.0", 2),
        ("is_custom", '"true"', True),
        ("is_custom", "1", True),
        ("is_custom", '"False"', False),
        ("changed_columns", "[2020, x]", ("2020", "x")),
        ("changed_columns", "[]", ()),
        ("code_module", "7", None),
    ],
)
def test_scalars_are_read_leniently(field, written, read):
    name = {"code_module": "module"}.get(field, field)
    assert getattr(parse(**{field: written}), name) == (read if read is not None else "7")


@pytest.mark.parametrize(
    "field", ["builder_type", "changed_columns", "python_function", "code_module", "arguments"]
)
@pytest.mark.parametrize("state", ["absent", "null"])
def test_a_required_field_that_is_missing_is_named(field, state):
    with pytest.raises(TVBuilderError, match=f'"b".*{field}') as caught:
        parse(**{field: None if state == "absent" else "null"})
    assert caught.value.builder == "b"
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "written", "path"),
    [
        ("builder_type", "Column", "builder_type"),
        ("builder_type", "[1]", "builder_type"),
        ("changed_columns", "a", "changed_columns"),
        ("changed_columns", "[a, [b]]", "changed_columns[1]"),
        ("changed_columns", "[a, no]", "changed_columns[1]"),
        ("changed_columns", "[a, a]", "changed_columns[1]"),
        ("changed_columns", "[index]", "changed_columns"),
        ("python_function", "[f]", "python_function"),
        ("python_function", "''", "python_function"),
        ("code_module", "true", "code_module"),
        ("arguments", "[1]", "arguments"),
        ("is_custom", "maybe", "is_custom"),
        ("return_type", "rowwise", "return_type"),
        ("return_type", "[row-wise]", "return_type"),
        ("n_threads", "0", "n_threads"),
        ("n_threads", "-1", "n_threads"),
        ("n_threads", "1.5", "n_threads"),
        ("n_threads", "many", "n_threads"),
        ("n_threads", "true", "n_threads"),
        ("dtypes", "[Int64]", "dtypes"),
        ("dtypes", "{a: [Int64]}", "dtypes.a"),
        ("dependencies", "people", "dependencies"),
        ("dependencies", "[people, 3]", "dependencies[1]"),
        ("dependencies", "['a b']", "dependencies[0]"),
        ("dependencies", "['people[id::1]']", "dependencies[0]"),
        ("dependencies", "[{columns: [a]}]", "dependencies[0].table"),
        ("dependencies", "[{table: p, cols: [a]}]", "dependencies[0]"),
        ("dependencies", "[{table: p, version: [1]}]", "dependencies[0].version"),
        ("dependencies", "[{table: p, columns: {a: 1}}]", "dependencies[0].columns"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(field, written, path):
    with pytest.raises(TVBuilderError) as caught:
        parse(**{field: written})
    assert caught.value.builder == "b"
    assert caught.value.field == path
    assert f'Builder "b": field {path} is ' in str(caught.value)


@pytest.mark.parametrize("written", ["null", "true"])
def test_a_wrong_value_is_spelled_as_yaml_does(written):
    with pytest.raises(TVBuilderError, match=rf"dependencies\[0\] is {written}\."):
        parse(dependencies=f"[{written}]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "[1]",
        "a: [",
        "\x00",
        "\ud800",
        "a: !!python/object/apply:os.system [ls]",
        "a: !!int ''",
        "a: !!timestamp x",
        "a: 2023-99-99",
        "a: 1\na: 2",
        "a: &x {b: 1}\nc: {<<: *x}",
        "{" * 2000,
        "a: " + "9" * 5000,
    ],
)
def test_what_is_no_plain_mapping_is_refused(text):
    with pytest.raises(TVBuilderError):
        check_builder_text("b", text)
    with pytest.raises(TVBuilderError):
        parse_builder("b", text, table="t")


def test_a_yaml_error_names_the_line():
    with pytest.raises(TVBuilderError, match="line 2"):
        check_builder_text("b", "a: 1\nb: [1, }\n")


def bomb(levels):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 9) + "]"
        for level in range(1, levels)
    ]
    return "\n".join(lines), f"*a{levels - 1}"


@pytest.mark.parametrize("field", ["arguments", "builder_type", "changed_columns", "dependencies"])
def test_aliases_that_mean_billions_of_values_are_refused_at_once(field):
    lines, last = bomb(12)
    changes = {**FULL, field: f"{{x: {last}}}" if field == "arguments" else f"[{last}]"}
    text = lines + "\n" + "\n".join(f"{key}: {value}" for key, value in changes.items())
    with pytest.raises(TVBuilderError):
        parse_builder("b", text, table="t")


def test_an_alias_that_contains_itself_is_refused():
    with pytest.raises(TVBuilderError, match="too large"):
        parse(arguments="{x: &x [*x]}")


def test_unknown_fields_are_ignored_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "tablevault"):
        parse(n_thread="3", keep_old="true")
    assert 'did you mean "n_threads"?' in caplog.text
    assert "keep_old is ignored in a ColumnBuilder" in caplog.text


@pytest.mark.parametrize("name", ["t_index", "b"])
def test_type_and_file_name_have_to_agree(name):
    kind = "ColumnBuilder" if name == "t_index" else "IndexBuilder"
    with pytest.raises(TVBuilderError, match="builder_type") as caught:
        parse(name, builder_type=kind)
    assert "t" in caught.value.hint


def test_a_field_given_by_a_reference_is_unknown_until_it_runs():
    builder = parse(
        python_function="<<cfg.value[key::f]>>",
        changed_columns="<<cfg.value[key::columns]>>",
        n_threads="<<cfg.value[key::threads]>>",
        dtypes="{a: '<<cfg.value[key::dtype]>>'}",
    )
    assert (
        builder.function is builder.changed_columns is builder.n_threads is builder.dtypes is None
    )
    assert str(builder.nodes["python_function"]) == "<<cfg.{value}[key::f]>>"


def test_a_malformed_reference_is_named_with_builder_field_and_caret():
    with pytest.raises(TableReferenceError) as caught:
        parse(arguments="{prompt: [a, b, 'x <<people.name[id:1]>>']}")
    assert caught.value.builder == "b"
    assert caught.value.field == "arguments.prompt[2]"
    assert str(caught.value).endswith("    x <<people.name[id:1]>>\n" + " " * 22 + "^")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("people", Dependency(table="people")),
        ("people.*", Dependency(table="people")),
        ("people.name", Dependency(table="people", columns=("name",))),
        ("people.{a,b c}", Dependency(table="people", columns=("a", "b c"))),
        ("<<people.name>>", Dependency(table="people", columns=("name",))),
        ("people(base).name", Dependency(table="people", selector="base", columns=("name",))),
        ("{table: people}", Dependency(table="people")),
        (
            "{table: people, columns: [a, b], version: base}",
            Dependency(table="people", selector="base", columns=("a", "b")),
        ),
        ("{table: people, columns: a}", Dependency(table="people", columns=("a",))),
        ("{table: people, columns: ['*']}", Dependency(table="people")),
    ],
)
def test_explicit_dependencies_have_two_forms(written, expected):
    quoted = written if written.startswith("{t") else f'"{written}"'
    assert parse(dependencies=f"[{quoted}]").dependencies == (expected,)


@pytest.mark.parametrize(
    ("name", "text"), [("t_index", index_template("t")), ("b", column_template("b"))]
)
def test_a_template_is_a_valid_file_that_cannot_be_executed(name, text):
    check_builder_text(name, text)
    with pytest.raises(TVBuilderError, match="fill in"):
        parse_builder(name, text, table="t")


@pytest.mark.parametrize(
    ("name", "text"), [("t_index", index_template("t")), ("b", column_template("b"))]
)
def test_a_filled_in_template_is_a_builder(name, text):
    for word in ("COLUMN_NAME", "FUNCTION_NAME", "MODULE_NAME", "ARGUMENT_VALUE"):
        text = text.replace(word, word.lower())
    builder = parse_builder(name, text, table="t")
    assert builder.changed_columns == ("column_name",)
    assert builder.primary_key == (("column_name",) if name == "t_index" else ())
