"""What a command is, what its arguments are, and which commands there are."""

from __future__ import annotations

import argparse
import dataclasses
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from tablevault.cli.context import CommandContext, UsageError
from tablevault.wording import Call

Completes = Literal["", "table", "instance", "module", "builder", "process", "path", "remote"]
Run = Callable[[CommandContext, argparse.Namespace], object]


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
    read : callable, optional
        Returns the value of the parameter for what was typed, where that is not the value itself.
    typed : callable, optional
        Returns what is typed for a value of the parameter: the inverse of `read`.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any]
    completes: Completes = ""
    parameter: str = field(default="", kw_only=True)
    read: Callable[[Any], object] | None = field(default=None, kw_only=True)
    typed: Callable[[Any], Sequence[object]] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Name the parameter like the argument, by default."""
        self.parameter = self.parameter or self.destination

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
    def destination(self) -> str:
        """Name under which the parser keeps its value."""
        return str(self.options.get("dest") or self.long_name.lstrip("-").replace("-", "_"))

    @property
    def placeholder(self) -> str:
        """Word that stands for an unknown value."""
        return str(self.options.get("metavar") or self.names[0].upper())

    @property
    def shown(self) -> str:
        """Name in messages."""
        return self.long_name if self.is_option else self.placeholder

    def value(self, given: argparse.Namespace) -> Any:  # noqa: ANN401 - of any parameter
        """Return the value of the parameter."""
        typed = getattr(given, self.destination)
        return typed if self.read is None else self.read(typed)

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
    run : callable or str
        Returns the value that is shown; None shows nothing. As text, what is called with a value
        for each argument: ``operations.tables:CreateTable``, an operation, or a function such as
        ``queries.describe:descriptions``, whose first parameter is the vault.
    details : str
        Sentences of ``--help`` after the summary.
    calls : tuple of Call
        Calls of the Python API that it stands for, with the arguments that it fixes; by default
        the one of its name.
    """

    name: str
    summary: str
    run: Run | str
    arguments: tuple[Argument, ...] = ()
    details: str = ""
    calls: tuple[Call, ...] = ()

    def __post_init__(self) -> None:
        """Stand for the call of the same name, by default."""
        self.calls = self.calls or (Call(self.name.replace("-", "_")),)

    def __call__(self, context: CommandContext, given: argparse.Namespace) -> object:
        """Run it, and return the value that is shown."""
        if not isinstance(self.run, str):
            return self.run(context, given)
        values = values_of(self.arguments, given)
        called: Any = pkgutil.resolve_name(f"tablevault.{self.run}")
        if not isinstance(called, type):
            return called(context.read(), **values)
        fields = {each.name for each in dataclasses.fields(called)}
        (process_id,) = [values.pop(name) for name in values.keys() - fields]
        return called(**values).run(context.vault(), process_id)


def values_of(arguments: Sequence[Argument], given: argparse.Namespace) -> dict[str, Any]:
    """Return the value of each parameter."""
    return {each.parameter: each.value(given) for each in arguments}


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


def repeated(
    name: str,
    metavar: str,
    text: str,
    completes: Completes = "",
    *,
    parameter: str,
    typed: Callable[[Any], Sequence[object]],
) -> Argument:
    """Make an option with a value that may be repeated."""
    options = {"action": "append", "metavar": metavar, "help": f"{text}; may be repeated"}
    return Argument((f"--{name}",), options, completes, parameter=parameter, typed=typed)


def switch(name: str, text: str, *, parameter: str = "") -> Argument:
    """Make an option that is there or not."""
    return Argument((f"--{name}",), {"help": text, "action": "store_true"}, parameter=parameter)


def opposite(name: str, text: str, *, parameter: str) -> Argument:
    """Make an option that is there when a parameter is False."""
    return dataclasses.replace(
        switch(name, text, parameter=parameter),
        read=lambda is_there: not is_there,
        typed=lambda value: [] if value else [True],
    )


def either(
    name: str, other: str, text: str, *, default: bool | None, parameter: str = ""
) -> Argument:
    """Make a pair of options, ``--name`` and ``--other``, that set the destination `name`."""
    chosen = "" if default is None else f" (default: --{name if default else other})"
    return Argument(
        (f"--{name}", f"--{other}"),
        {
            "help": f"{text}{chosen}",
            "action": _EitherSwitch,
            "nargs": 0,
            "default": default,
        },
        parameter=parameter,
    )


class _EitherSwitch(argparse.Action):
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


def refuse_both(given: argparse.Namespace, one: str, other: str) -> None:
    """Raise UsageError if two arguments are given that exclude each other."""
    if getattr(given, one) and getattr(given, other):
        names = [f"--{name.replace('_', '-')}" for name in (one, other)]
        raise UsageError(f"{names[0]} and {names[1]} exclude each other")


def number(kind: type[int | float], least: float = 0) -> Callable[[str], float]:
    """Return what reads a number of a kind that is at least `least`."""
    noun = "whole number" if kind is int else "number"

    def read(text: str) -> float:
        try:
            found = kind(text)
        except ValueError:
            found = math.nan
        if math.isnan(found):
            raise argparse.ArgumentTypeError(f'"{text}" is not a {noun}')
        if found < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return found

    return read


def not_blank(text: str) -> str:
    """Return a text; what is blank is no name, but a variable of the shell that is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f'"{text}" is blank')
    return text


TABLE = positional("table_name", "the table", "table")
PROCESS_ID = option("process-id", "id of the process, by which it can be resumed")
VERSION = option("version", "version of the table", default="base")
DESCRIPTION = option("description", "description, a sentence")
ALLOW_SECRET = switch("allow-secret", "accept text that looks like a key; the commit names it")
GLOBALS = (
    option(
        "db-dir",
        "folder of the vault (default: TABLEVAULT_DIR, else found upwards)",
        "path",
        metavar="PATH",
        default=None,
        type=not_blank,
    ),
    option(
        "author",
        "author of commits (default: TABLEVAULT_AUTHOR, else as git knows you)",
        metavar="TEXT",
        default=None,
        type=not_blank,
    ),
    Argument(
        ("-o", "--output"),
        {
            "metavar": "PATH",
            "type": not_blank,
            "help": "write the output into this file; - is the standard output",
        },
        "path",
    ),
    switch("json", "print JSON"),
    Argument(
        ("-q", "--quiet"),
        {"action": "store_true", "help": "print no log and no progress to stderr"},
    ),
    switch("debug", "show tracebacks"),
)
"""Options of every command."""
ASK = "__complete"
"""First word of a question of a shell: the words of the command line so far follow it."""
_MODULES = (
    "vaults",
    "remotes",
    "tables",
    "processes",
    "reading",
    "history",
    "maintenance",
    "completion",
)


def commands() -> dict[str, Command]:
    """Return all commands by name."""
    return {
        command.name: command
        for name in _MODULES
        for command in import_module(f"tablevault.cli.commands.{name}").COMMANDS
    }
