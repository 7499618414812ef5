"""HTTP exchanges by urllib3: connections that can be cut, redirects that carry no secrets."""

from __future__ import annotations

import contextlib
import functools
import http.client
import logging
import os
import socket
import ssl
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import Settings
from tablevault.remotes.http.credentials import Origin, origin_of, split_login, split_url
from tablevault.remotes.http.retry import PassingError, limits_of

BLOCK = 1 << 16
# A server may take so long to process a request before it answers.
_SLOWEST_BYTES_PER_S = 10_000_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LONGEST_ERROR = 1 << 16
# An action of a server cannot set these.
_RESERVED = frozenset({"accept-encoding", "connection", "content-length", "host"})
_KEEP_ALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Body:
    """The body of a request, produced anew for each attempt.

    Parameters
    ----------
    size : int
        Bytes.
    blocks : callable
        Returns an iterator over the bytes.
    """

    def __init__(self, size: int, blocks: Callable[[], Iterator[bytes]]) -> None:
        self.size = size
        self.is_sent = False
        """Everything went out in the last attempt."""
        self._blocks = blocks

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Return a body of bytes in memory."""
        return cls(len(data), lambda: iter((data,)))

    def __iter__(self) -> Iterator[bytes]:
        """Return the bytes from the start."""
        self.is_sent = False
        yield from self._blocks()
        self.is_sent = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request.

    Attributes
    ----------
    headers : mapping
        Describe the body and the response; every redirect receives them.
    secrets : mapping
        Headers with credentials; only the origin of `url` receives them.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: Body | None = field(repr=False, default=None)

    @property
    def origin(self) -> Origin:
        """Origin of the URL."""
        return origin_of(self.url)

    @property
    def location(self) -> str:
        """The URL without a login and a fragment."""
        parts = split_url(self.url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.origin.ascii}{parts.path or '/'}{query}"

    def all_headers(self) -> urllib3.HTTPHeaderDict:
        """Return all headers; of two with one name the last counts."""
        found = urllib3.HTTPHeaderDict({"User-Agent": "tablevault"})
        for name, value in [*self.headers.items(), *self.secrets.items()]:
            if name.lower() not in _RESERVED:
                # http.client encodes Latin-1: so UTF-8 goes out.
                found[name] = value.encode("utf-8").decode("latin-1")
        # Some servers ask for a body in chunks, which has no length.
        if self.body is not None and "Transfer-Encoding" not in found:
            found["Content-Length"] = str(self.body.size)
        return found


class Reply:
    """A response whose body is read on demand; close it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, origin: Origin) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.origin = origin

    def blocks(self) -> Iterator[bytes]:
        """Return the body as it arrives.

        Raises
        ------
        PassingError
            The connection was lost, or next to nothing arrived for a long time.
        """
        try:
            while block := self._response.read(BLOCK, decode_content=False):
                yield block
        except HTTPError as error:
            raise PassingError(f"{self.origin} interrupted its answer: {_reason(error)}") from None

    def read(self, most: int) -> bytes:
        """Return the whole body.

        Raises
        ------
        TVRemoteError
            It has more than `most` bytes.
        """
        data = bytearray()
        self._read_into(data, most)
        if len(data) > most:
            raise TVRemoteError(f"{self.origin} sends an endless answer.")
        return bytes(data)

    def read_error(self) -> bytes:
        """Return the beginning of the body of an error response."""
        data = bytearray()
        with contextlib.suppress(PassingError):
            self._read_into(data, _LONGEST_ERROR)
        return bytes(data)

    def close(self) -> None:
        """Close the connection, unless the whole body was read and others already use it."""
        self._response.close()
        self._response.release_conn()

    def _read_into(self, data: bytearray, most: int) -> None:
        """Read the body; stop beyond `most` bytes."""
        for block in self.blocks():
            data += block
            if len(data) > most:
                return


class Session:
    """The connections of one transfer, shared by its threads.

    Parameters
    ----------
    settings : Settings
        Timeouts as of git-lfs, proxies and certificates as of git.
    """

    def __init__(self, settings: Settings) -> None:
        self.activity_s = float(settings.number("lfs.activitytimeout", default=30) or 3600)
        self.connect_s = float(settings.number("lfs.dialtimeout", default=30) or 3600)
        self._settings = settings
        self._hosts: dict[Origin, _Host] = {}
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._reached: set[Origin] = set()
        self._closed = False
        self._lock = threading.Lock()

    def send(self, request: HttpRequest) -> Reply:
        """Send a request, follow redirects, and return the response.

        Raises
        ------
        PassingError
            No response came.
        TVRemoteError
            None will come, or a redirect must not be followed.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            reply = self._exchange(request)
            target = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not target:
                return reply
            reply.read_error()
            reply.close()
            request = _redirected(request, target)
        raise TVRemoteError(f"{request.origin} redirects endlessly.")

    def close(self) -> None:
        """Cut all connections, also those that other threads wait for."""
        with self._lock:
            self._closed = True
            sockets, hosts = list(self._sockets), list(self._hosts.values())
        for sock in sockets:
            with contextlib.suppress(OSError):
                # ssl.SSLSocket.shutdown first forgets that there is TLS: a thread that writes at
                # that moment would write in the clear.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for host in hosts:
            host.pool.close()

    def connected(self, sock: socket.socket, origin: Origin) -> None:
        """Register a new connection, so that it can be cut."""
        with self._lock:
            self._refuse_closed()
            self._sockets.add(sock)
            self._reached.add(origin)

    def unreachable(self, host: _Host, error: Exception) -> Exception:
        """Return the error of a connection that failed.

        If the host refuses and was never reached before, another attempt will not help.
        """
        root = _root(error)
        if isinstance(root, ssl.SSLCertVerificationError):
            return TVRemoteError(
                f"{host.origin} has no valid certificate: {root.verify_message}.",
                "Set http.sslCAInfo in git's configuration to the certificate of its authority.",
            )
        by = f" by the proxy {host.proxy}" if host.proxy else ""
        text = f"{host.origin} cannot be reached{by}: {_reason(error)}"
        is_final = isinstance(root, socket.gaierror | ConnectionRefusedError | LocationParseError)
        is_final &= getattr(root, "errno", None) != socket.EAI_AGAIN
        if is_final and host.origin not in self._reached:
            return TVRemoteError(f"{text}.", "Check the URL of the remote, and the network.")
        return PassingError(text)

    def _exchange(self, request: HttpRequest) -> Reply:
        """Send a request over a connection that was kept, or a new one."""
        host = self._host(request.origin)
        size = 0 if request.body is None else request.body.size
        wait_s = self.activity_s + size / _SLOWEST_BYTES_PER_S
        # To urllib3, sending is a part of connecting.
        timeout = urllib3.Timeout(connect=self.activity_s, read=wait_s)
        try:
            return Reply(host.send(request, timeout), host.origin)
        except HTTPError as error:
            # A body that went out may have arrived.
            is_sent = request.body is not None and request.body.is_sent
            text = f"{host.origin}: {_reason(error)}"
            raise PassingError(text, unanswered=is_sent) from None

    def _host(self, origin: Origin) -> _Host:
        """Return the connections to `origin`."""
        with self._lock:
            self._refuse_closed()
            if origin not in self._hosts:
                self._hosts[origin] = _Host(self, origin, self._settings)
            return self._hosts[origin]

    def _refuse_closed(self) -> None:
        """Refuse to continue after the end."""
        if self._closed:
            raise PassingError("the transfer was given up")


class _Host:
    """The connections to one origin, by the proxy and with the certificates that git uses."""

    def __init__(self, session: Session, origin: Origin, settings: Settings) -> None:
        self.session = session
        self.origin = origin
        self.proxy, headers = _proxy_of(origin, settings)
        is_secure = origin.scheme == "https"
        options: dict[str, Any] = {
            "socket_options": [*HTTPConnection.default_socket_options, _KEEP_ALIVE],
            "maxsize": limits_of(settings).threads + 1,  # the thread that asks needs one, too
            "ssl_context": _tls_context(origin, settings) if is_secure else None,
        }
        self._manager = (
            urllib3.ProxyManager(str(self.proxy), proxy_headers=headers, **options)
            if self.proxy
            else urllib3.PoolManager(**options)
        )
        self.pool = self._manager.connection_from_url(origin.ascii)
        kind = _TlsConnection if is_secure else _Connection
        self.pool.ConnectionCls = functools.partial(kind, self)  # type: ignore[assignment]  # called like the class

    def send(self, request: HttpRequest, timeout: urllib3.Timeout) -> urllib3.BaseHTTPResponse:
        """Send a request and return the response, its body unread."""
        _thread.is_silent = True
        try:
            return self._manager.urlopen(
                request.method,
                request.location,
                redirect=False,
                body=request.body,
                headers=request.all_headers(),
                retries=False,
                timeout=timeout,
                preload_content=False,
            )
        finally:
            _thread.is_silent = False


class _Connection(HTTPConnection):
    """A connection that its session can cut."""

    def __init__(self, for_host: _Host, **options: Any) -> None:  # noqa: ANN401 - as of urllib3
        super().__init__(**options)
        self._for_host = for_host

    def connect(self) -> None:
        """Connect, to the proxy if there is one."""
        session = self._for_host.session
        self.timeout = session.connect_s
        try:
            super().connect()
        except (OSError, http.client.HTTPException, HTTPError) as error:
            raise session.unreachable(self._for_host, error) from None
        self.sock.settimeout(session.activity_s)
        session.connected(self.sock, self._for_host.origin)
        # urllib3 warns without it, also users who have set http.sslVerify to false.
        self.is_verified = True


class _TlsConnection(_Connection, HTTPSConnection):
    """A connection by TLS."""


class _SilentLog(logging.Filter):
    """Keeps the URLs of our requests out of urllib3's log: they often contain credentials."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the request is not ours."""
        return not getattr(_thread, "is_silent", False)


_thread = threading.local()  # `is_silent` while a request of ours runs
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_SilentLog())


def _reason(error: Exception) -> str:
    """Return what is wrong with a connection, without what was sent over it."""
    match _root(error):
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "the connection was refused"
        case socket.gaierror() | LocationParseError():
            return "its name is unknown"
        case http.client.IncompleteRead() | ConnectionError() | ssl.SSLEOFError():
            return "the connection was closed"
        case OSError() as root:
            return root.strerror or str(root)
        case root:
            return f"no HTTP answer ({type(root).__name__})"


def _root(error: BaseException) -> BaseException:
    """Return the error of the standard library that urllib3 has wrapped."""
    while isinstance(error, HTTPError) and (below := error.__cause__ or error.__context__):
        error = below
    return error


def _redirected(request: HttpRequest, target: str) -> HttpRequest:
    """Return the request that follows a redirect; credentials stay with their origin."""
    try:
        url = urljoin(request.url, target)
    except ValueError:
        url = ""
    origin = origin_of(url)
    if request.origin.scheme == "https" and origin.scheme == "http":
        raise TVRemoteError(f"{request.origin} redirects to {origin}, which is not encrypted.")
    secrets = request.secrets if origin == request.origin else {}
    return replace(request, url=url, secrets=secrets)


def _proxy_of(origin: Origin, settings: Settings) -> tuple[Origin | None, dict[str, str]]:
    """Return the proxy for `origin`, None if there is none, and the headers for it.

    Raises
    ------
    TVRemoteError
        It is not an HTTP proxy.
    """
    if urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return None, {}
    found = urllib.request.getproxies()
    default = found.get(origin.scheme, found.get("all", ""))
    url = _last(settings, "proxy", origin, default)
    if not url:
        return None, {}
    if "://" in url and not url.startswith("http://"):
        raise TVRemoteError(
            f"The proxy for {origin} cannot be used.",
            "Only http:// proxies are supported: set http.proxy in git's configuration.",
        )
    bare, login = split_login(url if "://" in url else f"http://{url}")
    return origin_of(bare), {"Proxy-Authorization": login.basic} if login.username else {}


def _tls_context(origin: Origin, settings: Settings) -> ssl.SSLContext:
    """Return a TLS context with the certificates that git uses for `origin`."""
    bundle, folder, certificate, key = (
        _file(settings, name, origin) for name in ("sslcainfo", "sslcapath", "sslcert", "sslkey")
    )
    context = ssl.create_default_context(cafile=bundle, capath=folder)
    is_verified = settings.flag(_last(settings, "sslverify", origin), default=True)
    if not is_verified or os.environ.get("GIT_SSL_NO_VERIFY"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _last(settings: Settings, name: str, origin: Origin, default: str = "") -> str:
    """Return the value of ``http.<name>`` that counts for `origin`."""
    return (settings.for_url("http", name, str(origin)) or [default])[-1]


def _file(settings: Settings, name: str, origin: Origin) -> str | None:
    """Return a path from the environment or ``http.<name>``; None if neither names one."""
    variable = "GIT_SSL_" + name.removeprefix("ssl").upper()
    path = os.environ.get(variable) or _last(settings, name, origin)
    if not path:
        return None
    file = Path(path).expanduser()
    if not file.exists():
        raise TVRemoteError(f'There is no file "{file}", which http.{name} or {variable} names.')
    return str(file)
