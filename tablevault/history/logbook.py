"""The log in the derived index: what each commit stands for, and what instances were made from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tablevault.errors import TVFileError
from tablevault.history.message import Message
from tablevault.history.repository import Commit, Repository
from tablevault.history.snapshot import Snapshot
from tablevault.names import TEMP_PREFIX, CommitId, TableId

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    commit_id TEXT PRIMARY KEY, process_id TEXT, stands INTEGER, at REAL, started REAL,
    author TEXT, operation TEXT, table_id TEXT, table_name TEXT, version TEXT,
    instance_id TEXT, subject TEXT, success INTEGER, rows INTEGER, parent_id TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS log_by_time ON log (at, commit_id);
CREATE INDEX IF NOT EXISTS log_by_process ON log (process_id, stands, at, commit_id);
CREATE INDEX IF NOT EXISTS log_by_table ON log (table_id, at);
CREATE INDEX IF NOT EXISTS log_by_instance ON log (instance_id);
CREATE TABLE IF NOT EXISTS sources (
    instance_id TEXT, kind TEXT, place INTEGER, table_name TEXT, source_id TEXT,
    PRIMARY KEY (instance_id, kind, source_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sources_by_source ON sources (source_id);
"""
"""`log` has a row for each commit that an operation or a person made. Of the commits of one
process, the one with ``Vault-Time`` stands for it; the same may be said twice, by a cherry-pick,
and then the earliest counts. `sources` holds what an instance was made from: the instances it read
(``depends``) and the one it was copied from (``origin``)."""

TABLES = ("log", "sources")

PLAIN_COMMIT = "commit"
"""Operation of a commit that somebody made with plain git."""

_WHO_STANDS = (
    "(process_id = '' OR commit_id = (SELECT other.commit_id FROM log AS other "
    "WHERE other.process_id = log.process_id "
    "ORDER BY other.stands DESC, other.at, other.commit_id LIMIT 1))"
)
_ENTRY = (
    "commit_id, process_id, at, started, author, operation, table_name, version, instance_id, "
    "subject, success, rows, parent_id"
)
_MANY = 500

Row = tuple[str, ...]
Read = Callable[[str, tuple[str, ...]], list[Row]]
"""Asks the index: an SQL query and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One operation that left a commit, or one commit of plain git."""

    commit: str
    process_id: str
    at: float
    started: float | None
    """Unix s, None when the commit does not say."""
    author: str
    operation: str
    table_name: str
    version: str
    instance_id: str
    subject: str
    success: bool
    rows: int | None
    parent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedSource:
    """An instance was made from another one."""

    instance_id: str
    kind: str
    """``depends`` or ``origin``."""
    table_name: str
    """Name of the table of the source at the time, "" when the commit does not say."""
    source_id: str


# -- reading ------------------------------------------------------------------------------------


def entries(
    read: Read, *, table_id: str = "", commits: Iterable[str] | None = None, limit: int = -1
) -> list[LogEntry]:
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
    found: dict[str, LogEntry] = {}
    for some in _batches(sorted(set(commits))):
        marks = ", ".join("?" * len(some))
        rows = read(
            f"SELECT {_ENTRY} FROM log WHERE {_WHO_STANDS} AND (commit_id IN ({marks}) OR "  # noqa: S608 - as above
            f"process_id IN (SELECT process_id FROM log WHERE commit_id IN ({marks}) "
            "AND process_id != ''))",
            (*some, *some),
        )
        found.update((row[0], _entry(row)) for row in rows)
    ordered = sorted(found.values(), key=lambda each: (each.at, each.commit), reverse=True)
    return ordered if limit < 0 else ordered[:limit]


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


def bearers(read: Read, name: str) -> list[tuple[TableId, float]]:
    """Give the tables that had a name, and since when (Unix s)."""
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


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut what is looked up into queries that SQLite accepts."""
    for start in range(0, len(ids), _MANY):
        yield ids[start : start + _MANY]


def _entry(row: Sequence[str | float | None]) -> LogEntry:
    """Make a value of a row of the index."""
    commit, process, at, started, author, operation, table, version = row[:8]
    instance, subject, success, rows, parent = row[8:]
    return LogEntry(
        commit=str(commit),
        process_id=str(process),
        at=float(at or 0),
        started=None if started is None else float(started),
        author=str(author),
        operation=str(operation),
        table_name=str(table),
        version=str(version),
        instance_id=str(instance),
        subject=str(subject),
        success=bool(success),
        rows=None if rows is None else int(rows),
        parent_id=str(parent),
    )


# -- folding ------------------------------------------------------------------------------------


def fold_logbook(connection: sqlite3.Connection, repository: Repository, commit: Commit) -> None:
    """Enter what `commit` says of itself, and of the sources of the instance it made."""
    message = commit.message
    operation = message.first("Vault-Operation")
    # What has a table but no operation is a step of one: it carries a branch along.
    if operation or not message.first("Vault-Table"):
        connection.execute(
            "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                commit.id,
                message.first("Vault-Process"),
                bool(message.first("Vault-Time")),
                _time(message.first("Vault-Time"), commit.at),
                _time(message.first("Vault-Started"), None),
                commit.author,
                operation or PLAIN_COMMIT,
                _table_id(repository, commit),
                message.first("Vault-Table"),
                message.first("Vault-Version"),
                _subject_id(message),
                message.subject,
                message.first("Vault-Success") != "false",
                _number(message.first("Vault-Rows")),
                message.first("Vault-Parent-Process"),
            ),
        )
    if instance_id := message.first("Vault-Instance"):
        _fold_sources(connection, message, instance_id)


def _fold_sources(connection: sqlite3.Connection, message: Message, instance_id: str) -> None:
    """Enter what an instance was made from; never from itself."""
    named = [("depends", *_reference(text)) for text in message.every("Vault-Depends-On")]
    named += [("origin", "", text) for text in message.every("Vault-Origin")]
    connection.executemany(
        "INSERT OR IGNORE INTO sources VALUES (?, ?, ?, ?, ?)",
        [
            (instance_id, kind, place, table, source)
            for place, (kind, table, source) in enumerate(named)
            if source != instance_id
        ],
    )


def _reference(text: str) -> tuple[str, str]:
    """Split ``<table>/<instance id>``."""
    table, _, instance_id = text.rpartition("/")
    return table, instance_id


def _subject_id(message: Message) -> str:
    """Name the instance that an operation is about; a temporary one by its version."""
    if instance_id := message.first("Vault-Instance"):
        return instance_id
    version = message.first("Vault-Version")
    if not version:
        return ""
    known = (message.first(f"Vault-{key}") for key in ("Deletes", "Withdraws", "Restores"))
    return next(filter(None, known), f"{TEMP_PREFIX}{version}")


def _table_id(repository: Repository, commit: Commit) -> str:
    """Find the id of the table that a commit is about: said by it, or by the table as it was."""
    message = commit.message
    table = message.first("Vault-Table")
    if (known := message.first("Vault-Table-Id")) or not table:
        return known
    try:
        snapshot = Snapshot(repository, commit.id)
        return snapshot.table(table).id if snapshot.has_table(table) else ""
    except TVFileError:
        # A document that somebody broke says nothing, for now.
        return ""


def _time(text: str, otherwise: float | None) -> float | None:
    """Read a trailer that says when."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return otherwise


def _unix(value: str | float) -> float:
    """Read a time that stands in the index as a number or as text."""
    return value if isinstance(value, float) else _time(value, None) or 0.0


def _number(text: str) -> int | None:
    """Read a trailer that counts; SQLite has room for 63 bits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None  # noqa: PLR2004 - digits of 2**63
