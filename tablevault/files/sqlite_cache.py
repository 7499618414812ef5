"""A cache in a SQLite file, which may be deleted or damaged at any moment."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

# Not the fault of the file: making it again would not help.
_PASSING = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
)
IN_MEMORY = Path(":memory:")
_LONGEST_PATH = 490
"""SQLite opens no file with a longer path than 512 bytes (os_unix.c, MAX_PATHNAME)."""
_inherited: list[sqlite3.Connection] = []
"""Connections of the process that this one was forked from. They are kept for good: to close one,
even by forgetting it, would write to the file in the name of the other process."""


_Identity = tuple[int, int | None]
"""Process and inode that a connection is good for."""


def form_of(schema: str) -> int:
    """Return a number to the form of tables; what SQLite keeps of it is signed and has 32 bits."""
    return zlib.crc32(schema.encode()) & 0x7FFFFFFF


_MOST_IDLE = 2
"""So many connections of transactions that have ended wait for others to begin."""


class _OtherFormError(Exception):
    """The tables are those of another release."""


class Reading:
    """A read transaction, as long as it is referenced: others may write, it does not change."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        end: Callable[[sqlite3.Connection], None] = sqlite3.Connection.close,
    ) -> None:
        self.connection = connection
        self._end = end
        self._pid = os.getpid()
        connection.execute("BEGIN")

    def is_own(self) -> bool:
        """Return whether this process began it; a fork must not touch the file through it."""
        return self._pid == os.getpid()

    def __del__(self) -> None:
        """End it; a fork only keeps the connection."""
        if not self.is_own():
            _inherited.append(self.connection)
            return
        with contextlib.suppress(sqlite3.Error):
            self._end(self.connection)


class Disposable:
    """Connections to a SQLite file that is made again when it is missing or damaged.

    One connection for each thread and operating system process. On a file system that is read-only,
    where the path is too long for SQLite, or is `IN_MEMORY`, each has a content of its own. Nothing
    is synced: a power cut may cost the content, never more.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema
        self._form = form_of(schema)
        self._local = threading.local()
        self._idle: list[tuple[_Identity, sqlite3.Connection]] = []

    def connection(self) -> sqlite3.Connection:
        """Return the connection of this thread; a new one when the file was replaced meanwhile."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.identity == self._identity():
            return connection
        self.close()
        connection = self._open() if self._is_writable() else self._in_memory()
        self._local.connection = connection
        self._local.identity = self._identity()
        return connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction; rolled back when the body raises."""
        connection = self.connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
        except BaseException:  # an interrupt may come just after it has begun
            connection.rollback()
            raise

    def reading(self) -> Reading:
        """Begin a read transaction on a connection of its own; its first read is what fixes it."""
        while self._idle:
            with contextlib.suppress(IndexError):  # of another thread that took the last one
                identity, connection = self._idle.pop()
                if identity == self._identity():
                    return Reading(connection, partial(self._wait, identity))
                _drop(connection, identity[0])
        if not self._is_writable():
            return Reading(copied(self.connection()))
        connection = self._open()
        return Reading(connection, partial(self._wait, self._identity()))

    def _wait(self, identity: _Identity, connection: sqlite3.Connection) -> None:
        """End a transaction, and keep its connection for the next one."""
        connection.rollback()
        if len(self._idle) < _MOST_IDLE:
            self._idle.append((identity, connection))
        else:
            connection.close()

    def close(self) -> None:
        """Drop the connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            _drop(connection, self._local.identity[0])

    def discard(self) -> None:
        """Delete the file, whatever state it is in."""
        self.close()
        if self._path != IN_MEMORY:
            with self._alone():
                self._remove("", "-wal", "-shm")

    def _is_writable(self) -> bool:
        """Return whether the file can be kept where it belongs.

        It cannot where the user may only read, as in a clone by git whose folder is not there yet.
        """
        is_long = len(os.fsencode(os.path.realpath(self._path))) > _LONGEST_PATH
        if is_long or self._path == IN_MEMORY:
            return False
        return os.access(self._path.parent, os.W_OK)

    def _in_memory(self) -> sqlite3.Connection:
        """Make the content for this thread alone."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self._set_up(connection)
        return connection

    def _open(self) -> sqlite3.Connection:
        """Connect, and make the tables; a file that cannot be used is discarded once."""
        try:
            with self._alone():
                return self._connect()
        except _OtherFormError:
            pass
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _PASSING:
                raise
        self.discard()
        with self._alone():
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        """Connect and make sure that the tables are there."""
        if not self._path.exists():
            # What is left of a file that was deleted is in use by those who still have it open.
            self._remove("-wal", "-shm")
            # SQLite makes files that a group can never write to (mode 0644); an empty one it takes.
            with contextlib.suppress(OSError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        # The last reference to a reading may be one that another thread has.
        connection = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Make the tables; what another release has written in another form is refused."""
        form = connection.execute("PRAGMA user_version").fetchone()[0]
        if form == self._form:
            return
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise _OtherFormError
        # The number comes last: a crash before leaves an empty file of another form.
        connection.executescript(f"{self._schema}; PRAGMA user_version = {self._form}")

    def _remove(self, *endings: str) -> None:
        """Remove parts of the file; those who have them open keep what they have."""
        for ending in endings:
            path = self._path.with_name(self._path.name + ending)
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)  # nothing of ours, but in the way
                else:
                    path.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from making or deleting the file meanwhile: its folder is the lock."""
        try:
            descriptor = os.open(self._path.parent, os.O_RDONLY)
        except FileNotFoundError:
            yield
            return
        try:
            lock_descriptor(descriptor, poll_interval=0.005)
            yield
        finally:
            unlock_descriptor(descriptor)  # a fork of this moment has the descriptor, too
            os.close(descriptor)

    def _identity(self) -> _Identity:
        """Process and inode that a connection is good for."""
        try:
            return os.getpid(), self._path.stat().st_ino
        except OSError:
            return os.getpid(), None


def copied(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory of what a database holds."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.backup(copy)
    return copy


def _drop(connection: sqlite3.Connection, pid: int) -> None:
    """Close a connection, unless it is that of the process from which this one was forked."""
    if pid != os.getpid():
        _inherited.append(connection)
        return
    with contextlib.suppress(sqlite3.Error):
        connection.close()
