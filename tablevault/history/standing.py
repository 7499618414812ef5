"""Which tables ``main`` has, noted in the derived index: a reader need not open git for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tablevault.errors import TVFileError
from tablevault.history.message import Message
from tablevault.history.snapshot import Snapshot

_LEAVES_TABLES = frozenset(
    {
        "create_instance",
        "write_instance",
        "execute_instance",
        "delete_instance",
        "deactivate_instances",
        "create_code_module",
        "delete_code_module",
        "create_builder_file",
        "delete_builder_file",
        "set_config",
    }
)
_ONE_TABLE = frozenset({"create_table", "rename_table", "delete_table"})


class TouchedTables:
    """The names of the tables that commits may have made, renamed or deleted."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._is_any = False

    def add(self, message: Message) -> None:
        """Take in a commit; who committed by hand may have done anything."""
        operation = message.first("Vault-Operation")
        if operation in _ONE_TABLE:
            self._names.add(message.first("Vault-Table"))
        elif operation not in _LEAVES_TABLES and (operation or not message.first("Vault-Table")):
            # What has a table but no operation is a step of one: it carries a branch along.
            self._is_any = True

    @property
    def is_none(self) -> bool:
        """Tell whether all tables are as they were."""
        return not self._names and not self._is_any

    def among(self, known: Iterable[str]) -> set[str]:
        """Keep of `known` those that may be other tables than they were."""
        return set(known) if self._is_any else self._names & set(known)


def note_standing(
    connection: sqlite3.Connection, snapshot: Snapshot, touched: TouchedTables
) -> None:
    """Make ``standing`` what `snapshot` has, after the commits that `touched` was told of."""
    noted = {
        row[0] for row in connection.execute("SELECT name FROM standing WHERE table_id IS NOT NULL")
    }
    if noted and touched.is_none:
        return
    names = set(snapshot.table_names())
    stale = (noted - names) | touched.among(noted)
    connection.execute("DELETE FROM standing WHERE table_id IS NULL")
    connection.executemany("DELETE FROM standing WHERE name = ?", [(name,) for name in stale])
    connection.executemany(
        "INSERT INTO standing VALUES (?, ?)",
        [(name, _id_of(snapshot, name)) for name in sorted(names - (noted - stale))],
    )


def doubt_standing(connection: sqlite3.Connection) -> None:
    """Note that tables may be others than noted: ``main`` has moved on since its tip was read."""
    connection.execute("UPDATE standing SET table_id = NULL")


def standing_rows(snapshot: Snapshot) -> set[tuple[object, ...]]:
    """Give the rows that ``standing`` has to have."""
    return {(name, _id_of(snapshot, name)) for name in snapshot.table_names()}


def _id_of(snapshot: Snapshot, name: str) -> str:
    """Give the id of a table, "" when somebody broke its document."""
    try:
        return snapshot.table(name).id
    except TVFileError:
        return ""
