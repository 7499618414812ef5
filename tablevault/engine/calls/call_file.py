"""The calls that made an instance, in a Parquet file beside its dataframe: ``calls.parquet``.

One row for each call. The key of a call is its code, and a hash of its inputs. The file holds a
value only if the columns of the instance do not hold it exactly.

The metadata of the file has JSON under `METADATA`: ``{"version": 1, "digest": ..., "first_row":
..., "builders": {name: {"code": ..., "is_exact": ..., "columns": [...]}}}``. ``digest`` is that of
the dataframe; other builders made the rows before ``first_row``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.matching import Rows
from tablevault.engine.row_values import cells_of, decode_values, encode_values
from tablevault.errors import reason_of

METADATA: Final = b"tablevault.calls"
KEY_BYTES: Final = 10
SHORTEST_S: Final = 0.001
"""Start and duration are stored for calls that took at least so long."""

SCHEMA: Final = pa.schema(
    [
        ("builder", pa.dictionary(pa.int32(), pa.string())),
        ("row", pa.int64()),
        ("key", pa.binary(KEY_BYTES)),
        ("code", pa.dictionary(pa.int32(), pa.string())),
        ("outcome", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.string()),
        ("started_at", pa.float64()),
        ("duration_s", pa.float64()),
        ("error", pa.string()),
        ("process", pa.dictionary(pa.int32(), pa.string())),
        ("model", pa.dictionary(pa.int32(), pa.string())),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("files", pa.string()),
        ("instance", pa.dictionary(pa.int32(), pa.string())),
        ("attempts", pa.int32()),
    ]
)
"""Columns of the file. ``row`` is the row of the dataframe, below 0 for a call of no single row;
``key`` null for a call that is never reused; ``code`` hexadecimal; times in seconds since the
epoch; ``instance`` the instance for which the call was made, null for this one; ``attempts`` the
number of times that a function was called, null for one."""

_VERSION: Final = 1
_OUTCOMES: Final = frozenset({"ok", "error", "rejected"})
_ENCODINGS: Final = {"row": "DELTA_BINARY_PACKED", "key": "PLAIN", "started_at": "PLAIN"}
"""Encodings of columns with mostly distinct values; the others have dictionaries."""

Builders: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By builder its code, its columns, and whether these hold exactly the values returned."""


ReadFrame: TypeAlias = Callable[[], pd.DataFrame | None]
"""Reads the dataframe of an instance; None if it is missing."""


class CallFileError(Exception):
    """A file of calls cannot be used; the text says why."""


def key_of(inputs: bytes) -> bytes:
    """Hash the inputs of a call into its key in the file."""
    return hashlib.blake2b(inputs, digest_size=KEY_BYTES).digest()


def _keys_of(inputs: Iterable[bytes]) -> pa.FixedSizeBinaryArray:
    """Hash the inputs of many calls; Python objects would take six times the memory."""
    keys = np.fromiter(map(key_of, inputs), f"S{KEY_BYTES}")
    parts = [None, pa.py_buffer(keys)]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(keys), parts)


def write_calls(
    tables: Iterable[pa.Table],
    sink: IO[bytes],
    digest: str,
    builders: Builders,
    first_row: int = 0,
) -> bool:
    """Write the calls of an instance, and return whether there are any.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        Of schema `SCHEMA`, by builder and row; each becomes a row group, and the next one is
        consumed when it is written.
    sink : binary file
        Receives the bytes; stays open.
    digest : str
        Logical digest of the dataframe.
    builders : mapping of str to mapping
        See `Builders`.
    first_row : int
        The first row of the dataframe that these builders made.
    """
    note = {"version": _VERSION, "digest": digest, "first_row": first_row, "builders": builders}
    with pq.ParquetWriter(
        sink,
        SCHEMA.with_metadata({METADATA: json.dumps(note).encode()}),
        compression="zstd",
        use_dictionary=[name for name in SCHEMA.names if name not in _ENCODINGS],
        column_encoding=_ENCODINGS,
        write_statistics=False,
    ) as writer:
        has_calls = False
        for table in tables:
            writer.write_table(table)
            has_calls = has_calls or bool(len(table))
    return has_calls


class CallFile:
    """The calls of one instance, read from its file.

    Parameters
    ----------
    table : pyarrow.Table
        Of schema `SCHEMA`.
    builders : mapping of str to mapping
        See `Builders`.
    first_row : int
        The first row of the dataframe that these builders made.
    """

    def __init__(self, table: pa.Table, builders: Builders, first_row: int) -> None:
        self.table = table
        self._first_row = first_row
        self.builders = builders
        self._keys = table.column("key")

    @classmethod
    def read(cls, path: Path, digest: str) -> CallFile:
        """Read a file that belongs to the dataframe with this digest.

        It may be untrusted input: it is validated, and nothing in it is executed.

        Raises
        ------
        CallFileError
            It is damaged, belongs to another dataframe, or is of a later release.
        """
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
            note = json.loads((file.schema_arrow.metadata or {})[METADATA])
            if note["version"] != _VERSION:
                raise CallFileError(f"it is of version {note['version']!r}")
            if note["digest"] != digest:
                raise CallFileError("it belongs to another dataframe")
            builders = _checked_builders(note["builders"])
            first_row = max(0, operator.index(note["first_row"]))
            table = file.read().unify_dictionaries()
            table.validate(full=True)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise CallFileError(
                f"it is damaged ({type(error).__name__}: {reason_of(error)})"
            ) from error
        if not table.schema.equals(SCHEMA):
            raise CallFileError("its columns are others")
        outcomes = pc.unique(table.column("outcome").cast(pa.string())).to_pylist()
        if not set(outcomes) <= _OUTCOMES:
            raise CallFileError("an outcome is unknown")
        return cls(table, builders, first_row)

    def positions(self, builder: str, rows: int) -> Rows:
        """Return for each row the position in the file of the call that made it, -1 for none."""
        places, of_rows = self._of(builder)
        fits = (of_rows >= 0) & (of_rows < rows)
        found = np.full(rows, -1, dtype=np.int64)
        found[of_rows[fits]] = places[fits]
        return found

    def of_no_row(self, builder: str) -> Rows:
        """Return the positions in the file of the calls of a builder for no single row."""
        places, of_rows = self._of(builder)
        return places[of_rows < 0]

    def _of(self, builder: str, *more: pa.ChunkedArray) -> tuple[Rows, Rows]:
        """Return positions and rows of the successful calls of a builder that meet conditions."""
        rows = self.table.column("row")
        is_success = (
            pc.equal(self.table.column("builder").cast(pa.string()), builder),
            pc.equal(self.table.column("outcome").cast(pa.string()), "ok"),
        )
        places = _places(functools.reduce(pc.and_, [*is_success, *more], pc.is_valid(rows)))
        return places, rows.take(pa.array(places)).to_numpy()

    def rows_of(
        self, builder: str, columns: Sequence[str], inputs: Iterable[bytes], code: bytes | None
    ) -> Rows:
        """Return the rows of the dataframe that hold exactly the results of calls.

        Parameters
        ----------
        builder : str
            Name of the builder that made the calls.
        columns : sequence of str
            Its columns; nothing is found if it filled others.
        inputs : sequence of bytes
            Inputs of calls.
        code : bytes, optional
            Digest of the code; any code when None.

        Returns
        -------
        array of int64, shape (len(inputs),)
            -1 if no call was found, or the file holds its value.
        """
        wanted = _keys_of(inputs)
        found = np.full(len(wanted), -1, dtype=np.int64)
        note = self.builders.get(builder)
        if note is None or not note["is_exact"] or list(note["columns"]) != list(columns):
            return found
        chosen = self.table.column("value").is_null()
        if code is not None:
            is_code = pc.equal(self.table.column("code").cast(pa.string()), code.hex())
            chosen = pc.and_(chosen, is_code)
        places, rows = self._of(builder, chosen)
        places, rows = places[rows >= 0], rows[rows >= 0]
        keys = self._keys.take(pa.array(places))
        at = pc.index_in(wanted, value_set=keys).fill_null(-1).to_numpy()
        found[at >= 0] = rows[at[at >= 0]]
        return found

    def find(
        self,
        wanted: Iterable[bytes],
        code: bytes | None,
        frame: ReadFrame,
    ) -> list[CallRecord]:
        """Find calls with a result.

        Parameters
        ----------
        wanted : iterable of bytes
            Inputs of calls.
        code : bytes, optional
            Digest of the code; any code when None.
        frame : callable
            See `ReadFrame`; called only if needed.

        Returns
        -------
        list of CallRecord
            With the given inputs.
        """
        inputs = {key_of(each): each for each in wanted}
        keys = pa.array(inputs, pa.binary(KEY_BYTES))
        places = _places(pc.is_in(self._keys, value_set=keys))
        calls = []
        for call in self.table.take(pa.array(places)).to_pylist():
            digest = _digest_of(call["code"])
            is_wanted = call["outcome"] != "error" and code in (None, digest)
            if is_wanted and digest is not None and self._is_sound(call):
                calls.append(call | {"code": digest})
        self._fill(calls, frame)
        return [_record(call, inputs[call["key"]]) for call in calls if call["value"] is not None]

    def frame_of(self, call: CallRecord, frame: ReadFrame) -> pd.DataFrame | None:
        """Return the dataframe that a call returned; None if it returned none, or it is missing."""
        note = self.builders.get(call.builder)
        if call.row != NO_ROW or call.value != "[]" or note is None or not note["is_exact"]:
            return None
        columns = list(note["columns"])
        whole = frame()
        if whole is None or not columns or not set(columns) <= set(whole.columns):
            return None
        return whole[columns].iloc[self._first_row :].reset_index(drop=True)

    def _is_sound(self, call: Mapping[str, Any]) -> bool:
        """Return whether a record, which may be untrusted input, can be used."""
        if call["builder"] is None or call["row"] is None:
            return False
        if call["value"] is None:
            return True
        try:
            values = decode_values(call["value"])
        except Exception:  # noqa: BLE001 - untrusted input
            return False
        note = self.builders.get(call["builder"])
        return note is None or call["row"] < 0 or len(values) == len(note["columns"])

    def _fill(self, calls: Sequence[dict[str, Any]], frame: ReadFrame) -> None:
        """Fill in values from the columns of the instance; None if the row is missing."""
        lacking: dict[str, list[dict[str, Any]]] = {}
        for call in calls:
            if call["value"] is None and call["row"] >= 0:
                lacking.setdefault(call["builder"], []).append(call)
        for builder, some in lacking.items():
            note = self.builders.get(builder)
            if note is not None and note["is_exact"]:
                texts = values_of(frame(), note["columns"], [call["row"] for call in some])
                for call, text in zip(some, texts, strict=True):
                    call["value"] = text


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSource:
    """An instance whose calls may be reused.

    Attributes
    ----------
    instance : str
        Its id.
    calls : callable
        Reads its file; None if it has none, or it is not in the object store.
    frame : callable
        See `ReadFrame`.
    """

    instance: str
    calls: Callable[[], CallFile | None]
    frame: ReadFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSources:
    """Instances whose calls an execution may reuse.

    Attributes
    ----------
    origin : CallSource, optional
        The instance that it updates.
    others : iterable of CallSource
        Read until all calls are found.
    """

    origin: CallSource | None = None
    others: Iterable[CallSource] = ()


FindSource: TypeAlias = Callable[[str], CallSource | None]
"""Finds an instance by its id; None if it was deleted, or its dataframe is missing."""


def values_of(
    frame: pd.DataFrame | None, columns: Sequence[str], rows: Sequence[int]
) -> list[str | None]:
    """Encode the cells of rows as the values of calls; None for a row that does not exist."""
    if frame is None or not set(columns) <= set(frame.columns):
        return [None] * len(rows)
    there = [row for row in rows if row < len(frame)]
    cells = cells_of(frame, columns, np.array(there, dtype=np.int64))
    texts = dict(zip(there, map(encode_values, cells), strict=True))
    return [texts.get(row) for row in rows]


def _record(call: Mapping[str, Any], inputs: bytes) -> CallRecord:
    """Make a record of a row of the file."""
    fields = {name: call[name] for name in CallRecord._fields if name in call}
    fields |= {name: _seconds(call[name]) for name in ("started_at", "duration_s")}
    return CallRecord(**fields | {"id": 0, "inputs": inputs, "attempts": call["attempts"] or 1})


def _places(chosen: pa.ChunkedArray) -> Rows:
    """Return the positions where a condition is true."""
    # `pyarrow.compute.indices_nonzero` crashes without chunks (pyarrow 21).
    return np.flatnonzero(chosen.to_numpy().astype(np.bool_)).astype(np.int64)


def _seconds(value: float | None) -> float:
    """Return a time; 0.0 if it is null or not finite."""
    return value if value is not None and math.isfinite(value) else 0.0


def _digest_of(code: str) -> bytes | None:
    """Decode a code digest; None if it is invalid."""
    try:
        return bytes.fromhex(code)
    except (ValueError, TypeError):
        return None


def _checked_builders(note: object) -> Builders:
    """Validate the builders in the metadata.

    Raises
    ------
    TypeError, KeyError, ValueError
        They have another form.
    """
    if not isinstance(note, dict):
        raise TypeError("builders")
    for each in note.values():
        columns = each["columns"]
        if not (isinstance(each["code"], str) and isinstance(each["is_exact"], bool)):
            raise TypeError("code")
        if not (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
            raise TypeError("columns")
        bytes.fromhex(each["code"])
    return note
