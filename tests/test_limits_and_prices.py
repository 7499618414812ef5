"""Limits and prices: what a field can be, and what the error says of anything else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tablevault.limits_and_prices import Limits, Price, UnfitValueError, read_limits, read_prices


def test_numbers_may_be_text():
    found = read_limits({"calls_per_minute": "500", "calls": "1e3", "cost": 2.5})
    assert found == Limits(calls_per_minute=500.0, calls=1000, cost=2.5)


def test_numbers_of_numpy_are_numbers():
    assert read_limits({"calls": np.int64(3), "cost": np.float32(0.5)}) == Limits(calls=3, cost=0.5)


def test_null_leaves_a_field_out():
    assert read_limits({"calls": None, "cost": 0}) == Limits(cost=0.0)
    assert read_limits(Limits(calls=0).fields()) == Limits(calls=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("calls_per_minute", 0),
        ("calls_per_minute", -1),
        ("calls_per_minute", math.nan),
        ("calls_per_minute", math.inf),
        ("calls_per_minute", True),
        ("calls_per_minute", "many"),
        ("calls_per_minute", [5]),
        ("tokens_per_minute", 10**13),
        ("tokens_per_minute", "1" * 400),
        ("calls", 1.5),
        ("calls", -1),
        ("calls", 10**400),
        ("cost", -0.01),
        ("cost", "1e400"),
        ("name", ""),
        ("name", " of two\nlines"),
        ("name", 7),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_is_allowed(field, value):
    with pytest.raises(UnfitValueError, match=rf"^\.{field} is .*; it has to be ") as caught:
        read_limits({field: value})
    assert caught.value.path == f".{field}"
    assert len(str(caught.value)) < 250


def test_a_number_that_python_does_not_write_is_an_error_too():
    with pytest.raises(UnfitValueError, match=r"^\.calls is a number without end; it has to be"):
        read_limits({"calls": 10**5000})


def test_a_field_that_is_spelt_wrongly_is_told_from_those_that_there_are():
    with pytest.raises(UnfitValueError, match='did you mean "calls_per_minute"'):
        read_limits({"call_per_minute": 5})
    with pytest.raises(UnfitValueError, match="left out: fields of limits are name, calls_per"):
        read_limits({"zzz": 5})


def test_a_model_may_have_dots_and_slashes():
    price = {"input": 1, "output": "0.5"}
    found = read_prices({"gpt-4.1": price, "meta/llama-3.1": price})
    assert found["meta/llama-3.1"] == found["gpt-4.1"] == Price(input=1.0, output=0.5)
    assert found["gpt-4.1"].cost(1_000_000, 2_000_000) == 2.0


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([], "has to be a mapping of models"),
        ({"m": 5}, r"^\.m is 5; it has to be a mapping"),
        ({"m": {"input": 1}}, r"^\.m is \{'input': 1\}; it has to be .*both of them"),
        ({"m": {"input": 1, "output": -1}}, r"^\.m\.output is -1; it has to be a number from 0"),
        ({"m": {"inptu": 1}}, 'did you mean "input"'),
        ({4.1: {"input": 1, "output": 1}}, r"^\.4\.1 is .*named by text"),
        ({"a\nb": {"input": 1, "output": 1}}, "on one line"),
        ({"\ud800": {"input": 1, "output": 1}}, "named by text"),
        ({"m" * 201: {"input": 1, "output": 1}}, "1 to 200 characters"),
    ],
)
def test_a_price_that_cannot_be_is_named(prices, said):
    with pytest.raises(UnfitValueError, match=said):
        read_prices(prices)
