"""Rename a table: its folder, and the branches of its temporary instances."""

from __future__ import annotations

from tablevault.history.commits.change import BranchChange
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.names import CommitId, TempRef, builder_path, index_builder, table_dir


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
