"""Commands on tables: create, rename, delete."""

from __future__ import annotations

import argparse

from tablevault.cli.command import (
    ALLOW_SECRET,
    DESCRIPTION,
    PROCESS_ID,
    Command,
    positional,
    switch,
)
from tablevault.cli.context import CommandContext


def _create(context: CommandContext, given: argparse.Namespace) -> object:
    """Make an empty table."""
    from tablevault.operations.tables import CreateTable

    return CreateTable(
        table_name=given.table_name,
        allow_multiple_artifacts=given.multiple_artifacts,
        has_side_effects=given.side_effects,
        description=given.description,
        allow_secret=given.allow_secret,
    ).run(context.vault(), given.process_id)


def _rename(context: CommandContext, given: argparse.Namespace) -> object:
    """Rename a table."""
    from tablevault.operations.tables import RenameTable

    return RenameTable(new_table_name=given.new_name, table_name=given.old_name).run(
        context.vault(), given.process_id
    )


def _delete(context: CommandContext, given: argparse.Namespace) -> object:
    """Remove a table."""
    from tablevault.operations.tables import DeleteTable

    asked = DeleteTable(table_name=given.table_name)
    return asked.run(context.vault(), given.process_id)


COMMANDS = (
    Command(
        name="create-table",
        summary="create an empty table",
        run=_create,
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
        run=_rename,
        arguments=(
            positional("old_name", "current name", "table", parameter="table_name"),
            positional("new_name", "new name", parameter="new_table_name"),
            PROCESS_ID,
        ),
    ),
    Command(
        name="delete-table",
        summary="delete a table; its description, builders and code stay in history",
        run=_delete,
        arguments=(positional("table_name", "the table", "table"), PROCESS_ID),
    ),
)
