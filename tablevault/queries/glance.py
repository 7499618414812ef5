"""The questions that a person asks most, answered without opening git where that is possible.

Each answer is the one that the question of the same name gives in an opened vault, or None: then
the vault has to be opened, to bring the index up to date or to finish what died.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tablevault.errors import TVArgumentError
from tablevault.history.glance import Glance, glance
from tablevault.history.schema import INSTANCES, STANDS
from tablevault.journal.past import is_at_rest, read_past
from tablevault.names import check_version, temp_of_ref
from tablevault.queries.logged import Entry, Wanted, logged, may_be_flagged

T = TypeVar("T")


def table_instances(
    vault: Path, table: str, version: str, *, include_temp: bool = False
) -> list[str] | None:
    """List tables (no `table`) or the ids of instances; see ``queries.describe``."""

    def answer(index: Glance, tables: Mapping[str, str]) -> list[str] | None:
        if not table:
            return _in_order(index, tables)
        try:
            wanted = check_version(version) if version else ""
        except TVArgumentError:
            return None
        if table not in tables:
            return None
        found = _instances(index, tables[table], wanted)
        return found + _temps(index, table, wanted) if include_temp else found

    return _ask(vault, answer)


def entries(vault: Path, table: str, limit: int | None) -> list[Entry] | None:
    """List operations, newest first; see ``queries.log``."""

    def answer(index: Glance, tables: Mapping[str, str]) -> list[Entry] | None:
        if table and table not in tables:
            return None
        most = -1 if limit is None else limit
        wanted = Wanted(table_id=tables[table] if table else "", limit=most)
        found = logged(index.read, read_past(_state(vault)), wanted)
        # Whether such a commit has changed an instance, only git knows.
        return None if any(may_be_flagged(entry) for entry in found) else found

    return _ask(vault, answer)


def _ask(vault: Path, answer: Callable[[Glance, Mapping[str, str]], T | None]) -> T | None:
    """Have a question answered out of the index and the ids of the tables."""
    if not (vault / ".git").is_dir() or not is_at_rest(_state(vault)):
        return None
    try:
        with glance(vault / ".git", _state(vault) / "index.sqlite") as index:
            tables = None if index is None else index.tables()
            return None if index is None or tables is None else answer(index, tables)
    except sqlite3.Error:
        return None


def _state(vault: Path) -> Path:
    """Give the folder for what this machine keeps for itself."""
    return vault / ".git" / "tablevault"


def _in_order(index: Glance, tables: Mapping[str, str]) -> list[str]:
    """List the tables in the order of their creation."""
    rows = index.read("SELECT table_id, created_at FROM tables", ())
    created = {row[0]: row[1] for row in rows}
    return sorted(tables, key=lambda name: (created.get(tables[name], ""), name))


def _instances(index: Glance, table_id: str, version: str) -> list[str]:
    """List the ids of instances, oldest first."""
    rows = index.read(
        f"SELECT instances.instance_id FROM {INSTANCES} "  # noqa: S608 - constants
        f"WHERE table_id = ? AND ? IN ('', version) AND {STANDS} "
        "ORDER BY materialized_at, instances.instance_id",
        (table_id, version),
    )
    return [row[0] for row in rows]


def _temps(index: Glance, table: str, version: str) -> list[str]:
    """List the ids of temporary instances."""
    temps = [temp_of_ref(ref) for ref in index.temp_refs]
    return sorted(
        temp.instance_id
        for temp in temps
        if temp is not None and temp.table == table and version in ("", temp.version)
    )
