"""Commands on code modules and builder files: create, delete."""

from __future__ import annotations

import argparse

from tablevault.cli.command import (
    ALLOW_SECRET,
    PROCESS_ID,
    VERSION,
    Command,
    option,
    positional,
)
from tablevault.cli.context import CommandContext, given_text

_TABLE = positional("table_name", "the table", "table")
_TEXT = option("text", 'what to write; "-" reads the standard input')
_COPY = option("copy-dir", "file or folder to copy", "path")


def _create_module(context: CommandContext, given: argparse.Namespace) -> object:
    """Write code modules."""
    from tablevault.operations.files import CreateCodeModule

    vault = context.vault()
    return CreateCodeModule(
        module_name=given.module_name,
        copy_dir=given.copy_dir,
        text=given_text(given.text),
        allow_secret=given.allow_secret,
    ).run(vault, given.process_id)


def _delete_module(context: CommandContext, given: argparse.Namespace) -> object:
    """Remove a code module."""
    from tablevault.operations.files import DeleteCodeModule

    asked = DeleteCodeModule(module_name=given.module_name)
    return asked.run(context.vault(), given.process_id)


def _create_builder(context: CommandContext, given: argparse.Namespace) -> object:
    """Write builders."""
    from tablevault.operations.files import CreateBuilderFile

    vault = context.vault()
    return CreateBuilderFile(
        table_name=given.table_name,
        builder_name=given.builder_name,
        version=given.version,
        copy_dir=given.copy_dir,
        text=given_text(given.text),
        allow_secret=given.allow_secret,
    ).run(vault, given.process_id)


def _delete_builder(context: CommandContext, given: argparse.Namespace) -> object:
    """Remove a builder."""
    from tablevault.operations.files import DeleteBuilderFile

    return DeleteBuilderFile(
        builder_name=given.builder_name, table_name=given.table_name, version=given.version
    ).run(context.vault(), given.process_id)


COMMANDS = (
    Command(
        name="create-code-module",
        summary="write code modules",
        run=_create_module,
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
        run=_delete_module,
        arguments=(positional("module_name", "the module", "module"), PROCESS_ID),
    ),
    Command(
        name="create-builder-file",
        summary="write builders into a temporary instance",
        run=_create_builder,
        arguments=(
            _TABLE,
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
        run=_delete_builder,
        arguments=(
            _TABLE,
            positional("builder_name", "the builder", "builder"),
            VERSION,
            PROCESS_ID,
        ),
    ),
)
