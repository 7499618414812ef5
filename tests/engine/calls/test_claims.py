"""Claims of calls: who waits for whom, and when nobody does."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context

import pytest

from tablevault.engine.calls.claims import ATTEMPT, AbandonedError, CallAttempt, Claims

LONG_S = 60


@pytest.fixture
def claims():
    return Claims()


@pytest.fixture
def elsewhere():
    """Run functions in other threads, each in a context of its own; return their futures."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda function, *args: pool.submit(Context().run, function, *args)


def attempt() -> CallAttempt:
    return CallAttempt(threading.Event())


@contextmanager
def claimed(claims, key, by=None):
    """Claim a call within an attempt."""
    if by is not None:
        ATTEMPT.set(by)
    with claims.claim(key, may_wait=True) as other:
        yield other


def is_free(claims, key) -> bool:
    with claims.claim(key, may_wait=True) as other:
        return other is None


def hold(claims, key, may_end, held, by=None):
    """Hold a claim until it may end."""
    with claimed(claims, key, by) as other:
        assert other is None
        held.set()
        assert may_end.wait(LONG_S)


def test_a_call_is_claimed_until_it_ends_or_fails(claims, elsewhere):
    with pytest.raises(ValueError, match="failed"), claimed(claims, b"k") as other:
        assert other is None
        assert not elsewhere(is_free, claims, b"k").result(LONG_S)
        assert elsewhere(is_free, claims, b"other").result(LONG_S)
        raise ValueError("failed")
    assert elsewhere(is_free, claims, b"k").result(LONG_S)


def test_an_attempt_that_is_abandoned_releases_its_claims_and_no_others(claims, elsewhere):
    one, other = attempt(), attempt()
    may_end, helds = threading.Event(), [threading.Event() for _ in range(2)]
    holders = [
        elsewhere(hold, claims, key, may_end, held, by)
        for key, held, by in zip([b"one", b"other"], helds, [one, other], strict=True)
    ]
    assert all(held.wait(LONG_S) for held in helds)
    one.leave()
    assert elsewhere(is_free, claims, b"one").result(LONG_S)
    assert not elsewhere(is_free, claims, b"other").result(LONG_S)
    with claimed(claims, b"one") as taken:
        assert taken is None
        may_end.set()
        holders[0].result(LONG_S)  # what ends late takes no claim away from those who came later
        assert not elsewhere(is_free, claims, b"one").result(LONG_S)
    holders[1].result(LONG_S)
    assert elsewhere(is_free, claims, b"other").result(LONG_S)


def test_a_thread_of_unknown_attempt_loses_its_claim_when_any_is_abandoned(claims, elsewhere):
    may_end, held = threading.Event(), threading.Event()
    holder = elsewhere(hold, claims, b"k", may_end, held)
    assert held.wait(LONG_S)
    attempt().leave()
    assert elsewhere(is_free, claims, b"k").result(LONG_S)
    may_end.set()
    holder.result(LONG_S)


@pytest.mark.parametrize("end", ["left", "cancelled"])
def test_who_is_abandoned_waits_no_longer_and_claims_nothing(claims, elsewhere, end):
    cancelled = threading.Event()
    mine, waits = CallAttempt(cancelled), threading.Event()

    def ask():
        with claimed(claims, b"k", mine) as other:
            waits.set()
            mine.wait_for(other)

    may_end, held = threading.Event(), threading.Event()
    holder = elsewhere(hold, claims, b"k", may_end, held, attempt())
    assert held.wait(LONG_S)
    waiter = elsewhere(ask)
    assert waits.wait(LONG_S)
    mine.leave() if end == "left" else cancelled.set()
    with pytest.raises(AbandonedError):
        waiter.result(LONG_S)
    assert not elsewhere(is_free, claims, b"k").result(LONG_S)
    may_end.set()
    holder.result(LONG_S)
    with pytest.raises(AbandonedError):
        elsewhere(hold, claims, b"k", may_end, held, mine).result(LONG_S)
    assert is_free(claims, b"k")


def test_a_call_within_itself_does_not_wait_for_itself(claims):
    with claimed(claims, b"a"), claimed(claims, b"b"), claimed(claims, b"a") as other:
        assert other is None


@pytest.mark.parametrize("length", [2, 3])
def test_calls_that_would_wait_for_each_other_in_a_circle_do_not(claims, elsewhere, length):
    all_hold = threading.Barrier(length)

    def ask(at):
        """Make a call that makes the call of the next one; return whether it waited."""
        with claimed(claims, bytes([at])):
            all_hold.wait(LONG_S)
            with claimed(claims, bytes([(at + 1) % length])) as other:
                if other is not None:
                    ATTEMPT.get().wait_for(other)
                return other is not None

    waited = [each.result(LONG_S) for each in [elsewhere(ask, at) for at in range(length)]]
    assert sorted(waited) == [False] + [True] * (length - 1)


def test_a_call_that_waited_may_be_waited_for(claims, elsewhere):
    """What is no circle any more is none."""
    with claimed(claims, b"a"):
        with claimed(claims, b"b"):
            pass
        with claimed(claims, b"c"):
            assert not elsewhere(is_free, claims, b"a").result(LONG_S)

    def within_b():
        with claimed(claims, b"b"):
            return is_free(claims, b"a")

    with claimed(claims, b"a"):
        assert not elsewhere(within_b).result(LONG_S)


def test_a_coroutine_that_gives_up_waiting_does_not_end_the_claim(claims, elsewhere):
    def ask() -> Future[None]:
        with claimed(claims, b"k") as other:
            return other

    with claimed(claims, b"k"):
        assert not elsewhere(ask).result(LONG_S).cancel()
        assert not elsewhere(is_free, claims, b"k").result(LONG_S)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_lock_that_it_has_inherited(claims, elsewhere):
    may_end, is_locked = threading.Event(), threading.Event()

    def lock():
        with claims._lock:
            is_locked.set()
            assert may_end.wait(LONG_S)

    with claimed(claims, b"k") as other:
        assert other is None
        locking = elsewhere(lock)
        assert is_locked.wait(LONG_S)
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                ATTEMPT.get()._claims.pop().release()
            finally:
                os._exit(0)
        may_end.set()
        locking.result(LONG_S)
        assert os.waitpid(child, 0)[1] == 0
        assert not elsewhere(is_free, claims, b"k").result(LONG_S)
