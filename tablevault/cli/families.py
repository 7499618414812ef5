"""All commands, by name, in the order in which they are listed."""

from __future__ import annotations

from tablevault.cli import (
    care,
    completion,
    files,
    instances,
    past,
    processes,
    reading,
    sharing,
    tables,
    vaults,
)
from tablevault.cli.command import Command


def commands() -> dict[str, Command]:
    """Give every command by its name."""
    families = (
        vaults,
        sharing,
        tables,
        files,
        instances,
        processes,
        reading,
        past,
        care,
        completion,
    )
    return {command.name: command for family in families for command in family.COMMANDS}
