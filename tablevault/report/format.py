"""Times, numbers and names for a person, and the anchors of links."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from tablevault import render
from tablevault.secrets import redact

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,120}")
_NUMERIC = re.compile(r"u?int|float|u?Int|Float|UInt|decimal")
_LONGEST_PERSON = 80
_LEAST_CLAMPED, _CLAMPED_LINES = 60, 3


def anchor(name: str, kind: str) -> str:
    """Return the id of an element about something, in letters that any link may hold."""
    plain = (
        name
        if _PLAIN.fullmatch(name)
        else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:20]
    )
    return f"{kind}-{plain}"


def second(at: str | float) -> str:
    """Return a time (RFC 3339 or Unix s) in UTC, to the second; "" when it is none."""
    try:
        if isinstance(at, str):
            time = datetime.fromisoformat(at)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        else:
            time = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def number(value: float | None, spec: str = ",") -> str:
    """Return a number with separators between thousands; "" when it is not known."""
    return "" if value is None else format(value, spec)


def duration(seconds: float | None) -> str:
    """Return how long something took; "" when that is not known."""
    return "" if seconds is None else render.duration(seconds)


def difference(value: int) -> str:
    """Return how much more or less something is."""
    return f"+{value:,}" if value > 0 else f"\N{MINUS SIGN}{-value:,}" if value else "±0"


def person(author: str) -> str:
    """Return the name of an author without the address, and without what looks like a key."""
    author = redact(author)
    name = author.partition(" <")[0].strip() or author.strip() or "unknown"
    return render.cut(name, _LONGEST_PERSON)


def short(instance_id: str) -> str:
    """Return the part of an id that differs from others of the same table."""
    return instance_id.rpartition("_")[2][:8]


def is_long(value: str) -> bool:
    """Return whether text may take more than three lines."""
    return len(value) > _LEAST_CLAMPED or value.count("\n") >= _CLAMPED_LINES


def is_numeric(dtype: str) -> bool:
    """Return whether the cells of a column are numbers."""
    return _NUMERIC.match(dtype) is not None


FILTERS = {
    "anchor": anchor,
    "counted": render.counted,
    "cut": render.cut,
    "difference": difference,
    "duration": duration,
    "number": number,
    "person": person,
    "second": second,
    "short": short,
}
TESTS = {"long": is_long, "numeric": is_numeric}
