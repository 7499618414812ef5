"""Many packs and loose objects into one pack; what nothing reaches is left loose, or pruned."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from tablevault.history.gitfiles import loose_objects
from tablevault.history.packing import ENDINGS, names_in, packs, remove_packs, write_pack
from tablevault.history.reach import Reach
from tablevault.objects.globs import matching
from tablevault.objects.oslock import OsLock
from tablevault.objects.store import sync_file

_KINDS = {int(kind): kind.name.lower().encode() for kind in ObjectType if int(kind) > 0}
_NOT_OURS = ("info/alternates", "pack/*.keep", "pack/*.promisor", "info/http-alternates")
_LEFT_S = 3600.0
"""Git and libgit2 write under such names what becomes an object or a pack."""


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
    """Keeps processes from beginning, and tells whether none runs or waits."""
    extend: Callable[[Reach], None]
    """Walks on from what refs have come to reach since."""


def count(git_dir: Path) -> GitCount:
    """Count packs, loose objects, and bytes of both."""
    sizes = [_size(path) for path in loose_objects(git_dir)]
    indexes = packs(git_dir)
    files = [path.with_suffix(ending) for path in indexes for ending in ENDINGS]
    return GitCount(
        packs=len(indexes), loose=len(sizes), size_bytes=sum(sizes) + sum(map(_size, files))
    )


def doomed_objects(git_dir: Path, reach: Reach, older_than_s: float) -> set[str]:
    """Name the objects that nothing reaches, and nothing has for so long."""
    ages = {name: at for name, at in _ages(git_dir).items() if name not in reach.objects}
    return {name for name, at in ages.items() if time.time() - at >= older_than_s}


def consolidate(git_dir: Path, state: Path, reach: Reach, prune: Prune) -> int:
    """Make one pack of all that is reached, and prune; give the number of pruned objects.

    Objects are immutable, and whoever misses one looks into new packs; so nobody is kept out
    but others that pack. Dies anywhere: the new pack is synced and named before the first old
    one goes, so each object is there once or twice.
    """
    if any(True for pattern in _NOT_OURS for _ in (git_dir / "objects").glob(pattern)):
        return 0  # shared with, or completed by, another repository: that is for git to do
    try:
        with OsLock(state / "pack.lock").acquire(timeout_s=0):
            return _consolidate(git_dir, state, reach, prune)
    except TimeoutError:
        return 0


def _consolidate(git_dir: Path, state: Path, reach: Reach, prune: Prune) -> int:
    """Pack, loosen, prune; in this order."""
    old = set(packs(git_dir))
    ages = _ages(git_dir)
    loose = {_name(path): path for path in loose_objects(git_dir)}
    lost = {name: at for name, at in ages.items() if name not in reach.objects}
    if not (loose.keys() & reach.objects) and len(old) <= 1 and not lost:
        return 0
    handle = pygit2.Repository(str(git_dir))
    packed: set[str] = set()
    if wanted := [name for name in ages if name in reach.objects]:
        new = write_pack(git_dir, state, wanted)
        old.discard(new)
        packed = {name.hex() for name in names_in(new)}
        if not packed.issuperset(wanted):
            return 0  # libgit2 left something out: then all stays
    pruned = _let_go(_Lost(handle, git_dir, lost, loose), reach, prune, old)
    for name, path in loose.items():
        if name in packed:
            with contextlib.suppress(OSError):
                path.unlink()
    return pruned


@dataclass(frozen=True, slots=True)
class _Lost:
    """What nothing reached when it was looked for."""

    handle: pygit2.Repository
    git_dir: Path
    at: dict[str, float]
    """When each was written."""
    loose: dict[str, Path]

    def keep(self, names: set[str]) -> None:
        """Make loose what is in packs that are to go."""
        for name in names - self.loose.keys():
            _loosen(self.handle, self.git_dir, name, self.at[name])

    def remove(self, names: set[str], older_than_s: float) -> None:
        """Remove loose ones, but those that git has made new, as with what is written again."""
        for name in names & self.loose.keys():
            with contextlib.suppress(OSError):
                if time.time() - self.loose[name].stat().st_mtime >= older_than_s:
                    self.loose[name].unlink()


def _let_go(lost: _Lost, reach: Reach, prune: Prune, old: set[Path]) -> int:
    """Remove old packs, and of what was lost what is old enough; give the number of these."""
    now = time.time()
    doomed = {name for name, at in lost.at.items() if now - at >= prune.older_than_s}
    lost.keep(lost.at.keys() - doomed)
    with prune.alone() as is_alone:
        if is_alone:
            prune.extend(reach)
            doomed -= reach.objects
        else:
            doomed = set()
        lost.keep(lost.at.keys() - doomed)
        if old:
            _remove_graph(lost.git_dir)
            remove_packs(lost.git_dir, old)
        lost.remove(doomed, prune.older_than_s)
    return len(doomed)


def _remove_graph(git_dir: Path) -> None:
    """Remove what git has derived from commits, some of which may go."""
    (git_dir / "objects/info/commit-graph").unlink(missing_ok=True)
    shutil.rmtree(git_dir / "objects/info/commit-graphs", ignore_errors=True)


def _loosen(handle: pygit2.Repository, git_dir: Path, name: str, at: float) -> None:
    """Write a packed object as a loose one, as old as its pack."""
    kind, data = handle.read(name)
    path = git_dir / "objects" / name[:2] / name[2:]
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f"tmp_obj_{os.urandom(8).hex()}")
    beside.write_bytes(zlib.compress(b"%s %d\0" % (_KINDS[int(kind)], len(data)) + data))
    os.utime(beside, (at, at))
    beside.chmod(0o444)
    sync_file(beside)
    beside.replace(path)


def stale_files(git_dir: Path) -> list[Path]:
    """List what git and libgit2 were writing when they died."""
    objects = git_dir / "objects"
    patterns = ("??/tmp_obj_*", "pack/tmp_*", "tmp_*", "pack/.tmp-*")
    found = [path for pattern in patterns for path in matching(objects, pattern)]
    alone = matching(objects, "pack/pack-*.pack")
    found += [path for path in alone if not path.with_suffix(".idx").exists()]
    return [path for path in found if time.time() - _time(path) > _LEFT_S]


def _ages(git_dir: Path) -> dict[str, float]:
    """Give when each object was written last; the newest of several copies counts."""
    ages: dict[str, float] = {}
    for index in packs(git_dir):
        at = _time(index.with_suffix(".pack"))
        for name in names_in(index):
            ages[name.hex()] = max(at, ages.get(name.hex(), at))
    for path in loose_objects(git_dir):
        at = _time(path)
        ages[_name(path)] = max(at, ages.get(_name(path), at))
    return ages


def _name(path: Path) -> str:
    """Give the name of a loose object."""
    return path.parent.name + path.name


def _time(path: Path) -> float:
    """Give the mtime of a file; now, when it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _size(path: Path) -> int:
    """Give the size of a file, 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
