"""Check git's own files: loose objects before libgit2 reads them, packs, refs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shlex
import time
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.errors import TVFileError
from tablevault.files.disk import Quarantine, matching, written_at
from tablevault.history.git.git_program import call_git, run_git
from tablevault.problems import Problem

_TRIES = 10
_BROKEN_REF = re.compile(r"^warning: ignoring broken ref (\S+)$", re.MULTILINE)
PACKED_REFS = ".git/packed-refs"
_PACKED_REF = re.compile(rb"([0-9a-f]{40}) (refs/\S+)")
_BEING_WRITTEN_S = 3600.0
"""Git and libgit2 write a pack before its index, and anything under another name first."""
_GOING_S = 1.0
_FROM_ELSEWHERE = "Copy it from another clone of the vault, or `git fetch` into this one."


def check_loose(git_dir: Path) -> Iterator[Problem]:
    """Unpack and hash every loose object, whether anything needs it or not."""
    for name, wrong in damaged_loose(git_dir):
        yield Problem(
            kind="git object",
            severity="error",
            where=name,
            text=f"The loose object .git/objects/{name[:2]}/{name[2:]} is damaged: {wrong}.",
            advice=_FROM_ELSEWHERE,
            repairable=True,
        )


def check_packs(git_dir: Path) -> Iterator[Problem]:
    """Have git compare every pack with its index, and unpack and hash all that is in it."""
    for index in matching(git_dir / "objects", "pack/pack-*.idx"):
        pack = index.with_suffix(".pack")
        # libgit2 goes on reading a pack that any handle of this process has open.
        if not pack.exists() and index.exists():
            yield Problem(
                kind="git object",
                severity="error",
                where=f".git/objects/pack/{pack.name}",
                text="The pack is missing, its index is there.",
                advice=_FROM_ELSEWHERE,
            )
    for pack in matching(git_dir / "objects", "pack/pack-*.pack"):
        wrong = _wrong_with_pack(git_dir, pack)
        if wrong and _has_lost_its_index(pack):
            wrong = _wrong_with_pack(git_dir, pack)
        if wrong and pack.exists():
            yield Problem(
                kind="git object",
                severity="error",
                where=f".git/objects/pack/{pack.name}",
                text=f"The pack is damaged: {wrong}.",
                advice="`git fsck --full` names the objects in it. " + _FROM_ELSEWHERE,
            )


def _wrong_with_pack(git_dir: Path, pack: Path) -> str:
    """Return what is wrong with a pack, "" when nothing is, or it is being written."""
    index = pack.with_suffix(".idx")
    if index.exists():
        done = call_git(["verify-pack", str(index)], git_dir, failure=TVFileError)
        return _last_words(done.stderr) if done.returncode else ""
    if time.time() - written_at(pack) < _BEING_WRITTEN_S:
        return ""
    return f"its index is missing: `git index-pack .git/objects/pack/{pack.name}` makes it again"


def _has_lost_its_index(pack: Path) -> bool:
    """Return whether a pack has no index, after waiting for the pack to go, too.

    ``git repack -d`` (2.39) removes an index first and then its pack.
    """
    index = pack.with_suffix(".idx")
    if index.exists():
        return False
    deadline = time.monotonic() + _GOING_S
    while pack.exists() and not index.exists() and time.monotonic() < deadline:
        time.sleep(_GOING_S / 100)
    return True


def _last_words(said: bytes) -> str:
    """Return the last line that git wrote, which says why it ended."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("fatal: ").removeprefix("error: ") if lines else "git ended"


@dataclass(frozen=True, slots=True)
class Refs:
    """All refs, as the files say."""

    targets: dict[str, str] = field(default_factory=dict)
    """Full name to forty hexadecimal digits."""
    problems: list[Problem] = field(default_factory=list)


def read_refs(git_dir: Path) -> Refs:
    """Read all refs by the program git: libgit2 gives none at all when one of them is damaged.

    Git (2.39) lists the names first, and calls a ref broken that was removed before it is read. So
    a ref is damaged only if it is broken twice, and its file has not changed in between.
    """
    seen: dict[str, bytes | None] = {}
    for _ in range(_TRIES - 1):
        found, broken = _listed_refs(git_dir)
        now = {ref: _content(git_dir / ref) for ref in broken}
        if all(content is not None and seen.get(ref) == content for ref, content in now.items()):
            break
        seen = now
    else:
        found, broken = _listed_refs(git_dir)
    damaged = [damaged_ref(git_dir, ref, "It holds no commit id.") for ref in broken]
    return Refs(targets=found.targets, problems=[*found.problems, *damaged])


def _listed_refs(git_dir: Path) -> tuple[Refs, list[str]]:
    """Return the refs as git lists them, and those that it calls broken."""
    command = [f"--git-dir={git_dir}", "for-each-ref", "--format=%(objectname) %(refname)"]
    done = call_git(command, git_dir, failure=TVFileError)
    if done.returncode != 0:
        return Refs(problems=[_unreadable_refs(_last_words(done.stderr))]), []
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    targets = {ref: target for target, _, ref in (line.partition(" ") for line in lines)}
    return Refs(targets=targets), _BROKEN_REF.findall(done.stderr.decode("utf-8", "replace"))


def _content(path: Path) -> bytes | None:
    """Return the bytes of a file; None if there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _unreadable_refs(wrong: str) -> Problem:
    """Describe why git reads no ref at all: mostly a line of ``packed-refs`` that is none."""
    return Problem(
        kind="ref",
        severity="error",
        where=PACKED_REFS,
        text=f"Git reads no ref: {wrong}.",
        advice="",
        repairable="packed-refs" in wrong,
    )


def sound_packed_refs(path: Path) -> bytes:
    """Return the lines of ``packed-refs`` that are refs."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return b""
    return b"".join(line + b"\n" for line in lines if _PACKED_REF.fullmatch(line))


def damaged_ref(git_dir: Path, name: str, text: str) -> Problem:
    """Describe a ref that names nothing; branches have a log, and tags follow from history."""
    last = logged(git_dir, name)
    if last:
        advice = f"Its log says that it was at {last}."
    elif name.startswith("refs/tags/"):
        advice = "Remove it; tags of instances are made again."
    else:
        advice = f"Put it back with `git update-ref {name} <commit>`."
    return Problem(
        kind="ref",
        severity="error",
        where=name,
        text=text,
        advice=advice,
        repairable=bool(last) or name.startswith("refs/tags/"),
    )


def logged(git_dir: Path, name: str) -> str:
    """Return the commit at which a branch was last, by its log; "" when that says nothing."""
    if not name.startswith("refs/heads/"):
        return ""
    with contextlib.suppress(OSError, IndexError, ValueError):
        last = (git_dir / "logs" / name).read_bytes().splitlines()[-1].split(b" ")[1]
        if re.fullmatch(rb"[0-9a-f]{40}", last) and last.strip(b"0"):
            return last.decode("ascii")
    return ""


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
