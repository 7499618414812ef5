"""Waits that end when an execution does."""

from __future__ import annotations

import threading

import pytest

from tablevault.engine.execution.stop import AbandonedError, Stop


def nothing():
    pass


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
