"""HTTP addresses: origins to which credentials belong, and logins in URLs."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, unquote, urlsplit

from tablevault.errors import TVRemoteError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port: credentials belong to one origin."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return the origin as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def ascii(self) -> str:
        """The URL with the host as the DNS names it (RFC 3490)."""
        return str(replace(self, host=self.host.encode("idna").decode("ascii")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user and a password.

    Attributes
    ----------
    more : tuple of pairs
        What else a credential helper of git returned, and expects back.
    is_from_helper : bool
        A credential helper returned it and expects to hear whether it was right.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    more: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    is_from_helper: bool = False

    @property
    def basic(self) -> str:
        """Value of the header ``Authorization`` in the scheme Basic."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def split_url(url: str) -> SplitResult:
    """Split an http(s) URL.

    Raises
    ------
    TVRemoteError
        It is not one. The message does not show it: it may contain a password.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_valid = parts.scheme in _PORTS and is_host(host)
        is_valid = is_valid and not re.search(r"[\x00-\x20\x7f]", parts.netloc)
        _ = parts.port, host.encode("idna")
    except ValueError:
        is_valid, parts = False, urlsplit("")
    if not is_valid or re.search(r"[\x00-\x1f\x7f]", url):
        raise TVRemoteError("An address is not an http or https URL with a host.")
    return parts


def is_host(name: str) -> bool:
    """Return whether `name` can be a host: without escapes, which some programs decode."""
    return bool(name) and ("%" not in name or ":" in name)


def origin_of(url: str) -> Origin:
    """Return the origin of an http(s) URL."""
    parts = split_url(url)
    port = parts.port or _PORTS[parts.scheme]
    return Origin(scheme=parts.scheme, host=(parts.hostname or "").lower(), port=port)


def split_login(url: str) -> tuple[str, Login]:
    """Return a URL without its user and password, and both; they are "" if it has none."""
    parts = split_url(url)
    login = Login(username=unquote(parts.username or ""), password=unquote(parts.password or ""))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), login
