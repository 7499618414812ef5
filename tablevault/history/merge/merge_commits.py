"""Merge two commits of a vault: their merge base, the merge of both, and its tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pygit2

from tablevault.history.catalog.in_memory import Union, find_union
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import write_tree
from tablevault.history.merge.merge_vaults import Conflict, Merged, Side, merge_snapshots
from tablevault.names import TABLES_DIR, CommitId


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What two commits come to."""

    merged: Merged
    tree: str
    """The tree, in the object database; where there are conflicts it is that of ours."""

    def conflicts_at(self, path: str) -> list[Conflict]:
        """Return the conflicts in a file, or in a folder that it is in."""
        return [
            conflict
            for conflict in self.merged.conflicts
            if conflict.path == path or path.startswith(f"{conflict.path}/")
        ]

    def conflicts_in(self, roots: Sequence[str]) -> list[Conflict]:
        """Return the conflicts in some top folders or files."""
        return [
            conflict for conflict in self.merged.conflicts if conflict.path.split("/")[0] in roots
        ]


def merge_commits(
    repository: Repository, ours: Snapshot, theirs: CommitId, resolve: Mapping[str, Side]
) -> Merged:
    """Merge the commit `theirs` into `ours`; nothing is written but objects nobody names."""
    other = Snapshot(repository, theirs)
    union = find_union(repository, ours.commit, theirs)
    base = _base(repository, ours.commit, theirs, union)
    return merge_snapshots(base, ours, other, resolve, union)


def join(repository: Repository, ours: CommitId, theirs: CommitId) -> Joined:
    """Merge two commits, and write the tree."""
    merged = merge_commits(repository, Snapshot(repository, ours), theirs, {})
    handle = repository.handle
    return Joined(merged=merged, tree=write_tree(handle, handle[ours].tree, merged.edits)[-1])


def read_in_tree(repository: Repository, tree: str, path: str) -> bytes | None:
    """Return the bytes of a file in a tree, None when it is not there."""
    blob = in_tree(repository, tree, path)
    found = None if blob is None else repository.handle[blob]
    return found.data if isinstance(found, pygit2.Blob) else None


def in_tree(repository: Repository, tree: str, path: str) -> str | None:
    """Return the id of what stands at a path in a tree, None when nothing does."""
    root = repository.handle[tree]
    assert isinstance(root, pygit2.Tree)
    try:
        return str(root[path].id)
    except KeyError:
        return None


def folders_in(repository: Repository, tree: str) -> set[str]:
    """Return the paths of the folders of tables in a tree."""
    found = in_tree(repository, tree, TABLES_DIR)
    folder = None if found is None else repository.handle[found]
    names = [entry.name for entry in folder] if isinstance(folder, pygit2.Tree) else []
    return {f"{TABLES_DIR}/{name}" for name in names}


def tree_of(repository: Repository, commit: CommitId) -> str:
    """Return the tree of a commit."""
    return str(repository.handle[commit].tree.id)


def merge_bases(repository: Repository, one: CommitId, other: CommitId) -> list[CommitId]:
    """Return the last commits that two histories have in common, sorted by id.

    There are several when each side has merged what the other one had (``git merge-base --all``;
    libgit2 gives one of them).
    """
    if repository.is_ancestor(one, other):
        return [one]
    walker = repository.handle.walk(pygit2.Oid(hex=one))
    walker.hide(pygit2.Oid(hex=other))
    own = {CommitId(str(commit.id)): commit.parent_ids for commit in walker}
    edge = {CommitId(str(parent)) for parents in own.values() for parent in parents} - own.keys()
    return sorted(
        commit
        for commit in edge
        if not any(commit != later and repository.is_ancestor(commit, later) for later in edge)
    )


def _base(
    repository: Repository, one: CommitId, other: CommitId, union: Union | None
) -> Snapshot | None:
    """Return what two commits have in common; several bases are merged, as git does it.

    Otherwise what was settled on both sides would be open again, and what was deleted come back.
    """
    bases = merge_bases(repository, one, other)
    if not bases:
        return None
    common = Snapshot(repository, bases[0])
    for commit in bases[1:]:
        earlier = _base(repository, common.commit, commit, union)
        merged = merge_snapshots(earlier, common, Snapshot(repository, commit), _Ours(), union)
        made = repository.write_commit(
            parents=[common.commit, commit],
            base=common.commit,
            edits=merged.edits,
            message=Message(subject="what two sides have in common"),
            author="TableVault",
            at=repository.commit(commit).at,
        )
        common = Snapshot(repository, made)
    return common


class _Ours(Mapping[str, Side]):
    """Resolves whatever there is."""

    def __getitem__(self, _: str) -> Side:
        """Choose the same side always."""
        return "ours"

    def __iter__(self) -> Iterator[str]:
        """List none of them."""
        return iter(())

    def __len__(self) -> int:
        """Count none of them."""
        return 0
