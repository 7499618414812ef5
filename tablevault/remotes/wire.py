"""One HTTP connection: a request out, the head of its answer back, and no wait without end."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import quote

from tablevault.errors import TVRemoteError
from tablevault.remotes.attempt import PassingError
from tablevault.remotes.route import Origin, Route, origin_of

BLOCK = 1 << 16
# What a server may take to look at each byte that it was sent, before it answers.
_SLOWEST_BYTES_PER_S = 10_000_000
# Less than this for a whole timeout, and the server only keeps us busy. Git's http.lowSpeedLimit
# means the same, and has no default.
_TRICKLE_BYTES_PER_S = 100
# What a server says about these in an action is no business of its own.
_MADE_HERE = frozenset({"accept-encoding", "connection", "content-length", "host"})
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Body(Protocol):
    """What a request sends; read anew for each try."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def blocks(self) -> Iterator[bytes]:
        """Give the bytes from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """A body that is at hand."""

    data: bytes = b""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        """Give the bytes."""
        yield self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes
    ----------
    headers : mapping
        What describes the body and the answer; sent wherever the request is redirected to.
    secrets : mapping
        What gives permission; sent to the origin of `url` only.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: Body | None = field(repr=False, default=None)

    @property
    def origin(self) -> Origin:
        """Where it goes to."""
        return origin_of(self.url)

    @property
    def is_chunked(self) -> bool:
        """Tell whether the body goes out without its length: servers may ask for that."""
        given = [*self.headers.items(), *self.secrets.items()]
        return any(
            name.lower() == "transfer-encoding" and value.lower() == "chunked"
            for name, value in given
        )


class StaleError(Exception):
    """A connection that was kept turned out to be closed by the other side."""


class Link:
    """One connection; used by one thread at a time."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.connection = route.connection()
        self.is_fresh = True
        self.is_whole = True

    def connect(self, connect_s: float, activity_s: float, *, known: bool) -> None:
        """Connect; one that was never reached before and refuses is no passing matter."""
        self.connection.timeout = connect_s
        try:
            self.connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise TVRemoteError(
                f"{self.route.origin} cannot prove who it is: {error.verify_message}.",
                "Set http.sslCAInfo in git's configuration to the certificate that vouches for it.",
            ) from error
        except (socket.gaierror, ConnectionRefusedError) as error:
            passing = known or getattr(error, "errno", None) == socket.EAI_AGAIN
            raise self._unreachable(error, passing=passing) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, passing=True) from error
        self.connection.sock.settimeout(activity_s)
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def exchange(self, request: Request, activity_s: float) -> http.client.HTTPResponse:
        """Send a request and read the head of its answer."""
        size = 0 if request.body is None else request.body.size
        sent = False
        try:
            self._send_head(request)
            self._send_body(request)
            sent = True
        except _CLOSED as error:
            if not self.is_fresh and not size:
                raise StaleError from error
            # It may have answered before it stopped listening: too large, not allowed.
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(f"{self.route.origin}: {said(error)}") from error
        wait_s = activity_s + size / _SLOWEST_BYTES_PER_S
        listener = _Listener(self.connection.sock, wait_s, activity_s)
        self.connection.response_class = listener.response  # type: ignore[assignment]  # called like the class
        try:
            response = self.connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            # An object that went out whole may have arrived: it is asked for before it goes again.
            is_out = sent and request.method == "PUT"
            if not self.is_fresh and not is_out and isinstance(error, _CLOSED):
                raise StaleError from error
            raise PassingError(f"{self.route.origin}: {said(error)}", unanswered=sent) from error
        self.is_whole = sent
        return response

    def cut(self) -> None:
        """Wake whoever waits for this connection, with an error."""
        sock: socket.socket | None = self.connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # That of ssl.SSLSocket first forgets that it is one: who writes just then would
                # write in the clear.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self.connection.close()

    def _send_head(self, request: Request) -> None:
        """Send the request line and all headers."""
        # What servers send as an address is not always ASCII.
        target = quote(self.route.target(request.url), safe="%/:=&?~#+!$,;'@()*[]")
        self.connection.putrequest(request.method, target)
        own = {"User-Agent": "tablevault"}
        if request.body is not None and not request.is_chunked:
            own["Content-Length"] = str(request.body.size)
        given = (own, self.route.headers, request.headers, request.secrets)
        # Names of headers have no case; the last one counts.
        merged = {name.lower(): (name, value) for part in given for name, value in part.items()}
        for name, value in merged.values():
            if name.lower() not in _MADE_HERE or name in own:
                self.connection.putheader(name, value.encode("utf-8"))
        self.connection.endheaders()

    def _send_body(self, request: Request) -> None:
        """Send the body, in chunks when the headers say so."""
        if request.body is None:
            return
        for block in request.body.blocks():
            if not request.is_chunked:
                self.connection.send(block)
            elif block:
                self.connection.send(b"%x\r\n%b\r\n" % (len(block), block))
        if request.is_chunked:
            self.connection.send(b"0\r\n\r\n")

    def _unreachable(self, error: Exception, *, passing: bool) -> Exception:
        """Make the error of a connection that could not be made."""
        by = f" by the proxy {self.route.proxy}" if self.route.proxy else ""
        text = f"{self.route.origin} cannot be reached{by}: {said(error)}"
        if passing:
            return PassingError(text)
        return TVRemoteError(f"{text}.", "Check the URL of the remote, and the network.")


class _Listener(io.RawIOBase):
    """Reads an answer from a socket: patient until it begins, strict with what only trickles.

    The timeout of a socket is for each call, so a byte now and again would keep it alive.
    """

    def __init__(self, sock: socket.socket, wait_s: float, activity_s: float) -> None:
        super().__init__()
        self._socket = sock
        # Holds the socket open, also after http.client has closed the connection.
        self._raw = sock.makefile("rb", buffering=0)
        self._activity_s = activity_s
        self._waited_s = 0.0
        self._count = 0
        sock.settimeout(wait_s)

    def response(
        self,
        sock: socket.socket,  # noqa: ARG002 - as of http.client.HTTPResponse
        **options: str | None,
    ) -> http.client.HTTPResponse:
        """Make the answer that http.client wants to make from a socket."""
        return http.client.HTTPResponse(cast("socket.socket", self), method=options.get("method"))

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - as of a socket
        """Give the reader that http.client asks a socket for."""
        return io.BufferedReader(self, BLOCK)

    def readable(self) -> bool:
        """Tell that bytes may be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]  # any buffer, as io.RawIOBase takes it
        """Read what there is."""
        if self._waited_s > self._activity_s:
            if self._count < self._waited_s * _TRICKLE_BYTES_PER_S:
                raise TimeoutError("next to nothing came")
            self._waited_s, self._count = 0.0, 0
        before = time.monotonic()
        found = self._raw.readinto(buffer)
        if self._count:
            self._waited_s += time.monotonic() - before
        else:
            self._socket.settimeout(self._activity_s)
        self._count += found or 0
        return found

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


def said(error: Exception) -> str:
    """Say what is wrong with a connection, without what was sent over it."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "the connection was refused"
        case socket.gaierror():
            return "its name is not known"
        case http.client.IncompleteRead() | ConnectionError() | ssl.SSLEOFError():
            return "the connection was closed"
        case OSError():
            return error.strerror or str(error)
        case _:
            return f"no answer as of HTTP ({type(error).__name__})"
