"""The program ``tablevault``: parses arguments, runs one command, prints errors."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from tablevault.cli.command import ASK, GLOBALS, Command, commands
from tablevault.cli.context import AbortedError, CommandContext, UsageError, output_file
from tablevault.cli.output import FileOutput, show
from tablevault.errors import TVFileError, reason_of

if TYPE_CHECKING:
    import logging

    from _typeshed import SupportsWrite

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130
_BROKEN_PIPE = 141
_ALL_THE_SAME = "What the command did is done all the same."
_MAY_BE_BLANK = {"version", "description", "process_id", "undo_process_id", "text"}
_MISSING = "the following arguments are required"
_STDOUT, _STDERR = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit code.

    0: done. 1: TableVault refuses, a function failed, or problems were found. 2: the arguments
    are wrong. 130: interrupted by Ctrl-C.
    """
    _open_closed_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _main(words)
        finally:
            sys.stdout.flush()  # of help, too: at the exit of Python nobody could handle an error
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does: there is nothing more to flush.
        _drop_output()
        return _BROKEN_PIPE
    except OSError as error:  # of help, whose errors argparse leaves to the flush
        _drop_output()
        _print_error(f"TableVault error: {_unwritable(error)}")
        return _FAILED
    except KeyboardInterrupt:  # before or after a command
        _print_error("Interrupted.")
        return _INTERRUPTED


def _main(words: list[str]) -> int:
    """Parse the arguments, and run the command."""
    known = commands()
    if words[:1] == [ASK]:
        from tablevault.cli.commands import completion

        return completion.answer(words[1:], known, sys.stdout)
    parser = build_parser(known)
    given = _parsed(parser, words, known)
    given.words = words
    if not given.command:
        parser.print_help()
        return _USAGE
    return _run(known[given.command], given)


def _open_closed_streams() -> None:
    """Replace streams that the caller has closed, as `>&-` does: nobody reads what goes there.

    Otherwise they are None, and the next file that is opened gets their number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, stream)


def _drop_output() -> None:
    """Let nothing more be written to the standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(command: Command, given: argparse.Namespace) -> int:
    """Run a command; print its errors, and return the exit code."""
    warnings.showwarning = _warn
    context = CommandContext(
        db_dir=given.db_dir or "", named_author=given.author or "", is_quiet=given.quiet
    )
    try:
        _refuse_output(given.output)
        _refuse_bytes(command, given)
        _refuse_blank(command, given)
        with _results_alone(command), _warnings_in_one_line(given):
            value = command(context, given)
        _show(value, given)
    except UsageError as error:
        from tablevault.cli.errors import in_shell

        _print_error(f"tablevault {command.name}: error: {in_shell(context)(str(error))}")
        return _USAGE
    except AbortedError as error:
        _print_error(f"Nothing was changed. {error}".rstrip())
        return _FAILED
    except BrokenPipeError:
        raise
    except BaseException as error:  # noqa: BLE001 - it is printed
        # What is no Exception comes from a function of a builder, and ends the execution.
        if given.debug and not isinstance(error, KeyboardInterrupt):
            import traceback

            traceback.print_exception(error)
        from tablevault.cli.errors import explained

        _print_error(explained(error, context, given))
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED
    return getattr(value, "exit_code", _OK)


@contextlib.contextmanager
def _results_alone(command: Command) -> Iterator[None]:
    """Send to the standard error what is printed as a command runs: it is no result.

    Functions of builders print in this process, in workers, by libraries in C and by programs that
    they start, so the file itself is redirected. The protocol of git-lfs is a result.
    """
    if command.name == "lfs-agent":
        yield
        return
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)


@contextlib.contextmanager
def _warnings_in_one_line(given: argparse.Namespace) -> Iterator[None]:
    """Leave tracebacks out of what the package logs, but for ``--debug``."""
    import logging

    logger = logging.getLogger("tablevault")
    if not given.debug:
        logger.addFilter(_in_one_line)
    try:
        yield
    finally:
        logger.removeFilter(_in_one_line)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Put the exception of a record into its message."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        text = " ".join(reason_of(error).split())
        record.msg = f"{record.getMessage()} ({type(error).__name__}: {text})"
        record.args, record.exc_info = (), None
    return True


def _refuse_output(path: str | None) -> None:
    """Raise UsageError if the file of ``--output`` cannot be written: before any work."""
    if path is not None and path != "-":
        output_file(path)


def _refuse_bytes(command: Command, given: argparse.Namespace) -> None:
    """Raise UsageError for a value that is not UTF-8 where it is not the path of a file."""
    for argument in (*command.arguments, *GLOBALS):
        value = getattr(given, argument.destination)
        if argument.completes != "path" and isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise UsageError(f"the value of {argument.shown} is not UTF-8") from None


def _refuse_blank(command: Command, given: argparse.Namespace) -> None:
    """Raise UsageError for a blank value: most likely a variable of the shell that is not set."""
    arguments = [*command.arguments, *GLOBALS]
    before_value = {name for each in arguments if each.takes_value for name in each.names}
    typed = {word.partition("=")[0] for word in given.words}
    is_by_place = any(
        not word.strip() and before not in before_value
        for before, word in itertools.pairwise(given.words)
    )
    for argument in command.arguments:
        value = getattr(given, argument.destination)
        values = value if isinstance(value, list) else [value]
        if not any(isinstance(each, str) and not each.strip() for each in values):
            continue
        is_by_name = argument.destination not in _MAY_BE_BLANK and typed & {*argument.names}
        if is_by_name if argument.is_option else is_by_place:
            raise UsageError(f"the value of {argument.shown} is blank")


def _show(value: object, given: argparse.Namespace) -> None:
    """Print what a command returned, or write it into the file of ``--output``."""
    if isinstance(value, FileOutput) or given.output in (None, "-"):
        _print(value.value if isinstance(value, FileOutput) else value, given)
        return
    import io

    text = io.StringIO()
    show(value, text, as_json=given.json)
    try:
        Path(given.output).write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise TVFileError(
            f'"{given.output}" cannot be written: {error.strerror}.', _ALL_THE_SAME
        ) from error


def _print(value: object, given: argparse.Namespace) -> None:
    """Print to the standard output.

    Raises
    ------
    TVFileError
        It cannot be written: its disk is full, for instance.
    """
    try:
        show(value, sys.stdout, as_json=given.json)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise TVFileError(_unwritable(error), _ALL_THE_SAME) from error


def _unwritable(error: OSError) -> str:
    """Return why nothing can be printed."""
    return f"The standard output cannot be written: {error.strerror}."


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a line, with the place in the code where that is of the user."""
    del category, file, line
    is_ours = filename.startswith(str(Path(__file__).parents[1]))
    _print_error(f"Warning: {message}" + ("" if is_ours else f" ({filename}, line {lineno})"))


def _print_error(text: str) -> None:
    """Print a line to stderr; names in it may come from anywhere."""
    from tablevault import render

    sys.stderr.write(f"{render.harmless(text)}\n")


def _parsed(
    parser: argparse.ArgumentParser, words: list[str], known: Mapping[str, Command]
) -> argparse.Namespace:
    """Parse the arguments; surplus ones are an error of the command, not of the program."""
    given, left = parser.parse_known_args(words)
    if left:
        prog = f"{parser.prog} {given.command}" if given.command else parser.prog
        arguments = (*(known[given.command].arguments if given.command else ()), *GLOBALS)
        names = [name for each in arguments for name in each.names]
        parser.exit(_USAGE, _usage_error(prog, _unrecognized(left, names)))
    return given


def _usage_error(prog: str, message: str) -> str:
    """Format what is wrong with the arguments of a program or one of its commands."""
    return f"{prog}: error: {message}\nSee `{prog} --help`.\n"


def _unrecognized(words: Sequence[str], known: Iterable[str]) -> str:
    """Return which words are not known, and the options that are most like the first of them."""
    typed = next((word for word in words if word.startswith("--")), "").partition("=")[0]
    near = _nearest(typed, [name for name in known if name.startswith("--")])
    return f"unrecognized arguments: {' '.join(words)}{near}"


def _nearest(typed: str, known: Iterable[str]) -> str:
    """Return a question for the names that are most like what was typed; "" if none is."""
    import difflib

    near = difflib.get_close_matches(typed, list(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the command that helps."""

    words: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]  # of a program, always a new namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments, and note them for errors."""
        self.words = args or ()
        return super().parse_known_args(args, namespace)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help; argparse would ignore that it cannot be written."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the arguments, and exit with code 2.

        argparse finds a missing argument before it finds an unknown option, such as a misspelt one.
        """
        known = self._option_string_actions
        unknown = [
            word
            for word in itertools.takewhile(lambda word: word != "--", self.words)
            if word[:1] == "-" and word.strip("-")[:1].isalpha()
            if not {word.partition("=")[0], word[:2]} & known.keys()
        ]
        if unknown and message.startswith(_MISSING):
            message = _unrecognized(unknown, known)
        self.exit(_USAGE, _usage_error(self.prog, message))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Suggest similar commands for an unknown one, instead of listing all."""
        if action.dest == "command" and action.choices is not None and value not in action.choices:
            hint = _nearest(str(value), action.choices)
            raise argparse.ArgumentError(None, f'there is no command "{value}"{hint}')
        super()._check_value(action, value)


def build_parser(known: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="tablevault",
        description="Tables made with Python, every step of their making kept in git.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"tablevault {sys.modules['tablevault'].__version__}"
    )
    for argument in GLOBALS:
        parser.add_argument(*argument.names, **argument.options)
    added = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    # After the command they must not overwrite what stands before it.
    unless_given: dict[str, Any] = {"default": argparse.SUPPRESS}
    for command in known.values():
        one = added.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}. "
            f"{command.details}".rstrip(),
            allow_abbrev=False,
        )
        for argument in command.arguments:
            one.add_argument(*argument.names, **argument.options)
        group = one.add_argument_group("options of every command")
        for argument in GLOBALS:
            group.add_argument(*argument.names, **{**argument.options, **unless_given})
    return parser
