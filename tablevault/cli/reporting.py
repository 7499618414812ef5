"""The command that writes a page about the vault."""

from __future__ import annotations

import argparse

from tablevault.cli.command import Command, positional, switch
from tablevault.cli.context import Place, output_file
from tablevault.cli.output import Document, Written

_FILE = "report.html"


def _report(place: Place, given: argparse.Namespace) -> object:
    """Write the page, and print where it is."""
    from tablevault.report import page

    if given.output == "-":
        return Document(page.content(place.read(), given.table_name))
    target = output_file(given.output or _FILE)
    page.write(place.read(), target, given.table_name, force=given.force)
    return Written(str(target))


COMMANDS = (
    Command(
        name="report",
        summary="write a page about the vault for a browser, one HTML file",
        details=f"The file is {_FILE} where --output names no other.",
        run=_report,
        arguments=(
            positional("table_name", "this table only", "table", default=""),
            switch("force", "replace the file, whatever it is; else only a report"),
        ),
    ),
)
