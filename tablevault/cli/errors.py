"""Errors at a prompt: what was wrong, what is kept, and the calls of hints as commands."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence

from tablevault.cli.command import Argument, Command, commands
from tablevault.cli.context import CommandContext
from tablevault.errors import (
    TableVaultError,
    TVArgumentError,
    TVLockError,
    message_of,
    user_line,
)
from tablevault.secrets import text_to_keep
from tablevault.wording import (
    BLANK,
    Call,
    Either,
    Named,
    OperationName,
    Parameter,
    Wording,
    written,
)

PROGRAM = "tablevault"
_PASTED = re.compile(r"`(tablevault|git) (?!init |config --global |-)")
"""A command of a hint, to be pasted; what is done elsewhere is not in backticks."""
Tell = Callable[[str], str]


def explained(error: BaseException, context: CommandContext, given: argparse.Namespace) -> str:
    """Return what stderr shows: the error, and what to do next."""
    tell = in_shell(context)
    first = "Interrupted." if isinstance(error, KeyboardInterrupt) else described(error, tell)
    return f"{first}\n{_kept(error, context, given, tell)}".rstrip()


def in_shell(context: CommandContext) -> Tell:
    """Return the function that writes a text for a prompt: its commands act on this vault."""
    options = (("--db-dir", context.db_dir), ("--author", context.named_author))
    leading = [word for name, value in options if value for word in _option(name, value)]
    write = at_prompt(leading)
    programs = {PROGRAM: [PROGRAM, *leading], "git": ["git", *_git_options(context)]}

    def paste(text: str) -> str:
        return _PASTED.sub(lambda found: f"`{shlex.join(programs[found[1]])} ", text)

    def tell(text: str) -> str:
        parts = text.parts if isinstance(text, Wording) else [text]
        return "".join(
            write(part) if isinstance(part, Call) else paste(written(Wording(part), write))
            for part in parts
        )

    return tell


def _git_options(context: CommandContext) -> list[str]:
    """Return what makes git act on the vault from the current folder."""
    with contextlib.suppress(TableVaultError, OSError):
        if not context.path.samefile("."):
            return ["-C", str(context.path)]
    return []


def described(error: BaseException, tell: Tell) -> str:
    """Return an error as a line, with the position in a reference or the conflicts below it."""
    notes = "".join(f" {note}." for note in getattr(error, "__notes__", [])[-1:])
    line = user_line(error)
    if isinstance(error, TableVaultError):
        place = "" if line is None else f" ({line[0]}, line {line[1]}).{notes}"
        return f"TableVault error: {tell(error.wording)}{place}"
    text = ": ".join(filter(None, (type(error).__name__, " ".join(text_to_keep(error).split()))))
    if line is not None:
        return f"{text} ({line[0]}, line {line[1]}).{notes} {_MORE}"
    if _is_of_full_disk(error):
        return "TableVault error: The disk is full. Free some space, then repeat the command."
    if isinstance(error, OSError):
        return f"TableVault error: {_system(error)}"
    if notes:  # of a call
        return f"{text.removesuffix('.')}.{notes} {_MORE}"
    return f"Unexpected error: {text.removesuffix('.')}. Please report it. {_MORE}"


_MORE = "(--debug shows the traceback)"


def _is_of_full_disk(error: BaseException) -> bool:
    """Return whether the operating system, SQLite or libgit2 found no space."""
    full = errno.ENOSPC
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_of_git = type(error).__module__.partition(".")[0] in {"pygit2", "_pygit2"}
    return (
        (isinstance(error, OSError) and error.errno == full)
        or code == sqlite3.SQLITE_FULL
        or (is_of_git and os.strerror(full) in message_of(error))
    )


def _system(error: OSError) -> str:
    """Format an error of the operating system: the file, the reason, what to do."""
    reason = error.strerror or message_of(error)
    if error.filename is None:
        return f"{reason}."
    return f'"{os.fsdecode(error.filename)}" cannot be used: {reason}. Check the path.'


def _kept(
    error: BaseException, context: CommandContext, given: argparse.Namespace, tell: Tell
) -> str:
    """Return what a failed operation keeps; roll it back if it cannot be resumed."""
    is_process = hasattr(given, "process_id") or hasattr(given, "undo_process_id")
    if not is_process and given.command != "refresh":
        return ""
    from tablevault.operations.processes import StopProcess
    from tablevault.queries import calls, processes

    try:
        vault = context.inspect()
    except TableVaultError:  # there is no vault, which is the error itself
        return ""
    with contextlib.suppress(TableVaultError, OSError):
        for process_id, process in processes.active(vault).items():
            if process["pid"] != os.getpid() or process["parent_id"]:
                continue
            if not process["force_takedown"]:
                return _paused(error, process_id, process["rows"], given, tell)
            StopProcess(to_stop_process_id=process_id).run(vault)
    is_refused = isinstance(error, TVArgumentError | TVLockError)  # so would be the same again
    if given.command == "execute-instance" and not given.process_id and not is_refused:
        done = calls.finished_rows(vault, given.table_name, given.version)
        kept = ", ".join(f"{count:,} of {builder}" for builder, count in done.items() if count)
        if kept:
            again = f"`{shlex.join([PROGRAM, *given.words])}`"
            return f"Finished calls are kept ({kept}).\n{_next(error)}: {again}"
    if given.command == "refresh":
        again = f"`{shlex.join([PROGRAM, *given.words])}`"
        is_told = isinstance(error, TableVaultError)
        return "" if is_told else f"Finished tables and calls are kept. Continue: {again}"
    return "Nothing was changed." if isinstance(error, KeyboardInterrupt) else ""


def _next(error: BaseException) -> str:
    """Return what to do before an operation is continued."""
    is_interrupt = isinstance(error, KeyboardInterrupt)
    return "Continue" if is_interrupt else "Correct the cause, then continue"


def _paused(
    error: BaseException, process_id: str, rows: object, given: argparse.Namespace, tell: Tell
) -> str:
    """Format a paused process: its finished rows, how to go on, and how to give it up."""
    done = rows if isinstance(rows, dict) else {}
    kept = ", ".join(f"{count:,} of {builder}" for builder, count in done.items())
    stop = tell(Wording(Call("stop_process", to_stop_process_id=process_id)))
    again = f"`{shlex.join([PROGRAM, *given.words])}`"
    return (
        f'Process "{process_id}" is paused and keeps its finished rows ({kept or "none yet"}).\n'
        f"{_next(error)}: {again}\n"
        f"Or stop it: {stop}"
    )


def at_prompt(leading: Sequence[str] = ()) -> Callable[[Named], str]:
    """Return the function that formats a call as a command, in backticks.

    Parameters
    ----------
    leading : sequence of str
        Options of every command, as they were typed: what is pasted works in the same vault.

    Returns
    -------
    callable
        Takes a part of a wording, and returns its text.
    """
    known = commands()

    def write(named: Named) -> str:
        if isinstance(named, Either):
            return named.prompt
        if isinstance(named, OperationName):
            with contextlib.suppress(LookupError):
                return command_for(known, Call(named.name))[0].name
            return named.name  # of an operation that only others start
        if isinstance(named, Parameter):
            command, _ = command_for(known, Call(named.operation))
            name = command_argument(command, named.name)
            return f"{name} {shlex.quote(named.value)}" if named.value else name
        try:
            command, _ = command_for(known, named)
            typed = words(known, named)
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
    return next(each for each in command.arguments if each.parameter == parameter).shown


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
        else:
            yield from _option(argument.long_name, word)


def _option(name: str, value: str) -> list[str]:
    """Return the words of an option; a value that begins with a hyphen is no word of its own."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]
