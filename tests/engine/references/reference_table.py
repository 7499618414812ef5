"""The conformance table of the reference language: its tables, and what references give."""

from __future__ import annotations

import pandas as pd

from tablevault.errors import TableReferenceError

BASE = "base_1700000000_00000000-0000-4000-8000-000000000000"
ERROR = TableReferenceError


PEOPLE = {
    "id": pd.array([1, 2, 3, 4], dtype="Int64"),
    "name": pd.array(["Ann", "Bob", "O'Hara", "123"], dtype="string"),
    "age": pd.array([30, 25, 41, 30], dtype="Int64"),
    "city": pd.array(["Paris", "Rome", "Paris", "New York"], dtype="string"),
    "flag": pd.array([True, False, True, False], dtype="boolean"),
    "score": pd.array([1.5, 2.5, None, 4.0], dtype="Float64"),
    "a-b": pd.array([5, 6, 7, 8], dtype="Int64"),
    "full name": pd.array(["x", "y", "z", "w"], dtype="string"),
}
CONFIG = {
    "model": "gpt",
    "limit": "3",
    "col": "name",
    "tab": "people",
    "digits": "007",
    "lst": "[1, 2]",
}
EVENTS = {
    "ts": pd.array(
        ["2023-01-01T00:00:00", "2023-01-01T12:00:00", "2023-02-01T00:00:00"], dtype="string"
    ),
    "amt": pd.array([1.5, 2.5, 3.5], dtype="Float64"),
    "cat": pd.Categorical(["x", "y", "x"]),
    "nul": pd.array([None, "b", "c"], dtype="string"),
    "big": pd.array([10, 20, 30], dtype="Int64"),
}


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
    (30, "people.score[id::3]", None),
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
