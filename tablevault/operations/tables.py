"""Create, rename and delete tables."""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tablevault.errors import TVArgumentError
from tablevault.history.change import Change, RemovedBranch
from tablevault.history.documents import TableDocument, timestamp
from tablevault.history.index import IndexedInstance
from tablevault.history.message import Message
from tablevault.history.renaming import moved_folder, renamed_branch
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Put, Remove
from tablevault.journal.admission import admit
from tablevault.journal.beginning import refusing, taken_up
from tablevault.journal.locks import alone, table_hold
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Request
from tablevault.journal.recovery import needed_elsewhere
from tablevault.names import (
    ObjectId,
    ProcessId,
    TableId,
    check_table_name,
    table_dir,
    table_document,
    tag_ref,
    temp_of_ref,
)
from tablevault.operations.messages import operation_message
from tablevault.queries.resolve import find_table
from tablevault.secrets import IN_DESCRIPTION
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

_log = logging.getLogger("tablevault")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTable:
    """What ``create_table`` was asked for."""

    name: str
    multiple_artifacts: bool = False
    side_effects: bool = False
    description: str = ""
    allow_secret: bool = False


def create_table(vault: Vault, wanted: NewTable, *, process_id: str) -> ProcessId:
    """Make an empty table."""
    request = Request(
        operation="create_table",
        arguments={
            "table_name": wanted.name,
            "allow_multiple_artifacts": wanted.multiple_artifacts,
            "has_side_effects": wanted.side_effects,
            "description": wanted.description,
            "allow_secret": wanted.allow_secret,
        },
    )
    with refusing(vault.journal, vault.actor(process_id), "create_table", table_name=wanted.name):
        return perform_create(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_create(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Make the table that is asked for."""
    table, description = request.text("table_name"), request.text("description")
    admitted = admit(request, {"description": description}, IN_DESCRIPTION)

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        check_table_name(table)
        _refuse_taken(snapshot, table)
        return [table_hold(table, exclusive=True)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        operation.admit(admitted)

        def plan(snapshot: Snapshot, at: float) -> Change:
            _refuse_taken(snapshot, table)
            document = TableDocument(
                id=TableId(str(uuid.uuid4())),
                description=description,
                multiple_artifacts=request.flag("allow_multiple_artifacts"),
                side_effects=request.flag("has_side_effects"),
                created_by=vault.author,
                created_at=timestamp(at),
            )
            return Change(
                message=operation_message(
                    operation,
                    f"{table}: create table",
                    [("Table", table), ("Table-Id", document.id), ("Time", timestamp(at))],
                ),
                main=(Put(path=table_document(table), data=document.encode()),),
            )

        operation.publish(plan)
    return operation.process_id


def rename_table(vault: Vault, new: str, old: str, *, process_id: str) -> ProcessId:
    """Give a table another name; its instances, temporary ones too, and tags follow."""
    request = Request(
        operation="rename_table", arguments={"new_table_name": new, "table_name": old}
    )
    return perform_rename(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_rename(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Give the table that is asked for its new name."""
    new, old = request.text("new_table_name"), request.text("table_name")

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        check_table_name(new)
        find_table(vault, snapshot, old)
        _refuse_taken(snapshot, new)
        return [alone(table_hold(name, exclusive=True)) for name in (old, new)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        drafts = drafted_temps(vault, operation, old)

        def plan(snapshot: Snapshot, at: float) -> Change:
            _refuse_taken(snapshot, new)
            document = find_table(vault, snapshot, old)
            pairs = rename_pairs(document, old, new, at)
            message = operation_message(operation, f"{old}: rename to {new}", pairs)
            return renaming(vault, snapshot, drafts, (old, new), message)

        operation.publish(plan)
    return operation.process_id


def rename_pairs(document: TableDocument, old: str, new: str, at: float) -> list[tuple[str, str]]:
    """Give the trailers of a renaming."""
    return [
        ("Table", new),
        ("Renames", old),
        ("Table-Id", document.id),
        ("Created", document.created_at),
        ("Time", timestamp(at)),
    ]


def renaming(
    vault: Vault,
    snapshot: Snapshot,
    drafts: Sequence[TempDraft],
    names: tuple[str, str],
    message: Message,
) -> Change:
    """Move a table from the first of two names to the second."""
    old, new = names
    instances = vault.journal.index.instances(find_table(vault, snapshot, old).id)
    return Change(
        message=message,
        main=moved_folder(snapshot, old, new),
        branches=tuple(
            renamed_branch(vault.journal.repository, draft.temp, draft.tip, draft.commit, new)
            for draft in drafts
        ),
        retagged=tuple(
            (tag_ref(old, item.instance_id), tag_ref(new, item.instance_id)) for item in instances
        ),
    )


def delete_table(vault: Vault, table: str, *, process_id: str) -> ProcessId:
    """Remove a table; dataframes and artifacts are gone for good, descriptions stay in history."""
    request = Request(operation="delete_table", arguments={"table_name": table})
    return perform_delete(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_delete(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Remove the table that is asked for."""
    table = request.text("table_name")

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        find_table(vault, snapshot, table)
        return [alone(table_hold(table, exclusive=True))]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        drafts = drafted_temps(vault, operation, table)
        instances: list[IndexedInstance] = []
        withdrawn: list[IndexedInstance] = []

        def plan(snapshot: Snapshot, at: float) -> Change:
            document = find_table(vault, snapshot, table)
            instances[:] = vault.journal.index.instances(document.id)
            withdrawn[:] = vault.journal.index.withdrawn(document.id)
            pairs = [
                ("Table", table),
                ("Table-Id", document.id),
                ("Deletes", document.id),
                # In the order of the parents of the commit, after the first.
                *(("Temp", draft.temp.version) for draft in drafts),
                ("Time", timestamp(at)),
            ]
            return Change(
                message=operation_message(operation, f"{table}: delete table", pairs),
                main=(Remove(path=table_dir(table)),),
                removed=tuple(removed_branch(draft) for draft in drafts),
                untagged=tuple(tag_ref(table, item.instance_id) for item in instances),
            )

        operation.publish(plan)
        forget_objects(vault, operation, [*instances, *withdrawn])
    return operation.process_id


def forget_objects(
    vault: Vault, operation: Operation, instances: Sequence[IndexedInstance]
) -> None:
    """Delete the objects that only deleted instances needed, and the folders laid out for them."""
    import shutil

    index = vault.journal.index
    try:
        oids = {oid for instance in instances for oid in index.objects_of(instance.instance_id)}
        # Calls go first: what their records name would be kept.
        named = vault.calls.forget(instance.instance_id for instance in instances)
        oids.update(map(ObjectId, named))
        vault.store.delete(oids, needed=needed_elsewhere(vault.journal, operation.process_id))
    except (OSError, sqlite3.Error):
        # The deletion itself has happened, and must not be reported as failed.
        _log.warning("Objects of deleted instances are still in the store.", exc_info=True)
    for instance in instances:
        shutil.rmtree(vault.state / "artifacts" / instance.instance_id, ignore_errors=True)


def removed_branch(draft: TempDraft) -> RemovedBranch:
    """Remove a temporary instance; its last state stays in history."""
    return RemovedBranch(temp=draft.temp, tip=draft.tip, onto=draft.commit)


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


def drafted_temps(vault: Vault, operation: Operation, table: str) -> list[TempDraft]:
    """Take in what was edited by hand in the temporary instances of a table."""
    temps = [temp_of_ref(ref) for ref in vault.journal.repository.temp_refs()]
    return [operation.drafted(temp) for temp in temps if temp is not None and temp.table == table]
