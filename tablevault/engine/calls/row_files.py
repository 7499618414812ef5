"""What an execution of release 0.1 had finished when it stopped: rows in files, by position.

In the folder of such an execution are ``run.json`` (process and builders), ``<builder>.rows`` (a
file of records: length of the payload, its CRC-32, number of the row, all little-endian, then the
values as tagged JSON; the first record holds the columns), and ``<builder>.parquet`` (the columns
of a builder that had ended).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from tablevault.engine.row_values import Values
from tablevault.errors import TVTableError
from tablevault.frames.parquet import read_frame
from tablevault.frames.tagged_json import from_json

_HEADER: Final = struct.Struct("<IIQ")
_HEAD: Final = 2**64 - 1
_SALT: Final = 0x726F7773


def process_of(folder: Path) -> str:
    """Return the process whose rows a folder holds, "" when it holds none."""
    try:
        note = json.loads((folder / "run.json").read_text("ascii"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""
    return str(note.get("process_id", "")) if isinstance(note, dict) else ""


def finished_columns(folder: Path, builder: str, columns: Sequence[str]) -> pd.DataFrame | None:
    """Read the columns of a builder that had ended; None when it had not."""
    path = folder / f"{builder}.parquet"
    if not path.exists():
        return None
    try:
        frame = read_frame(path)
    except TVTableError:
        return None
    return frame if list(frame.columns) == list(columns) else None


def finished_rows(folder: Path, builder: str, columns: Sequence[str]) -> dict[int, Values]:
    """Read the rows that a builder had finished, by position."""
    frame = finished_columns(folder, builder, columns)
    if frame is not None:
        cells = [frame[name].astype(object).where(frame[name].notna(), None) for name in columns]
        return dict(enumerate(zip(*(series.tolist() for series in cells), strict=True)))
    try:
        data = (folder / f"{builder}.rows").read_bytes()
    except FileNotFoundError:
        return {}
    rows: dict[int, Values] = {}
    for number, (row, payload) in enumerate(_records(data)):
        found = from_json(payload)
        if number == 0 and (row != _HEAD or found != list(columns)):
            return {}
        if number and isinstance(found, list):
            rows[row] = tuple(found)
    return rows


def _records(data: bytes) -> Iterator[tuple[int, str]]:
    """Walk whole records from the start: row and payload."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, checksum, row = _HEADER.unpack_from(data, at)
        start, at = at + _HEADER.size, at + _HEADER.size + length
        payload = data[start:at]
        header = _HEADER.pack(length, _SALT, row)
        if not length or zlib.crc32(payload, zlib.crc32(header)) != checksum:
            return
        yield row, payload.decode("ascii")
