"""The conformance table of the reference guide, whole, through the engine."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tablevault.errors import TableReferenceError
from tests.engine.references.reference_table import DF, ERROR, STRINGS, TABLE, Each

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
    """Return what a row-wise function gets as its argument x, row by row."""
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
        if isinstance(want, DF):
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


# -- nulls ------------------------------------------------------------------------------------

NULLS = {
    "Int64": pd.array([1, None, 3], dtype="Int64"),
    "Float64": pd.array([1.5, None, 3.5], dtype="Float64"),
    "float64": [1.5, float("nan"), 3.5],
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None, "c"], dtype="string"),
    "category": pd.Categorical(["a", None, "c"]),
    "datetime64[ns]": pd.to_datetime(["2023-01-01", None, "2023-01-03"]),
    "timedelta64[ns]": pd.to_timedelta(["1h", None, "3h"]),
    "period[D]": pd.PeriodIndex(["2023-01-01", None, "2023-01-03"], freq="D"),
    "object": pd.Series([[1], None, {"a": 1}], dtype=object),
    "object with NaN": pd.Series(["a", float("nan"), 3], dtype=object),
}


@pytest.fixture
def with_nulls(inputs):
    """Add a table with a null in the second row of each column."""
    frame = pd.DataFrame({"id": [0, 1, 2], **NULLS})
    inputs.instances["nulls"] = {"base_1700000000_00000000-0000-4000-8000-000000000000": frame}
    return frame


@pytest.mark.parametrize("name", NULLS)
def test_a_null_cell_is_none(execute, with_nulls, name):
    for reference in (f"nulls.{{{name}}}[index]", f"nulls.{{{name}}}[id::<<self.index>>]"):
        first, null, last = seen_by_rows(execute, f"<<{reference}>>")
        assert null is None
        assert first is not None
        assert last is not None


@pytest.mark.parametrize("name", NULLS)
def test_nulls_in_a_list_are_none(execute, with_nulls, name):
    for seen in seen_by_rows(execute, f"<<nulls.{{{name}}}[id::0:3]>>"):
        assert [value is None for value in seen] == [False, True, False]


@pytest.mark.parametrize("name", NULLS)
def test_a_null_within_text_is_none(execute, with_nulls, name):
    assert seen_by_rows(execute, f"x <<nulls.{{{name}}}[index]>>")[1] == "x None"


@pytest.mark.parametrize("name", NULLS)
def test_a_null_of_a_nested_reference_fits_no_row(execute, with_nulls, name):
    assert seen_by_rows(execute, f"<<nulls.id[id::<<nulls.{{{name}}}[id::1]>>]>>") == [None] * 3


def test_a_dataframe_keeps_the_nulls_of_pandas(execute, with_nulls):
    for seen in seen_by_rows(execute, "<<nulls>>"):
        pd.testing.assert_frame_equal(seen, with_nulls)


def test_nulls_of_the_own_table_are_none_whatever_function_made_them(execute):
    seen = []
    functions = {
        "rows": lambda: rows([1, 2, 9]),
        "make": lambda n: {1: float("nan"), 2: pd.NA, 9: None}[n],
        "note": lambda x, before: seen.append((x, before)),
    }
    fields = "builder_type: ColumnBuilder\ncode_module: m\nreturn_type: row-wise\n"
    make = "changed_columns: [a]\npython_function: make\narguments: {n: '<<self.n[index]>>'}\n"
    note = "changed_columns: [b]\npython_function: note\narguments:\n  x: <<self.a[index]>>\n"
    note += "  before: <<self.b[index::0]>>\n"
    execute({"t_index": INDEX, "a": fields + make, "b": fields + note}, functions)
    assert seen == [(None, None)] * 3


# -- a column called index --------------------------------------------------------------------


@pytest.fixture
def with_index(inputs):
    """Add a table with a column called index."""
    frame = pd.DataFrame({"index": [10, 20, 30], "name": ["Ann", "Bob", "Cid"]})
    inputs.instances["ix"] = {"base_1700000000_00000000-0000-4000-8000-000000000000": frame}
    return frame


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("ix.index[name::Bob]", 20),
        ("ix.name[index::20]", "Bob"),
        ("ix.name[index::15:35]", ["Bob", "Cid"]),
        ("ix._index[name::Bob]", 1),
        ("ix.name[_index::1]", "Bob"),
        ("ix.name[_index::0:2]", ["Ann", "Bob"]),
        ("ix.name[_index]", Each(("Ann", "Bob", "Cid"))),
        ("ix.index[_index]", Each((10, 20, 30))),
        ("ix.{index,name}[name::Bob]", DF(1, 2)),
        ("people.name[_index::1]", "Bob"),
        ("self._index", Each((0, 1, 2))),
        ("self.k[_index]", Each(("Ann", "Bob", "Zed"))),
    ],
)
def test_a_column_called_index_is_that_column(execute, with_index, reference, expected):
    check(execute, f"<<{reference}>>", expected)


def test_index_alone_is_an_error_that_tells_how_to_ask_for_the_row(execute, with_index):
    with pytest.raises(TableReferenceError, match=r'column "index".*Write \[_index\]') as caught:
        seen_by_rows(execute, "<<ix.name[index]>>")
    assert caught.value.field == "arguments.x"


def test_a_builder_may_make_a_column_called_index(execute):
    made = INDEX.replace("[k, n]", "[index, n]")
    column = """
builder_type: ColumnBuilder
changed_columns: [o]
python_function: same
code_module: m
return_type: row-wise
arguments: {x: "<<self.index[_index]>>"}
"""
    functions = {"rows": lambda: rows([1, 2, 9]), "same": lambda x: x}
    frame = execute({"t_index": made, "o": column}, functions).frame
    assert frame["o"].tolist() == frame["index"].tolist() == ["Ann", "Bob", "Zed"]
    with pytest.raises(TableReferenceError, match=r"Write \[_index\]"):
        execute({"t_index": made, "o": column.replace("_index", "index")}, functions)


def test_a_builder_runs_after_the_one_that_makes_index(execute):
    text = "builder_type: ColumnBuilder\ncode_module: m\narguments: {}\n"
    made = text + "changed_columns: [index]\npython_function: made\n"
    reads = text + "changed_columns: [o]\npython_function: reads\n"
    reads = reads.replace("{}", '{x: "<<self.index>>"}')
    functions = {
        "rows": lambda: rows([1, 2, 9]),
        "made": lambda: pd.DataFrame({"index": [7, 8, 9]}),
        "reads": lambda x: x,
    }
    frame = execute({"t_index": INDEX, "z": made, "a": reads}, functions).frame
    assert frame["o"].tolist() == [7, 8, 9]
