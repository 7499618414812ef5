"""Two commits of a vault joined: what they have in common, and the merge of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pygit2

from tablevault.history.merge import Merged, Side, merge_snapshots
from tablevault.history.message import Message
from tablevault.history.repository import Repository
from tablevault.history.snapshot import Snapshot
from tablevault.history.union import Union, find_union
from tablevault.names import CommitId


def merge_commits(
    repository: Repository, ours: Snapshot, theirs: CommitId, resolve: Mapping[str, Side]
) -> Merged:
    """Merge the commit `theirs` into `ours`; nothing is written but objects nobody names."""
    other = Snapshot(repository, theirs)
    union = find_union(repository, ours.commit, theirs)
    base = _base(repository, ours.commit, theirs, union)
    return merge_snapshots(base, ours, other, resolve, union)


def merge_bases(repository: Repository, one: CommitId, other: CommitId) -> list[CommitId]:
    """Give the last commits that two histories have in common, sorted by id.

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
    """Give what two commits have in common; several bases are merged, as git does it.

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
