"""What a command is: its name, its arguments, and the function that runs it."""

from __future__ import annotations

import argparse

# Neither typing nor dataclasses: each takes longer to load than all commands together.
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from tablevault.cli.context import Place
from tablevault.wording import Call

Completes = Literal["", "table", "instance", "module", "builder", "process", "path", "remote"]


class Argument:
    """One argument of a command, as argparse takes it, and what a shell may offer for it.

    `parameter` is the one of the Python API that it stands for; `words` returns what is typed for
    a value of it, where that is not the value itself.
    """

    __slots__ = ("_words", "completes", "names", "options", "parameter")

    def __init__(
        self,
        names: tuple[str, ...],
        options: Mapping[str, Any],
        completes: Completes = "",
        *,
        parameter: str = "",
        words: Callable[[Any], Sequence[object]] | None = None,
    ) -> None:
        self.names = names
        self.options = options
        self.completes = completes
        self.parameter = parameter or self.long_name.lstrip("-").replace("-", "_")
        self._words = words

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
        if self._words is not None:
            return self._words(value)
        if self.is_option and not self.takes_value:
            return [True] if value is True else []
        return [] if value in ("", None) else [value]


class Command:
    """One command. `run` returns the value that is shown; None shows nothing.

    `calls` are those of the Python API that it stands for, with the arguments that it fixes.
    """

    __slots__ = ("arguments", "calls", "details", "name", "run", "summary")

    def __init__(
        self,
        *,
        name: str,
        summary: str,
        run: Callable[[Place, argparse.Namespace], object],
        arguments: tuple[Argument, ...] = (),
        details: str = "",
        calls: tuple[Call, ...] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.arguments = arguments
        self.details = details
        self.calls = calls or (Call(name.replace("-", "_")),)


def positional(
    name: str,
    text: str,
    completes: Completes = "",
    *,
    default: str | None = None,
    parameter: str = "",
) -> Argument:
    """Make an argument that is given by its place; with a `default` it may be left out."""
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


PROCESS_ID = option("process-id", "id of the process, so that it can be taken up again")
VERSION = option("version", "version of the table", default="base")
DESCRIPTION = option("description", "what it is, in a sentence")
ACCEPT_CODE = option(
    "accept-code",
    "whether results of other code count: yes keeps them, no makes them anew",
    default=None,
    choices=("yes", "no"),
)
ALLOW_SECRET = switch(
    "allow-secret", "keep it although something in it looks like a key; the commit names that"
)
MAX_CALLS = option("max-calls", "call functions at most so often", default=None, type=int)
MAX_COST = option("max-cost", "end before a call when so much is spent", default=None, type=float)
ASK = "__complete"
"""First word of a question of a shell: the words of the command line so far follow it."""
