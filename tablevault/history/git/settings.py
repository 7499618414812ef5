"""Read git's settings of a repository, in whatever encoding."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2

_BITS = {"group": 0o060, "1": 0o060, "all": 0o064, "world": 0o064, "everybody": 0o064}
_BITS |= {"2": 0o064} | dict.fromkeys(("true", "yes", "on"), 0o060)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Where objects are, and who else writes to the repository.

    Attributes
    ----------
    lfs : Path
        Folder of the object store: ``lfs.storage``, by default ``.git/lfs``.
    shared : int
        Permission bits that files have beyond what the umask leaves (``core.sharedRepository``).
    """

    lfs: Path
    shared: int = 0


def storage_settings(git_dir: Path) -> StorageSettings:
    """Read the settings of the repository with the git directory `git_dir`.

    Where git cannot read them the defaults hold: whoever opens the repository reports that.
    """
    with contextlib.suppress(pygit2.GitError):
        return settings_of(git_dir, pygit2.Repository(str(git_dir)))
    return StorageSettings(lfs=git_dir / "lfs")


def settings_of(git_dir: Path, handle: pygit2.Repository) -> StorageSettings:
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
    return StorageSettings(lfs=git_dir / (storage or "lfs"), shared=shared_bits(shared))


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
