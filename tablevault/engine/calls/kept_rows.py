"""The rows of instances that an execution keeps, noted for whoever reads while it goes on."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Final

import numpy as np

from tablevault.engine.matching import Rows

SCHEMA: Final = """
CREATE TABLE kept (
    id INTEGER PRIMARY KEY, execution INTEGER NOT NULL, builder TEXT NOT NULL,
    instance TEXT NOT NULL, rows BLOB NOT NULL
);
"""
SELECT: Final = "SELECT instance, rows FROM kept WHERE execution = ? AND builder = ? ORDER BY id"
"""Takes execution and builder."""


def note(
    connection: sqlite3.Connection, execution: int, builder: str, kept: Iterable[tuple[str, Rows]]
) -> None:
    """Note, within a transaction, which rows of instances a builder keeps.

    Parameters
    ----------
    connection : sqlite3.Connection
        Within a transaction.
    execution : int
        Number of the execution.
    builder : str
        Name of the builder.
    kept : iterable of (str, array of int64)
        Ids of instances, and by row of the new table the row of the instance, -1 for none.
    """
    connection.executemany(
        "INSERT INTO kept (execution, builder, instance, rows) VALUES (?, ?, ?, ?)",
        [(execution, builder, instance, _encoded(rows)) for instance, rows in kept],
    )


def forget(connection: sqlite3.Connection, execution: int) -> None:
    """Remove, within a transaction, what was noted of an execution."""
    connection.execute("DELETE FROM kept WHERE execution = ?", (execution,))


def decoded(data: bytes) -> Rows:
    """Return the rows that were noted."""
    steps = np.frombuffer(zlib.decompress(data), "<i8")
    return np.cumsum(steps, dtype=np.int64)


def _encoded(rows: Rows) -> bytes:
    """Encode rows as compressed steps from each to the next: neighbours take no space."""
    return zlib.compress(np.diff(rows, prepend=0).astype("<i8").tobytes(), 1)
