"""What a command is, and which there are: loaded when they are needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from tablevault.cli.context import CommandContext
from tablevault.wording import Call

Completes = Literal["", "table", "instance", "module", "builder", "process", "path", "remote"]


@dataclass(slots=True)
class Argument:
    """One argument of a command.

    Attributes
    ----------
    names : tuple of str
        Its option strings, or the one name of a positional argument.
    options : mapping
        Keywords of ``ArgumentParser.add_argument``.
    completes : str
        What a shell offers for its value; "" for nothing.
    parameter : str
        Parameter of the Python API that it stands for; by default that of its name.
    typed : callable, optional
        Returns what is typed for a value of the parameter, where that is not the value itself.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any]
    completes: Completes = ""
    parameter: str = field(default="", kw_only=True)
    typed: Callable[[Any], Sequence[object]] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Name the parameter like the argument, by default."""
        self.parameter = self.parameter or self.long_name.lstrip("-").replace("-", "_")

    @property
    def is_option(self) -> bool:
        """Return whether it is given by its name."""
        return self.names[0].startswith("-")

    @property
    def takes_value(self) -> bool:
        """Return whether a value follows the name."""
        return self.is_option and self.options.get("action", "append") == "append"

    @property
    def long_name(self) -> str:
        """Name by which it is best known: the first that begins with two hyphens, if any does."""
        return next((each for each in self.names if each.startswith("--")), self.names[0])

    @property
    def placeholder(self) -> str:
        """Word that stands for a value that nobody knows."""
        return str(self.options.get("metavar") or self.names[0].upper())

    def words(self, value: object) -> Sequence[object]:
        """Return the values that are typed for one of the parameter; none for a default."""
        if self.typed is not None:
            return self.typed(value)
        if self.is_option and not self.takes_value:
            return [True] if value is True else []
        return [] if value in ("", None) else [value]


@dataclass(slots=True, kw_only=True)
class Command:
    """One command.

    Attributes
    ----------
    run : callable
        Returns the value that is shown; None shows nothing.
    details : str
        Sentences of ``--help`` after the summary.
    calls : tuple of Call
        Calls of the Python API that it stands for, with the arguments that it fixes; by default
        the one of its name.
    """

    name: str
    summary: str
    run: Callable[[CommandContext, argparse.Namespace], object]
    arguments: tuple[Argument, ...] = ()
    details: str = ""
    calls: tuple[Call, ...] = ()

    def __post_init__(self) -> None:
        """Stand for the call of the same name, by default."""
        self.calls = self.calls or (Call(self.name.replace("-", "_")),)


def positional(
    name: str,
    text: str,
    completes: Completes = "",
    *,
    default: str | None = None,
    parameter: str = "",
) -> Argument:
    """Make an argument that is given by position; with a `default` it may be left out."""
    options: dict[str, Any] = {"help": text, "metavar": name.upper()}
    if default is not None:
        options |= {"nargs": "?", "default": default}
    return Argument((name,), options, completes, parameter=parameter)


def option(
    name: str,
    text: str,
    completes: Completes = "",
    *,
    default: str | int | None = "",
    **more: object,
) -> Argument:
    """Make an option with a value, ``--name VALUE``."""
    shown = f"{text} (default: {default})" if default not in ("", None) else text
    options = {"help": shown, "default": default, "metavar": name.rpartition("-")[2].upper()}
    return Argument((f"--{name}",), options | more, completes)


def switch(name: str, text: str, *, parameter: str = "") -> Argument:
    """Make an option that is there or not."""
    return Argument((f"--{name}",), {"help": text, "action": "store_true"}, parameter=parameter)


def either(name: str, other: str, text: str, *, default: bool) -> Argument:
    """Make a pair of options, ``--name`` and ``--other``, that set the destination `name`."""
    chosen = f"--{name}" if default else f"--{other}"
    return Argument(
        (f"--{name}", f"--{other}"),
        {
            "help": f"{text} (default: {chosen})",
            "action": _Either,
            "nargs": 0,
            "default": default,
            "dest": name.replace("-", "_"),
        },
    )


class _Either(argparse.Action):
    """Set true by the first of two names, false by the second."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Note which of the two was given."""
        del parser, values
        setattr(namespace, self.dest, option_string == self.option_strings[0])


def accepted_code(given: argparse.Namespace) -> bool | None:
    """Return what ``--accept-code`` says."""
    return None if given.accept_code is None else bool(given.accept_code == "yes")


PROCESS_ID = option("process-id", "id of the process, by which it can be resumed")
VERSION = option("version", "version of the table", default="base")
DESCRIPTION = option("description", "description, a sentence")
ACCEPT_CODE = option(
    "accept-code",
    "whether results of other code are kept (yes) or computed again (no)",
    default=None,
    choices=("yes", "no"),
)
ALLOW_SECRET = switch("allow-secret", "accept text that looks like a key; the commit names it")
MAX_CALLS = option("max-calls", "make at most this many calls", default=None, type=int)
MAX_COST = option(
    "max-cost", "stop before a call once this much is spent", default=None, type=float
)
ASK = "__complete"
"""First word of a question of a shell: the words of the command line so far follow it."""
_FAMILIES = {
    "vaults": (
        "create-vault",
        "import-original",
        "compress",
        "decompress",
        "delete-vault",
        "demo",
    ),
    "remotes": ("clone", "remote", "push", "pull"),
    "tables": ("create-table", "rename-table", "delete-table"),
    "code": (
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
        "report",
    ),
    "refresh": ("status", "refresh"),
    "history": ("log", "diff", "lineage", "calls"),
    "maintenance": ("verify", "gc", "config"),
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
        for command in import_module(f"tablevault.cli.commands.{family}").COMMANDS
    }


def _asked(words: Sequence[str]) -> str:
    """Find the name of the command in a command line: the first that is no option's."""
    is_value = False
    for word in words:
        if not is_value and not word.startswith("-"):
            return word
        is_value = not is_value and GLOBAL_OPTIONS.get(word, False)
    return ""
