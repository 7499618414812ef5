"""What becomes of a SQLite file that is damaged, and of errors that are the fault of the disk."""

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

_log = logging.getLogger("tablevault")


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error is the fault of what the file holds."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def set_aside(path: Path, error: Exception) -> None:
    """Move a file that cannot be read out of the way; results that no instance holds are in it."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).unlink()
    _log.warning(
        "The records of calls in %s cannot be read (%s). They are moved to %s; results that no"
        " instance holds are made again.",
        path,
        error,
        aside.name,
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
