"""Enter one commit into the log of the catalog."""

from __future__ import annotations

import contextlib
import sqlite3

from tablevault.errors import TVFileError
from tablevault.history.catalog.operation_log import PLAIN_COMMIT, unix_time
from tablevault.history.commits.altered_instances import changed_instances
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.repository import Commit, Repository
from tablevault.names import TEMP_PREFIX


def fold_logbook(connection: sqlite3.Connection, repository: Repository, commit: Commit) -> None:
    """Enter what `commit` says of itself, and of the sources of the instance it made."""
    message = commit.message
    operation = message.first("Vault-Operation")
    # What has a table but no operation is a step of one: it carries a branch along.
    if operation or not message.first("Vault-Table"):
        table_id, table, version = _about(repository, commit)
        connection.execute(
            "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                commit.id,
                message.first("Vault-Process"),
                bool(message.first("Vault-Time")),
                unix_time(message.first("Vault-Time"), commit.at),
                unix_time(message.first("Vault-Started"), None),
                commit.author,
                operation or PLAIN_COMMIT,
                table_id,
                table,
                version,
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


def _about(repository: Repository, commit: Commit) -> tuple[str, str, str]:
    """Return id and name of the table, and the version, that a commit is about.

    A commit of plain git is about the first instance that it changed: none ever should.
    """
    message = commit.message
    table, version = message.first("Vault-Table"), message.first("Vault-Version")
    if not table and not message.first("Vault-Operation"):
        with contextlib.suppress(KeyError, ValueError, TVFileError):  # where history ends
            for table, version in changed_instances(repository, commit.id, commit.parents):
                before = Snapshot(repository, commit.parents[0])
                return before.table(table).id, table, version
        return message.first("Vault-Table-Id"), "", version
    return _table_id(repository, commit), table, version


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


def _number(text: str) -> int | None:
    """Read a trailer that counts; SQLite has room for 63 bits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None  # noqa: PLR2004 - digits of 2**63
