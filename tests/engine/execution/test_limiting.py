"""Budgets and rates before calls: under threads, and when an execution stops."""

from __future__ import annotations

import threading
import types
from pathlib import Path

import pytest

from tablevault.engine.calls.claims import AbandonedError
from tablevault.engine.calls.spending import Spent
from tablevault.engine.calls.usage import UsageReport
from tablevault.engine.execution.budgets import Budget, RunLimits
from tablevault.engine.execution.concurrency import Stop
from tablevault.engine.execution.limiting import Limiting
from tablevault.errors import TVBudgetError
from tablevault.limits_and_prices import Limits, Price
from tablevault.progress import Progress

THREADS = 8


def nothing():
    pass


def builder(name="b", kind="column", **limits):
    return types.SimpleNamespace(name=name, kind=kind, limits=Limits(**limits))


def used(**fields):
    return UsageReport(**{name: fields.get(name) for name in UsageReport._fields})


@pytest.fixture
def threads():
    """Run a function in threads, and wait for all of them."""

    def run(function, count=THREADS):
        errors = []

        def work():
            try:
                function()
            except (TVBudgetError, AbandonedError) as error:
                errors.append(error)

        made = [threading.Thread(target=work) for _ in range(count)]
        for each in made:
            each.start()
        for each in made:
            each.join(100)
        assert not any(each.is_alive() for each in made)
        return errors

    return run


@pytest.fixture
def stop():
    return Stop(nothing, nothing)


def budget(**fields):
    return Budget(owner="the budget", hint="", **{"calls": None, "cost": None, **fields})


def test_threads_make_no_call_beyond_the_budget(stop, threads):
    shared = budget(calls=20)
    lock, made = threading.Lock(), []

    def work():
        while True:
            shared.begin(builder(), stop)
            with lock:
                made.append(1)
            shared.end(0.0)

    assert len(threads(work)) == THREADS
    assert len(made) == 20


@pytest.mark.parametrize("cost", [1.0, 0.3, 7.0])
def test_threads_spend_no_more_than_one_call_beyond_the_budget(stop, threads, cost):
    shared = budget(cost=5.0)

    def work():
        while True:
            shared.begin(builder(), stop)
            shared.charge(cost)
            shared.end(cost)

    assert len(threads(work)) == THREADS
    assert 5.0 <= shared.spent_cost < 5.0 + cost


@pytest.mark.parametrize("failures", [1, 2])
def test_first_calls_that_fail_let_no_others_begin_together(stop, threads, failures):
    shared = budget(cost=2.0)
    for _ in range(failures):
        shared.begin(builder(), stop)
        shared.end(0.0)

    def work():
        shared.begin(builder(), stop)
        shared.charge(1.5)
        shared.end(1.5)

    assert len(threads(work)) == THREADS - 2
    assert shared.spent_cost == 3.0


def test_a_call_that_has_cost_something_but_goes_on_lets_no_others_begin(stop):
    shared = budget(cost=10.0)
    shared.begin(builder(), stop)
    shared.charge(0.1)
    stop.set()
    with pytest.raises(AbandonedError):
        shared.begin(builder(), stop)


def test_calls_that_never_say_what_they_cost_run_together_after_the_third(stop, caplog):
    shared = budget(cost=1.0)
    for _ in range(3):
        shared.begin(builder(), stop)
        shared.end(0.0)
    for _ in range(THREADS):
        shared.begin(builder(), stop)
    (record,) = caplog.records
    assert "to the budget, 1: the first 3 calls reported no cost" in record.message


def test_what_was_spent_before_counts(stop):
    shared = budget(cost=5.0, calls=3)
    shared.start(Spent(calls=2, cost=4.0))
    shared.begin(builder(), stop)
    with pytest.raises(TVBudgetError, match=r"3 calls, is used up"):
        shared.begin(builder(), stop)


@pytest.mark.parametrize("kind", ["stop", "check"])
def test_a_wait_for_a_budget_ends_when_the_execution_does(kind):
    def check():
        raise InterruptedError

    shared = budget(cost=5.0)
    stop = Stop(check if kind == "check" else nothing, nothing)
    shared.begin(builder(), stop)
    if kind == "stop":
        stop.set()
    with pytest.raises(AbandonedError if kind == "stop" else InterruptedError):
        shared.begin(builder(), stop)


# -- gates --------------------------------------------------------------------------------------


class Limited:
    """The limits of one execution, whose rates are in a file of the test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = []

    def gate(self, own, **run):
        limiting = Limiting(RunLimits(rates=self._path, **run), Progress())
        self._made.append(limiting)
        return limiting.gate(own)

    def close(self):
        for each in self._made:
            each.close()


@pytest.fixture
def limited(tmp_path):
    made = Limited(tmp_path / "rates.sqlite")
    yield made
    made.close()


def test_without_limits_nobody_is_asked(limited):
    assert limited.gate(builder()).is_open
    assert not limited.gate(builder(), prices={"m": Price(input=1, output=1)}).is_open


@pytest.mark.parametrize("kind", ["calls_per_minute", "tokens_per_minute"])
def test_a_wait_for_a_rate_ends_when_the_execution_does(limited, stop, threads, kind):
    gate = limited.gate(builder(**{kind: 0.001}))
    meter = gate.meter()
    with gate.passing(meter, stop):
        meter.add(used(input_tokens=5))

    waiting = threading.Barrier(THREADS + 1, timeout=100)

    def work():
        waiting.wait()
        with gate.passing(gate.meter(), stop):
            pytest.fail("the rate was used up")

    def end():
        waiting.wait()
        stop.set()

    ending = threading.Thread(target=end)
    ending.start()
    errors = threads(work)
    ending.join(100)
    assert [type(each) for each in errors] == [AbandonedError] * THREADS


@pytest.mark.parametrize("reports", [True, False])
def test_as_long_as_no_tokens_are_known_one_call_is_made_after_the_other(limited, stop, reports):
    gate = limited.gate(builder(tokens_per_minute=1e9))
    for call in range(3):
        meter = gate.meter()
        with gate.passing(meter, stop):
            assert gate._may_try() == (reports and call > 0)
            if reports:
                meter.add(used(input_tokens=5))
    assert gate._may_try()


def test_a_first_call_that_fails_lets_the_next_one_try(limited, stop):
    gate = limited.gate(builder(tokens_per_minute=1e9))
    with pytest.raises(ValueError, match="x"), gate.passing(gate.meter(), stop):
        raise ValueError("x")
    assert gate._may_try()
    assert not gate._may_try()


class TooManyError(Exception):
    status_code = 429

    def __init__(self, headers):
        super().__init__("too many")
        self.response = types.SimpleNamespace(headers=headers)


@pytest.mark.parametrize(
    ("headers", "is_held"),
    [
        ({"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "30m"}, True),
        ({"x-ratelimit-remaining-requests": "0", "Retry-After": "1800"}, True),
        ({"x-ratelimit-remaining-requests": "0", "Retry-After": "inf"}, False),
        ({"x-ratelimit-remaining-requests": "5", "Retry-After": "1800"}, False),
        ({}, False),
        (["x-ratelimit-remaining-requests"], False),
    ],
)
def test_what_a_server_says_is_used_up_holds_all_others(limited, stop, headers, is_held):
    gate = limited.gate(builder(calls_per_minute=1e9))
    with pytest.raises(TooManyError), gate.passing(gate.meter(), stop):
        raise TooManyError(headers)
    other = limited.gate(builder("other", calls_per_minute=1e9))
    stop.set()
    if is_held:
        with pytest.raises(AbandonedError), other.passing(other.meter(), stop):
            pytest.fail("it is held")
    else:
        with other.passing(other.meter(), stop):
            pass


def test_a_report_is_charged_by_the_price_of_its_model(limited, stop):
    gate = limited.gate(builder(), prices={"m": Price(input=1e6, output=0)}, max_cost=3.0)
    meter = gate.meter()
    with gate.passing(meter, stop):
        meter.add(used(model="m", input_tokens=3))
    with pytest.raises(TVBudgetError, match="a cost of 3"), gate.passing(gate.meter(), stop):
        pytest.fail("it is used up")


def test_index_builders_are_not_charged_to_the_vault(limited, stop):
    vault = Limits(calls=0)
    assert limited.gate(builder(kind="index"), vault=vault).is_open
    gate = limited.gate(builder(), vault=vault)
    with (
        pytest.raises(TVBudgetError, match="budget of the vault"),
        gate.passing(gate.meter(), stop),
    ):
        pytest.fail("there is none")
