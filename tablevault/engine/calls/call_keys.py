"""The inputs of each call of one builder, from its arguments and the rows of the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tablevault.engine.builders.arguments import MapNode, Node, compile_arguments
from tablevault.engine.builders.reads import reads_of
from tablevault.engine.builders.resolve_fields import Job
from tablevault.engine.calls.keys import (
    ARGUMENTS_BYTES,
    ROW_BYTES,
    FileText,
    Inputs,
    RowInputs,
    RunningNumbers,
    UnhashableArgumentError,
    hash_values,
    row_digest,
    rows_inputs,
    running_numbers,
)
from tablevault.engine.tables import RunTables
from tablevault.errors import TableReferenceError
from tablevault.names import SELF

_SEED_BYTES: Final = 16


class CallKeys:
    """Computes what calls of one builder are found by.

    What is the same for all rows is hashed once, at the first of them.

    Parameters
    ----------
    job : Job
        The builder.
    tables : RunTables
        What its arguments read; all builders whose columns it reads have run.
    file_text : callable
        See `tablevault.engine.calls.keys.FileText`.
    key_columns : sequence of str
        The primary key of the table; empty when it has none.
    """

    def __init__(
        self, job: Job, tables: RunTables, file_text: FileText, key_columns: Sequence[str]
    ) -> None:
        self._job = job
        self._tables = tables
        self._file_text = file_text
        self._key_columns = key_columns
        pairs = job.written.items if isinstance(job.written, MapNode) else ()
        whole = not pairs and not isinstance(job.written, MapNode)
        constant = tuple(pair for pair in pairs if not self._varies(MapNode((pair,))))
        varying = tuple(pair for pair in pairs if pair not in constant)
        self._constant = MapNode(constant)
        self._by_row = compile_arguments(
            job.written if whole else MapNode(varying), tables, builder=job.name
        )
        self._seed: bytes | None = None
        self._added: Mapping[str, Any] = {}
        self._numbers = RunningNumbers()
        self._row_digests: np.ndarray[Any, Any] | None = None
        has_key = bool(key_columns) and job.kind != "index"
        self.are_numbered = not has_key and not job.deduplicate
        """Whether calls with equal arguments are told apart by their order alone."""

    def add_constant(self, values: Mapping[str, Any]) -> None:
        """Let values count that each call gets besides its arguments."""
        self._added = values

    @property
    def depends_on_earlier_rows(self) -> bool:
        """Whether the arguments of a row show what the builder has made of rows before it."""
        own = set(self._job.changed_columns)
        return any(
            whole.table == SELF and not own.isdisjoint(whole.columns or ())
            for read in reads_of(self._job.written, self._tables.draft.names)
            for whole in read.wholes
        )

    def arguments(self, row: int | None) -> bytes:
        """Hash the arguments of a call.

        Raises
        ------
        UnhashableArgumentError
            An argument cannot be compared by value.
        TableReferenceError
            A reference cannot be evaluated.
        """
        if self._seed is None:
            self._seed = self._hash_constant()
        return hash_values(self._by_row(row), self._file_text, self._seed)

    def of_row(self, row: int, arguments: bytes) -> Inputs:
        """Return the inputs of the call for one row; call in the order of rows."""
        if self._job.deduplicate:
            return arguments
        if self.are_numbered:
            return arguments + self._numbers.next(arguments)
        digest: bytes = self._digests()[row].tobytes()
        return arguments + digest

    def of_rows(self, rows: Sequence[int], behind: Collection[int] = ()) -> RowInputs:
        """Return the inputs of the calls for rows, those that can be had.

        Parameters
        ----------
        rows : sequence of int
            In order.
        behind : collection of int
            Rows whose arguments are not known yet.
        """
        size = self._tables.draft.rows
        arguments = np.zeros(size, f"S{ARGUMENTS_BYTES}")
        known = np.zeros(size, dtype=np.bool_)
        wanted: Iterable[int] = rows
        if self.are_numbered and rows:  # the others count, too
            wanted = (row for row in range(rows[-1] + 1) if row not in behind)
        for row in wanted:
            try:
                arguments[row] = self.arguments(row)
            except (UnhashableArgumentError, TableReferenceError):
                continue  # the call will say what is wrong, when it is this row's turn
            known[row] = True
        if self._job.deduplicate:
            data = arguments.tobytes()
        elif self.are_numbered:
            numbers = np.zeros(size, "<u8")
            numbers[known] = running_numbers(arguments[known])
            data = rows_inputs(arguments, numbers)
        else:
            data = rows_inputs(arguments, self._digests())
        asked = np.zeros(size, dtype=np.bool_)
        asked[rows] = True
        return RowInputs(data, known & asked)

    def of_table(self) -> Inputs:
        """Return the inputs of the one call for a whole table.

        Raises
        ------
        UnhashableArgumentError, TableReferenceError
            As `arguments`.
        """
        arguments = self.arguments(None)
        if self._job.kind == "index":
            return arguments + bytes(ROW_BYTES)
        rows = hashlib.blake2b(digest_size=ROW_BYTES)
        rows.update(self._tables.draft.rows.to_bytes(8, "little"))
        if self._key_columns:
            rows.update(self._digests().tobytes())
        return arguments + rows.digest()

    def _varies(self, node: Node) -> bool:
        """Return whether an argument may have another value in another row."""
        return any(
            read.by_row or any(whole.table == SELF for whole in read.wholes)
            for read in reads_of(node, self._tables.draft.names)
        )

    def _hash_constant(self) -> bytes:
        """Hash what is the same in all calls."""
        job = self._job
        call = compile_arguments(self._constant, self._tables, builder=job.name)
        added = [(name, repr(value)) for name, value in sorted(self._added.items())]
        facts = json.dumps([job.return_type, job.changed_columns, added])
        same = hash_values(call(None), self._file_text)
        return hashlib.blake2b(same + facts.encode(), digest_size=_SEED_BYTES).digest()

    def _digests(self) -> np.ndarray[Any, Any]:
        """Return the digests of the primary keys of all rows."""
        if self._row_digests is None:
            draft = self._tables.draft
            cells = (map(draft.in_order(name), range(draft.rows)) for name in self._key_columns)
            digests = map(row_digest, zip(*cells, strict=True))
            texts = np.fromiter(digests, f"S{ROW_BYTES}", draft.rows)
            self._row_digests = texts.view(f"V{ROW_BYTES}")  # one of them has its last zeros
        return self._row_digests
