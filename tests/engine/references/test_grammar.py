"""Laws of the reference language and of builder files, checked on invented text and tables."""

from __future__ import annotations

import string

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tablevault.engine.builders.builder import parse_builder
from tablevault.engine.builders.document import check_builder_text
from tablevault.engine.references import (
    Condition,
    Reference,
    Template,
    View,
    evaluate,
    parse_template,
)
from tablevault.errors import TableReferenceError, TVBuilderError

pytestmark = pytest.mark.property

# -- print and parse --------------------------------------------------------------------------

AWKWARD = [",", ":", "::", "[", "]", "{", "}", "(", ")", "<<", ">>", "'", " ", ".", "\\", "\n", "ü"]
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=6)
WORDS = (
    st.lists(st.sampled_from([*AWKWARD, "a", "1", "=", "<", ">", '"']), max_size=5)
    .map("".join)
    .filter(lambda word: not ("'" in word and '"' in word))
)


@st.composite
def words(draw, depth):
    """Text, or a reference while `depth` allows one."""
    return draw(references(depth - 1)) if depth and draw(st.integers(0, 3)) == 0 else draw(WORDS)


@st.composite
def references(draw, depth=2):
    """References in which no name stands twice where that is refused."""
    table = draw(references(depth - 1)) if depth and draw(st.integers(0, 5)) == 0 else draw(NAMES)
    columns = unlike([draw(words(depth)) for _ in range(draw(st.integers(0, 3)))], lambda c: c)
    conditions = []
    for _ in range(draw(st.integers(0, 3))):
        given_words = [draw(words(depth)) for _ in range(draw(st.integers(1, 3)))]
        conditions.append(Condition(*given_words))
    return Reference(
        table,
        selector=draw(words(depth)),
        columns=tuple(columns) or None,
        conditions=tuple(unlike(conditions, lambda condition: condition.key)),
    )


def unlike(items, key):
    """Leave out items whose key is text that was there before."""
    seen, kept = set(), []
    for item in items:
        if not isinstance(key(item), str) or key(item) not in seen:
            kept.append(item)
            seen.add(key(item) if isinstance(key(item), str) else None)
    return kept


REFERENCES = references()
TEXTS = st.lists(st.sampled_from([*AWKWARD, "a", "<", ">"]), min_size=1, max_size=6).map("".join)


@st.composite
def templates(draw):
    """Parts of which no two texts stand side by side."""
    parts = []
    for part in draw(st.lists(TEXTS | REFERENCES, max_size=5)):
        if not (isinstance(part, str) and parts and isinstance(parts[-1], str)):
            parts.append(part)
    # Text that ends in "<" would run into the "<<" of a reference.
    return Template(
        tuple(part.rstrip("<") + "." if isinstance(part, str) else part for part in parts)
    )


@given(templates())
def test_parsing_what_was_printed_gives_it_back(template):
    assert parse_template(str(template)) == template


@given(templates())
def test_positions_are_those_of_the_text(template):
    text = str(template)
    for reference in parse_template(text).references():
        assert text[reference.start : reference.start + 2] == "<<"
        assert text[reference.end - 2 : reference.end] == ">>"


FRAGMENTS = st.lists(
    st.sampled_from(["<<", ">>", *AWKWARD, "self", "index", "a.b", "[c::1]", "{d,e}"]) | st.text(),
    max_size=14,
).map("".join)


@given(FRAGMENTS)
def test_any_text_is_parsed_or_refused_with_a_place(text):
    try:
        template = parse_template(text)
    except TableReferenceError as error:
        assert error.text == text  # noqa: PT017 - any other error shall fail the test
        assert 0 <= error.start <= error.end <= len(text) + 1  # noqa: PT017
        assert str(error)  # noqa: PT017
    else:
        assert parse_template(str(template)) == template


@given(st.text().filter(lambda text: "<<" not in text))
def test_text_without_references_stays_as_it_is(text):
    assert "".join(parse_template(text).parts) == text


def test_nesting_without_end_is_refused():
    with pytest.raises(TableReferenceError, match="nested more than"):
        parse_template("<<a[b::" * 5000 + "]>>" * 5000)


# -- builder files ----------------------------------------------------------------------------

FIELDS = [
    "builder_type: ColumnBuilder",
    "builder_type: &a [*a]",
    "changed_columns: [a]",
    "changed_columns: <<a.b>>",
    "python_function: f",
    "code_module: m",
    "arguments: {a: '<<self.b[index]>>'}",
    "arguments: {<<: 1}",
    "return_type: row-wise",
    "n_threads: .nan",
    "n_threads: .inf",
    "n_threads: 1e400",
    "is_custom: ~",
    "dtypes: {a: Int64, 1: 2}",
    "dtypes: !!set {a, b}",
    "dependencies: [a.b, {table: c}, '<<']",
    "primary_key: !!binary aaa",
    "keep_old: 2023-01-01",
    "1: [",
]
FILES = st.text() | st.lists(st.sampled_from(FIELDS) | st.text(), max_size=9).map("\n".join)


@given(FILES)
def test_any_text_is_a_builder_or_refused(text):
    try:
        parse_builder("b", text, table="t")
    except (TVBuilderError, TableReferenceError) as error:
        assert error.builder == "b"  # noqa: PT017 - any other error shall fail the test


@given(FILES)
def test_whatever_can_be_parsed_can_be_created(text):
    try:
        check_builder_text("b", text)
    except TVBuilderError:
        with pytest.raises(TVBuilderError):
            parse_builder("b", text, table="t")


# -- evaluation against plain Python ----------------------------------------------------------


class OneTable:
    """A single table, t."""

    def __init__(self, rows):
        frame = pd.DataFrame(
            {
                "i": pd.array([row[0] for row in rows], dtype="Int64"),
                "s": pd.array([row[1] for row in rows], dtype="string"),
                "b": pd.array([row[2] for row in rows], dtype="boolean"),
            }
        )
        self._view = View(("i", "s", "b"), lambda names: frame[list(names)])

    def view(self, table, selector):
        assert (table, selector) == ("t", "")
        return self._view


INTEGERS = st.integers(-3, 3)
LETTERS = st.sampled_from(["", "a", "b", "a,b", "'", "B", "1"])
ROWS = st.lists(
    st.tuples(st.none() | INTEGERS, st.none() | LETTERS, st.none() | st.booleans()), max_size=8
)
EQUAL = (
    st.tuples(st.just("i"), INTEGERS)
    | st.tuples(st.just("s"), LETTERS)
    | st.tuples(st.just("b"), st.booleans())
    | st.tuples(st.just("index"), INTEGERS)
)
RANGES = (
    st.tuples(st.just("i"), INTEGERS, INTEGERS)
    | st.tuples(st.just("s"), LETTERS, LETTERS)
    | st.tuples(st.just("index"), INTEGERS, INTEGERS)
)
CONDITIONS = st.lists(EQUAL | RANGES, min_size=1, max_size=4, unique_by=lambda each: each[0])
COLUMNS = st.lists(st.sampled_from(["i", "s", "b", "index"]), min_size=1, max_size=3, unique=True)


def plain_rows(rows, conditions):
    """Find the rows that meet the conditions, in the most obvious way."""
    found = []
    for position, (number, text, truth) in enumerate(rows):
        cells = {"i": number, "s": text, "b": truth, "index": position}
        fits = True
        for key, low, *high in conditions:
            cell = cells[key]
            fits = fits and cell is not None and (low <= cell < high[0] if high else cell == low)
        if fits:
            found.append(cells)
    return found


def known(cell):
    return None if cell is pd.NA else cell


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.sampled_from([1, 10]), CONDITIONS, COLUMNS)
def test_evaluation_agrees_with_plain_python(rows, times, conditions, columns):
    rows *= times
    reference = Reference(
        "t",
        columns=tuple(columns),
        conditions=tuple(Condition(key, *map(str, values)) for key, *values in conditions),
    )
    tables = OneTable(rows)
    template = parse_template(str(reference))
    evaluate(template, tables)  # from the second time on columns may be searched in order
    result = evaluate(template, tables)
    expected = plain_rows(rows, conditions)
    if not expected:
        assert result is None
    elif len(columns) > 1:
        assert list(result.columns) == columns
        assert list(result.index) == [cells["index"] for cells in expected]
        got = [[known(cell) for cell in row] for row in result.astype(object).to_numpy().tolist()]
        assert got == [[cells[name] for name in columns] for cells in expected]
    elif len(expected) == 1:
        assert known(result) == expected[0][columns[0]]
    else:
        assert [known(cell) for cell in result] == [cells[columns[0]] for cells in expected]


@given(ROWS, st.data())
def test_a_key_from_a_row_finds_what_the_written_key_finds(rows, data):
    tables = OneTable(rows)
    if not rows:
        return
    row = data.draw(st.integers(0, len(rows) - 1))
    by_row = evaluate(parse_template("<<t.{index}[i::<<t.i[index]>>]>>"), tables, row)
    number = rows[row][0]
    written = "None" if number is None else str(number)
    if number is None:
        assert by_row is None
    else:
        again = evaluate(parse_template(f"<<t.{{index}}[i::{written}]>>"), tables)
        assert by_row == again
