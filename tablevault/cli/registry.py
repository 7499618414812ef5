"""All commands, by name, in the order in which they are listed; loaded when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from tablevault.cli.command import Command

_FAMILIES = {
    "vaults": (
        "create-vault",
        "demo",
        "import-original",
        "compress",
        "decompress",
        "delete-vault",
    ),
    "sharing": ("clone", "remote", "push", "pull"),
    "tables": ("create-table", "rename-table", "delete-table"),
    "files": (
        "create-code-module",
        "delete-code-module",
        "create-builder-file",
        "delete-builder-file",
    ),
    "instances": (
        "create-instance",
        "write-instance",
        "plan",
        "execute-instance",
        "delete-instance",
    ),
    "processes": (
        "generate-process-id",
        "stop-process",
        "undo",
        "get-process-completion",
        "get-active-processes",
        "restart",
    ),
    "reading": (
        "get-dataframe",
        "get-table-instances",
        "get-descriptions",
        "get-artifact-folder",
        "get-file-tree",
        "get-modules-list",
        "get-builders-list",
        "get-builder-str",
        "get-code-module-str",
    ),
    "refreshing": ("status", "refresh"),
    "history": ("log", "diff", "lineage"),
    "calls": ("calls",),
    "config": ("config",),
    "reporting": ("report",),
    "maintenance": ("verify", "gc"),
    "completion": ("completion",),
}
"""The commands of each module, so that one can be run without the others being loaded."""
GLOBAL_OPTIONS = {
    "--db-dir": True,
    "--author": True,
    "--quiet": False,
    "-q": False,
    "--debug": False,
    "--json": False,
    "--output": True,
    "-o": True,
}
"""Options of every command, and whether a value follows."""


def commands(words: Sequence[str] = ()) -> dict[str, Command]:
    """Return commands by name: those of the family that `words` ask for, else all."""
    asked = _asked(words)
    known = {name: family for family, names in _FAMILIES.items() for name in names}
    loaded = [known[asked]] if asked in known else list(_FAMILIES)
    return {
        command.name: command
        for family in loaded
        for command in import_module(f"tablevault.cli.{family}").COMMANDS
    }


def _asked(words: Sequence[str]) -> str:
    """Find the name of the command in a command line: the first that is no option's."""
    is_value = False
    for word in words:
        if not is_value and not word.startswith("-"):
            return word
        is_value = not is_value and GLOBAL_OPTIONS.get(word, False)
    return ""
