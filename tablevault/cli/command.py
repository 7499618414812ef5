"""What a command is: its name, its arguments, and the function that runs it."""

from __future__ import annotations

import argparse

# Neither typing nor dataclasses: each takes longer to load than all commands together.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from tablevault.cli.place import Place

    Completes = Literal["", "table", "instance", "module", "builder", "process", "path", "remote"]


class Argument:
    """One argument of a command, as argparse takes it, and what a shell may offer for it."""

    __slots__ = ("completes", "names", "options")

    def __init__(
        self, names: tuple[str, ...], options: Mapping[str, Any], completes: Completes = ""
    ) -> None:
        self.names = names
        self.options = options
        self.completes = completes

    @property
    def is_option(self) -> bool:
        """Tell whether it is given by its name."""
        return self.names[0].startswith("-")


class Command:
    """One command. `run` gives the value that is shown; None shows nothing."""

    __slots__ = ("arguments", "details", "name", "run", "summary")

    def __init__(
        self,
        *,
        name: str,
        summary: str,
        run: Callable[[Place, argparse.Namespace], object],
        arguments: tuple[Argument, ...] = (),
        details: str = "",
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.arguments = arguments
        self.details = details


def positional(
    name: str, text: str, completes: Completes = "", *, default: str | None = None
) -> Argument:
    """Make an argument that is given by its place; with a `default` it may be left out."""
    options: dict[str, Any] = {"help": text, "metavar": name.upper()}
    if default is not None:
        options |= {"nargs": "?", "default": default}
    return Argument((name,), options, completes)


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


def switch(name: str, text: str) -> Argument:
    """Make an option that is there or not."""
    return Argument((f"--{name}",), {"help": text, "action": "store_true"})


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


PROCESS_ID = option("process-id", "id of the process, so that it can be taken up again")
VERSION = option("version", "version of the table", default="base")
DESCRIPTION = option("description", "what it is, in a sentence")
JSON = switch("json", "print JSON")
ASK = "__complete"
"""First word of a question of a shell: the words of the command line so far follow it."""
