"""Merge two commits of a vault: find their merge base, merge, write the merged tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pygit2

from tablevault.history.catalog.in_memory import MergedCatalog, merged_catalog
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import write_tree
from tablevault.history.merge.merge_files import merge_files, merge_vault_document
from tablevault.history.merge.merge_result import Conflict, MergeResult, Resolve, Side, ThreeWay
from tablevault.history.merge.merge_tables import merge_tables
from tablevault.names import TABLES_DIR, VAULT_DOCUMENT, CommitId


def merge_commits(
    repository: Repository, ours: Snapshot, theirs: CommitId, resolve: Mapping[str, Side]
) -> MergeResult:
    """Merge the commit `theirs` into `ours`; no commit is made.

    Parameters
    ----------
    repository : Repository
        The vault, which has both commits.
    ours : Snapshot
        The commit to merge into.
    theirs : CommitId
        The commit to merge.
    resolve : dict of path to "ours" or "theirs"
        Which side counts where both changed the same path.

    Returns
    -------
    MergeResult
        Its edits count only if it has no conflicts.
    """
    catalog = merged_catalog(repository, ours.commit, theirs)
    base = _merge_base(repository, ours.commit, theirs, catalog)
    commits = ThreeWay(base=base, ours=ours, theirs=Snapshot(repository, theirs), catalog=catalog)
    return _merge(commits, resolve.get)


def _merge(commits: ThreeWay, resolve: Resolve) -> MergeResult:
    """Merge two commits with a known base."""
    result = MergeResult(resolve=resolve)
    if commits.ours.vault().id != commits.theirs.vault().id:
        result.conflict(
            VAULT_DOCUMENT, "the other side is another vault", "Clone it into a folder."
        )
        return result
    merge_vault_document(commits, result)
    merge_tables(commits, result)
    merge_files(commits, result)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedTree:
    """The tree that two commits merge to; with conflicts, that of ours where they are."""

    result: MergeResult
    tree: pygit2.Tree

    def conflicts_at(self, path: str) -> list[Conflict]:
        """Return the conflicts in a file, or in a folder that contains it."""
        return [
            conflict
            for conflict in self.result.conflicts
            if f"{path}/".startswith(f"{conflict.path}/")
        ]

    def conflicts_in(self, roots: Sequence[str]) -> list[Conflict]:
        """Return the conflicts in some top folders or files."""
        return [each for each in self.result.conflicts if each.path.split("/")[0] in roots]

    def find(self, path: str) -> pygit2.Object | None:
        """Return the file or folder at a path, None if there is none."""
        try:
            return self.tree[path]
        except KeyError:
            return None

    def read(self, path: str) -> bytes | None:
        """Return the bytes of the file at a path, None if there is none."""
        found = self.find(path)
        return found.data if isinstance(found, pygit2.Blob) else None

    def table_folders(self) -> set[str]:
        """Return the paths of the folders of tables."""
        folder = self.find(TABLES_DIR)
        names = [entry.name for entry in folder] if isinstance(folder, pygit2.Tree) else []
        return {f"{TABLES_DIR}/{name}" for name in names}


def merge_tree(repository: Repository, ours: CommitId, theirs: CommitId) -> MergedTree:
    """Merge two commits and write the tree, as ``git merge-tree`` does."""
    result = merge_commits(repository, Snapshot(repository, ours), theirs, {})
    handle = repository.handle
    tree = handle[write_tree(handle, handle[ours].tree, result.edits)[-1]]
    assert isinstance(tree, pygit2.Tree)
    return MergedTree(result=result, tree=tree)


def merge_bases(repository: Repository, one: CommitId, other: CommitId) -> list[CommitId]:
    """Return the merge bases of two commits, sorted by id.

    There are several when each side has merged a commit of the other (``git merge-base --all``;
    libgit2 returns only one).
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


def _merge_base(
    repository: Repository, one: CommitId, other: CommitId, catalog: MergedCatalog | None
) -> Snapshot | None:
    """Return the merge base; several bases are merged into one, as git's ``ort`` strategy does.

    With one of them alone, conflicts that both sides have resolved would come up again, and what
    one side deleted would come back.
    """
    bases = merge_bases(repository, one, other)
    if not bases:
        return None
    base = Snapshot(repository, bases[0])
    for commit in bases[1:]:
        commits = ThreeWay(
            base=_merge_base(repository, base.commit, commit, catalog),
            ours=base,
            theirs=Snapshot(repository, commit),
            catalog=catalog,
        )
        merged = repository.write_commit(
            parents=[base.commit, commit],
            base=base.commit,
            edits=_merge(commits, lambda _: "ours").edits,
            message=Message(subject="merge of merge bases"),
            author="TableVault",
            at=repository.commit(commit).at,
        )
        base = Snapshot(repository, merged)
    return base
