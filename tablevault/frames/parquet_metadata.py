"""Metadata of a dataframe file: names of dtypes, and how each column is decoded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from tablevault.errors import TVFormatError

KEY = b"tablevault"
VERSION = 1


def part_key(part: int) -> bytes:
    """Name the key of one part of the facts."""
    return KEY + (b".%d" % part if part else b"")


def read_facts(
    entries: Mapping[bytes, bytes], names: list[str], source: object
) -> dict[str, Any] | None:
    """Return the facts of each column, None for a foreign file.

    Parameters
    ----------
    entries : mapping of bytes to bytes
        Metadata of the Parquet file.
    names : list of str
        Its columns.
    source : object
        The file, for the error.

    Raises
    ------
    TVFormatError
        Written by a newer release.
    KeyError, ValueError, TypeError
        The file is damaged.
    """
    if KEY not in entries:
        return None
    parts = itertools.takewhile(entries.__contains__, map(part_key, itertools.count()))
    facts = json.loads(b"".join(map(entries.__getitem__, parts)))
    if facts["version"] > VERSION:
        raise TVFormatError(
            f'"{source}" is a dataframe file of version {facts["version"]}; '
            f"this release reads version {VERSION}.",
            "Upgrade tablevault.",
            path=str(source),
        )
    return dict(zip(names, facts["columns"], strict=True))
