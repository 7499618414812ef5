"""References in the fields of builders are resolved before anything is called."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from tablevault.errors import TableReferenceError, TVBuilderError
from tests.engine.builder_texts import KEYS, column, index, rows


def test_an_unknown_dtype_is_found_before_anything_is_called(execute):
    texts = {"t_index": index(), "o": column(dtypes="{o: Whatever}")}
    with pytest.raises(TVBuilderError, match=r"dtypes.o"):
        execute(texts, {"rows": lambda: 1 / 0, "f": lambda: 1 / 0})


def test_a_dtype_of_another_column_is_ignored_with_a_warning(fill, caplog):
    with caplog.at_level(logging.WARNING, "tablevault"):
        frame = fill(lambda: rows()[["n"]], dtypes="{k: Int64}")
    assert '"k", which is not among changed_columns' in caplog.text
    assert frame["k"].tolist() == KEYS


def test_references_stand_in_all_fields(execute, inputs):
    values = {
        "f": "f",
        "m": "m",
        "c": "made",
        "d": "Float64",
        "n": "2",
        "r": "row-wise",
        "t": "true",
    }
    (name,) = inputs.instances["cfg"]
    inputs.instances["cfg"][name] = pd.DataFrame(
        {"key": list(values), "value": list(values.values())}
    )

    def ref(key):
        return f'"<<cfg.value[key::{key}]>>"'

    text = f"""
builder_type: ColumnBuilder
changed_columns: {ref("c")}
python_function: {ref("f")}
code_module: {ref("m")}
return_type: {ref("r")}
n_threads: {ref("n")}
is_custom: {ref("t")}
dtypes: {{{ref("c")}: {ref("d")}}}
arguments: {{{ref("n")}: 1}}
"""
    text = text.replace('{"<<cfg.value[key::n]>>": 1}', '{x: "<<self.n[index]>>"}')
    result = execute({"t_index": index(), "o": text}, {"rows": rows, "f": lambda x: x * 2})
    assert result.frame["made"].tolist() == [2, 4, 18]
    assert result.frame["made"].dtype == "Float64"
    assert result.plan.columns == ("k", "n", "made")
    assert result.builders[1].is_custom is True


def test_columns_from_references_must_not_clash(execute):
    text = column('"<<cfg.value[key::col]>>"')
    texts = {"t_index": index("[name]"), "o": text}
    with pytest.raises(TVBuilderError, match=r'both make the column "name"'):
        execute(texts, {"rows": rows, "f": rows})


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("n_threads", "<<cfg.value[key::model]>>", "n_threads is 'gpt'"),
        ("changed_columns", "<<people.name>>", "changed_columns is"),
        ("return_type", "<<cfg.value[key::none]>>", "return_type is null"),
    ],
)
def test_what_a_reference_gives_is_checked_like_what_is_written(execute, field, value, named):
    text = column(**{field: f'"{value}"'}) if field != "changed_columns" else column(f'"{value}"')
    with pytest.raises(TVBuilderError, match=named):
        execute({"t_index": index(), "o": text}, {"rows": rows, "f": rows})


def test_keywords_are_replaced_in_text_and_never_in_data(execute, inputs):
    (name,) = inputs.instances["one"]
    inputs.instances["one"][name] = pd.DataFrame({"v": ["~PROCESS_ID~"]})
    seen = []
    arguments = """
  plain: ~ARTIFACT_FOLDER~/x
  mixed: "<<one.v[index::0]>> by ~PROCESS_ID~"
  data: "<<one.v[index::0]>>"
  deep: [{"~PROCESS_ID~": [~PROCESS_ID~]}]
"""
    texts = {"t_index": index(arguments=arguments)}

    def make(**given):
        seen.append(given)
        return rows()

    execute(texts, {"rows": make}, keywords={"~ARTIFACT_FOLDER~": "/a", "~PROCESS_ID~": "p1"})
    assert seen == [
        {
            "plain": "/a/x",
            "mixed": "~PROCESS_ID~ by p1",
            "data": "~PROCESS_ID~",
            "deep": [{"p1": ["p1"]}],
        }
    ]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("<<nope>>", "<<nope>>"),
        ("<<people(other)>>", "<<people(other)>>"),
        ("<<people.nme>>", "<<people.nme>>"),
        ("<<people.name[nme::1]>>", "<<people.name[nme::1]>>"),
        ("x <<people.name[id::<<cfg.valu[key::1]>>]>>", "<<cfg.valu[key::1]>>"),
        ("<<self.missing>>", "<<self.missing>>"),
    ],
)
def test_what_is_not_there_is_found_before_anything_is_called(execute, value, place):
    texts = {"t_index": index(), "o": column(arguments=f'{{x: ["{value}"]}}')}
    with pytest.raises(TableReferenceError) as caught:
        execute(texts, {"rows": lambda: 1 / 0, "f": lambda x: 1 / 0})
    assert caught.value.builder == "o"
    assert caught.value.field == "arguments.x[0]"
    assert caught.value.text[caught.value.start : caught.value.end] == place


@pytest.mark.parametrize("entry", ["nope", "people(other)", "people.nme"])
def test_explicit_dependencies_have_to_exist(execute, entry):
    texts = {"t_index": index(dependencies=f"['{entry}']")}
    with pytest.raises(TableReferenceError, match="dependencies"):
        execute(texts, {"rows": lambda: 1 / 0})
