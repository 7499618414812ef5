"""An LFS server: finds it by ssh, adds credentials to requests, and handles answers of 401."""

from __future__ import annotations

import logging
import os
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.history.git.git_config import Settings
from tablevault.remotes.http.credentials import (
    Credentials,
    Known,
    Origin,
    origin_of,
    split_login,
    split_url,
)
from tablevault.remotes.http.session import HttpRequest, Reply, Session
from tablevault.remotes.lfs.batch_api import Action, AnswerError, Moment, Operation, decode_login
from tablevault.remotes.lfs.endpoint import Endpoint, SshAddress, WebAddress, lfs_url
from tablevault.remotes.programs import ProgramResult, run

_log = logging.getLogger("tablevault")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x1f\x7f]*)")
_MOST_LOGINS = 3
_SHORTEST_SECRET = 6
_NOT_FOUND = 127
_PROGRAM = "git-lfs-authenticate"
# Some servers do not remove quotes: there are none where a shell needs none.
_PLAIN = re.compile(r"[A-Za-z0-9_./~%+=:,@-]+")


def open_server(
    endpoint: Endpoint, operation: Operation, settings: Settings, folder: Path
) -> Server:
    """Return the LFS server of an endpoint; only an ssh host is contacted now."""
    granted = None
    if isinstance(endpoint.address, SshAddress):
        address = endpoint.address
        granted = GrantedHeaders(lambda: _authenticate(address, operation, settings, folder))
        url, login = split_login(granted.action().href)
    else:
        assert isinstance(endpoint.address, WebAddress)
        url, login = endpoint.address.url, endpoint.address.login
    origin, path = origin_of(url), split_url(url).path
    own = endpoint.remote
    is_own = isinstance(own, WebAddress) and origin_of(own.url) == origin
    if isinstance(own, WebAddress) and is_own:
        # Git passes the same URL to helpers, so they find what git has stored.
        path = split_url(own.url).path
        login = login if login.username else own.login
    # Headers for all servers are not meant for a server that anybody may have committed.
    lines = settings.for_url("http", "extraheader", url, plain=is_own or not endpoint.is_committed)
    return Server(
        url,
        Session(settings),
        Credentials(folder, Known(origin=origin, login=login, path=path)),
        configured=_extra_headers(lines),
        granted=granted,
    )


class Server:
    """Sends requests to an LFS server, with credentials where they are needed.

    Parameters
    ----------
    url : str
        Its URL, without a login.
    configured : mapping
        Headers from git's configuration (``http.extraHeader``).
    granted : GrantedHeaders, optional
        Headers from the ssh host of the server.
    """

    def __init__(
        self,
        url: str,
        session: Session,
        credentials: Credentials,
        *,
        configured: Mapping[str, str],
        granted: GrantedHeaders | None,
    ) -> None:
        self.url = url
        self.origin = origin_of(url)
        self._session = session
        self._credentials = credentials
        self._configured = configured
        self._granted = granted

    @property
    def where(self) -> str:
        """The server in messages."""
        return f"The LFS server {self.url}"

    def send(self, request: HttpRequest, *, may_ask: bool) -> Reply:
        """Send a request and return the response.

        Parameters
        ----------
        may_ask : bool
            The request may carry our credentials, and a helper may be asked for others when the
            server refuses them.

        Raises
        ------
        TVCredentialsError
            The server accepts none of them.
        """
        if not may_ask:
            return self._session.send(request)
        for _ in range(_MOST_LOGINS):
            headers = self._headers()
            login = None if authorizes(headers) else self._credentials.at_hand(request.origin)
            secrets = headers | {"Authorization": login.basic} if login else headers
            reply = self._session.send(replace(request, secrets={**request.secrets, **secrets}))
            if reply.status != HTTPStatus.UNAUTHORIZED:
                is_accepted = reply.status < HTTPStatus.BAD_REQUEST
                if login and is_accepted and reply.origin == request.origin:
                    self._credentials.approve(reply.origin, login)
                return reply
            reply.read_error()
            reply.close()
            request = self._follow(request, reply.origin)
            if not authorizes(headers):
                self._credentials.ask(reply.origin, login)
            elif self._granted:
                self._granted.drop(headers)
            else:
                break
        raise TVCredentialsError(
            f"{self.where} does not accept the credentials that it was given.",
            "Check what `git credential fill` prints for it, and http.extraHeader.",
        )

    def _headers(self) -> dict[str, str]:
        """Return the headers from git's configuration and from the ssh host."""
        return {**self._configured, **(self._granted.action().header if self._granted else {})}

    def _follow(self, request: HttpRequest, origin: Origin) -> HttpRequest:
        """Return a request to the origin of a redirect, if that is the same host over TLS."""
        if origin == request.origin:
            return request
        if (origin.host, origin.scheme) != (request.origin.host, "https"):
            raise TVCredentialsError(
                f"{self.where} redirects to {origin}, which wants credentials.",
                "Yours are not given to another host. If it is the right one, set lfs.url to it.",
            )
        self.url, self.origin = _moved(self.url, origin), origin
        return replace(request, url=_moved(request.url, origin))

    def hide(self, text: str) -> str:
        """Return a text of the server without secrets: some servers repeat what they receive."""
        headers = {**self._configured, **(self._granted.last() if self._granted else {})}
        for value in headers.values():
            for secret in {value, value.rpartition(" ")[2]}:
                text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
        return self._credentials.hide(text)

    def close(self) -> None:
        """Close all connections, also those that are in use."""
        self._session.close()


class GrantedHeaders:
    """Headers that an ssh host grants for a while (``git-lfs-authenticate``)."""

    def __init__(self, renew: Callable[[], Action]) -> None:
        self._renew = renew
        self._action: Action | None = None
        self._lock = threading.Lock()

    def action(self) -> Action:
        """Return the headers; request new ones before the last ones expire."""
        with self._lock:
            if self._action is None or not self._action.is_good(time.monotonic()):
                self._action = self._renew()
            return self._action

    def last(self) -> Mapping[str, str]:
        """Return the last headers, without a request."""
        with self._lock:
            return self._action.header if self._action else {}

    def drop(self, refused: Mapping[str, str]) -> None:
        """Forget the headers, if they still are the ones that were refused."""
        with self._lock:
            if self._action and self._action.header.items() <= refused.items():
                self._action = None


def _extra_headers(lines: Iterable[str]) -> dict[str, str]:
    """Parse the values of ``http.extraHeader``; an empty one cancels those before it."""
    found: dict[str, str] = {}
    for line in lines:
        if not line:
            found = {}
        elif parts := _HEADER.fullmatch(line.strip()):
            found[parts[1]] = parts[2]
        else:
            _log.warning("A value of http.extraHeader is not a header, and is not sent.")
    return found


def authorizes(headers: Mapping[str, str]) -> bool:
    """Return whether headers contain credentials."""
    return any(name.lower() == "authorization" for name in headers)


def _moved(url: str, origin: Origin) -> str:
    """Return the same path at another origin."""
    return f"{origin}/{url.partition('://')[2].partition('/')[2]}"


def _authenticate(
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
    command = _ssh_command(settings)
    done = run([*command, *port, address.destination, f"{_PROGRAM} {path} {operation}"], folder)
    if done.code != 0:
        raise _ssh_error(address, done)
    now = Moment(monotonic=time.monotonic(), wall=time.time())
    try:
        action = decode_login(done.out, now)
    except AnswerError as error:
        raise TVRemoteError(
            f"What {_PROGRAM} on {address.destination} prints is invalid: {error}."
        ) from None
    href = action.href or lfs_url(address.web_url)
    return Action(href=href, header=action.header, good_until=action.good_until)


def _ssh_command(settings: Settings) -> list[str]:
    """Return the ssh command that git uses (git-config(1), ``core.sshCommand``)."""
    line = os.environ.get("GIT_SSH_COMMAND") or settings.get("core.sshcommand")
    if line:
        return ["sh", "-c", f'{line} "$@"', line]
    return [os.environ.get("GIT_SSH") or "ssh"]


def _ssh_error(address: SshAddress, done: ProgramResult) -> TVRemoteError:
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
        f"ssh to {address.destination} failed ({done.code}): "
        f"{text.removesuffix('.') or 'it printed nothing'}.",
        f"Make `ssh {address.destination}` work without prompts, for example with ssh-agent.",
        host=address.host,
    )
