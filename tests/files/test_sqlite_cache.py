"""SQLite files that may be deleted or damaged at any moment."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest

from tablevault.files.sqlite_cache import Disposable

SCHEMA = "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT);"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "facts.sqlite"


@pytest.fixture
def facts(path):
    return Disposable(path, SCHEMA)


def put(facts, key, value="v"):
    with facts.write() as connection:
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))


def keys(facts):
    return {row[0] for row in facts.connection().execute("SELECT key FROM facts")}


def test_what_was_written_is_seen_by_others(facts, path):
    put(facts, "a")
    assert keys(Disposable(path, SCHEMA)) == {"a"}


def test_a_write_that_raises_leaves_nothing(facts):
    def fail():
        with facts.write() as connection:
            connection.execute("INSERT INTO facts VALUES ('b', '')")
            raise ZeroDivisionError

    put(facts, "a")
    with pytest.raises(ZeroDivisionError):
        fail()
    assert keys(facts) == {"a"}


@pytest.mark.parametrize("endings", [("",), ("", "-wal"), ("", "-shm"), ("", "-wal", "-shm")])
def test_a_file_that_is_deleted_is_made_again(facts, path, endings):
    put(facts, "a")
    for ending in endings:
        path.with_name(path.name + ending).unlink()
    assert keys(facts) == set()
    put(facts, "b")
    assert keys(Disposable(path, SCHEMA)) == {"b"}


def test_a_log_that_is_deleted_is_no_error_to_anybody(facts, path):
    put(facts, "a")
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink()
    put(facts, "b")
    other = Disposable(path, SCHEMA)
    put(other, "c")
    assert "c" in keys(other)


@pytest.mark.parametrize("damage", [b"", b"no database at all, but long enough" * 99, b"\0" * 8192])
def test_a_file_that_is_no_database_is_made_again(facts, path, damage):
    put(facts, "a")
    facts.close()
    path.write_bytes(damage)
    put(facts, "b")
    assert keys(facts) == {"b"}


def test_a_damaged_page_is_an_error_that_discarding_cures(facts, path):
    with facts.write() as connection:
        rows = [(f"k{number}", "x" * 200) for number in range(2000)]
        connection.executemany("INSERT INTO facts VALUES (?, ?)", rows)
    facts.close()
    data = bytearray(path.read_bytes())
    data[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(data)
    with pytest.raises(sqlite3.DatabaseError):
        facts.connection().execute("SELECT count(value), max(value) FROM facts").fetchall()
    facts.discard()
    assert keys(facts) == set()


def test_discarding_removes_every_part_of_the_file(facts, path):
    put(facts, "a")
    facts.discard()
    assert not list(path.parent.iterdir())


def test_each_thread_has_its_own_connection(facts):
    seen = [facts.connection()]
    thread = threading.Thread(target=lambda: (seen.append(facts.connection()), facts.close()))
    thread.start()
    thread.join()
    assert seen[0] is not seen[1]
    assert facts.connection() is seen[0]


def test_threads_lose_no_write_of_each_other(facts):
    def work(name):
        for number in range(20):
            put(facts, f"{name}{number}")
        facts.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys(facts)) == 80


def test_a_forked_child_opens_the_file_anew(facts):
    put(facts, "parent")
    parents = facts.connection()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            put(facts, "child")
            status = 0 if facts.connection() is not parents else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    put(facts, "later")
    assert facts.connection() is parents
    assert keys(facts) == {"parent", "child", "later"}


def test_a_child_forked_amid_a_write_does_not_end_it(facts):
    with facts.write() as connection:
        connection.execute("INSERT INTO facts VALUES ('a', '')")
        child = os.fork()
        if child == 0:
            # What the child inherits is not its own, not even by going out of scope.
            facts.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        other = sqlite3.connect(facts._path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    assert keys(facts) == {"a"}


@pytest.mark.parametrize("step", ["BEGIN IMMEDIATE", "commit"])
def test_an_interrupt_keeps_nobody_waiting(facts, monkeypatch, step):
    class Interrupted(sqlite3.Connection):
        def execute(self, sql, *arguments):
            found = super().execute(sql, *arguments)
            if sql == step:
                raise KeyboardInterrupt
            return found

        def commit(self):
            if step == "commit":
                raise KeyboardInterrupt
            super().commit()

    put(facts, "before")
    facts.close()
    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Interrupted, **k))
        with pytest.raises(KeyboardInterrupt):
            put(facts, "interrupted")
    other = sqlite3.connect(facts._path, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.rollback()
    other.close()
    assert keys(facts) == {"before"}


def test_processes_that_discard_and_write_at_once_never_fail(facts, path, python, finish):
    script = """
import sys
from pathlib import Path
from tablevault.files.sqlite_cache import Disposable
import sqlite3
facts = Disposable(Path(sys.argv[1]), sys.argv[2])
for number in range(150):
    try:
        with facts.write() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, '')", (sys.argv[3],))
    except sqlite3.Error:
        facts.discard()
    if number % 10 == int(sys.argv[3]):
        facts.discard()
"""
    children = [python(script, path, SCHEMA, name) for name in range(3)]
    for child in children:
        finish(child)
    put(facts, "end")
    assert "end" in keys(facts)
    assert facts.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reading_does_not_see_what_is_written_after_its_first_read(facts, path):
    put(facts, "a")
    reading = facts.reading()
    sql = "SELECT key FROM facts ORDER BY key"
    assert reading.connection.execute(sql).fetchall() == [("a",)]
    put(facts, "b")
    put(Disposable(path, SCHEMA), "c")
    assert reading.connection.execute(sql).fetchall() == [("a",)]
    assert facts.reading().connection.execute(sql).fetchall() == [("a",), ("b",), ("c",)]


def test_a_reading_survives_that_the_file_is_deleted(facts):
    put(facts, "a")
    reading = facts.reading()
    assert reading.connection.execute("SELECT key FROM facts").fetchall() == [("a",)]
    facts.discard()
    put(facts, "b")
    assert reading.connection.execute("SELECT key FROM facts").fetchall() == [("a",)]
    del reading
    assert facts.reading().connection.execute("SELECT key FROM facts").fetchall() == [("b",)]


def test_a_reading_of_what_is_kept_in_memory_does_not_see_what_is_written_later(tmp_path):
    facts = Disposable(tmp_path / ("d" * 200) / ("e" * 200) / ("f" * 200) / "facts.sqlite", SCHEMA)
    put(facts, "a")
    reading = facts.reading()
    put(facts, "b")
    assert reading.connection.execute("SELECT key FROM facts").fetchall() == [("a",)]
    assert keys(facts) == {"a", "b"}


def test_a_reading_may_end_in_another_thread(facts):
    put(facts, "a")
    readings = [facts.reading()]
    thread = threading.Thread(target=readings.clear)
    thread.start()
    thread.join()
    put(facts, "b")
    assert facts.reading().connection.execute("SELECT count(*) FROM facts").fetchone() == (2,)


def test_a_fork_does_not_end_the_reading_of_its_parent(facts):
    put(facts, "a")
    reading = facts.reading()
    assert reading.connection.execute("SELECT key FROM facts").fetchall() == [("a",)]
    child = os.fork()
    if not child:
        is_own = reading.is_own()
        del reading
        other = facts.reading().connection.execute("SELECT key FROM facts").fetchall()
        os._exit(0 if not is_own and other == [("a",)] else 1)
    assert os.waitpid(child, 0)[1] == 0
    put(facts, "b")
    assert reading.connection.execute("SELECT key FROM facts").fetchall() == [("a",)]
