"""Operations as entries of the log, out of the derived index and the local history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from tablevault.history import logbook
from tablevault.history.identity import author_name
from tablevault.history.logbook import PLAIN_COMMIT, LogEntry, Read
from tablevault.names import TEMP_PREFIX

Past = Mapping[str, object]
"""A line of the local history."""


class Entry(NamedTuple):
    """One operation, whether or not it left a commit."""

    process_id: str
    ended: float
    started: float | None
    """Unix s, None when that is not known."""
    author: str
    operation: str
    table: str
    version: str
    instance_id: str
    subject: str
    commit: str
    success: bool
    error: str
    rows: int | None
    parent_id: str


class Wanted(NamedTuple):
    """Which operations are asked for."""

    table_id: str = ""
    instance_id: str = ""
    commits: Collection[str] | None = None
    """The commits about that instance."""
    limit: int = -1
    """At most so many, all when negative."""


def logged(read: Read, pasts: Iterable[Past], wanted: Wanted) -> list[Entry]:
    """List operations, newest first."""
    if wanted.commits is not None:
        made = logbook.entries(read, commits=wanted.commits)
    else:
        made = logbook.entries(read, table_id=wanted.table_id, limit=wanted.limit)
    found = [_committed(entry) for entry in made]
    known = {entry.process_id for entry in found} - {""}
    found.extend(
        entry
        for entry in uncommitted(pasts)
        if entry.process_id not in known
        and (not wanted.table_id or is_about(read, entry, wanted.table_id))
        and wanted.instance_id in ("", entry.instance_id)
    )
    found.sort(key=lambda entry: entry.ended, reverse=True)
    return found if wanted.limit < 0 else found[: wanted.limit]


def may_be_flagged(entry: Entry) -> bool:
    """Return whether an entry is a commit of plain git that is about an instance."""
    return entry.operation == PLAIN_COMMIT and bool(entry.commit and entry.table)


def _committed(entry: LogEntry) -> Entry:
    """Describe an operation that left a commit."""
    return Entry(
        process_id=entry.process_id,
        ended=entry.at,
        started=entry.started,
        author=entry.author,
        operation=entry.operation,
        table=entry.table_name,
        version=entry.version,
        instance_id=entry.instance_id,
        subject=entry.subject,
        commit=entry.commit,
        success=entry.success,
        error="",
        rows=entry.rows,
        parent_id=entry.parent_id,
    )


def uncommitted(pasts: Iterable[Past]) -> Iterator[Entry]:
    """Return the operations that left no commit, oldest first: most of them failed."""
    for past in pasts:
        error = past.get("error")
        kind, text = map(str, error) if isinstance(error, list) and len(error) == 2 else ("", "")  # noqa: PLR2004 - class and text
        operation, table, version = (
            _text(past, key) for key in ("operation", "table_name", "version")
        )
        what = f"{table}/{version}" if table and version else table
        words = operation.replace("_", " ")
        if isinstance(rows := past.get("sample"), int):
            words += f", trial of {rows:,} row{'' if rows == 1 else 's'}"
        yield Entry(
            process_id=_text(past, "process_id"),
            ended=_time(past, "ended_at") or 0.0,
            started=_time(past, "started_at"),
            author=author_name(_text(past, "author")),
            operation=operation,
            table=table,
            version=version,
            instance_id=_text(past, "instance_id")
            or (f"{TEMP_PREFIX}{version}" if version else ""),
            subject=f"{what}: {words}" if what else words,
            commit="",
            success=not kind,
            error=f"{kind}: {text}" if kind else "",
            rows=None,
            parent_id=_text(past, "parent"),
        )


def is_about(read: Read, entry: Entry, table_id: str) -> bool:
    """Return whether the name that a failed operation gave was that of the table at the time."""
    known = logbook.bearers(read, entry.table) if entry.table else []
    bearers = [(since, each) for each, since in known if since <= entry.ended]
    return bool(bearers) and max(bearers)[1] == table_id


def _text(past: Past, key: str) -> str:
    """Give a field of the local history as text."""
    value = past.get(key)
    return value if isinstance(value, str) else ""


def _time(past: Past, key: str) -> float | None:
    """Give a field of the local history as a time."""
    value = past.get(key)
    return float(value) if isinstance(value, int | float) else None
