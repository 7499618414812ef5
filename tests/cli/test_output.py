"""What a person sees of texts that somebody else wrote, and what a program gets."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from datetime import date

import pytest

from tablevault.cli.output import Document, Drawing, Listing, TextOutput, iso_time, show
from tablevault.queries.describe import Node
from tablevault.queries.lineage_drawing import branches
from tablevault.render import tree

EVIL = "\x1b]0;title\x07\x1b[31mred\x1b[2J\r\x7f\x9b31m\u202egnp.exe\u2066 ü"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Terminal(io.StringIO):
    def isatty(self):
        return True


VALUES = {
    "text": TextOutput(EVIL, EVIL),
    "plain": EVIL,
    "document": Document(EVIL),
    "json": {EVIL: [EVIL]},
    "listing": Listing(columns=["a"], rows=[[EVIL]], value=[EVIL]),
    "tree": Drawing(draw=lambda: tree(Node(label=EVIL, children=(Node(label=EVIL),))), value=None),
}


@pytest.mark.parametrize("kind", VALUES)
def test_nothing_that_somebody_wrote_steers_a_terminal(kind):
    terminal = Terminal()
    show(VALUES[kind], terminal, as_json=False)
    shown = terminal.getvalue()
    assert not _STEERING.search(_COLOURS.sub("", shown))
    assert "\x1b[31mred" not in shown
    assert "ü" in shown


def test_a_program_gets_texts_as_they_are():
    for value, as_json in (
        (TextOutput(EVIL, EVIL), False),
        (Document(EVIL), False),
        (TextOutput("", EVIL), True),
    ):
        pipe = io.StringIO(newline="")
        show(value, pipe, as_json=as_json)
        got = pipe.getvalue().removesuffix("\n")
        assert (json.loads(got) if as_json else got) == EVIL


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1795941483.834184, "2026-11-29T08:38:03.834184Z"),
        (1795941483.9999999, "2026-11-29T08:38:04.000000Z"),
        (-0.5, "1969-12-31T23:59:59.500000Z"),
        (253402300800.0, "10000-01-01T00:00:00.000000Z"),
    ],
)
def test_a_time_in_json_is_iso_8601_in_utc(at, text):
    assert iso_time(at) == text


def test_json_has_only_numbers_that_json_knows():
    infinite = float("inf")
    value = {"a": [infinite, -infinite, float("nan"), 1.5], (1, "b"): {True: None, 2: infinite}}
    pipe = io.StringIO()
    show(value, pipe, as_json=True)
    got = json.loads(pipe.getvalue(), parse_constant=pytest.fail)
    assert got == {
        "a": ["Infinity", "-Infinity", "NaN", 1.5],
        "(1, 'b')": {"true": None, "2": "Infinity"},
    }


def test_json_has_what_a_file_of_a_dataframe_has_of_other_values():
    pipe = io.StringIO()
    show([b"\x00\xff", date(2024, 1, 2), {3}], pipe, as_json=True)
    assert json.loads(pipe.getvalue()) == ["00ff", "2024-01-02", [3]]


LISTING = Listing(
    columns=["instance", "what"],
    rows=[["base_1795824993_f6102c20-46ee-491e-a9e2-fac6cb908933", "some words about it"]] * 2,
    value=[],
)


@pytest.mark.parametrize("columns", [20, 40, 60, 75, 100, 200])
def test_no_id_is_broken_over_lines_however_narrow_a_terminal_is(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    show(LISTING, terminal, as_json=False)
    assert _COLOURS.sub("", terminal.getvalue()).count(LISTING.rows[0][0]) == 2


@pytest.mark.parametrize("columns", range(60, 150, 3))
def test_no_column_is_cut_however_many_there_are(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    row = ["2026-11-29 03:19:17", "b7f6f5f014", "some words " * 9, "x" * 36, "last words"]
    listing = Listing(columns=["time", "commit", "what", "process", "error"], rows=[row], value=[])
    terminal = Terminal()
    show(listing, terminal, as_json=False)
    shown = _COLOURS.sub("", terminal.getvalue())
    words = [*listing.columns, *" ".join(row).split()]
    assert sorted(word for word in shown.split() if "\u2500" not in word) == sorted(words)
    assert "\u2500" not in shown or max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize(("value", "is_styled"), [("", True), ("1", False)])
def test_with_no_color_nothing_is_styled(value, is_styled, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", value)
    terminal = Terminal()
    show(LISTING, terminal, as_json=False)
    assert ("\x1b[" in terminal.getvalue()) == is_styled


@pytest.mark.parametrize("columns", [40, 200])
def test_what_is_below_a_list_stands_apart_once(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for rows, before in ((LISTING.rows, ""), ([], None)):
        terminal = Terminal()
        listing = dataclasses.replace(LISTING, rows=rows, if_empty="That is all.", footer="Total")
        show(listing, terminal, as_json=False)
        *_, above, last = [None, *map(str.strip, terminal.getvalue().splitlines())]
        assert (above, last) == (before, "Total" if rows else "That is all.")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_tree_cuts_no_name_however_narrow_a_terminal_is(stream, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    node = Node(label="table", children=(Node(label="x" * 200),))
    shown = stream()
    show(Drawing(draw=lambda: tree(node), value=None), shown, as_json=False)
    assert shown.getvalue() == f"table\n└── {'x' * 200}\n"


def test_a_drawing_is_one_where_a_terminal_has_but_ascii():
    made = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show("├── a → b\n└── ü", made, as_json=False)
    made.flush()
    assert made.buffer.getvalue() == b"+-- a -> b\n`-- \\xfc\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_and_documents_in_a_pipe_are_whole_in_any_locale(encoding):
    text = "é → 🎉"
    for value, as_json, read in (
        (TextOutput("", [text]), True, lambda found: json.loads(found)[0]),
        (Document(text), False, str),
    ):
        pipe = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        show(value, pipe, as_json=as_json)
        pipe.flush()
        assert read(pipe.buffer.getvalue().decode("utf-8").removesuffix("\n")) == text


def test_a_list_in_a_pipe_is_a_record_a_line():
    pipe = io.StringIO(newline="")
    show(LISTING, pipe, as_json=False)
    assert pipe.getvalue().splitlines() == ["\t".join(row) for row in LISTING.rows]


@pytest.mark.parametrize(
    ("lines", "drawn"),
    [
        (["a"], ["a"]),
        (["a", "  b", "  c"], ["a", "├── b", "└── c"]),
        (
            ["a", "  from b", "       c", "  from d", "e"],
            ["a", "├── from b", "│   └── c", "└── from d", "e"],
        ),
        (["a", "  b", "     c", "     d"], ["a", "└── b", "    ├── c", "    └── d"]),
    ],
)
def test_an_indented_list_is_drawn_as_a_tree(lines, drawn):
    assert branches(lines) == drawn
