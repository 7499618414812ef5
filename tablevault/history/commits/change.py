"""What an operation changes, as a value, and the commits that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.refs import RefMove
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.lfs.pointer import Pointer
from tablevault.names import (
    MAIN,
    CommitId,
    TempRef,
    builder_path,
    index_builder,
    instance_dir,
    table_dir,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchChange:
    """A commit on the branch of a temporary instance, and what becomes of the branch."""

    temp: TempRef
    tip: CommitId | None
    """Where the branch stands now; None when there is none."""
    onto: CommitId | None = None
    """Commit to build on when it is not `tip`: the branch with what was edited by hand."""
    edits: tuple[Edit, ...]
    message: Message
    fresh: bool = False
    """Start from the tip of ``main``, keeping an old tip as second parent so that whatever was
    drafted before stays in history."""
    renamed_from: TempRef | None = None
    """The branch carries another name so far, which is removed."""
    merged: bool = False
    """The commit is a parent of the commit on ``main``, and the branch is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedBranch:
    """The branch of a temporary instance that is to be removed; what it held stays in history."""

    temp: TempRef
    tip: CommitId
    onto: CommitId
    """`tip`, or a commit on top of it with what was edited by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One operation, ready to be published on the newest tip of ``main``."""

    message: Message
    main: tuple[Edit, ...] | None = None
    """Edits of the tree of ``main``; None when only branches change."""
    branches: tuple[BranchChange, ...] = ()
    removed: tuple[RemovedBranch, ...] = ()
    """Branches to remove; their tips become parents of the commit on ``main``."""
    merges: tuple[CommitId, ...] = ()
    """Further parents of the commit on ``main``: history that came from elsewhere."""
    forward: CommitId | None = None
    """Move ``main`` to this commit, a descendant of it, and write none; `main` is None then."""
    tag: str = ""
    """Full name of a tag for the new commit on ``main``."""
    tagged: tuple[tuple[str, CommitId], ...] = ()
    """Full names of further tags, and the commits that they are for."""
    retagged: tuple[tuple[str, str], ...] = ()
    """Pairs of full tag names, old and new."""
    untagged: tuple[str, ...] = ()
    needs: tuple[Pointer, ...] = ()
    """Objects that have to be in the store when the change is published."""


BY_HAND = "edit_by_hand"
"""Name of the operation in commits that take in files as the user left them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenChange:
    """Commits that were written, and the moves that would publish them."""

    moves: tuple[RefMove, ...]
    commit: CommitId
    """The commit that represents the operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Who commits, and when."""

    author: str
    at: float


def write_change(
    repository: Repository, change: Change, *, main: CommitId, base: CommitId, signing: Signing
) -> WrittenChange:
    """Write the commits of `change`.

    Parameters
    ----------
    repository : Repository
        Where to write.
    change : Change
        Planned on the snapshot of `base`.
    main : CommitId
        Tip of ``main`` now.
    base : CommitId
        What the operation builds on: `main`, or a commit on top of it with what the user edited
        by hand.
    signing : Signing
        Author and time of all commits.
    """
    write = partial(repository.write_commit, author=signing.author, at=signing.at)
    moves: list[RefMove] = []
    merged: list[CommitId] = [branch.onto for branch in change.removed]
    last = base
    for branch in change.branches:
        old = branch.onto or branch.tip
        onto = base if old is None or branch.tip is None or branch.fresh else old
        parents = [onto] if old in (None, onto) else [onto, old]
        last = write(parents=parents, base=onto, edits=branch.edits, message=branch.message)
        if branch.merged:
            merged.append(last)
        moves.extend(_branch_moves(branch, last))
    moves.extend(
        RefMove(ref=branch.temp.ref, old=branch.tip, new=None) for branch in change.removed
    )
    if change.main is not None:
        # The instance's folder is taken whole from its branch, all else from the tip of main.
        edits = (*_grafts(repository, change, merged), *change.main)
        parents = [base, *merged, *change.merges]
        last = write(parents=parents, base=base, edits=edits, message=change.message)
        moves.extend(_tag_moves(repository, change, last))
    if change.forward is not None:
        last = change.forward
    tip = base if change.main is None and change.forward is None else last
    if tip != main:
        moves.insert(0, RefMove(ref=MAIN, old=main, new=tip))
    return WrittenChange(moves=tuple(moves), commit=last)


def write_by_hand(
    repository: Repository,
    base: CommitId,
    edits: Sequence[Edit],
    signing: Signing,
    *,
    superseded: CommitId | None = None,
) -> CommitId:
    """Write a commit with files as the user left them.

    It is a commit of its own below the operation's, so that the operation shows only what it
    did itself. A commit whose edits are `superseded` by later ones is merged without changing
    anything, so that history has the very text that was used.
    """
    if superseded is None:
        subject = f"{', '.join(edit.path for edit in edits)}: edited by hand"
    else:
        subject = "code as it was edited by hand before"
    message = Message(subject=subject, trailers=(("Vault-Operation", BY_HAND),))
    parents = [base] if superseded is None else [base, superseded]
    return repository.write_commit(
        parents=parents,
        base=base,
        edits=edits,
        message=message,
        author=signing.author,
        at=signing.at,
    )


def _grafts(repository: Repository, change: Change, merged: list[CommitId]) -> tuple[Edit, ...]:
    """Take the folders of merged instances from the commits on their branches."""
    heads = merged[len(change.removed) :]
    branches = [branch for branch in change.branches if branch.merged]
    edits: list[Edit] = []
    for branch, commit in zip(branches, heads, strict=True):
        folder = instance_dir(branch.temp.table, branch.temp.version)
        tree = Snapshot(repository, commit).tree_id(folder)
        edits.append(Remove(path=folder) if tree is None else Graft(path=folder, source=tree))
    return tuple(edits)


def _branch_moves(branch: BranchChange, commit: CommitId) -> list[RefMove]:
    """Return the moves of the refs of one temporary instance."""
    ref = branch.temp.ref
    if branch.renamed_from is not None:
        return [
            RefMove(ref=ref, old=None, new=commit),
            RefMove(ref=branch.renamed_from.ref, old=branch.tip, new=None),
        ]
    new = None if branch.merged else commit
    return [RefMove(ref=ref, old=branch.tip, new=new)]


def _tag_moves(repository: Repository, change: Change, commit: CommitId) -> list[RefMove]:
    """Return the moves of tags; a tag that was removed by hand is no obstacle."""
    moves = []
    if change.tag:
        moves.append(RefMove(ref=change.tag, old=repository.tip(change.tag), new=commit))
    moves.extend(
        RefMove(ref=tag, old=repository.tip(tag), new=commit_id) for tag, commit_id in change.tagged
    )
    moves.extend(
        RefMove(ref=tag, old=at, new=None)
        for tag in change.untagged
        if (at := repository.tip(tag)) is not None
    )
    for old, new in change.retagged:
        if (at := repository.tip(old)) is not None:
            moves.append(RefMove(ref=old, old=at, new=None))
            moves.append(RefMove(ref=new, old=repository.tip(new), new=at))
    return moves


def moved_folder(snapshot: Snapshot, old: str, new: str) -> tuple[Edit, ...]:
    """Move the folder of a table."""
    tree = snapshot.tree_id(table_dir(old))
    moved = () if tree is None else (Graft(path=table_dir(new), source=tree),)
    return (*moved, Remove(path=table_dir(old)))


def renamed_branch(
    repository: Repository, temp: TempRef, tip: CommitId, onto: CommitId, new: str
) -> BranchChange:
    """Carry a temporary instance over to the new name of its table, its index builder included.

    `onto` is the tip of its branch, or a commit on top of it with what was edited by hand.
    """
    old, version = temp.table, temp.version
    snapshot = Snapshot(repository, onto)
    edits = list(moved_folder(snapshot, old, new))
    index = snapshot.blob(builder_path(old, version, index_builder(old)))
    if index is not None:
        edits.append(Remove(path=builder_path(new, version, index_builder(old))))
        edits.append(Put(path=builder_path(new, version, index_builder(new)), data=index))
    return BranchChange(
        temp=TempRef(table=new, version=version),
        tip=tip,
        onto=onto,
        edits=tuple(edits),
        message=Message(
            subject=f"{old}/{version}: table renamed to {new}",
            trailers=trailers([("Table", new), ("Version", version)]),
        ),
        renamed_from=temp,
    )
