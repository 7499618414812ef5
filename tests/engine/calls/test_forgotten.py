"""Which calls of deleted instances no other file holds."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tablevault.engine.calls import forgotten
from tablevault.engine.calls.call_file import SCHEMA, key_of, write_calls
from tablevault.engine.calls.forgotten import forgotten_calls

ROWS = 70_000
"""More than are read at once."""


@pytest.fixture
def file(tmp_path):
    """Write the calls of some inputs, each at the cost of 1, and return the file."""

    def write(name, numbers, code="aa", outcome="ok", builder="ask"):
        keys = [key_of(number.to_bytes(8, "little")) for number in numbers]
        known = {"key": keys, "cost": [1.0] * len(keys), "row": range(len(keys))}
        words = {"code": code, "outcome": outcome, "builder": builder}
        columns = [
            pa.array(known[each.name], each.type)
            if each.name in known
            else pa.array([words.get(each.name)] * len(keys), pa.string()).cast(each.type)
            for each in SCHEMA
        ]
        with (tmp_path / name).open("wb") as sink:
            write_calls([pa.Table.from_arrays(columns, schema=SCHEMA)], sink, "", {})
        return tmp_path / name

    return write


def test_calls_in_no_other_file_are_forgotten(file):
    gone = file("gone", range(ROWS))
    others = [file("a", range(ROWS // 2)), file("b", range(ROWS // 4, ROWS - 3))]
    found = forgotten_calls([gone], others)
    assert (found.calls, found.cost, found.is_exact, found.uncounted) == (3, 3.0, True, 0)


def test_a_call_in_several_deleted_files_is_one_call(file):
    assert forgotten_calls([file("a", range(10)), file("b", range(5, 12))], []).calls == 12


def test_the_same_inputs_of_another_code_are_another_call(file):
    gone, other = file("gone", range(10)), file("other", range(10), code="bb")
    assert forgotten_calls([gone], [other]).calls == 10


def test_a_call_that_raised_holds_nothing(file):
    gone, failed = file("gone", range(10)), file("failed", range(10), outcome="error")
    assert forgotten_calls([gone], [failed]).calls == 10
    assert forgotten_calls([failed], []).calls == 0


def test_calls_of_an_index_builder_do_not_count(file):
    assert forgotten_calls([file("gone", [1], builder="t_index")], []).calls == 0


def test_a_file_that_is_missing_or_damaged_makes_it_a_limit(file, tmp_path):
    (tmp_path / "damaged").write_bytes(b"PAR1")
    gone = file("gone", range(10))
    for unreadable in (None, tmp_path / "damaged"):
        found = forgotten_calls([gone, unreadable], [unreadable])
        assert (found.calls, found.is_exact, found.uncounted) == (10, False, 1)
        assert str(found).startswith("Forgets at most 10 calls that")


def test_no_more_files_are_read_than_are_needed(file):
    def others():
        yield file("other", range(10))
        raise AssertionError("all calls were found before")

    assert str(forgotten_calls([file("gone", range(10))], others())) == ""


def test_only_so_many_rows_are_counted(file, monkeypatch):
    monkeypatch.setattr(forgotten, "_MOST_ROWS", 4)
    found = forgotten_calls([file("a", range(5)), file("b", range(5, 10))], [])
    assert (found.calls, found.uncounted) == (5, 1)


def test_calls_are_united_as_they_are_counted(file, monkeypatch):
    monkeypatch.setattr(forgotten, "_ROWS_UNSORTED", 3)
    files = [file(str(number), range(number, number + 4)) for number in range(9)]
    assert forgotten_calls(files, []).calls == 12


def test_only_so_many_rows_are_compared(file, monkeypatch):
    monkeypatch.setattr(forgotten, "_MOST_ROWS", 4)
    others = [file("a", range(5)), file("b", range(5, 10))]
    found = forgotten_calls([file("gone", range(10))], others)
    assert (found.calls, found.is_exact) == (5, False)
