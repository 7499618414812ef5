"""The interface of a transport, and the transport for the URL of a remote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import (
    Remote,
    Settings,
    find_repository,
    read_committed_settings,
    read_settings,
)
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.remotes.http.retry import Limits, limits_of
from tablevault.remotes.lfs.batch_api import Offer, Operation
from tablevault.remotes.lfs.endpoint import LocalAddress, find_endpoint
from tablevault.remotes.lfs.transfer_report import Meter
from tablevault.wording import BLANK, Call, Wording


class Transport(Protocol):
    """Moves objects to or from one side, one by one; threads may share it.

    Attributes
    ----------
    operation : str
        ``upload`` or ``download``.
    where : str
        The other side, as the subject of a sentence, without secrets.
    limits : Limits
        How many objects may be on their way at once, and how often a failure is retried.
    """

    @property
    def operation(self) -> Operation:
        """Either ``upload`` or ``download``."""

    @property
    def where(self) -> str:
        """The other side, as the subject of a sentence."""

    @property
    def limits(self) -> Limits:
        """Threads and retries."""

    def ask(self, pointers: Sequence[Pointer]) -> list[Offer]:
        """Return for each object, in this order, whether it can and must be transferred."""

    def put(self, offer: Offer, source: Path, meter: Meter) -> None:
        """Send the object of an offer from the file `source`."""

    def get(self, offer: Offer, partial: Partial, meter: Meter) -> None:
        """Append the object of an offer to `partial`; its hash is not checked."""

    def close(self) -> None:
        """Cut all connections; threads that wait for one see a PassingError."""


def open_transport(
    folder: Path, remote: str, operation: Operation, *, ref: str = "", is_push: bool = False
) -> Transport:
    """Return the transport for the objects of a remote; only an ssh host is contacted now.

    Parameters
    ----------
    folder : Path
        The repository whose configuration counts.
    remote : str
        Name of a remote, or a URL.
    operation : str
        ``upload`` or ``download``.
    ref : str, default ""
        Full name of the ref for which objects are transferred; some servers check it.
    is_push : bool, default False
        Objects are where pushes send them, also for a download.

    Raises
    ------
    TVRemoteError
        There is no such remote, its URL cannot be used, there is no repository at its path, or
        its ssh host does not say where the objects are.
    """
    settings = read_settings(folder)
    found = find_remote(settings, remote, folder)
    committed = read_committed_settings(folder)
    where: Operation = "upload" if is_push else operation
    endpoint = find_endpoint(found, where, settings, committed, folder)
    if isinstance(endpoint.address, LocalAddress):
        from tablevault.remotes.lfs.local_transport import LocalTransport

        repository = find_repository(endpoint.address.path)
        return LocalTransport(repository, operation, limits_of(settings))
    from tablevault.remotes.lfs.http_transport import HttpTransport
    from tablevault.remotes.lfs.server import open_server

    server = open_server(endpoint, operation, settings, folder)
    return HttpTransport(server, operation, limits_of(settings), ref=ref)


def find_remote(settings: Settings, name: str, folder: Path) -> Remote:
    """Return the remote of a name; a URL or a path is a remote without a name.

    Raises
    ------
    TVRemoteError
        It is neither.
    """
    if found := settings.remote(name):
        return found
    if name and (":" in name or "/" in name or (folder / name).is_dir()):
        url = settings.instead(name)
        pushed = settings.instead(name, name="pushinsteadof")
        return Remote(name="", url=url, push_url=url if pushed == name else pushed)
    known = ", ".join(f'"{each}"' for each in sorted(settings.names("remote", "url")))
    hint = (
        f"There are: {known}."
        if known
        else Wording("Add one: ", Call("add_remote", name=name, url=BLANK), ".")
    )
    raise TVRemoteError(f'There is no remote "{name}".', hint, remote=name)
