"""Walk what commits reach: objects and LFS pointers, from refs and other roots."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pygit2
from pygit2.enums import DeltaStatus, FileMode, ObjectType

from tablevault.errors import TVFileError, TVRemoteError
from tablevault.files.disk import files_below, matching
from tablevault.history.git.index_file import read_index
from tablevault.history.git.object_files import check_loose, check_packs, read_refs
from tablevault.history.git.repository import Repository
from tablevault.lfs.pointer import LONGEST_POINTER, Pointer, decode_pointer
from tablevault.names import TABLES_DIR, CommitId, ObjectId
from tablevault.paths import is_lfs_path
from tablevault.wording import Call, Wording

_MISSING, _DAMAGED = "missing", "damaged"
# Mode, name and id, as git writes them into a tree.
_ENTRY = re.compile(rb"[0-7]+ [^\0]+\0.{20}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedPointer:
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


class Reachability:
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
        self.pointers: dict[ObjectId, ReachedPointer] = {}
        self.broken: dict[str, Broken] = {}
        self._folders: set[tuple[str, str]] = set()
        self._files: set[tuple[str, bool]] = set()
        self._last: dict[str, frozenset[bytes]] = {}
        """By folder, what was in it when it was walked last."""

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
            for entry, mode, inner in self._new_entries(tree, path):
                below = f"{path}/{entry}" if path else entry
                if mode == FileMode.TREE:
                    waiting.append((inner, below))
                elif mode != FileMode.COMMIT:
                    self.add_file(inner, below, str(commit.id))

    def _new_entries(self, tree: pygit2.Tree, path: str) -> Iterator[tuple[str, int, str]]:
        """Return name, mode and id of what was not in the folder when it was walked last.

        A commit mostly changes one of a thousand tables.
        """
        entries = _ENTRY.findall(tree.read_raw())
        last, self._last[path] = self._last.get(path, frozenset()), frozenset(entries)
        for entry in entries:
            if entry not in last:
                mode, _, rest = entry.partition(b" ")
                with contextlib.suppress(
                    ValueError
                ):  # a name that is no text names nothing of ours
                    yield rest[:-21].decode(), int(mode, 8), rest[-20:].hex()

    def add_file(self, name: str, path: str, commit: str) -> None:
        """Look at a file once, or twice when it stands both where pointers are and elsewhere.

        `commit` is the id of a commit, or names what else has the file: git's index.
        """
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
                self.pointers[pointer.oid] = ReachedPointer(
                    pointer=pointer, path=path, commit=commit
                )

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


_FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)


def new_commits(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId]
) -> Iterator[pygit2.Commit]:
    """Walk the commits that can be reached from `tips` and not from `known`, newest first."""
    handle = repository.handle
    walker = handle.walk(None, pygit2.enums.SortMode.TOPOLOGICAL)
    steps = [*dict.fromkeys((tip, walker.push) for tip in tips)]
    steps += dict.fromkeys((commit, walker.hide) for commit in known)
    try:
        # libgit2 (1.9) expects the newest first: behind an old one it walks through all history.
        steps.sort(key=lambda step: _time_of(handle, step[0]), reverse=True)
        for commit, step in steps:
            step(pygit2.Oid(hex=commit))
        yield from walker
    except pygit2.GitError as error:
        raise TVRemoteError(
            f"A commit of the history that was brought cannot be read: {error}.",
            "`git fsck` names it. Ask who pushed it.",
        ) from error


def _time_of(handle: pygit2.Repository, commit: CommitId) -> int:
    """Return when a commit was made; 0 if it is not here."""
    with contextlib.suppress(KeyError):
        return int(cast("pygit2.Commit", handle[commit]).commit_time)
    return 0


def pointers_of(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId] = ()
) -> dict[Pointer, str]:
    """Return the pointers that commits name which are reached from `tips` and not from `known`.

    Looked at is where each commit differs from its parents, so the cost is that of what changed.

    Returns
    -------
    dict of Pointer to str
        With the path at which each was found first, newest commit first.
    """
    handle = repository.handle
    found: dict[Pointer, str] = {}
    seen: set[str] = set()
    for commit in new_commits(repository, tips, known):
        for path, oid in _changed(commit):
            if oid in seen or not path.startswith(f"{TABLES_DIR}/") or not is_lfs_path(path):
                continue
            seen.add(oid)
            blob = handle[oid]
            if isinstance(blob, pygit2.Blob) and blob.size < LONGEST_POINTER:
                pointer = decode_pointer(blob.data)
                if pointer is not None and pointer.size:
                    found.setdefault(pointer, path)
    return found


def _changed(commit: pygit2.Commit) -> Iterator[tuple[str, str]]:
    """Return path and blob of the files of a commit that none of its parents has."""
    parents = [parent.tree for parent in commit.parents]
    tree = commit.tree
    diff = parents[0].diff_to_tree(tree) if parents else tree.diff_to_tree(swap=True)
    for delta in diff.deltas:
        path, oid = delta.new_file.path, str(delta.new_file.id)
        is_file = delta.status != DeltaStatus.DELETED and delta.new_file.mode in _FILES
        if is_file and not any(path in each and str(each[path].id) == oid for each in parents[1:]):
            yield path, oid


_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_NAMED_IN_STATE = ("checked-out", "temp-folders/*", "processes/*")


def whole_reach(git_dir: Path, state: Path) -> Reachability:
    """Walk all that something needs: refs first, and then what need not be there any more.

    Raises
    ------
    TVFileError
        Something is damaged: whatever is there may be the last copy of something.
    """
    for problem in (*check_loose(git_dir), *check_packs(git_dir), *read_refs(git_dir).problems):
        raise _damaged(problem.where)
    reach = Reachability(git_dir)
    extend(reach, git_dir, state)
    return reach


def extend(reach: Reachability, git_dir: Path, state: Path) -> None:
    """Go on from what has come since; TVFileError when something is missing."""
    reach.extend((target, ref) for ref, target in read_refs(git_dir).targets.items())
    for name in reach.broken:
        raise _damaged(name)
    reach.extend((name, "a note") for name in _noted(git_dir, state))
    for folder in (git_dir, *_folders(git_dir / "worktrees")):
        with contextlib.suppress(OSError, TVFileError):
            for (path, _), entry in read_index(folder / "index").entries.items():
                text = path.decode("utf-8", "replace")
                reach.add_file(entry.blob.hex(), text, "git's index")
    # A log may name what `git gc` has removed.
    reach.broken.clear()


def _noted(git_dir: Path, state: Path) -> Iterator[str]:
    """Return all ids in logs of refs, in HEAD and its like, and in the records of processes."""
    for folder in (git_dir, *_folders(git_dir / "worktrees")):
        for path in (*matching(folder, "*HEAD"), *files_below(folder / "logs")):
            yield from _ids_in(path)
    for pattern in _NAMED_IN_STATE:
        for path in matching(state, pattern):
            yield from _ids_in(path)


def _ids_in(path: Path) -> list[str]:
    """Find what looks like an id."""
    try:
        found = _ID.findall(path.read_text("ascii", "replace"))
    except OSError:
        return []
    return [name for name in dict.fromkeys(found) if name.strip("0")]


def _folders(folder: Path) -> list[Path]:
    """List what is below a folder, which need not be there."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _damaged(where: str) -> TVFileError:
    """Make the error for a vault from which nothing may be removed."""
    return TVFileError(
        f'The vault is damaged ("{where}"), so nothing was removed from it.',
        Wording(
            Call("verify"), " tells more, ", Call("verify", repair=True), " mends what it can."
        ),
        path=where,
    )
