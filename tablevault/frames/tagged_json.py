"""Python values as JSON text that gives back exactly the same values.

Plain JSON values stand for themselves: None, bool, int within 64 bits, finite float, str, list,
and dict whose keys are text not beginning with ``$``. Every other value is an object with the one
key that `_ENCODERS` gives its type, such as ``{"$tuple": [1, 2]}``. The text is ASCII, without
blanks, so equal values built in the same order give equal text; sets are sorted by their text.
Text with surrogates is tagged too: JSON would join two halves that stand side by side. Values of
subclasses become plain ones first, see `tablevault.frames.plain`.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tablevault.frames.plain import is_pytz, plain

_DEEPEST = 100
"""Levels of nesting; well below Python's own limit, so what is written can always be read."""
_INT64 = 1 << 63
_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_KINDS = "biufcMmSU"


class UnstorableValueError(Exception):
    """A value of a type that the encoding does not know, or one that contains itself."""

    def __init__(self, value: object, reason: str = "") -> None:
        super().__init__(reason)
        self.value_type = type(value).__qualname__
        self.reason = reason


def to_json(value: object) -> str:
    """Encode one value.

    Parameters
    ----------
    value : object
        Any value of the types in the module's table, nested at most 100 levels.

    Returns
    -------
    str
        ASCII JSON text.

    Raises
    ------
    UnstorableValueError
        The value, or one inside it, has another type, or it contains itself.
    """
    return json.dumps(_plain(value, 0), separators=(",", ":"), ensure_ascii=True)


def text_to_compare(value: object, row: int) -> str:
    """Return the text of a value in a row; one that cannot be stored equals no other."""
    try:
        return to_json(value)
    except UnstorableValueError:
        return f"{id(value)} {row}"


def from_json(text: str) -> object:
    """Decode the text that `to_json` made.

    Raises
    ------
    ValueError, KeyError, TypeError
        The text was not made by `to_json`.
    """
    return json.loads(text, object_hook=_untag)


def zone_to_plain(zone: dt.tzinfo) -> dict[str, Any]:
    """Describe a time zone: by its key in the tz database, or by its fixed offset.

    Raises
    ------
    UnstorableValueError
        The zone is of another kind, such as one read from a file.
    """
    if isinstance(zone, ZoneInfo) and zone.key:
        return {"$zone": zone.key}
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        named = [name] if name != dt.timezone(offset).tzname(None) else []
        return {"$offset": [offset // dt.timedelta(microseconds=1), *named]}
    if is_pytz(zone):
        key = getattr(zone, "zone", None)
        if key:
            return {"$pytz": key}
        fixed = zone.utcoffset(None)
        if fixed is not None:
            return {"$offset": [fixed // dt.timedelta(microseconds=1)]}
    raise UnstorableValueError(zone, "its time zone has no name in the tz database")


def zone_from_plain(plain: Mapping[str, Any]) -> dt.tzinfo:
    """Rebuild the time zone that `zone_to_plain` described."""
    ((tag, body),) = plain.items()
    zone = _DECODERS[tag](body)
    assert isinstance(zone, dt.tzinfo)
    return zone


def _plain(value: object, depth: int) -> Any:  # noqa: ANN401 - JSON
    """Turn `value` into what `json.dumps` writes without loss."""
    kind = type(value)
    if value is None or kind is bool or (kind is str and not has_surrogates(str(value))):
        return value
    if kind is float:
        assert isinstance(value, float)
        return value if math.isfinite(value) else {"$float": repr(value)}
    if depth > _DEEPEST:
        raise UnstorableValueError(value, f"it contains itself or nests over {_DEEPEST} levels")
    if kind is list:
        assert isinstance(value, list)
        return [_plain(item, depth + 1) for item in value]
    if encoder := _ENCODERS.get(kind):
        return encoder(value, depth + 1)
    return _of_no_known_type(value, depth)


def _of_no_known_type(value: object, depth: int) -> Any:  # noqa: ANN401 - JSON
    """Turn a value of a subclass into what `json.dumps` writes without loss."""
    if isinstance(value, np.generic):
        return {"$numpy": _numpy_scalar(value, depth)}
    if isinstance(value, dt.tzinfo):
        return zone_to_plain(value)
    turned = plain(value)
    if type(turned) is type(value):
        raise UnstorableValueError(value)
    return _plain(turned, depth)


def has_surrogates(text: str) -> bool:
    """Return whether text cannot be written as UTF-8."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def _int(value: int, _depth: int) -> Any:  # noqa: ANN401 - JSON
    """Keep what 64 bits hold; more is hexadecimal, since Python bounds decimal digits."""
    return value if -_INT64 <= value < _INT64 else {"$int": hex(value)}


def _dict(value: dict[object, object], depth: int) -> Any:  # noqa: ANN401 - JSON
    """Keep a dict as an object when no reader could take it for a tagged value."""
    if all(type(k) is str and not k.startswith("$") and not has_surrogates(k) for k in value):
        return {key: _plain(item, depth) for key, item in value.items()}
    if any(type(plain(key)) is not type(key) for key in value):
        return _dict({plain(key): item for key, item in value.items()}, depth)
    return {"$dict": [[_plain(k, depth), _plain(v, depth)] for k, v in value.items()]}


def _items(tag: str) -> Callable[[Any, int], Any]:
    """Make an encoder of an ordered container."""
    return lambda value, depth: {tag: [_plain(item, depth) for item in value]}


def _members(tag: str) -> Callable[[Any, int], Any]:
    """Make an encoder of a set: iteration order differs between processes, so sort."""
    return lambda value, depth: {
        tag: sorted((_plain(item, depth) for item in value), key=json.dumps)
    }


def _written(tag: str, write: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    """Make an encoder of a scalar type."""
    return lambda value, _depth: {tag: write(value)}


def _clock(tag: str) -> Callable[[Any, int], Any]:
    """Make an encoder of datetime and time: local ISO text, fold, zone."""

    def encode(value: dt.datetime | dt.time, _depth: int) -> Any:  # noqa: ANN401 - JSON
        value = plain(value)
        zone = value.tzinfo
        text = value.replace(tzinfo=None, fold=0).isoformat()
        return {tag: [text, value.fold, None if zone is None else zone_to_plain(zone)]}

    return encode


def _timestamp(value: pd.Timestamp, _depth: int) -> Any:  # noqa: ANN401 - JSON
    """Keep unit, count since the epoch in UTC, and zone."""
    value = plain(value)
    zone = value.tzinfo
    count = int(value.to_datetime64().view("i8"))
    return {"$timestamp": [value.unit, count, None if zone is None else zone_to_plain(zone)]}


def _numpy_scalar(value: np.generic, depth: int) -> list[Any]:
    """Keep dtype and value; readable for numbers and text."""
    kind = value.dtype.kind
    if kind in "mM":
        return [value.dtype.str, int(value.view("i8"))]
    if kind in "OV" or value.dtype.char in "gG":
        raise UnstorableValueError(value)
    return [
        "str" if kind == "U" else "bytes" if kind == "S" else value.dtype.name,
        _plain(value.item(), depth + 1),
    ]


def _array(value: np.ndarray[Any, Any], depth: int) -> Any:  # noqa: ANN401 - JSON
    """Keep dtype, shape and values in C order; bytes of numbers as base64."""
    if value.dtype.kind == "O":
        body: Any = [_plain(item, depth) for item in value.ravel().tolist()]
    elif value.dtype.kind not in _BYTE_KINDS or value.dtype.char in "gG":
        raise UnstorableValueError(value, f"its dtype is {value.dtype}")
    else:
        body = _base64(value.tobytes())
    return {"$array": [value.dtype.str, list(value.shape), body]}


def _base64(value: bytes | bytearray) -> str:
    """Format bytes as text."""
    return base64.b64encode(value).decode("ascii")


_ENCODERS: Mapping[type, Callable[[Any, int], Any]] = {
    int: _int,
    str: _written("$surrogates", lambda v: _base64(v.encode("utf-8", "surrogatepass"))),
    dict: _dict,
    tuple: _items("$tuple"),
    set: _members("$set"),
    frozenset: _members("$frozenset"),
    bytes: _written("$bytes", _base64),
    bytearray: _written("$bytearray", _base64),
    complex: _written("$complex", lambda v: [repr(v.real), repr(v.imag)]),
    Decimal: _written("$decimal", str),
    uuid.UUID: _written("$uuid", str),
    dt.date: _written("$date", dt.date.isoformat),
    dt.time: _clock("$time"),
    dt.datetime: _clock("$datetime"),
    dt.timedelta: _written("$timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    np.ndarray: _array,
    pd.Timestamp: _timestamp,
    pd.Timedelta: _written(
        "$pandas_timedelta", lambda v: [v.unit, int(v.to_timedelta64().view("i8"))]
    ),
    pd.Period: _written("$period", lambda v: [v.freqstr, v.ordinal]),
    pd.Interval: lambda v, depth: {
        "$interval": [v.closed, _plain(v.left, depth), _plain(v.right, depth)]
    },
    type(pd.NA): _written("$missing", lambda _: "NA"),
    type(pd.NaT): _written("$missing", lambda _: "NaT"),
}


def _untag(read: dict[str, Any]) -> object:
    """Return the value of a tagged object; innermost come first."""
    if len(read) == 1:
        ((tag, body),) = read.items()
        if decoder := _DECODERS.get(tag):
            return decoder(body)
    return read


def _read_datetime(body: list[Any]) -> dt.datetime:
    """Rebuild a datetime from local text, fold and zone."""
    text, fold, zone = body
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _read_time(body: list[Any]) -> dt.time:
    """Rebuild a time of day from text, fold and zone."""
    text, fold, zone = body
    return dt.time.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _read_offset(body: list[Any]) -> dt.timezone:
    """Rebuild a fixed offset, with its name where it has one of its own."""
    return dt.timezone(dt.timedelta(microseconds=body[0]), *body[1:])


def _read_pytz(key: str) -> dt.tzinfo:
    """Rebuild a pytz zone; without pytz, which pandas 3 does not bring, the same zone."""
    try:
        import pytz  # type: ignore[import-untyped,unused-ignore] # ships no types
    except ImportError:
        return ZoneInfo(key)
    zone = pytz.timezone(key)
    assert isinstance(zone, dt.tzinfo)
    return zone


def _read_timestamp(body: list[Any]) -> pd.Timestamp:
    """Rebuild a pandas timestamp in its unit and zone."""
    unit, count, zone = body
    stamp = pd.Timestamp(np.datetime64(count, unit)).as_unit(unit)
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)


def _read_numpy(body: list[Any]) -> object:
    """Rebuild a numpy scalar."""
    name, value = body
    if name == "str":
        return np.str_(value)
    if name == "bytes":
        return np.bytes_(value)
    dtype = np.dtype(name)
    if dtype.kind in "mM":
        return np.int64(value).view(dtype)
    return dtype.type(value)


def _read_array(body: list[Any]) -> np.ndarray[Any, Any]:
    """Rebuild an array, writable."""
    name, shape, data = body
    dtype = np.dtype(name)
    if dtype.kind == "O":
        return np.fromiter(data, dtype=object, count=len(data)).reshape(shape)
    return np.frombuffer(bytearray(base64.b64decode(data)), dtype=dtype).reshape(shape)


def _read_missing(name: str) -> object:
    """Return the missing value of pandas."""
    return pd.NA if name == "NA" else pd.NaT


_DECODERS: Mapping[str, Callable[[Any], object]] = {
    "$surrogates": lambda body: base64.b64decode(body).decode("utf-8", "surrogatepass"),
    "$float": float,
    "$int": lambda body: int(body, 16),
    "$dict": dict,
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$bytes": base64.b64decode,
    "$bytearray": lambda body: bytearray(base64.b64decode(body)),
    "$complex": lambda body: complex(float(body[0]), float(body[1])),
    "$decimal": Decimal,
    "$uuid": uuid.UUID,
    "$date": dt.date.fromisoformat,
    "$time": _read_time,
    "$datetime": _read_datetime,
    "$timedelta": lambda body: dt.timedelta(*body),
    "$zone": ZoneInfo,
    "$offset": _read_offset,
    "$pytz": _read_pytz,
    "$array": _read_array,
    "$numpy": _read_numpy,
    "$timestamp": _read_timestamp,
    "$pandas_timedelta": lambda body: pd.Timedelta(np.timedelta64(body[1], body[0])).as_unit(
        body[0]
    ),
    "$period": lambda body: pd.Period(ordinal=body[1], freq=body[0]),
    "$interval": lambda body: pd.Interval(body[1], body[2], closed=body[0]),
    "$missing": _read_missing,
}
