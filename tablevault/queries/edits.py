"""How builders that wait in a temporary instance differ from those that made an instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tablevault.errors import TableVaultError

_OF_INDEX = ("primary_key", "keep_old")


def edits(before: Mapping[str, str], now: Mapping[str, str], table: str) -> Iterator[str]:
    """Yield what an execution would see of edits; comments and the order of keys are none.

    Parameters
    ----------
    before, now : mapping of str to str
        Builder files by name.
    table : str
        The table that they belong to.
    """
    for name in sorted({*before, *now}):
        if name not in now:
            yield f"{name}: builder removed"
        elif name not in before:
            yield f"{name}: builder added"
        elif changes := _changes(name, before[name], now[name], table):
            yield f"{name}: {changes}"


def _changes(name: str, before: str, now: str, table: str) -> str:
    """Return what an edit of one builder changes; "" when nothing."""
    from tablevault.engine.builder import parse_builder, parse_recorded
    from tablevault.engine.recipes import changed_fields

    if before == now:
        return ""
    try:
        old, new = parse_recorded(name, before, table=table), parse_builder(name, now, table=table)
    except TableVaultError:  # it is being written
        return "edited"
    changes = changed_fields(old, new)
    changes += [
        f"field {each} changed" for each in _OF_INDEX if getattr(old, each) != getattr(new, each)
    ]
    return " and ".join(changes)
