"""Rows of one builder in an append-only file, readable up to the last whole record.

A record is a header (length of the payload, its checksum, number of the row; little-endian) and
the payload, JSON text of the list of values, see `tablevault.frames.tagged_json`. The first
record, under the number `_HEAD`, says whose rows these are and which columns they have. A record
that a crash cut off, with whatever stands behind it, counts for nothing and is removed before
the next one is appended.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tablevault.errors import TVTableError
from tablevault.frames.tagged_json import UnstorableValueError, from_json, has_surrogates, to_json

Values = tuple[Any, ...]

_HEADER = struct.Struct("<IIQ")
_HEAD = 2**64 - 1
_SALT = 0x726F7773
_INT64 = 1 << 63
_SHOWN = 80
_TEXT_DTYPES = ("string", "artifact_string")
_sync = getattr(os, "fdatasync", os.fsync)
_plain_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


class RowLog:
    """The rows of one builder, open for appending.

    Parameters
    ----------
    path : Path
        The file; made when it is missing, begun anew when it is of other columns.
    builder : str
        Name of the builder, for errors.
    columns : sequence of str
        Its columns, in order.
    dtypes : mapping of str to str, optional
        Their declared dtypes: what a text column holds is kept as its text if need be.
    """

    def __init__(
        self,
        path: Path,
        builder: str,
        columns: Sequence[str],
        dtypes: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.is_dirty = True
        self._builder = builder
        self._is_text = [(dtypes or {}).get(name) in _TEXT_DTYPES for name in columns]
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        try:
            self.rows = self._take_up()
        except BaseException:
            self.close()
            raise

    def append(self, row: int, values: Values) -> None:
        """Write one row; when this returns, the death of this process loses nothing of it.

        Raises
        ------
        TVTableError
            A value is of a type that cannot be kept.
        OSError
            The file cannot be written, for instance because the disk is full. It is as before.
        """
        try:
            self._write(row, self._encode(row, values))
        except OSError as error:
            raise OSError(
                error.errno,
                f'Builder "{self._builder}": row {row} was computed but cannot be kept '
                f"({error.strerror}); the rows before it are",
                str(self.path),
            ) from error

    def sync(self) -> None:
        """Make durable what was appended."""
        if self.is_dirty:
            _sync(self._descriptor)
            self.is_dirty = False

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take_up(self) -> dict[int, Values]:
        """Read what is there, and cut off what is torn; what has other columns is dropped."""
        data = self.path.read_bytes()
        head, rows, end = _decoded(data)
        if head != list(self.columns):
            rows, end = {}, 0
        if end < len(data):
            os.ftruncate(self._descriptor, end)
        if end == 0:
            self._write(_HEAD, to_json(list(self.columns)).encode("ascii"))
        return rows

    def _encode(self, row: int, values: Values) -> bytes:
        """Spell the values of a row: quickly where JSON has all of them, else with care."""
        if all(map(_is_plain, values)):
            return _plain_json(values).encode("ascii")
        try:
            return to_json(list(values)).encode("ascii")
        except UnstorableValueError:
            cells = [self._keepable(row, position, value) for position, value in enumerate(values)]
        return to_json(cells).encode("ascii")

    def _keepable(self, row: int, position: int, value: object) -> object:
        """Give what can be kept of a value and becomes the same cell of its column."""
        reason = ""
        for kept in (value, str(value)) if self._is_text[position] else (value,):
            try:
                to_json(kept)
            except UnstorableValueError as error:
                reason = error.reason
            else:
                return kept
        shown = " ".join(repr(value).split())
        column = self.columns[position]
        raise TVTableError(
            f'Builder "{self._builder}": the value of column "{column}" in row {row} cannot be '
            f"kept: {shown[:_SHOWN]} ({type(value).__qualname__}{reason and ', ' + reason}).",
            "Return text, numbers, times, or lists and dicts of them.",
            builder=self._builder,
            row=row,
            column=column,
        )

    def _write(self, row: int, payload: bytes) -> None:
        """Append one record whole, or not at all."""
        rest = memoryview(_record(row, payload))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BaseException:
            # If this fails, too, whoever reads stops before the torn record.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, _decoded(self.path.read_bytes())[2])
            raise
        self.is_dirty = True


def read_rows(path: Path, columns: Sequence[str]) -> dict[int, Values]:
    """Read the rows of a file while somebody may be writing it; none when it has other columns."""
    try:
        head, rows, _ = _decoded(path.read_bytes())
    except FileNotFoundError:
        return {}
    return rows if head == list(columns) else {}


def count_rows(path: Path) -> int:
    """Count the rows in a file without decoding them; 0 when there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    return len({row for row, _, _ in _records(data)} - {_HEAD})


def _record(row: int, payload: bytes) -> bytes:
    """Make one record."""
    return _HEADER.pack(len(payload), _checksum(row, payload), row) + payload


def _checksum(row: int, payload: bytes | memoryview) -> int:
    """Hash number and payload; a stretch of zeros, as a lost write leaves it, is no record."""
    return zlib.crc32(payload, zlib.crc32(_HEADER.pack(len(payload), _SALT, row)))


def _records(data: bytes) -> Iterator[tuple[int, memoryview, int]]:
    """Walk whole records from the start: row, payload, and where the record ends."""
    view, at = memoryview(data), 0
    while at + _HEADER.size <= len(data):
        length, checksum, row = _HEADER.unpack_from(data, at)
        start, at = at + _HEADER.size, at + _HEADER.size + length
        payload = view[start:at]
        if not length or len(payload) < length or _checksum(row, payload) != checksum:
            return
        yield row, payload, at


def _decoded(data: bytes) -> tuple[object, dict[int, Values], int]:
    """Give columns, rows (of a row written twice the later values), and the end of what is whole.

    Without a whole first record there is nothing, and the end is 0.
    """
    head: object = None
    rows: dict[int, Values] = {}
    end = 0
    for row, payload, after in _records(data):
        found = from_json(str(payload, "ascii"))
        if end == 0:
            if row != _HEAD:
                break
            head = found
        elif isinstance(found, list):
            rows[row] = tuple(found)
        end = after
    return head, rows, end


def _is_plain(value: object) -> bool:
    """Tell whether JSON gives back exactly this value."""
    kind = type(value)
    if kind is str:
        return value.isascii() or not has_surrogates(value)  # type: ignore[attr-defined,arg-type]  # it is text
    if kind is int:
        return -_INT64 <= value < _INT64  # type: ignore[operator]  # it is a number
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # it is a number
    return value is None or kind is bool
