"""SQLite files: opened by many processes, moved away when damaged, errors of the disk as such."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

_WAIT_S: Final = 30.0
_AGAIN_S: Final = 0.005
_log = logging.getLogger("tablevault")


def connect(path: Path | str) -> sqlite3.Connection:
    """Open a file, for any thread; transactions are begun by hand."""
    return sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)


def open_file(
    path: Path | str,
    schema: str,
    version: int,
    upgrades: Mapping[int, str] = MappingProxyType({}),
) -> sqlite3.Connection:
    """Open a file for writing, and make its tables if it is new.

    Parameters
    ----------
    path : Path or str
        The file, or ``":memory:"``.
    schema : str
        Statements that make the tables.
    version : int
        Their version, at least 1.
    upgrades : mapping of int to str, optional
        By an earlier version, the statements that make this one of it.

    Raises
    ------
    sqlite3.DatabaseError
        It is damaged, no SQLite file, or of another version.
    """
    connection = connect(path)
    try:
        _log_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is gone for good
        connection.execute("PRAGMA cache_size = -32768")  # KiB: keys come in no order
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("BEGIN IMMEDIATE")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        is_new = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        statements = schema if is_new else upgrades.get(found)
        if statements is not None:
            for statement in statements.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
        if statements is None and found != version:
            raise sqlite3.DatabaseError(f"version {found} is not {version}")  # noqa: TRY301 - one way out
    except BaseException:
        connection.close()
        raise
    return connection


def damage_of(path: Path) -> str:
    """Return what is wrong with a file, "" when it is whole."""
    try:
        with contextlib.closing(connect(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else str(found)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error is the fault of what the file holds."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def move_away(path: Path, error: Exception) -> None:
    """Move a file that cannot be read out of the way; results that no instance holds are in it."""
    moved = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.rename(moved)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).unlink()
    _log.warning(
        "The records of calls in %s cannot be read (%s). They are moved to %s; results that no"
        " instance holds are made again.",
        path,
        error,
        moved.name,
    )


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """Raise what is the fault of the disk as the OSError that it is."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise OSError(errno.EIO, str(error), str(path)) from error
        raise


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let the file have a write-ahead log.

    Two who do this to a new file at once would wait for each other, so SQLite (3.40 to 3.50) makes
    one of them fail at once, whatever the time-out: it does it again.
    """
    deadline = time.monotonic() + _WAIT_S
    while True:
        is_last = time.monotonic() > deadline
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if is_last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(_AGAIN_S)
        else:
            return
