"""Where the objects of a remote are: its own URL, or what git's configuration says instead."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tablevault.errors import TVRemoteError
from tablevault.history.remotes import Remote, Settings
from tablevault.remotes.lfs import Operation
from tablevault.remotes.login import Login
from tablevault.remotes.route import is_host, split_login

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:([^/:\[\]]*)@)?(?:\[([^\]/]+)\]|([^:/\[\]@]+)):(.*)", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(?:(.*)@)?([^:@]+)(?::([0-9]+))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SSH = frozenset({"ssh", "git+ssh", "ssh+git"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlace:
    """A repository on this machine."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SshPlace:
    """A repository that a host serves over ssh."""

    user: str
    host: str
    port: str
    path: str

    @property
    def destination(self) -> str:
        """What ssh calls it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def web_url(self) -> str:
        """The URL under which the same host would serve it over https."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}/{self.path.lstrip('/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPlace:
    """A URL of http or https, and who we are according to it."""

    url: str
    login: Login = field(repr=False)


Place = LocalPlace | SshPlace | WebPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where objects are transferred to or from.

    Attributes
    ----------
    place : Place
        The repository, or the URL of the LFS server.
    remote : Place
        The remote itself, whose credentials count for the LFS server where both are the same.
    is_committed : bool
        ``.lfsconfig`` says so, which anybody who can push may have written.
    """

    place: Place
    remote: Place
    is_committed: bool


def find_endpoint(
    remote: Remote, operation: Operation, settings: Settings, committed: Settings, folder: Path
) -> Endpoint:
    """Find the endpoint of `remote` as git-lfs does (docs/api/server-discovery.md).

    Parameters
    ----------
    settings, committed : Settings
        What git's configuration says, and what ``.lfsconfig`` says; the first one wins.
    folder : Path
        What relative paths are relative to.

    Raises
    ------
    TVRemoteError
        A URL is of a kind that cannot be used, or ``.lfsconfig`` names a place that it must not.
    """
    url = remote.push_url if operation == "upload" else remote.url
    own = classify(url, folder)
    for key, may_be_committed in _keys(remote.name, operation):
        if value := settings.get(key):
            place = classify(settings.instead(value), folder)
            return Endpoint(place=place, remote=own, is_committed=False)
        if may_be_committed and (value := committed.get(key)):
            _check_committed(key, value)
            place = classify(settings.instead(value), folder)
            return Endpoint(place=place, remote=own, is_committed=True)
    place = own
    if isinstance(own, WebPlace):
        place = WebPlace(url=lfs_url(own.url), login=own.login)
    return Endpoint(place=place, remote=own, is_committed=False)


def classify(url: str, folder: Path) -> Place:
    """Tell what kind of URL `url` is, by the rules of git.

    Raises
    ------
    TVRemoteError
        It is none that objects can be transferred to, or it would be taken for an option.
    """
    if _CONTROL.search(url):
        raise TVRemoteError("The URL of a remote has a control character in it.")
    if found := _SCHEME.match(url):
        return _by_scheme(found[1].lower(), url)
    if "::" in url.partition("/")[0] and "[" not in url:
        raise _unusable(url.partition("::")[0] + "::")
    colon, slash = url.find(":"), url.find("/")
    if colon >= 0 and (slash < 0 or colon < slash or url.startswith("[")):
        return _of_scp(url)
    return LocalPlace(path=folder / url)


def lfs_url(url: str) -> str:
    """Give the URL of the LFS server that belongs to the URL of a repository."""
    url = url.rstrip("/")
    return f"{url}/info/lfs" if url.endswith(".git") else f"{url}.git/info/lfs"


def _keys(name: str, operation: Operation) -> list[tuple[str, bool]]:
    """Give the settings that name an endpoint, and which of them may stand in ``.lfsconfig``."""
    found = [("lfs.url", True)]
    found += [(f"remote.{name}.lfspushurl", False)] if name and operation == "upload" else []
    found += [(f"remote.{name}.lfsurl", True)] if name else []
    return [("lfs.pushurl", True), *found] if operation == "upload" else found


def _check_committed(key: str, value: str) -> None:
    """Refuse what ``.lfsconfig`` has no right to: files of this machine, our keys for ssh."""
    if not re.match(r"https?://", value, re.IGNORECASE):
        raise TVRemoteError(
            f'The file ".lfsconfig" sets {key} to something else than an http or https URL.',
            f"If it is right, set it yourself: `git config {key} <url>`.",
            key=key,
        )


def _by_scheme(scheme: str, url: str) -> Place:
    """Read a URL that begins with a scheme."""
    if scheme in ("http", "https"):
        bare, login = split_login(url)
        return WebPlace(url=bare, login=login)
    rest = url.partition("://")[2]
    if scheme == "git":
        # Never had credentials, and serves no objects; git-lfs goes to the same host, too.
        return WebPlace(url=lfs_url(f"https://{rest}").removesuffix("/info/lfs"), login=Login())
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise TVRemoteError("A file:// URL names a path on this machine: file:///path.")
        return LocalPlace(path=Path("/" + unquote(path)))
    if scheme not in _SSH:
        raise _unusable(f"{scheme}://")
    netloc, path = urlsplit(url).netloc, unquote(urlsplit(url).path)
    user, _, host = netloc.rpartition("@")
    host, port = _host_and_port(host)
    # As git does: /~ana/x is in Ana's home.
    path = path[1:] if path.startswith("/~") else path
    return _ssh(unquote(user.partition(":")[0]), host, port, path)


def _of_scp(url: str) -> SshPlace:
    """Read ``[user@]host:path``, where brackets keep an IPv6 address or a port together."""
    found = _SCP.fullmatch(url)
    if not found:
        raise TVRemoteError("The URL of a remote looks like host:path, and has no host.")
    user, inner, host, path = found[1] or "", found[2], found[3], found[4]
    port = ""
    if inner is not None:
        host = inner
        if within := _HOST_AND_PORT.fullmatch(inner):
            user, host, port = user or within[1] or "", within[2], within[3] or ""
    return _ssh(user, host, port, path)


def _host_and_port(text: str) -> tuple[str, str]:
    """Split ``host:port`` or ``[address]:port``."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _ssh(user: str, host: str, port: str, path: str) -> SshPlace:
    """Make the place, unless ssh or the shell over there would take a part for an option."""
    place = SshPlace(user=user, host=host, port=port, path=path)
    dangerous = any(part.startswith("-") for part in (user, host, path))
    odd = _CONTROL.search(user + host + path) or not is_host(host)
    if odd or not path or dangerous or (port and not port.isdecimal()):
        raise TVRemoteError(
            "The URL of a remote is for ssh, and its user, host, port or path cannot be used.",
            "It looks like ssh://user@host:22/path or user@host:path.",
        )
    return place


def _unusable(kind: str) -> TVRemoteError:
    """Make the error for a kind of URL that carries no objects."""
    return TVRemoteError(
        f'Objects cannot be transferred by a URL that begins with "{kind}".',
        "Use a path, file://, ssh://, https://, or set remote.<name>.lfsurl to a URL of such kind.",
    )
