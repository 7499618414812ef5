"""A function made once for all rows gives what one gives that is made for each row."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tablevault.engine.builders.arguments import NodeParser, compile_node, evaluate_node
from tablevault.engine.references import by_row, evaluate, parse_template
from tablevault.engine.tables import FixedInstance, RunTables
from tablevault.errors import TableVaultError
from tablevault.names import InstanceId

pytestmark = pytest.mark.property

ROWS = 5
ZONED = pd.to_datetime(["2023-01-01", "2023-01-02", None, "2023-01-01", "2023-02-01"], utc=True)
OTHERS = {
    "o": pd.DataFrame(
        {
            "i": pd.array([0, 1, 1, None, 3, 9, 2], dtype="Int64"),
            "s": pd.array(["a", "b", None, "a,b", "%s", "1", "b"], dtype="string"),
            "f": pd.array([0.5, 1.0, None, 1.0, -2.5, 3.0, 1e9], dtype="Float64"),
            "b": pd.array([True, False, None, True, True, False, None], dtype="boolean"),
            "c": pd.Categorical(["x", "y", None, "x", "x", "z", "y"]),
            "l": pd.Series([[1], {"a": [2]}, None, "text", (3, [4]), 5, [1]], dtype=object),
            "p": pd.Series(["a", "b", None, "NaT", 1, 2.5, dt.date(2023, 1, 1)], dtype=object),
        }
    ),
    "cfg": pd.DataFrame(
        {
            "k": pd.array(["table", "own", "column", "none", "n"], dtype="string"),
            "v": pd.array(["o", "self", "i", None, "1"], dtype="string"),
        }
    ),
    "one": pd.DataFrame({"v": pd.array([1], dtype="Int64")}),
    "void": pd.DataFrame({"v": pd.array([], dtype="Int64")}),
}


class OtherTables:
    """Inputs of one instance a table."""

    def resolve(self, table, selector):
        if table not in OTHERS or selector:
            raise TableVaultError(f"no {table}({selector})")
        return FixedInstance(table=table, instance_id=InstanceId(f"{table}_1"))

    def columns(self, source):
        return tuple(OTHERS[source.table].columns)

    def frame(self, source, columns):
        return OTHERS[source.table][list(columns)]


def tables_of_a_run():
    """Return tables whose draft has finished columns, and two that grow."""
    tables = RunTables(OtherTables())
    tables.draft.set_rows(ROWS)
    columns = {
        "k": pd.array(["a", "b", None, "1", "x"], dtype="string"),
        "n": pd.array([0, 1, 2, None, 9], dtype="Int64"),
        "x": pd.array([1.0, 2.5, None, 3.0, 0.5], dtype="Float64"),
        "z": ZONED,
        "q": pd.Series([[1], "a", None, 2, {"b": []}], dtype=object),
    }
    for name, values in columns.items():
        tables.draft.set_column(name, pd.Series(values, name=name))
    tables.draft.grow(["g", "h"])
    return tables


COLUMNS = {
    "o": ["i", "s", "f", "b", "c", "l", "p", "index"],
    "cfg": ["k", "v"],
    "one": ["v"],
    "void": ["v"],
    "self": ["k", "n", "x", "z", "q", "g", "h", "index"],
}
# Values that some row has, and ranges that hold some; by the kind of column.
NUMBERS = ["0", "1", "1.0", "2", "-1", "<<self.n[index]>>", "<<self.x[index]>>", "<<self.index>>"]
TEXTS = ["a", "b", "'a,b'", "1", "<<self.k[index]>>", "<<cfg.v[k::n]>>", "<<o.s[index]>>"]
FITTING = {
    **dict.fromkeys(["i", "f", "n", "x", "index", "v"], NUMBERS),
    **dict.fromkeys(["s", "p", "k", "g", "h"], TEXTS),
    "b": ["true", "false", "0", "1.0", "<<o.b[index]>>"],
    "c": ["x", "y", "<<o.c[index]>>"],
    "z": ["2023-01-01", "2023-01-02", "2023-03-01", "<<self.z[index]>>"],
}
VALUES = ["0", "1", "1.0", "a", "b", "'a,b'", "x", "true", "2023-01-01", "''", "-1", "inf", "table"]
NESTED = [
    "<<self.k[index]>>",
    "<<self.n[index]>>",
    "<<self.x[index]>>",
    "<<self.z[index]>>",
    "<<self.g[index]>>",
    "<<self.g[index::0]>>",
    "<<self.q[index]>>",
    "<<self.index>>",
    "<<one.v>>",
    "<<one.v[index::0]>>",
    "<<o.i[index]>>",
    "<<o.s[i::<<self.n[index]>>]>>",
    "<<o.i[s::b]>>",
    "<<cfg.v[k::n]>>",
    "<<cfg.v[k::none]>>",
]


@st.composite
def references(draw):
    """References most of which can be evaluated."""
    table = draw(st.sampled_from(["o", "o", "self", "self", "cfg", "one", "void"]))
    names = COLUMNS[table]
    wanted = draw(st.permutations(names))[: draw(st.sampled_from([0, 1, 1, 1, 1, 2, 3]))]
    columns = f".{wanted[0]}" if len(wanted) == 1 else f".{{{','.join(wanted)}}}" if wanted else ""
    if draw(st.integers(0, 9)) == 0:
        columns = draw(
            st.sampled_from([".<<cfg.v[k::column]>>", ".nope", ".{i,<<self.k[index]>>}"])
        )
    conditions = []
    count = draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3]))
    for key in draw(st.permutations([*dict.fromkeys([*names, "index"])]))[:count]:
        kind = draw(st.sampled_from(["bare", "equal", "equal", "equal", "range"]))
        values = st.sampled_from(FITTING.get(key, VALUES))
        if draw(st.integers(0, 9)) == 0:
            values = st.sampled_from([*VALUES, *NESTED])
        low, high = draw(values), draw(values)
        conditions.append(
            {"bare": key, "equal": f"{key}::{low}", "range": f"{key}::{low}:{high}"}[kind]
        )
    if draw(st.integers(0, 15)) == 0:
        table = draw(
            st.sampled_from(["<<cfg.v[k::table]>>", "<<cfg.v[k::own]>>", "<<self.k[index]>>"])
        )
    rows = f"[{','.join(conditions)}]" if conditions else ""
    return f"<<{table}{columns}{rows}>>"


TEMPLATES = st.one_of(
    references(),
    st.lists(st.sampled_from(["", "%", "%s ", "{0}", "x "]) | references(), max_size=4).map(
        "".join
    ),
)
PUT = (
    st.sampled_from([None, pd.NA, float("nan"), np.float64("nan"), 1.5, True, "a", "ü", "\ud800"])
    | st.sampled_from([0, 1, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    | st.sampled_from([[1], {"a": 1}, (1,), b"x", dt.date.min, dt.timedelta(1)])
    | st.sampled_from([np.int8(1), np.float32(0.5), np.bool_(True), np.str_("b")])
    | st.sampled_from([pd.Timestamp("2023-01-01"), pd.Timestamp("2023-01-01", tz="UTC")])
)


def outcome(call, *given_arguments):
    """Return the result, or the text of the error."""
    try:
        return call(*given_arguments)
    except TableVaultError as error:
        return type(error), str(error), error.facts


def assert_same(first, second):
    """Compare results to the last type."""
    assert type(first) is type(second)
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_index_type=True)
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, dict):
        assert_same(list(first.items()), list(second.items()))
    elif pd.api.types.is_scalar(first) and pd.isna(first):
        assert pd.isna(second)
    else:
        assert first == second


def spoil(result):
    """Change all that can be changed in a result."""
    if isinstance(result, pd.DataFrame):
        for name in result.columns:
            for cell in result[name].tolist():
                spoil(cell)
            result[name].array[:] = None
    elif isinstance(result, list):
        for cell in result:
            spoil(cell)
        result.clear()
    elif isinstance(result, dict):
        spoil(list(result.values()))
        result.clear()


@settings(suppress_health_check=[HealthCheck.too_slow])
@example("<<o.{i,l}[i::1]>>", [])
@example("<<o.l[i::1]>>", [])
@example("<<o.l[index::1]>>", [])
@example("<<o.p[p::<<self.z[index]>>]>>", [])
@example("<<o.s[f::<<self.x[index]>>]>>", [])
@example("<<o.s[i::<<self.g[index::0]>>]>>", [1, 1, 1, 1])
@example("<<self.g[index::0]>>", [1, 2, 3])
@example("100 %% <<self.k[index]>>", [])
@example("<<self>> is no text", [])
@example("%s <<o.s[i::<<self.n[index]>>]>> %", [])
@example("<<self[index]>>", [1, 2**63, -1, "a", None])
@example("<<self.{g,k}[g::1]>>", [1, 1, 1, 1, 1])
@given(TEMPLATES, st.lists(PUT, max_size=ROWS))
def test_a_function_made_once_gives_the_same_results_and_errors(text, put):
    try:
        template = parse_template(text, builder="b", field="arguments.x")
    except TableVaultError:
        return
    # Tables of their own, so that neither finds what the other has made.
    compiled_tables, tables = tables_of_a_run(), tables_of_a_run()
    compiled = by_row(template, compiled_tables)
    for row in range(ROWS):
        result = outcome(compiled, row)
        assert_same(result, outcome(evaluate, template, tables, row))
        spoil(result)
        if row < len(put):
            for draft in (compiled_tables.draft, tables.draft):
                draft.put(row, {"g": put[row], "h": [put[row]]})


@example([1, 2**63], [2])
@example([2**63, -1], [2])
@example(["\ud800", "a"], [2])
@given(st.lists(PUT, max_size=ROWS), st.lists(st.integers(0, ROWS - 1), min_size=1, unique=True))
def test_rows_of_a_growing_column_are_those_of_the_whole(put, rows):
    draft = tables_of_a_run().draft
    for row, value in enumerate(put):
        draft.put(row, {"g": value})
        part = draft.frame(["g"], sorted(rows))
        pd.testing.assert_frame_equal(part, draft.frame(["g"], None).iloc[sorted(rows)])


NODES = st.recursive(
    st.sampled_from([1, None, "text", True, "<<self.k[index]>>", "<<o.l[i::<<self.n[index]>>]>>"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", 1, "<<self.n[index]>>", "<<o>>"]), inner)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(NODES)
def test_grown_by_row_is_grown_results_and_errors_alike(value):
    node = NodeParser("b").node(value, "arguments")
    compiled_tables, tables = tables_of_a_run(), tables_of_a_run()
    compiled = compile_node(node, compiled_tables)
    for row in range(ROWS):
        result = outcome(compiled, row)
        assert_same(result, outcome(evaluate_node, node, tables, row))
        spoil(result)
