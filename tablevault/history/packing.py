"""Loose git objects into a pack, small packs into a larger one: operations make many of both."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pygit2

from tablevault.history.repository import Repository
from tablevault.objects.globs import matching
from tablevault.objects.oslock import OsLock
from tablevault.objects.store import sync_file, sync_folder

_log = logging.getLogger("tablevault")
# As `git gc --auto` does, the number is estimated from one of the 256 folders, and
# the threshold is git's own (gc.auto = 6700): five hundred operations or more, half a second to
# pack. Each pack makes every look-up of a missing object a little dearer, so not much fewer.
_SAMPLE = "17"
_ENOUGH_IN_SAMPLE = 26
# libgit2 lists the packs anew for each object that it writes, 10 us a pack; to make one of eight
# takes three seconds, after five thousand operations. A pack of this many objects is left alone.
_SMALL = 20_000
_MANY_SMALL = 8
_BESIDE = "packing"
ENDINGS = (".idx", ".pack", ".rev", ".bitmap", ".mtimes")
_KEPT = (".keep", ".promisor", ".mtimes")
_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_FAN_OUT = 8 + 256 * 4


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
            _pack(repository.git_dir, state)
    except TimeoutError:
        return
    except (OSError, pygit2.GitError):
        _log.warning("Loose git objects could not be packed; they stay as they are.", exc_info=True)


def _pack(git_dir: Path, state: Path) -> None:
    """Write the pack, then remove what is in it."""
    loose = dict(_loose(git_dir / "objects"))
    found = _small_packs(git_dir)
    small = {index: names_in(index) for index in found if len(found) + 1 >= _MANY_SMALL}
    names = loose.keys() | {name.hex() for each in small.values() for name in each}
    try:
        new = write_pack(git_dir, state, list(names))
    except pygit2.GitError:
        if not small:
            raise
        _log.warning("Small packs of git could not be made one; they stay.", exc_info=True)
        new, small = write_pack(git_dir, state, list(loose)), {}
    packed = names_in(new)
    for name, path in loose.items():
        if bytes.fromhex(name) in packed:
            with contextlib.suppress(OSError):
                path.unlink()
    remove_packs(git_dir, {index for index, each in small.items() if each <= packed} - {new})


def remove_packs(git_dir: Path, old: set[Path]) -> None:
    """Remove packs whose objects are elsewhere: each index first, by which git finds its pack."""
    if not old:
        return
    (git_dir / "objects/pack/multi-pack-index").unlink(missing_ok=True)
    for index in old:
        for ending in ENDINGS:
            with contextlib.suppress(FileNotFoundError):
                index.with_suffix(ending).unlink()


def packs(git_dir: Path) -> list[Path]:
    """List the indexes of packs."""
    return matching(git_dir / "objects", "pack/pack-*.idx")


def _small_packs(git_dir: Path) -> list[Path]:
    """List the indexes of packs that may become one: small, and not kept on purpose."""
    return [
        index
        for index in packs(git_dir)
        if _objects_in(index) < _SMALL
        and not any(index.with_suffix(ending).exists() for ending in _KEPT)
    ]


def write_pack(git_dir: Path, state: Path, wanted: list[str]) -> Path:
    """Write a pack beside, synced, and give it its name, the pack before its index.

    Returns
    -------
    Path
        The index. Whoever calls this holds ``pack.lock``.

    Raises
    ------
    pygit2.GitError
        An object is not there, or there is no space.
    """
    beside = state / _BESIDE
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)

    def choose(builder: pygit2.PackBuilder) -> None:
        for name in wanted:
            builder.add(pygit2.Oid(hex=name))

    # libgit2 (1.9) orders a pack by the tags of its repository, and fails when one goes meanwhile.
    without_refs = pygit2.init_repository(str(beside / "without_refs"), bare=True)
    # New, too: it sees every pack there is, and keeps no old one mapped.
    without_refs.set_odb(pygit2.Odb(str(git_dir / "objects")))
    without_refs.pack(beside, pack_delegate=choose, n_threads=1)
    (index,) = beside.glob("*.idx")
    folder = git_dir / "objects" / "pack"
    folder.mkdir(exist_ok=True)
    for path in (index.with_suffix(".pack"), index):
        sync_file(path)
        path.chmod(0o444)
        path.replace(folder / path.name)
        sync_folder(folder)
    shutil.rmtree(beside, ignore_errors=True)
    return folder / index.name


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
    if data[: len(_MAGIC)] != _MAGIC:
        return set()
    count = int.from_bytes(data[_FAN_OUT - 4 : _FAN_OUT], "big")
    return {data[_FAN_OUT + 20 * n : _FAN_OUT + 20 * (n + 1)] for n in range(count)}


def _objects_in(index: Path) -> float:
    """Count the objects of a pack by its index; infinite where that is of another version."""
    with index.open("rb") as file:
        head = file.read(_FAN_OUT)
    return int.from_bytes(head[-4:], "big") if head.startswith(_MAGIC) else math.inf


def _count(folder: str) -> int:
    """Count the names in a folder."""
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - the names alone
    except FileNotFoundError:
        return 0
