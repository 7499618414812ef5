"""Files of calls as earlier releases have written them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_TO_VERSION_2 = """
DROP INDEX calls_by_inputs;
DROP INDEX calls_unindexed;
ALTER TABLE calls DROP COLUMN unindexed;
CREATE INDEX calls_by_inputs ON calls (inputs);
PRAGMA user_version = 2;
"""


def make_version_2(path: Path) -> None:
    """Turn a file of version 3, which nobody has open, into one of version 2."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_TO_VERSION_2)
