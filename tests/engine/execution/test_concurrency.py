"""Waits that end when an execution does."""

from __future__ import annotations

import concurrent.futures
import threading

import pytest

from tablevault.engine.calls.claims import AbandonedError
from tablevault.engine.execution import concurrency
from tablevault.engine.execution.concurrency import Stop, call_rows
from tests.looking import interrupt_who_waits


def nothing():
    pass


def run(call, work, keep, *, n_threads, stop=None):
    call_rows(call, work, keep, n_threads=n_threads, stop=stop or Stop(nothing, nothing))


@pytest.mark.parametrize("threads", [1, 4, 100])
def test_each_row_is_called_once_and_kept(threads):
    kept = []
    run(lambda row: row * 2, range(50), kept.append, n_threads=threads)
    assert sorted(kept) == [row * 2 for row in range(50)]


@pytest.mark.parametrize("threads", [1, 4])
def test_no_rows_need_no_calls(threads):
    run(lambda row: 1 / 0, [], print, n_threads=threads)


def test_one_thread_is_the_calling_thread():
    seen = []
    run(lambda row: seen.append(threading.current_thread()), [1], print, n_threads=1)
    assert seen == [threading.current_thread()]


@pytest.fixture
def crew(monkeypatch):
    """Return the threads that take rows, as soon as there are any."""
    made = []

    class Watched(concurrency._Crew):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(concurrency, "_Crew", Watched)
    return made


def test_of_several_failures_the_first_row_counts_and_rows_in_flight_are_kept(crew):
    kept = []
    together = threading.Barrier(3, timeout=100)

    def call(row):
        together.wait()
        if row != 1:
            assert crew[0]._stop._is_set.wait(100)
        if row == 2:
            return row
        raise ValueError(row)

    with pytest.raises(ValueError, match=r"^0$"):
        run(call, range(100), kept.append, n_threads=3)
    assert kept == [2]


def test_an_interrupt_that_wakes_nobody_begins_no_further_row(crew):
    """It reaches a thread that makes a row: the one that waits is not woken by it."""
    heard = []

    def call(row):
        if row == 0:
            interrupt_who_waits(concurrent.futures.wait)
        heard.append(crew[0]._stop._is_set.wait(100))

    with pytest.raises(KeyboardInterrupt):
        run(call, range(100), lambda *_: None, n_threads=2)
    assert set(heard) == {True}
    assert len(heard) <= 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [StopIteration, KeyboardInterrupt, SystemExit])
def test_every_exception_comes_back_as_it_is(threads, kind):
    error = kind("x")

    def call(row):
        raise error

    with pytest.raises(kind) as caught:
        run(call, range(5), print, n_threads=threads)
    assert caught.value is error


def test_a_result_that_cannot_be_kept_stops_the_rows():
    def keep(result):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(lambda row: row, range(100), keep, n_threads=2)


def test_who_waits_is_let_go_when_another_row_fails():
    waits = threading.Event()
    stop = Stop(nothing, nothing)

    def call(row):
        if row == 0:
            waits.set()
            stop.sleep(1000)
        assert waits.wait(100)
        raise ValueError(row)

    with pytest.raises(ValueError, match=r"^1$"):
        run(call, range(2), print, n_threads=2, stop=stop)


def test_somebody_who_wants_to_stop_is_heard_while_all_threads_wait():
    def check():
        raise RuntimeError("stop")

    stop = Stop(check, nothing)
    with pytest.raises(RuntimeError, match="stop"):
        run(lambda row: stop.sleep(1000), range(2), print, n_threads=2, stop=stop)


def test_a_wait_in_the_calling_thread_checks_by_itself():
    checks = []

    def check():
        checks.append(1)
        if len(checks) == 2:
            raise RuntimeError("stop")

    stop = Stop(check, nothing)
    with pytest.raises(RuntimeError, match="stop"):
        run(
            lambda row: stop.sleep(1000),
            [1],
            print,
            n_threads=1,
            stop=(stop := Stop(check, nothing)),
        )


def test_an_interrupt_ends_the_calls_that_can_be_ended():
    ended = threading.Event()

    def call(row):
        if row == 0:
            interrupt_who_waits(concurrent.futures.wait)
        assert ended.wait(100)
        raise AbandonedError

    with pytest.raises(KeyboardInterrupt):
        run(call, range(2), print, n_threads=2, stop=Stop(nothing, ended.set))


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1000.0])
def test_a_wait_ends_when_the_calls_do(seconds):
    stop = Stop(nothing, nothing)
    stop.set()
    with pytest.raises(AbandonedError):
        stop.sleep(seconds)


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_a_wait_in_the_thread_of_the_execution_ends_with_its_check(seconds):
    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Stop(check, nothing).sleep(seconds)


def test_a_wait_in_another_thread_ends_while_it_lasts():
    stop = Stop(pytest.fail, nothing)
    ended = []

    def wait():
        with pytest.raises(AbandonedError):
            stop.sleep(1000)
        ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    stop.set()
    thread.join(100)
    assert ended == [True]
