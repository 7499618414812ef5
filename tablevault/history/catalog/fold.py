"""Enter commits into the catalog: what their trailers say, and the log."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable

from tablevault.errors import TVFileError
from tablevault.history.catalog.operation_log import PLAIN_COMMIT, unix_time
from tablevault.history.commits.altered_instances import changed_instances
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.repository import Commit, Repository
from tablevault.lfs.pointer import Pointer
from tablevault.names import (
    TEMP_PREFIX,
    BlobId,
    CommitId,
    artifacts_dir,
    calls_path,
    frame_path,
    is_instance,
)

DEACTIVATION = "deactivate_instances"
"""The operation that makes earlier instances inactive while an execution begins to call."""


def _earliest(table: str, key: str, time: str, *, columns: int) -> str:
    """Format an insertion that keeps the earliest of the facts with one key.

    The same thing may be said twice: on two sides of a merge, or by a cherry-pick.
    """
    values = ", ".join("?" * columns)
    return (
        f"INSERT INTO {table} VALUES ({values}) "  # noqa: S608 - constants of this module
        f"ON CONFLICT ({key}) DO UPDATE SET {_SET[table]} "
        f"WHERE (excluded.{time}, excluded.commit_id) < ({table}.{time}, {table}.commit_id)"
    )


_SET = {
    table: ", ".join(f"{name} = excluded.{name}" for name in names.split())
    for table, names in {
        "processes": "operation commit_id author at parent",
        "ended": "commit_id at author for_good",
        "instances": "table_id table_name version commit_id materialized_at success errors",
    }.items()
}
"""The columns beside the key."""


def fold_commits(
    connection: sqlite3.Connection, repository: Repository, tips: Iterable[CommitId]
) -> None:
    """Fold every commit that can be reached from `tips` and was not folded before."""
    waiting = list(tips)
    while waiting:
        commit_id = waiting.pop()
        inserted = connection.execute("INSERT OR IGNORE INTO folded VALUES (?)", (commit_id,))
        if inserted.rowcount:
            commit = repository.commit(commit_id)
            fold_commit(connection, repository, commit)
            waiting.extend(commit.parents)


def fold_commit(connection: sqlite3.Connection, repository: Repository, commit: Commit) -> None:
    """Enter into the index what the trailers of `commit` say."""
    message = commit.message
    process = message.first("Vault-Process")
    if process and not message.first("Vault-Step"):
        operation = message.first("Vault-Operation")
        parent = message.first("Vault-Parent-Process")
        connection.execute(
            _earliest("processes", "process_id", "at", columns=6),
            (process, operation, commit.id, commit.author, commit.at, parent),
        )
    _fold_log(connection, repository, commit)
    if instance_id := message.first("Vault-Instance"):
        _fold_instance(connection, repository, commit, instance_id)
    _fold_activity(connection, message)
    _fold_ends(connection, commit)
    _fold_table(connection, commit)


def _fold_ends(connection: sqlite3.Connection, commit: Commit) -> None:
    """Enter which instances and tables an operation ended, or brought back, and what it undid."""
    message = commit.message
    process, at = message.first("Vault-Process"), message.first("Vault-Time")
    for trailer, for_good in (("Vault-Deletes", True), ("Vault-Withdraws", False)):
        for subject in message.every(trailer):
            connection.execute(
                _earliest("ended", "subject, cause", "at", columns=6),
                (subject, process, commit.id, at, commit.author, for_good),
            )
            _update_gone(connection, subject)
    for subject in message.every("Vault-Restores"):
        connection.execute(
            "INSERT OR IGNORE INTO restored VALUES (?, ?)",
            (subject, message.first("Vault-Undoes")),
        )
        _update_gone(connection, subject)
    connection.executemany(
        "INSERT OR IGNORE INTO undos VALUES (?, ?)",
        [(undone, process) for undone in message.every("Vault-Undoes")],
    )


def _update_gone(connection: sqlite3.Connection, subject: str) -> None:
    """Enter anew whether an instance or a table is gone: look-ups need it in one row."""
    connection.execute("DELETE FROM gone WHERE subject = ?", (subject,))
    connection.execute(
        "INSERT INTO gone SELECT subject, commit_id, at, author, for_good FROM still_ended "
        "WHERE subject = ? ORDER BY for_good DESC, at, commit_id LIMIT 1",
        (subject,),
    )


def _fold_activity(connection: sqlite3.Connection, message: Message) -> None:
    """Enter which instances a process made inactive, or active again.

    What a child deactivated at the start of an execution was deactivated by the execution.
    """
    cause = cause_in(message)
    undone = message.first("Vault-Cause") or cause
    for table, trailer, why in (
        ("inactive", "Vault-Deactivates", cause),
        ("revived", "Vault-Reactivates", undone),
    ):
        connection.executemany(
            f"INSERT OR IGNORE INTO {table} VALUES (?, ?)",  # noqa: S608 - constants
            [(instance_id, why) for instance_id in message.every(trailer)],
        )


def cause_in(message: Message) -> str:
    """Return the process that counts as the one that made instances inactive."""
    is_child = message.first("Vault-Operation") == DEACTIVATION
    return message.first("Vault-Parent-Process" if is_child else "Vault-Process")


def _fold_table(connection: sqlite3.Connection, commit: Commit) -> None:
    """Enter what `commit` says of the table itself."""
    message = commit.message
    is_rename = bool(message.first("Vault-Renames"))
    if message.first("Vault-Operation") != "create_table" and not is_rename:
        return
    table_id, name = message.first("Vault-Table-Id"), message.first("Vault-Table")
    connection.execute(
        "INSERT OR IGNORE INTO tables VALUES (?, ?, ?)",
        (table_id, name, message.first("Vault-Created") or message.first("Vault-Time")),
    )
    if is_rename:
        connection.execute(
            "INSERT OR IGNORE INTO renames VALUES (?, ?, ?, ?, ?)",
            (commit.id, table_id, message.first("Vault-Renames"), name, commit.time),
        )


def _fold_instance(
    connection: sqlite3.Connection, repository: Repository, commit: Commit, instance_id: str
) -> None:
    """Enter a materialised instance and the objects it needs."""
    message = commit.message
    table, version = message.first("Vault-Table"), message.first("Vault-Version")
    if not is_instance(table, version, instance_id):
        return  # a commit by plain git may say anything
    connection.execute(
        _earliest("instances", "instance_id", "materialized_at", columns=8),
        (
            instance_id,
            message.first("Vault-Table-Id"),
            table,
            version,
            commit.id,
            message.first("Vault-Time"),
            message.first("Vault-Success") != "false",
            _count(message.first("Vault-Errors")) or 0,
        ),
    )
    snapshot = Snapshot(repository, commit.id)
    connection.executemany(
        "INSERT OR IGNORE INTO objects VALUES (?, ?)",
        [(pointer.oid, instance_id) for pointer in pointers_of(snapshot, commit, instance_id)],
    )


def pointers_of(snapshot: Snapshot, commit: Commit, instance_id: str) -> list[Pointer]:
    """List the pointers of an instance where it was made: dataframe and artifacts."""
    table = commit.message.first("Vault-Table")
    version = commit.message.first("Vault-Version")
    frame = snapshot.blob_id(frame_path(table, version))
    blobs = [] if frame is None else [(frame_path(table, version), str(frame))]
    calls = snapshot.blob_id(calls_path(table, version))
    blobs += [] if calls is None else [(calls_path(table, version), str(calls))]
    folders = [artifacts_dir(table, version, multiple=True)]
    if snapshot.owner_of_artifacts(table) == instance_id:
        folders.append(artifacts_dir(table, version, multiple=False))
    for folder in folders:
        blobs.extend((f"{folder}/{entry.name}", entry.id) for entry in snapshot.files(folder))
    found = []
    for path, blob in blobs:
        try:
            found.append(snapshot.pointer_of(BlobId(blob), path))
        except TVFileError:
            # Committed around LFS: git has the bytes, the object store does not.
            continue
    return found


def _fold_log(connection: sqlite3.Connection, repository: Repository, commit: Commit) -> None:
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
                _count(message.first("Vault-Rows")),
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

    A commit of plain git is about the first instance that it changed: none should.
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
        # A broken document says nothing.
        return ""


def _count(text: str) -> int | None:
    """Read a number that anybody may have written, None for no number; SQLite has 63 bits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None  # noqa: PLR2004 - digits of 2**63
