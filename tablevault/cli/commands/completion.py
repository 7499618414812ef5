"""Completion by a shell: commands, options, tables, instances, modules, processes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, TextIO

from tablevault.cli.command import GLOBALS, Argument, Command, Completes
from tablevault.cli.context import CommandContext

if TYPE_CHECKING:
    from tablevault.vault import Vault

_FILES = ":files"
"""Answer that leaves it to the shell to complete the name of a file."""


def answer(words: Sequence[str], commands: Mapping[str, Command], stream: TextIO) -> int:
    """Print completions of the last word, one a line; errors are not printed."""
    try:
        offered = list(offers(list(words), commands))
    except Exception:  # noqa: BLE001 - after an error nothing is offered
        offered = []
    stream.writelines(f"{each}\n" for each in offered)
    return 0


def offers(words: list[str], commands: Mapping[str, Command]) -> Iterable[str]:
    """Return the completions of the last of `words`."""
    *before, last = words or [""]
    name, options, values = _read(before, commands)
    command = commands.get(name)
    known = _by_name(command)
    if before and before[-1] in known and known[before[-1]].takes_value:
        return _values(known[before[-1]], last, options, values)
    if last.startswith("-") and (command or not name):
        return _beginning(last, [each for each in known if each.startswith("-")])
    if command is None:
        return [] if name else _beginning(last, commands)
    positionals = [each for each in command.arguments if not each.is_option]
    if positionals and positionals[-1].options.get("nargs") == "*":
        positionals += [positionals[-1]] * len(values)
    if len(values) < len(positionals):
        return _values(positionals[len(values)], last, options, values)
    return []


def _by_name(command: Command | None) -> dict[str, Argument]:
    """Return arguments by each of their names: those of a command, and of every command."""
    arguments = (*(command.arguments if command else ()), *GLOBALS)
    return {name: argument for argument in arguments for name in argument.names}


def _read(
    before: list[str], commands: Mapping[str, Command]
) -> tuple[str, dict[str, str], list[str]]:
    """Sort words into the command, the values of options, and positional values."""
    name = ""
    options: dict[str, str] = {}
    values: list[str] = []
    rest = iter(before)
    for word in rest:
        argument = _by_name(commands.get(name)).get(word)
        if argument is not None and argument.takes_value:
            options[word] = next(rest, "")
        elif word.startswith("-"):
            key, _, value = word.partition("=")
            options[key] = value
        elif not name:
            name = word
        else:
            values.append(word)
    return name, options, values


def _beginning(start: str, words: Iterable[str]) -> list[str]:
    """Keep the words that begin with `start`."""
    return [word for word in words if word.startswith(start)]


def _values(
    argument: Argument, start: str, options: dict[str, str], values: list[str]
) -> list[str]:
    """Return the values that an argument may have."""
    if choices := argument.options.get("choices"):
        return _beginning(start, map(str, choices))
    kind = argument.completes
    if kind == "path":
        return [_FILES]
    if not kind:
        return []
    context = CommandContext(db_dir=options.get("--db-dir", ""), is_quiet=True)
    vault = context.inspect()
    table = options.get("--table-name", "") or (values[0] if values else "")
    return _beginning(start, _things(kind, vault, table))


def _things(kind: Completes, vault: Vault, table: str) -> list[str]:
    """Return the names of things in the vault."""
    from tablevault.queries import describe, processes
    from tablevault.remotes import remote_settings

    ask = {
        "table": lambda: describe.table_instances(vault, "", ""),
        "instance": lambda: describe.table_instances(vault, table, "", include_temp=True),
        "module": lambda: describe.code_modules(vault),
        "builder": lambda: describe.builders_list(vault, table, "", "base", is_temp=True),
        "process": lambda: list(processes.active(vault)),
        "remote": lambda: list(remote_settings.list_remotes(vault)),
    }
    return ask[kind]()


_SHELLS = ("bash", "zsh", "fish")


def _script(context: CommandContext, given: argparse.Namespace) -> object:
    """Return the script for a shell, which asks by `ASK`."""
    del context
    script = resources.files("tablevault.cli") / "shells" / f"completion.{given.shell}"
    return script.read_text("utf-8")


COMMANDS = (
    Command(
        name="completion",
        summary="print the script by which a shell completes commands, tables and instances",
        run=_script,
        details='In ~/.bashrc: eval "$(tablevault completion bash)"; in ~/.zshrc: zsh.',
        arguments=(Argument(("shell",), {"choices": _SHELLS, "help": "bash, zsh or fish"}),),
    ),
)
