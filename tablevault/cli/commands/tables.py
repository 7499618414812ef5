"""Commands on tables, instances, builders and code: create, rename, write, delete."""

from __future__ import annotations

import argparse
from pathlib import Path

from tablevault.cli.command import (
    ALLOW_SECRET,
    DESCRIPTION,
    PROCESS_ID,
    TABLE,
    VERSION,
    Argument,
    Command,
    option,
    positional,
    repeated,
    switch,
    values_of,
)
from tablevault.cli.context import (
    CommandContext,
    UsageError,
    existing_file,
    given_text,
    refuse_blank_part,
)

_TEXT = Argument(
    ("--text",),
    {"help": 'what to write; "-" reads the standard input', "default": "", "metavar": "TEXT"},
    read=given_text,
)
_COPY = option("copy-dir", "file or folder to copy", "path")


def _write(context: CommandContext, given: argparse.Namespace) -> object:
    """Fill an instance from a CSV file."""
    from tablevault.operations import instances

    dependencies = [_pair(text) for text in given.dependency or ()]
    dtypes = dict(_dtype(text) for text in given.dtype or ())
    csv = Path("/dev/stdin") if given.csv == "-" else existing_file(given.csv)
    vault = context.vault()
    return instances.WriteInstance(
        table_df=instances.read_table(csv, dtypes),
        table_name=given.table_name,
        version=given.version,
        dependencies=dependencies,
        dtypes=dtypes,
    ).run(vault, given.process_id)


def _pair(text: str) -> tuple[str, str | None]:
    """Read ``TABLE`` or ``TABLE/INSTANCE``."""
    refuse_blank_part(text, "TABLE/INSTANCE")
    table, _, instance = text.partition("/")
    return table, instance or None


def _dtype(text: str) -> tuple[str, str]:
    """Read ``COLUMN=DTYPE``."""
    column, separator, dtype = text.rpartition("=")
    if not separator:
        raise UsageError(f'--dtype "{text}" is not COLUMN=DTYPE')
    return column, dtype


_OF_NEW_INSTANCE = (
    TABLE,
    option("version", 'version of the table (default: "base")'),
    option("origin-id", "instance to start from", "instance"),
    option("origin-table", "table of the origin, by default this table", "table"),
    switch("external-edit", "no builders: the frame is written by write-instance"),
    switch("copy", "start from the latest instance"),
    repeated(
        "builder",
        "NAME",
        "name of a builder, which gets a template, or path of a .yaml file",
        parameter="builders",
        typed=list,
    ),
    DESCRIPTION,
    PROCESS_ID,
    ALLOW_SECRET,
)


def _create_instance(context: CommandContext, given: argparse.Namespace) -> object:
    """Create a temporary instance."""
    from tablevault.operations.instances import CreateInstance

    if given.origin_table and not (given.origin_id or given.copy):
        raise UsageError("--origin-table needs --origin-id or --copy")
    values = values_of(_OF_NEW_INSTANCE, given)
    process_id = values.pop("process_id")
    return CreateInstance(**values).run(context.vault(), process_id)


COMMANDS = (
    Command(
        name="create-table",
        summary="create an empty table",
        run="operations.tables:CreateTable",
        arguments=(
            positional("table_name", "name of the new table"),
            switch(
                "multiple-artifacts",
                "each instance keeps its artifacts for ever",
                parameter="allow_multiple_artifacts",
            ),
            switch(
                "side-effects",
                "running the builders invalidates earlier instances",
                parameter="has_side_effects",
            ),
            DESCRIPTION,
            PROCESS_ID,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="rename-table",
        summary="rename a table",
        run="operations.tables:RenameTable",
        arguments=(
            positional("old_name", "current name", "table", parameter="table_name"),
            positional("new_name", "new name", parameter="new_table_name"),
            PROCESS_ID,
        ),
    ),
    Command(
        name="delete-table",
        summary="delete a table; its description, builders and code stay in history",
        run="operations.tables:DeleteTable",
        arguments=(TABLE, PROCESS_ID),
    ),
    Command(
        name="create-code-module",
        summary="write code modules",
        run="operations.code_and_builders:CreateCodeModule",
        arguments=(
            option("module-name", "name of the module, a Python identifier", "module"),
            _COPY,
            _TEXT,
            PROCESS_ID,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="delete-code-module",
        summary="delete a code module",
        run="operations.code_and_builders:DeleteCodeModule",
        arguments=(positional("module_name", "the module", "module"), PROCESS_ID),
    ),
    Command(
        name="create-builder-file",
        summary="write builders into a temporary instance",
        run="operations.code_and_builders:CreateBuilderFile",
        arguments=(
            TABLE,
            option("builder-name", "name of the builder, by default TABLE_index", "builder"),
            VERSION,
            _COPY,
            _TEXT,
            PROCESS_ID,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="delete-builder-file",
        summary="delete a builder from a temporary instance",
        run="operations.code_and_builders:DeleteBuilderFile",
        arguments=(
            TABLE,
            positional("builder_name", "the builder", "builder"),
            VERSION,
            PROCESS_ID,
        ),
    ),
    Command(
        name="create-instance",
        summary="create a temporary instance, with a folder to edit",
        run=_create_instance,
        arguments=_OF_NEW_INSTANCE,
    ),
    Command(
        name="write-instance",
        summary="fill an instance made with --external-edit from a CSV file",
        run=_write,
        arguments=(
            TABLE,
            Argument(
                ("--csv",),
                {
                    "help": "the file; - is the standard input; --dtype decides how a column is "
                    "read, others are inferred",
                    "required": True,
                    "metavar": "FILE",
                },
                "path",
                parameter="table_df",
            ),
            VERSION,
            repeated(
                "dependency",
                "TABLE[/INSTANCE]",
                "what the frame was made from",
                "table",
                parameter="dependencies",
                typed=lambda pairs: ["/".join(filter(None, pair)) for pair in pairs],
            ),
            repeated(
                "dtype",
                "COLUMN=DTYPE",
                "dtype of a column, by which its text is read",
                parameter="dtypes",
                typed=lambda dtypes: [f"{name}={dtype}" for name, dtype in dtypes.items()],
            ),
            PROCESS_ID,
        ),
    ),
    Command(
        name="delete-instance",
        summary="delete an instance; its description, builders and code stay in history",
        run="operations.instances:DeleteInstance",
        arguments=(TABLE, positional("instance_id", "the instance", "instance"), PROCESS_ID),
    ),
)
