"""Which objects history names: the pointers in the trees of commits."""

from __future__ import annotations

from collections.abc import Iterable

import pygit2
from pygit2.enums import FileMode

from tablevault.history.repository import Repository
from tablevault.history.strangers import new_commits
from tablevault.names import TABLES_DIR, CommitId, is_lfs_path
from tablevault.objects.pointer import LONGEST_POINTER, Pointer, decode_pointer


def pointers_of(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId] = ()
) -> dict[Pointer, str]:
    """Give the pointers that commits name which are reached from `tips` and not from `known`.

    Each tree is looked at once, so the cost is that of what changed.

    Returns
    -------
    dict of Pointer to str
        With the path at which each was found first, newest commit first.
    """
    handle = repository.handle
    found: dict[Pointer, str] = {}
    seen: set[tuple[str, str]] = set()
    for commit in new_commits(repository, tips, known):
        tree = commit.tree
        if TABLES_DIR in tree:
            entry = tree[TABLES_DIR]
            if isinstance(entry, pygit2.Tree):
                _collect(handle, entry, f"{TABLES_DIR}/", seen, found)
    return found


def _collect(
    handle: pygit2.Repository,
    tree: pygit2.Tree,
    path: str,
    seen: set[tuple[str, str]],
    found: dict[Pointer, str],
) -> None:
    """Look through one tree."""
    # The same tree at another path may be something else: what is a pointer is told by the path.
    key = (str(tree.id), path if path.count("/") < 3 else "")  # noqa: PLR2004 - tables/<t>/<v>
    if key in seen:
        return
    seen.add(key)
    for entry in tree:
        inner = f"{path}{entry.name}"
        if entry.filemode == FileMode.TREE:
            child = handle[entry.id]
            if isinstance(child, pygit2.Tree):
                _collect(handle, child, f"{inner}/", seen, found)
        elif is_lfs_path(inner):
            blob = handle[entry.id]
            if isinstance(blob, pygit2.Blob) and blob.size < LONGEST_POINTER:
                pointer = decode_pointer(blob.data)
                if pointer is not None and pointer.size:
                    found.setdefault(pointer, inner)
