r"""A dataframe file as lines of text for git to compare: one line a row, by pyarrow alone.

Two lines that begin with ``#`` say which columns there are and how many rows. Then comes a line
for each row, its cells between tabs, written as by PostgreSQL's COPY: ``\N`` is a null; ``\t``,
``\n``, ``\r`` and ``\\`` stand for that character, ``\x1b`` and the like for all others that would
move a cursor. A row that begins with ``#`` has a backslash before it. Floats have all digits. Of
a very long cell its begin is shown, its length, and the start of the sha256 of its text.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from tablevault.frames.parquet_metadata import read_facts

MOST_ROWS = 20_000
MOST_BYTES = 8 << 20
LONGEST_CELL = 2_000
_MOST_CELLS = 400_000
NULL = "\\N"
_SPECIAL = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - counts are shown in UTC, naive ones as they are
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def frame_lines(path: str) -> tuple[list[str], int]:
    """Format a dataframe file as lines.

    Parameters
    ----------
    path : str
        A Parquet file.

    Returns
    -------
    list of str
        Lines without their ends, at most `MOST_ROWS` rows and about `MOST_BYTES`.
    int
        Number of rows that are not shown.

    Raises
    ------
    pyarrow.ArrowException, OSError, KeyError, ValueError, TypeError
        The file is no Parquet, or damaged.
    """
    reader = _open(path)
    schema = reader.schema_arrow
    metadata = reader.metadata
    facts = read_facts(metadata.metadata or {}, schema.names, path) or {}
    names = [
        f"{escape(field.name)} ({facts.get(field.name, {}).get('dtype') or field.type})"
        for field in schema
    ]
    lines = [f"# columns: {', '.join(names)}", f"# rows: {metadata.num_rows}"]
    most = max(1, min(MOST_ROWS, _MOST_CELLS // max(1, len(names))))
    shown = _append_rows(lines, reader, min(most, metadata.num_rows))
    return lines, metadata.num_rows - shown


def escape(text: str) -> str:
    """Escape text so that it stays within its cell and its line, and moves no cursor."""
    return _SPECIAL.sub(_escaped, text)


def _open(path: str) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """Open a Parquet file; `pyarrow.parquet` would take longer to load than most files to read."""
    from pyarrow._parquet import ParquetReader

    reader = ParquetReader()
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:  # pyarrow takes no such path
        reader.open(open(path, "rb"))  # noqa: PTH123, SIM115 - closed with the reader
    else:
        reader.open(path)
    return reader


def _append_rows(lines: list[str], reader: Any, wanted: int) -> int:  # noqa: ANN401 - as above
    """Append the lines of the first `wanted` rows, as far as there is room; count them."""
    shown = size = 0
    if not wanted:
        return 0
    for batch in reader.iter_batches(wanted, list(range(reader.num_row_groups))):
        for line in row_lines(batch):
            size += len(line) + 1
            if shown == wanted or size > MOST_BYTES:
                return shown
            lines.append(line)
            shown += 1
    return shown


def row_lines(batch: pa.RecordBatch) -> Iterator[str]:
    """Return the line of each row."""
    for line in map("\t".join, zip(*map(_cells, batch.columns), strict=True)):
        yield f"\\{line}" if line.startswith("#") else line


def _cells(array: pa.Array) -> list[str]:
    """Format the cells of a column."""
    if pa.types.is_dictionary(array.type):  # to decode it would load pyarrow.compute
        words = _cells(array.dictionary)
        return [NULL if place is None else words[place] for place in array.indices.to_pylist()]
    values_of, write = _rule(array.type)
    values = values_of(array)
    if write is escape and not _SPECIAL.search("".join(filter(None, values))):
        write = str  # most columns hold nothing special
    cells = [NULL if value is None else write(value) for value in values]
    if max(map(len, cells), default=0) > LONGEST_CELL:
        cells = [cell if len(cell) <= LONGEST_CELL else _cut(cell) for cell in cells]
    return cells


def _cut(cell: str) -> str:
    """Keep the begin of a long cell, and a hash of all of it, so that any change shows."""
    digest = hashlib.sha256(cell.encode("utf-8", "replace")).hexdigest()
    return f"{cell[:LONGEST_CELL]}... ({len(cell)} characters, sha256 {digest[:16]})"


_Values = Callable[[pa.Array], list[Any]]
_Write = Callable[[Any], str]


def _rule(kind: pa.DataType) -> tuple[_Values, _Write]:
    """Choose how to take values out of an array, and how to write one."""
    if pa.types.is_temporal(kind):
        return _counts, _TEMPORAL.get(kind.id, _count)(kind)
    for fits, write in _RULES:
        if fits(kind):
            return _values, write
    return (
        (_nested, _json)
        if pa.types.is_nested(kind)
        else (_values, lambda value: escape(str(value)))
    )


def _values(array: pa.Array) -> list[Any]:
    """Take values out as objects of Python, None for null."""
    values: list[Any] = array.to_pylist()
    return values


def _counts(array: pa.Array) -> list[Any]:
    """Take what is temporal out as counts: Python has no nanoseconds, and no year 10000."""
    return _values(array.view(_countable(array.type)))


def _nested(array: pa.Array) -> list[Any]:
    """Take out lists, structs and maps; instants in them as counts, as Python has not all."""
    countable = _countable(array.type)
    return _values(array if countable == array.type else array.cast(countable))


def _countable(kind: pa.DataType) -> pa.DataType:
    """Return a nested type with counts for all that is temporal."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_countable(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_countable(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_countable(kind.key_type), _countable(kind.item_type))
    if not pa.types.is_temporal(kind):
        return kind
    return pa.int32() if kind.bit_width == 32 else pa.int64()  # noqa: PLR2004 - date32, time32


def _json(value: object) -> str:
    """Format a nested value."""
    return escape(json.dumps(value, ensure_ascii=False, default=str))


def _count(kind: pa.DataType) -> _Write:
    """Format a duration: a number with its unit."""
    return lambda count: f"{count} {kind.unit}"


def _instant(kind: pa.DataType) -> _Write:
    """Format a timestamp, in UTC when it has a zone."""
    per_second = _PER_SECOND[kind.unit]
    digits = len(str(per_second)) - 1
    end = "" if kind.tz is None else "Z"

    def write(count: int) -> str:
        seconds, rest = divmod(count, per_second)
        fraction = f".{rest:0{digits}}" if rest else ""
        try:
            return f"{_EPOCH + dt.timedelta(seconds=seconds)}{fraction}{end}"
        except OverflowError:
            return f"{count} {kind.unit}"

    return write


def _time(kind: pa.DataType) -> _Write:
    """Format a time of day."""
    write = _instant(pa.timestamp(kind.unit))
    return lambda count: write(count).partition(" ")[2]


def _day(kind: pa.DataType) -> _Write:
    """Format a date, which Arrow counts in days or milliseconds."""
    per_day = 1 if pa.types.is_date32(kind) else 86_400_000

    def write(count: int) -> str:
        try:
            return f"{_EPOCH.date() + dt.timedelta(days=count // per_day)}"
        except OverflowError:
            return str(count)

    return write


_TEMPORAL: dict[int, Callable[[pa.DataType], _Write]] = {
    pa.timestamp("s").id: _instant,
    pa.time32("s").id: _time,
    pa.time64("us").id: _time,
    pa.date32().id: _day,
    pa.date64().id: _day,
}

_RULES: tuple[tuple[Callable[[pa.DataType], bool], _Write], ...] = (
    (pa.types.is_string, escape),
    (pa.types.is_large_string, escape),
    (pa.types.is_floating, repr),
    (pa.types.is_boolean, lambda value: "true" if value else "false"),
    (pa.types.is_binary, lambda value: f"\\\\x{value.hex()}"),
    (pa.types.is_large_binary, lambda value: f"\\\\x{value.hex()}"),
    (pa.types.is_fixed_size_binary, lambda value: f"\\\\x{value.hex()}"),
)


def _escaped(found: re.Match[str]) -> str:
    """Escape a character that must not stand in a line as it is."""
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 - two digits
