"""The SQLite file of calls: its tables, its indices, and how an earlier version is upgraded.

Tables: ``calls`` has one row for each call, found by its inputs and its code; ``codes`` the code
digests; ``frames`` the dataframes that calls returned, as Parquet; ``executions`` the temporary
instances that were or are being executed; ``found`` the rows of an execution whose call another
execution had made; ``kept`` the rows of instances that it keeps; ``spending`` what builders have
cost; ``instances`` what is known of instances that were made while the file was there. Of two calls
with one key the later counts.

Inputs are hashes, so each call changes another page of their index, which costs three times the
rest. Short calls come by the hundred thousand: they enter the index when calls are next looked up.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from tablevault.engine.calls import executions, spending
from tablevault.engine.calls.keys import ARGUMENTS_BYTES
from tablevault.engine.calls.sqlite_file import open_file

_VERSION: Final = 3
INDEXED: Final = "c.unindexed IS NULL"
"""Has to be in a query by inputs, or SQLite reads all calls for it."""
_INDEX: Final = "CREATE INDEX calls_by_inputs ON calls (inputs) WHERE unindexed IS NULL"
_SCHEMA: Final = f"""
CREATE TABLE codes (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, record TEXT);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, inputs BLOB NOT NULL, code INTEGER NOT NULL, outcome TEXT NOT NULL,
    value TEXT, started_at REAL NOT NULL, duration_s REAL NOT NULL, error TEXT,
    execution INTEGER, builder TEXT NOT NULL, row INTEGER NOT NULL, instance TEXT,
    process INTEGER, model TEXT, input_tokens INTEGER, output_tokens INTEGER, cost REAL, files TEXT,
    attempts INTEGER NOT NULL DEFAULT 1, unindexed INTEGER
);
CREATE TABLE processes (id INTEGER PRIMARY KEY, process TEXT NOT NULL UNIQUE);
{_INDEX};
CREATE INDEX calls_unindexed ON calls (id) WHERE unindexed IS NOT NULL;
CREATE INDEX calls_by_arguments ON calls (id) WHERE length(inputs) = {ARGUMENTS_BYTES};
CREATE INDEX calls_with_files ON calls (id) WHERE files IS NOT NULL;
CREATE INDEX calls_by_execution ON calls (execution, builder, row) WHERE execution IS NOT NULL;
CREATE TABLE executions (
    id INTEGER PRIMARY KEY, temp TEXT NOT NULL UNIQUE, process TEXT NOT NULL,
    builders TEXT NOT NULL DEFAULT '[]', ended TEXT NOT NULL DEFAULT '[]',
    version TEXT NOT NULL DEFAULT ''
);
CREATE TABLE found (
    execution INTEGER NOT NULL, builder TEXT NOT NULL, row INTEGER NOT NULL, call INTEGER NOT NULL,
    PRIMARY KEY (execution, builder, row)
) WITHOUT ROWID;
CREATE TABLE frames (
    inputs BLOB NOT NULL, code INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (inputs, code, part)
);
CREATE TABLE instances (instance TEXT PRIMARY KEY, builders TEXT NOT NULL) WITHOUT ROWID;
{executions.KEPT_SCHEMA.strip()}
{spending.SCHEMA.strip()}
"""
_FROM_VERSION_2: Final = f"""
ALTER TABLE calls ADD COLUMN unindexed INTEGER;
CREATE INDEX calls_unindexed ON calls (id) WHERE unindexed IS NOT NULL;
DROP INDEX calls_by_inputs;
{_INDEX}
"""


def open_calls(path: Path | str) -> sqlite3.Connection:
    """Open the file of this version or the one before; see `sqlite_file.open_file`."""
    return open_file(path, _SCHEMA, _VERSION, upgrades={2: _FROM_VERSION_2})
