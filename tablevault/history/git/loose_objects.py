"""Find damaged loose objects before libgit2 reads them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import zlib
from collections.abc import Container, Iterator
from pathlib import Path

from tablevault.errors import TVFileError
from tablevault.history.git.git_program import run_git
from tablevault.lfs.files import Quarantine

_log = logging.getLogger("tablevault")
_BLOCK = 1 << 20
_SMALL = 1 << 13
_FOLDER = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{38}")


def refuse_damage(git_dir: Path) -> None:
    """Raise an error if the vault needs a damaged loose object; set others aside.

    libgit2 (1.9) never returns from one whose end is missing (libgit2 issue 7342), and writes
    beyond its memory for one that is longer than it says (issue 7177). That nothing needs one is
    no reason to refuse the vault: a loss of power cuts off what no ref names yet.

    Raises
    ------
    TVFileError
        Names the first one, and what mends it.
    """
    damaged = dict(damaged_loose(git_dir))
    if not damaged:
        return
    name, wrong = next(iter(damaged.items()))
    what = f'The git object ".git/objects/{name[:2]}/{name[2:]}"'
    if _is_any_needed(git_dir, damaged.keys()):
        raise TVFileError(
            f"{what} is damaged: {wrong}.",
            f"`tablevault --db-dir {shlex.quote(str(git_dir.parent))} verify --repair` finds its "
            "content elsewhere in the vault if it can; else copy the file from another clone.",
            path=str(git_dir.parent),
        )
    for each in damaged:
        Quarantine(git_dir / "tablevault").take(git_dir / "objects" / each[:2] / each[2:])
    _log.warning("%s was damaged (%s) and is set aside: nothing needs it.", what, wrong)


def _is_any_needed(git_dir: Path, names: Container[str]) -> bool:
    """Return whether refs reach one of these objects, or may: git ends where it cannot read."""
    command, place = ["rev-list", "--objects", "--all"], (f"--git-dir={git_dir}",)
    try:
        listed = run_git(command, git_dir, options=place, failure=TVFileError)
    except TVFileError:
        return True
    return any(line[:40].decode("ascii") in names for line in listed.splitlines())


def damaged_loose(git_dir: Path) -> Iterator[tuple[str, str]]:
    """Return name and fault of each damaged loose object."""
    for file in _loose(git_dir):
        name = file[-41:-39] + file[-38:]
        try:
            wrong = "" if is_sound(file, name) else wrong_with(Path(file))
        except FileNotFoundError:
            continue  # it went into a pack meanwhile
        except OSError as error:
            wrong = f"it cannot be read: {error.strerror}"
        if wrong:
            yield name, wrong


def loose_objects(git_dir: Path) -> Iterator[Path]:
    """Walk the files of loose objects."""
    return map(Path, _loose(git_dir))


def _loose(git_dir: Path) -> Iterator[str]:
    """Walk the files of loose objects, as text: pathlib takes as long as to read them."""
    for folder in _names(f"{git_dir}/objects"):
        if _FOLDER.fullmatch(folder):
            place = f"{git_dir}/objects/{folder}"
            for name in _names(place):
                if _REST.fullmatch(name):
                    yield f"{place}/{name}"


def is_sound(path: str, name: str) -> bool:
    """Return whether a small loose object is whole; False when that has to be looked into.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    # Opening looks at thousands: a file object doubles the time.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        packed = os.read(descriptor, _SMALL)
    finally:
        os.close(descriptor)
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(packed, _BLOCK)
    except zlib.error:
        return False
    is_all = unpack.eof and not unpack.unused_data
    return is_all and hashlib.sha1(content, usedforsecurity=False).hexdigest() == name


def wrong_with(path: Path) -> str:
    """Return what is wrong with a loose object, "" when nothing is."""
    unpack, digest = zlib.decompressobj(), hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                # A few bytes may unpack to gigabytes: never more than a block at once.
                while block:
                    digest.update(unpack.decompress(block, _BLOCK))
                    block = unpack.unconsumed_tail
                if unpack.unused_data:
                    return "there is something after its end"
        except zlib.error:
            return "it cannot be unpacked"
    if not unpack.eof:
        return "its end is missing"
    if digest.hexdigest() != path.parent.name + path.name:
        return "its content is not what its name says"
    return ""


def _names(folder: str) -> list[str]:
    """List a folder; empty where there is none."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - the names alone
    except OSError:
        return []
