"""The SQLite file of calls: its tables and indices, how it is opened, and what errors of it mean.

Tables: ``calls`` has one row for each call, found by its inputs and its code; ``codes`` the code
digests; ``processes`` the ids of processes; ``executions`` the executions of temporary instances;
``found`` the rows of an execution whose call another execution made; ``kept`` the rows that an
execution keeps of earlier instances; ``frames`` the dataframes that calls returned, as Parquet;
``instances`` the builders of instances whose calls are recorded; ``spending`` the cost of calls
since a version had its last instance: it outlives executions and their temporary instances. Of two
calls with one key the later counts.

Inputs are hashes, so each call changes another page of their index, which costs three times as much
as the rest. Short calls come by the hundred thousand: they enter the index before the next query.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tablevault.engine.calls.records import ARGUMENTS_BYTES, decode_files

_log = logging.getLogger("tablevault")

_TIMEOUT_S: Final = 30.0
_RETRY_S: Final = 0.005
_VERSION: Final = 3
INDEXED: Final = "c.unindexed IS NULL"
"""Condition of a query by inputs; without it SQLite does not use the index."""
_INDEX: Final = "CREATE INDEX calls_by_inputs ON calls (inputs) WHERE unindexed IS NULL"
_SCHEMA: Final = f"""
CREATE TABLE codes (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, record TEXT);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, inputs BLOB NOT NULL, code INTEGER NOT NULL, outcome TEXT NOT NULL,
    value TEXT, started_at REAL NOT NULL, duration_s REAL NOT NULL, error TEXT,
    execution INTEGER, builder TEXT NOT NULL, row INTEGER NOT NULL, instance TEXT,
    process INTEGER, model TEXT, input_tokens INTEGER, output_tokens INTEGER, cost REAL, files TEXT,
    attempts INTEGER NOT NULL DEFAULT 1, unindexed INTEGER
);
CREATE TABLE processes (id INTEGER PRIMARY KEY, process TEXT NOT NULL UNIQUE);
{_INDEX};
CREATE INDEX calls_unindexed ON calls (id) WHERE unindexed IS NOT NULL;
CREATE INDEX calls_by_arguments ON calls (id) WHERE length(inputs) = {ARGUMENTS_BYTES};
CREATE INDEX calls_with_files ON calls (id) WHERE files IS NOT NULL;
CREATE INDEX calls_by_execution ON calls (execution, builder, row) WHERE execution IS NOT NULL;
CREATE TABLE executions (
    id INTEGER PRIMARY KEY, temp TEXT NOT NULL UNIQUE, process TEXT NOT NULL,
    builders TEXT NOT NULL DEFAULT '[]', ended TEXT NOT NULL DEFAULT '[]',
    version TEXT NOT NULL DEFAULT ''
);
CREATE TABLE found (
    execution INTEGER NOT NULL, builder TEXT NOT NULL, row INTEGER NOT NULL, call INTEGER NOT NULL,
    PRIMARY KEY (execution, builder, row)
) WITHOUT ROWID;
CREATE TABLE frames (
    inputs BLOB NOT NULL, code INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (inputs, code, part)
);
CREATE TABLE instances (instance TEXT PRIMARY KEY, builders TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE kept (
    id INTEGER PRIMARY KEY, execution INTEGER NOT NULL, builder TEXT NOT NULL,
    instance TEXT NOT NULL, rows BLOB NOT NULL
);
CREATE TABLE spending (
    id INTEGER PRIMARY KEY, version TEXT NOT NULL, process TEXT NOT NULL, builder TEXT NOT NULL,
    calls INTEGER NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cost REAL,
    UNIQUE (version, process, builder)
)
"""
_FROM_VERSION_2: Final = f"""
ALTER TABLE calls ADD COLUMN unindexed INTEGER;
CREATE INDEX calls_unindexed ON calls (id) WHERE unindexed IS NOT NULL;
DROP INDEX calls_by_inputs;
{_INDEX}
"""


def connect(path: Path | str) -> sqlite3.Connection:
    """Open a file for any thread, without transactions that begin by themselves.

    Where the user may not write, SQLite cannot make the files of a write-ahead log, and reads only
    what it takes for immutable: that may change later, so keep such a connection for one query.
    """
    name, is_uri = os.fspath(path), is_read_only(path)
    if is_uri:
        mode = "mode=ro" if Path(f"{name}-wal").exists() else "immutable=1"
        name = f"file:{quote(os.fsencode(name))}?{mode}"
    return sqlite3.connect(
        name, timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=is_uri
    )


def is_read_only(path: Path | str) -> bool:
    """Return whether a file is there that the user may not write, or its folder."""
    file = Path(path)
    return file.exists() and not all(os.access(each, os.W_OK) for each in (file, file.parent))


@contextmanager
def temporary_copy(path: Path | str) -> Iterator[sqlite3.Connection]:
    """Open a copy of a file, for writing; SQLite removes it at the end. Damage leaves it empty."""
    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as copy:
        try:
            with contextlib.closing(connect(path)) as source:
                source.backup(copy)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        _make_tables(copy)
        yield copy


def open_calls(path: Path | str) -> sqlite3.Connection:
    """Open the file for writing; make its tables if it is new, upgrade it if it is of version 2.

    Raises
    ------
    sqlite3.DatabaseError
        It is damaged, no SQLite file, or of another version.
    """
    connection = connect(path)
    try:
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")  # overwrite deleted values
        connection.execute("PRAGMA cache_size = -32768")  # KiB: keys come in no order
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, or upgrade it, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    is_new = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    if not is_new and version not in {2, _VERSION}:
        raise sqlite3.DatabaseError(f"version {version} is not {_VERSION}")
    if is_new or version != _VERSION:
        for statement in (_SCHEMA if is_new else _FROM_VERSION_2).strip().split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch a file to write-ahead logging.

    Where two processes do so to a new file at once, SQLite (3.40 to 3.50) fails in one of them
    immediately, whatever the timeout, to avoid a deadlock: try again.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        is_last = time.monotonic() > deadline
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if is_last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def damage_of(path: Path) -> str:
    """Return a description of the damage to a file; "" when it is intact."""
    try:
        with contextlib.closing(connect(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else str(found)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error means that the file is damaged or of another format."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def set_aside(path: Path, error: Exception) -> None:
    """Rename a damaged file, so that a new one can be made, and warn of it."""
    renamed = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.rename(renamed)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).unlink()
    _log.warning(
        "The records of calls in %s cannot be read (%s). They are moved to %s; results that no"
        " instance holds are made again.",
        path,
        error,
        renamed.name,
    )


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """Raise errors of the disk as OSError instead of sqlite3.OperationalError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise OSError(errno.EIO, str(error), str(path)) from error
        raise


def named_objects(path: Path) -> frozenset[str]:
    """Return the ids of all objects that records name; none if the file is missing or damaged.

    Parameters
    ----------
    path : Path
        The SQLite file.
    """
    if not path.exists():
        return frozenset()
    try:
        with contextlib.closing(connect(path)) as connection:
            return objects_in(connection)
    except sqlite3.DatabaseError as error:
        has_no_tables = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_ERROR
        if isinstance(error, sqlite3.OperationalError) and not has_no_tables:
            raise
        return frozenset()


def objects_in(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the ids of all objects that the records of an open file name."""
    found = connection.execute("SELECT files FROM calls WHERE files IS NOT NULL")
    return frozenset(file.oid for (text,) in found for file in decode_files(text).values())
