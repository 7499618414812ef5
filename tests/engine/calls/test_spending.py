"""What builders have spent is added up until an instance accounts for it."""

from __future__ import annotations

import signal

import pytest

from tablevault.engine.calls.ledger import BuilderColumns, Ledger, ReusePolicy
from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.calls.spending import Account, Spent, sum_of
from tablevault.engine.calls.store import CallStore


@pytest.fixture
def store(tmp_path):
    made = CallStore(tmp_path / "calls.sqlite")
    yield made
    made.close()


def ledger(store, *, temp="t", process="p", version="v", last="", forced=False):
    made = Ledger(store, temp=temp, process=process, policy=ReusePolicy(forced=forced))
    made.account = Account(version=version, last=last)
    made.begin([BuilderColumns(name="b", columns=("x",))])
    return made


def call(row=0, *, cost=None, tokens=None, builder="b"):
    inputs = f"arguments-------row{row:05}".encode()
    fields = (inputs, b"c" * 16, "ok", "[1]", 1.0, 0.5, None, None)
    return CallRecord(0, builder, row, *fields, "m", tokens, None, cost)


def spend(store, *calls, **given):
    with ledger(store, **given) as made:
        for each in calls:
            made.add(each, calls=1)


def test_attempts_and_executions_that_failed_are_added_up(store):
    spend(store, call(cost=0.25, tokens=3))
    spend(store, call(1), process="q", forced=True)
    spend(store, call(2, cost=0.5), temp="u", process="r")
    spend(store, call(2, cost=8.0), temp="w", process="s", version="other")
    assert store.spent("v") == {"b": Spent(3, 3, None, 0.75)}
    assert store.spent("other") == {"b": Spent(1, None, None, 8.0)}
    assert store.spent("none") == {}


def test_an_instance_accounts_for_all_of_it(store):
    spend(store, call(cost=0.25))
    with ledger(store, process="q") as made:
        made.add(call(1, cost=0.5), calls=1)
    made.assign("base_1_x")
    assert store.spent("v") == {}
    spend(store, call(2), temp="u", process="r")
    assert store.spent("v") == {"b": Spent(1)}


def test_what_an_instance_has_accounted_for_goes_also_if_its_process_was_killed_before(store):
    spend(store, call(cost=1.0))
    spend(store, call(1, cost=2.0), process="q")  # makes the instance, and is killed
    spend(store, call(2, cost=4.0), temp="u", process="r", last="q")
    assert store.spent("v") == {"b": Spent(1, None, None, 4.0)}


def test_items_copies_and_cached_calls_are_no_calls_of_a_builder(store):
    with ledger(store) as made:
        made.add(call(0, cost=0.5))  # an item
        made.add(call(NO_ROW, cost=0.25), calls=1)
        made.add(call(NO_ROW, cost=1.0, builder="@m.ask"), builder="b")
        made.add(call(3, cost=9.0)._replace(id=7))  # a copy was paid for before
    assert made.spent() == {"b": Spent(1, None, None, 1.75)}


def test_what_was_spent_is_there_after_a_kill(store, tmp_path, python):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.engine.calls.test_spending import CallStore, call, ledger\n"
        "made = ledger(CallStore(Path(sys.argv[1])))\n"
        "made.add(call(cost=0.5), calls=1)\n"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    path = tmp_path / "calls.sqlite"
    assert python(script, path).wait() == -signal.SIGKILL
    assert store.spent("v") == {"b": Spent(1, None, None, 0.5)}


def test_nothing_reported_is_not_zero():
    assert sum_of([]) == Spent()
    assert sum_of([Spent(2), Spent(1, 0, None, 0.5)]) == Spent(3, 0, None, 0.5)
