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
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction


def may_be_unfinished(parts: VaultParts) -> bool:
    """Return whether :func:`.git_merges.complete_merge` may have something to do."""
    tip = parts.repository.main()
    return is_open_merge(parts, tip) or bool(orphaned_temps(parts.repository, tip))


def is_open_merge(parts: VaultParts, tip: CommitId) -> bool:
    """Return whether a commit is a merge by git in which something may be left to do."""
    return is_by_git(parts.repository, tip) and _closed(parts) != tip


def is_by_git(repository: Repository, tip: CommitId) -> bool:
    """Return whether a commit is a merge of two sides that no operation has made."""
    commit = repository.commit(tip)
    return len(commit.parents) == 2 and not commit.message.first("Vault-Operation")  # noqa: PLR2004 - sides


def orphaned_temps(repository: Repository, tip: CommitId) -> dict[CommitId, TempRef]:
    """Return the temporary instances of tables that a commit does not have, by their tips."""
    main = Snapshot(repository, tip)
    temps = repository.temps().items()
    return {tip: temp for temp, tip in temps if not main.has_table(temp.table)}


def close_merge(parts: VaultParts, tip: CommitId) -> None:
    """Take note of a merge in which nothing is left to do, so that none works it out again."""
    with contextlib.suppress(OSError):  # a vault can be read where nothing can be written
        replace_file(_note(parts), f"{tip}\n".encode("ascii"))


def _closed(parts: VaultParts) -> str:
    """Read the note."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _note(parts).read_text("ascii").strip()
    return ""


def _note(parts: VaultParts) -> Path:
    """Return the file of the note."""
    return parts.state / "completed"


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
    parts = vault.parts
    repository, tip = parts.repository, parts.repository.main()
    is_open = is_open_merge(parts, tip)
    edits, ended = _edits(repository, tip) if is_open else ([], ())
    if not edits and not ended and not _moved(repository, Snapshot(repository, tip)):
        if is_open:
            close_merge(parts, tip)
        return ""
    merged = repository.commit(tip)
    merger = f"{merged.author} <{merged.email}>" if is_open else ""
    return CompleteMerge(commit=tip, merger=merger).run(vault)


def _edits(repository: Repository, tip: CommitId) -> tuple[list[Edit], Sequence[str]]:
    """Return what differs from the merge as a vault does it, and the instances it deactivates."""
    if not is_by_git(repository, tip):
        return [], ()
    merged, main = (
        merge_tree(repository, *repository.commit(tip).parents),
        Snapshot(repository, tip),
    )
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


def _moved(repository: Repository, main: Snapshot) -> dict[TempRef, str]:
    """Return the temporary instances whose table has another name on ``main``, with that."""
    drafts = orphaned_temps(repository, main.commit)
    if not drafts:
        return {}
    names = main.names_by_id()
    found = {}
    for tip, temp in drafts.items():
        drafted = Snapshot(repository, tip)
        if drafted.has_table(temp.table) and drafted.table(temp.table).id in names:
            found[temp] = names[drafted.table(temp.table).id]
    return found


def _renamed(repository: Repository, tx: Transaction, main: Snapshot) -> tuple[BranchChange, ...]:
    """Carry them over."""
    changes = []
    for temp, name in _moved(repository, main).items():
        draft = tx.edited_branch(temp)
        changes.append(renamed_branch(repository, temp, draft.tip, draft.commit, name))
    return tuple(changes)
