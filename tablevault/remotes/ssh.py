"""The way to an LFS server that an ssh host tells: ``git-lfs-authenticate``."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.history.remotes import Settings
from tablevault.remotes.asking import Said, run
from tablevault.remotes.endpoint import SshPlace, lfs_url
from tablevault.remotes.lfs import Action, AnswerError, Moment, Operation, decode_login

_NOT_FOUND = 127
_PROGRAM = "git-lfs-authenticate"
# Some servers do not take quotes off, so there are none where a shell needs none.
_PLAIN = re.compile(r"[A-Za-z0-9_./~%+=:,@-]+")


def authenticate(place: SshPlace, operation: Operation, settings: Settings, folder: Path) -> Action:
    """Ask an ssh host for the URL of its LFS server, and for what gives permission there.

    Raises
    ------
    TVRemoteError
        The host has no such program, cannot be reached, or refuses.
    """
    path = place.path if _PLAIN.fullmatch(place.path) else shlex.quote(place.path)
    port = ["-p", place.port] if place.port else []
    command = _command(settings)
    said = run([*command, *port, place.destination, f"{_PROGRAM} {path} {operation}"], folder)
    if said.code != 0:
        raise _error(place, said)
    now = Moment(monotonic=time.monotonic(), wall=time.time())
    try:
        action = decode_login(said.out, now)
    except AnswerError as error:
        raise TVRemoteError(
            f"What {_PROGRAM} on {place.destination} says cannot be understood: {error}."
        ) from None
    href = action.href or lfs_url(place.web_url)
    return Action(href=href, header=action.header, good_until=action.good_until)


def _command(settings: Settings) -> list[str]:
    """Give the ssh command that git would use (git-config(1), ``core.sshCommand``)."""
    line = os.environ.get("GIT_SSH_COMMAND") or settings.get("core.sshcommand")
    if line:
        return ["sh", "-c", f'{line} "$@"', line]
    return [os.environ.get("GIT_SSH") or "ssh"]


def _error(place: SshPlace, said: Said) -> TVRemoteError:
    """Say what is missing on the way."""
    words = said.err.decode("utf-8", "replace").split()
    text = " ".join("".join(c if c.isprintable() else " " for c in word) for word in words)[-500:]
    if said.code == _NOT_FOUND or _PROGRAM in text:
        return TVRemoteError(
            f"The ssh host {place.destination} has no program {_PROGRAM}, so it does not tell"
            f" where its LFS server is.",
            "Ask for one to be set up there, or say where the server is: `git config"
            f" remote.<name>.lfsurl {lfs_url(place.web_url)}`.",
            host=place.host,
        )
    kind = TVCredentialsError if "Permission denied" in text else TVRemoteError
    return kind(
        f"ssh to {place.destination} failed ({said.code}): {text or 'it said nothing'}.",
        f"See that `ssh {place.destination}` works without questions, by ssh-agent and the like.",
        host=place.host,
    )
