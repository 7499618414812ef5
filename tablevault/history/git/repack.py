"""Pack loose objects and prune unreachable ones, while others work."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TableVaultError, TVFileError, reason_of
from tablevault.files.disk import matching, written_at
from tablevault.files.locks import locked
from tablevault.history.git.git_program import SYNCED, run_git
from tablevault.history.git.object_files import loose_objects
from tablevault.history.git.reachability import Reachability
from tablevault.history.git.repository import Repository

_log = logging.getLogger("tablevault")
# As `git gc --auto` does, the number is estimated from one of the 256 folders. Two thousand
# objects are what two hundred operations write; to pack them takes git 0.1 s.
_SAMPLE = "17"
_ENOUGH_IN_SAMPLE = 8
# With bitmaps git (2.39) refuses to make more than one pack.
_QUIET = ("-d", "-q", "--no-write-bitmap-index")
_ENDINGS = (".idx", ".pack", ".rev", ".bitmap", ".mtimes")
_LEFT_S = 3600.0
"""Git and libgit2 write under other names what becomes an object or a pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitCount:
    """What there is in git's own store."""

    packs: int
    loose: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """What may go for good, and when."""

    older_than_s: float
    alone: Callable[[], AbstractContextManager[bool]]
    """Keeps processes from beginning, and returns whether none runs or waits."""
    extend: Callable[[Reachability], None]
    """Walks on from what refs have come to reach since."""


def pack_if_many(repository: Repository, state: Path) -> None:
    """Move loose objects into a pack when there are many; never fails, never waits.

    Git makes one pack of the loose objects and of all packs that are small beside the others, so
    there are never more than a few; those that are kept (``.keep``) stay. It takes unreachable
    objects along, those that were just written and no ref names yet included. A crash does no
    harm: a pack has its name before the first loose object goes.
    """
    if _count(repository.git_dir / "objects" / _SAMPLE) < _ENOUGH_IN_SAMPLE:
        return
    try:
        with locked(state / "pack.lock", timeout_s=0):
            _repack(repository.git_dir, "--geometric=2")
    except TimeoutError:
        return
    except (OSError, TableVaultError) as error:
        _log.warning(
            "Loose git objects could not be packed, and stay as they are: %s", reason_of(error)
        )


def prune(git_dir: Path, state: Path, reach: Reachability, how: Prune) -> int:
    """Make one pack of all that is reachable, and remove unreachable objects that are old.

    Git (``repack -A``) leaves unreachable objects loose, as old as their pack was. They are
    removed here and not by ``git prune``, which would search for them while no process can
    begin; to look once more at what has come to be reachable takes milliseconds.

    Returns
    -------
    int
        The number of objects that were removed; 0 if another process packs just now.
    """
    try:
        with locked(state / "pack.lock", timeout_s=0):
            _repack(git_dir, "-A", "-l")
            doomed = _unreachable(_loose(git_dir), reach, how.older_than_s)
            with how.alone() as is_alone:
                if not is_alone:
                    return 0
                how.extend(reach)
                return sum(_remove(git_dir, name, how) for name in doomed - reach.objects)
    except TimeoutError:
        return 0


def count(git_dir: Path) -> GitCount:
    """Count packs, loose objects, and bytes of both."""
    sizes = [_size(path) for path in loose_objects(git_dir)]
    indexes = _packs(git_dir)
    files = [path.with_suffix(ending) for path in indexes for ending in _ENDINGS]
    return GitCount(
        packs=len(indexes), loose=len(sizes), size_bytes=sum(sizes) + sum(map(_size, files))
    )


def old_unreachable(git_dir: Path, reach: Reachability, older_than_s: float) -> set[str]:
    """Return the objects, loose or packed, that nothing reaches and that were not written since."""
    ages = _loose(git_dir)
    for index in _packs(git_dir):
        at = written_at(index.with_suffix(".pack"))
        listed = run_git(["show-index"], git_dir, text=index.read_bytes(), failure=TVFileError)
        for line in listed.decode("ascii").splitlines():
            name = line.split(" ")[1]
            ages[name] = max(at, ages.get(name, at))
    return _unreachable(ages, reach, older_than_s)


def stale_files(git_dir: Path) -> list[Path]:
    """List files that git and libgit2 were writing when they crashed."""
    objects = git_dir / "objects"
    patterns = ("??/tmp_obj_*", "pack/tmp_*", "tmp_*", "pack/.tmp-*")
    found = [path for pattern in patterns for path in matching(objects, pattern)]
    alone = matching(objects, "pack/pack-*.pack")
    found += [path for path in alone if not path.with_suffix(".idx").exists()]
    found += matching(git_dir, "fast_import_crash_*")
    return [path for path in found if time.time() - written_at(path) > _LEFT_S]


def _repack(git_dir: Path, *options: str) -> None:
    """Run `git repack`."""
    # Named, or git would look for a repository further up where this one is damaged.
    safe = (f"--git-dir={git_dir}", *SYNCED)
    run_git(["repack", *options, *_QUIET], git_dir, options=safe, failure=TVFileError)


def _unreachable(ages: dict[str, float], reach: Reachability, older_than_s: float) -> set[str]:
    """Return which of these objects nothing reaches and were written so long ago."""
    before = time.time() - older_than_s
    return {name for name, at in ages.items() if at <= before and name not in reach.objects}


def _remove(git_dir: Path, name: str, how: Prune) -> bool:
    """Remove a loose object, unless git made it new meanwhile, as with what is written again."""
    path = git_dir / "objects" / name[:2] / name[2:]
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime >= how.older_than_s:
            path.unlink()
            return True
    return False


def _loose(git_dir: Path) -> dict[str, float]:
    """Return when each loose object was written last."""
    return {path.parent.name + path.name: written_at(path) for path in loose_objects(git_dir)}


def _packs(git_dir: Path) -> list[Path]:
    """List the indexes of packs."""
    return matching(git_dir / "objects", "pack/pack-*.idx")


def _count(folder: Path) -> int:
    """Count the names in a folder."""
    try:
        return len(list(folder.iterdir()))
    except FileNotFoundError:
        return 0


def _size(path: Path) -> int:
    """Return the size of a file, 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
