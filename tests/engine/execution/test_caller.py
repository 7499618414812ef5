"""What is told of calls while they are made: errors, costs, and what they wait for."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import report_usage
from tablevault.engine.execution.budgets import RunLimits
from tablevault.engine.execution.context import NoControl
from tablevault.engine.execution.rates import Rates, now
from tablevault.limits_and_prices import Limits, Price
from tests.counted_progress import CountedProgress

INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: rows
code_module: m
arguments: {}
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [o]
python_function: f
code_module: m
return_type: row-wise
arguments: {n: "<<self.n[index]>>"}
"""
TEN_MINUTES_S = 600.0


class Heard(CountedProgress):
    """Counts, and keeps the highest that a counter has been at."""

    def __init__(self):
        super().__init__()
        self.highest = {}

    def count(self, name, amount=1):
        super().count(name, amount)
        self.highest[name] = max(self.highest.get(name, 0), self.counters[name])


@pytest.fixture
def heard(execute):
    """Call a function for three rows, and return what was told meanwhile."""

    def call(function, *, fields="", options=None):
        listener = Heard()
        functions = {"rows": lambda: pd.DataFrame({"n": [0, 1, 2]}), "f": function}
        texts = {"t_index": INDEX, "o": COLUMN + fields}
        execute(texts, functions, progress=listener, options=options)
        return listener

    return call


def costs(n):
    report_usage("small", input_tokens=1000, cost=0.5)
    return n


def costs_what_its_model_does(n):
    report_usage("small", input_tokens=1000)
    return n


def costs_and_fails(n):
    report_usage(cost=0.25)
    raise ValueError(n)


def test_a_call_without_reports_costs_nothing(heard):
    assert "cost" not in heard(lambda n: n).counters


@pytest.mark.parametrize("fields", ["", "n_threads: 3", "limits: {cost: 100}", "retry: 2"])
def test_what_calls_cost_is_told(heard, fields):
    assert heard(costs, fields=fields).counters["cost"] == 1.5


def test_a_cost_by_the_price_of_a_model_is_told(heard):
    options = {"limits": RunLimits(prices={"small": Price(input=1000.0, output=0.0)})}
    assert heard(costs_what_its_model_does, options=options).counters["cost"] == 3.0


def test_rows_that_fail_are_told_with_what_they_cost(heard):
    counters = heard(costs_and_fails, fields="on_error: keep").counters
    assert (counters["errors"], counters["cost"], counters["o"]) == (3, 0.75, 3)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_that_will_be_made_again_is_told_as_long_as_it_waits(heard, threads):
    failed = set()

    def fails_once(n):
        if n == 1 and not failed:
            failed.add(n)
            raise OSError("later")
        return n

    fields = f"n_threads: {threads}\nretry: {{times: 1, wait_s: 0}}"
    listener = heard(fails_once, fields=fields)
    assert listener.highest["retrying"] == 1
    assert listener.counters["retrying"] == 0


def test_a_call_that_waits_for_a_rate_is_told_as_long_as_it_waits(execute, tmp_path):
    listener = Heard()

    class WaitedError(Exception):
        pass

    class StopsWhatWaits(NoControl):
        def check(self):
            if listener.counters.get("waiting"):
                raise WaitedError

    file = tmp_path / "rates.sqlite"
    rates = Rates(file)
    rates.hold("", "calls", now() + TEN_MINUTES_S, now())
    rates.close()
    limits = RunLimits(vault=Limits(calls_per_minute=60), rates=file)
    options = {"limits": limits, "control": StopsWhatWaits()}
    with pytest.raises(WaitedError):
        execute({"t_index": INDEX}, {"rows": pd.DataFrame}, progress=listener, options=options)
    assert listener.counters["waiting"] == 0
    assert "calls" not in listener.counters
