"""Calls that errors name, as commands to be pasted; options are those of the parser."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from tablevault.cli import registry
from tablevault.cli.command import Argument, Command
from tablevault.wording import BLANK, Call, Either, Named, OperationName, Parameter

PROGRAM = "tablevault"


def at_prompt(leading: Sequence[str] = ()) -> Callable[[Named], str]:
    """Return what writes a call as a command, in backticks.

    Parameters
    ----------
    leading : sequence of str
        Options of every command, as they were typed: what is pasted works in the same vault.

    Returns
    -------
    callable
        Takes a part of a wording, and returns its text.
    """
    commands = registry.commands()

    def write(named: Named) -> str:
        if isinstance(named, Either):
            return named.prompt
        if isinstance(named, OperationName):
            with contextlib.suppress(LookupError):
                return command_for(commands, Call(named.name))[0].name
            return named.name  # of an operation that only others start
        if isinstance(named, Parameter):
            command, _ = command_for(commands, Call(named.operation))
            name = command_argument(command, named.name)
            return f"{name} {shlex.quote(named.value)}" if named.value else name
        try:
            command, _ = command_for(commands, named)
            typed = words(commands, named)
        except LookupError:  # what Python alone can do is better shown as that than not at all
            return str(named)
        makes_vault = any(each.parameter == "db_dir" for each in command.arguments)
        before = [] if makes_vault else leading
        return f"`{shlex.join([PROGRAM, *before, *typed])}`"

    return write


def command_for(commands: Mapping[str, Command], call: Call) -> tuple[Command, Call]:
    """Find the command that does what a call does, and the call that it stands for.

    Raises
    ------
    LookupError
        No command does.
    """
    for command in commands.values():
        for known in command.calls:
            same = all(call.arguments.get(name) == of for name, of in known.arguments.items())
            if known.operation == call.operation and same:
                return command, known
    raise LookupError(f"no command for {call}")


def command_argument(command: Command, parameter: str) -> str:
    """Name the option or the placeholder that stands for a parameter."""
    found = next(each for each in command.arguments if each.parameter == parameter)
    return found.long_name if found.is_option else found.placeholder


def words(commands: Mapping[str, Command], call: Call) -> list[str]:
    """Return the words of the command that does what a call does, without the program.

    Raises
    ------
    LookupError
        No command does, or none of its arguments stands for a parameter.
    """
    command, fixed = command_for(commands, call)
    left = {name: value for name, value in call.arguments.items() if name not in fixed.arguments}
    known = {each.parameter for each in command.arguments}
    if not left.keys() <= known:
        raise LookupError(f"{command.name} has no argument for {left.keys() - known}")
    by_place: list[str] = []
    by_name: list[str] = []
    for argument in command.arguments:
        if argument.parameter in left:
            typed = list(_typed(argument, left[argument.parameter]))
            (by_name if argument.is_option else by_place).extend(typed)
    if any(word.startswith("-") for word in by_place):
        return [command.name, *by_name, "--", *by_place]
    return [command.name, *by_place, *by_name]


def _typed(argument: Argument, value: object) -> Iterator[str]:
    """Return what is typed for the value of one argument."""
    for each in [BLANK] if value is BLANK else argument.words(value):
        word = argument.placeholder if each is BLANK else str(each)
        if not argument.is_option:
            yield word
        elif not argument.takes_value:
            yield argument.long_name
        elif word.startswith("-"):
            yield f"{argument.long_name}={word}"
        else:
            yield argument.long_name
            yield word
