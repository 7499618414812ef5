"""The conformance table of the reference guide, whole, through the engine."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tablevault.errors import TableReferenceError
from tests.engine.reference_table import DF, ERROR, NA, STRINGS, TABLE, Each

INDEX = """
builder_type: IndexBuilder
changed_columns: [k, n]
python_function: rows
code_module: m
arguments: {}
"""


def rows(numbers):
    return pd.DataFrame({"k": ["Ann", "Bob", "Zed"], "n": numbers})


def seen_by_rows(execute, value, numbers=(1, 2, 9)):
    """Give what a row-wise function gets as its argument x, row by row."""
    seen = []
    column = f"""
builder_type: ColumnBuilder
changed_columns: [o]
python_function: note
code_module: m
return_type: row-wise
arguments: {{x: {json.dumps(value)}}}
"""

    def note(x):
        seen.append(x)

    functions = {"rows": lambda: rows(list(numbers)), "note": note}
    execute({"t_index": INDEX, "o": column}, functions)
    return seen


def check(execute, value, expected, numbers=(1, 2, 9)):
    if expected is ERROR:
        with pytest.raises(TableReferenceError) as caught:
            seen_by_rows(execute, value, numbers)
        assert caught.value.builder == "o"
        assert caught.value.field == "arguments.x"
        assert "^" in str(caught.value)
        return
    seen = seen_by_rows(execute, value, numbers)
    wanted = expected if isinstance(expected, Each) else [expected] * 3
    assert len(seen) == 3
    for got, want in zip(seen, wanted, strict=True):
        if want is NA:
            assert got is NA
        elif isinstance(want, DF):
            assert want == got
            assert "index" not in got.columns or "index" in value
        else:
            assert got == want
            assert type(got) is type(want)


@pytest.mark.parametrize(("row", "reference", "expected"), TABLE)
def test_the_conformance_table_holds_for_a_whole_reference(execute, row, reference, expected):
    check(execute, f"<<{reference}>>", expected)


@pytest.mark.parametrize(("row", "value", "expected", "numbers"), STRINGS)
def test_the_conformance_table_holds_for_strings(execute, row, value, expected, numbers):
    check(execute, value, expected, numbers)


def test_row_33_has_no_index_column(execute):
    assert list(seen_by_rows(execute, "<<self>>")[0].columns) == ["k", "n", "o"]


def test_row_117_keys_of_mappings_are_resolved(execute):
    value = {"<<people.name[id::1]>>": {"<<self.k[index]>>": "<<self.n[index]>>"}}
    assert seen_by_rows(execute, value)[1] == {"Ann": {"Bob": 2}}


@pytest.mark.parametrize("reference", ["self.k[index]", "self.index", "people.name[index]"])
def test_row_118_without_a_row_a_position_is_an_error(execute, reference):
    column = f"""
builder_type: ColumnBuilder
changed_columns: [o]
python_function: note
code_module: m
arguments: {{x: '<<{reference}>>'}}
"""
    with pytest.raises(TableReferenceError, match="no current row"):
        execute(
            {"t_index": INDEX, "o": column},
            {"rows": lambda: rows([1, 2, 9]), "note": lambda x: None},
        )


@pytest.mark.parametrize("reference", ["self.k[index::0]", "people.name[id::1]"])
def test_row_119_named_rows_work_in_dataframe_mode(execute, reference):
    column = f"""
builder_type: ColumnBuilder
changed_columns: [o]
python_function: note
code_module: m
arguments: {{x: '<<{reference}>>'}}
"""
    result = execute(
        {"t_index": INDEX, "o": column},
        {"rows": lambda: rows([1, 2, 9]), "note": lambda x: pd.DataFrame({"o": [x] * 3})},
    )
    assert list(result.frame["o"]) == ["Ann"] * 3


@pytest.mark.parametrize("value", [1, 2.5, True, None, [1, [2]], {"a": {"b": None}}])
def test_row_120_values_without_references_stay_as_they_are(execute, value):
    assert seen_by_rows(execute, value) == [value] * 3
