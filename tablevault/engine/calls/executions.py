"""SQL on executions: their rows, processes, end, what they keep, and the removal of calls."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from tablevault.engine.calls import spending
from tablevault.engine.calls.database import objects_in
from tablevault.engine.matching import Rows

ROWS: Final = (
    "SELECT (SELECT count(DISTINCT row) FROM calls WHERE execution = ?1 AND builder = ?2"
    " AND row >= 0 AND outcome = 'ok')"
    " + (SELECT count(*) FROM found WHERE execution = ?1 AND builder = ?2 AND row >= 0)"
)
"""The number of rows that have a result. Takes execution and builder."""
FINISHED: Final = (
    "SELECT row FROM calls WHERE execution = ?1 AND builder = ?2 AND row >= 0 AND outcome = 'ok'"
    " UNION SELECT row FROM found WHERE execution = ?1 AND builder = ?2 AND row >= 0"
)
"""The rows that have a result. Takes execution and builder."""
ERRORS: Final = (
    "SELECT c.builder, count(DISTINCT c.row), min(c.row) FROM calls c"
    " WHERE c.execution = ? AND c.row >= 0 AND c.outcome != 'ok' AND NOT EXISTS (SELECT 1"
    " FROM calls o WHERE o.execution = c.execution AND o.builder = c.builder AND o.row = c.row"
    " AND o.outcome = 'ok') AND NOT EXISTS (SELECT 1 FROM found f WHERE f.execution = c.execution"
    " AND f.builder = c.builder AND f.row = c.row) GROUP BY c.builder"
)
"""By builder, the number of rows that failed and have no result, and the first. Takes execution."""
KEPT: Final = "SELECT instance, rows FROM kept WHERE execution = ? AND builder = ? ORDER BY id"
"""Takes execution and builder."""

UNPLACED: Final = "SELECT 1 FROM calls WHERE execution = ? AND row = ? AND outcome != 'ok' LIMIT 1"
"""Whether calls failed whose row is not known. Takes execution and the unknown row."""


def note_kept(
    connection: sqlite3.Connection, execution: int, builder: str, kept: Iterable[tuple[str, Rows]]
) -> None:
    """Record, within a transaction, which rows of instances a builder keeps.

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
        [(execution, builder, instance, _encoded_rows(rows)) for instance, rows in kept],
    )


def forget_kept(connection: sqlite3.Connection, execution: int) -> None:
    """Remove, within a transaction, the rows that an execution keeps of instances."""
    connection.execute("DELETE FROM kept WHERE execution = ?", (execution,))


def forget_rows(connection: sqlite3.Connection, execution: int, builder: str, unknown: int) -> None:
    """Move, within a transaction, the results of a builder to the row `unknown`."""
    connection.execute(
        "UPDATE calls SET row = ? WHERE execution = ? AND builder = ? AND row >= 0"
        " AND outcome = 'ok'",
        (unknown, execution, builder),
    )
    connection.execute(
        "DELETE FROM found WHERE execution = ? AND builder = ?", (execution, builder)
    )


def release(connection: sqlite3.Connection, execution: int, codes: Sequence[int]) -> None:
    """Take, within a transaction, calls of other code than `codes` out of an execution."""
    connection.execute(
        "UPDATE calls SET execution = NULL, unindexed = NULL"
        " WHERE execution = ? AND builder NOT LIKE '@%'"
        " AND code NOT IN (SELECT value FROM json_each(?))",
        (execution, json.dumps(codes)),
    )


def decoded_rows(data: bytes) -> Rows:
    """Decode the rows of a record."""
    steps = np.frombuffer(zlib.decompress(data), "<i8")
    return np.cumsum(steps, dtype=np.int64)


def _encoded_rows(rows: Rows) -> bytes:
    """Encode rows as compressed differences: consecutive rows take almost no space."""
    return zlib.compress(np.diff(rows, prepend=0).astype("<i8").tobytes(), 1)


def assign(
    connection: sqlite3.Connection, execution: int, instance: str, builders: Mapping[str, Any]
) -> None:
    """Assign, within a transaction, the results of an execution to the instance that it made."""
    connection.execute(
        "UPDATE calls SET instance = ? WHERE instance IS NULL AND id IN"
        " (SELECT call FROM found WHERE execution = ?)",
        (instance, execution),
    )
    connection.execute(  # each row is written once
        "UPDATE calls SET instance = coalesce(instance, ?), execution = NULL, unindexed = NULL"
        " WHERE execution = ?",
        (instance, execution),
    )
    connection.execute(
        "INSERT OR REPLACE INTO instances VALUES (?, ?)", (instance, json.dumps(builders))
    )
    spending.close_account(connection, execution)


def assign_latest(connection: sqlite3.Connection, instance: str, calls: int) -> None:
    """Assign, within a transaction, the calls that were recorded last to an instance."""
    connection.execute(
        "UPDATE calls SET instance = ? WHERE instance IS NULL AND execution IS NULL"
        " AND id > (SELECT max(id) FROM calls) - ?",
        (instance, calls),
    )
    connection.execute("INSERT OR IGNORE INTO instances VALUES (?, 'null')", (instance,))


def place_failures(connection: sqlite3.Connection, execution: int, unknown: int) -> None:
    """Move calls of earlier attempts that failed to the row for which they were made again.

    Parameters
    ----------
    connection : sqlite3.Connection
        Within a transaction.
    execution : int
        Number of the execution; it has made all its calls.
    unknown : int
        The row of calls of earlier attempts, in which the table may have had other rows.
    """
    placed = connection.execute(
        "SELECT n.row, c.id FROM calls c JOIN calls n"
        " ON n.inputs = c.inputs AND +n.execution = c.execution AND n.builder = c.builder"
        " AND n.unindexed IS NULL"
        " WHERE c.execution = ?1 AND c.row = ?2 AND c.outcome != 'ok' AND n.row >= 0",
        (execution, unknown),
    ).fetchall()
    connection.executemany("UPDATE calls SET row = ? WHERE id = ?", placed)


_UNUSED_FRAMES: Final = (
    "DELETE FROM frames WHERE NOT EXISTS (SELECT 1 FROM calls c"
    " WHERE c.unindexed IS NULL AND c.inputs = frames.inputs AND c.code = frames.code)"
)


class Swept(NamedTuple):
    """Result of a sweep: number of removed calls, and ids of the objects that the others name."""

    calls: int
    objects: frozenset[str]


def forget_execution(connection: sqlite3.Connection, execution: int) -> None:
    """Remove an execution; its calls stay."""
    connection.execute(
        "UPDATE calls SET execution = NULL, unindexed = NULL WHERE execution = ?", (execution,)
    )
    connection.execute("DELETE FROM found WHERE execution = ?", (execution,))
    forget_kept(connection, execution)
    connection.execute("DELETE FROM executions WHERE id = ?", (execution,))


def forget_instances(connection: sqlite3.Connection, instances: Sequence[str]) -> frozenset[str]:
    """Remove the calls of instances, except those that an execution needs.

    Returns
    -------
    frozenset of str
        Ids of the objects that only these calls named.
    """
    before = objects_in(connection)
    gone = [(instance,) for instance in instances]
    connection.executemany(
        "DELETE FROM calls WHERE instance = ? AND execution IS NULL"
        " AND id NOT IN (SELECT call FROM found)",
        gone,
    )
    connection.executemany("DELETE FROM instances WHERE instance = ?", gone)
    connection.execute("UPDATE instances SET builders = 'null'")
    connection.execute(_UNUSED_FRAMES)
    return before - objects_in(connection)


def sweep(
    connection: sqlite3.Connection, temps: set[str], instances: set[str], before: float
) -> Swept:
    """Remove executions and calls that are no longer needed."""
    for number, temp in connection.execute("SELECT id, temp FROM executions").fetchall():
        if temp not in temps:
            forget_execution(connection, int(number))
    gone = [
        (name,)
        for (name,) in connection.execute("SELECT instance FROM instances").fetchall()
        if name not in instances
    ]
    connection.executemany("UPDATE calls SET instance = NULL WHERE instance = ?", gone)
    connection.executemany("DELETE FROM instances WHERE instance = ?", gone)
    removed = connection.execute(
        "DELETE FROM calls WHERE instance IS NULL AND execution IS NULL AND started_at <= ?"
        " AND id NOT IN (SELECT call FROM found)",
        (before,),
    )
    connection.execute(_UNUSED_FRAMES)
    return Swept(removed.rowcount, objects_in(connection))


def process_numbers(
    connection: sqlite3.Connection, execution: int | None, ids: set[str | None]
) -> dict[str | None, int | None]:
    """Return the numbers of processes by id; None stands for the process of the execution."""
    found: dict[str | None, int | None] = {}
    for process in ids:
        if process is None:
            sql = "SELECT p.id FROM executions e JOIN processes p USING (process) WHERE e.id = ?"
            row = connection.execute(sql, (execution,)).fetchone()
        else:
            connection.execute("INSERT OR IGNORE INTO processes (process) VALUES (?)", (process,))
            sql = "SELECT id FROM processes WHERE process = ?"
            row = connection.execute(sql, (process,)).fetchone()
        found[process] = None if row is None else int(row[0])
    return found
