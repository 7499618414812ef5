"""Transfers objects for stock git-lfs: a standalone custom transfer agent.

The protocol is one JSON object a line on stdin and stdout (git-lfs docs/custom-transfers.md).
git-lfs starts eight agents, and gives each of them one object at a time, or none: so this module
loads what transfers objects only when there is one.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tablevault.errors import TableVaultError, TVRemoteError, TVTransferError, reason_of
from tablevault.lfs.pointer import Pointer
from tablevault.names import ObjectId

if TYPE_CHECKING:
    from tablevault.lfs.drafts import Partial
    from tablevault.progress import Progress
    from tablevault.remotes.lfs.transport import Transport

Write = Callable[[Mapping[str, object]], None]

AGENT = "tablevault"
_FAILED = 1
_OID = re.compile(r"[0-9a-f]{64}")


def install_agent(folder: Path) -> None:
    """Configure git-lfs of the repository at `folder` to transfer all objects by the agent.

    Hooks and filters of git-lfs are installed, too, except where there are other hooks.

    Raises
    ------
    TVRemoteError
        git-lfs is not installed, or `folder` is not in a repository.
    """
    if shutil.which("git-lfs") is None:
        raise TVRemoteError("git-lfs is not installed.", "Install it: https://git-lfs.com.")
    from tablevault.history.git.git_program import run_git

    try:
        run_git(["lfs", "install", "--local"], folder)
    except TVRemoteError:  # a vault has hooks of its own, which send objects
        run_git(["lfs", "install", "--local", "--skip-repo"], folder)
    settings = {
        f"lfs.customtransfer.{AGENT}.path": sys.executable,
        f"lfs.customtransfer.{AGENT}.args": "-m tablevault lfs-agent",
        "lfs.standalonetransferagent": AGENT,
    }
    for key, value in settings.items():
        run_git(["config", "--local", key, value], folder)


def folder_of_repository(folder: Path) -> Path:
    """Return the top folder of the repository that contains `folder`.

    Raises
    ------
    TVRemoteError
        None contains it, or git is not installed or refuses the repository.
    """
    from tablevault.history.git.git_program import call_git

    done = call_git(["-C", str(folder), "rev-parse", "--show-toplevel"])
    if done.returncode == 0:
        return Path(done.stdout.decode("utf-8", "surrogateescape").rstrip("\n"))
    reason = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
    if reason.startswith("not a git repository") or not folder.is_dir():
        reason = "it is in no git repository" if folder.is_dir() else "there is no such folder"
    raise TVRemoteError(
        f'There is no clone at "{folder.absolute()}": {reason}.',
        "Go into a clone, or name one by --db-dir.",
    )


def serve(folder: Path, lines: Iterable[str], write: Write) -> None:
    """Answer the requests of git-lfs, until it ends the conversation.

    Parameters
    ----------
    folder : Path
        The repository.
    lines : iterable of str
        Requests.
    write : callable
        Sends an answer.
    """
    with contextlib.closing(_Agent(folder, write)) as agent:
        for line in lines:
            request = json.loads(line)
            if request["event"] == "terminate":
                return
            if request["event"] == "init":
                agent.begin(request)
            else:
                agent.transfer(request)


class _Agent:
    """One conversation with git-lfs."""

    def __init__(self, folder: Path, write: Write) -> None:
        self._folder = folder
        self._write = write
        self._request: Mapping[str, str] = {}
        self._opened: Transport | None = None

    def begin(self, request: Mapping[str, str]) -> None:
        """Note remote and direction; the remote is contacted for the first object only."""
        self._request = request
        self._write({})

    def transfer(self, request: Mapping[str, object]) -> None:
        """Transfer one object, and write how that ended."""
        oid = str(request["oid"])
        answer: dict[str, object] = {"event": "complete", "oid": oid}
        try:
            if not _OID.fullmatch(oid):
                raise TVTransferError(f"{oid!r} is not the name of an object.")
            pointer = Pointer(oid=ObjectId(oid), size=int(str(request["size"])))
            if path := self._transfer(pointer, str(request.get("path") or "")):
                answer["path"] = path
        except (TableVaultError, OSError) as error:
            answer["error"] = {"code": _FAILED, "message": _message(error)}
        self._write(answer)

    def close(self) -> None:
        """Cut the connections."""
        if self._opened is not None:
            self._opened.close()

    def _transfer(self, pointer: Pointer, source: str) -> str:
        """Send an object from the file `source`; or receive it, and return its file."""
        # This takes long to load.
        from tablevault.history.git.git_config import storage_settings
        from tablevault.history.git.git_program import run_git
        from tablevault.remotes.lfs.transfer import open_transport, receive, send

        progress = self._progress(pointer.oid)
        is_upload = self._request["operation"] == "upload"
        if self._opened is None:
            operation: Literal["upload", "download"] = "upload" if is_upload else "download"
            self._opened = open_transport(self._folder, self._request["remote"], operation)
        if is_upload:
            send(self._opened, [pointer], _GitLfsFiles(Path(source)), progress).check()
            return ""
        command = ["rev-parse", "--path-format=absolute", "--git-common-dir"]
        common = run_git(command, self._folder).decode("utf-8", "surrogateescape").rstrip("\n")
        incomplete = storage_settings(Path(common)).lfs / "incomplete"
        path = incomplete / f"{pointer.oid}.tablevault"
        receive(self._opened, [pointer], _GitLfsFiles(path), progress).check()
        return str(path)

    def _progress(self, oid: str) -> Progress:
        """Return what writes the progress of one object as events."""
        from tablevault.progress import Progress

        write = self._write

        class EventProgress(Progress):
            """Writes events."""

            so_far = 0

            def advance(self, task: str, units: int = 1) -> None:
                """Write an event."""
                self.so_far += units
                counts = {"bytesSoFar": self.so_far, "bytesSinceLast": units}
                write({"event": "progress", "oid": oid, **counts})

        return EventProgress()


class _GitLfsFiles:
    """The file of one object, as a store; git-lfs itself moves what is received into its store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def file(self, pointer: Pointer) -> Path:
        """Return the file that is sent."""
        del pointer
        return self._path

    def partial(self, pointer: Pointer) -> Partial:
        """Return the file that is received."""
        from tablevault.lfs.drafts import Partial

        return Partial(self._path, pointer)

    def has(self, pointer: Pointer) -> bool:
        """Return False: git-lfs asks only for objects that it lacks."""
        del pointer
        return False

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing."""
        return contextlib.nullcontext()

    def keep(self, files: Sequence[Partial]) -> None:
        """Do nothing."""


def _message(error: TableVaultError | OSError) -> str:
    """Return the text of an error; of an unconfirmed bucket with the command that confirms it."""
    if isinstance(error, TableVaultError) and "bucket" in error.facts:
        return f"{error.message} If it is the right one: tablevault lfs-install --trust-bucket URL."
    return reason_of(error)


def main() -> None:
    """Serve git-lfs on stdin and stdout, in the current folder."""

    def write(answer: Mapping[str, object]) -> None:
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()

    serve(Path.cwd(), sys.stdin, write)  # git-lfs starts it at the top of the repository
