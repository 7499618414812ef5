"""Commands on instances: create, write, execute, delete."""

from __future__ import annotations

import argparse

from tablevault import operations
from tablevault.cli.command import (
    DESCRIPTION,
    PROCESS_ID,
    VERSION,
    Argument,
    Command,
    option,
    positional,
    switch,
)
from tablevault.cli.mistakes import UsageError
from tablevault.cli.place import Place, existing_file

_TABLE = positional("table_name", "the table", "table")


def _create(place: Place, given: argparse.Namespace) -> object:
    """Make a temporary instance."""
    return operations.instances.create_instance(
        place.vault(),
        operations.instances.NewInstance(
            table=given.table_name,
            # The option of the first release is empty by default, and means the same.
            version=given.version or "base",
            origin_id=given.origin_id,
            origin_table=given.origin_table,
            external_edit=given.external_edit,
            copy=given.copy,
            description=given.description,
        ),
        given.builder or None,
        process_id=given.process_id,
    )


def _write(place: Place, given: argparse.Namespace) -> object:
    """Fill an instance from a CSV file."""
    dependencies = [_pair(text) for text in given.dependency or ()]
    dtypes = dict(_dtype(text) for text in given.dtype or ())
    return operations.write.write_csv(
        place.vault(),
        existing_file(given.csv),
        given.table_name,
        given.version,
        options=(dependencies or None, dtypes or None),
        process_id=given.process_id,
    )


def _execute(place: Place, given: argparse.Namespace) -> object:
    """Run the builders of an instance."""
    return operations.execute.execute_instance(
        place.vault(),
        given.table_name,
        given.version,
        options=operations.execute.ExecuteOptions(
            force_execute=given.force,
            background=given.background,
            accept_code=None if given.accept_code is None else given.accept_code == "yes",
        ),
        process_id=given.process_id,
    )


def _delete(place: Place, given: argparse.Namespace) -> object:
    """Remove an instance."""
    return operations.instances.delete_instance(
        place.vault(), given.instance_id, given.table_name, process_id=given.process_id
    )


def _pair(text: str) -> tuple[str, str | None]:
    """Read ``TABLE`` or ``TABLE/INSTANCE``."""
    table, _, instance = text.partition("/")
    return table, instance or None


def _dtype(text: str) -> tuple[str, str]:
    """Read ``COLUMN=DTYPE``."""
    column, separator, dtype = text.rpartition("=")
    if not separator:
        raise UsageError(f'--dtype "{text}" is not COLUMN=DTYPE')
    return column, dtype


COMMANDS = (
    Command(
        name="create-instance",
        summary="make a temporary instance, with a folder to edit",
        run=_create,
        arguments=(
            _TABLE,
            option("version", 'version of the table (default: "base")'),
            option("origin-id", "instance to start from", "instance"),
            option("origin-table", "table of the origin, by default this table", "table"),
            switch("external-edit", "no builders: the frame is written by write-instance"),
            switch("copy", "start from the latest instance"),
            Argument(
                ("--builder",),
                {
                    "action": "append",
                    "metavar": "NAME",
                    "help": "name of a builder, which gets a template, or path of a .yaml file; "
                    "may be repeated",
                },
                parameter="builders",
                words=list,
            ),
            DESCRIPTION,
            PROCESS_ID,
        ),
    ),
    Command(
        name="write-instance",
        summary="fill an instance made with --external-edit from a CSV file",
        run=_write,
        arguments=(
            _TABLE,
            Argument(
                ("--csv",),
                {
                    "help": "the file; --dtype decides how a column is read, others are inferred",
                    "required": True,
                    "metavar": "FILE",
                },
                "path",
                parameter="table_df",
            ),
            VERSION,
            Argument(
                ("--dependency",),
                {
                    "action": "append",
                    "metavar": "TABLE[/INSTANCE]",
                    "help": "what the frame was made from; may be repeated",
                },
                "table",
                parameter="dependencies",
                words=lambda pairs: ["/".join(filter(None, pair)) for pair in pairs],
            ),
            Argument(
                ("--dtype",),
                {
                    "action": "append",
                    "metavar": "COLUMN=DTYPE",
                    "help": "dtype of a column, by which its text is read; may be repeated",
                },
                parameter="dtypes",
                words=lambda dtypes: [f"{name}={dtype}" for name, dtype in dtypes.items()],
            ),
            PROCESS_ID,
        ),
    ),
    Command(
        name="execute-instance",
        summary="run the builders of an instance",
        run=_execute,
        arguments=(
            _TABLE,
            VERSION,
            switch(
                "force",
                "compute every cell, also those that are unchanged",
                parameter="force_execute",
            ),
            option(
                "accept-code",
                "whether results of other code count: yes keeps them, no makes them anew",
                default=None,
                choices=("yes", "no"),
            ),
            switch("background", "return at once; get-active-processes tells how far it is"),
            PROCESS_ID,
        ),
    ),
    Command(
        name="delete-instance",
        summary="remove an instance; its description, builders and code stay in history",
        run=_delete,
        arguments=(
            _TABLE,
            positional("instance_id", "the instance", "instance"),
            PROCESS_ID,
        ),
    ),
)
