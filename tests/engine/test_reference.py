"""The conformance table of the reference guide, whole, through the engine."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tablevault.errors import TableReferenceError

INDEX = """
builder_type: IndexBuilder
changed_columns: [k, n]
python_function: rows
code_module: m
arguments: {}
"""
BASE = "base_1700000000_00000000-0000-4000-8000-000000000000"
ERROR = TableReferenceError


def rows(numbers):
    return pd.DataFrame({"k": ["Ann", "Bob", "Zed"], "n": numbers})


class DF:
    """A frame of this shape."""

    def __init__(self, rows, columns):
        self.shape = (rows, columns)

    def __eq__(self, other):
        return isinstance(other, pd.DataFrame) and other.shape == self.shape

    def __repr__(self):
        return f"DF{self.shape}"

    __hash__ = None


class Each(tuple):
    """One result for each of the three rows."""

    __slots__ = ()


NA = pd.NA

TABLE = [
    (1, "people", DF(4, 8)),
    (2, "people.name", DF(4, 1)),
    (3, "people.{id,name}", DF(4, 2)),
    (4, "people.{ id , name }[id::1]", DF(1, 2)),
    (5, "one.v", DF(1, 1)),
    (6, "one.v[v::42]", 42),
    (7, "people.name[id::1]", "Ann"),
    (8, "people.name[id::'1']", "Ann"),
    (9, "people.name[id::1.0]", "Ann"),
    (10, "people.age[name::Ann]", 30),
    (10, "people.age[name::'Ann']", 30),
    (10, 'people.age[name::"Ann"]', 30),
    (11, "people.name[city::Paris]", ["Ann", "O'Hara"]),
    (12, "people.{id,name}[city::Paris]", DF(2, 2)),
    (13, "people.{id,name}[id::1]", DF(1, 2)),
    (14, "people[id::1]", DF(1, 8)),
    (15, "people.name[id::99]", None),
    (16, "people.name[age::25:40]", ["Ann", "Bob", "123"]),
    (17, "people.name[id::1:3]", ["Ann", "Bob"]),
    (18, "people.name[id::-1:2]", "Ann"),
    (19, "people.name[city::Rome:Z]", "Bob"),
    (20, "people.name[index::0:2]", ["Ann", "Bob"]),
    (21, "people.name[index::1]", "Bob"),
    (22, "people.name[index]", Each(("Ann", "Bob", "O'Hara"))),
    (23, "people.name[id]", Each((None, "Ann", "Bob"))),
    (24, "people.name[id::]", Each((None, "Ann", "Bob"))),
    (25, "people.name[city::Paris,age::30]", "Ann"),
    (26, "people.name[ id :: 1 , age :: 30 ]", "Ann"),
    (27, "people.name[city::Paris,age::30:50]", ["Ann", "O'Hara"]),
    (28, "people.name[flag::True]", ["Ann", "O'Hara"]),
    (28, "people.name[flag::'True']", ["Ann", "O'Hara"]),
    (28, "people.name[flag::1]", ["Ann", "O'Hara"]),
    (29, "people.name[flag::true]", ["Ann", "O'Hara"]),
    (30, "people.score[id::3]", NA),
    (31, "people.name[score::2:5]", ["Bob", "123"]),
    (32, "ev.amt[nul::None]", None),
    (33, "self", DF(3, 3)),
    (34, "self.k", DF(3, 1)),
    (35, "self.k[index]", Each(("Ann", "Bob", "Zed"))),
    (36, "self.index", Each((0, 1, 2))),
    (37, "self.index[index]", Each((0, 1, 2))),
    (38, "self.{k,n}[index]", DF(1, 2)),
    (39, "self.k[n::2]", "Bob"),
    (40, "self.n[index::0:2]", [1, 2]),
    (41, "self.k[k::'Ann',n::1]", "Ann"),
    (42, "self(base).k[index]", Each(("Ann", "Bob", "Zed"))),
    (43, "self.missing[index]", ERROR),
    (44, "self.k[missing]", ERROR),
    (45, "people.index[name::Bob]", 1),
    (46, "people.{index,name}[city::Paris]", DF(2, 2)),
    (47, "people.age[name::<<self.k[index]>>]", Each((30, 25, None))),
    (
        51,
        "people.name[city::<<people.city[index]>>]",
        Each((["Ann", "O'Hara"], "Bob", ["Ann", "O'Hara"])),
    ),
    (52, "people.id[name::<<people.name[id::4]>>]", 4),
    (53, "people.name[id::<<people.id[name::Bob]>>]", "Bob"),
    (54, "people.age[name::<<self.n[index]>>]", None),
    (55, "people.name[id::<<one.v>>]", None),
    (56, "people.<<self.k[index]>>", ERROR),
    (57, "people.<<cfg.value[key::col]>>[id::1]", "Ann"),
    (58, "people.{id,<<cfg.value[key::col]>>}[id::1]", DF(1, 2)),
    (59, "<<cfg.value[key::tab]>>.name[id::1]", "Ann"),
    (60, "vers(<<cfg.value[index]>>).v", ERROR),
    (61, "people.name[<<self.n[index]>>::1]", ERROR),
    (66, "cfg.value[key::digits]", "007"),
    (67, "cfg.value[key::lst]", "[1, 2]"),
    (74, "people.age[name::O'Hara]", 41),
    (75, 'people.age[name::"O\'Hara"]', 41),
    (76, "people.id[name::123]", 4),
    (77, "people.id[city::New York]", 4),
    (78, "people.id[city::'New York, NY']", None),
    (79, "people.id[name::x' or name != ']", None),
    (80, "people.name[id::id]", ERROR),
    (81, "people.name[id::abc]", ERROR),
    (82, "people.a-b[id::1]", 5),
    (83, "people.name[a-b::5]", "Ann"),
    (84, "people.{full name}[id::1]", "x"),
    (85, "people.name[full name::x]", "Ann"),
    (86, "people.full name[id::1]", ERROR),
    (87, "ev.amt[cat::x]", [1.5, 3.5]),
    (88, "ev.amt[ts::'2023-01-01T12:00:00']", 2.5),
    (89, "ev.amt[ts::'2023-01-01T00:00:00':'2023-01-01T23:59:59']", [1.5, 2.5]),
    (90, "ev.amt[ts::2023-01-01:2023-01-31]", [1.5, 2.5]),
    (91, "vers.v[index::0]", 30),
    (92, "vers(base).v[index::0]", 10),
    (93, "vers(b).v", ERROR),
    (94, "vers(alt).v[index::0]", 20),
    (95, f"vers({BASE})", DF(1, 1)),
    (96, f"vers({BASE}).v", DF(1, 1)),
    (97, "vers(nope).v", ERROR),
    (98, "people.nope", ERROR),
    (98, "people.name[nope::1]", ERROR),
    (99, "nope.name", ERROR),
    (100, "empty.x", ERROR),
    (100, "empty", ERROR),
    (101, "t.k[index::0]", "old"),
    (102, "people.name[]", DF(4, 1)),
    (103, "people.{}[id::1]", DF(1, 8)),
    (104, "people().name[id::1]", "Ann"),
    (104, "people( base ).name[id::1]", "Ann"),
    (105, " people.name[id::1] ", "Ann"),
    (106, "people .name", DF(4, 1)),
    (106, "people.name [id::1]", "Ann"),
    (107, "people.name[id::1]extra", ERROR),
    (107, "people[id::1].name", ERROR),
    (108, "people.name[id::1,id::2]", ERROR),
    (109, "people.", ERROR),
    (110, "people.name[id::1", ERROR),
    (111, "people.name[id:1]", ERROR),
    (111, "people.name[id==1]", ERROR),
    (112, "", ERROR),
    (116, "people.name\n[id::\n1]", "Ann"),
]

# Whole strings, where the text around the reference matters; the last entry is column n.
STRINGS = [
    (48, "<<people.name[id::<<self.n[index]>>]>>", Each(("Ann", "Bob", "123")), [1, 2, 4]),
    (49, "<<people.{id,name}[id::<<self.n[index]>>]>>", DF(1, 2), [1, 2, 4]),
    (
        50,
        "<<people.name[id::1:<<self.n[index]>>]>>",
        Each((None, "Ann", ["Ann", "Bob", "O'Hara"])),
        [1, 2, 4],
    ),
    (62, "ID-<<self.n[index]>>-x", Each(("ID-1-x", "ID-2-x", "ID-9-x")), [1, 2, 9]),
    (63, "<<self.n[index]>><<self.n[index]>>", Each(("11", "22", "99")), [1, 2, 9]),
    (64, "v=<<people.name[id::99]>>", "v=None", [1, 2, 9]),
    (65, "<<people.name>> tail", ERROR, [1, 2, 9]),
    (68, " <<cfg.value[key::lst]>>", " [1, 2]", [1, 2, 9]),
    (69, "(<<people.id[name::Bob]>>, <<people.id[name::Ann]>>)", "(2, 1)", [1, 2, 9]),
    (70, "<<people.id[name::Bob]>>.<<people.id[name::Ann]>>", "2.1", [1, 2, 9]),
    (71, "'<<people.name[id::1]>>'", "'Ann'", [1, 2, 9]),
    (72, "path/<<people.name[id::1]>>.csv", "path/Ann.csv", [1, 2, 9]),
    (
        73,
        "<<people(base).name[id::1]>> and <<people.name[id::2]>>",
        "Ann and Bob",
        [1, 2, 9],
    ),
    (113, "<<people.name", "<<people.name", [1, 2, 9]),
    (114, "if x << 3 and y >> 4", ERROR, [1, 2, 9]),
    (114, r"if x \<< 3 and y >> 4", "if x << 3 and y >> 4", [1, 2, 9]),
    (
        115,
        "line1\n<<self.k[index]>>",
        Each(("line1\nAnn", "line1\nBob", "line1\nZed")),
        [1, 2, 9],
    ),
]


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
