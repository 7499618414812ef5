"""The command that writes a page about the vault."""

from __future__ import annotations

import argparse

from tablevault import report
from tablevault.cli.command import Argument, Command, positional, switch
from tablevault.cli.place import Place

_FILE = "report.html"


def _report(place: Place, given: argparse.Namespace) -> object:
    """Write the page, and print where it is."""
    report.file.write(place.read(), given.output, given.table_name, force=given.force)
    return str(given.output)


COMMANDS = (
    Command(
        name="report",
        summary="write a page about the vault for a browser, one HTML file",
        run=_report,
        arguments=(
            positional("table_name", "this table only", "table", default=""),
            Argument(
                ("-o", "--output"),
                {"help": f"the file (default: {_FILE})", "default": _FILE, "metavar": "PATH"},
                "path",
            ),
            switch("force", "replace the file, whatever it is; else only a report"),
        ),
    ),
)
