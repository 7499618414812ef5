"""Walk everything that commits reach, each object once, and collect LFS pointers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pygit2
from pygit2.enums import FileMode, ObjectType

from tablevault.lfs.pointer import LONGEST_POINTER, Pointer, decode_pointer
from tablevault.names import TABLES_DIR, ObjectId, is_lfs_path

_MISSING, _DAMAGED = "missing", "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A pointer in history."""

    pointer: Pointer
    path: str
    """One of the paths at which it stands."""
    commit: str
    """One of the commits that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A git object that something needs, and that cannot be read."""

    id: str
    state: str
    """``missing`` or ``damaged``."""
    role: str
    """What it is, and what needs it."""
    is_file: bool = False
    """Whether it is the content of a file, which may be somewhere else, too."""


class Reach:
    """What was reached so far; :meth:`extend` goes on from further commits.

    Objects are read through a handle of its own: another one may have in its memory what is
    damaged on the disk.

    Parameters
    ----------
    git_dir : Path
        The repository, in which no loose object is damaged: libgit2 must not read such a one.
    """

    def __init__(self, git_dir: Path) -> None:
        self._git_dir = git_dir
        self._handle = pygit2.Repository(str(git_dir))
        self._ends = _shallow(git_dir)
        self._is_partial = any((git_dir / "objects" / "pack").glob("*.promisor"))
        self.objects: set[str] = set()
        """Ids of all objects that were reached, those that are broken included."""
        self.pointers: dict[ObjectId, Found] = {}
        self.broken: dict[str, Broken] = {}
        self._folders: set[tuple[str, str]] = set()
        self._files: set[tuple[str, bool]] = set()

    def extend(self, commits: Iterable[tuple[str, str]]) -> None:
        """Walk from pairs of commit id and what names it."""
        waiting = list(commits)
        while waiting:
            name, role = waiting.pop()
            if name in self.objects:
                continue
            self.objects.add(name)
            found = self._read(name, role)
            if found is None:
                continue
            if found.type == ObjectType.TAG:
                target = cast("pygit2.Tag", found).target
                waiting.append((str(target), f"object of {role}"))
            elif found.type == ObjectType.COMMIT:
                commit = cast("pygit2.Commit", found)
                self._tree(commit)
                parents = () if name in self._ends else commit.parent_ids
                waiting.extend((str(each), f"parent of commit {name[:12]}") for each in parents)

    def add_blob(self, name: str, path: str, where: str) -> None:
        """Reach one file, of git's index say."""
        self._file(name, path, where)

    def _tree(self, commit: pygit2.Commit) -> None:
        """Walk the folders of a commit that were not seen before."""
        waiting = [(str(commit.tree_id), "")]
        while waiting:
            name, path = waiting.pop()
            if (name, _region(path)) in self._folders:
                continue
            self._folders.add((name, _region(path)))
            self.objects.add(name)
            tree = self._read(name, f'folder "{path}" of commit {commit.id!s:.12}')
            if not isinstance(tree, pygit2.Tree):
                continue
            for entry, mode, inner in _entries(tree):
                below = f"{path}/{entry}" if path else entry
                if mode == FileMode.TREE:
                    waiting.append((inner, below))
                elif mode != FileMode.COMMIT:
                    self._file(inner, below, str(commit.id))

    def _file(self, name: str, path: str, commit: str) -> None:
        """Look at a file once, or twice when it stands both where pointers are and elsewhere."""
        is_lfs = is_lfs_path(path)
        if (name, is_lfs) in self._files:
            return
        self._files.add((name, is_lfs))
        self.objects.add(name)
        role = f'file "{path}" of commit {commit[:12]}'
        blob = self._read(name, role, is_file=True)
        if is_lfs and isinstance(blob, pygit2.Blob) and blob.size < LONGEST_POINTER:
            pointer = decode_pointer(blob.data)
            if pointer is not None and pointer.size and pointer.oid not in self.pointers:
                self.pointers[pointer.oid] = Found(pointer=pointer, path=path, commit=commit)

    def _read(self, name: str, role: str, *, is_file: bool = False) -> pygit2.Object | None:
        """Read an object, which libgit2 hashes; note it when that cannot be done."""
        if name in self.broken:
            return None
        state = _MISSING
        # Packs may become one while we look: a second handle sees what is there now.
        for handle in (self._handle, None):
            try:
                used = handle or pygit2.Repository(str(self._git_dir))
                found = used[name]
            except KeyError:
                state = _MISSING
            except (pygit2.GitError, ValueError, MemoryError):
                state = _DAMAGED
            else:
                self._handle = used
                return found
        if not (state == _MISSING and self._is_partial):
            self.broken[name] = Broken(id=name, state=state, role=role, is_file=is_file)
        return None


def _entries(tree: pygit2.Tree) -> Iterator[tuple[str, int, str]]:
    """Return name, mode and id of what is in a folder."""
    for entry in tree:
        with contextlib.suppress(ValueError):  # a name that is no text names nothing of ours
            yield str(entry.name), int(entry.filemode), str(entry.id)


def _region(path: str) -> str:
    """Return whether one and the same folder may have files that are pointers."""
    first, *rest = path.split("/")
    if first != TABLES_DIR:
        return "" if not path else "elsewhere"
    return "artifacts" if "artifacts" in rest else f"tables {min(len(rest), 1)}"


def _shallow(git_dir: Path) -> frozenset[str]:
    """List the commits at which a shallow clone ends."""
    with contextlib.suppress(OSError):
        return frozenset((git_dir / "shallow").read_text("ascii", "replace").split())
    return frozenset()
