"""What a person reads when a command fails: what was wrong, what is kept, what to type next."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from collections.abc import Callable

from tablevault.cli.context import Place
from tablevault.cli.hints import PROGRAM, at_prompt
from tablevault.errors import TableVaultError, said, user_line
from tablevault.secrets import text_to_keep
from tablevault.wording import Call, Named

Write = Callable[[Named], str]


def explained(error: BaseException, place: Place, given: argparse.Namespace) -> str:
    """Return the lines for the standard error: the error, and what can be done now."""
    write = writer(place)
    first = "Interrupted." if isinstance(error, KeyboardInterrupt) else described(error, write)
    return f"{first}\n{_kept(error, place, given, write)}".rstrip()


def writer(place: Place) -> Write:
    """Return what writes the calls in a text as commands for this vault."""
    options = (("--db-dir", place.db_dir), ("--author", place.named_author))
    leading = [word for name, value in options if value for word in (name, value)]
    return at_prompt(leading)


def described(error: BaseException, write: Write) -> str:
    """Return what is wrong: one line, and below it the place in a reference or the conflicts."""
    if isinstance(error, TableVaultError):
        return f"TableVault error: {error.formatted(write)}"
    text = f"{type(error).__name__}: {' '.join(text_to_keep(error).split()) or 'no text'}"
    line = user_line(error)
    if line is not None:
        notes = " ".join(getattr(error, "__notes__", [])[-1:])
        return f"{text} ({line[0]}, line {line[1]}). {notes}. {_MORE}"
    if isinstance(error, OSError):
        return f"TableVault error: {_system(error)}"
    return f"Unexpected error: {text}. Please report it. {_MORE}"


_MORE = "(--debug shows the traceback)"


def _system(error: OSError) -> str:
    """Format an error of the operating system: the file, the reason, what to do."""
    reason = error.strerror or said(error)
    if error.filename is None:
        return f"{reason}."
    return f'"{os.fsdecode(error.filename)}" cannot be used: {reason}. Check the path.'


def _kept(error: BaseException, place: Place, given: argparse.Namespace, write: Write) -> str:
    """Return what a failed operation keeps; take back one that nobody can go on with."""
    is_process = hasattr(given, "process_id") or hasattr(given, "undo_process_id")
    if not is_process and given.command != "refresh":
        return ""
    from tablevault.operations.processes import StopProcess
    from tablevault.queries import calls, processes

    vault = place.look()
    with contextlib.suppress(TableVaultError, OSError):
        for process_id, process in processes.active(vault).items():
            if process["pid"] != os.getpid() or process["parent_id"]:
                continue
            if not process["force_takedown"]:
                return _paused(process_id, process["rows"], given, write)
            StopProcess(to_stop_process_id=process_id).run(vault)
    if given.command == "execute-instance" and not given.process_id:
        done = calls.finished_rows(vault, given.table_name, given.version)
        kept = ", ".join(f"{count:,} of {builder}" for builder, count in done.items() if count)
        if kept:
            again = f"`{shlex.join([PROGRAM, *given.words])}`"
            return f"Finished calls are kept ({kept}).\nGo on, after mending what is wrong: {again}"
    if given.command == "refresh":
        again = f"`{shlex.join([PROGRAM, *given.words])}`"
        is_told = isinstance(error, TableVaultError)
        return "" if is_told else f"What was made stays, finished calls are kept. Go on: {again}"
    return "Nothing was changed." if isinstance(error, KeyboardInterrupt) else ""


def _paused(process_id: str, rows: object, given: argparse.Namespace, write: Write) -> str:
    """Format a paused process: its finished rows, how to go on, and how to give it up."""
    done = rows if isinstance(rows, dict) else {}
    kept = ", ".join(f"{count:,} of {builder}" for builder, count in done.items())
    stop = write(Call("stop_process", to_stop_process_id=process_id))
    again = f"`{shlex.join([PROGRAM, *given.words])}`"
    return (
        f'Process "{process_id}" is paused and keeps its finished rows ({kept or "none yet"}).\n'
        f"Go on, after mending what is wrong: {again}\n"
        f"Or give it up: {stop}"
    )
