"""The LFS server of an ssh host, from ``git-lfs-authenticate``."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.history.remotes import Settings
from tablevault.remotes.lfs.batch_api import Action, AnswerError, Moment, Operation, decode_login
from tablevault.remotes.lfs.endpoint import SshAddress, lfs_url
from tablevault.remotes.programs import Result, run

_NOT_FOUND = 127
_PROGRAM = "git-lfs-authenticate"
# Some servers do not remove quotes: there are none where a shell needs none.
_PLAIN = re.compile(r"[A-Za-z0-9_./~%+=:,@-]+")


def authenticate(
    address: SshAddress, operation: Operation, settings: Settings, folder: Path
) -> Action:
    """Ask an ssh host for the URL of its LFS server, and for headers with credentials.

    Raises
    ------
    TVRemoteError
        The host lacks the program, cannot be reached, or refuses.
    """
    path = address.path if _PLAIN.fullmatch(address.path) else shlex.quote(address.path)
    port = ["-p", address.port] if address.port else []
    command = _command(settings)
    done = run([*command, *port, address.destination, f"{_PROGRAM} {path} {operation}"], folder)
    if done.code != 0:
        raise _error(address, done)
    now = Moment(monotonic=time.monotonic(), wall=time.time())
    try:
        action = decode_login(done.out, now)
    except AnswerError as error:
        raise TVRemoteError(
            f"What {_PROGRAM} on {address.destination} prints is invalid: {error}."
        ) from None
    href = action.href or lfs_url(address.web_url)
    return Action(href=href, header=action.header, good_until=action.good_until)


def _command(settings: Settings) -> list[str]:
    """Return the ssh command that git uses (git-config(1), ``core.sshCommand``)."""
    line = os.environ.get("GIT_SSH_COMMAND") or settings.get("core.sshcommand")
    if line:
        return ["sh", "-c", f'{line} "$@"', line]
    return [os.environ.get("GIT_SSH") or "ssh"]


def _error(address: SshAddress, done: Result) -> TVRemoteError:
    """Return the error of an ssh command that failed."""
    words = done.err.decode("utf-8", "replace").split()
    text = " ".join("".join(c if c.isprintable() else " " for c in word) for word in words)[-500:]
    if done.code == _NOT_FOUND or _PROGRAM in text:
        return TVRemoteError(
            f"The ssh host {address.destination} has no program {_PROGRAM}, so the URL of its"
            f" LFS server is unknown.",
            "Ask for it to be installed there, or set the URL of the server: `git config"
            f" remote.<name>.lfsurl {lfs_url(address.web_url)}`.",
            host=address.host,
        )
    kind = TVCredentialsError if "Permission denied" in text else TVRemoteError
    return kind(
        f"ssh to {address.destination} failed ({done.code}): {text or 'it said nothing'}.",
        f"Make `ssh {address.destination}` work without prompts, for example with ssh-agent.",
        host=address.host,
    )
