"""Plain values in place of subclasses, of objects with fields, and of zones of other libraries."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

PLAIN_TYPES = frozenset(
    {str, int, float, bool, bytes, type(None), type(pd.NA), type(pd.NaT), list, dict, tuple}
    | {set, frozenset, np.ndarray, pd.Timedelta, dt.timedelta, dt.date, Decimal, uuid.UUID}
)
"""Types of values that are plain as they are; `bool` and `NaT` would be subclasses."""
_DEEPEST: Final = 100
"""Levels of nesting; what has more stays, and cannot be stored."""


def plain(value: Any) -> Any:  # noqa: ANN401 - a cell
    """Return a value as the builtin type that its type is derived from.

    A member of an enumeration of text or numbers becomes its text or number, a ``defaultdict`` a
    dict, a named tuple a tuple. Times get a zone that a file can name: the same key of the tz
    database, else the offset that they have from UTC; the instant stays. Values of other types,
    numpy's scalars too, and what is in a container, stay.
    """
    kind = type(value)
    if kind in PLAIN_TYPES or isinstance(value, np.generic):
        return value
    if isinstance(value, dt.datetime):
        return _plain_datetime(value)
    if isinstance(value, dt.time):
        return _plain_time(value)
    for base, turn in _BASES:
        if isinstance(value, base):
            return turn(value)
    return value


def plain_objects(values: pd.Series) -> pd.Series:
    """Return a column of objects with `plain` values; itself when all are."""
    cells = values.to_numpy()
    if PLAIN_TYPES.issuperset(map(type, cells)):
        return values
    made = np.fromiter(map(plain, cells), dtype=object, count=len(cells))
    return pd.Series(made, index=values.index, name=values.name, dtype=object)


def plain_zone(zone: dt.tzinfo) -> dt.tzinfo | None:
    """Return the zone of the standard library that has the same key, or the same fixed offset.

    None when there is no such zone.
    """
    if is_plain_zone(zone):
        return zone
    if key := _key_of(zone):
        return ZoneInfo(key)
    offset = zone.utcoffset(None)
    return None if offset is None else dt.timezone(offset)


def is_plain_zone(zone: dt.tzinfo) -> bool:
    """Return whether a zone is of the standard library, and has a key or a fixed offset."""
    return type(zone) is dt.timezone or (isinstance(zone, ZoneInfo) and bool(zone.key))


def is_pytz(zone: dt.tzinfo) -> bool:
    """Return whether a zone is one of pytz, which pandas 2 makes of a zone given as text."""
    return type(zone).__module__.split(".")[0] == "pytz"


def _key_of(zone: dt.tzinfo) -> str | None:
    """Return the key in the tz database of a zone of pytz or dateutil."""
    key = getattr(zone, "zone", None)
    if key is None and (found := _ZONE_FILE.fullmatch(str(getattr(zone, "_filename", "")))):
        key = found[1]
    try:
        return key and ZoneInfo(key).key
    except (KeyError, ValueError, OSError):
        return None


def _plain_datetime(value: dt.datetime) -> dt.datetime:
    """Return a Timestamp, or a datetime of this very class, in a plain zone."""
    zone = value.tzinfo
    if isinstance(value, pd.Timestamp):
        if zone is None or is_plain_zone(zone) or is_pytz(zone):
            return value
        return value.tz_convert(plain_zone(zone) or _offset_of(value))
    is_plain = zone is None or is_plain_zone(zone)
    if is_plain and type(value) is dt.datetime:
        return value
    clock = dt.datetime.combine(_date_of(value), _time_of(value, zone if is_plain else None))
    if is_plain or zone is None or value.utcoffset() is None:
        return clock
    offset = _offset_of(value)
    return clock.replace(tzinfo=offset).astimezone(plain_zone(zone) or offset)


def _offset_of(value: dt.datetime) -> dt.timezone:
    """Return the offset that a time has from UTC."""
    return dt.timezone(value.utcoffset() or dt.timedelta())


def _date_of(value: dt.date) -> dt.date:
    """Return a date of this very class."""
    return dt.date(value.year, value.month, value.day)


def _time_of(value: dt.datetime | dt.time, zone: dt.tzinfo | None) -> dt.time:
    """Return a time of day of this very class."""
    clock = (value.hour, value.minute, value.second, value.microsecond)
    return dt.time(*clock, tzinfo=zone, fold=value.fold)


def _plain_time(value: dt.time) -> dt.time:
    """Return a time of day of this very class, in a plain zone if there is one."""
    zone = value.tzinfo
    return _time_of(value, zone and (plain_zone(zone) or zone))


_ZONE_FILE = re.compile(r"(?:.*/zoneinfo/)?(?!right/)(?:posix/)?([A-Z][\w+-]*(?:/[\w+-]+)*)")
_BASES: tuple[tuple[type, Callable[[Any], object]], ...] = (
    # Not str(value): a member of an enumeration would give its name.
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda value: bytes(memoryview(value))),
    (dt.date, _date_of),
    (dt.timedelta, lambda value: dt.timedelta(value.days, value.seconds, value.microseconds)),
    (dict, lambda value: dict(dict.items(value))),
    (list, list.copy),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
)


def fields_of(value: object) -> dict[str, Any] | None:
    """Return the fields of an object by name, in order; None for an object of another kind.

    Those of a pydantic model are what its ``model_dump(mode="json")`` gives. An object that does
    not give its fields, such as a dataclass in which one was never set, is of another kind.
    """
    try:
        return _fields(value, type(value))
    except Exception:  # noqa: BLE001 - code of the user's class
        return None


def _fields(value: object, kind: type) -> dict[str, Any] | None:
    """Read the fields of an object; raises what its class raises."""
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "model_fields") and callable(dump := getattr(kind, "model_dump", None)):
        found: dict[str, Any] = dump(value, mode="json")
        return found
    elif isinstance(attributes := getattr(kind, "__attrs_attrs__", None), tuple):
        names = [attribute.name for attribute in attributes]
    else:
        return None
    return {name: getattr(value, name) for name in names}


def as_data(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - a cell
    """Return a value in which objects with fields are dicts, members of enumerations their values.

    Lists, tuples and dicts are looked through; keys of dicts and what is in sets stay, since a
    dict can be neither. Everything else stays, too.
    """
    kind = type(value)
    if depth > _DEEPEST or (kind in PLAIN_TYPES and kind not in _LOOK_INTO):
        return value
    if look := _LOOK_INTO.get(kind):
        return look(value, depth + 1)
    if isinstance(value, enum.Enum):
        return as_data(value.value, depth + 1)
    fields = fields_of(value)
    return value if fields is None else _dict(fields, depth + 1)


def _dict(value: Mapping[Any, object], depth: int) -> dict[Any, Any]:
    """Look into the values of a dict."""
    return {key: as_data(item, depth) for key, item in value.items()}


_LOOK_INTO: Final[Mapping[type, Callable[[Any, int], Any]]] = {
    dict: _dict,
    list: lambda value, depth: [as_data(item, depth) for item in value],
    tuple: lambda value, depth: tuple(as_data(item, depth) for item in value),
}
