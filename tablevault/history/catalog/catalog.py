"""The catalog: history folded into SQLite; a cache that may be deleted at any moment."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tablevault.files.sqlite_cache import Disposable, Reading
from tablevault.history.catalog.fold import fold_commits
from tablevault.history.catalog.schema import INSTANCES, NOT_DELETED, SCHEMA, TABLES
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.refs import RefMove
from tablevault.history.git.repository import Repository
from tablevault.names import CommitId, InstanceId, ObjectId, TableId, tag_ref

_ACTIVE = (
    "NOT EXISTS (SELECT 1 FROM deactivated WHERE deactivated.instance_id = instances.instance_id)"
)
_COLUMNS = (
    "instances.instance_id, table_id, table_name, version, instances.commit_id, "
    f"materialized_at, success, errors, {_ACTIVE}, "
    "COALESCE(gone.at, table_gone.at), COALESCE(gone.author, table_gone.author), "
    "COALESCE(gone.for_good, table_gone.for_good)"
)
_TRIES = 5
_KEEPS_OBJECTS = "NOT COALESCE(gone.for_good, 0) AND NOT COALESCE(table_gone.for_good, 0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedInstance:
    """What the index knows of a materialised instance."""

    instance_id: InstanceId
    table_id: TableId
    table_name: str
    """Name of the table when the instance was made."""
    version: str
    commit: CommitId
    materialized_at: str
    success: bool
    errors: int
    """Rows that stayed null because their calls failed."""
    active: bool
    deleted_at: str
    deleted_by: str
    withdrawn: bool
    """It is gone because an undo removed it; its objects are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedProcess:
    """An operation that ended with a commit."""

    process_id: str
    operation: str
    commit: CommitId
    author: str
    at: float
    parent: str


class Catalog(ABC):
    """Look-ups that must not cost a walk over history."""

    def instance(self, instance_id: str) -> IndexedInstance | None:
        """Find an instance by its id, deleted ones too."""
        rows = self._instances("instances.instance_id = ?", (instance_id,))
        return rows[0] if rows else None

    def instances(self, table_id: TableId, version: str = "") -> list[IndexedInstance]:
        """List the instances of a table that are not deleted, oldest first."""
        if version:
            return self._instances(
                f"table_id = ? AND version = ? AND {NOT_DELETED}", (table_id, version)
            )
        return self._instances(f"table_id = ? AND {NOT_DELETED}", (table_id,))

    def instances_with(self, table_id: TableId) -> list[IndexedInstance]:
        """List the instances that are not deleted, except with their whole table."""
        return self._instances("table_id = ? AND gone.at IS NULL", (table_id,))

    def with_deleted(self, table_id: TableId) -> list[IndexedInstance]:
        """List all instances of a table, deleted ones too, oldest first."""
        return self._instances("table_id = ?", (table_id,))

    def withdrawn(self, table_id: TableId) -> list[IndexedInstance]:
        """List the instances of a table that were undone, and keep their objects."""
        return self._instances(
            "table_id = ? AND gone.at IS NOT NULL AND NOT gone.for_good", (table_id,)
        )

    def instances_with_ids(self, ids: Iterable[str]) -> list[IndexedInstance]:
        """Find instances by their ids, oldest first, deleted ones too; unknown ids are left out."""
        wanted = json.dumps(sorted(ids))
        return self._instances(
            "instances.instance_id IN (SELECT value FROM json_each(?))", (wanted,)
        )

    def latest(
        self, table_id: TableId, version: str = "", *, active: bool, successful: bool
    ) -> IndexedInstance | None:
        """Find the instance of a table that was materialised last, of any version when ""."""
        where = f"table_id = ? AND {NOT_DELETED}"
        if version:
            where += " AND version = ?"
        if active:
            where += f" AND {_ACTIVE}"
        if successful:
            where += " AND success AND NOT errors"
        arguments = (table_id, version) if version else (table_id,)
        rows = self._instances(where, arguments, last=True)
        return rows[0] if rows else None

    def current(self) -> list[IndexedInstance]:
        """Find the latest instance of each version of each table, those first that are older."""
        rows = self._query("SELECT DISTINCT table_id, version FROM instances", ())
        found = (
            self.latest(TableId(table_id), version, active=False, successful=False)
            for table_id, version in rows
        )
        there = (each for each in found if each is not None)
        return sorted(there, key=lambda each: (each.materialized_at, each.instance_id))

    def deactivated_by(self, process_id: str) -> list[InstanceId]:
        """List the instances that a process made inactive, whether or not it took that back."""
        rows = self._query("SELECT instance_id FROM inactive WHERE cause = ?", (process_id,))
        return [InstanceId(row[0]) for row in rows]

    def still_deactivated_by(self, process_id: str) -> list[InstanceId]:
        """List the instances that a process made inactive, where that was not taken back."""
        rows = self._query(
            "SELECT instance_id FROM deactivated WHERE cause = ? ORDER BY instance_id",
            (process_id,),
        )
        return [InstanceId(row[0]) for row in rows]

    def deactivations(self, instance_id: str) -> list[str]:
        """List the processes that made an instance inactive, where that was not taken back."""
        rows = self._query(
            "SELECT cause FROM deactivated WHERE instance_id = ? ORDER BY cause", (instance_id,)
        )
        return [str(row[0]) for row in rows]

    def undone_by(self, process_id: str) -> str:
        """Return the process that undid another one, unless that was undone itself; else ""."""
        rows = self._query("SELECT undone_by FROM undos WHERE process_id = ?", (process_id,))
        return next((row[0] for row in rows if not self.undone_by(row[0])), "")

    def children(self, process_id: str) -> list[IndexedProcess]:
        """List the operations that were done within another one, oldest first."""
        return self._processes("parent", process_id, with_temps=True)

    def ended_by(self, subject: str) -> list[str]:
        """List the processes that ended an instance or a table, where that was not taken back."""
        rows = self._query(
            "SELECT cause FROM still_ended WHERE subject = ? ORDER BY cause", (subject,)
        )
        return [str(row[0]) for row in rows]

    def end_of(self, subject: str) -> CommitId | None:
        """Return the commit that ended an instance or a table, None when it is there."""
        rows = self._query("SELECT commit_id FROM gone WHERE subject = ?", (subject,))
        return CommitId(rows[0][0]) if rows else None

    def table_of_deleted(self, name: str) -> TableId | None:
        """Find the table that carried `name` last, deleted ones included."""
        rows = self._query(
            "SELECT table_id FROM tables WHERE name = ? ORDER BY created_at DESC LIMIT 1", (name,)
        )
        return TableId(rows[0][0]) if rows else None

    def table_deletion(self, table_id: TableId) -> tuple[CommitId, str, str] | None:
        """Commit, time and author of the deletion of a table, None when it was not deleted."""
        rows = self._query("SELECT commit_id, at, author FROM gone WHERE subject = ?", (table_id,))
        return (CommitId(rows[0][0]), rows[0][1], rows[0][2]) if rows else None

    def new_name(self, name: str) -> str:
        """Name that a table was given later when it was once called `name`, else ""."""
        rows = self._query(
            "SELECT new_name FROM renames WHERE old_name = ? ORDER BY at DESC LIMIT 1", (name,)
        )
        return str(rows[0][0]) if rows else ""

    def created_order(self) -> dict[TableId, str]:
        """Time of creation of each table."""
        rows = self._query("SELECT table_id, created_at FROM tables", ())
        return {TableId(row[0]): row[1] for row in rows}

    def process(self, process_id: str) -> IndexedProcess | None:
        """Find an operation that ended with a commit."""
        # Operations on temporary instances are commits on branches, not yet on main.
        rows = self._processes("process_id", process_id) or self._processes(
            "process_id", process_id, with_temps=True
        )
        return rows[0] if rows else None

    def ended(self, process_ids: Iterable[str]) -> set[str]:
        """Keep of processes those that ended with a commit, on ``main`` or on a branch."""
        found: set[str] = set()
        with_temps = True
        for process_id in process_ids:
            # One look at the branches serves all.
            if self._processes("process_id", process_id, with_temps=with_temps):
                found.add(process_id)
            with_temps = False
        return found

    def objects_of(self, instance_id: InstanceId) -> set[ObjectId]:
        """List the objects of an instance: its dataframe and its artifacts."""
        rows = self._query("SELECT oid FROM objects WHERE instance_id = ?", (instance_id,))
        return {ObjectId(row[0]) for row in rows}

    def still_needed(self, oids: Iterable[ObjectId]) -> set[ObjectId]:
        """Keep of `oids` those that some instance which is not deleted for good needs."""
        return {
            oid
            for oid in oids
            if self._query(
                f"SELECT 1 FROM objects CROSS JOIN {INSTANCES} WHERE oid = ?"  # noqa: S608 - constants
                f" AND instances.instance_id = objects.instance_id AND {_KEEPS_OBJECTS} LIMIT 1",
                (oid,),
            )
        }

    def deleted_objects(self) -> set[ObjectId]:
        """List the objects of instances that are deleted for good, unless others need them."""
        rows = self._query(
            "WITH ended (id) AS (SELECT subject FROM gone WHERE for_good UNION "
            "SELECT instance_id FROM gone CROSS JOIN instances ON table_id = subject "
            "WHERE for_good) "
            "SELECT DISTINCT oid FROM ended CROSS JOIN objects ON instance_id = id",
            (),
        )
        found = {ObjectId(row[0]) for row in rows}
        return found - self.still_needed(found)

    def existing(self) -> list[IndexedInstance]:
        """List all instances that are not deleted, oldest first."""
        return self._instances(NOT_DELETED, ())

    def commits_of_instances(self) -> list[tuple[TableId, InstanceId, CommitId]]:
        """List table, id and commit of all instances that are not deleted, oldest first."""
        rows = self._query(
            f"SELECT table_id, instance_id, instances.commit_id FROM {INSTANCES} "  # noqa: S608 - constants
            f"WHERE {NOT_DELETED} ORDER BY materialized_at, instance_id",
            (),
        )
        return [(TableId(row[0]), InstanceId(row[1]), CommitId(row[2])) for row in rows]

    def read(self, sql: str, arguments: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Ask for rows of what is folded, operations on temporary instances included."""
        return self._query(sql, arguments, with_temps=True)

    def _instances(
        self, where: str, arguments: tuple[str, ...], *, last: bool = False
    ) -> list[IndexedInstance]:
        """Read instances in the order of materialisation, the latest alone when `last`."""
        direction = "DESC" if last else "ASC"
        limit = " LIMIT 1" if last else ""
        rows = self._query(
            f"SELECT {_COLUMNS} FROM {INSTANCES} WHERE {where}"  # noqa: S608 - constants of this module
            f" ORDER BY materialized_at {direction}, instances.instance_id {direction}{limit}",
            arguments,
        )
        return [
            IndexedInstance(
                instance_id=InstanceId(row[0]),
                table_id=TableId(row[1]),
                table_name=row[2],
                version=row[3],
                commit=CommitId(row[4]),
                materialized_at=row[5],
                success=bool(row[6]),
                errors=int(row[7]),
                active=bool(row[8]),
                deleted_at=row[9] or "",
                deleted_by=row[10] or "",
                withdrawn=bool(row[9]) and not row[11],
            )
            for row in rows
        ]

    def _processes(
        self, column: str, wanted: str, *, with_temps: bool = False
    ) -> list[IndexedProcess]:
        """Read operations by their id or their parent, oldest first."""
        rows = self._query(
            "SELECT process_id, operation, commit_id, author, at, parent"  # noqa: S608 - a constant
            f" FROM processes WHERE {column} = ? ORDER BY at, process_id",
            (wanted,),
            with_temps=with_temps,
        )
        return [
            IndexedProcess(
                process_id=row[0],
                operation=row[1],
                commit=CommitId(row[2]),
                author=row[3],
                at=float(row[4]),
                parent=row[5],
            )
            for row in rows
        ]

    @abstractmethod
    def _query(
        self, sql: str, arguments: tuple[str, ...], *, with_temps: bool = False
    ) -> list[tuple[str, ...]]:
        """Read rows; with the operations on temporary instances when asked."""


class Index(Catalog):
    """Answers for ``main`` as it is when a question is asked.

    Each question first catches up with all new commits, those by plain git included.

    Parameters
    ----------
    repository : Repository
        The vault.
    path : Path
        The file; `IN_MEMORY` for a catalog of each thread.
    """

    def __init__(self, repository: Repository, path: Path) -> None:
        self._repository = repository
        self._file = Disposable(path, SCHEMA)

    def discard(self) -> None:
        """Throw away what was folded; the next look-up folds it again from nothing."""
        self._file.discard()

    def catch_up(self) -> None:
        """Fold the commits that were not seen yet."""
        self._query("SELECT 1", ())

    def pin(self, *, with_temps: bool = False) -> PinnedCatalog:
        """Return the catalog at one commit: the tip of ``main`` at some moment of this call.

        Parameters
        ----------
        with_temps : bool, default False
            Whether it has the operations on temporary instances, too.
        """
        # Before main: a branch begins at a commit that main has reached.
        temps = self._temps() if with_temps else None
        for _ in range(_TRIES):
            try:
                reading, seen = self._read_newest(temps)
            except sqlite3.DatabaseError:
                self._file.discard()
                continue
            if seen is not None:  # else the file was removed
                return PinnedCatalog(self._repository, seen, temps=temps, reading=reading)
        return PinnedCatalog(self._repository, self._repository.main(), temps=temps)

    def _read_newest(self, temps: Collection[CommitId] | None) -> tuple[Reading, CommitId | None]:
        """Begin a read transaction in which the newest history is folded, and say up to where."""
        reading = self._file.reading()
        seen = self._seen(reading.connection)
        if seen == self._repository.main() and self._has_folded(reading.connection, temps or ()):
            return reading, seen
        del reading
        self._caught_up(with_temps=temps is not None)
        reading = self._file.reading()
        # It is a later tip if another process has caught up since.
        return reading, self._seen(reading.connection)

    def _temps(self) -> tuple[CommitId, ...]:
        """Return the tips of the temporary branches."""
        return tuple(self._repository.temp_refs().values())

    def _query(
        self, sql: str, arguments: tuple[str, ...], *, with_temps: bool = False
    ) -> list[tuple[str, ...]]:
        """Catch up, then read; a file that is damaged or removed is made again."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(sqlite3.DatabaseError):
                return list(self._caught_up(with_temps=with_temps).execute(sql, arguments))
            self._file.discard()
        return list(self._caught_up(with_temps=with_temps).execute(sql, arguments))

    def _caught_up(self, *, with_temps: bool) -> sqlite3.Connection:
        """Bring the index to the tip of ``main``, and of the temporary branches if wanted.

        Read through the returned connection: the file may be removed at any moment, and another
        connection would find an empty one.
        """
        connection = self._file.connection()
        if self._seen(connection) == self._repository.main() and self._has_folded(
            connection, self._temps() if with_temps else ()
        ):
            return connection
        with self._file.write() as connection:
            # Read within the transaction: if another process has just folded a newer tip, an older
            # one would look as if main had been rewritten. The branches come before main: each
            # began at a commit of main, so `seen` covers everything that is folded.
            temps = self._temps() if with_temps else ()
            tip = self._repository.main()
            seen = self._seen(connection)
            if seen is not None and not self._continues(seen, tip):
                # main was rewritten: what was folded may no longer be true.
                for table in TABLES:
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
            fold_commits(connection, self._repository, [tip, *temps])
            connection.execute("INSERT OR REPLACE INTO seen VALUES ('main', ?)", (tip,))
        return connection

    def _seen(self, connection: sqlite3.Connection) -> CommitId | None:
        """Return the tip of ``main`` up to which history is folded."""
        row = connection.execute("SELECT commit_id FROM seen").fetchone()
        return None if row is None else CommitId(row[0])

    def _has_folded(self, connection: sqlite3.Connection, tips: Iterable[CommitId]) -> bool:
        """Return whether all of these commits are folded."""
        sql = "SELECT 1 FROM folded WHERE commit_id = ?"
        return all(connection.execute(sql, (tip,)).fetchone() for tip in tips)

    def _continues(self, seen: CommitId, tip: CommitId) -> bool:
        """Return whether history goes on from what was seen; the next commit mostly does."""
        if seen in self._repository.commit(tip).parents:
            return True
        return self._repository.is_ancestor(seen, tip)


class PinnedCatalog(Catalog):
    """Answers for `commit` of ``main``, whatever is committed, merged or rewritten since.

    It reads within one transaction of SQLite, which lasts as long as this object or until it is
    released. What then is asked, or after a fork, or of a file that is damaged meanwhile, is
    answered by folding the history of `commit` again, in memory.
    """

    def __init__(
        self,
        repository: Repository,
        commit: CommitId,
        *,
        temps: Collection[CommitId] | None,
        reading: Reading | None = None,
    ) -> None:
        self.commit = commit
        self._repository = repository
        self._temps = temps
        self._reading = reading
        self._folded: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def release(self) -> None:
        """End the transaction: SQLite keeps every later change apart as long as it lasts."""
        self._reading = None

    def _query(
        self, sql: str, arguments: tuple[str, ...], *, with_temps: bool = False
    ) -> list[tuple[str, ...]]:
        """Read rows within the transaction."""
        assert self._temps is not None or not with_temps, "it was pinned without temporary branches"
        with self._lock:
            reading = self._reading
            if reading is not None and reading.is_own():
                with contextlib.suppress(sqlite3.DatabaseError):
                    return reading.connection.execute(sql, arguments).fetchall()
            self._reading = None
            if self._folded is None:
                tips = (self.commit, *(self._temps or ()))
                self._folded = folded_in_memory(self._repository, tips)
            return self._folded.execute(sql, arguments).fetchall()


def folded_in_memory(repository: Repository, tips: Iterable[CommitId] = ()) -> sqlite3.Connection:
    """Fold all that can be reached from `tips`, in a database in memory."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.executescript(SCHEMA)
    fold_commits(connection, repository, tips)
    connection.commit()
    return connection


_UUID = re.compile(r".+_[0-9]+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def expected_tags(index: Catalog, snapshot: Snapshot) -> dict[str, CommitId]:
    """Return the tag of each instance that is not deleted, by its full name."""
    names = snapshot.names_by_id()
    return {
        tag_ref(names[table_id], instance_id): commit
        for table_id, instance_id, commit in index.commits_of_instances()
        if table_id in names
    }


def tag_moves(repository: Repository, index: Catalog, snapshot: Snapshot) -> list[RefMove]:
    """Return the moves that make the tags of instances what history says; other tags stay."""
    expected = expected_tags(index, snapshot)
    known = repository.refs("refs/tags/")
    moves = [
        RefMove(ref=tag, old=known.get(tag), new=commit)
        for tag, commit in expected.items()
        if known.get(tag) != commit
    ]
    moves.extend(
        RefMove(ref=tag, old=commit, new=None)
        for tag, commit in known.items()
        if tag not in expected and _UUID.fullmatch(tag)
    )
    return moves
