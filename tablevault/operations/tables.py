"""Create, rename and delete tables."""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from tablevault.errors import TVArgumentError
from tablevault.history.commits.change import Change, RemovedBranch, moved_folder, renamed_branch
from tablevault.history.commits.documents import TableDocument, timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Put, Remove
from tablevault.model.view import VaultView
from tablevault.names import (
    InstanceId,
    ObjectId,
    TableId,
    check_table_name,
    table_dir,
    table_document,
    tag_ref,
)
from tablevault.queries.calls import forgotten_with
from tablevault.secrets import IN_DESCRIPTION
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.claims import alone, table_hold
from tablevault.transactions.operation import Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.recovery import needed_elsewhere
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

_log = logging.getLogger("tablevault")


@operation("create_table")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable(Operation[Vault, VaultView, TableId]):
    """Make an empty table."""

    table_name: str
    allow_multiple_artifacts: bool = False
    has_side_effects: bool = False
    description: str = ""
    allow_secret: bool = False

    def gathered(self, vault: Vault) -> Self:
        """Look for what looks like a key in the description."""
        admitted = admit(self.request, {"description": self.description}, IN_DESCRIPTION)
        return replace(self, admitted=(admitted,))

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the name, which has to be free."""
        check_table_name(self.table_name)
        _refuse_taken(view.snapshot, self.table_name)
        return [table_hold(self.table_name)]

    def prepare(self, vault: Vault, tx: Transaction) -> TableId:
        """Choose the id of the table."""
        return TableId(str(uuid.uuid4()))

    def plan(self, view: VaultView, tx: Transaction, prepared: TableId, at: float) -> Change:
        """Add its document."""
        _refuse_taken(view.snapshot, self.table_name)
        document = TableDocument(
            id=prepared,
            description=self.description,
            multiple_artifacts=bool(self.allow_multiple_artifacts),
            side_effects=bool(self.has_side_effects),
            created_by=tx.record.author,
            created_at=timestamp(at),
        )
        return Change(
            message=tx.message(
                f"{self.table_name}: create table",
                [("Table", self.table_name), ("Table-Id", document.id)],
                at=at,
            ),
            main=(Put(path=table_document(self.table_name), data=document.encode()),),
        )


@operation("rename_table")
@dataclass(frozen=True, slots=True, kw_only=True)
class RenameTable(Operation[Vault, VaultView, Sequence[EditedBranch]]):
    """Rename a table; its instances, temporary ones too, and tags follow."""

    new_table_name: str
    table_name: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim both names; the new one has to be free."""
        check_table_name(self.new_table_name)
        view.table(self.table_name)
        _refuse_taken(view.snapshot, self.new_table_name)
        names = (self.table_name, self.new_table_name)
        return [alone(table_hold(name)) for name in names]

    def prepare(self, vault: Vault, tx: Transaction) -> Sequence[EditedBranch]:
        """Take in what was edited by hand."""
        return edited_branches(vault.view(), tx, self.table_name)

    def plan(
        self, view: VaultView, tx: Transaction, prepared: Sequence[EditedBranch], at: float
    ) -> Change:
        """Move its folder, its branches and its tags."""
        old, new = self.table_name, self.new_table_name
        _refuse_taken(view.snapshot, new)
        pairs = rename_pairs(view.table(old).document, old, new)
        message = tx.message(f"{old}: rename to {new}", pairs, at=at)
        return renaming(view, prepared, old, new, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deleted:
    """What is deleted with a table: temporary instances, and instances, undone ones too."""

    branches: Sequence[EditedBranch]
    instance_ids: Sequence[InstanceId]
    forgotten: str
    """Which calls are forgotten with them, as a sentence."""


@operation("delete_table")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTable(Operation[Vault, VaultView, _Deleted]):
    """Remove a table; dataframes and artifacts are gone for good, descriptions stay in history."""

    table_name: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the table with all that is in it."""
        view.table(self.table_name)
        return [alone(table_hold(self.table_name))]

    def prepare(self, vault: Vault, tx: Transaction) -> _Deleted:
        """Take in what was edited by hand."""
        view = vault.live_view()
        table = view.table(self.table_name)
        instances = (*table.instances(), *view.catalog.withdrawn(table.id))
        return _Deleted(
            branches=edited_branches(view, tx, self.table_name),
            instance_ids=[each.instance_id for each in instances],
            forgotten=forgotten_with(table, view.instances_of(instances)),
        )

    def plan(self, view: VaultView, tx: Transaction, prepared: _Deleted, at: float) -> Change:
        """Remove its folder, its branches and its tags."""
        name = self.table_name
        table = view.table(name)
        pairs = [
            ("Table", name),
            ("Table-Id", table.id),
            ("Deletes", table.id),
            # In the order of the parents of the commit, after the first.
            *(("Temp", branch.temp.version) for branch in prepared.branches),
        ]
        return Change(
            message=tx.message(f"{name}: delete table", pairs, prepared.forgotten, at=at),
            main=(Remove(path=table_dir(name)),),
            removed=tuple(removed_branch(branch) for branch in prepared.branches),
            untagged=tuple(tag_ref(name, each.instance_id) for each in table.instances()),
        )

    def finish(self, vault: Vault, tx: Transaction, prepared: _Deleted) -> None:
        """Delete their objects."""
        forget_objects(vault, tx, prepared.instance_ids)
        log_forgotten(prepared.forgotten)


def rename_pairs(document: TableDocument, old: str, new: str) -> list[tuple[str, str]]:
    """Return the trailers of a renaming."""
    return [
        ("Table", new),
        ("Renames", old),
        ("Table-Id", document.id),
        ("Created", document.created_at),
    ]


def renaming(
    view: VaultView, branches: Sequence[EditedBranch], old: str, new: str, message: Message
) -> Change:
    """Move a table to another name."""
    return Change(
        message=message,
        main=moved_folder(view.snapshot, old, new),
        branches=tuple(
            renamed_branch(view.repository, each.temp, each.tip, each.commit, new)
            for each in branches
        ),
        retagged=tuple(
            (tag_ref(old, each.instance_id), tag_ref(new, each.instance_id))
            for each in view.table(old).instances()
        ),
    )


def forget_objects(vault: Vault, tx: Transaction, instance_ids: Sequence[InstanceId]) -> None:
    """Delete the objects that only deleted instances needed, and folders of their artifacts."""
    import shutil

    index = vault.index
    try:
        oids = {oid for instance_id in instance_ids for oid in index.objects_of(instance_id)}
        # Calls go first: what their records name would be kept.
        named = vault.calls.forget(instance_ids)
        oids.update(map(ObjectId, named))
        vault.store.delete(oids, needed=needed_elsewhere(vault.parts, tx.process_id))
    except (OSError, sqlite3.Error):
        # The deletion itself has happened, and must not be reported as failed.
        _log.warning("Objects of deleted instances are still in the store.", exc_info=True)
    for instance_id in instance_ids:
        shutil.rmtree(vault.state / "artifacts" / instance_id, ignore_errors=True)


def log_forgotten(sentence: str) -> None:
    """Log which calls were forgotten by a deletion, if any."""
    if sentence:
        _log.info("%s", sentence)


def removed_branch(branch: EditedBranch) -> RemovedBranch:
    """Remove a temporary instance; its last state stays in history."""
    return RemovedBranch(temp=branch.temp, tip=branch.tip, onto=branch.commit)


def _refuse_taken(snapshot: Snapshot, table: str) -> None:
    """Refuse a name that a table carries."""
    if snapshot.has_table(table):
        raise TVArgumentError(
            f'There is a table "{table}" already.',
            Wording(
                "Choose another name, or delete that one first: ",
                Call("delete_table", table_name=table),
                ".",
            ),
            table=table,
        )


def edited_branches(view: VaultView, tx: Transaction, table: str) -> list[EditedBranch]:
    """Commit edits by hand in the temporary instances of a table; return their branches."""
    return [tx.edited_branch(each.ref) for each in view.temps() if each.ref.table == table]
