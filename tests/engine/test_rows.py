from __future__ import annotations

import concurrent.futures
import threading

import pytest

from tablevault.engine import rows
from tablevault.engine.rows import call_rows
from tests.looking import interrupt_who_waits


@pytest.mark.parametrize("threads", [1, 4, 100])
def test_each_row_is_called_once_and_kept(threads):
    kept = {}
    call_rows(lambda row: row * 2, range(50), kept.__setitem__, n_threads=threads)
    assert kept == {row: row * 2 for row in range(50)}


@pytest.mark.parametrize("threads", [1, 4])
def test_no_rows_need_no_calls(threads):
    call_rows(lambda row: 1 / 0, [], print, n_threads=threads)


def test_one_thread_is_the_calling_thread():
    seen = []
    call_rows(lambda row: seen.append(threading.current_thread()), [1], print, n_threads=1)
    assert seen == [threading.current_thread()]


@pytest.fixture
def crew(monkeypatch):
    """Give the threads that take rows, as soon as there are any."""
    made = []

    class Watched(rows._Crew):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(rows, "_Crew", Watched)
    return made


def test_of_several_failures_the_first_row_counts_and_rows_in_flight_are_kept(crew):
    kept = {}
    together = threading.Barrier(3, timeout=100)

    def call(row):
        together.wait()
        if row != 1:
            assert crew[0].stop.wait(100)
        if row == 2:
            return row
        raise ValueError(row)

    with pytest.raises(ValueError, match=r"^0$"):
        call_rows(call, range(100), kept.__setitem__, n_threads=3)
    assert kept == {2: 2}


def test_an_interrupt_that_wakes_nobody_begins_no_further_row(crew):
    """It reaches a thread that makes a row: the one that waits is not woken by it."""
    heard = []

    def call(row):
        if row == 0:
            interrupt_who_waits(concurrent.futures.wait)
        heard.append(crew[0].stop.wait(100))

    with pytest.raises(KeyboardInterrupt):
        call_rows(call, range(100), lambda *_: None, n_threads=2)
    assert set(heard) == {True}
    assert len(heard) <= 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [StopIteration, KeyboardInterrupt, SystemExit])
def test_every_exception_comes_back_as_it_is(threads, kind):
    error = kind("x")

    def call(row):
        raise error

    with pytest.raises(kind) as caught:
        call_rows(call, range(5), print, n_threads=threads)
    assert caught.value is error


def test_a_result_that_cannot_be_kept_stops_the_rows():
    def keep(row, result):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        call_rows(lambda row: row, range(100), keep, n_threads=2)
