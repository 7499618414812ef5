"""Find and complete merges by plain git: whole instances, renamed tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tablevault.files.disk import replace_file
from tablevault.history.commits.change import BranchChange, Change, renamed_branch
from tablevault.history.commits.documents import timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit, Graft, Remove
from tablevault.history.merge.merge_commits import MergedTree, merge_tree
from tablevault.names import TABLES_DIR, VAULT_DOCUMENT, CommitId, TempRef, table_dir
from tablevault.transactions.begin import Actor
from tablevault.transactions.claims import pull_hold
from tablevault.transactions.operation import (
    NOT_RECORDED,
    OpenVault,
    OpenView,
    Operation,
    operation,
)
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction


@operation("merge", restarts=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteMerge(Operation[OpenVault, OpenView, None]):
    """Make of ``main``, whose tip is a merge by git, what a pull would have made of it.

    Git merges file by file: where both sides have a new instance of a version, a file that only
    one of them changed comes from there, whichever is the later. A commit on top of the merge puts
    that right. A folder whose conflicts were resolved by hand is left alone.
    """

    commit: CommitId
    """The merge."""
    merger: str = field(default="", metadata=NOT_RECORDED)
    """Who made it; the author of the commit, which is part of what the merger has done."""

    def acting(self, actor: Actor) -> Actor:
        """Return the author of the merge as the actor."""
        return replace(actor, author=self.merger) if self.merger else actor

    def claims(self, view: OpenView, record: Record) -> Sequence[Hold]:
        """Claim the right to pull."""
        return (pull_hold(),)

    def plan(self, view: OpenView, tx: Transaction, prepared: None, at: float) -> Change:
        """Make instances whole, and carry temporary ones over to new names of their tables."""
        repository = view.snapshot.repository
        edits, ended = _edits(repository, view.snapshot.commit)
        pairs = [
            ("Operation", self.operation_name),
            ("Process", tx.process_id),
            *(("Deactivates", instance) for instance in ended),
            ("Time", timestamp(at)),
        ]
        subject = "merge: instances of one side, whole"
        return Change(
            message=Message(subject=subject, trailers=trailers(pairs)),
            main=tuple(edits) if edits or ended else None,
            branches=_renamed(repository, tx, view.snapshot),
        )


def complete_merge(vault: OpenVault) -> str:
    """Complete a merge by git, if the tip of ``main`` is one.

    The hook `post-merge` does it. Where it did not run to its end, or the merge was made where no
    hook is, as at a host, the next opening or pull does it.

    Returns
    -------
    str
        The process that did it, "" when there was nothing to do.

    Raises
    ------
    TVLockError
        A pull runs for an unusually long time.
    """
    repository, note = vault.parts.repository, vault.parts.state / "completed"
    tip = repository.main()
    is_open = _is_merge_by_git(repository, tip) and _read(note) != tip
    edits, ended = _edits(repository, tip) if is_open else ([], ())
    if edits or ended or _new_names(repository, Snapshot(repository, tip)):
        merge = repository.commit(tip)
        merger = f"{merge.author} <{merge.email}>" if is_open else ""
        return CompleteMerge(commit=tip, merger=merger).run(vault)
    if is_open:
        # The next opening need not merge again; a vault may be read-only.
        with contextlib.suppress(OSError):
            replace_file(note, f"{tip}\n".encode("ascii"))
    return ""


def _read(note: Path) -> str:
    """Return the merge that was found complete last, "" if there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return note.read_text("ascii").strip()
    return ""


def _is_merge_by_git(repository: Repository, tip: CommitId) -> bool:
    """Return whether a commit is a merge of two commits that no operation has made."""
    commit = repository.commit(tip)
    return len(commit.parents) == 2 and not commit.message.first("Vault-Operation")  # noqa: PLR2004 - ours and theirs


def _edits(repository: Repository, tip: CommitId) -> tuple[list[Edit], Sequence[str]]:
    """Return what differs from the merge as a vault does it, and the instances it deactivates."""
    if not _is_merge_by_git(repository, tip):
        return [], ()
    merged = merge_tree(repository, *repository.commit(tip).parents)
    main = Snapshot(repository, tip)
    edits: list[Edit] = []
    for path in _paths(merged, main):
        wanted, found = merged.find(path), main.tree_id(path) or main.blob_id(path)
        if wanted is None:
            edits.append(Remove(path=path))
        elif str(wanted.id) != found:
            edits.append(Graft(path=path, source=str(wanted.id), is_tree=path != VAULT_DOCUMENT))
    return edits, merged.result.deactivated


def _paths(merged: MergedTree, main: Snapshot) -> list[str]:
    """List the folders of tables, and ``vault.yaml``, but for what was in conflict."""
    names = {table_dir(entry.name) for entry in main.entries(TABLES_DIR)}
    paths = [*sorted(names | merged.table_folders()), VAULT_DOCUMENT]
    conflicts = {conflict.path for conflict in merged.conflicts_in((TABLES_DIR, VAULT_DOCUMENT))}
    return [
        path for path in paths if not any(f"{each}/".startswith(f"{path}/") for each in conflicts)
    ]


def _new_names(repository: Repository, main: Snapshot) -> dict[TempRef, str]:
    """Return the temporary instances whose table ``main`` has under another name, with that."""
    found = {}
    for temp, tip in repository.temps().items():
        if not main.has_table(temp.table):
            branch = Snapshot(repository, tip)
            names = main.names_by_id()
            if branch.has_table(temp.table) and branch.table(temp.table).id in names:
                found[temp] = names[branch.table(temp.table).id]
    return found


def _renamed(repository: Repository, tx: Transaction, main: Snapshot) -> tuple[BranchChange, ...]:
    """Return the changes that carry temporary instances over to the new names of their tables."""
    changes = []
    for temp, name in _new_names(repository, main).items():
        edited = tx.edited_branch(temp)
        changes.append(renamed_branch(repository, temp, edited.tip, edited.commit, name))
    return tuple(changes)
