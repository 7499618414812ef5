"""An instance takes over what an execution has made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from tablevault.engine.calls import spending


def claim(
    connection: sqlite3.Connection, execution: int, instance: str, builders: Mapping[str, Any]
) -> None:
    """Note, within a transaction, that an instance holds the results of an execution that ends."""
    connection.execute(
        "UPDATE calls SET instance = ? WHERE instance IS NULL AND id IN"
        " (SELECT call FROM found WHERE execution = ?)",
        (instance, execution),
    )
    connection.execute(  # each row is written once
        "UPDATE calls SET instance = coalesce(instance, ?), execution = NULL WHERE execution = ?",
        (instance, execution),
    )
    connection.execute(
        "INSERT OR REPLACE INTO instances VALUES (?, ?)", (instance, json.dumps(builders))
    )
    spending.settle(connection, execution)


def claim_latest(connection: sqlite3.Connection, instance: str, calls: int) -> None:
    """Note, within a transaction, that an instance holds the calls that were recorded last."""
    connection.execute(
        "UPDATE calls SET instance = ? WHERE instance IS NULL AND execution IS NULL"
        " AND id > (SELECT max(id) FROM calls) - ?",
        (instance, calls),
    )
    connection.execute("INSERT OR IGNORE INTO instances VALUES (?, 'null')", (instance,))


def place_failures(connection: sqlite3.Connection, execution: int, elsewhere: int) -> None:
    """Move calls of earlier attempts that failed to the row for which they were made again.

    Parameters
    ----------
    connection : sqlite3.Connection
        Within a transaction.
    execution : int
        Number of the execution; it has made all its calls.
    elsewhere : int
        The row of calls of earlier attempts, in which the table may have had other rows.
    """
    placed = connection.execute(
        "SELECT n.row, c.id FROM calls c JOIN calls n"
        " ON n.inputs = c.inputs AND n.execution = c.execution AND n.builder = c.builder"
        " WHERE c.execution = ?1 AND c.row = ?2 AND c.outcome != 'ok' AND n.row >= 0",
        (execution, elsewhere),
    ).fetchall()
    connection.executemany("UPDATE calls SET row = ? WHERE id = ?", placed)
