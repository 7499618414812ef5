"""How calls are made, as builders state it: what is read, and what is refused with its place."""

from __future__ import annotations

import pytest

from tablevault.engine.builders.field_values import (
    FieldPath,
    MaxErrors,
    Retry,
    read_builder_limits,
    read_max_errors,
    read_retry,
    read_timeout,
)
from tablevault.errors import TVBuilderError
from tablevault.limits_and_prices import Limits

READERS = {
    "retry": read_retry,
    "timeout_s": read_timeout,
    "max_errors": read_max_errors,
    "limits": read_builder_limits,
}


def read(field, value):
    return READERS[field](value, FieldPath("b", field))


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("retry", 3, Retry(times=3)),
        ("retry", "3", Retry(times=3)),
        ("retry", 2.0, Retry(times=2)),
        ("retry", 0, Retry()),
        ("retry", {}, Retry(times=3)),
        ("retry", {"times": "2", "wait_s": None}, Retry(times=2)),
        ("retry", {"on": "OSError"}, Retry(times=3, on=("OSError",))),
        ("retry", {"on": ["a.B", "C"]}, Retry(times=3, on=("a.B", "C"))),
        ("retry", {"wait_s": 90}, Retry(times=3, wait_s=90.0, max_wait_s=90.0)),
        ("retry", {"wait_s": "0.5", "max_wait_s": 2}, Retry(times=3, wait_s=0.5, max_wait_s=2.0)),
        ("timeout_s", "", None),
        ("timeout_s", "0.5", 0.5),
        ("timeout_s", 86_400, 86_400.0),
        ("max_errors", "", None),
        ("max_errors", 0, MaxErrors(number=0.0, is_share=False)),
        ("max_errors", "7", MaxErrors(number=7.0, is_share=False)),
        ("max_errors", " 2.5 % ", MaxErrors(number=2.5, is_share=True)),
        ("limits", {}, Limits()),
        ("limits", {"calls": "5", "cost": None}, Limits(calls=5)),
        ("limits", {"calls_per_minute": 0.5}, Limits(calls_per_minute=0.5)),
    ],
)
def test_what_is_read(field, value, found):
    assert read(field, value) == found


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("retry", None, "retry"),
        ("retry", True, "retry"),
        ("retry", "", "retry"),
        ("retry", "often", "retry"),
        ("retry", -1, "retry"),
        ("retry", 1.5, "retry"),
        ("retry", 1001, "retry"),
        ("retry", 10**400, "retry"),
        ("retry", ["OSError"], "retry"),
        ("retry", {"times": 1.5}, "retry.times"),
        ("retry", {"times": True}, "retry.times"),
        ("retry", {"wait_s": -1}, "retry.wait_s"),
        ("retry", {"wait_s": float("nan")}, "retry.wait_s"),
        ("retry", {"max_wait_s": float("inf")}, "retry.max_wait_s"),
        ("retry", {"on": 5}, "retry.on"),
        ("retry", {"on": [None]}, "retry.on[0]"),
        ("retry", {"on": {"OSError": 1}}, "retry.on"),
        ("retry", {"wait": 1}, "retry.wait"),
        ("retry", {1: 1}, "retry.1"),
        ("timeout_s", 0, "timeout_s"),
        ("timeout_s", -0.0, "timeout_s"),
        ("timeout_s", False, "timeout_s"),
        ("timeout_s", None, "timeout_s"),
        ("timeout_s", "inf", "timeout_s"),
        ("timeout_s", 86_401, "timeout_s"),
        ("max_errors", -1, "max_errors"),
        ("max_errors", 1.5, "max_errors"),
        ("max_errors", True, "max_errors"),
        ("max_errors", "nan%", "max_errors"),
        ("max_errors", "100.1%", "max_errors"),
        ("max_errors", "%", "max_errors"),
        ("max_errors", "inf", "max_errors"),
        ("max_errors", [], "max_errors"),
        ("limits", [], "limits"),
        ("limits", {"calls": 1.5}, "limits.calls"),
        ("limits", {"calls_per_minute": 0}, "limits.calls_per_minute"),
        ("limits", {"cost": float("nan")}, "limits.cost"),
        ("limits", {"cost": True}, "limits.cost"),
        ("limits", {"name": " a"}, "limits.name"),
        ("limits", {"name": "a\nb"}, "limits.name"),
        ("limits", {"tokens": 5}, "limits.tokens"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(field, value, place):
    with pytest.raises(TVBuilderError) as caught:
        read(field, value)
    assert f'Builder "b": field {place} is ' in str(caught.value)
    assert caught.value.field == place


@pytest.mark.parametrize(
    ("most", "errors", "rows", "allows"),
    [
        (MaxErrors(number=2, is_share=False), 2, 1, True),
        (MaxErrors(number=2, is_share=False), 3, 1000, False),
        (MaxErrors(number=5, is_share=True), 5, 100, True),
        (MaxErrors(number=5, is_share=True), 6, 100, False),
        (MaxErrors(number=0, is_share=True), 0, 0, True),
        (MaxErrors(number=100, is_share=True), 7, 7, True),
    ],
)
def test_how_many_errors_are_allowed(most, errors, rows, allows):
    assert most.allows(errors, rows) == allows


@pytest.mark.parametrize("text", ["5%", "2.5%", "7"])
def test_a_limit_of_errors_is_written_as_it_was_stated(text):
    assert str(read("max_errors", text)) == text
