"""Times, numbers and names as a person reads them, and the anchors that links lead to."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from tablevault import render
from tablevault.report.markup import Markup, tag
from tablevault.report.markup import text as escaped

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,120}")
_LONGEST_PERSON = 80
_LEAST_CLAMPED, _CLAMPED_LINES = 60, 3


def anchor(kind: str, name: str) -> str:
    """Return the id of an element about something, in letters that any link may hold."""
    plain = (
        name
        if _PLAIN.fullmatch(name)
        else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:20]
    )
    return f"{kind}-{plain}"


def moment(at: str | float) -> Markup:
    """Return a time (RFC 3339 or Unix s) in UTC, to the second."""
    found = _parsed(at)
    if found is None:
        return tag("span", "?")
    return tag(
        "time",
        found.strftime("%Y-%m-%d %H:%M:%S"),
        datetime=found.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def second(at: str | float) -> str:
    """Return a time as text in UTC, to the second; "" when it is none."""
    found = _parsed(at)
    return "" if found is None else found.strftime("%Y-%m-%d %H:%M:%S")


def _parsed(at: str | float) -> datetime | None:
    """Return a time; None when it is none."""
    try:
        if isinstance(at, str):
            found = datetime.fromisoformat(at)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def duration(seconds: float | None) -> str:
    """Return how long something took."""
    return "" if seconds is None else render.duration(seconds)


def difference(number: int) -> str:
    """Return how much more or less something is."""
    return f"+{number:,}" if number > 0 else f"\N{MINUS SIGN}{-number:,}" if number else "±0"


def person(author: str) -> Markup:
    """Return the name of an author without the address, whatever direction it is written in."""
    return tag("span", cut(author.partition(" <")[0] or author, _LONGEST_PERSON), dir="auto")


def short(instance_id: str) -> str:
    """Return the part of an id that differs from others of the same table."""
    return instance_id.rpartition("_")[2][:8]


def cut(text: str, most: int) -> str:
    """Return text cut to a length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def clamped(text: str, most: int, class_: str | None = None) -> Markup:
    """Return text that the page shows in three lines and unfolds when it is clicked."""
    is_long = len(text) > _LEAST_CLAMPED or text.count("\n") >= _CLAMPED_LINES
    name = " ".join(filter(None, (class_, "clamp" if is_long else None)))
    return tag("div", escaped(text, most), class_=name or None, dir="auto")
