"""Commands on what was done: log, undo."""

from __future__ import annotations

import argparse
import time

from tablevault import operations, queries
from tablevault.cli.command import JSON, PROCESS_ID, Command, option, positional
from tablevault.cli.mistakes import UsageError
from tablevault.cli.output import Listing
from tablevault.cli.place import Place

_FIELDS = (
    "process_id",
    "ended",
    "started",
    "author",
    "operation",
    "table",
    "version",
    "instance_id",
    "subject",
    "commit",
    "success",
    "error",
    "rows",
    "parent_id",
)


def _log(place: Place, given: argparse.Namespace) -> object:
    """List what was done, newest first."""
    if given.limit is not None and given.limit < 0:
        raise UsageError(f"--limit is {given.limit}; it must be at least 0")
    entries = queries.log.entries(place.read(), given.table_name, given.instance_id, given.limit)
    return Listing(
        columns=("time", "commit", "author", "what", "process"),
        rows=[
            (
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.ended)),
                entry.commit[:10],
                entry.author,
                entry.subject if entry.success else f"{entry.subject} — failed: {entry.error}",
                entry.process_id,
            )
            for entry in entries
        ],
        value=[{name: getattr(entry, name) for name in _FIELDS} for entry in entries],
        if_empty="Nothing was done.",
    )


def _undo(place: Place, given: argparse.Namespace) -> object:
    """Take one operation back."""
    return operations.undo.undo(place.vault(), given.undone_process_id, process_id=given.process_id)


COMMANDS = (
    Command(
        name="log",
        summary="list what was done, newest first",
        run=_log,
        arguments=(
            positional("table_name", "operations on this table only", "table", default=""),
            option("instance-id", "operations that made this instance", "instance"),
            option("limit", "so many at the most", default=None, type=int),
            JSON,
        ),
    ),
    Command(
        name="undo",
        summary="take one operation back, by a new commit",
        run=_undo,
        arguments=(positional("undone_process_id", "its process id, as log shows it"), PROCESS_ID),
    ),
)
