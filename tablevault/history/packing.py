"""Loose git objects into a pack, now and then: small operations make many of them."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pygit2

from tablevault.history.repository import Repository
from tablevault.objects.oslock import OsLock
from tablevault.objects.store import sync_file, sync_folder

_log = logging.getLogger("tablevault")
# As `git gc --auto` does, the number is estimated from one of the 256 folders, and
# the threshold is git's own (gc.auto = 6700): five hundred operations or more, half a second to
# pack. Each pack makes every look-up of a missing object a little dearer, so not much fewer.
_SAMPLE = "17"
_ENOUGH_IN_SAMPLE = 26


def pack_if_many(repository: Repository, state: Path) -> None:
    """Move loose objects into one new pack when there are many; never fails, never waits.

    Takes no lock but one against doing the same twice: objects are immutable, and whoever
    misses a loose one looks into new packs. Dies anywhere: the pack is synced and named before
    the first loose object goes, so each object is there once or twice.
    """
    if _count(f"{repository.git_dir}/objects/{_SAMPLE}") < _ENOUGH_IN_SAMPLE:
        return
    try:
        with OsLock(state / "pack.lock").acquire(timeout_s=0):
            _pack(repository)
    except TimeoutError:
        return
    except (OSError, pygit2.GitError):
        _log.warning("Loose git objects could not be packed; they stay as they are.", exc_info=True)


def _pack(repository: Repository) -> None:
    """Write the pack, then remove what is in it."""
    objects = repository.git_dir / "objects"
    # A handle of its own: it must see the new pack, and must not keep old ones mapped.
    handle = pygit2.Repository(str(repository.git_dir))
    loose = dict(_loose(objects))

    def choose(builder: pygit2.PackBuilder) -> None:
        for name in loose:
            builder.add(pygit2.Oid(hex=name))

    handle.pack(pack_delegate=choose)
    newest = max((objects / "pack").glob("*.idx"), key=lambda path: path.stat().st_mtime_ns)
    for path in (newest.with_suffix(".pack"), newest):
        sync_file(path)
    sync_folder(newest.parent)
    packed = names_in(newest)
    for name, path in loose.items():
        if bytes.fromhex(name) in packed:
            with contextlib.suppress(OSError):
                path.unlink()


def _loose(objects: Path) -> Iterator[tuple[str, Path]]:
    """Walk the loose objects."""
    for number in range(256):
        folder = objects / f"{number:02x}"
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(folder):
                if len(entry.name) == 38:  # noqa: PLR2004 - the rest of forty digits; others are being written
                    yield folder.name + entry.name, Path(entry.path)


def names_in(index: Path) -> set[bytes]:
    """Read the object names from the index of a pack (gitformat-pack, version 2)."""
    data = index.read_bytes()
    if data[:8] != b"\xfftOc\x00\x00\x00\x02":
        return set()
    count = int.from_bytes(data[8 + 255 * 4 : 8 + 256 * 4], "big")
    start = 8 + 256 * 4
    return {data[start + 20 * n : start + 20 * (n + 1)] for n in range(count)}


def _count(folder: str) -> int:
    """Count the names in a folder."""
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - the names alone
    except FileNotFoundError:
        return 0
