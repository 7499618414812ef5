"""The command ``tablevault``: arguments are read, one command is run, errors become text."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from tablevault.cli import families
from tablevault.cli.command import ASK
from tablevault.cli.mistakes import AbortedError, UsageError
from tablevault.cli.output import show
from tablevault.cli.place import Place
from tablevault.errors import TableVaultError, said
from tablevault.tracebacks import user_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import NoReturn

    from tablevault.cli.command import Command

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130
_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give the exit code.

    0: done. 1: TableVault refuses, a function failed, or problems were found. 2: the arguments
    are wrong. 130: interrupted by Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == [ASK]:
        from tablevault.cli import completion

        return completion.answer(words[1:], families.commands(), sys.stdout)
    commands = families.commands(words)
    # To make the arguments of all commands would take longer than most commands take.
    parser = build_parser(commands, whole=words)
    given = _parsed(parser, words)
    if not given.command:
        parser.print_help()
        return _USAGE
    command = commands[given.command]
    try:
        return _run(command, given)
    except BrokenPipeError:
        # Who reads has gone, as `head` does: there is nobody to tell, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _run(command: Command, given: argparse.Namespace) -> int:
    """Run a command, and turn what goes wrong into a line and an exit code."""
    place = Place(db_dir=given.db_dir, named_author=given.author, is_quiet=given.quiet)
    try:
        value = command.run(place, given)
        show(value, sys.stdout, as_json=getattr(given, "json", False))
        sys.stdout.flush()
        place.leave()
    except UsageError as error:
        _tell(f"tablevault {command.name}: error: {error}")
        return _USAGE
    except AbortedError:
        _tell("Nothing was changed.")
        return _FAILED
    except KeyboardInterrupt:
        _tell(f"Interrupted. {_after_interrupt(place, given)}".rstrip())
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if given.debug:
            raise
        _tell(_told(error))
        return _FAILED
    return getattr(value, "exit_code", _OK)


def _tell(text: str) -> None:
    """Write a line where errors go; what it names may be somebody else's."""
    from tablevault import render

    sys.stderr.write(f"{render.harmless(text)}\n")


def _after_interrupt(place: Place, given: argparse.Namespace) -> str:
    """Take back what nobody could name to go on with it; say what comes next."""
    from tablevault import operations, queries

    with contextlib.suppress(TableVaultError):
        vault = place.look()
        for process_id, process in queries.processes.active(vault).items():
            if process["pid"] != os.getpid() or process["parent_id"]:
                continue
            if not process["force_takedown"]:
                return f"The same command, with --process-id {process_id}, goes on where it was."
            operations.stop.stop_process(vault, process_id, force=False, keep=False, process_id="")
    return "Nothing was changed." if hasattr(given, "process_id") else ""


def _told(error: Exception) -> str:
    """Tell a person of an error: one line, for what a function of theirs raised."""
    if isinstance(error, TableVaultError):
        return f"TableVault error: {error}"
    text = f"{type(error).__name__}: {' '.join(said(error).split()) or 'no text'}"
    place = user_line(error)
    if place is None:
        return f"Unexpected error: {text} (--debug tells more)"
    notes = " ".join(getattr(error, "__notes__", ())[-1:])
    return f"{text} ({place[0]}, line {place[1]}). {notes}. (--debug shows the traceback)"


def _version() -> str:
    """Give the version, which stands in the package itself, that imports the floors below."""
    return str(sys.modules["tablevault"].__version__)


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Read the arguments; what is left over is an error of the command, not of the program."""
    given, left = parser.parse_known_args(words)
    if left:
        command = f" {given.command}" if given.command else ""
        parser.exit(
            _USAGE,
            f"tablevault{command}: error: unrecognized arguments: {' '.join(left)}\n"
            f"See tablevault{command} --help.\n",
        )
    return given


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the command that helps."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and end with code 2."""
        self.exit(_USAGE, f"{self.prog}: error: {message}\nSee {self.prog} --help.\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Name the commands that are spelt like one that there is not, instead of all of them."""
        if action.dest == "command" and action.choices is not None and value not in action.choices:
            import difflib

            near = difflib.get_close_matches(str(value), list(action.choices), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise argparse.ArgumentError(None, f'there is no command "{value}"{hint}')
        super()._check_value(action, value)


def build_parser(
    commands: dict[str, Command], *, whole: Collection[str] | None = None
) -> argparse.ArgumentParser:
    """Make the parser of all commands; only those in `whole` get arguments, if that is given."""
    parser = _Parser(
        prog="tablevault",
        description="Tables made with Python, every step of their making kept in git.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tablevault {_version()}")
    _add_globals(parser, is_first=True)
    added = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for command in commands.values():
        if whole is not None and command.name not in whole:
            added.add_parser(command.name, help=command.summary, add_help=False)
            continue
        one = added.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}. "
            f"{command.details}".rstrip(),
            allow_abbrev=False,
        )
        for argument in command.arguments:
            one.add_argument(*argument.names, **argument.options)
        _add_globals(one, is_first=False)
    return parser


def _add_globals(parser: argparse.ArgumentParser, *, is_first: bool) -> None:
    """Add the options that every command has; they may stand before it or after it."""
    group = parser.add_argument_group("options of every command") if not is_first else parser

    def default(value: object) -> object:
        # After the command they must not overwrite what stands before it.
        return value if is_first else argparse.SUPPRESS

    group.add_argument(
        "--db-dir",
        metavar="PATH",
        default=default(""),
        help="the vault (default: TABLEVAULT_DIR, else the one that this folder is in)",
    )
    group.add_argument(
        "--author",
        metavar="TEXT",
        default=default(""),
        help="who works (default: TABLEVAULT_AUTHOR, else as git knows you)",
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", default=default(False), help="log nothing to stderr"
    )
    group.add_argument(
        "--debug", action="store_true", default=default(False), help="show tracebacks"
    )
