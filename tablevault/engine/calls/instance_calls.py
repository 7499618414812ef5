"""Calls in the files of instances: their lookup, and the tables for a new instance."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.engine.calls.call_file import (
    SCHEMA,
    SHORTEST_S,
    Builders,
    CallFile,
    CallSource,
    CallSources,
    key_of,
    values_of,
)
from tablevault.engine.calls.keys import Inputs, RowInputs
from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.engine.matching import NEW_ROW, Mask, Rows
from tablevault.engine.row_values import RowResults, cell_columns, where

_ROWS_AT_ONCE: Final = 1 << 15
_ROWS_READ: Final = 1 << 12
"""Rows of one query: a record takes a kilobyte until it is part of an Arrow table."""
_COLUMNS: Final = (
    "c.inputs, k.digest, c.outcome,"
    " CASE WHEN ?5 AND c.outcome = 'ok' AND c.row >= 0 THEN NULL ELSE c.value END,"
    f" CASE WHEN c.duration_s >= {SHORTEST_S} THEN c.started_at END,"
    f" CASE WHEN c.duration_s >= {SHORTEST_S} THEN c.duration_s END,"
    " c.error, p.process, c.model, c.input_tokens, c.output_tokens, c.cost, c.files"
)
_ATTEMPTS: Final = "CASE WHEN c.attempts > 1 THEN c.attempts END"
_JOINED: Final = "JOIN codes k ON k.id = c.code LEFT JOIN processes p ON p.id = c.process"
_OF_BUILDER: Final = (
    f"SELECT c.row, {_COLUMNS}, NULL, {_ATTEMPTS} FROM calls c {_JOINED}"  # noqa: S608 - all parts are ours
    " WHERE c.execution = ?1 AND c.builder = ?2 AND c.row >= ?3 AND c.row < ?4"
    " AND (c.outcome != 'ok' OR c.row < 0 OR NOT EXISTS (SELECT 1 FROM calls d"
    " WHERE d.execution = ?1 AND d.builder = ?2 AND d.row = c.row"
    " AND d.id > c.id AND d.outcome = 'ok'))"
    f" UNION ALL SELECT f.row, {_COLUMNS}, c.instance, {_ATTEMPTS}"
    f" FROM found f JOIN calls c ON c.id = f.call {_JOINED}"
    " WHERE f.execution = ?1 AND f.builder = ?2 AND f.row >= ?3 AND f.row < ?4"
    " ORDER BY 1"
)
"""Parameters: execution, builder, first row, end of the rows, and whether to omit values."""
_WITHOUT_VALUES: Final[Mapping[str, Any]] = MappingProxyType({"is_exact": True})
_CACHED: Final = (
    "SELECT DISTINCT builder FROM calls WHERE execution = ? AND builder >= '@' AND builder < 'A'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """Rows of one builder that an execution keeps from an earlier instance.

    Attributes
    ----------
    source : CallSource
        The instance.
    rows : array of int64
        By row of the new table, the row of the instance, -1 for none.
    """

    source: CallSource
    rows: Rows


def held_calls(
    store: CallStore,
    execution: int,
    builders: Builders,
    rows: range,
    kept: Mapping[str, Sequence[KeptRows]],
) -> Iterator[pa.Table]:
    """Yield the calls of a finished execution, for the file of its instance.

    Parameters
    ----------
    store : CallStore
        The records.
    execution : int
        Its number.
    builders : mapping of str to mapping
        See `call_file.Builders`.
    rows : range
        Positions in the dataframe of the rows that were made; old rows may precede them.
    kept : mapping of str to sequence of KeptRows
        Rows kept from other instances, by builder.

    Yields
    ------
    pyarrow.Table
        Of schema `tablevault.engine.calls.call_file.SCHEMA`, by builder and row.
    """
    for table in _tables(store, execution, builders, len(rows), kept):
        row = table.column("row")
        moved = pc.if_else(pc.less(row, 0), row, pc.add(row, rows.start))
        yield _with(table, "row", moved)


def _tables(
    store: CallStore,
    execution: int,
    builders: Builders,
    rows: int,
    kept: Mapping[str, Sequence[KeptRows]],
) -> Iterator[pa.Table]:
    """Yield the same, with positions among the rows that were made."""
    for name, note in builders.items():
        yield from kept_calls(name, kept.get(name, ()), note)
        yield from _made(store, execution, name, rows, is_exact=note["is_exact"])
    for (name,) in store.read(_CACHED, (execution,)):
        yield from _made(store, execution, name, 0, is_exact=False)


def kept_calls(
    builder: str, kept: Sequence[KeptRows], note: Mapping[str, Any] = _WITHOUT_VALUES
) -> Iterator[pa.Table]:
    """Yield the calls of rows that a builder keeps from other instances, with their new rows.

    Parameters
    ----------
    builder : str
        Name of the builder.
    kept : sequence of KeptRows
        The rows.
    note : mapping of str to object
        See `call_file.Builders`; by default without values.
    """
    for each in kept:
        if (calls := each.source.calls()) is not None:
            yield _kept(builder, note, each, calls)


def _made(
    store: CallStore, execution: int, builder: str, rows: int, *, is_exact: bool
) -> Iterator[pa.Table]:
    """Yield the calls of a builder that the execution has made or found, in batches."""
    read = _read(store, execution, builder, rows, is_exact=is_exact)
    while some := list(islice(read, _ROWS_AT_ONCE // _ROWS_READ)):
        yield pa.concat_tables(some).unify_dictionaries().combine_chunks()


def _read(
    store: CallStore, execution: int, builder: str, rows: int, *, is_exact: bool
) -> Iterator[pa.Table]:
    """Yield the same in smaller batches."""
    for first in range(NO_ROW, max(rows, 0), _ROWS_READ):
        end = min(first + _ROWS_READ, rows)
        values = (execution, builder, first, end, is_exact)
        if found := store.read(_OF_BUILDER, values):
            columns = list(zip(*found, strict=True))
            made = [
                [builder] * len(found),
                columns[0],
                [key_of(inputs) for inputs in columns[1]],
                [code.hex() for code in columns[2]],
                *columns[3:],
            ]
            yield _table(made)


def _table(columns: list[Any]) -> pa.Table:
    """Convert columns of Python values to a table."""
    arrays = []
    for values, field in zip(columns, SCHEMA, strict=True):
        is_words = pa.types.is_dictionary(field.type)
        array = pa.array(values, pa.string() if is_words else field.type)
        arrays.append(array.dictionary_encode() if is_words else array)
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _kept(name: str, note: Mapping[str, Any], kept: KeptRows, calls: CallFile) -> pa.Table:
    """Return the calls of the rows that were kept, with their new rows."""
    of_rows = kept.rows
    new = np.flatnonzero(of_rows != NEW_ROW)
    places = calls.positions(name, int(of_rows.max(initial=NEW_ROW)) + 1)[of_rows[new]]
    new, places = new[places >= 0], places[places >= 0]
    if len(new) == len(of_rows):
        whole = calls.of_no_row(name)
        new = np.concatenate([np.full(len(whole), NO_ROW), new])
        places = np.concatenate([whole, places])
    table = calls.table.take(pa.array(places))
    table = _with(table, "row", pa.array(new, pa.int64()))
    instance = pc.fill_null(table.column("instance").cast(pa.string()), kept.source.instance)
    table = _with(table, "instance", instance.combine_chunks().dictionary_encode())
    if note["is_exact"] or not table.column("value").null_count:
        return table
    values = table.column("value").to_pylist()
    lacking = [at for at, value in enumerate(values) if value is None]
    cells = values_of(kept.source.frame(), note["columns"], of_rows[new[lacking]].tolist())
    for at, value in zip(lacking, cells, strict=True):
        values[at] = value
    return _with(table, "value", pa.array(values, pa.string()))


def _with(table: pa.Table, name: str, array: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return a table with one column replaced."""
    return table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), array)


_SAMPLE: Final = 500
"""Number of calls by which the instances are chosen that are searched."""


class InstanceCalls:
    """Finds calls in the files of instances, and records those that it finds.

    Parameters
    ----------
    store : CallStore
        Receives the calls that are found.
    sources : CallSources
        Instances; read until all calls are found.
    """

    def __init__(self, store: CallStore, sources: CallSources) -> None:
        self._store = store
        self._coming = chain([sources.origin] if sources.origin else [], sources.others)
        self._seen: list[CallSource] = []
        self._complete: set[str] | None = None
        self._lock = threading.RLock()

    def find(self, wanted: Iterable[Inputs], code: bytes | None) -> dict[bytes, CallRecord]:
        """Find calls, and record them."""
        missing = set(wanted)
        found: dict[bytes, CallRecord] = {}
        with self._lock:
            for source, calls in self._open():
                some = calls.find(missing, code, source.frame)
                if some:
                    frames = {call.inputs: calls.frame_of(call, source.frame) for call in some}
                    there = {key: frame for key, frame in frames.items() if frame is not None}
                    found |= self._take(source.instance, some, there, code)
                    missing -= frames.keys()
                if not missing:
                    break
        return found

    def keep(
        self, builder: str, inputs: RowInputs, results: RowResults, code: bytes | None
    ) -> Iterator[KeptRows]:
        """Yield rows of instances that hold results of calls, and fill these in; record nothing.

        A row whose cells are all null is left out: its call may have to be made again.
        """
        columns = results.names
        missing = np.flatnonzero(inputs.known)
        sample = [inputs[int(row)] for row in missing[:: len(missing) // _SAMPLE + 1]]
        for source, calls in self._open(self._store.holders(sample, code)):
            rows = np.full(len(inputs.known), NEW_ROW, dtype=np.int64)
            keys = (inputs[int(row)] for row in missing)
            rows[missing] = calls.rows_of(builder, columns, keys, code)
            if (rows == NEW_ROW).all() or (frame := source.frame()) is None:
                continue
            rows[~_has_values(frame, columns, rows)] = NEW_ROW
            new = where(rows != NEW_ROW)
            results.put_columns(new, cell_columns(frame, columns, rows[new]))
            yield KeptRows(source=source, rows=rows)
            missing = missing[rows[missing] == NEW_ROW]
            if not len(missing):
                return

    def has_unrecorded(self) -> bool:
        """Return whether the calls of some instance are not all recorded."""
        with self._lock:
            return next(self._open(), None) is not None

    def _take(
        self,
        instance: str,
        calls: Sequence[CallRecord],
        frames: Mapping[Inputs, pd.DataFrame],
        code: bytes | None,
    ) -> dict[bytes, CallRecord]:
        """Record calls of an instance, with the dataframes that they returned, and return them."""
        self._store.load(instance, calls, frames)
        return self._store.find([call.inputs for call in calls], code)

    def _open(self, named: Collection[str] = ()) -> Iterator[tuple[CallSource, CallFile]]:
        """Yield the files of the instances that are named, or whose calls are not all recorded."""
        if self._complete is None:
            self._complete = self._store.complete_instances()
        for source in self._instances():
            is_wanted = source.instance in named or source.instance not in self._complete
            if is_wanted and (calls := source.calls()) is not None:
                yield source, calls

    def _instances(self) -> Iterator[CallSource]:
        """Yield the instances; may be iterated several times."""
        yield from self._seen
        for source in self._coming:
            self._seen.append(source)
            yield source


def _has_values(frame: pd.DataFrame, columns: Sequence[str], rows: Rows) -> Mask:
    """Return for rows of a dataframe whether they exist and have a value."""
    if not set(columns) <= set(frame.columns):
        return np.zeros(len(rows), dtype=np.bool_)
    known = frame[list(columns)].notna().any(axis=1).to_numpy(np.bool_)
    has_values: Mask = (rows != NEW_ROW) & (rows < len(frame))
    has_values[has_values] = known[rows[has_values]]
    return has_values
