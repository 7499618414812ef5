"""Commands that read a vault: dataframes, lists, descriptions, texts, the report page."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from tablevault.cli.command import (
    TABLE,
    VERSION,
    Argument,
    Command,
    either,
    number,
    opposite,
    option,
    positional,
    switch,
    values_of,
)
from tablevault.cli.context import CommandContext, UsageError, output_file
from tablevault.cli.output import Document, Drawing, FileOutput, Listing, TextOutput
from tablevault.names import DEFAULT_VERSION
from tablevault.wording import Call

_INSTANCE = option("instance-id", "the instance, by default the latest", "instance")
_FRAME = (
    TABLE,
    _INSTANCE,
    VERSION,
    option("rows", "first rows only", default=None, type=number(int)),
    opposite(
        "include-inactive",
        "take the latest instance also when it is inactive",
        parameter="active_only",
    ),
    switch("successful-only", "leave out instances of stopped executions"),
    opposite(
        "no-artifact-path",
        "names of artifacts as they are stored, not paths",
        parameter="full_artifact_path",
    ),
)
_FILES = (
    either("code-files", "no-code-files", "code modules", default=True),
    either("builder-files", "no-builder-files", "builders", default=True),
    either("metadata-files", "no-metadata-files", "documents of the vault", default=False),
    either("artifact-files", "no-artifact-files", "artifacts", default=False),
)
_OF_INSTANCE = (
    _INSTANCE,
    VERSION,
    either(
        "temp",
        "materialised",
        "without an id: the temporary or the latest instance",
        default=True,
        parameter="is_temp",
    ),
)


def _dataframe(context: CommandContext, given: argparse.Namespace) -> object:
    """Write a dataframe as a file, or to the standard output."""
    from tablevault.queries import dataframe

    if not given.output:
        raise UsageError("the following arguments are required: -o/--output")
    ending = _ending_of(given.output, as_json=given.json)
    target = None if given.output == "-" else Path(given.output)
    query = dataframe.FrameQuery(**values_of(_FRAME, given))
    frame, instance_id = dataframe.get_dataframe(context.read(), query)
    content = dataframe.content(frame, ending)
    if target is None:
        return Document(content.decode("utf-8"))
    target.write_bytes(content)
    return FileOutput({"instance_id": instance_id, "rows": len(frame), ending: given.output})


def _ending_of(path: str, *, as_json: bool) -> str:
    """Return the format that a name asks for; the standard output is CSV, or JSON if wanted."""
    from tablevault.queries.dataframe import WRITERS

    if path == "-":
        return "json" if as_json else "csv"
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in WRITERS:
        known = ", ".join(f".{each}" for each in WRITERS)
        raise UsageError(f'"{path}" does not end in one of {known}')
    return ending


def _instances(context: CommandContext, given: argparse.Namespace) -> object:
    """List tables or instances."""
    from tablevault.queries import describe

    if given.table_name and given.table:
        raise UsageError("the table is named twice")
    table = given.table_name or given.table
    if not table and (given.temp or given.version not in ("", DEFAULT_VERSION)):
        raise UsageError("--version and --temp choose instances: name the table, too")
    ids = describe.table_instances(context.read(), table, given.version, include_temp=given.temp)
    return Listing(
        columns=("instance" if table else "table",),
        rows=[(each,) for each in ids],
        value=ids,
        if_empty=f'Table "{table}" has no instance.' if table else "There is no table.",
    )


def _file_tree(context: CommandContext, given: argparse.Namespace) -> object:
    """Draw what is in the vault."""
    from tablevault import render
    from tablevault.queries import describe

    shown = describe.Shown(**values_of(_FILES, given))
    node = describe.file_tree(context.read(), given.instance_id, given.table_name, shown)
    return Drawing(draw=lambda: render.tree(node), value=dataclasses.asdict(node))


def _modules(context: CommandContext, given: argparse.Namespace) -> object:
    """List the code modules."""
    from tablevault.queries import describe

    del given
    return _names("module", describe.code_modules(context.read()))


def _builders(context: CommandContext, given: argparse.Namespace) -> object:
    """List the builders of an instance."""
    from tablevault.queries import describe

    values = values_of((TABLE, *_OF_INSTANCE), given)
    return _names("builder", describe.builders_list(context.read(), **values))


def _names(column: str, names: list[str]) -> Listing:
    """List names."""
    return Listing(
        columns=(column,),
        rows=[(name,) for name in names],
        value=names,
        if_empty=f"There is no {column}.",
    )


_FILE = "report.html"


def _report(context: CommandContext, given: argparse.Namespace) -> object:
    """Write the page, and print where it is."""
    from tablevault.cli.errors import at_prompt
    from tablevault.report import page
    from tablevault.vault import absolute

    if given.output == "-":
        text = page.content(context.read(), given.table_name, at_prompt())
        return text if given.json else Document(text)
    target = output_file(given.output or _FILE)
    page.write_page(context.read(), target, given.table_name, at_prompt(), force=given.force)
    return FileOutput(TextOutput(str(target), {"path": str(absolute(target))}))


COMMANDS = (
    Command(
        name="get-dataframe",
        summary="write the dataframe of an instance as a .csv, .json, .jsonl or .parquet file",
        run=_dataframe,
        arguments=_FRAME,
    ),
    Command(
        name="get-table-instances",
        summary="list the instances of a table; without a table, the tables",
        run=_instances,
        arguments=(
            positional("table_name", "the table", "table", default=""),
            Argument(
                ("--table-name", "--table_name"),
                {"help": "the same, as an option", "default": "", "dest": "table"},
                "table",
                parameter="table",
            ),
            option("version", 'version, "" for all', default="base"),
            either("temp", "no-temp", "temporary instances, too", default=False),
        ),
    ),
    Command(
        name="get-descriptions",
        summary="describe the vault, a table or an instance",
        run="queries.describe:descriptions",
        arguments=(
            option("table-name", "the table", "table"),
            option("instance-id", "the instance", "instance"),
        ),
    ),
    Command(
        name="get-artifact-folder",
        summary="print the folder of artifacts of an instance",
        run="queries.dataframe:artifact_folder",
        arguments=(TABLE, *_OF_INSTANCE),
    ),
    Command(
        name="get-file-tree",
        summary="show the files of the vault, a table or an instance as a tree",
        run=_file_tree,
        arguments=(
            option("table-name", "the table", "table"),
            option("instance-id", "the instance", "instance"),
            *_FILES,
        ),
    ),
    Command(
        name="get-modules-list",
        summary="list the code modules",
        run=_modules,
        calls=(Call("get_code_modules_list"),),
    ),
    Command(
        name="get-builders-list",
        summary="list the builders of an instance",
        run=_builders,
        arguments=(TABLE, *_OF_INSTANCE),
    ),
    Command(
        name="get-builder-str",
        summary="print a builder",
        run="queries.describe:builder_text",
        arguments=(
            TABLE,
            option("builder-name", "the builder, by default TABLE_index", "builder"),
            *_OF_INSTANCE,
        ),
    ),
    Command(
        name="get-code-module-str",
        summary="print a code module",
        run="queries.describe:code_text",
        arguments=(positional("module_name", "the module", "module"),),
    ),
    Command(
        name="report",
        summary="write a report about the vault, one HTML file",
        details=f"The file is {_FILE} where --output names no other.",
        run=_report,
        arguments=(
            positional("table_name", "this table only", "table", default=""),
            switch("force", "replace the file even if it is not a report"),
        ),
    ),
)
