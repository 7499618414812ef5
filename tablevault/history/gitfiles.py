"""Git's own files as bytes on the disk: loose objects, packs, refs; nothing is taken on trust."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tablevault.history.loose_objects import damaged_loose
from tablevault.problems import Problem

_BLOCK = 1 << 20
_LOOSE_REF = re.compile(rb"([0-9a-f]{40})\s*|ref: (refs/\S+)\s*")
_PACKED_REF = re.compile(rb"([0-9a-f]{40}) (refs/\S+)")
_BEING_WRITTEN_S = 3600.0
"""Git and libgit2 write a pack before its index, and anything under another name first."""
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
    """Compare packs and their indexes with the checksums at their ends."""
    folder = git_dir / "objects" / "pack"
    names = _names(folder)
    for name in names:
        stem, _, ending = name.rpartition(".")
        if not stem.startswith("pack-") or ending not in ("idx", "pack"):
            continue
        try:
            wrong = _wrong_with_index(folder, stem) if ending == "idx" else _alone(folder, stem)
        except FileNotFoundError:
            continue  # several became one meanwhile; else objects are missing, which is told
        except OSError as error:
            wrong = f"it cannot be read: {error.strerror}"
        if wrong:
            yield Problem(
                kind="git object",
                severity="error",
                where=f".git/objects/pack/{name}",
                text=f"The pack is damaged: {wrong}.",
                advice="`git fsck --full` names the objects in it. " + _FROM_ELSEWHERE,
            )


def _wrong_with_index(folder: Path, stem: str) -> str:
    """Say what is wrong with a pack and its index."""
    with (folder / f"{stem}.idx").open("rb") as file:
        of_index, at_end = _checksums(file)
        file.seek(max(file.tell() - 40, 0))
        of_pack = file.read(20)
    if of_index != at_end:
        return "its index is not what it was written as"
    with (folder / f"{stem}.pack").open("rb") as file:
        computed, at_end = _checksums(file)
    if computed != at_end:
        return "it is not what it was written as"
    return "" if at_end == of_pack else "its index belongs to another pack"


def _alone(folder: Path, stem: str) -> str:
    """Find a pack that has lost its index."""
    age_s = time.time() - (folder / f"{stem}.pack").stat().st_mtime
    if (folder / f"{stem}.idx").exists() or age_s < _BEING_WRITTEN_S:
        return ""
    return f"its index is missing: `git index-pack .git/objects/pack/{stem}.pack` makes it again"


def _checksums(file: BinaryIO) -> tuple[bytes, bytes]:
    """Give the SHA-1 of all but the last twenty bytes, and these."""
    digest, tail = hashlib.sha1(usedforsecurity=False), b""
    while block := file.read(_BLOCK):
        tail += block
        digest.update(tail[:-20])
        tail = tail[-20:]
    return digest.digest(), tail


@dataclass(frozen=True, slots=True)
class Refs:
    """All refs, as the files say."""

    targets: dict[str, str] = field(default_factory=dict)
    """Full name to forty hexadecimal digits."""
    problems: list[Problem] = field(default_factory=list)


def read_refs(git_dir: Path) -> Refs:
    """Read every ref for itself: libgit2 gives none at all when one of them is damaged."""
    found = Refs()
    _read_packed(git_dir, found)
    symbolic: dict[str, str] = {}
    for path in files_below(git_dir / "refs"):
        name = path.relative_to(git_dir).as_posix()
        if name.endswith(".lock"):
            continue
        try:
            match = _LOOSE_REF.fullmatch(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError:
            match = None
        if match is None:
            found.targets.pop(name, None)
            found.problems.append(damaged_ref(git_dir, name, "It holds no commit id."))
        elif match[1]:
            found.targets[name] = match[1].decode("ascii")
        else:
            symbolic[name] = match[2].decode("utf-8", "replace")
    for name, target in symbolic.items():
        if target in found.targets:
            found.targets[name] = found.targets[target]
    return found


def _read_packed(git_dir: Path, found: Refs) -> None:
    """Read ``packed-refs``."""
    path = git_dir / "packed-refs"
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError:
        lines, rest = [], b"?"
    # A line without an end was cut off, whatever it looks like.
    lines += [b"?"] * bool(rest)
    for number, line in enumerate(lines, 1):
        if line.startswith((b"#", b"^")):
            continue
        match = _PACKED_REF.fullmatch(line)
        if match:
            found.targets[match[2].decode("utf-8", "replace")] = match[1].decode("ascii")
        else:
            found.problems.append(
                Problem(
                    kind="ref",
                    severity="error",
                    where=".git/packed-refs",
                    text=f"Line {number} of packed-refs is no ref.",
                    advice="",
                    repairable=True,
                )
            )


def sound_packed_refs(path: Path) -> bytes:
    """Give the lines of ``packed-refs`` that are refs."""
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
    """Give the commit at which a branch was last, by its log; "" when that says nothing."""
    if not name.startswith("refs/heads/"):
        return ""
    with contextlib.suppress(OSError, IndexError, ValueError):
        last = (git_dir / "logs" / name).read_bytes().splitlines()[-1].split(b" ")[1]
        if re.fullmatch(rb"[0-9a-f]{40}", last) and last.strip(b"0"):
            return last.decode("ascii")
    return ""


def files_below(folder: Path) -> Iterator[Path]:
    """Walk the files below a folder, in order, while others may take some of it away."""
    for name in _names(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            yield from files_below(path)
        else:
            yield path


def _names(folder: Path) -> list[str]:
    """List a folder; empty where there is none."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - the names alone
    except OSError:
        return []
