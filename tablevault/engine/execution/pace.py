"""Rates that all processes of a vault share: who may call when, in a small SQLite file.

The generic cell rate algorithm (ITU-T I.371, appendix 1) in its form as a virtual schedule: for
each limit the file holds the time at which the next call may begin. A call that begins moves it on
by the time that the call's share of the rate takes; time that nobody used is lost but for a moment.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from tablevault.engine.calls.sqlite_file import as_os_error, connect

Kind = Literal["calls", "tokens"]

_MINUTE_S: Final = 60.0
_CREDIT_S: Final = 0.25
"""So much time that was not used counts: whoever sleeps wakes up a little late."""
_SHARE: Final = 0.99
"""Of a rate. With the credit no minute has more than the rate."""
_TOO_FAR_S: Final = 3600.0
"""No limit is used up for so long: the clock was set."""
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS rates (name TEXT NOT NULL, kind TEXT NOT NULL, next REAL NOT NULL,"
    " PRIMARY KEY (name, kind)) WITHOUT ROWID"
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
        with self._lock, as_os_error(self._path):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                after = {kind: self._next(connection, name, kind, now) for kind in units}
                wait = max((each - now for each in after.values()), default=0.0)
                if wait <= 0.0:
                    for kind, seconds in units.items():
                        begin = max(after[kind], now - _CREDIT_S)
                        self._put(connection, name, kind, begin + seconds / _SHARE)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
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
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()

    def _move(self, name: str, kind: Kind, now: float, move: Callable[[float], float]) -> None:
        """Change when the next call may begin."""
        with self._lock, as_os_error(self._path):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                then = max(self._next(connection, name, kind, now), now - _CREDIT_S)
                self._put(connection, name, kind, move(then))
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _next(self, connection: sqlite3.Connection, name: str, kind: Kind, now: float) -> float:
        """Return when the next call may begin."""
        sql = "SELECT next FROM rates WHERE name = ? AND kind = ?"
        row = connection.execute(sql, (name, kind)).fetchone()
        then = 0.0 if row is None else float(row[0])
        return now if then > now + _TOO_FAR_S else then

    def _put(self, connection: sqlite3.Connection, name: str, kind: Kind, then: float) -> None:
        """Note when the next call may begin."""
        connection.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?)", (name, kind, then))

    def _open(self) -> sqlite3.Connection:
        """Return the connection of this process; a file that is no database is made again."""
        if self._connection is None or self._pid != os.getpid():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self._path)
            self._pid = os.getpid()
            try:
                self._connection.execute("PRAGMA synchronous = OFF")
                self._connection.execute(_SCHEMA)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._connection.close()
                self._path.unlink()
                self._connection = connect(self._path)
                self._connection.execute(_SCHEMA)
        return self._connection


def seconds_of(units: float, per_minute: float) -> float:
    """Return how long a rate takes for so many calls or tokens."""
    return units * _MINUTE_S / per_minute


def now() -> float:
    """Return the time that all processes share, in seconds since the epoch."""
    return time.time()
