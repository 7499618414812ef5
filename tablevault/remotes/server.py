"""An LFS server and who we are there: logins, headers with permission, answers of 401."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tablevault.errors import TVCredentialsError
from tablevault.history.remotes import Settings
from tablevault.remotes.credentials import Credentials, Known
from tablevault.remotes.endpoint import Endpoint, SshPlace, WebPlace
from tablevault.remotes.lfs import Action, Operation
from tablevault.remotes.route import Origin, origin_of, split_login, split_url
from tablevault.remotes.session import Reply, Request, Session

_MOST_LOGINS = 3
_SHORTEST_SECRET = 6
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x1f\x7f]*)")
_log = logging.getLogger("tablevault")


def open_server(
    endpoint: Endpoint, operation: Operation, settings: Settings, folder: Path
) -> Server:
    """Make ready to speak to the LFS server of an endpoint; only ssh is asked something now."""
    permission = None
    if isinstance(endpoint.place, SshPlace):
        from tablevault.remotes.ssh import authenticate

        place = endpoint.place
        permission = Permission(lambda: authenticate(place, operation, settings, folder))
        url, login = split_login(permission.action().href)
    else:
        assert isinstance(endpoint.place, WebPlace)
        url, login = endpoint.place.url, endpoint.place.login
    origin, path = origin_of(url), split_url(url).path
    own = endpoint.remote
    is_own = isinstance(own, WebPlace) and origin_of(own.url) == origin
    if isinstance(own, WebPlace) and is_own:
        # Git's helpers are asked for the same URL as by git, so what git has stored is found.
        path = split_url(own.url).path
        login = login if login.username else own.login
    known = Known(origin=origin, login=login, path=path)
    # What is set for all servers was not meant for one that anybody may have committed.
    lines = settings.for_url("http", "extraheader", url, plain=is_own or not endpoint.is_committed)
    return Server(
        url,
        Session(settings),
        Credentials(folder, known),
        header=_header(lines),
        permission=permission,
    )


class Server:
    """Sends requests to an LFS server, with what gives us permission there.

    Parameters
    ----------
    url : str
        Its address, without a login.
    header : mapping
        Headers from git's configuration (``http.extraHeader``).
    permission : Permission, optional
        Gives headers that hold for a while.
    """

    def __init__(
        self,
        url: str,
        session: Session,
        credentials: Credentials,
        *,
        header: Mapping[str, str],
        permission: Permission | None,
    ) -> None:
        self.url = url
        self.origin = origin_of(url)
        self._session = session
        self._credentials = credentials
        self._header = header
        self._permission = permission

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"The LFS server {self.url}"

    def send(self, request: Request, *, may_ask: bool) -> Reply:
        """Send a request, with our login if it may have it; a refused one is asked for again."""
        if not may_ask:
            return self._session.send(request)
        for _ in range(_MOST_LOGINS):
            given = self._given()
            login = None if _authorizes(given) else self._credentials.at_hand(request.origin)
            secrets = given | {"Authorization": login.basic} if login else given
            reply = self._session.send(replace(request, secrets={**request.secrets, **secrets}))
            if reply.status != 401:  # noqa: PLR2004 - Unauthorized
                if login and reply.status < 400 and reply.origin == request.origin:  # noqa: PLR2004
                    self._credentials.approve(reply.origin, login)
                return reply
            reply.read_error()
            reply.close()
            request = self._follow(request, reply.origin)
            if not _authorizes(given):
                self._credentials.ask(reply.origin, login)
            elif self._permission:
                self._permission.drop(given)
            else:
                break
        raise TVCredentialsError(
            f"{self.where} does not accept the credentials that it was given.",
            "Look at what `git credential fill` gives for it, or at http.extraHeader.",
        )

    def _given(self) -> dict[str, str]:
        """Give the headers that configuration and ssh want us to send."""
        return {**self._header, **(self._permission.action().header if self._permission else {})}

    def _follow(self, request: Request, origin: Origin) -> Request:
        """Go on where a redirect led to, if that is the same host over TLS."""
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
        """Take secrets out of a text that came from a server: some tell what they were sent."""
        given = {**self._header, **(self._permission.last() if self._permission else {})}
        for value in given.values():
            for secret in {value, value.rpartition(" ")[2]}:
                text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
        return self._credentials.hide(text)

    def close(self) -> None:
        """Close all connections, also those that are in use."""
        self._session.close()


class Permission:
    """Headers that somebody gives us for a while: ``git-lfs-authenticate``."""

    def __init__(self, renew: Callable[[], Action]) -> None:
        self._renew = renew
        self._action: Action | None = None
        self._lock = threading.Lock()

    def action(self) -> Action:
        """Give the headers; asks for new ones when the last ones run out."""
        with self._lock:
            if self._action is None or not self._action.is_good(time.monotonic()):
                self._action = self._renew()
            return self._action

    def last(self) -> Mapping[str, str]:
        """Give the headers that were given last, without asking anybody."""
        with self._lock:
            return self._action.header if self._action else {}

    def drop(self, refused: Mapping[str, str]) -> None:
        """Forget the headers, if they still are those that were refused."""
        with self._lock:
            if self._action and self._action.header.items() <= refused.items():
                self._action = None


def _authorizes(header: Mapping[str, str]) -> bool:
    """Tell whether headers hold what gives permission."""
    return any(name.lower() == "authorization" for name in header)


def _moved(url: str, origin: Origin) -> str:
    """Give the same path at another origin."""
    return f"{origin}/{url.partition('://')[2].partition('/')[2]}"


def _header(lines: list[str]) -> dict[str, str]:
    """Read values of ``http.extraHeader``; an empty one takes back those before it."""
    found: dict[str, str] = {}
    for line in lines:
        if not line:
            found = {}
        elif parts := _HEADER.fullmatch(line.strip()):
            found[parts[1]] = parts[2]
        else:
            _log.warning("A value of http.extraHeader is no header, and is not sent.")
    return found
