"""Times, numbers and names as a person reads them, and the anchors that links lead to."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from tablevault.report.markup import Markup, tag

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,120}")
_MINUTE, _HOUR = 60.0, 3600.0


def anchor(kind: str, name: str) -> str:
    """Name the place in the page that tells of something, in letters that any link may hold."""
    plain = (
        name
        if _PLAIN.fullmatch(name)
        else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:20]
    )
    return f"{kind}-{plain}"


def moment(at: str | float) -> Markup:
    """Show a time (RFC 3339 or Unix s) in UTC, to the minute."""
    found = _parsed(at)
    if found is None:
        return tag("span", "?")
    return tag(
        "time",
        found.strftime("%Y-%m-%d %H:%M"),
        datetime=found.strftime("%Y-%m-%dT%H:%M:%SZ"),
        title=found.strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def day(at: str | float) -> str:
    """Show the date of a time."""
    found = _parsed(at)
    return "" if found is None else found.strftime("%Y-%m-%d")


def minute(at: str | float) -> str:
    """Show a time as text, to the minute."""
    found = _parsed(at)
    return "" if found is None else found.strftime("%Y-%m-%d %H:%M UTC")


def _parsed(at: str | float) -> datetime | None:
    """Read a time; None when it is none."""
    try:
        if isinstance(at, str):
            found = datetime.fromisoformat(at)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def duration(seconds: float | None) -> str:
    """Show how long something took."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600):,} h {int(seconds % 3600 // 60)} min"


def difference(number: int) -> str:
    """Show how much more or less something is."""
    return f"+{number:,}" if number > 0 else f"\N{MINUS SIGN}{-number:,}" if number else "±0"


def person(author: str) -> str:
    """Name an author without the address."""
    return author.partition(" <")[0] or author


def short(instance_id: str) -> str:
    """Give the end of an id that tells it from others of the same table."""
    return instance_id.rpartition("_")[2][:8]


def cut(text: str, most: int) -> str:
    """Shorten what does not fit."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
