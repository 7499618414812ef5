"""Dataframe files: Parquet that any reader understands, and that gives back every dtype.

What Arrow types cannot say stands in the file's metadata under `parquet_metadata.KEY`, as JSON
``{"version": 1, "columns": [...]}`` with one entry a column: ``dtype``, ``form``, ``facts``, and
for categories ``words``, their column as an Arrow stream. JSON over 32 MiB goes on under the key
with ``.1``, ``.2`` and so forth behind it. A file without the key is foreign; it is read to
nullable dtypes.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.frames.column_decoding import decode_column, foreign_column
from tablevault.frames.column_encoding import StoredColumn, encode_column, whole_array
from tablevault.frames.digest import digest_frame
from tablevault.frames.dtypes import dtype_name
from tablevault.frames.parquet_metadata import VERSION, part_key, read_facts

Metadata: TypeAlias = dict[bytes, bytes] | None
_ROWS_PER_GROUP = 1 << 20
"""Large, since each group repeats its dictionaries, and its border hinders deduplication."""
_ROWS_PER_BATCH = 1 << 16
_DICTIONARY_BYTES = 1 << 19
"""Half of Parquet's default: of a column with distinct values, all that goes into a dictionary is
wasted, and Arrow takes 40 MB more memory for it at the default."""
_NAMES_SHOWN = 20
_PART = 1 << 25
"""Characters of JSON under one key. Arrow refuses to read a file with an entry over 100 MB, which
a column with some millions of categories would have."""
_FEW_CELLS = 200_000
_FEW_BYTES = 2 << 20


def pandas_metadata(frame: pd.DataFrame, columns: Sequence[StoredColumn]) -> Metadata:
    """Return metadata for an Arrow schema, in the form of pandas; None if there is no need.

    See "Storing pandas DataFrame objects in Apache Parquet format" in the developer guide of
    pandas. Only columns are listed that pandas would take for another dtype.

    Parameters
    ----------
    frame : DataFrame
        Names are text.
    columns : sequence of StoredColumn
        The columns of `frame`, in order.
    """
    listed = [
        {"name": name, "field_name": name, "pandas_type": "object", "numpy_type": found}
        for name, dtype, stored in zip(frame.columns, frame.dtypes, columns, strict=True)
        if (found := _dtype_to_make(dtype, stored))
    ]
    if not listed:
        return None
    text = json.dumps(
        {
            "index_columns": [
                {"kind": "range", "name": None, "start": 0, "stop": len(frame), "step": 1}
            ],
            "column_indexes": [],
            "columns": listed,
            "creator": {"library": "tablevault", "version": "1"},
            "pandas_version": "2.2.0",
        },
        separators=(",", ":"),
    )
    return {b"pandas": text.encode("ascii")}


def _dtype_to_make(dtype: Any, stored: StoredColumn) -> str | None:  # noqa: ANN401 - any dtype
    """Return the name of the dtype that pandas has to know, None for none."""
    if stored.form in ("objects", "category"):
        is_whole = pa.types.is_integer(stored.array.type)
        return "Int64" if is_whole and stored.array.null_count else None  # floats would round
    if stored.form == "artifact" or (stored.form == "string" and stored.facts["na"] == "NA"):
        return "string"  # artifact_string is known only where this package is imported
    if isinstance(dtype, pd.IntervalDtype) or not hasattr(dtype, "__from_arrow__"):
        return None
    name = str(dtype)
    try:
        return name if pd.api.types.pandas_dtype(name) == dtype else None
    except (TypeError, ValueError, NotImplementedError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFile:
    """What was written."""

    rows: int
    dtypes: Mapping[str, str]
    """Name of the dtype of each column, in column order."""
    digest: str
    """Logical hash, ``"v1:"`` and hexadecimal digits; see `tablevault.frames.digest`."""


def write_frame(frame: pd.DataFrame, sink: IO[bytes]) -> FrameFile:
    """Write a dataframe as Parquet, so that `read_frame` gives it back with dtypes and nulls.

    The index is not written. The same frame gives the same bytes, with one version of pyarrow.

    Parameters
    ----------
    frame : pandas.DataFrame
        At least one column; names are distinct text. Not changed.
    sink : binary file, BinaryIO or any IO[bytes]
        Receives the bytes in order through ``write``; stays open.

    Returns
    -------
    FrameFile
        Number of rows, names of dtypes, logical hash.

    Raises
    ------
    TVArgumentError
        There is no column, or a name is no text, is not Unicode, or occurs twice.
    TVTableError
        A column has a dtype or a value that cannot be stored; names column, row and type.
    """
    names = _check_names(frame)
    columns = [
        (name, _name_of(values.dtype), encode_column(values, name))
        for name, (_, values) in zip(names, frame.items(), strict=True)
    ]
    facts = [_facts(dtype, stored) for _, dtype, stored in columns]
    key = json.dumps({"version": VERSION, "columns": facts}, separators=(",", ":"))
    table = pa.table([stored.array for _, _, stored in columns], names=names)
    table = table.replace_schema_metadata(pandas_metadata(frame, [each for _, _, each in columns]))
    # Both release the interpreter lock for most of their time.
    with ThreadPoolExecutor(max_workers=1) as beside:
        digest = beside.submit(digest_frame, columns, len(frame))
        _write_table(table, key.encode("ascii"), sink)
        file = FrameFile(
            rows=len(frame),
            dtypes={name: dtype for name, dtype, _ in columns},
            digest=digest.result(),
        )
    pa.default_memory_pool().release_unused()  # some 60 MB, which Arrow would keep for later
    return file


def read_frame(
    source: Path | BinaryIO, *, columns: Sequence[str] | None = None, rows: int | None = None
) -> pd.DataFrame:
    """Read a dataframe file as it was written, dtypes and nulls included.

    Parameters
    ----------
    source : pathlib.Path or binary file
        A Parquet file, of `write_frame` or foreign.
    columns : sequence of str, optional
        The columns to read from disk, in this order; all when None.
    rows : int, optional
        First `rows` rows, at least 0; all when None.

    Returns
    -------
    pandas.DataFrame
        Shape (min(rows, rows in file), len(columns)), RangeIndex from 0, memory of its own.

    Raises
    ------
    TVTableError
        Not Parquet or damaged; a column is missing or asked for twice; `rows` is negative.
    TVFormatError
        Written by a newer release.
    """
    if rows is not None and rows < 0:
        raise TVTableError(f"Cannot read {rows} rows.", "Ask for 0 or more.", rows=rows)
    with _opened(source, pre_buffer=rows is None, page_checksum_verification=True) as file:
        return _read(file, source, columns, rows)


def _unreadable(path: Path | BinaryIO, problem: Exception) -> TVTableError:
    """Describe why a dataframe file cannot be read."""
    if isinstance(problem, PermissionError):
        return TVTableError(
            f'"{path}" cannot be read: you have no permission.',
            f"Its owner can give it: chmod a+r {shlex.quote(str(path))}",
            path=str(path),
        )
    return TVTableError(
        f'"{path}" cannot be read as a dataframe file: {problem}',
        "It is damaged or not Parquet; restore it from the history or write it again.",
        path=str(path),
    )


@contextmanager
def _opened(where: Path | BinaryIO, **options: bool) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, with `options` of pyarrow; whatever is wrong with it is one error."""
    with contextlib.ExitStack() as stack:
        source: Path | IO[bytes] = where
        try:
            try:
                str(where).encode("utf-8")
            except UnicodeEncodeError:  # pyarrow takes no such path
                assert isinstance(where, Path)
                source = stack.enter_context(where.open("rb"))
            yield stack.enter_context(pq.ParquetFile(source, **options))
        except (pa.ArrowException, OSError, *_DAMAGE) as problem:
            raise _unreadable(where, problem) from problem


def read_form(source: Path) -> tuple[int, dict[str, str]]:
    """Return the number of rows and the dtype names of a dataframe file, without reading values.

    Returns
    -------
    tuple of int and dict
        Number of rows; name of the dtype of each column, "" where the file does not say.

    Raises
    ------
    TVTableError
        Not Parquet or damaged.
    TVFormatError
        Written by a newer release.
    """
    with _opened(source) as file:
        names = file.schema_arrow.names
        facts = read_facts(file.metadata.metadata or {}, names, source) or {}
        dtypes = {name: str(facts[name]["dtype"]) if facts else "" for name in names}
        return file.metadata.num_rows, dtypes


_DAMAGE = (
    *(KeyError, ValueError, TypeError, AssertionError, IndexError, AttributeError),
    *(ArithmeticError, RecursionError),
)


def _check_names(frame: pd.DataFrame) -> list[str]:
    """Refuse names that a file could not give back."""
    names = list(frame.columns)
    if not names:
        raise TVArgumentError("A dataframe without columns cannot be stored.", "Add a column.")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise TVArgumentError(
                f"Column name {name!r} is no text.",
                "Rename the column: frame.columns = frame.columns.astype(str).",
                column=str(name),
            )
        if name in seen:
            raise TVArgumentError(
                f'Column name "{name}" occurs twice.', "Rename one of them.", column=name
            )
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as problem:
            raise TVArgumentError(
                f"Column name {name!r} is not valid Unicode.", "Rename the column.", column=name
            ) from problem
        seen.add(name)
    return [str(name) for name in names]


def _name_of(dtype: Any) -> str:  # noqa: ANN401 - numpy's and pandas' dtypes
    """Name a dtype; bytes of either order are one dtype here, the native one."""
    return dtype_name(dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype)


def _facts(dtype: str, stored: StoredColumn) -> dict[str, Any]:
    """Describe how a column comes back."""
    facts: dict[str, Any] = {"dtype": dtype, "form": stored.form, "facts": dict(stored.facts)}
    if stored.categories is not None:
        stream = pa.BufferOutputStream()
        words = pa.table([whole_array(stored.categories.array)], names=["words"])
        with pa.ipc.new_stream(
            stream, words.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_table(words)
        facts["words"] = _facts("", stored.categories) | {
            "stream": base64.b64encode(stream.getvalue()).decode("ascii")
        }
    return facts


class _Shield:
    """Keeps a failure of the caller's sink from Arrow, which would end the whole process.

    With content-defined chunking an error within a column, be it a full disk or Ctrl-C, meets a
    check in C++ that aborts (column_writer.cc; seen with pyarrow 21 and 26).
    """

    closed = False

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Hand on; after a failure, let the rest go."""
        if self.failure is None:
            try:
                self._sink.write(data)
            except BaseException as problem:  # noqa: BLE001 - raised again by `_write_table`
                self.failure = problem
        return len(data)

    def flush(self) -> None:
        """Leave flushing to the owner of the sink."""

    def close(self) -> None:
        """Leave the caller's sink open."""


def _write_table(table: pa.Table, key: bytes, sink: IO[bytes]) -> None:
    """Write all row groups, and the facts."""
    shield = _Shield(sink)
    parts = [key[start : start + _PART] for start in range(0, len(key), _PART)]
    try:
        # No BufferedOutputStream between: it would close the sink when it goes.
        with pq.ParquetWriter(
            pa.PythonFile(shield, mode="w"),
            table.schema,
            compression="zstd",
            use_content_defined_chunking=True,
            write_page_checksum=True,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        ) as writer:
            # Not in the schema, as what is for pandas: that is written twice, and pyarrow would
            # copy it, no longer true, into files made from this one.
            writer.add_key_value_metadata({part_key(n): part for n, part in enumerate(parts)})
            for start in range(0, max(table.num_rows, 1), _ROWS_PER_GROUP):
                if shield.failure is None:
                    writer.write_table(table.slice(start, _ROWS_PER_GROUP))
    except pa.ArrowException as problem:
        raise TVTableError(
            f"Parquet cannot hold this dataframe: {problem}",
            "Convert nested columns to simpler types.",
        ) from problem
    if shield.failure is not None:
        raise shield.failure


def _read(
    file: pq.ParquetFile, source: Path | BinaryIO, columns: Sequence[str] | None, rows: int | None
) -> pd.DataFrame:
    """Read the wanted part of an open file."""
    schema = file.schema_arrow
    names = schema.names
    stored = read_facts(file.metadata.metadata or {}, names, source)
    if len(set(names)) < len(names):
        raise TVTableError(f'"{source}" has two columns of one name.', path=str(source))
    wanted = names if columns is None else check_wanted(columns, names)
    table = _read_groups(file, None if columns is None else wanted, rows)
    index = pd.RangeIndex(table.num_rows)
    arrays = {
        name: _kept(decode_stored(table.column(name), stored and stored[name]), index)
        for name in wanted
    }
    return pd.DataFrame(arrays, index=index, copy=False)  # `columns` would look at every value


def _kept(values: Any, index: pd.RangeIndex) -> Any:  # noqa: ANN401 - any pandas array
    """Keep objects from becoming text or dates, which DataFrame would make of an array."""
    if values.dtype == object:
        return pd.Series(values, index=index, dtype=object, copy=False)
    return values


def check_wanted(columns: Sequence[str], names: list[str]) -> list[str]:
    """Refuse columns that the file lacks or that are asked for twice."""
    known, seen = set(names), set[str]()
    for name in columns:
        if name in seen:
            raise TVTableError(f'Column "{name}" is asked for twice.', column=name)
        if name not in known:
            near = difflib.get_close_matches(str(name), names, n=1)
            meant = f'Did you mean "{near[0]}"? ' if near else ""
            shown = ", ".join(f'"{known}"' for known in names[:_NAMES_SHOWN])
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            raise TVTableError(
                f'There is no column "{name}".', f"{meant}There are {shown}{more}.", column=name
            )
        seen.add(name)
    return list(columns)


def _read_groups(file: pq.ParquetFile, columns: list[str] | None, rows: int | None) -> pa.Table:
    """Read only the columns and the pages that are needed."""
    if rows is None:
        return file.read(columns=columns)
    batches, found = [], 0
    if rows:  # batches decode only pages as far as they are needed
        for batch in file.iter_batches(min(rows, _ROWS_PER_BATCH), columns=columns):
            batches.append(batch)
            found += batch.num_rows
            if found >= rows:
                break
    if not batches:
        return file.schema_arrow.empty_table()
    return pa.Table.from_batches(batches).slice(0, min(rows, found))


def decode_stored(array: pa.ChunkedArray, facts: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - any pandas array
    """Rebuild a column, one of a foreign file as well as can be."""
    if facts is None:
        return decode_column(foreign_column(array))
    words = None
    if "words" in facts:
        inner = facts["words"]
        with pa.ipc.open_stream(base64.b64decode(inner["stream"])) as stream:
            column = stream.read_all().column(0)
        column.validate(full=True)  # damaged offsets would make Arrow read anywhere
        words = StoredColumn(form=inner["form"], array=column, facts=inner["facts"])
    return decode_column(
        StoredColumn(form=facts["form"], array=array, facts=facts["facts"], categories=words)
    )


@dataclass
class FrameColumns:
    """The columns of one file; a column is read each time it is asked for.

    A small file is read once: to open it costs more than to hold it.
    """

    path: Path
    rows: int = field(init=False)
    names: tuple[str, ...] = field(init=False)
    _facts: Mapping[str, Any] | None = field(init=False)
    _is_small: bool = field(init=False)
    _held: pa.Table | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Read what stands at the end of the file."""
        with _opened(self.path, page_checksum_verification=True) as file:
            self.rows = file.metadata.num_rows
            self.names = tuple(file.schema_arrow.names)
            self._types = file.schema_arrow.types
            sizes = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
            self._is_small = (
                self.rows * len(self.names) <= _FEW_CELLS
                and sum(size.total_byte_size for size in sizes) <= _FEW_BYTES
            )
            self._facts = read_facts(file.metadata.metadata or {}, list(self.names), self.path)

    @cached_property
    def dtypes(self) -> Mapping[str, str]:
        """Name of the dtype of each column."""
        return {
            name: str(kind if self._facts is None else self._facts[name]["dtype"])
            for name, kind in zip(self.names, self._types, strict=True)
        }

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        """Name of the Arrow type of each column; to look for a name takes long where many are."""
        return dict(zip(self.names, map(str, self._types), strict=True))

    def rule(self, name: str) -> tuple[str, object, object]:
        """Return Arrow type and facts, which say what stored cells mean, and the categories."""
        kind = self._kinds[name]
        facts = dict(self._facts[name]) if self._facts is not None else {}
        words = facts.pop("words", None)
        return kind, facts, words

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column in its stored form."""
        if self._held is None:
            wanted = None if self._is_small else [name]
            with _opened(self.path, page_checksum_verification=True) as file:
                # Threads share columns out between them: for one, they only cost.
                read = file.read(columns=wanted, use_threads=False)
            if not self._is_small:
                return read.column(name)
            self._held = read
        return self._held.column(name)

    def frame(self, places: Sequence[int] | np.ndarray[Any, Any]) -> pd.DataFrame:
        """Read rows; the index, named ``row``, says where they stand."""
        return pd.DataFrame(
            {name: self.cells(name, places) for name in self.names},
            index=pd.Index(np.asarray(places, dtype=np.int64), name="row"),
        )

    def cells(self, name: str, places: Sequence[int] | np.ndarray[Any, Any]) -> pd.Series:
        """Read cells of one column, at index ``row``."""
        taken = self.column(name).take(pa.array(places, pa.int64()))
        index = pd.Index(np.asarray(places, dtype=np.int64), name="row")
        values = decode_stored(taken, self._facts and self._facts[name])
        dtype = object if values.dtype == object else None  # else pandas would guess another
        return pd.Series(values, index=index, name=name, dtype=dtype)
