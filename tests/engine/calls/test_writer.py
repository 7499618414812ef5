"""When records of calls are written: slow ones at once, quick ones together, all at the end."""

from __future__ import annotations

import math
import os
import threading

import pytest

from tablevault.engine.calls.records import CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.engine.calls.writer import CallWriter


class Slow(CallStore):
    """A store that counts transactions, and that can be told to fail."""

    def __init__(self, path):
        super().__init__(path)
        self.written = []
        self.failure = None
        self.wrote = threading.Event()

    def write(self, execution, calls, *spent, **options):
        if self.failure is not None:
            raise self.failure
        super().write(execution, calls, *spent, **options)
        self.written.append([call.row for call in calls])
        self.wrote.set()


@pytest.fixture
def store(tmp_path):
    made = Slow(tmp_path / "calls.sqlite")
    yield made
    made.close()


@pytest.fixture
def writer(store):
    return CallWriter(store, store.begin("t", "p", forget=False))


def call(row, duration_s=0.0):
    return CallRecord(
        0, "b", row, f"k{row}".encode(), b"c" * 16, "ok", "[1]", 1.0, duration_s, None
    )


def test_a_slow_call_is_written_at_once(writer, store):
    for row in range(3):
        writer.add(call(row, 1.0))
    assert store.written == [[0], [1], [2]]


def test_quick_calls_are_written_together(writer, store, monkeypatch):
    writer.add(call(0))
    store.wrote.clear()
    monkeypatch.setattr("tablevault.engine.calls.writer._EVERY_S", 3600.0)
    for row in range(1, 100):
        writer.add(call(row))
    assert store.written == [[0]]
    writer.flush()
    assert store.written == [[0], list(range(1, 100))]


def test_what_nothing_comes_after_is_written_soon(writer, store):
    writer.add(call(0))
    store.wrote.clear()
    writer.add(call(1))
    assert store.wrote.wait(60)
    assert [row for rows in store.written for row in rows] == [0, 1]


def test_closing_writes_what_waits(writer, store):
    for row in range(50):
        writer.add(call(row))
    writer.close()
    assert [row for rows in store.written for row in rows] == list(range(50))


def test_a_full_disk_names_the_builder_and_the_row(writer, store):
    store.failure = OSError(28, "No space left on device")
    with pytest.raises(OSError, match='"b": row 7 was computed but cannot be kept'):
        writer.add(call(7, 1.0))
    store.failure = None
    writer.add(call(8, 1.0))
    writer.close()
    assert store.written == [[8]]


def test_a_failure_of_the_thread_is_raised_by_the_next_call(writer, store):
    writer.add(call(0))
    failed = threading.Event()

    class WatchedError(OSError):
        def __init__(self):
            super().__init__(28, "No space left on device")

    real = store.write

    def write(execution, calls, *spent, **options):
        failed.set()
        raise WatchedError

    store.write = write
    writer._written_at = math.inf  # so it is not due, however late it is
    writer.add(call(1))
    assert failed.wait(60)
    with writer._lock:  # the thread has left it
        store.write = real
    with pytest.raises(OSError, match="row 1 was computed"):
        writer.add(call(2, 1.0))


def test_a_copy_of_the_process_writes_nothing(writer, store):
    writer.add(call(0, 1.0))
    child = os.fork()
    if not child:
        writer.add(call(1, 1.0))
        writer.close()
        os._exit(0 if store.written == [[0]] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.count(1, "b") == 1
