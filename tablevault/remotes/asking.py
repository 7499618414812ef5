"""Programs that may ask a person: at a terminal they can, elsewhere they end without an answer."""

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
from tablevault.history.program import environment

_log = logging.getLogger("tablevault")
_ALONE_S = 60.0
_WITH_A_PERSON_S = 600.0
_LOOK_S = 0.1
_TIMED_OUT = 124
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a program ended, and what it said; either may hold secrets."""

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
) -> Said:
    """Run a program in `folder` and give it `text` to read.

    Without a terminal it gets a session of its own, so that it cannot reach the terminal from
    which, say, a notebook server was started, and only a minute. What it says goes to files: the
    daemons that git-credential-cache and ssh leave behind would keep a pipe open for hours.

    Parameters
    ----------
    shown : bool, default False
        Its errors are meant for the person at the terminal, if there is one.
    is_transfer : bool, default False
        It moves data: it may take as long as it needs, and say as much as it wants.

    Raises
    ------
    TVRemoteError
        There is no such program.
    """
    person = is_terminal()
    wait_s = None if is_transfer else _WITH_A_PERSON_S if person else _ALONE_S
    longest = -1 if is_transfer else _LONGEST
    variables = environment() if person else {**environment(), "GIT_TERMINAL_PROMPT": "0"}
    if is_transfer:
        variables["LC_ALL"] = "C"  # what went wrong is told by the words
    with _file_of_many() as out, _file_of_many() as err:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=None if shown and person else err,
                cwd=folder,
                env=variables,
                start_new_session=not person,
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
                _kill(process, group=not person)
                _log.warning("%s gave no answer for %d s.", command[0], wait_s)
                code = _TIMED_OUT
            except BaseException:
                _kill(process, group=not person)
                process.wait()  # after an interrupt, `with` does not
                raise
        out.seek(0)
        err.seek(0)
        return Said(code=code, out=out.read(longest), err=err.read(longest))


def is_terminal() -> bool:
    """Tell whether there is a person to ask."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _file_of_many() -> BinaryIO:
    """Make a temporary file in which nobody overwrites what somebody else has written.

    Git, and git at the other side of a path, write to one file: where two writes begin at the
    same place, the longer message would lose its beginning.
    """
    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


def _wait(process: subprocess.Popen[bytes], text: bytes, wait_s: float | None) -> int:
    """Hand a program its text and wait for its end; subprocess.TimeoutExpired when it hangs.

    An interrupt that arrives just before the waiting begins does not end it. Python looks again
    from time to time where it waits with a time-out, so there always is one.
    """
    while True:
        try:
            process.communicate(text, timeout=_LOOK_S if wait_s is None else wait_s)
        except subprocess.TimeoutExpired:
            if wait_s is not None:
                raise
            text = b""  # it was given
        else:
            return process.returncode


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """End a program, with those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
