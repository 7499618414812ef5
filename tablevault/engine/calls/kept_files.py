"""The files that records of calls name: written in the record, read without loading pandas."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tablevault.engine.calls.sqlite_file import connect

_OID: Final = re.compile(r"[0-9a-f]{64}")


class KeptFile(NamedTuple):
    """A file in the object store: its object id, its size in bytes, whether it is executable."""

    oid: str
    size: int
    executable: bool = False


def encode_files(files: Mapping[str, KeptFile]) -> str:
    """Encode files by name: ``{"a.png":["<object id>",17]}``; a third item if executable: ``true``.

    Parameters
    ----------
    files : mapping of str to KeptFile
        By their names in the artifact folder.
    """
    found = {name: list(file if file.executable else file[:2]) for name, file in files.items()}
    return json.dumps(found, separators=(",", ":"))


def decode_files(text: str | None) -> dict[str, KeptFile]:
    """Decode what `encode_files` made; empty for None, and for what it did not make."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
        files = {name: KeptFile(*file) for name, file in found.items()}
        is_right = all(_OID.fullmatch(file.oid) and file.size >= 0 for file in files.values())
    except (ValueError, TypeError, AttributeError):
        return {}
    return files if is_right else {}


def named_objects(path: Path) -> frozenset[str]:
    """Return the ids of all objects that records name.

    Parameters
    ----------
    path : Path
        The SQLite file. Where it is missing or damaged, no object is named.
    """
    if not path.exists():
        return frozenset()
    try:
        with contextlib.closing(connect(path)) as connection:
            return objects_in(connection)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not _has_no_table(error):
            raise
        return frozenset()


def objects_in(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the ids of all objects that records name, as an open file has them."""
    found = connection.execute("SELECT files FROM calls WHERE files IS NOT NULL")
    return frozenset(file.oid for (text,) in found for file in decode_files(text).values())


def _has_no_table(error: sqlite3.OperationalError) -> bool:
    """Return whether a file has no records, such as one that was made a moment ago."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_ERROR
