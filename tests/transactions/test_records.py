"""Records as values and as files, what excludes what, and the local history."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.files.locks import is_held, locked, take_lock
from tablevault.history.git.refs import RefMove
from tablevault.names import CommitId, ObjectId, ProcessId
from tablevault.transactions import records
from tablevault.transactions.records import Hold, Record, RecordStore, Request, decode_record

ANYTHING = "."  # json words its errors itself

texts = st.text(max_size=20)
times = st.floats(0, 4e9, allow_nan=False)
commits = st.one_of(st.none(), st.just(CommitId("ab" * 20)))
oids = st.lists(st.just(ObjectId("cd" * 32)), max_size=2).map(tuple)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), texts)
any_records = st.builds(
    Record,
    process_id=texts.map(ProcessId),
    named=st.booleans(),
    request=st.builds(
        Request,
        operation=texts,
        arguments=st.dictionaries(texts, st.one_of(scalars, st.lists(scalars)), max_size=3),
    ),
    author=texts,
    parent=texts,
    holds=st.lists(
        st.builds(Hold, resource=texts, exclusive=st.booleans(), alone=st.booleans()), max_size=3
    ).map(tuple),
    started_at=times,
    updated_at=times,
    pid=st.integers(1, 1 << 22),
    steps=st.lists(st.tuples(texts, times), max_size=3).map(tuple),
    pins=oids,
    made=oids,
    moves=st.lists(st.builds(RefMove, ref=texts, old=commits, new=commits), max_size=3).map(tuple),
    error=st.tuples(texts, texts),
)


@given(any_records)
def test_a_record_is_read_as_it_was_written(record):
    assert decode_record(record.encode()) == record


def test_a_path_that_is_no_utf8_can_be_an_argument():
    record = sample(request=Request(operation="op", arguments={"copy_dir": "/tmp/\udcff"}))
    assert decode_record(record.encode()) == record


def sample(**changes):
    facts = {
        "process_id": ProcessId("p"),
        "named": False,
        "request": Request(operation="op", arguments={"a": 1}),
        "author": "Ana",
        "holds": (Hold(resource="tables/t", exclusive=True),),
        "started_at": 1.0,
        "updated_at": 2.0,
        "pid": 1,
        "moves": (RefMove(ref="r", old=None, new=CommitId("ab" * 20)),),
    }
    return Record(**(facts | changes))


def test_a_record_that_is_cut_off_anywhere_is_none():
    whole = sample().encode()
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=ANYTHING):
            decode_record(whole[:length])


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b'"x"', b"\xff", b"{}", b"\0" * 100])
def test_what_is_no_record_is_an_error(data):
    with pytest.raises(ValueError, match=ANYTHING):
        decode_record(data)


@pytest.mark.parametrize("key", sorted(json.loads(sample().encode())))
def test_a_record_that_lacks_a_fact_is_an_error(key):
    fields = json.loads(sample().encode())
    del fields[key]
    with pytest.raises(ValueError, match="no process record"):
        decode_record(json.dumps(fields).encode())


def test_a_failure_that_gives_no_text_is_noted_all_the_same():
    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert sample().failed(SilentError(), 1.0).error == ("SilentError", "it gives no text")


def test_a_failure_is_noted_beside_everything_else():
    failed = sample().failed(KeyError("x"), 9.0)
    assert failed.error == ("KeyError", "'x'")
    assert failed.updated_at == 9.0
    assert failed.holds == sample().holds


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("tables/t", "tables/t", True),
        ("tables/t", "tables/t/TEMP_base", True),
        ("tables/t/TEMP_base", "tables/t", True),
        ("tables/t", "tables/t2", False),
        ("tables/t/TEMP_a", "tables/t/TEMP_ab", False),
        ("tables/t/TEMP_a", "tables/t/artifacts", False),
        ("code", "tables/code", False),
        ("code", "code", True),
    ],
)
@pytest.mark.parametrize("exclusive", [(True, True), (True, False), (False, True), (False, False)])
def test_an_exclusive_claim_excludes_what_lies_above_and_below(one, other, related, exclusive):
    mine = Hold(resource=one, exclusive=exclusive[0])
    its = Hold(resource=other, exclusive=exclusive[1])
    assert mine.excludes(its) == its.excludes(mine) == (related and any(exclusive))


def record(process_id="p", **changes):
    made = Record(
        process_id=ProcessId(process_id),
        named=True,
        request=Request(operation="op", arguments={}),
        author="Ana",
        started_at=1.0,
        updated_at=2.0,
        pid=1,
    )
    return replace(made, **changes)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "processes").mkdir()
    return RecordStore(tmp_path)


@pytest.mark.parametrize(
    "process_id", ["p", "..", ".", "a/b", "ä ö", "x" * 4000, "p.json", "p.lock", ".p.json.tmp"]
)
def test_any_id_has_its_own_files_within_the_folder(files, tmp_path, process_id):
    neighbour = record("neighbour")
    files.write(neighbour)
    files.write(record(process_id))
    assert files.read(ProcessId(process_id)) == record(process_id)
    with locked(files.lock_file(ProcessId(process_id))):
        assert files.is_alive(ProcessId(process_id))
    files.remove(ProcessId(process_id))
    assert list(files.every()) == [neighbour]
    assert [path.name for path in (tmp_path / "processes").iterdir()] == ["neighbour.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["processes"]


def test_records_are_read_oldest_first(files):
    records = [
        record("c", started_at=1.0),
        record("a", started_at=2.0),
        record("b", started_at=2.0),
    ]
    for each in reversed(records):
        files.write(each)
    assert list(files.every()) == records


def test_what_is_no_whole_record_is_passed_over(files, tmp_path):
    files.write(record())
    (tmp_path / "processes/torn.json").write_bytes(record("torn").encode()[:50])
    (tmp_path / "processes/empty.json").touch()
    (tmp_path / "processes/.new.json.tmp").write_bytes(record("new").encode())
    assert list(files.every()) == [record()]
    assert files.read(ProcessId("torn")) is None


def test_a_vault_without_a_journal_has_no_processes(tmp_path):
    files = RecordStore(tmp_path / "nowhere")
    assert list(files.every()) == []
    assert files.read(ProcessId("p")) is None
    assert not files.is_alive(ProcessId("p"))
    assert files.strays() == set()
    files.remove(ProcessId("p"))


def test_alive_means_that_the_lock_is_held_and_nothing_else(files):
    files.write(record())
    assert not files.is_alive(ProcessId("p"))
    with locked(files.lock_file(ProcessId("p"))):
        assert files.is_alive(ProcessId("p"))
    assert not files.is_alive(ProcessId("p"))


def test_a_killed_process_is_dead_at_once(files, tmp_path, python):
    script = """
import sys
from pathlib import Path
from tablevault.files.locks import take_lock
from tablevault.transactions.records import RecordStore
lock = take_lock(RecordStore(Path(sys.argv[1])).lock_file("p"))
print("held", flush=True)
sys.stdin.read()
"""
    child = python(script, tmp_path)
    assert child.stdout.readline() == "held\n"
    assert files.is_alive(ProcessId("p"))
    child.kill()
    child.wait()
    assert not files.is_alive(ProcessId("p"))


def test_to_look_at_a_process_leaves_nothing(files, tmp_path):
    assert not files.is_alive(ProcessId("p"))
    assert not list((tmp_path / "processes").iterdir())


def test_strays_are_swept_but_not_what_is_held(files, tmp_path):
    files.write(record("kept"))
    take_lock(files.lock_file(ProcessId("kept"))).release()
    (tmp_path / "processes/torn.json").write_bytes(record("torn").encode()[:50])
    for name in ("died.lock", "handed.handover", "old.next", "older.tmp", ".new.json.tmp"):
        (tmp_path / "processes" / name).touch()
    (tmp_path / "processes/README").touch()
    with locked(files.lock_file(ProcessId("beginning"))):
        assert files.strays() == {"died", "handed", "old", "older", "new", "torn"}
        files.sweep()
        names = {path.name for path in (tmp_path / "processes").iterdir()}
        assert names == {"kept.json", "kept.lock", "beginning.lock", "README"}


def test_a_process_that_ends_during_the_look_is_no_stray(files, monkeypatch):
    held = take_lock(files.lock_file(ProcessId("p")))

    def end(name):
        files.remove(ProcessId(name))
        held.release()
        return False

    monkeypatch.setattr(files, "_is_alive", end)
    assert files.strays() == set()


def test_a_process_that_begins_is_no_lasting_stray(files, tmp_path):
    (tmp_path / "processes/crashed.lock").touch()
    mutex = files.mutex()
    mutex.__enter__()
    path = files.lock_file(ProcessId("beginning"))
    path.touch()  # not locked yet
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(files.lasting_strays)
        lock = take_lock(path)
        mutex.__exit__(None, None, None)
        assert found.result() == {"crashed"}
        lock.release()


def test_no_stray_is_named_while_the_mutex_is_never_free(files, tmp_path, monkeypatch):
    (tmp_path / "processes/crashed.lock").touch()
    waits = []
    clock = SimpleNamespace(monotonic=lambda: 1e9 * len(waits), sleep=waits.append)
    monkeypatch.setattr("tablevault.transactions.records.time", clock)
    with files.mutex():
        assert files.lasting_strays() == set()
    assert len(waits) == 1
    assert files.lasting_strays() == {"crashed"}


def test_a_stray_that_is_locked_again_is_not_swept(files, tmp_path, monkeypatch):
    (tmp_path / "processes/p.lock").touch()
    monkeypatch.setattr(files, "strays", lambda: {"p"})
    with locked(files.lock_file(ProcessId("p"))):
        files.sweep()
    assert (tmp_path / "processes/p.lock").exists()


def test_a_record_has_one_file_however_often_it_is_written(files, tmp_path):
    for number in range(40):
        written = record(steps=tuple((f"step {step}", 0.0) for step in range(20 * number)))
        files.write(written, durable=number % 2 == 0)
        assert files.read(ProcessId("p")) == written
        assert [path.name for path in (tmp_path / "processes").iterdir()] == ["p.json"]


def test_the_record_goes_before_the_lock(files, monkeypatch):
    """Whoever sees the one without the other takes nobody for dead who has not ended."""
    files.write(record())
    removed = []
    real = Path.unlink

    def unlink(path, **options):
        removed.append(path.suffix)
        real(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    with locked(files.lock_file(ProcessId("p"))):
        files.remove(ProcessId("p"))
    assert (removed[0], removed[-1]) == (".json", ".lock")


def test_a_process_is_alive_while_it_is_handed_over(files):
    with locked(files.handover_file(ProcessId("p"))):
        assert files.is_alive(ProcessId("p"))
        with locked(files.lock_file(ProcessId("p"))):
            assert files.is_alive(ProcessId("p"))
    assert not files.is_alive(ProcessId("p"))


def test_a_look_during_a_handover_never_finds_a_process_dead(files, monkeypatch):
    """The lock is free when it is looked at, and the other one a moment later."""
    lock, handover = (of(ProcessId("p")) for of in (files.lock_file, files.handover_file))
    handing, taken, looks = take_lock(handover), [], []

    def look(path):
        found = is_held(path)
        looks.append(found)
        if len(looks) == 1:
            taken.append(take_lock(lock))
            handing.release()
        return found

    monkeypatch.setattr(records, "is_held", look)
    assert files.is_alive(ProcessId("p"))
    assert looks == [False, False, True]
    taken[0].release()


def old_record(*records):
    """Format a record as releases before this one did: a line for each change."""
    return b"".join(b"\n" + each.encode() for each in records)


def test_a_record_of_an_earlier_release_is_its_last_whole_line(files, tmp_path):
    path = tmp_path / "processes/p.json"
    whole = old_record(*(record(updated_at=float(number)) for number in range(3)))
    torn = record(updated_at=9.0).encode()
    for size in (0, 1, 50, len(torn) - 1):
        path.write_bytes(whole + b"\n" + torn[:size])
        assert files.read(ProcessId("p")) == record(updated_at=2.0)
    path.write_bytes(b"\n" + torn[:50])
    assert files.read(ProcessId("p")) is None


def test_a_long_record_of_an_earlier_release_goes_on_in_a_second_file(files, tmp_path):
    (tmp_path / "processes/p.json").write_bytes(old_record(record(updated_at=1.0)))
    (tmp_path / "processes/p.next").write_bytes(record(updated_at=2.0).encode())
    assert list(files.every()) == [record(updated_at=2.0)]
    files.write(record(updated_at=3.0))
    assert list(files.every()) == [record(updated_at=3.0)]
    files.remove(ProcessId("p"))
    assert not list((tmp_path / "processes").iterdir())


def test_the_history_remembers_those_that_left_no_commit(files):
    assert not files.remembers("p")
    files.remember(record("p", error=("KeyError", "x"), updated_at=5.0))
    files.remember(record("q"))
    assert files.remembers("p")
    assert not files.remembers("r")
    assert next(files.history()) == {
        "process_id": "p",
        "operation": "op",
        "author": "Ana",
        "started_at": 1.0,
        "ended_at": 5.0,
        "error": ["KeyError", "x"],
        "frees_id": False,
        "parent": "",
        "table_name": "",
        "version": "",
        "instance_id": "",
    }


@pytest.mark.parametrize("text", ["two\nlines", "\u2028", "\udcff", "\0", "x" * 100_000])
def test_any_error_can_be_remembered(files, text):
    files.remember(record("p", error=("E", text)))
    files.remember(record("q"))
    assert [entry["error"][1] for entry in files.history()] == [text, ""]


def test_a_line_that_a_crash_cut_off_costs_no_other(files, tmp_path):
    files.remember(record("a"))
    history = tmp_path / "history.jsonl"
    whole = history.read_bytes()
    files.remember(record("b"))
    for length in range(len(whole), len(whole) * 2 - 1, 7):
        history.write_bytes((whole + whole)[:length])
        files.remember(record("c"))
        assert files.remembers("a")
        assert files.remembers("c")


def test_the_history_is_bounded_and_keeps_the_newest(files, tmp_path, monkeypatch):
    monkeypatch.setattr("tablevault.transactions.records._HISTORY_LIMIT_BYTES", 2000)
    for number in range(100):
        files.remember(record(f"p{number}"))
    assert (tmp_path / "history.jsonl").stat().st_size <= 2200
    assert files.remembers("p99")
    assert not files.remembers("p0")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["history.jsonl"]


def test_an_execution_that_failed_before_its_first_call_frees_its_id(files):
    def remember(name, operation, **fields):
        request = Request(operation=operation, arguments={})
        files.remember(replace(record(name, **fields), request=request))

    wrong = {"error": ("TVBuilderError", "wrong")}
    remember("free", "execute_instance", **wrong)
    remember("called", "execute_instance", **wrong, plan={"origin": ""})
    remember("stopped", "execute_instance", error=("TVProcessError", "User Stopped"))
    remember("other", "create_table", **wrong)
    assert [files.has_used(name) for name in ("free", "called", "stopped", "other", "none")] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert files.remembers("free")


def test_a_line_of_the_history_that_is_no_entry_is_passed_over(files, tmp_path):
    (tmp_path / "history.jsonl").write_text("[1]\nnull\n")
    files.remember(record("p"))
    assert [entry["process_id"] for entry in files.history()] == ["p"]
