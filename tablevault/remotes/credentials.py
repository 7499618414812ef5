"""Who we are for a server: from its URL, from netrc, from git's credential helpers."""

from __future__ import annotations

import logging
import netrc
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVCredentialsError
from tablevault.remotes.asking import run
from tablevault.remotes.login import Login
from tablevault.remotes.route import Origin

_log = logging.getLogger("tablevault")
# The protocol has a line for each fact: a line break in one would be a fact of somebody else's
# making (CVE-2020-5260; CVE-2024-52006 for the carriage return).
_UNFIT = re.compile(r"[\x00-\x1f\x7f]")
_ASKED = frozenset({"protocol", "host", "path", "username", "password"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A login that stands in the URL of an origin, and the path for which it is asked for."""

    origin: Origin
    login: Login
    path: str


class Credentials:
    """Logins by origin, each asked for once; threads that need the same one wait for each other.

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
        """Give what is known for `origin` without asking anybody."""
        with self._lock:
            return self._at_hand(origin)

    def ask(self, origin: Origin, refused: Login | None) -> Login:
        """Give another login than the one that `origin` has just refused.

        Raises
        ------
        TVCredentialsError
            There is no other one.
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
                raise self._none(origin, was_refused=refused is not None)
            self._found[origin] = login
            return login

    def approve(self, origin: Origin, login: Login) -> None:
        """Note that `origin` accepts `login`, so that a helper may keep it."""
        with self._lock:
            if origin not in self._approved and login.is_from_helper:
                self._helper("approve", origin, login)
            self._approved.add(origin)

    def hide(self, text: str) -> str:
        """Take secrets out of a text that came from a server."""
        with self._lock:
            logins = [login for login in self._found.values() if login is not None]
        for login in logins:
            for secret in (login.basic.removeprefix("Basic "), login.password):
                text = text.replace(secret, "***") if secret else text
        return text

    def _at_hand(self, origin: Origin) -> Login | None:
        """Look where nobody has to be asked: earlier answers, the URL, netrc."""
        if origin not in self._found:
            self._found[origin] = self._of_url(origin) or _of_netrc(origin, self._name(origin))
        return self._found[origin]

    def _of_url(self, origin: Origin) -> Login | None:
        """Give what stands in the URL, when it has a password."""
        if self._known and self._known.origin == origin and self._known.login.password:
            return self._known.login
        return None

    def _name(self, origin: Origin) -> str:
        """Give the user's name that stands in the URL."""
        return self._known.login.username if self._known and self._known.origin == origin else ""

    def _fill(self, origin: Origin) -> Login | None:
        """Ask git's helpers, which may ask the person at the terminal."""
        answer = self._helper("fill", origin, Login(username=self._name(origin)))
        facts = dict(answer)
        if not facts.get("password"):
            return None
        return Login(
            username=facts.get("username", ""),
            password=facts["password"],
            more=tuple((key, value) for key, value in answer if key not in _ASKED),
            is_from_helper=True,
        )

    def _helper(self, action: str, origin: Origin, login: Login) -> list[tuple[str, str]]:
        """Run ``git credential``; give what it answers, nothing when it has no answer."""
        path = self._known.path if self._known and self._known.origin == origin else ""
        facts = [
            ("protocol", origin.scheme),
            ("host", str(origin).partition("://")[2]),
            # Git drops it unless credential.useHttpPath is set.
            ("path", path.lstrip("/")),
            ("username", login.username),
            ("password", login.password),
            *login.more,
        ]
        asked = [(key, value) for key, value in facts if value]
        if any(_UNFIT.search(value) for _, value in asked):
            raise TVCredentialsError(
                f"The URL for {origin} has a control character in it.",
                "Look at the URLs of the remote: somebody may want your password for another one.",
            )
        text = "".join(f"{key}={value}\n" for key, value in asked)
        said = run(["git", "credential", action], self._folder, text=f"{text}\n", shown=True)
        if said.code != 0:
            return []
        lines = said.out.decode("utf-8", "surrogateescape").splitlines()
        return [(key, value) for key, _, value in (line.partition("=") for line in lines)]

    def _none(self, origin: Origin, *, was_refused: bool) -> TVCredentialsError:
        """Make the error that says how to give credentials."""
        what = "does not accept these credentials" if was_refused else "wants credentials"
        return TVCredentialsError(
            f"{origin} {what}.",
            f"Give them to git: `git credential approve` with a helper set in credential.helper, a"
            f" line for {origin.host} in ~/.netrc, or the user's name in the URL and a terminal to"
            " be asked at. Many servers want a token in place of the password.",
            host=origin.host,
        )


def _of_netrc(origin: Origin, username: str) -> Login | None:
    """Look into ``~/.netrc``; what stands under ``default`` is meant for no server in particular.

    A server that a vault names may be anybody's, so it gets what stands under its own name only.
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
