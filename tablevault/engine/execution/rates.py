"""Rates that all processes of a vault share: when the next call may begin, in a SQLite file.

The generic cell rate algorithm (ITU-T I.371, appendix 1) in its form as a virtual schedule: for
each limit the file holds the time at which the next call may begin. A call that begins moves it on
by the time that the call's share of the rate takes; unused time is lost, but for the last moment.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tablevault.engine.calls.database import as_os_error, connect, is_damage

Kind = Literal["calls", "tokens"]

_MINUTE_S: Final = 60.0
_CREDIT_S: Final = 0.25
"""Unused time that counts: a sleeping thread wakes up a little late."""
_SHARE: Final = 0.99
"""Of a rate. With the credit no minute has more than the rate."""
_AHEAD_S: Final = 60.0
"""Nobody writes so far ahead, however long it waits for the file: the clock was set back."""
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS schedule (name TEXT NOT NULL, kind TEXT NOT NULL,"
    " next REAL NOT NULL, written REAL NOT NULL, PRIMARY KEY (name, kind)) WITHOUT ROWID"
)


class Rates:
    """The schedule of a vault; for several threads and processes.

    Parameters
    ----------
    path : Path
        The file; made when it is first needed. Without it nothing is lost but a moment's memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def take(self, name: str, units: dict[Kind, float], now: float) -> float:
        """Begin a call, if it may begin now.

        Parameters
        ----------
        name : str
            Name of the limits.
        units : dict of kind to float
            Seconds of each rate that the call takes.
        now : float
            Seconds since the epoch.

        Returns
        -------
        float
            Seconds until the earliest moment at which it may; 0.0 when it has begun.
        """
        with self._changing() as connection:
            after = {kind: self._next(connection, name, kind, now) for kind in units}
            wait = max((each - now for each in after.values()), default=0.0)
            if wait <= 0.0:
                for kind, seconds in units.items():
                    begin = max(after[kind], now - _CREDIT_S)
                    self._put(connection, name, kind, begin + seconds / _SHARE, now)
            return max(0.0, wait)

    def correct(self, name: str, kind: Kind, seconds: float, now: float) -> None:
        """Move a rate on, or back, by seconds of it that calls took besides what was expected."""
        self._move(name, kind, now, lambda then: then + seconds / _SHARE)

    def hold(self, name: str, kind: Kind, until: float, now: float) -> None:
        """Let no call begin before a time."""
        self._move(name, kind, now, lambda then: max(then, until))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._forget()

    def _move(self, name: str, kind: Kind, now: float, move: Callable[[float], float]) -> None:
        """Change when the next call may begin."""
        with self._changing() as connection:
            then = max(self._next(connection, name, kind, now), now - _CREDIT_S)
            self._put(connection, name, kind, move(then), now)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Change the file, in one transaction."""
        with self._lock, as_os_error(self._path):
            connection = self._begin()
            try:
                yield connection
            except BaseException:
                _roll_back(connection)
                raise
            connection.execute("COMMIT")

    def _next(self, connection: sqlite3.Connection, name: str, kind: Kind, now: float) -> float:
        """Return when the next call may begin; where the clock was set back, move it, too."""
        sql = "SELECT next, written FROM schedule WHERE name = ? AND kind = ?"
        row = connection.execute(sql, (name, kind)).fetchone()
        if row is None:
            return 0.0
        then, written = map(float, row)
        if written > now + _AHEAD_S:
            then += now - written
            self._put(connection, name, kind, then, now)
        return then

    def _put(
        self, connection: sqlite3.Connection, name: str, kind: Kind, then: float, now: float
    ) -> None:
        """Note when the next call may begin."""
        sql = "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?, ?)"
        connection.execute(sql, (name, kind, then, now))

    def _begin(self) -> sqlite3.Connection:
        """Begin a transaction; a file that is damaged is made again."""
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        self._forget()
        for ending in ("", "-journal"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        return self._open()

    def _open(self) -> sqlite3.Connection:
        """Begin a transaction by the connection of this process, and read the whole small file."""
        if self._connection is None or self._pid != os.getpid():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self._path)
            self._pid = os.getpid()
            self._connection.execute("PRAGMA synchronous = OFF")
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_SCHEMA)
            connection.execute("SELECT sum(next) FROM schedule").fetchone()
        except BaseException:
            _roll_back(connection)
            raise
        return connection

    def _forget(self) -> None:
        """Close the connection of this process."""
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            connection.close()


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction, unless SQLite has done so, as it does when the disk is full."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def seconds_of(units: float, per_minute: float) -> float:
    """Return how long a rate takes for so many calls or tokens."""
    return units * _MINUTE_S / per_minute


def now() -> float:
    """Return the time that all processes share, in seconds since the epoch."""
    return time.time()
