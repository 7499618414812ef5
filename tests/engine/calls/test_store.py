"""Records of calls: found by their key, whatever happens to executions, processes and the file."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time

import pandas as pd
import pytest

from tablevault.engine.calls.ledger import OwnCalls
from tablevault.engine.calls.records import NO_ROW, UNKNOWN_ROW, CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.errors import TVTableError

CODE, OTHER = b"c" * 16, b"o" * 16


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state/calls.sqlite"


@pytest.fixture
def store(path):
    made = CallStore(path)
    yield made
    made.close()


def call(row=0, *, inputs=None, code=CODE, value="[1]", outcome="ok", builder="b", at=1.0):
    key = inputs or f"arguments-------row{row:05}".encode()
    return CallRecord(0, builder, row, key, code, outcome, value, at, 0.5, None)


def values(store, *inputs, code=CODE):
    return [found.value for found in store.find(inputs, code).values()]


def test_nothing_is_found_and_nothing_made_where_there_is_no_file(store, path):
    assert store.find([b"x"], CODE) == {}
    assert store.execution_of("t") is None
    assert store.builders_of("base_1_x") is None
    assert store.sweep([], [], 0.0).calls == 0
    assert store.problem() == ""
    store.checkpoint()
    assert not path.parent.exists()


def test_a_call_keeps_what_it_cost_and_who_made_it(store):
    execution = store.begin("t", "p", forget=False)
    spent = {"model": "m", "input_tokens": 3, "output_tokens": 5, "cost": 0.25}
    made = call(7)._replace(**spent, files='{"a.png": ["00", 2]}')
    store.write(execution, [made, made._replace(row=8, inputs=b"other", process="q")])
    found = store.find([made.inputs, b"other"], CODE)
    assert found[made.inputs] == made._replace(id=1, process="p")
    assert found[b"other"].process == "q"


def test_a_call_is_found_by_its_inputs_and_its_code(store):
    execution = store.begin("t", "p", forget=False)
    made = call(7)
    store.write(execution, [made, call(8, code=OTHER, value="[2]")])
    (found,) = store.find([made.inputs, b"nope"], CODE).values()
    assert found._replace(id=0) == made._replace(process="p")
    assert values(store, call(8).inputs) == []
    assert values(store, call(8).inputs, code=None) == ["[2]"]


def test_of_two_calls_with_one_key_the_later_counts(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call(value="[1]")])
    store.write(execution, [call(value="[2]")])
    assert values(store, call().inputs) == ["[2]"]
    assert store.rows(execution, "b")[0].value == "[2]"
    assert store.count(execution, "b") == 1


def test_failures_are_recorded_and_never_found(store):
    execution = store.begin("t", "p", forget=False)
    failed = call(value=None, outcome="error")._replace(error="ValueError: no")
    store.write(execution, [failed])
    assert store.find([failed.inputs], CODE) == {}
    assert store.rows(execution, "b") == {}
    assert store.count(execution, "b") == 0


def test_what_was_rejected_is_found_but_is_no_row(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call(outcome="rejected")])
    (found,) = store.find([call().inputs], CODE).values()
    assert found.outcome == "rejected"
    assert store.count(execution, "b") == 0


def test_many_keys_can_be_asked_for(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call(row) for row in range(2000)])
    found = store.find([call(row).inputs for row in range(3000)], CODE)
    assert len(found) == 2000


def test_calls_with_equal_arguments_are_found_whatever_row_they_were_for(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call(inputs=b"arguments-------row00001")])
    assert store.find_alike(b"arguments-------", CODE) is not None
    assert store.find_alike(b"arguments-------", OTHER) is None
    assert store.find_alike(b"arguments------x", CODE) is None


def test_an_execution_goes_on_under_another_process(store):
    first = store.begin("t", "p", forget=False)
    store.write(first, [call()])
    assert store.begin("t", "p", forget=False) == first
    assert list(store.rows(first, "b")) == [0]
    assert store.begin("t", "q", forget=False) == first
    assert store.execution_of("t")[:2] == (first, "q")
    assert values(store, call().inputs) == ["[1]"]
    assert store.rows(first, "b") == {}  # the table may have other rows now
    assert store.count(first, "b") == 0


def test_a_forced_execution_forgets_rows_of_others_but_not_its_own(store):
    first = store.begin("t", "p", forget=True)
    store.write(first, [call()])
    assert store.begin("t", "p", forget=True) == first
    second = store.begin("t", "q", forget=True)
    assert store.rows(second, "b") == {}
    assert values(store, call().inputs) == ["[1]"]


def test_rows_that_were_found_belong_to_the_execution(store):
    store.write(store.begin("t", "p", forget=False), [call(3)])
    (found,) = store.find([call(3).inputs], CODE).values()
    execution = store.begin("u", "q", forget=False)
    store.take(execution, "other", [(5, found.id)])
    assert store.rows(execution, "other")[5].value == "[1]"
    assert store.count(execution, "other") == 1


def test_a_dataframe_comes_back_as_it_was(store):
    execution = store.begin("t", "p", forget=False)
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [["x"], {"y": 1}]})
    store.write_frame(execution, call(NO_ROW), frame)
    found = store.frame_of(call(NO_ROW))
    pd.testing.assert_frame_equal(found, frame)
    assert store.frame_of(call(NO_ROW, code=OTHER)) is None
    with pytest.raises(TVTableError):
        store.write_frame(execution, call(1), pd.DataFrame({"a": [object()]}))
    assert store.find([call(1).inputs], CODE) == {}


def test_a_large_dataframe_is_kept_in_parts(store, monkeypatch):
    monkeypatch.setattr("tablevault.engine.calls.store._PART_BYTES", 1000)
    execution = store.begin("t", "p", forget=False)
    frame = pd.DataFrame({"a": range(5000)})
    store.write_frame(execution, call(NO_ROW), frame)
    pd.testing.assert_frame_equal(store.frame_of(call(NO_ROW)), frame)


def test_an_instance_is_known_by_what_was_noted(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call()])
    store.assign(execution, "base_1_x", {"b": {"code": "00"}})
    assert store.builders_of("base_1_x") == {"b": {"code": "00"}}
    assert store.execution_of("t") is None
    assert values(store, call().inputs) == ["[1]"]


def test_calls_stay_as_long_as_an_instance_or_an_execution_has_them(store):
    claimed = store.begin("t", "p", forget=False)
    store.write(claimed, [call(1)])
    store.assign(claimed, "base_1_x", {})
    paused = store.begin("u", "q", forget=False)
    store.write(paused, [call(2)])
    gone = store.begin("v", "r", forget=False)
    store.write(gone, [call(3), call(4, at=time.time())])
    store.write_frame(gone, call(5), pd.DataFrame({"a": [1]}))
    assert store.sweep(["u"], ["base_1_x"], 60.0, dry_run=True).calls == 2
    assert store.sweep(["u"], ["base_1_x"], 60.0).calls == 2
    assert values(store, *(call(row).inputs for row in range(6))) == ["[1]"] * 3
    assert store.frame_of(call(5)) is None
    assert store.execution_of("v") is None
    assert store.sweep([], [], 0.0).calls == 3
    assert store.builders_of("base_1_x") is None


def test_what_one_process_writes_another_one_finds(store, path, python, finish):
    text = (
        "import sys; from pathlib import Path; from tablevault.engine.calls.store import *;"
        "store = CallStore(Path(sys.argv[1])); number = store.begin('t', 'p', forget=False);"
        "made = CallRecord(0, 'b', 0, b'k' * 24, b'c' * 16, 'ok', '[9]', 1.0, 1.0, None);"
        "store.write(number, [made])"
    )
    store.begin("u", "q", forget=False)
    finish(python(text, path))
    assert values(store, b"k" * 24) == ["[9]"]


def test_two_threads_and_two_stores_write_at_the_same_time(store, path):
    other = CallStore(path)
    executions = [store.begin("t", "p", forget=False), other.begin("u", "q", forget=False)]
    start = threading.Barrier(4)

    def write(number: int) -> None:
        which = (store, other)[number % 2]
        start.wait()
        for row in range(50):
            which.write(executions[number % 2], [call(1000 * number + row)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [call(1000 * number + row).inputs for number in range(4) for row in range(50)]
    assert len(values(store, *keys)) == 200
    other.close()


def test_two_who_make_the_file_at_once_both_have_it(path, monkeypatch):
    """SQLite makes one of them fail at once, whatever the time-out."""
    refusals = ["first", "second"]

    class Refused(sqlite3.Connection):
        def execute(self, sql, *arguments):
            if sql == "PRAGMA journal_mode = WAL" and refusals:
                refusals.pop()
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return super().execute(sql, *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Refused, **k))
    store = CallStore(path)
    store.write(store.begin("t", "p", forget=False), [call(1)])
    assert values(store, call(1).inputs) == ["[1]"]
    store.close()
    assert not refusals


def test_a_copy_of_the_process_has_a_connection_of_its_own(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call(1)])
    child = os.fork()
    if not child:
        found = values(store, call(1).inputs)
        store.close()
        os._exit(0 if found == ["[1]"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    store.write(execution, [call(2)])
    assert len(values(store, call(1).inputs, call(2).inputs)) == 2
    assert store.problem() == ""


def test_killed_after_a_write_nothing_is_lost(path, python):
    text = (
        "import os, signal, sys; from pathlib import Path;"
        "from tablevault.engine.calls.store import *;"
        "store = CallStore(Path(sys.argv[1])); number = store.begin('t', 'p', forget=False);"
        "made = CallRecord(0, 'b', 0, b'k' * 24, b'c' * 16, 'ok', '[9]', 1.0, 1.0, None);"
        "store.write(number, [made]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert python(text, path).wait() == -signal.SIGKILL
    store = CallStore(path)
    assert values(store, b"k" * 24) == ["[9]"]
    assert store.problem() == ""
    store.close()


def test_killed_within_a_write_nothing_of_it_is_there(path, python):
    text = (
        "import os, signal, sys; from pathlib import Path;"
        "from tablevault.engine.calls.store import *\n"
        "store = CallStore(Path(sys.argv[1])); number = store.begin('t', 'p', forget=False)\n"
        "with store._write() as connection:\n"
        "    connection.execute(\"INSERT INTO instances VALUES ('i', '{}')\")\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert python(text, path).wait() == -signal.SIGKILL
    store = CallStore(path)
    assert store.builders_of("i") is None
    store.write(store.begin("t", "p", forget=False), [call()])
    store.close()


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_a_damaged_file_is_moved_aside(path, caplog, damage):
    store = CallStore(path)
    store.write(store.begin("t", "p", forget=False), [call(row) for row in range(500)])
    store.checkpoint()
    store.close()
    if damage == "text":
        path.write_text("no database, but text that is long enough to be one" * 100)
    else:
        os.truncate(path, 100 if damage == "cut" else 0)
    again = CallStore(path)
    assert values(again, call(1).inputs) == []
    execution = again.begin("t", "p", forget=False)
    again.write(execution, [call(1)])
    assert values(again, call(1).inputs) == ["[1]"]
    if damage != "empty":
        assert "cannot be read" in caplog.text
        assert len(list(path.parent.glob("calls.sqlite.damaged-*"))) == 1
    again.close()


def test_damage_is_told(store, path):
    store.write(store.begin("t", "p", forget=False), [call(row) for row in range(500)])
    store.checkpoint()
    store.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    assert CallStore(path).problem()


def test_a_file_of_another_version_is_moved_aside(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE calls (x)")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = CallStore(path)
    store.write(store.begin("t", "p", forget=False), [call()])
    assert values(store, call().inputs) == ["[1]"]
    store.close()


def test_a_full_disk_is_an_error_of_the_disk(store, monkeypatch):
    execution = store.begin("t", "p", forget=False)
    store._open().execute("PRAGMA max_page_count = 30")
    with pytest.raises(OSError, match="No space left"):
        store.write(execution, [call(row, value="x" * 1000) for row in range(500)])
    store._open().execute("PRAGMA max_page_count = 100000")
    assert store.rows(execution, "b") == {}
    store.write(execution, [call()])
    assert list(store.rows(execution, "b")) == [0]


class TestShortCalls:
    """Calls whose inputs enter the index when calls are looked up."""

    @pytest.fixture
    def execution(self, store):
        number = store.begin("t", "p", forget=False)
        calls = [call(row)._replace(duration_s=1e-6) for row in range(3)]
        store.write(number, calls, longest_unindexed_s=0.001)
        return number

    def indexed(self, store):
        return store.read("SELECT row FROM calls WHERE unindexed IS NULL ORDER BY row", ())

    def test_they_are_not_in_the_index_at_first_but_long_ones_are(self, store, execution):
        store.write(execution, [call(3)], longest_unindexed_s=0.001)
        assert self.indexed(store) == [(3,)]

    def test_they_are_found(self, store, execution):
        assert values(store, call(1).inputs) == ["[1]"]
        assert self.indexed(store) == [(0,), (1,), (2,)]

    def test_they_are_found_by_arguments_and_by_instance(self, store, execution):
        assert store.find_alike(b"arguments-------", CODE) is not None
        store.assign(execution, "base_1_x", {})
        assert self.indexed(store) == [(0,), (1,), (2,)]
        assert store.holders([call(1).inputs], CODE) == {"base_1_x"}

    def test_another_process_finds_them(self, store, execution, path):
        other = CallStore(path)
        assert values(other, call(2).inputs) == ["[1]"]
        other.close()

    def test_they_are_placed_where_they_failed_before(self, store):
        execution = store.begin("t", "p", forget=False)
        failed = call(0, outcome="error", value=None)._replace(duration_s=1e-6)
        store.write(execution, [failed], longest_unindexed_s=0.001)
        again = store.begin("t", "q", forget=False)
        made = call(5, inputs=failed.inputs)._replace(duration_s=1e-6)
        store.write(again, [made], longest_unindexed_s=0.001)
        store.place_failures(again)
        assert store.read("SELECT row FROM calls ORDER BY id", ()) == [(5,), (5,)]


def test_what_is_looked_up_by_inputs_is_never_searched_call_by_call(store):
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [call(), call(UNKNOWN_ROW, value=None, outcome="error")])
    asked = []
    connection = store._open()
    connection.set_trace_callback(asked.append)
    store.find([call().inputs], CODE)
    store.holders([call().inputs], CODE)
    store.find_alike(b"arguments-------", CODE)
    store.place_failures(execution)
    OwnCalls.recorded(store, execution, "b").find([call().inputs])
    connection.set_trace_callback(None)
    by_inputs = [sql for sql in asked if ".inputs" in sql and sql.startswith("SELECT")]
    assert len(by_inputs) == 5
    for sql in by_inputs:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert any("calls_by_inputs" in step for step in steps), sql
        assert not any(step.startswith(("SCAN c", "SCAN n")) for step in steps), sql
