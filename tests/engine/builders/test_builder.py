from __future__ import annotations

from dataclasses import replace

import pytest

from tablevault.engine.builders.builder import parse_builder, parse_recorded
from tablevault.engine.builders.document import check_builder_text, column_template, index_template
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
    assert builder.n_threads == 0, "the function decides"
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
        ("changed_columns", "[a, a]", "changed_columns[1]"),
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
    ("text", "said"),
    [
        ("", "it holds nothing"),
        ("a", "it holds one value"),
        ("- a\n- b\n", "it holds a list"),
        ("a: [", r"is no valid YAML: .*, line 1"),
        ("a: b: c\n", "mapping values are not allowed here, line 1, column 5"),
        ("\ta: b\n", r"is no valid YAML: .*line 1"),
        ("a: *nowhere\n", "undefined alias"),
        ("--- a\n--- b\n", "but found another document"),
        ("a: \x00b\n", "not allowed, line 1, column 4"),
        ("\ud800", "is no valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !!python/name:os.system\n", "could not determine a constructor"),
        ("a: !custom 1\n", "could not determine a constructor for the tag"),
        ("a: !!int ''", "is no valid YAML"),
        ("a: !!bool x", "is no valid YAML: a value does not fit its tag"),
        ("a: !!timestamp 2023-99-99", "is no valid YAML"),
        ("a: 1\na: 2", "'a' stands twice, line 2"),
        ("a: &x {b: 1}\nc: {<<: *x}", "merge key"),
        ("a: " + "[" * 600 + "]" * 600, "is no valid YAML"),
        ("a: 0x" + "f" * 20_000 + "\n", "more than 10000 bits"),
    ],
)
def test_what_is_no_plain_mapping_is_refused(text, said):
    with pytest.raises(TVBuilderError, match=f'"b".*{said}') as caught:
        check_builder_text("b", text)
    assert len(str(caught.value)) < 1000
    assert caught.value.hint
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


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [
        ("n_thread", "8", "n_threads"),
        ("dtype", "{a: Int64}", "dtypes"),
        ("Arguments", "{}", "arguments"),
        ("changed_column", "null", "changed_columns"),
    ],
)
def test_an_unknown_field_is_an_error_that_offers_the_nearest_one(field, value, near):
    for read in (
        lambda text: parse_builder("b", text, table="t"),
        lambda text: check_builder_text("b", text),
    ):
        with pytest.raises(TVBuilderError, match=f'"b".*"{field}"') as caught:
            read(text_of(**{field: value}))
        assert caught.value.hint == f'Did you mean "{near}"?'
        assert (caught.value.builder, caught.value.field) == ("b", field)


def test_an_unknown_field_like_no_other_names_all_there_are():
    with pytest.raises(TVBuilderError, match=r"Fields are builder_type, .*dependencies"):
        parse(zzz="1")


@pytest.mark.parametrize(("field", "value"), [("keep_old", "true"), ("primary_key", "[a]")])
def test_a_field_of_the_index_builder_is_an_error_in_another(field, value):
    with pytest.raises(TVBuilderError, match=f"{field} is for an IndexBuilder"):
        parse(**{field: value})
    assert parse(keep_old="false", primary_key="[]").kind == "column"


def test_the_builder_of_an_instance_is_read_whatever_fields_it_has():
    assert parse_recorded("b", text_of(n_thread="8"), table="t") == replace(
        parse(), text=text_of(n_thread="8")
    )


def argument(written):
    return parse_builder("b", text_of(arguments=f"\n  x: {written}"), table="t").arguments.items[0][
        1
    ]


@pytest.mark.parametrize("keys", ["{a: 1, 'a': 2}", "{1: x, 0x1: y}", "{1: x, 1.0: y}"])
def test_a_key_that_stands_twice_is_an_error_however_it_is_written(keys):
    with pytest.raises(TVBuilderError, match="stands twice, line"):
        argument(keys)


@pytest.mark.parametrize("written", ["1e400", "-1e999"])
def test_a_number_that_no_float_can_hold_is_an_error(written):
    with pytest.raises(TVBuilderError, match=f"{written} is too large"):
        argument(written)


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
