"""Opens the transport for the objects of a remote."""

from __future__ import annotations

from pathlib import Path

from tablevault.history.git.git_config import (
    find_repository,
    read_committed_settings,
    read_settings,
)
from tablevault.remotes.http.retry import limits_of
from tablevault.remotes.lfs.batch_api import Operation
from tablevault.remotes.lfs.endpoint import (
    BucketAddress,
    Endpoint,
    LocalAddress,
    find_endpoint,
    find_remote,
)
from tablevault.remotes.lfs.transfer import Transport


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
    endpoint = endpoint_of(folder, remote, "upload" if is_push else operation)
    if isinstance(endpoint.address, LocalAddress):
        from tablevault.remotes.lfs.local_transport import LocalTransport

        repository = find_repository(endpoint.address.path)
        return LocalTransport(repository, operation, limits_of(settings))
    if isinstance(endpoint.address, BucketAddress):
        from tablevault.remotes.lfs.bucket_transport import BucketTransport

        return BucketTransport(endpoint.address, operation, limits_of(settings))
    from tablevault.remotes.lfs.http_transport import HttpTransport
    from tablevault.remotes.lfs.server import open_server

    server = open_server(endpoint, operation, settings, folder)
    return HttpTransport(server, operation, limits_of(settings), ref=ref)


def endpoint_of(folder: Path, remote: str, operation: Operation) -> Endpoint:
    """Return where the objects of a remote are; errors as of :func:`open_transport`."""
    settings = read_settings(folder)
    found = find_remote(settings, remote, folder)
    return find_endpoint(found, operation, settings, read_committed_settings(folder), folder)
