"""Catalogs in memory: to check the file against history, and of two histories to be merged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pygit2

from tablevault.files.sqlite_cache import IN_MEMORY, form_of
from tablevault.history.catalog.catalog import Index, folded_in_memory
from tablevault.history.catalog.fold import fold_commits
from tablevault.history.catalog.schema import SCHEMA, TABLES
from tablevault.history.git.repository import Repository
from tablevault.names import CommitId


class FreshIndex(Index):
    """A catalog folded from history, whatever the file says; for one thread."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository, IN_MEMORY)

    def folded_from(self, commits: Sequence[CommitId]) -> Mapping[str, set[tuple[object, ...]]]:
        """Return all rows for `commits`, which include all of their ancestors.

        Folding takes much longer than reading, so the rows that are here are used if they are of
        the same commits.
        """
        connection = self._caught_up(with_temps=False)
        with self._file.write():
            fold_commits(connection, self._repository, commits)
        if len(_rows(connection, "folded")) == len(set(commits)):
            return _every_row(connection)
        with contextlib.closing(folded_in_memory(self._repository, commits)) as apart:
            return _every_row(apart)


def wrong_with_index(path: Path, repository: Repository, fresh: FreshIndex) -> str:
    """Return how the file of the catalog differs from history, "" if it does not.

    A file may be missing, be in the making, have been written by another release, or lack the
    newest commits. One that we may not write to is not checked: SQLite cannot read it, so it is not
    used.
    """
    if not path.is_file() or not os.access(path, os.W_OK):
        return ""
    try:
        with contextlib.closing(_open(path)) as connection:
            connection.execute("BEGIN")
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                return f"SQLite finds it damaged ({said})"
            (form,) = connection.execute("PRAGMA user_version").fetchone()
            if form != form_of(SCHEMA):
                return ""
            rows = _every_row(connection)
    except sqlite3.DatabaseError as error:
        return f"SQLite cannot read it ({error})"
    return _wrong_with_rows(rows, repository, fresh)


def _wrong_with_rows(
    rows: Mapping[str, set[tuple[object, ...]]], repository: Repository, fresh: FreshIndex
) -> str:
    """Compare what was folded with the very commits that it was folded from."""
    folded = [CommitId(str(row[0])) for row in rows["folded"]]
    gone = next((commit for commit in folded if not _is_there(repository, commit)), None)
    if gone is not None:
        return f'it knows of a commit "{gone}", which is not there'
    if any(str(row[1]) not in folded for row in rows["seen"]):
        return "it has not seen what it says that it has"
    expected = {**fresh.folded_from(folded), "seen": rows["seen"]}
    differing = [table for table in TABLES if rows[table] != expected[table]]
    return f"what it says of {', '.join(differing)} is not what history says" if differing else ""


def _is_there(repository: Repository, commit: CommitId) -> bool:
    """Return whether a commit is there; False for what is no commit id."""
    try:
        return repository.has(commit)
    except ValueError:
        return False


def _open(path: Path) -> sqlite3.Connection:
    """Open the file to read it only."""
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, isolation_level=None
    )


def _rows(connection: sqlite3.Connection, table: str) -> set[tuple[object, ...]]:
    """Read a table."""
    return set(connection.execute(f"SELECT * FROM {table}"))  # noqa: S608 - a constant


def _every_row(connection: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    """Read all tables."""
    return {table: _rows(connection, table) for table in TABLES}


_DELETIONS = ("Vault-Deletes", "Vault-Withdraws")


class MergedCatalog(FreshIndex):
    """The catalog as it will be once two histories are merged."""

    def __init__(self, repository: Repository, tips: tuple[CommitId, CommitId]) -> None:
        super().__init__(repository)
        self._tips = tips

    def _caught_up(self, *, with_temps: bool) -> sqlite3.Connection:  # noqa: ARG002 - as inherited
        """Fold both histories, once."""
        with self._file.write() as connection:
            fold_commits(connection, self._repository, self._tips)
        return connection


def merged_catalog(
    repository: Repository, ours: CommitId, theirs: CommitId
) -> MergedCatalog | None:
    """Return the catalog of two histories; None if neither has deleted what the other one has.

    To fold both takes long, and without deletions the trees say all that a merge needs.
    """
    pairs = ((ours, theirs), (theirs, ours))
    if any(_has_deletions(repository, new, old) for new, old in pairs):
        return MergedCatalog(repository, (ours, theirs))
    return None


def _has_deletions(repository: Repository, new: CommitId, old: CommitId) -> bool:
    """Return whether a commit that `new` has and `old` has not deleted an instance or a table."""
    walker = repository.handle.walk(pygit2.Oid(hex=new))
    walker.hide(pygit2.Oid(hex=old))
    return any(
        key.encode() in commit.raw_message
        and repository.commit(CommitId(str(commit.id))).message.first(key)
        for commit in walker
        for key in _DELETIONS
    )
