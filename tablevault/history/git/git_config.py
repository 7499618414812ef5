"""Git's configuration, and the repositories on this machine that it names."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pygit2

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_program import run_git

TRUE = frozenset({"true", "yes", "on", "1"})
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_NUMBER = re.compile(r"([0-9]{1,15})([kmg]?)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
# The order in which git itself tries them (git enter_repo, "strict" off).
_GIT_DIRS = ("{}/.git", "{}", "{}.git/.git", "{}.git")
LFSCONFIG = ".lfsconfig"
_LARGEST_LFSCONFIG = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A remote as git's configuration names it, after ``url.<base>.insteadOf``."""

    name: str
    url: str
    push_url: str
    push_urls: tuple[str, ...] = ()
    """All that git pushes to, `push_url` first; () where there is that one alone."""


class Settings:
    """What git's configuration said at one moment, from all its files and the environment.

    Keys are as git prints them: section and name in lower case, what stands between
    them as it was written.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)

    def get(self, key: str) -> str:
        """Return the value of `key`, the last one when there are several, "" when there is none."""
        return self._values.get(key, [""])[-1]

    def all(self, key: str) -> Sequence[str]:
        """Return all values of `key`."""
        return tuple(self._values.get(key, ()))

    def flag(self, value: str, *, default: bool) -> bool:
        """Read a value as a boolean; `default` when it is empty."""
        return value.lower() in TRUE if value else default

    def number(self, key: str, *, default: int) -> int:
        """Return the value of `key` as a number; `default` when it is missing or no number."""
        found = _NUMBER.fullmatch(self.get(key))
        return int(found[1]) * _UNITS[found[2].lower()] if found else default

    def names(self, section: str, name: str) -> list[str]:
        """Return what stands between `section` and `name` in all keys that have both."""
        head, tail = f"{section}.", f".{name}"
        return [
            key[len(head) : -len(tail)]
            for key in self._values
            if key.startswith(head) and key.endswith(tail) and len(key) > len(head) + len(tail)
        ]

    def for_url(self, section: str, name: str, url: str, *, plain: bool = True) -> list[str]:
        """Return ``<section>.<url>.<name>`` of the longest URL that `url` is at or below.

        The plain ``<section>.<name>``, if it counts at all, is the shortest (git-config(1),
        ``http.<url>.*``).
        """
        fitting = [(_fit(base, url), base) for base in self.names(section, name)]
        longest, base = max(fitting, default=(0, ""))
        if not longest:
            return list(self._values.get(f"{section}.{name}", [])) if plain else []
        return list(self._values[f"{section}.{base}.{name}"])

    def instead(self, url: str, *, name: str = "insteadof") -> str:
        """Replace the beginning of `url` as ``url.<base>.insteadOf`` says; the longest wins."""
        longest, best = "", ""
        for base in self.names("url", name):
            for prefix in self._values[f"url.{base}.{name}"]:
                if url.startswith(prefix) and len(prefix) > len(longest):
                    longest, best = prefix, base
        return best + url[len(longest) :] if longest else url

    def remote(self, name: str) -> Remote | None:
        """Return the remote `name`; None when there is no such remote."""
        url = self._values.get(f"remote.{name}.url", [""])[0]
        if not url:
            return None
        if own := self._values.get(f"remote.{name}.pushurl", []):
            push_urls = [self.instead(each) for each in own]
        else:
            push_urls = [self._pushed(each) for each in self._values[f"remote.{name}.url"]]
        return Remote(
            name=name,
            url=self.instead(url),
            push_url=push_urls[0],
            push_urls=tuple(push_urls) if len(push_urls) > 1 else (),
        )

    def _pushed(self, url: str) -> str:
        """Return where git pushes what it fetches from `url`."""
        push_url = self.instead(url, name="pushinsteadof")
        return self.instead(url) if push_url == url else push_url


def read_settings(folder: Path) -> Settings:
    """Read all of git's configuration as it counts in the repository at `folder`."""
    return Settings(_pairs(run_git(["config", "--list", "--null"], folder)))


def read_committed_settings(folder: Path) -> Settings:
    """Read ``.lfsconfig``, which anybody who can push may have written.

    It is read from the working tree, else from the last commit, as git-lfs does; a symbolic link
    is passed over, and nothing is included from elsewhere.
    """
    data = _lfsconfig(folder)
    if not data:
        return Settings()
    command = ["config", "--no-includes", "--file", "-", "--list", "--null"]
    try:
        return Settings(_pairs(run_git(command, folder, text=data)))
    except TVRemoteError as error:
        raise TVRemoteError(
            f'The file ".lfsconfig" of "{folder}" cannot be read: {error}.',
            "Correct it: `git config --file .lfsconfig --list` has to work.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LfsStorage:
    """Where a repository on this machine keeps LFS objects, and who else writes to it.

    Attributes
    ----------
    git_dir : Path
        The git directory; the common one when there are several working trees.
    lfs : Path
        Folder that holds ``objects``: ``lfs.storage``, by default ``lfs`` in the git directory.
    shared : int
        Permission bits that files have beyond what the umask leaves (``core.sharedRepository``).
    """

    git_dir: Path
    lfs: Path
    shared: int = 0


def find_repository(path: Path) -> LfsStorage:
    """Find the repository that git would find at `path`.

    Only reads files: asks for no ownership, and runs nothing that they name.

    Raises
    ------
    TVRemoteError
        There is no repository.
    """
    for pattern in _GIT_DIRS:
        git_dir = _git_dir(Path(pattern.format(path)))
        if git_dir is not None:
            break
    else:
        raise TVRemoteError(
            f'There is no git repository at "{path}".',
            "Check the path, or make one there with `git init --bare`.",
            path=str(path),
        )
    command = ["config", "--file", str(git_dir / "config"), "--list", "--null"]
    settings = Settings(_pairs(run_git(command)) if (git_dir / "config").is_file() else ())
    storage = settings.get("lfs.storage") or "lfs"
    return LfsStorage(
        git_dir=git_dir,
        lfs=git_dir / storage,
        shared=shared_bits(settings.get("core.sharedrepository")),
    )


def _git_dir(path: Path) -> Path | None:
    """Return the common git directory when `path` is a git directory, or a file that names one."""
    try:
        if path.is_file():
            named = path.read_text("utf-8", "replace")
            if not named.startswith("gitdir: "):
                return None
            path = path.parent / named.removeprefix("gitdir: ").rstrip("\n")
        common = path / "commondir"
        if common.is_file():
            path /= common.read_text("utf-8", "replace").rstrip("\n")
    except OSError:
        return None
    whole = (path / "HEAD").is_file() and all(
        (path / name).is_dir() for name in ("objects", "refs")
    )
    return path.resolve() if whole else None


def _lfsconfig(folder: Path) -> bytes:
    """Return the bytes of ``.lfsconfig``; none when there is no such file."""
    path = folder / LFSCONFIG
    if path.is_symlink() or path.exists():
        if path.is_symlink() or not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_LARGEST_LFSCONFIG)
    try:
        return run_git(["cat-file", "blob", f"HEAD:{LFSCONFIG}"], folder)[:_LARGEST_LFSCONFIG]
    except TVRemoteError:
        return b""


def _pairs(listed: bytes) -> Sequence[tuple[str, str]]:
    """Split what ``git config --list --null`` prints; a key without a value means true."""
    entries = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    parted = (entry.partition("\n") for entry in entries)
    return [(key, value if line else "true") for key, line, value in parted]


def _fit(base: str, url: str) -> int:
    """Return how well `base` covers `url`; 0 when it does not (git-config(1), ``http.<url>.*``)."""
    try:
        ours, theirs = urlsplit(base), urlsplit(url)
        ports = [part.port or _PORTS.get(part.scheme.lower()) for part in (ours, theirs)]
    except ValueError:
        return 0
    if ours.scheme.lower() != theirs.scheme.lower() or ports[0] != ports[1]:
        return 0
    if ours.username and ours.username != theirs.username:
        return 0
    host, named = (ours.hostname or "").split("."), (theirs.hostname or "").split(".")
    if len(host) != len(named) or any(a not in ("*", b) for a, b in zip(host, named, strict=True)):
        return 0
    path = unquote(ours.path).rstrip("/")
    if path and not f"{unquote(theirs.path)}/".startswith(f"{path}/"):
        return 0
    exact = sum(label != "*" for label in host)
    return 1 + exact * 100_000 + 10 * len(path) + bool(ours.username)


_BITS = {"group": 0o060, "1": 0o060, "all": 0o064, "world": 0o064, "everybody": 0o064}
_BITS |= {"2": 0o064} | dict.fromkeys(TRUE, 0o060)


def storage_settings(git_dir: Path) -> LfsStorage:
    """Read the settings of the repository with the git directory `git_dir`.

    If git cannot read them the defaults hold: opening the repository reports that.
    """
    with contextlib.suppress(pygit2.GitError):
        return settings_of(git_dir, pygit2.Repository(str(git_dir)))
    return LfsStorage(git_dir=git_dir, lfs=git_dir / "lfs")


def settings_of(git_dir: Path, handle: pygit2.Repository) -> LfsStorage:
    """Read the settings of an open repository, those of its user and machine included."""
    storage = shared = ""
    with contextlib.suppress(pygit2.GitError, OSError):
        config = handle.config
        if "lfs.storage" in config:
            storage = dict(pairs_of(config))["lfs.storage"]
        if "core.sharedrepository" in config:
            # Git asks the repository alone.
            own = pygit2.Config(str(git_dir / "config"))
            shared = dict(pairs_of(own)).get("core.sharedrepository", "")
    return LfsStorage(git_dir=git_dir, lfs=git_dir / (storage or "lfs"), shared=shared_bits(shared))


def pairs_of(config: pygit2.Config) -> Iterator[tuple[str, str]]:
    """Walk keys and values; bytes that are no UTF-8 are kept as surrogates (PEP 383)."""
    for entry in config:
        yield _text(entry.raw_name), _text(entry.raw_value or b"")


def shared_bits(value: str) -> int:
    """Read ``core.sharedRepository`` (git-config(1)) as permission bits to add."""
    if re.fullmatch(r"0[0-7]{3}", value):
        return int(value, 8) & 0o066
    return _BITS.get(value.lower(), 0)


def share(bits: int) -> None:
    """Let the files that this process makes from now on have the permission `bits`, too.

    libgit2 (1.9) and SQLite know nothing of ``core.sharedRepository``; what they make follows the
    umask.
    """
    if bits:
        # Who may read a folder may also enter it.
        os.umask(os.umask(0o077) & ~(bits | (bits & 0o044) >> 2))


def _text(data: bytes) -> str:
    """Decode a name or a value."""
    return data.decode("utf-8", "surrogateescape")
