"""A cache of hashes: inode, size and mtime of each object whose bytes were checked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from tablevault.lfs.sqlite_cache import Disposable
from tablevault.names import ObjectId

Stamp = tuple[int, int, int]
"""Inode, size in bytes, mtime in nanoseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashed (
    oid TEXT PRIMARY KEY, ino INTEGER, size INTEGER, mtime INTEGER
) WITHOUT ROWID;
"""


class Ledger:
    """Remembers stamps; an unknown or changed one only means that the object is hashed again."""

    def __init__(self, path: Path) -> None:
        self._file = Disposable(path, _SCHEMA)

    def knows(self, oid: ObjectId, stamp: Stamp) -> bool:
        """Return whether `oid` was hashed when its file had this `stamp`."""
        try:
            row = (
                self._file.connection()
                .execute("SELECT ino, size, mtime FROM hashed WHERE oid = ?", (oid,))
                .fetchone()
            )
        except sqlite3.Error:
            self._file.discard()
            return False
        return bool(row == stamp)

    def remember(self, entries: Iterable[tuple[ObjectId, Stamp]]) -> None:
        """Note that each object was hashed when its file had the stamp beside it."""
        rows = [(oid, *stamp) for oid, stamp in entries]
        try:
            with self._file.write() as connection:
                connection.executemany("INSERT OR REPLACE INTO hashed VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error:
            self._file.discard()
