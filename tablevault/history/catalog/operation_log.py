"""Read the log of the catalog: operations, and what instances were made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from tablevault.names import CommitId, TableId

PLAIN_COMMIT = "commit"
"""Operation of a commit by plain git."""
_WHO_STANDS = (
    "(process_id = '' OR commit_id = (SELECT other.commit_id FROM log AS other "
    "WHERE other.process_id = log.process_id "
    "ORDER BY other.stands DESC, other.at, other.commit_id LIMIT 1))"
)
_ENTRY = (
    "process_id, at, started, author, operation, table_name, version, instance_id, "
    "subject, commit_id, success, rows, parent_id, ''"
)
"""Columns in the order of the fields of `Entry`."""
_MANY = 500

Read = Callable[[str, tuple[str, ...]], list[tuple[str, ...]]]
"""Asks the catalog: an SQL query and its arguments."""


class Entry(NamedTuple):
    """One operation, or one commit of plain git."""

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
    """Its commit; "" for an operation that left none, which only the local history knows."""
    success: bool
    rows: int | None
    parent_id: str
    error: str = ""
    """Class and text of what ended it, or what is wrong with the commit."""


class IndexedSource(NamedTuple):
    """An instance was made from another one."""

    instance_id: str
    kind: str
    """``depends`` or ``origin``."""
    table_name: str
    """Name of the table of the source at the time, "" when the commit does not say."""
    source_id: str


def entries(
    read: Read, *, table_id: str = "", commits: Iterable[str] | None = None, limit: int = -1
) -> list[Entry]:
    """List operations, newest first.

    Parameters
    ----------
    read : callable
        Asks the index.
    table_id : str, default ""
        Only those about a table.
    commits : iterable of str, optional
        Only those of the processes to which these commits belong.
    limit : int, default -1
        At most so many, all when negative.
    """
    if commits is None:
        where = f"{_WHO_STANDS} AND table_id = ?" if table_id else _WHO_STANDS
        rows = read(
            f"SELECT {_ENTRY} FROM log WHERE {where} "  # noqa: S608 - constants and a number
            f"ORDER BY at DESC, commit_id DESC LIMIT {limit}",
            (table_id,) if table_id else (),
        )
        return [_entry(row) for row in rows]
    found: dict[str, Entry] = {}
    for some in _batches(sorted(set(commits))):
        marks = ", ".join("?" * len(some))
        rows = read(
            f"SELECT {_ENTRY} FROM log WHERE {_WHO_STANDS} AND (commit_id IN ({marks}) OR "  # noqa: S608 - as above
            f"process_id IN (SELECT process_id FROM log WHERE commit_id IN ({marks}) "
            "AND process_id != ''))",
            (*some, *some),
        )
        found.update((each.commit, each) for each in map(_entry, rows))
    ordered = sorted(found.values(), key=lambda each: (each.ended, each.commit), reverse=True)
    return ordered if limit < 0 else ordered[:limit]


def creation_entries(read: Read, table_id: str) -> dict[str, Entry]:
    """Return what made each instance of a table, by the id of the instance."""
    rows = read(
        f"SELECT {_ENTRY} FROM log WHERE commit_id IN "  # noqa: S608 - a constant
        "(SELECT commit_id FROM instances WHERE table_id = ?)",
        (table_id,),
    )
    return {each.instance_id: each for each in map(_entry, rows)}


def commits_about(read: Read, instance_id: str) -> list[CommitId]:
    """List the commits that made an instance, deleted it, or changed whether it is active."""
    rows = read(
        "SELECT commit_id FROM log WHERE instance_id = ? "
        "UNION SELECT commit_id FROM gone WHERE subject = ? "
        "UNION SELECT log.commit_id FROM inactive JOIN log ON log.process_id = cause "
        "WHERE inactive.instance_id = ? "
        "UNION SELECT log.commit_id FROM revived JOIN log ON log.process_id = cause "
        "WHERE revived.instance_id = ?",
        (instance_id,) * 4,
    )
    return [CommitId(row[0]) for row in rows]


def tables_named(read: Read, name: str) -> list[tuple[TableId, float]]:
    """Return the tables that had a name, and since when (Unix s)."""
    rows = read(
        "SELECT tables.table_id, COALESCE(MIN(at), created_at) FROM tables LEFT JOIN renames "
        "ON renames.table_id = tables.table_id AND new_name = name "
        "WHERE name = ? GROUP BY tables.table_id, created_at",
        (name,),
    )
    return [(TableId(row[0]), _unix(row[1])) for row in rows]


def related(read: Read, instance_ids: Iterable[str]) -> set[str]:
    """Name instances, all that they were made from, however indirectly, and all made from them."""
    found: set[str] = set()
    for here, there in (("instance_id", "source_id"), ("source_id", "instance_id")):
        rows = read(
            "WITH RECURSIVE reached (id) AS (SELECT value FROM json_each(?) "  # noqa: S608 - constants
            f"UNION SELECT {there} FROM sources JOIN reached ON {here} = id) "
            "SELECT id FROM reached",
            (json.dumps(sorted(instance_ids)),),
        )
        found.update(row[0] for row in rows)
    return found


def sources(read: Read, instance_ids: Iterable[str]) -> list[IndexedSource]:
    """List what instances were made from directly, in the order in which their commits say it."""
    rows = read(
        "SELECT instance_id, kind, table_name, source_id FROM sources "
        "WHERE instance_id IN (SELECT value FROM json_each(?)) ORDER BY instance_id, place",
        (json.dumps(sorted(instance_ids)),),
    )
    return [
        IndexedSource(instance_id=row[0], kind=row[1], table_name=row[2], source_id=row[3])
        for row in rows
    ]


def copies(read: Read, table_id: TableId) -> list[str]:
    """Name the instances of other tables that began with one of a table, or with such a copy."""
    rows = read(
        "WITH RECURSIVE copied (id) AS (SELECT instance_id FROM instances WHERE table_id = ?1 "
        "UNION SELECT sources.instance_id FROM sources JOIN copied ON source_id = id "
        "WHERE kind = 'origin') "
        "SELECT instance_id FROM instances JOIN copied ON id = instance_id WHERE table_id != ?1",
        (table_id,),
    )
    return [str(row[0]) for row in rows]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut what is looked up into queries that SQLite accepts."""
    for start in range(0, len(ids), _MANY):
        yield ids[start : start + _MANY]


def _entry(row: Sequence[object]) -> Entry:
    """Make a value of a row of the catalog; SQLite has no booleans."""
    entry = Entry._make(row)
    return entry._replace(success=bool(entry.success))


def unix_time(text: str, otherwise: float | None) -> float | None:
    """Return a time in ISO 8601 as Unix s; `otherwise` when `text` is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return otherwise


def _unix(value: str | float) -> float:
    """Read a time that the catalog has as a number or as text."""
    return value if isinstance(value, float) else unix_time(value, None) or 0.0
