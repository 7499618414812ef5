"""The way to a host: which proxy, which certificates, and how it is named without secrets."""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from dataclasses import dataclass, replace
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
        """Return it as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{self.suffix}"

    @property
    def ascii(self) -> str:
        """The same with the name that the DNS has for the host (RFC 3490)."""
        return str(replace(self, host=self.host.encode("idna").decode("ascii")))

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
        _ = parts.port, (parts.hostname or "").encode("idna")
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


def proxy_of(origin: Origin, settings: Settings) -> tuple[Origin | None, dict[str, str]]:
    """Return the proxy for `origin` and the headers for it, from git and the environment.

    Raises
    ------
    TVRemoteError
        It is no HTTP proxy.
    """
    if urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return None, {}
    set_by_git = settings.for_url("http", "proxy", str(origin))
    found = urllib.request.getproxies()
    url = set_by_git[-1] if set_by_git else found.get(origin.scheme, found.get("all", ""))
    if not url:
        return None, {}
    if "://" in url and not url.startswith("http://"):
        raise TVRemoteError(
            f"The proxy for {origin} is of a kind that cannot be used.",
            "Only http:// proxies can: set http.proxy in git's configuration.",
        )
    bare, login = split_login(url if "://" in url else f"http://{url}")
    headers = {"Proxy-Authorization": login.basic} if login.username else {}
    return origin_of(bare), headers


def tls_context(origin: Origin, settings: Settings) -> ssl.SSLContext:
    """Return a TLS context with the certificates that git would use."""
    bundle, folder = (_file(origin, settings, name) for name in ("sslcainfo", "sslcapath"))
    context = ssl.create_default_context(cafile=bundle, capath=folder)
    found = settings.for_url("http", "sslverify", str(origin))
    is_verified = settings.flag(found[-1] if found else "", default=True)
    if not is_verified or os.environ.get("GIT_SSL_NO_VERIFY"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := _file(origin, settings, "sslcert"):
        context.load_cert_chain(certificate, _file(origin, settings, "sslkey"))
    return context


def _file(origin: Origin, settings: Settings, name: str) -> str | None:
    """Return the path that git's environment or configuration has for `name`."""
    variable = "GIT_SSL_" + name.removeprefix("ssl").upper()
    found = settings.for_url("http", name, str(origin))
    path = os.environ.get(variable) or (found[-1] if found else "")
    if not path:
        return None
    file = Path(path).expanduser()
    if not file.exists():
        raise TVRemoteError(f'There is no file "{file}", which http.{name} or {variable} names.')
    return str(file)
