"""Walks over commits: those that are new, and the LFS pointers in their trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pygit2
from pygit2.enums import DeltaStatus, FileMode

from tablevault.errors import TVRemoteError
from tablevault.history.git.repository import Repository
from tablevault.lfs.pointer import LONGEST_POINTER, Pointer, decode_pointer
from tablevault.names import TABLES_DIR, CommitId, is_lfs_path

_FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)


def new_commits(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId]
) -> Iterator[pygit2.Commit]:
    """Walk the commits that can be reached from `tips` and not from `known`, newest first."""
    walker = repository.handle.walk(None, pygit2.enums.SortMode.TOPOLOGICAL)
    try:
        for tip in tips:
            walker.push(pygit2.Oid(hex=tip))
        for commit in known:
            walker.hide(pygit2.Oid(hex=commit))
        yield from walker
    except pygit2.GitError as error:
        raise TVRemoteError(
            f"A commit of the history that was brought cannot be read: {error}.",
            "`git fsck` names it. Ask who pushed it.",
        ) from error


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
