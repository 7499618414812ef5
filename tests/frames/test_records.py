"""Objects with named fields become dicts."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field, make_dataclass

import attrs
import pydantic
import pytest

from tablevault.frames.records import as_data, fields_of


class Level(enum.Enum):
    LOW = 1
    HIGH = "much"


@dataclass
class Plain:
    a: int
    b: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    plain: Plain
    day: dt.date = dt.date(2026, 1, 5)
    level: Level = Level.LOW


@attrs.define
class Attrs:
    a: int
    inner: object = None


class Model(pydantic.BaseModel):
    a: int
    day: dt.date
    level: Level
    site: pydantic.HttpUrl


class Silent:
    pass


MODEL = Model(a=1, day=dt.date(2026, 1, 5), level=Level.HIGH, site="https://example.org/a")
PLAIN = {"a": 1, "b": []}
DAY = dt.date(2026, 1, 5)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Plain(1), PLAIN),
        (Plain(1, [Plain(1)]), {"a": 1, "b": [PLAIN]}),
        (Frozen(plain=Plain(1)), {"plain": PLAIN, "day": DAY, "level": 1}),
        ([Plain(1), (Plain(1), 2)], [PLAIN, (PLAIN, 2)]),
        ({"x": {"y": Plain(1)}}, {"x": {"y": PLAIN}}),
        (Attrs(1, Plain(1)), {"a": 1, "inner": PLAIN}),
        (MODEL, {"a": 1, "day": "2026-01-05", "level": "much", "site": "https://example.org/a"}),
        ([MODEL], [MODEL.model_dump(mode="json")]),
        (Level.HIGH, "much"),
        ({Level.HIGH: Level.LOW}, {Level.HIGH: 1}),
        (1.5, 1.5),
        (None, None),
        ({1, 2}, {1, 2}),
    ],
)
def test_fields_become_a_dict(value, data):
    made = as_data(value)
    assert made == data
    assert type(made) is type(data)


@pytest.mark.parametrize("value", [Silent(), Plain, Model, Level, {Frozen(plain=Plain(1)).day}])
def test_what_has_no_fields_stays(value):
    assert as_data(value) is value
    assert fields_of(value) is None


def test_an_object_that_does_not_give_its_fields_stays():
    unset = object.__new__(Frozen)
    assert as_data(unset) is unset


def test_what_contains_itself_comes_to_an_end():
    chain = Plain(1)
    chain.b = [chain]
    assert as_data(chain)["b"][0]["a"] == 1


def test_a_field_may_have_any_name():
    kind = make_dataclass("Odd", ["self", "items", "model_dump"])
    assert as_data(kind(1, 2, 3)) == {"self": 1, "items": 2, "model_dump": 3}
