"""The way to a host: which proxy, which certificates, and how it is named without secrets."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from tablevault.errors import TVRemoteError
from tablevault.history.remotes import Settings
from tablevault.remotes.login import Login

_PORTS = {"http": 80, "https": 443}
_UNFIT = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port: what credentials belong to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Name it as people do."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{self.suffix}"

    @property
    def suffix(self) -> str:
        """The port as a URL carries it, "" when it is that of the scheme."""
        return "" if self.port == _PORTS[self.scheme] else f":{self.port}"


def split_url(url: str) -> SplitResult:
    """Take apart an http(s) URL.

    Raises
    ------
    TVRemoteError
        It is none. It is not shown: it may carry a password where none was looked for.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in _PORTS and is_host(parts.hostname or "")
        fine = fine and not _UNFIT.search(parts.netloc)
        _ = parts.port
    except ValueError:
        fine, parts = False, urlsplit("")
    if not fine or re.search(r"[\x00-\x1f\x7f]", url):
        raise TVRemoteError("An address is no URL of http or https with a host.")
    return parts


def is_host(name: str) -> bool:
    """Tell whether `name` may be one of a host: no escapes, which some would decode."""
    return bool(name) and ("%" not in name or ":" in name)


def origin_of(url: str) -> Origin:
    """Give the origin of an http(s) URL."""
    parts = split_url(url)
    port = parts.port or _PORTS[parts.scheme]
    return Origin(scheme=parts.scheme, host=(parts.hostname or "").lower(), port=port)


def split_login(url: str) -> tuple[str, Login]:
    """Take user and password out of a URL; both are "" when there are none."""
    parts = split_url(url)
    login = Login(username=unquote(parts.username or ""), password=unquote(parts.password or ""))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), login


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How connections to an origin are made."""

    origin: Origin
    proxy: Origin | None = None
    proxy_headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    tls: ssl.SSLContext | None = field(repr=False, default=None)

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of each request: those for the proxy, where it reads the requests."""
        return {} if self.tls else self.proxy_headers

    def connection(self) -> http.client.HTTPConnection:
        """Make a connection, not connected yet."""
        first = self.proxy or self.origin
        if self.tls is None:
            made = http.client.HTTPConnection(first.host, first.port)
        else:
            made = http.client.HTTPSConnection(first.host, first.port, context=self.tls)
            if self.proxy:
                made.set_tunnel(self.origin.host, self.origin.port, dict(self.proxy_headers))
        made.auto_open = 0
        return made

    def target(self, url: str) -> str:
        """Spell the target of a request line: whole for a proxy that reads it, else the path."""
        parts = split_url(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return f"{self.origin}{path}" if self.proxy and not self.tls else path


class Router:
    """Finds routes from git's configuration and the environment, as git does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.route = cache(self._route)

    def _route(self, origin: Origin) -> Route:
        """Find the way to an origin."""
        url = self._proxy(origin)
        tls = self._tls(origin) if origin.scheme == "https" else None
        if not url:
            return Route(origin=origin, tls=tls)
        bare, login = split_login(url if "://" in url else f"http://{url}")
        headers = {"Proxy-Authorization": login.basic} if login.username else {}
        return Route(origin=origin, proxy=origin_of(bare), proxy_headers=headers, tls=tls)

    def _proxy(self, origin: Origin) -> str:
        """Give the URL of the proxy, "" when there is none."""
        if urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
            return ""
        set_by_git = self._settings.for_url("http", "proxy", str(origin))
        found = urllib.request.getproxies()
        url = set_by_git[-1] if set_by_git else found.get(origin.scheme, found.get("all", ""))
        if "://" in url and not url.startswith("http://"):
            raise TVRemoteError(
                f"The proxy for {origin} is of a kind that cannot be used.",
                "Only http:// proxies can: set http.proxy in git's configuration.",
            )
        return url

    def _tls(self, origin: Origin) -> ssl.SSLContext:
        """Make a TLS context with the certificates that git would use."""
        bundle, folder = self._file(origin, "sslcainfo"), self._file(origin, "sslcapath")
        context = ssl.create_default_context(cafile=bundle, capath=folder)
        found = self._settings.for_url("http", "sslverify", str(origin))
        checked = self._settings.flag(found[-1] if found else "", default=True)
        if not checked or os.environ.get("GIT_SSL_NO_VERIFY"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate := self._file(origin, "sslcert"):
            context.load_cert_chain(certificate, self._file(origin, "sslkey"))
        return context

    def _file(self, origin: Origin, name: str) -> str | None:
        """Give the path that git's environment or configuration has for `name`."""
        variable = "GIT_SSL_" + name.removeprefix("ssl").upper()
        found = self._settings.for_url("http", name, str(origin))
        path = os.environ.get(variable) or (found[-1] if found else "")
        if not path:
            return None
        file = Path(path).expanduser()
        if not file.exists():
            raise TVRemoteError(
                f'There is no file "{file}", which http.{name} or {variable} names.'
            )
        return str(file)
