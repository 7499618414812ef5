"""Runs programs that may prompt the user at a terminal; elsewhere they fail without an answer."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_program import environment

_log = logging.getLogger("tablevault")
_UNATTENDED_S = 60.0
_PROMPT_S = 600.0
_POLL_S = 0.1
_TIMED_OUT = 124
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """Exit code and output of a program; the output may contain secrets."""

    code: int
    out: bytes = field(repr=False)
    err: bytes = field(repr=False)


def run(
    command: list[str],
    folder: Path,
    *,
    text: str = "",
    shown: bool = False,
    is_transfer: bool = False,
) -> ProgramResult:
    """Run a program in `folder` with `text` as its input.

    Without a terminal it runs in a session of its own, so that it cannot reach the terminal from
    which a notebook server was started, for example, and at most a minute. Its output goes to
    files: the daemons of git-credential-cache and ssh would keep a pipe open for hours.

    Parameters
    ----------
    shown : bool, default False
        Its errors go to the terminal, if there is one.
    is_transfer : bool, default False
        It moves data: neither its time nor its output is limited.

    Raises
    ------
    TVRemoteError
        There is no such program.
    """
    has_user = is_terminal()
    wait_s = None if is_transfer else _PROMPT_S if has_user else _UNATTENDED_S
    longest = -1 if is_transfer else _LONGEST
    variables = environment() if has_user else {**environment(), "GIT_TERMINAL_PROMPT": "0"}
    if is_transfer:
        variables["LC_ALL"] = "C"  # errors are recognised by their words
    with _append_file() as out, _append_file() as err:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=None if shown and has_user else err,
                cwd=folder,
                env=variables,
                start_new_session=not has_user,
            )
        except OSError as error:
            raise TVRemoteError(
                f'The program "{command[0]}" cannot be run: {error.strerror}.',
                "Install it, and see that it is on the PATH.",
            ) from error
        with process:
            try:
                code = _wait(process, text.encode("utf-8", "surrogateescape"), wait_s)
            except subprocess.TimeoutExpired:
                _kill(process, group=not has_user)
                _log.warning("%s did not answer for %d s.", command[0], wait_s)
                code = _TIMED_OUT
            except BaseException:
                _kill(process, group=not has_user)
                process.wait()  # after an interrupt, `with` does not
                raise
        out.seek(0)
        err.seek(0)
        return ProgramResult(code=code, out=out.read(longest), err=err.read(longest))


def is_terminal() -> bool:
    """Return whether there is a user to prompt."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _append_file() -> BinaryIO:
    """Return a temporary file in append mode.

    Git, and git at the other side of a local path, both write to it: without append mode they
    would overwrite each other's messages.
    """
    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


def _wait(process: subprocess.Popen[bytes], text: bytes, wait_s: float | None) -> int:
    """Pass a program its input and wait until it ends, or raise subprocess.TimeoutExpired.

    An interrupt that arrives just before the wait begins does not end it. With a timeout Python
    checks for interrupts regularly, so there always is one.
    """
    while True:
        try:
            process.communicate(text, timeout=_POLL_S if wait_s is None else wait_s)
        except subprocess.TimeoutExpired:
            if wait_s is not None:
                raise
            text = b""  # it was passed
        else:
            return process.returncode


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Kill a program, with its child processes if it leads a group."""
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
