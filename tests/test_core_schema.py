"""Scalars of YAML are those of the core schema of YAML 1.2."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from tests.engine.builders.test_builder import argument


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E+3", -1500.0),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0xfF", 255),
        ("-.inf", float("-inf")),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        *(
            (text, text)
            for text in (
                "NO", "no", "on", "Off", "yes", "Y", "12:30", "190:20:30", "1_000", "0b11",
                "2023-01-05", "2023-01-05 10:00:00", "1e", "0x", "0o8", "-0x1", ".", "e5",
                "nan", "inf", "1.2.3", "=", "tRue", "1e5x",
            )
        ),
        ("'1e-5'", "1e-5"),
        ("!!timestamp 2023-01-05", dt.date(2023, 1, 5)),
    ],
)  # fmt: skip
def test_scalars_are_those_of_the_core_schema_of_yaml_1_2(written, value):
    found = argument(written)
    assert (type(found), found) == (type(value), value)


def test_not_a_number_is_a_number():
    assert math.isnan(argument(".nan"))
