"""Commands that read a vault: dataframes, lists, descriptions, texts, the report page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.cli.command import (
    VERSION,
    Argument,
    Command,
    either,
    option,
    positional,
    switch,
)
from tablevault.cli.context import CommandContext, UsageError, output_file
from tablevault.cli.output import Document, Drawing, FileOutput, Listing
from tablevault.wording import Call

if TYPE_CHECKING:
    from tablevault.queries.describe import Node

_TABLE = positional("table_name", "the table", "table")
_INSTANCE = option("instance-id", "the instance, by default the latest", "instance")
_TEMP = either(
    "temp", "materialised", "without an id: the temporary or the latest instance", default=True
)


def _dataframe(context: CommandContext, given: argparse.Namespace) -> object:
    """Write a dataframe as a file, or to the standard output."""
    from tablevault.queries import dataframe

    if not given.output:
        raise UsageError("the following arguments are required: -o/--output")
    ending = _ending_of(given.output, as_json=given.json)
    target = None if given.output == "-" else output_file(given.output)
    if given.rows is not None and given.rows < 0:
        raise UsageError(f"--rows is {given.rows}; it must be at least 0")
    frame, instance_id = dataframe.get_dataframe(
        context.read(),
        dataframe.FrameQuery(
            table=given.table_name,
            instance_id=given.instance_id,
            version=given.version,
            active_only=not given.include_inactive,
            successful_only=given.successful_only,
            columns=None,
            rows=given.rows,
            full_artifact_path=not given.no_artifact_path,
        ),
    )
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

    table = given.table_name or given.table
    version = given.version if table else "base"
    ids = describe.table_instances(context.read(), table, version, include_temp=given.temp)
    return Listing(
        columns=("instance" if table else "table",),
        rows=[(each,) for each in ids],
        value=ids,
        if_empty=f'Table "{table}" has no instance.' if table else "There is no table.",
    )


def _descriptions(context: CommandContext, given: argparse.Namespace) -> object:
    """Describe the vault, a table or an instance."""
    from tablevault.queries import describe

    return describe.descriptions(context.read(), given.instance_id, given.table_name)


def _artifact_folder(context: CommandContext, given: argparse.Namespace) -> object:
    """Return a folder of artifacts."""
    from tablevault.queries import dataframe

    return dataframe.artifact_folder(
        context.read(), given.table_name, given.instance_id, given.version, is_temp=given.temp
    )


def _file_tree(context: CommandContext, given: argparse.Namespace) -> object:
    """Draw what is in the vault."""
    from tablevault.queries import describe

    shown = describe.Shown(
        code=given.code_files,
        builders=given.builder_files,
        metadata=given.metadata_files,
        artifacts=given.artifact_files,
    )
    vault = context.read()
    node = describe.file_tree(vault, given.instance_id, given.table_name, shown)
    return Drawing(draw=lambda: _drawn(node), value=_nested(node))


def _drawn(node: Node) -> object:
    """Draw a tree for a person."""
    from tablevault import render

    return render.tree(node)


def _nested(node: Node) -> dict[str, object]:
    """Return a tree as JSON has it."""
    return {"label": node.label, "children": [_nested(child) for child in node.children]}


def _modules(context: CommandContext, given: argparse.Namespace) -> object:
    """List the code modules."""
    from tablevault.queries import describe

    del given
    return _names("module", describe.code_modules(context.read()))


def _builders(context: CommandContext, given: argparse.Namespace) -> object:
    """List the builders of an instance."""
    from tablevault.queries import describe

    names = describe.builders_list(
        context.read(), given.table_name, given.instance_id, given.version, is_temp=given.temp
    )
    return _names("builder", names)


def _names(column: str, names: list[str]) -> Listing:
    """List names."""
    return Listing(
        columns=(column,),
        rows=[(name,) for name in names],
        value=names,
        if_empty=f"There is no {column}.",
    )


def _builder_text(context: CommandContext, given: argparse.Namespace) -> object:
    """Return the text of a builder."""
    from tablevault.queries import describe

    return describe.builder_text(
        context.read(),
        given.table_name,
        given.builder_name,
        (given.instance_id, given.version),
        is_temp=given.temp,
    )


def _module_text(context: CommandContext, given: argparse.Namespace) -> object:
    """Return the text of a code module."""
    from tablevault.queries import describe

    return describe.code_text(context.read(), given.module_name)


_FILE = "report.html"


def _report(context: CommandContext, given: argparse.Namespace) -> object:
    """Write the page, and print where it is."""
    from tablevault.report import page

    if given.output == "-":
        return Document(page.content(context.read(), given.table_name))
    target = output_file(given.output or _FILE)
    page.write(context.read(), target, given.table_name, force=given.force)
    return FileOutput(str(target))


COMMANDS = (
    Command(
        name="get-dataframe",
        summary="write the dataframe of an instance as a .csv, .json, .jsonl or .parquet file",
        run=_dataframe,
        arguments=(
            _TABLE,
            _INSTANCE,
            VERSION,
            option("rows", "first rows only", default=None, type=int),
            Argument(
                ("--include-inactive",),
                {
                    "help": "take the latest instance also when it is inactive",
                    "action": "store_true",
                },
                parameter="active_only",
                typed=lambda active_only: [] if active_only else [True],
            ),
            switch("successful-only", "leave out instances of stopped executions"),
            switch("no-artifact-path", "names of artifacts as they are stored, not paths"),
        ),
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
        run=_descriptions,
        arguments=(
            option("table-name", "the table", "table"),
            option("instance-id", "the instance", "instance"),
        ),
    ),
    Command(
        name="get-artifact-folder",
        summary="print the folder of artifacts of an instance",
        run=_artifact_folder,
        arguments=(_TABLE, _INSTANCE, VERSION, _TEMP),
    ),
    Command(
        name="get-file-tree",
        summary="show the files of the vault, a table or an instance as a tree",
        run=_file_tree,
        arguments=(
            option("table-name", "the table", "table"),
            option("instance-id", "the instance", "instance"),
            either("code-files", "no-code-files", "code modules", default=True),
            either("builder-files", "no-builder-files", "builders", default=True),
            either("metadata-files", "no-metadata-files", "documents of the vault", default=False),
            either("artifact-files", "no-artifact-files", "artifacts", default=False),
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
        arguments=(_TABLE, _INSTANCE, VERSION, _TEMP),
    ),
    Command(
        name="get-builder-str",
        summary="print a builder",
        run=_builder_text,
        arguments=(
            _TABLE,
            option("builder-name", "the builder, by default TABLE_index", "builder"),
            _INSTANCE,
            VERSION,
            _TEMP,
        ),
    ),
    Command(
        name="get-code-module-str",
        summary="print a code module",
        run=_module_text,
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
