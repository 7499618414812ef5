"""Credentials for an origin: from a URL, from netrc, from git's credential helpers."""

from __future__ import annotations

import base64
import logging
import netrc
import re
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.remotes.programs import run

_log = logging.getLogger("tablevault")
# Each line of the protocol is one fact: a line break within a value would inject another one
# (CVE-2020-5260; CVE-2024-52006 for the carriage return).
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORTS = {"http": 80, "https": 443}
_KEYS = frozenset({"protocol", "host", "path", "username", "password"})


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
        A credential helper returned it and has to be told whether the server accepts it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the URL of a remote says: origin, login, and the path to name to helpers."""

    origin: Origin
    login: Login
    path: str


class Credentials:
    """Logins by origin, each requested once; threads that need the same one wait for each other.

    Parameters
    ----------
    folder : Path
        The repository whose configuration names the helpers.
    known : Known, optional
        What the URL of the remote says. It counts for its own origin only.
    """

    def __init__(self, folder: Path, known: Known | None = None) -> None:
        self._folder = folder
        self._known = known
        self._found: dict[Origin, Login | None] = {}
        self._approved: set[Origin] = set()
        self._lock = threading.Lock()

    def at_hand(self, origin: Origin) -> Login | None:
        """Return the login for `origin` if it is known without a helper."""
        with self._lock:
            return self._at_hand(origin)

    def ask(self, origin: Origin, refused: Login | None) -> Login:
        """Return another login than the one that `origin` has just refused.

        Raises
        ------
        TVCredentialsError
            There is none.
        """
        with self._lock:
            current = self._at_hand(origin)
            if current is not None and current != refused:
                return current
            if refused is not None and refused.is_from_helper:
                self._helper("reject", origin, refused)
            self._found[origin] = None
            login = self._fill(origin)
            if login is None or login == refused:
                raise _missing(origin, was_refused=refused is not None)
            self._found[origin] = login
            return login

    def approve(self, origin: Origin, login: Login) -> None:
        """Report to the helper that `origin` accepts `login`, so that it may store it."""
        with self._lock:
            if origin not in self._approved and login.is_from_helper:
                self._helper("approve", origin, login)
            self._approved.add(origin)

    def hide(self, text: str) -> str:
        """Return a text of a server without secrets."""
        with self._lock:
            logins = [login for login in self._found.values() if login is not None]
        for login in logins:
            for secret in (login.basic.removeprefix("Basic "), login.password):
                text = text.replace(secret, "***") if secret else text
        return text

    def _at_hand(self, origin: Origin) -> Login | None:
        """Return an earlier answer, or what the URL or netrc says."""
        if origin not in self._found:
            known = self._known_of(origin)
            username = known.login.username if known else ""
            of_url = known.login if known and known.login.password else None
            self._found[origin] = of_url or _of_netrc(origin, username)
        return self._found[origin]

    def _known_of(self, origin: Origin) -> Known | None:
        """Return what the URL says, if it is of `origin`."""
        return self._known if self._known and self._known.origin == origin else None

    def _fill(self, origin: Origin) -> Login | None:
        """Ask git's helpers, which may prompt at the terminal."""
        known = self._known_of(origin)
        answer = self._helper("fill", origin, Login(username=known.login.username if known else ""))
        facts = dict(answer)
        if not facts.get("password"):
            return None
        return Login(
            username=facts.get("username", ""),
            password=facts["password"],
            more=tuple((key, value) for key, value in answer if key not in _KEYS),
            is_from_helper=True,
        )

    def _helper(self, action: str, origin: Origin, login: Login) -> list[tuple[str, str]]:
        """Run ``git credential`` and return what it prints; nothing if it has no answer."""
        known = self._known_of(origin)
        facts = [
            ("protocol", origin.scheme),
            ("host", str(origin).partition("://")[2]),
            # Git drops it unless credential.useHttpPath is set.
            ("path", known.path.lstrip("/") if known else ""),
            ("username", login.username),
            ("password", login.password),
            *login.more,
        ]
        given = [(key, value) for key, value in facts if value]
        if any(_CONTROL.search(value) for _, value in given):
            raise TVCredentialsError(
                f"The URL for {origin} contains a control character.",
                "Check the URLs of the remote: this one may be meant to steal a password.",
            )
        text = "".join(f"{key}={value}\n" for key, value in given)
        done = run(["git", "credential", action], self._folder, text=f"{text}\n", shown=True)
        if done.code != 0:
            return []
        lines = done.out.decode("utf-8", "surrogateescape").splitlines()
        return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def _missing(origin: Origin, *, was_refused: bool) -> TVCredentialsError:
    """Return the error that explains how to provide credentials."""
    what = "does not accept these credentials" if was_refused else "wants credentials"
    return TVCredentialsError(
        f"{origin} {what}.",
        f"Give them to git: `git credential approve` with a helper set in credential.helper, a"
        f" line for {origin.host} in ~/.netrc, or the user's name in the URL and a terminal to"
        " be asked at. Many servers want a token in place of the password.",
        host=origin.host,
    )


def _of_netrc(origin: Origin, username: str) -> Login | None:
    """Return the login of ``~/.netrc``, but never the one under ``default``.

    Anybody may have named this server in a vault: it gets only what stands under its own name.
    """
    path = Path("~/.netrc").expanduser()
    try:
        hosts = netrc.netrc(path).hosts
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        _log.warning("%s cannot be read (%s).", path, type(error).__name__)
        return None
    found = hosts.get(origin.host) if origin.host != "default" else None
    if found is None or not found[2] or (username and found[0] != username):
        return None
    return Login(username=found[0], password=found[2])


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
