"""Which records of calls go, and when; all within a transaction of whoever asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from tablevault.engine.calls import kept_rows
from tablevault.engine.calls.kept_files import objects_in

_UNUSED_FRAMES: Final = (
    "DELETE FROM frames WHERE NOT EXISTS (SELECT 1 FROM calls c"
    " WHERE c.inputs = frames.inputs AND c.code = frames.code)"
)


class Swept(NamedTuple):
    """What a sweep did: the number of calls that it removed, the objects that the others name."""

    calls: int
    objects: frozenset[str]


def forget_execution(connection: sqlite3.Connection, execution: int) -> None:
    """Remove an execution; its calls stay."""
    connection.execute("UPDATE calls SET execution = NULL WHERE execution = ?", (execution,))
    connection.execute("DELETE FROM found WHERE execution = ?", (execution,))
    kept_rows.forget(connection, execution)
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
    """Remove executions and calls that nobody needs."""
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
