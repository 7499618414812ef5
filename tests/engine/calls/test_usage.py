"""What is reported belongs to the call that runs; bad values change nothing."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import tablevault
from tablevault.engine.calls.usage import NOTHING, Usage, UsageReport, accepting_usage, charging
from tablevault.errors import TVArgumentError

report_usage = tablevault.report_usage


class Hidden(int):
    """A number that cannot be shown while a test runs; pytest shows it before."""

    def __repr__(self):
        if os.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)"):
            raise ValueError
        return "hidden"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("input_tokens", value) for value in (-1, 1.0, True, "3", math.nan, 10**30, [1])),
        *(("output_tokens", value) for value in (np.bool_(True), np.float64(2), Hidden(-1))),
        *(("cost", value) for value in (-0.1, math.nan, math.inf, True, "0.1", 10**400, 1j)),
        *(("cost", value) for value in (Decimal("NaN"), Decimal("sNaN"), np.bool_(False))),
        *(("model", value) for value in ("", " ", 3, b"small", "\ud800", "a\0b")),
    ],
)
@pytest.mark.parametrize("is_running", [True, False], ids=["in a call", "outside"])
def test_a_bad_value_is_named_and_nothing_is_added(argument, value, is_running):
    usage = Usage("b")
    good = {"model": "m", "input_tokens": 1, "output_tokens": 1, "cost": 1.0}
    with (
        charging(usage) if is_running else accepting_usage(),
        pytest.raises(TVArgumentError, match=f"Argument {argument} of report_usage is ") as error,
    ):
        report_usage(**(good | {argument: value}))
    assert error.value.argument == argument
    assert type(value).__name__ in error.value.message
    assert usage.take() == NOTHING


def test_numbers_of_other_kinds_are_taken():
    usage = Usage("b")
    with charging(usage):
        report_usage(input_tokens=np.int64(3), output_tokens=np.uint8(4), cost=Decimal("0.5"))
        report_usage(cost=Fraction(1, 4))
        report_usage(cost=np.float32(0.25))
        report_usage(cost=1)
    used = usage.take()
    assert used == UsageReport(None, 3, 4, 2.0)
    assert [type(each) for each in used[1:]] == [int, int, float]


def test_reports_of_one_call_are_added_up():
    usage = Usage("b")
    with charging(usage):
        report_usage("small", 3, cost=0.25)
        report_usage()
        report_usage("large", 4, 1)
        report_usage("small", cost=0.5)
    assert usage.take() == UsageReport("small, large", 7, 1, 0.75)
    assert usage.take() == NOTHING


def test_zero_is_not_nothing():
    usage = Usage("b")
    with charging(usage):
        report_usage(output_tokens=0, cost=-0.0)
    assert usage.has_any
    assert str(usage.take().cost) == "0.0"


def test_the_innermost_call_is_charged():
    outer, inner = Usage("b"), Usage("b")
    with charging(outer):
        report_usage(cost=1)
        with charging(inner):
            report_usage(cost=2)
        report_usage(cost=4)
    assert (outer.take().cost, inner.take().cost) == (5.0, 2.0)


def test_outside_of_an_execution_nothing_happens(caplog):
    report_usage("m", 1, 1, 1.0)
    assert not caplog.records


def test_threads_in_the_context_of_the_call_are_heard():
    usage = Usage("b")

    async def ask():
        await asyncio.gather(*(asyncio.to_thread(report_usage, cost=1) for _ in range(8)))

    with charging(usage):
        asyncio.run(ask())
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(report_usage, "m", 1))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert usage.take() == UsageReport("m", 8, None, 8.0)


def test_what_no_call_can_be_charged_with_is_warned_of(caplog):
    usage = Usage("b")
    with accepting_usage(), charging(usage):
        usage.close()
        report_usage(cost=1)
        thread = threading.Thread(target=contextvars.Context().run, args=(report_usage, "m", 1))
        thread.start()
        thread.join()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "not recorded" in caplog.text
    assert usage.take() == NOTHING
