"""HTTP exchanges: connections that are kept, redirects that leak nothing."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urljoin

from tablevault.errors import TVRemoteError
from tablevault.history.remotes import Settings
from tablevault.remotes.attempt import PassingError
from tablevault.remotes.route import Origin, Router, origin_of
from tablevault.remotes.wire import BLOCK, Link, Request, StaleError, said

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LONGEST_ERROR = 1 << 16


class Reply:
    """An answer whose body is read as it is wanted; close it."""

    def __init__(self, session: Session, link: Link, response: http.client.HTTPResponse) -> None:
        self._session = session
        self._link = link
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.origin = link.route.origin

    def blocks(self) -> Iterator[bytes]:
        """Give the body as it comes.

        Raises
        ------
        PassingError
            The connection was lost, or next to nothing came for a long time.
        """
        while True:
            with _passing(f"{self.origin} broke off its answer"):
                block = self._response.read(BLOCK)
                if not block and self._response.length:
                    raise http.client.IncompleteRead(b"", self._response.length)
            if not block:
                return
            yield block

    def read(self, most: int) -> bytes:
        """Give the whole body.

        Raises
        ------
        TVRemoteError
            It has more than `most` bytes.
        """
        parts = []
        for block in self.blocks():
            parts.append(block)
            most -= len(block)
            if most < 0:
                raise TVRemoteError(f"{self.origin} gives an answer that has no end.")
        return b"".join(parts)

    def read_error(self) -> bytes:
        """Give the beginning of the body of an answer that says what went wrong."""
        parts, left = [], _LONGEST_ERROR
        with contextlib.suppress(PassingError):
            for block in self.blocks():
                parts.append(block)
                left -= len(block)
                if left < 0:
                    break
        return b"".join(parts)

    def close(self) -> None:
        """Keep the connection when its answer was read to the end, else close it."""
        whole = self._link.is_whole and self._response.isclosed()
        self._response.close()
        self._session.give_back(self._link, whole=whole)


class Session:
    """Connections of one transfer, shared by its threads.

    Parameters
    ----------
    settings : Settings
        Timeouts as of git-lfs, proxies and certificates as of git.
    """

    def __init__(self, settings: Settings) -> None:
        self.activity_s = float(settings.number("lfs.activitytimeout", default=30) or 3600)
        self._connect_s = float(settings.number("lfs.dialtimeout", default=30) or 3600)
        self._router = Router(settings)
        self._idle: dict[Origin, list[Link]] = {}
        self._used: set[Link] = set()
        self._reached: set[Origin] = set()
        self._closed = False
        self._lock = threading.Lock()

    def send(self, request: Request) -> Reply:
        """Send a request, follow redirects, and give the answer.

        Raises
        ------
        PassingError
            No answer came.
        TVRemoteError
            There will not be one, or it leads astray.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            reply = self._exchange(request)
            target = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not target:
                return reply
            reply.read_error()
            reply.close()
            request = _redirected(request, target)
        raise TVRemoteError(f"{request.origin} redirects without end.")

    def give_back(self, link: Link, *, whole: bool) -> None:
        """Take back a connection."""
        with self._lock:
            self._used.discard(link)
            if whole and not self._closed and link.connection.sock is not None:
                link.is_fresh = False
                self._idle.setdefault(link.route.origin, []).append(link)
                return
        link.close()

    def close(self) -> None:
        """Cut all connections, also those that other threads wait for."""
        with self._lock:
            self._closed = True
            used, idle = list(self._used), list(itertools.chain(*self._idle.values()))
            self._idle.clear()
        for link in used:
            # Who uses it closes it.
            link.cut()
        for link in idle:
            link.close()

    def _exchange(self, request: Request) -> Reply:
        """Send a request over a connection that was kept, or a new one."""
        origin = request.origin
        while True:
            link = self._link(origin)
            try:
                response = link.exchange(request, self.activity_s)
            except StaleError:
                # The server closed it while it was idle, and has seen nothing of the request.
                self.give_back(link, whole=False)
                continue
            except BaseException:
                self.give_back(link, whole=False)
                raise
            self._reached.add(origin)
            return Reply(self, link, response)

    def _link(self, origin: Origin) -> Link:
        """Give a connection to `origin` that nobody else uses."""
        with self._lock:
            if self._closed:
                raise PassingError("the transfer was given up")
            idle = self._idle.get(origin)
            if idle:
                link = idle.pop()
                self._used.add(link)
                return link
        link = Link(self._router.route(origin))
        with self._lock:
            self._used.add(link)
        try:
            link.connect(self._connect_s, self.activity_s, known=origin in self._reached)
        except BaseException:
            self.give_back(link, whole=False)
            raise
        return link


def _redirected(request: Request, target: str) -> Request:
    """Make the request that follows a redirect; what gives permission stays with its origin."""
    try:
        url = urljoin(request.url, target)
    except ValueError:
        url = ""
    origin = origin_of(url)
    if request.origin.scheme == "https" and origin.scheme == "http":
        raise TVRemoteError(f"{request.origin} redirects to {origin}, which is not encrypted.")
    secrets = request.secrets if origin == request.origin else {}
    return replace(request, url=url, secrets=secrets)


@contextlib.contextmanager
def _passing(what: str) -> Iterator[None]:
    """Make errors of a connection passing ones; their own texts may show what was sent."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PassingError(f"{what}: {said(error)}") from None
