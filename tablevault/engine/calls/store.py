"""Records of calls in a SQLite file: what was asked, what came back, which execution needed it.

The file is a cache plus results that no instance holds: when it is lost, calls of executions
that did not end are lost. It is written in transactions of some milliseconds. WAL with
``synchronous=NORMAL`` (https://sqlite.org/pragma.html#pragma_synchronous) survives a crash
of the process at any moment; a loss of power may cost what was written within the last second.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from tablevault.engine.calls import executions, spending
from tablevault.engine.calls.database import (
    INDEXED,
    as_os_error,
    damage_of,
    is_damage,
    open_calls,
    set_aside,
)
from tablevault.engine.calls.executions import Swept
from tablevault.engine.calls.records import UNKNOWN_ROW, CallRecord
from tablevault.engine.calls.spending import Account, Spent
from tablevault.engine.matching import Rows
from tablevault.errors import TVTableError
from tablevault.frames.parquet import read_frame, write_frame

_log = logging.getLogger("tablevault")

_LONGEST_PATH: Final = 490
_KEYS_AT_ONCE: Final = 500
_PART_BYTES: Final = 1 << 28
"""SQLite takes values of at most 1,000,000,000 bytes."""
_BEHIND: Final = b"\xff" * 9
"""Longer than the digest of a row: sorts behind all inputs with these arguments."""
SELECT_CALLS: Final = (
    "SELECT c.id, c.builder, c.row, c.inputs, k.digest, c.outcome, c.value, c.started_at,"
    " c.duration_s, c.error, p.process, c.model, c.input_tokens, c.output_tokens, c.cost, c.files,"
    " c.attempts"
    " FROM calls c JOIN codes k ON k.id = c.code LEFT JOIN processes p ON p.id = c.process"
)
"""Begins a query for records; the columns are the fields of `CallRecord`."""
_HOLDERS: Final = "SELECT DISTINCT c.instance FROM calls c JOIN codes k ON k.id = c.code"
_INSERT: Final = (
    "INSERT INTO calls (builder, row, inputs, code, outcome, value, started_at, duration_s, error,"
    " process, model, input_tokens, output_tokens, cost, files, attempts, execution,"
    " unindexed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""Takes the fields of `CallRecord` but its id, code and process by number, then the execution, and
1 where the inputs are not to be in the index yet."""


_inherited: list[sqlite3.Connection] = []
"""Connections of the process that this one was forked from. They are kept for good: to close one,
even by forgetting it, would write to the file in the name of the other process."""


class CallStore:
    """The records of a vault; any number of threads and processes may use one at a time.

    Parameters
    ----------
    path : Path
        The SQLite file; made when something is written. A damaged one is moved away.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._codes: dict[bytes, int] = {}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._codes.clear()
            if connection is not None and self._pid == os.getpid():
                connection.close()

    # -- executions -----------------------------------------------------------------------------

    def begin(self, temp: str, process: str, *, forget: bool) -> int:
        """Return the number of an execution.

        Parameters
        ----------
        temp : str
            Identifies the temporary instance. An earlier execution of it is continued.
        process : str
            Id of the process.
        forget : bool
            Whether the rows of an earlier execution by another process do not count.
        """
        with self._write() as connection:
            connection.execute("INSERT OR IGNORE INTO processes (process) VALUES (?)", (process,))
            found = connection.execute(
                "SELECT id, process FROM executions WHERE temp = ?", (temp,)
            ).fetchone()
            if found is not None and (found[1] == process or not forget):
                if found[1] != process:  # its index builder runs again, and may make other rows
                    connection.execute(
                        "UPDATE calls SET row = ? WHERE execution = ? AND builder NOT LIKE '@%'",
                        (UNKNOWN_ROW, found[0]),
                    )
                    connection.execute("DELETE FROM found WHERE execution = ?", (found[0],))
                executions.forget_kept(connection, found[0])  # each attempt decides anew
                connection.execute(
                    "UPDATE executions SET process = ? WHERE id = ?", (process, found[0])
                )
                return int(found[0])
            if found is not None:
                executions.forget_execution(connection, int(found[0]))
            made = connection.execute(
                "INSERT INTO executions (temp, process) VALUES (?, ?)", (temp, process)
            )
            assert made.lastrowid is not None
            return made.lastrowid

    def execution_of(self, temp: str) -> tuple[int, str, str] | None:
        """Return number, process and builders of the execution of a temporary instance."""
        return self._first("SELECT id, process, builders FROM executions WHERE temp = ?", (temp,))

    def note(self, execution: int, builders: str) -> None:
        """Keep a description of the builders of an execution."""
        with self._write() as connection:
            connection.execute(
                "UPDATE executions SET builders = ?, ended = '[]' WHERE id = ?",
                (builders, execution),
            )

    def note_ended(self, execution: int, builders: Iterable[str]) -> None:
        """Keep the names of the builders of an execution that have ended."""
        with self._write() as connection:
            connection.execute(
                "UPDATE executions SET ended = ? WHERE id = ?",
                (json.dumps(list(builders)), execution),
            )
        self.read("PRAGMA shrink_memory", ())  # nothing is looked up before the next builder

    def ended(self, execution: int) -> tuple[str, ...]:
        """Return the names of the builders of an execution that have ended."""
        row = self._first("SELECT ended FROM executions WHERE id = ?", (execution,))
        return () if row is None else tuple(json.loads(row[0]))

    def note_code(self, digest: bytes, record: str) -> None:
        """Keep what a code digest stands for."""
        with self._write() as connection:
            number = self._code(connection, digest)
            connection.execute("UPDATE codes SET record = ? WHERE id = ?", (record, number))

    def knows_code(self, digest: bytes) -> bool:
        """Return whether a code digest was noted, or made a call that is recorded."""
        return self._first("SELECT 1 FROM codes WHERE digest = ?", (digest,)) is not None

    def code_record(self, digest: bytes) -> str | None:
        """Return what a code digest stands for; None when it is not known."""
        row = self._first("SELECT record FROM codes WHERE digest = ?", (digest,))
        return None if row is None or row[0] is None else str(row[0])

    def rows(self, execution: int, builder: str) -> dict[int, CallRecord]:
        """Return the results that an execution has of a builder, by row."""
        taken = (
            SELECT_CALLS.replace("c.row", "f.row")
            + " JOIN found f ON f.call = c.id WHERE f.execution = ? AND f.builder = ?"
        )
        found = [CallRecord(*row) for row in self.read(taken, (execution, builder))]
        own = " WHERE c.execution = ? AND c.builder = ? AND c.value IS NOT NULL AND c.row > ?"
        made = self._records(own + " ORDER BY c.id", (execution, builder, UNKNOWN_ROW))
        return {call.row: call for call in (*found, *made)}

    def count(self, execution: int, builder: str) -> int:
        """Count the rows that an execution has of a builder."""
        row = self._first(executions.ROWS, (execution, builder))
        return 0 if row is None else int(row[0])

    def errors(self, execution: int) -> dict[str, int]:
        """Count the rows that failed in an execution and have no result, by builder."""
        return dict(self.read(executions.ERRORS, (execution,)))

    def finished(self, execution: int, builder: str) -> list[int]:
        """Return the rows that an execution has of a builder, without those that it keeps."""
        return [row for (row,) in self.read(executions.FINISHED, (execution, builder))]

    def keep(self, execution: int, builder: str, kept: Iterable[tuple[str, Rows]]) -> None:
        """Note rows of instances that a builder keeps: see `executions.note_kept`."""
        with self._write() as connection:
            executions.note_kept(connection, execution, builder, kept)

    def kept(self, execution: int, builder: str) -> list[tuple[str, Rows]]:
        """Return the instances of which a builder keeps rows, and the rows; see `keep`."""
        found = self.read(executions.KEPT, (execution, builder))
        return [(instance, executions.decoded_rows(rows)) for instance, rows in found]

    def write(
        self,
        execution: int | None,
        calls: Sequence[CallRecord],
        spent: Mapping[str, Spent] = MappingProxyType({}),
        *,
        longest_unindexed_s: float = 0.0,
    ) -> None:
        """Record calls that an execution has made, and what they have cost, by builder.

        Calls that took less than `longest_unindexed_s` seconds enter the index of inputs later.

        Raises
        ------
        OSError
            The disk is full or fails; nothing of `calls` was recorded.
        """
        with self._write() as connection:
            codes = {code: self._code(connection, code) for code in {call.code for call in calls}}
            processes = _processes(connection, execution, {call.process for call in calls})
            connection.executemany(
                _INSERT,
                [
                    (
                        *call[1:4],
                        codes[call.code],
                        *call[5:10],
                        processes[call.process],
                        *call[11:],
                        execution,
                        1 if call.duration_s < longest_unindexed_s else None,
                    )
                    for call in calls
                ],
            )
            spending.charge(connection, execution, spent)

    def write_frame(
        self,
        execution: int,
        call: CallRecord,
        frame: pd.DataFrame,
        spent: Mapping[str, Spent] = MappingProxyType({}),
    ) -> None:
        """Record a call that returned a dataframe, and what it has cost, by builder.

        Raises
        ------
        TVTableError
            A column cannot be stored.
        OSError
            The disk is full or fails; nothing was recorded.
        """
        with self._write() as connection:
            self._put_frame(connection, call, frame)
            self.write(execution, [call], spent)

    def _put_frame(
        self, connection: sqlite3.Connection, call: CallRecord, frame: pd.DataFrame
    ) -> None:
        """Keep the dataframe of a call."""
        file = io.BytesIO()
        write_frame(frame, file)
        data = file.getbuffer()
        code = self._code(connection, call.code)
        connection.execute("DELETE FROM frames WHERE inputs = ? AND code = ?", (call.inputs, code))
        connection.executemany(
            "INSERT INTO frames VALUES (?, ?, ?, ?)",
            [
                (call.inputs, code, part, data[part : part + _PART_BYTES])
                for part in range(0, len(data), _PART_BYTES)
            ],
        )

    def open_account(self, execution: int, account: Account) -> None:
        """Charge the calls of an execution to an account."""
        with self._write() as connection:
            spending.open_account(connection, execution, account)

    def spent_by(self, execution: int) -> dict[str, Spent]:
        """Return what the process of an execution has spent on it, by builder."""
        return spending.totals(self.read(spending.OF_EXECUTION, (execution,)))

    def spent(self, version: str, process: str | None = None) -> dict[str, Spent]:
        """Return what was spent for a version since its last instance, by builder.

        With `process`, the id of one, only what that has spent.
        """
        return spending.totals(self.read(spending.TOTALS, (version, process)))

    def take(self, execution: int, builder: str, found: Iterable[tuple[int, int]]) -> None:
        """Note rows whose calls were there: pairs of row and number of the call."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?)",
                [(execution, builder, row, call) for row, call in found],
            )

    def take_from(self, execution: int, builder: str, rows: Mapping[int, int]) -> None:
        """Note rows that have the result of the call for another row, each with that one."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO found SELECT ?1, ?2, ?3, max(id) FROM calls"
                " WHERE execution = ?1 AND builder = ?2 AND row = ?4 HAVING max(id) IS NOT NULL",
                [(execution, builder, row, other) for row, other in rows.items()],
            )

    # -- calls ----------------------------------------------------------------------------------

    def find(self, inputs: Iterable[bytes], code: bytes | None) -> dict[bytes, CallRecord]:
        """Find calls that returned something.

        Parameters
        ----------
        inputs : iterable of bytes
            Inputs of calls.
        code : bytes, optional
            Digest of the code; any code when None.

        Returns
        -------
        dict of bytes to CallRecord
            By inputs, those that are there; of several the latest.
        """
        return self.find_where(inputs, " AND (? IS NULL OR k.digest = ?)", (code, code))

    def find_where(
        self, inputs: Iterable[bytes], where: str, values: Sequence[object]
    ) -> dict[bytes, CallRecord]:
        """Find calls by inputs under a condition; of several with the same inputs the latest."""
        self.index()
        wanted = sorted(set(inputs))  # neighbours stand side by side in the index
        found: dict[bytes, CallRecord] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            with_inputs = f" WHERE {INDEXED} AND c.inputs IN ({marks}) AND c.value IS NOT NULL"
            for call in self._records(with_inputs + where, (*some, *values)):
                known = found.get(call.inputs)
                if known is None or known.id < call.id:
                    found[call.inputs] = call
        return found

    def holders(self, inputs: Sequence[bytes], code: bytes | None) -> set[str]:
        """Return the instances that hold some of a few calls; those by any code when it is None."""
        self.index()
        marks = ",".join("?" * len(inputs))
        where = (
            f" WHERE {INDEXED} AND c.inputs IN ({marks}) AND c.value IS NOT NULL"
            " AND c.instance IS NOT NULL"
            " AND (? IS NULL OR k.digest = ?)"
        )
        return {instance for (instance,) in self.read(_HOLDERS + where, (*inputs, code, code))}

    def find_alike(self, arguments: bytes, code: bytes | None) -> CallRecord | None:
        """Find a call with these arguments, of whatever row it was."""
        self.index()
        where = (
            f" WHERE {INDEXED} AND c.inputs >= ?1 AND c.inputs < ?2 AND c.value IS NOT NULL"
            " AND c.outcome = 'ok' AND (?3 IS NULL OR k.digest = ?3) LIMIT 1"
        )
        return next(iter(self._records(where, (arguments, arguments + _BEHIND, code))), None)

    def index(self) -> None:
        """Let all calls be found by their inputs."""
        if self._first("SELECT 1 FROM calls WHERE unindexed IS NOT NULL LIMIT 1", ()):
            with self._write() as connection:
                connection.execute("UPDATE calls SET unindexed = NULL WHERE unindexed IS NOT NULL")

    def frame_of(self, call: CallRecord) -> pd.DataFrame | None:
        """Read the dataframe that a call returned; None when it is not there, or is damaged."""
        sql = (
            "SELECT f.data FROM frames f JOIN codes k ON k.id = f.code"
            " WHERE f.inputs = ? AND k.digest = ? ORDER BY f.part"
        )
        parts = self.read(sql, (call.inputs, call.code))
        if not parts:
            return None
        try:
            return read_frame(io.BytesIO(b"".join(data for (data,) in parts)))
        except TVTableError as error:
            _log.warning("Builder %s is called again: %s", call.builder, error)
            return None

    # -- instances ------------------------------------------------------------------------------

    def place_failures(self, execution: int) -> None:
        """Note for calls of earlier attempts that failed which row was asked for again."""
        self.index()
        with self._write() as connection:
            executions.place_failures(connection, execution, UNKNOWN_ROW)

    def assign(self, execution: int, instance: str, builders: Mapping[str, Any]) -> None:
        """Note that an instance holds the results of an execution, which is over."""
        with self._write() as connection:
            executions.assign(connection, execution, instance, builders)
            executions.forget_execution(connection, execution)

    def load(
        self, instance: str, calls: Sequence[CallRecord], frames: Mapping[bytes, pd.DataFrame]
    ) -> None:
        """Record calls that an instance holds.

        Parameters
        ----------
        instance : str
            Its id.
        calls : sequence of CallRecord
            Those that returned something.
        frames : mapping of bytes to DataFrame
            What calls returned that made whole columns, by their inputs.
        """
        with self._write() as connection:
            self.write(None, calls)
            executions.assign_latest(connection, instance, len(calls))
            for call in calls:
                if call.inputs in frames:
                    self._put_frame(connection, call, frames[call.inputs])

    def complete_instances(self) -> set[str]:
        """Return the instances all of whose calls are recorded."""
        rows = self.read("SELECT instance FROM instances WHERE builders != 'null'", ())
        return {instance for (instance,) in rows}

    def builders_of(self, instance: str) -> Mapping[str, Any] | None:
        """Return what was noted about the builders of an instance; None when nothing was."""
        row = self._first("SELECT builders FROM instances WHERE instance = ?", (instance,))
        if row is None:
            return None
        found = json.loads(row[0])
        return found if isinstance(found, dict) else None

    def forget(self, instances: Iterable[str]) -> frozenset[str]:
        """Remove the calls of instances that were deleted, values and all.

        Another instance may hold some of them, too: they are read from its file when they are
        wanted again.

        Returns
        -------
        frozenset of str
            Ids of the objects that only these calls named.
        """
        gone = list(instances)
        if not gone or not self._path.exists():
            return frozenset()
        with self._write() as connection:
            return executions.forget_instances(connection, gone)

    def sweep(
        self,
        temps: Iterable[str],
        instances: Iterable[str],
        older_than_s: float,
        *,
        dry_run: bool = False,
    ) -> Swept:
        """Remove what is no longer needed.

        Parameters
        ----------
        temps : iterable of str
            Temporary instances that are there: their executions stay.
        instances : iterable of str
            Instances that are there.
        older_than_s : float
            Age in seconds of calls that go although no instance was ever made of them, or whose
            instance is gone.
        dry_run : bool
            Whether to count only.

        Returns
        -------
        Swept
            Number of calls that were removed, or would be, and what is left.
        """
        if not self._path.exists():
            return Swept(0, frozenset())
        with self._write(dry_run=dry_run) as connection:
            before = time.time() - older_than_s
            return executions.sweep(connection, set(temps), set(instances), before)

    def checkpoint(self) -> None:
        """Write the write-ahead log into the file, so that the file alone can be copied."""
        if self._path.exists():
            with self._lock, as_os_error(self._path):
                self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def problem(self) -> str:
        """Return what is wrong with the file, "" when it is whole or not there."""
        return damage_of(self._path) if self._path.exists() else ""

    # -- the file -------------------------------------------------------------------------------

    def _code(self, connection: sqlite3.Connection, digest: bytes) -> int:
        """Return the number of a code digest; a new one when it is new."""
        if digest not in self._codes:
            connection.execute("INSERT OR IGNORE INTO codes (digest) VALUES (?)", (digest,))
            (number,) = connection.execute(
                "SELECT id FROM codes WHERE digest = ?", (digest,)
            ).fetchone()
            self._codes[digest] = int(number)
        return self._codes[digest]

    @contextmanager
    def _write(self, *, dry_run: bool = False) -> Iterator[sqlite3.Connection]:
        """Hold one write transaction, or take part in it; taken back when the body raises.

        With `dry_run` it is taken back in any case.
        """
        with self._lock, as_os_error(self._path):
            connection = self._open()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("ROLLBACK" if dry_run else "COMMIT")
            except BaseException:
                self._codes.clear()
                with contextlib.suppress(sqlite3.Error):  # SQLite may have done it
                    connection.execute("ROLLBACK")
                raise

    def _records(self, where: str, values: Sequence[object]) -> list[CallRecord]:
        """Read records; `where` is the rest of a query, in which ``c`` are calls, ``k`` codes."""
        return list(map(CallRecord._make, self.read(SELECT_CALLS + where, values)))

    def read(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Read what a query selects; nothing when there is no file."""
        with self._lock, as_os_error(self._path):
            if self._connection is None and not self._path.exists():
                return []
            return self._open().execute(sql, values).fetchall()

    def _first(self, sql: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        """Read one row."""
        return next(iter(self.read(sql, values)), None)

    def _open(self) -> sqlite3.Connection:
        """Return the connection of this process; a file that is no database is moved away."""
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        if self._connection is not None:
            _inherited.append(self._connection)
        self._codes.clear()
        if len(os.fsencode(self._path)) > _LONGEST_PATH:
            # SQLite opens no file with a longer path (3.40 to 3.50: 512 bytes with its journal).
            _log.warning("Results of calls are not kept: the path of the vault is too long.")
            self._connection = open_calls(":memory:")
            self._pid = os.getpid()
            return self._connection
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = open_calls(self._path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            set_aside(self._path, error)
            self._connection = open_calls(self._path)
        self._pid = os.getpid()
        return self._connection


def _processes(
    connection: sqlite3.Connection, execution: int | None, ids: set[str | None]
) -> dict[str | None, int | None]:
    """Return the numbers of processes by id; None is the one that runs the execution."""
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
