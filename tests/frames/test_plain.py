"""Values of subclasses, and times in zones of other libraries, are stored as plain ones."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import io
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import dateutil.tz
import numpy as np
import pandas as pd
import pydantic
import pytest
import pytz

from tablevault.engine.row_values import decode_values, encode_values
from tablevault.frames.casting import cast
from tablevault.frames.dtypes import infer, nullable, parse_dtype
from tablevault.frames.parquet import read_frame, write_frame
from tablevault.frames.plain import as_data, fields_of, plain
from tablevault.frames.tagged_json import from_json, to_json


class Word(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042 - str() of it gives its name
    RED = "red"

    def __str__(self) -> str:
        return "a name"


class Number(enum.IntEnum):
    TWO = 2


class Level(int, enum.Enum):
    TWO = 2


class Kelvin(float):
    def __repr__(self) -> str:
        return f"{float(self)} K"


class Moment(dt.datetime):
    """A datetime as libraries derive it."""


class Day(dt.date):
    """A date as libraries derive it."""


class Pair(NamedTuple):
    left: int
    right: str


AT = dt.datetime.fromisoformat("2026-01-05T09:41:00.123456")
PLAIN = [
    (Word.RED, "red"),
    (Mixed.RED, "red"),
    (Number.TWO, 2),
    (Level.TWO, 2),
    (Kelvin(1.5), 1.5),
    (type("Raw", (bytes,), {})(b"x"), b"x"),
    (Moment.combine(AT, AT.time()), AT),
    (Day(2026, 1, 5), dt.date(2026, 1, 5)),
    (type("Wait", (dt.timedelta,), {})(3), dt.timedelta(3)),
    (Pair(1, "b"), (1, "b")),
    (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (type("Many", (list,), {})([1, 2]), [1, 2]),
    ({Word.RED: [Number.TWO, Mixed.RED]}, {"red": [2, "red"]}),
]


def exact(value: Any) -> tuple[type, str]:
    return type(value), repr(value)


@pytest.mark.parametrize(("value", "expected"), PLAIN, ids=[repr(v)[:30] for v, _ in PLAIN])
def test_a_value_of_a_subclass_is_stored_as_its_plain_value(value, expected, tmp_path):
    assert exact(from_json(to_json(value))) == exact(expected)
    assert exact(from_json(to_json([value]))) == exact([expected])
    made, same = (pd.Series([v, None], dtype=object).to_frame("c") for v in (value, expected))
    assert stored(made, tmp_path) == stored(same, tmp_path)


def stored(frame: pd.DataFrame, folder: Path) -> tuple[str, Any]:
    with (folder / "f").open("wb") as sink:
        digest = write_frame(frame, sink).digest
    return digest, exact(read_frame(folder / "f")["c"][0])


@pytest.mark.parametrize(("value", "expected"), PLAIN, ids=[repr(v)[:30] for v, _ in PLAIN])
def test_a_row_that_was_recorded_is_the_row_that_was_made(value, expected):
    assert exact(decode_values(encode_values((value,)))[0]) == exact(expected)


@pytest.mark.parametrize("value", [Word.RED, Mixed.RED], ids=["word", "mixed"])
def test_text_of_an_enumeration_becomes_a_column_of_its_text(value):
    for made in (
        infer([value, None], "c"),
        infer([value, 5], "c"),
        cast(pd.Series([value], dtype=object), "string"),
        nullable(pd.DataFrame({"c": pd.Series([value], dtype=object)}))["c"],
    ):
        assert (str(made.dtype), exact(made[0])) == ("string", exact("red"))


@pytest.mark.parametrize("value", [Number.TWO, Level.TWO], ids=["number", "level"])
def test_numbers_of_an_enumeration_become_a_column_of_numbers(value):
    assert str(infer([value, 3], "c").dtype) == "Int64"
    assert infer([value, "x"], "c")[0] == "2"
    assert cast(pd.Series([value], dtype=object), "string")[0] == "2"


def test_scalars_of_numpy_are_values_of_their_own():
    for value in (np.float64(1.5), np.str_("x"), np.int8(3), np.bool_(True)):
        assert plain(value) is value


ROME = dateutil.tz.tzfile("/usr/share/zoneinfo/Europe/Rome")
ZONES = [
    (dateutil.tz.tzutc(), dt.UTC),
    (dateutil.tz.tzoffset(None, 7200), dt.timezone(dt.timedelta(hours=2))),
    (dateutil.tz.tzoffset("name", 7200), dt.timezone(dt.timedelta(hours=2))),
    (ROME, ZoneInfo("Europe/Rome")),
    (dateutil.tz.tzstr("EST5EDT"), dt.timezone(dt.timedelta(hours=-5))),
]


KINDS = [
    (kind, zone, expected)
    for kind in (dt.datetime, Moment, pd.Timestamp)
    for zone, expected in ZONES
    # pandas has no use for a zone that is a rule of text.
    if not (kind is pd.Timestamp and isinstance(zone, dateutil.tz.tzstr))
]


@pytest.mark.parametrize(
    ("kind", "zone", "expected"),
    KINDS,
    ids=[f"{kind.__name__} {zone!r}" for kind, zone, _ in KINDS],
)
def test_a_time_in_a_zone_of_dateutil_keeps_instant_and_clock(kind, zone, expected):
    value = (
        kind(AT.replace(tzinfo=zone)) if kind is pd.Timestamp else kind.combine(AT, AT.time(), zone)
    )
    found = from_json(to_json({"at": value}))["at"]
    assert found == value
    assert found.replace(tzinfo=None) == AT
    assert found.tzinfo == expected
    column = infer([value, None], "c")
    assert column.dtype == pd.DatetimeTZDtype(column.dtype.unit, expected)
    assert column[0] == value


def makes_columns(zone: dt.tzinfo) -> bool:
    """Return whether pandas makes columns in a zone: 2.2 knows no files of dateutil 4."""
    try:
        pd.Series([AT]).dt.tz_localize(zone)
    except AttributeError:
        return False
    return True


COLUMN_ZONES = [(zone, expected) for zone, expected in ZONES[:4] if makes_columns(zone)]


@pytest.mark.parametrize(
    ("zone", "expected"), COLUMN_ZONES, ids=[repr(zone) for zone, _ in COLUMN_ZONES]
)
def test_a_column_in_a_zone_of_dateutil_keeps_its_instants(zone, expected, tmp_path):
    frame = pd.DataFrame({"c": pd.Series([AT, None]).dt.tz_localize(zone)})
    with (tmp_path / "f").open("wb") as sink:
        file = write_frame(nullable(frame), sink)
    found = read_frame(tmp_path / "f")["c"]
    assert found.dtype.tz == expected
    assert found[0] == frame["c"][0]
    assert file.dtypes == {"c": str(found.dtype)}


def test_the_hour_that_happens_twice_stays_which_it_was():
    for fold in (0, 1):
        value = dt.datetime(2026, 10, 25, 2, 30, tzinfo=ROME, fold=fold)
        found: Any = from_json(to_json(value))
        assert (found.fold, found.utcoffset()) == (fold, value.utcoffset())


def test_a_time_of_day_keeps_its_zone():
    for zone, expected in ZONES[:4]:
        found: Any = from_json(to_json(dt.time(9, 41, tzinfo=zone, fold=1)))
        assert (found, found.tzinfo, found.fold) == (dt.time(9, 41, tzinfo=expected), expected, 1)


def test_a_zone_of_dateutil_is_declared_by_its_key():
    dtype = parse_dtype("datetime64[ns, dateutil//usr/share/zoneinfo/Europe/Rome]")
    assert dtype == pd.DatetimeTZDtype("ns", ZoneInfo("Europe/Rome"))


def test_a_zone_from_a_file_without_a_key_keeps_the_offset():
    with Path("/usr/share/zoneinfo/Europe/Rome").open("rb") as file:
        zone = ZoneInfo.from_file(io.BytesIO(file.read()))
    value = AT.replace(tzinfo=zone)
    found: Any = from_json(to_json(value))
    assert (found, found.tzinfo) == (value, dt.timezone(dt.timedelta(hours=1)))


def test_a_datetime_in_a_zone_of_pytz_keeps_its_instant():
    for zone in (pytz.timezone("Europe/Rome"), pytz.utc, pytz.FixedOffset(90)):
        for value in (zone.localize(AT), AT.replace(tzinfo=zone)):
            found: Any = from_json(to_json(value))
            assert (found, type(found)) == (value, dt.datetime)


class Grade(enum.Enum):
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
    level: Grade = Grade.LOW


@attrs.define
class Attrs:
    a: int
    inner: object = None


class Model(pydantic.BaseModel):
    a: int
    day: dt.date
    level: Grade
    site: pydantic.HttpUrl


class Silent:
    pass


MODEL = Model(a=1, day=dt.date(2026, 1, 5), level=Grade.HIGH, site="https://example.org/a")
DATA = {"a": 1, "b": []}
DAY = dt.date(2026, 1, 5)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Plain(1), DATA),
        (Plain(1, [Plain(1)]), {"a": 1, "b": [DATA]}),
        (Frozen(plain=Plain(1)), {"plain": DATA, "day": DAY, "level": 1}),
        ([Plain(1), (Plain(1), 2)], [DATA, (DATA, 2)]),
        ({"x": {"y": Plain(1)}}, {"x": {"y": DATA}}),
        (Attrs(1, Plain(1)), {"a": 1, "inner": DATA}),
        (MODEL, {"a": 1, "day": "2026-01-05", "level": "much", "site": "https://example.org/a"}),
        ([MODEL], [MODEL.model_dump(mode="json")]),
        (Grade.HIGH, "much"),
        ({Grade.HIGH: Grade.LOW}, {Grade.HIGH: 1}),
        (1.5, 1.5),
        (None, None),
        ({1, 2}, {1, 2}),
    ],
)
def test_fields_become_a_dict(value, data):
    made = as_data(value)
    assert made == data
    assert type(made) is type(data)


@pytest.mark.parametrize("value", [Silent(), Plain, Model, Grade, {Frozen(plain=Plain(1)).day}])
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
