"""Check git's own files: loose objects, packs, refs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.errors import TVFileError
from tablevault.history.git.git_program import call_git
from tablevault.history.git.loose_objects import damaged_loose
from tablevault.lfs.files import matching
from tablevault.problems import Problem

_TRIES = 10
_BROKEN_REF = re.compile(r"^warning: ignoring broken ref (\S+)$", re.MULTILINE)
PACKED_REFS = ".git/packed-refs"
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
    """Have git compare every pack with its index, and unpack and hash all that is in it."""
    for pack in matching(git_dir / "objects", "pack/pack-*.pack"):
        index = pack.with_suffix(".idx")
        if index.exists():
            done = call_git(["verify-pack", str(index)], git_dir, failure=TVFileError)
            wrong = _last_words(done.stderr) if done.returncode else ""
        else:
            again = f"`git index-pack .git/objects/pack/{pack.name}` makes it again"
            is_new = time.time() - _mtime(pack) < _BEING_WRITTEN_S
            wrong = "" if is_new else f"its index is missing: {again}"
        if wrong and pack.exists():  # else several became one meanwhile
            yield Problem(
                kind="git object",
                severity="error",
                where=f".git/objects/pack/{pack.name}",
                text=f"The pack is damaged: {wrong}.",
                advice="`git fsck --full` names the objects in it. " + _FROM_ELSEWHERE,
            )


def _last_words(said: bytes) -> str:
    """Return the last line that git wrote, which says why it ended."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("fatal: ").removeprefix("error: ") if lines else "git ended"


def _mtime(path: Path) -> float:
    """Return when a file was written; now, when it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


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
