"""Records of calls in a SQLite file: their keys, results, costs and executions.

The file is a cache, and holds the results of executions that have not ended: only those are lost
with it. It is written in transactions of some milliseconds. WAL with
``synchronous=NORMAL`` (https://sqlite.org/pragma.html#pragma_synchronous) survives a crash
of the process at any moment; a power failure may lose the records of the last second.
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
    connect,
    damage_of,
    is_damage,
    is_read_only,
    open_calls,
    set_aside,
    temporary_copy,
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
_AFTER_ALL: Final = b"\xff" * 9
"""Longer than the digest of a row: sorts after all inputs with the same arguments."""
SELECT_CALLS: Final = (
    "SELECT c.id, c.builder, c.row, c.inputs, k.digest, c.outcome, c.value, c.started_at,"
    " c.duration_s, c.error, p.process, c.model, c.input_tokens, c.output_tokens, c.cost, c.files,"
    " c.attempts"
    " FROM calls c JOIN codes k ON k.id = c.code LEFT JOIN processes p ON p.id = c.process"
)
"""Start of a query for records; the columns are the fields of `CallRecord`."""
_INSTANCES: Final = "SELECT DISTINCT c.instance FROM calls c JOIN codes k ON k.id = c.code"
_INSERT: Final = (
    "INSERT INTO calls (builder, row, inputs, code, outcome, value, started_at, duration_s, error,"
    " process, model, input_tokens, output_tokens, cost, files, attempts, execution,"
    " unindexed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""Parameters: the fields of `CallRecord` but its id, with the numbers of code and process; then the
execution, and 1 where the inputs enter the index later."""


_inherited: list[sqlite3.Connection] = []
"""Connections of the parent of a forked process. They are never closed nor collected: closing one
would write to the file on behalf of the parent."""


class CallStore:
    """The records of calls of a vault; for any number of threads and processes.

    Parameters
    ----------
    path : Path
        The SQLite file; made by the first write. A damaged one is renamed.
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
        """Begin or continue an execution, and return its number.

        Parameters
        ----------
        temp : str
            Identifies the temporary instance. An earlier execution of it is continued.
        process : str
            Id of the process.
        forget : bool
            Whether to ignore the rows of an earlier execution by another process.
        """
        with self._write() as connection:
            connection.execute("INSERT OR IGNORE INTO processes (process) VALUES (?)", (process,))
            found = connection.execute(
                "SELECT id, process FROM executions WHERE temp = ?", (temp,)
            ).fetchone()
            if found is not None and (found[1] == process or not forget):
                if found[1] != process:  # the index builder runs again and may make other rows
                    connection.execute(
                        "UPDATE calls SET row = ? WHERE execution = ? AND builder NOT LIKE '@%'",
                        (UNKNOWN_ROW, found[0]),
                    )
                    connection.execute("DELETE FROM found WHERE execution = ?", (found[0],))
                executions.forget_kept(connection, found[0])  # each attempt decides again
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

    def release(self, execution: int, codes: Iterable[bytes]) -> None:
        """Take the calls of other code than `codes`, digests, out of an execution; they stay."""
        with self._write() as connection:
            known = [self._code(connection, digest) for digest in codes]
            executions.release(connection, execution, known)

    def execution_of(self, temp: str) -> tuple[int, str, str] | None:
        """Return number, process and builders of the execution of a temporary instance."""
        return self._first("SELECT id, process, builders FROM executions WHERE temp = ?", (temp,))

    def note_builders(self, execution: int, builders: str) -> None:
        """Record the builders of an execution, as JSON."""
        with self._write() as connection:
            connection.execute(
                "UPDATE executions SET builders = ?, ended = '[]' WHERE id = ?",
                (builders, execution),
            )

    def note_ended(self, execution: int, builders: Iterable[str]) -> None:
        """Record the names of the builders of an execution that have ended."""
        with self._write() as connection:
            connection.execute(
                "UPDATE executions SET ended = ? WHERE id = ?",
                (json.dumps(list(builders)), execution),
            )
        self.read("PRAGMA shrink_memory", ())  # no query follows before the next builder

    def ended(self, execution: int) -> tuple[str, ...]:
        """Return the names of the builders of an execution that have ended."""
        row = self._first("SELECT ended FROM executions WHERE id = ?", (execution,))
        return () if row is None else tuple(json.loads(row[0]))

    def note_code(self, digest: bytes, record: str) -> None:
        """Record the fingerprint that has this digest, as JSON."""
        with self._write() as connection:
            number = self._code(connection, digest)
            connection.execute("UPDATE codes SET record = ? WHERE id = ?", (record, number))

    def knows_code(self, digest: bytes) -> bool:
        """Return whether there is a record of a code, or of a call that it made."""
        return self._first("SELECT 1 FROM codes WHERE digest = ?", (digest,)) is not None

    def code_record(self, digest: bytes) -> str | None:
        """Return the fingerprint with this digest, as JSON; None if it is not recorded."""
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

    def failed(self, execution: int) -> dict[str, tuple[int, int]]:
        """Count the rows that failed in an execution and have no result; and name the first."""
        rows = self.read(executions.ERRORS, (execution,))
        return {builder: (count, first) for builder, count, first in rows}

    def finished(self, execution: int, builder: str) -> list[int]:
        """Return the rows of a builder that an execution has made or found, without kept ones."""
        return [row for (row,) in self.read(executions.FINISHED, (execution, builder))]

    def keep(self, execution: int, builder: str, kept: Iterable[tuple[str, Rows]]) -> None:
        """Record which rows of instances a builder keeps: see `executions.note_kept`."""
        with self._write() as connection:
            executions.note_kept(connection, execution, builder, kept)

    def kept(self, execution: int, builder: str) -> list[tuple[str, Rows]]:
        """Return the ids of instances of which a builder keeps rows, with the rows; see `keep`."""
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
        """Record the calls of an execution, and their cost by builder.

        Calls shorter than `longest_unindexed_s` seconds enter the index of inputs later.

        Raises
        ------
        OSError
            The disk is full or fails; none of `calls` was recorded.
        """
        with self._write() as connection:
            codes = {code: self._code(connection, code) for code in {call.code for call in calls}}
            processes = executions.process_numbers(
                connection, execution, {call.process for call in calls}
            )
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
        """Record a call that returned a dataframe, and its cost by builder.

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
        """Write the dataframe of a call, in parts."""
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
        """Return the cost of an execution to its process, by builder."""
        return spending.totals(self.read(spending.OF_EXECUTION, (execution,)))

    def spent(self, version: str, process: str | None = None) -> dict[str, Spent]:
        """Return the cost charged to a version since its last instance, by builder.

        With `process`, only the cost of that process.
        """
        return spending.totals(self.read(spending.TOTALS, (version, process)))

    def take(self, execution: int, builder: str, found: Iterable[tuple[int, int]]) -> None:
        """Record rows whose calls were found: pairs of row and number of the call."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?)",
                [(execution, builder, row, call) for row, call in found],
            )

    def place_again(self, execution: int, builder: str) -> None:
        """Forget the rows of the results of a builder: an attempt that goes on finds them again."""
        with self._write() as connection:
            executions.forget_rows(connection, execution, builder, UNKNOWN_ROW)

    def take_from(self, execution: int, builder: str, rows: Mapping[int, int]) -> None:
        """Record rows that share the call of another row: by row, the other row."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO found SELECT ?1, ?2, ?3, max(id) FROM calls"
                " WHERE execution = ?1 AND builder = ?2 AND row = ?4 HAVING max(id) IS NOT NULL",
                [(execution, builder, row, other) for row, other in rows.items()],
            )

    # -- calls ----------------------------------------------------------------------------------

    def find(self, inputs: Iterable[bytes], code: bytes | None) -> dict[bytes, CallRecord]:
        """Find calls with a result.

        Parameters
        ----------
        inputs : iterable of bytes
            Inputs of calls.
        code : bytes, optional
            Digest of the code; any code when None.

        Returns
        -------
        dict of bytes to CallRecord
            The calls found, by inputs; of several with the same inputs the latest.
        """
        return self.find_where(inputs, " AND (? IS NULL OR k.digest = ?)", (code, code))

    def find_where(
        self, inputs: Iterable[bytes], where: str, values: Sequence[object]
    ) -> dict[bytes, CallRecord]:
        """Find calls by inputs and a condition; of several with the same inputs the latest."""
        is_indexed = self.index()
        wanted = sorted(set(inputs))  # in the order of the index
        found: dict[bytes, CallRecord] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            with_inputs = f" WHERE {is_indexed} AND c.inputs IN ({marks}) AND c.value IS NOT NULL"
            for call in self._records(with_inputs + where, (*some, *values)):
                known = found.get(call.inputs)
                if known is None or known.id < call.id:
                    found[call.inputs] = call
        return found

    def holders(self, inputs: Sequence[bytes], code: bytes | None) -> set[str]:
        """Return the instances that hold some of these calls, by this code; by any if None."""
        marks = ",".join("?" * len(inputs))
        where = (
            f" WHERE {self.index()} AND c.inputs IN ({marks}) AND c.value IS NOT NULL"
            " AND c.instance IS NOT NULL"
            " AND (? IS NULL OR k.digest = ?)"
        )
        return {instance for (instance,) in self.read(_INSTANCES + where, (*inputs, code, code))}

    def find_alike(self, arguments: bytes, code: bytes | None) -> CallRecord | None:
        """Find a call with these arguments, for any row."""
        where = (
            f" WHERE {self.index()} AND c.inputs >= ?1 AND c.inputs < ?2 AND c.value IS NOT NULL"
            " AND c.outcome = 'ok' AND (?3 IS NULL OR k.digest = ?3) LIMIT 1"
        )
        return next(iter(self._records(where, (arguments, arguments + _AFTER_ALL, code))), None)

    def index(self) -> str:
        """Enter all calls into the index of inputs; return the condition of queries that use it.

        Where the user may not write, calls stay outside of the index, and queries read all of them;
        in a file of version 2 all are in it.
        """
        if self._is_read_only and self._first("PRAGMA user_version", ()) == (2,):
            return "TRUE"
        if not self._first("SELECT 1 FROM calls WHERE unindexed IS NOT NULL LIMIT 1", ()):
            return INDEXED
        if self._is_read_only:
            return "TRUE"
        with self._write() as connection:
            connection.execute("UPDATE calls SET unindexed = NULL WHERE unindexed IS NOT NULL")
        return INDEXED

    def frame_of(self, call: CallRecord) -> pd.DataFrame | None:
        """Read the dataframe that a call returned; None if it is missing or damaged."""
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
        """Assign failed calls of earlier attempts to the row for which they were made again."""
        if not self._first(executions.UNPLACED, (execution, UNKNOWN_ROW)):
            return
        self.index()
        with self._write() as connection:
            executions.place_failures(connection, execution, UNKNOWN_ROW)

    def assign(self, execution: int, instance: str, builders: Mapping[str, Any]) -> None:
        """Assign the results of an execution to the instance that it made; end the execution."""
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
            Calls with a result.
        frames : mapping of bytes to DataFrame
            Dataframes that calls returned, by their inputs.
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
        """Return the recorded builders of an instance; None if there are none."""
        row = self._first("SELECT builders FROM instances WHERE instance = ?", (instance,))
        if row is None:
            return None
        found = json.loads(row[0])
        return found if isinstance(found, dict) else None

    def forget(self, instances: Iterable[str]) -> frozenset[str]:
        """Remove the calls of deleted instances, with their values.

        If another instance holds some of them, too, they are read from its file when needed.

        Returns
        -------
        frozenset of str
            Ids of the objects that only these calls name.
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
        """Remove executions and calls that are no longer needed.

        Parameters
        ----------
        temps : iterable of str
            Existing temporary instances: their executions stay.
        instances : iterable of str
            Existing instances.
        older_than_s : float
            Age in seconds at which calls are removed that no instance holds.
        dry_run : bool
            Whether to count only.

        Returns
        -------
        Swept
            Number of calls that were or would be removed, and the objects that the others name.
        """
        if not self._path.exists():
            return Swept(0, frozenset())
        with self._write(dry_run=dry_run) as connection:
            before = time.time() - older_than_s
            return executions.sweep(connection, set(temps), set(instances), before)

    def checkpoint(self) -> None:
        """Write the write-ahead log into the file, so that the file alone can be copied."""
        if self._path.with_name(f"{self._path.name}-wal").exists():
            with self._lock, as_os_error(self._path):
                self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def problem(self) -> str:
        """Return a description of the damage to the file; "" if it is intact or missing."""
        return damage_of(self._path) if self._path.exists() else ""

    # -- the file -------------------------------------------------------------------------------

    def _code(self, connection: sqlite3.Connection, digest: bytes) -> int:
        """Return the number of a code digest; insert it if it is new."""
        if digest not in self._codes:
            connection.execute("INSERT OR IGNORE INTO codes (digest) VALUES (?)", (digest,))
            (number,) = connection.execute(
                "SELECT id FROM codes WHERE digest = ?", (digest,)
            ).fetchone()
            self._codes[digest] = int(number)
        return self._codes[digest]

    @contextmanager
    def _write(self, *, dry_run: bool = False) -> Iterator[sqlite3.Connection]:
        """Run the body in a write transaction, the current one if there is one.

        It is rolled back if the body raises, and with `dry_run`; where the user may not write,
        that runs on a temporary copy.
        """
        with self._lock, as_os_error(self._path):
            if dry_run and self._is_read_only:
                with temporary_copy(self._path) as copy:
                    yield copy
                return
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
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back
                    connection.execute("ROLLBACK")
                raise

    @property
    def _is_read_only(self) -> bool:
        """Whether there is a file that is not open and that the user may not write."""
        return self._connection is None and is_read_only(self._path)

    def _records(self, where: str, values: Sequence[object]) -> list[CallRecord]:
        """Read records; `where` is the end of a query, in which ``c`` are calls and ``k`` codes."""
        return list(map(CallRecord._make, self.read(SELECT_CALLS + where, values)))

    def read(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none if there is no file."""
        with self._lock, as_os_error(self._path):
            if self._connection is None and not self._path.exists():
                return []
            if self._is_read_only:
                return self._read_only(sql, values)
            return self._open().execute(sql, values).fetchall()

    def _read_only(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return the rows of a query where the user may not write; none of a damaged file."""
        try:
            with contextlib.closing(connect(self._path)) as connection:
                return connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            _log.warning("The records of calls in %s cannot be read (%s).", self._path, error)
            return []

    def _first(self, sql: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        """Return the first row of a query."""
        return next(iter(self.read(sql, values)), None)

    def _open(self) -> sqlite3.Connection:
        """Return the connection of this process; rename a file that is no database."""
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
