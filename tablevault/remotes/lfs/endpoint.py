"""Where the objects of a remote are: at its own URL, or where git's configuration says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import Remote, Settings
from tablevault.remotes.http.credentials import Login, is_host, split_login
from tablevault.remotes.lfs.batch_api import Operation
from tablevault.wording import BLANK, Call, Wording

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:([^/:\[\]]*)@)?(?:\[([^\]/]+)\]|([^:/\[\]@]+)):(.*)", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(?:(.*)@)?([^:@]+)(?::([0-9]+))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_S3 = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_SERVICE = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?", re.IGNORECASE)
TRUSTED_BUCKET = "tablevault.trustedbucket"
"""Setting with the buckets that somebody has confirmed here."""
_SSH = frozenset({"ssh", "git+ssh", "ssh+git"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAddress:
    """A repository on this machine."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """A repository that a host serves over ssh."""

    user: str
    host: str
    port: str
    path: str

    @property
    def destination(self) -> str:
        """The destination as ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def web_url(self) -> str:
        """The URL by which the same host would serve it over https."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}/{self.path.lstrip('/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """A URL of http or https, and the login in it."""

    url: str
    login: Login = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAddress:
    """A folder in a bucket of an S3-compatible service.

    Attributes
    ----------
    bucket, prefix : str
        Objects are at ``<prefix>/lfs/objects/`` in the bucket; `prefix` may be empty.
    endpoint : str
        URL of the service; "" for that of AWS, or of the environment (``AWS_ENDPOINT_URL``).
    region : str
        Region of the bucket; "" for that of the AWS configuration.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @property
    def url(self) -> str:
        """The one URL of this address."""
        named = {"endpoint": self.endpoint, "region": self.region}
        options = urlencode({name: value for name, value in named.items() if value}, safe=":/")
        return "?".join(filter(None, [f"{_S3}{self.place}", options]))

    @property
    def place(self) -> str:
        """Bucket and prefix."""
        return "/".join(filter(None, [self.bucket, self.prefix]))


Address = LocalAddress | SshAddress | WebAddress | BucketAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where objects go or come from.

    Attributes
    ----------
    address : Address
        The repository, or the URL of the LFS server.
    remote : Address
        The remote itself, whose credentials count for an LFS server of the same origin.
    is_committed : bool
        It comes from ``.lfsconfig``, which anybody who can push may have written.
    """

    address: Address
    remote: Address
    is_committed: bool


def find_remote(settings: Settings, name: str, folder: Path) -> Remote:
    """Return the remote of a name; a URL or a path is a remote without a name.

    Raises
    ------
    TVRemoteError
        It is neither.
    """
    if found := settings.remote(name):
        return found
    if name and (":" in name or "/" in name or _is_folder(folder / name)):
        url = settings.instead(name)
        pushed = settings.instead(name, name="pushinsteadof")
        several = (
            each for each in settings.names("remote", "url") if name in _several(settings, each)
        )
        # One of the addresses of a remote: the settings of that remote count.
        return Remote(name=next(several, ""), url=url, push_url=url if pushed == name else pushed)
    known = ", ".join(f'"{each}"' for each in sorted(settings.names("remote", "url")))
    hint = (
        f"There are: {known}."
        if known
        else Wording("Add one: ", Call("add_remote", name=name, url=BLANK), ".")
    )
    raise TVRemoteError(f'There is no remote "{name}".', hint, remote=name)


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder; one that is too long is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _several(settings: Settings, name: str) -> tuple[str, ...]:
    """Return the addresses of a remote that has more than one."""
    found = settings.remote(name)
    return found.push_urls if found else ()


def find_endpoint(
    remote: Remote, operation: Operation, settings: Settings, committed: Settings, folder: Path
) -> Endpoint:
    """Return the endpoint of `remote`, by the rules of git-lfs (docs/api/server-discovery.md).

    Parameters
    ----------
    settings, committed : Settings
        Git's configuration, and ``.lfsconfig``; the first one wins.
    folder : Path
        Base of relative paths.

    Raises
    ------
    TVRemoteError
        A URL is of a kind that cannot be used, or ``.lfsconfig`` contains a forbidden one.
    """
    url = remote.push_url if operation == "upload" else remote.url
    own = classify(url, folder)
    for key, may_be_committed in _keys(remote.name, operation):
        if value := settings.get(key):
            address = classify(settings.instead(value), folder)
            return Endpoint(address=address, remote=own, is_committed=False)
        if may_be_committed and (value := committed.get(key)):
            _check_committed(key, value, settings)
            address = classify(settings.instead(value), folder)
            return Endpoint(address=address, remote=own, is_committed=True)
    if isinstance(own, WebAddress):
        server = WebAddress(url=lfs_url(own.url), login=own.login)
        return Endpoint(address=server, remote=own, is_committed=False)
    return Endpoint(address=own, remote=own, is_committed=False)


def classify(url: str, folder: Path) -> Address:
    """Return the address that a URL or path means to git.

    Raises
    ------
    TVRemoteError
        Objects cannot be transferred to it, or programs would take it for an option.
    """
    if _CONTROL.search(url):
        raise TVRemoteError("The URL of a remote contains a control character.")
    if found := _SCHEME.match(url):
        return _by_scheme(found[1].lower(), url)
    if "::" in url.partition("/")[0] and "[" not in url:
        raise _unusable(url.partition("::")[0] + "::")
    colon, slash = url.find(":"), url.find("/")
    if colon >= 0 and (slash < 0 or colon < slash or url.startswith("[")):
        return _of_scp(url)
    return LocalAddress(path=folder / url)


def parse_bucket(url: str, endpoint: str = "") -> BucketAddress:
    """Return the address of ``s3://bucket/prefix?endpoint=URL&region=NAME``.

    The prefix is taken as it is written, without any decoding; options after the question mark
    may be left out.

    Parameters
    ----------
    endpoint : str, default ""
        URL of the service, if it is not among the options.

    Raises
    ------
    TVRemoteError
        It is malformed.
    """
    place, _, query = url.removeprefix(_S3).partition("?")
    bucket, _, prefix = place.partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    found = BucketAddress(
        bucket=bucket,
        prefix=prefix.removesuffix("/"),
        endpoint=options.pop("endpoint", endpoint).rstrip("/"),
        region=options.pop("region", ""),
    )
    if fault := _fault_of_bucket(url, found, options):
        raise TVRemoteError(
            f"{url!r} is not the address of a bucket: {fault}.",
            "It looks like s3://bucket/prefix, or s3://bucket/prefix?endpoint=https://host:9000.",
            url=url,
        )
    return found


def _fault_of_bucket(url: str, found: BucketAddress, others: Mapping[str, str]) -> str:
    """Return what is wrong with the address of a bucket; "" if nothing is."""
    if not url.startswith(_S3):
        return "it does not begin with s3://"
    if not _BUCKET.fullmatch(found.bucket):
        return f"no bucket can have the name {found.bucket!r}"
    segments = found.prefix.split("/") if found.prefix else []
    if any(part in ("", ".", "..") for part in segments) or not found.prefix.isprintable():
        return f"the prefix {found.prefix!r} has an empty part, dots alone or a control character"
    if found.endpoint and not _SERVICE.fullmatch(found.endpoint):
        return f"the endpoint {found.endpoint!r} is not an http or https URL without a login"
    if found.region and not _REGION.fullmatch(found.region):
        return f"no region can have the name {found.region!r}"
    return f"there is no option {next(iter(others))!r}" if others else ""


def lfs_url(url: str) -> str:
    """Return the URL of the LFS server of a repository."""
    url = url.rstrip("/")
    return f"{url}/info/lfs" if url.endswith(".git") else f"{url}.git/info/lfs"


def _keys(name: str, operation: Operation) -> list[tuple[str, bool]]:
    """Return the settings that name an endpoint, and whether ``.lfsconfig`` may have them."""
    found = [("lfs.url", True)]
    found += [(f"remote.{name}.lfspushurl", False)] if name and operation == "upload" else []
    found += [(f"remote.{name}.lfsurl", True)] if name else []
    return [("lfs.pushurl", True), *found] if operation == "upload" else found


def _check_committed(key: str, value: str, settings: Settings) -> None:
    """Raise TVRemoteError if ``.lfsconfig`` names anything but a server or a confirmed bucket.

    It could name files of this machine, have our ssh keys used, or send data to another server.
    """
    if re.match(r"https?://", value, re.IGNORECASE):
        return
    if not value.startswith(_S3):
        raise TVRemoteError(
            f'The file ".lfsconfig" sets {key} to something other than an http or https URL.',
            f"If that is right, set it yourself: `git config {key} <url>`.",
            key=key,
        )
    url = parse_bucket(value).url
    if url not in settings.all(TRUSTED_BUCKET):
        raise TVRemoteError(
            f'The vault keeps its data in the bucket "{url}", as ".lfsconfig" says. Nobody has '
            "confirmed it here, so nothing was sent there or read from there.",
            Wording("If it is the right one, call ", Call("trust_bucket", url=url), "."),
            bucket=url,
        )


def _by_scheme(scheme: str, url: str) -> Address:
    """Parse a URL that begins with a scheme."""
    if scheme in ("http", "https"):
        bare, login = split_login(url)
        return WebAddress(url=bare, login=login)
    rest = url.partition("://")[2]
    if scheme == "s3":
        return parse_bucket(url)
    if scheme == "git":
        # Has no credentials, and serves no objects; git-lfs uses https at the same host, too.
        return WebAddress(url=lfs_url(f"https://{rest}").removesuffix("/info/lfs"), login=Login())
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise TVRemoteError("A file:// URL names a path on this machine: file:///path.")
        return LocalAddress(path=Path("/" + unquote(path)))
    if scheme not in _SSH:
        raise _unusable(f"{scheme}://")
    netloc, path = urlsplit(url).netloc, unquote(urlsplit(url).path)
    user, _, host = netloc.rpartition("@")
    host, port = _host_and_port(host)
    # As in git: /~ana/x is in Ana's home.
    path = path[1:] if path.startswith("/~") else path
    return _ssh(unquote(user.partition(":")[0]), host, port, path)


def _of_scp(url: str) -> SshAddress:
    """Parse ``[user@]host:path``; brackets enclose an IPv6 address or a port."""
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


def _ssh(user: str, host: str, port: str, path: str) -> SshAddress:
    """Return the address, unless ssh or the remote shell would take a part for an option."""
    address = SshAddress(user=user, host=host, port=port, path=path)
    dangerous = any(part.startswith("-") for part in (user, host, path))
    is_odd = _CONTROL.search(user + host + path) or not is_host(host)
    if is_odd or not path or dangerous or (port and not port.isdecimal()):
        raise TVRemoteError(
            "The URL of a remote is for ssh, and its user, host, port or path cannot be used.",
            "It looks like ssh://user@host:22/path or user@host:path.",
        )
    return address


def _unusable(kind: str) -> TVRemoteError:
    """Return the error for a kind of URL that cannot transfer objects."""
    return TVRemoteError(
        f'Objects cannot be transferred by a URL that begins with "{kind}".',
        "Use a path, file://, ssh://, https://, or set remote.<name>.lfsurl to a URL of such kind.",
    )
