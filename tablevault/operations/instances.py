"""Create temporary instances, delete instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tablevault.errors import TVArgumentError
from tablevault.history.change import BranchChange, Change
from tablevault.history.documents import InstanceDocument, timestamp
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit, Graft, Put, Remove
from tablevault.journal.admission import admit
from tablevault.journal.beginning import refusing, taken_up
from tablevault.journal.locks import instance_hold, temp_hold
from tablevault.journal.operation import Operation, running
from tablevault.journal.record import Hold, Request
from tablevault.names import (
    ProcessId,
    TempRef,
    artifacts_dir,
    builder_path,
    check_version,
    frame_path,
    index_builder,
    instance_dir,
    instance_document,
    is_temp_id,
    table_document,
    tag_ref,
)
from tablevault.operations.builder_sources import by_file, gather_builders, template
from tablevault.operations.messages import operation_message
from tablevault.operations.tables import forget_objects, removed_branch
from tablevault.queries import read
from tablevault.queries.resolve import (
    find_instance,
    find_latest,
    find_table,
    find_temp_by_id,
    temp_or_none,
)
from tablevault.render import counted
from tablevault.secrets import IN_BUILDER, IN_DESCRIPTION
from tablevault.vault import Vault
from tablevault.wording import Parameter, Wording

_EXTERNAL = Parameter("create_instance", "external_edit")
_BUILDERS = Parameter("create_instance", "builders")

Builders = Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """What ``create_instance`` was asked for."""

    table: str
    version: str
    origin_id: str = ""
    origin_table: str = ""
    external_edit: bool = False
    copy: bool = False
    description: str = ""
    allow_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """The instance that a new one starts from."""

    table: str
    instance: IndexedInstance


def create_instance(
    vault: Vault, wanted: NewInstance, builders: Builders, *, process_id: str
) -> ProcessId:
    """Make a temporary instance; one of the same version is replaced."""
    with refusing(
        vault.journal,
        vault.actor(process_id),
        "create_instance",
        table_name=wanted.table,
        version=wanted.version,
    ):
        version = check_version(wanted.version)
        if wanted.external_edit and builders:
            raise TVArgumentError(
                Wording("An instance made with ", _EXTERNAL, " has no builders."),
                Wording("Leave out ", _BUILDERS, ", or leave out ", _EXTERNAL, "."),
                table=wanted.table,
            )
        texts = gather_builders(wanted.table, builders)
        request = Request(
            operation="create_instance",
            arguments={
                "table_name": wanted.table,
                "version": version,
                "origin_id": wanted.origin_id,
                "origin_table": wanted.origin_table,
                "external_edit": wanted.external_edit,
                "copy": wanted.copy,
                "builders": dict(texts),
                "description": wanted.description,
                "allow_secret": wanted.allow_secret,
            },
        )
        return perform_create(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_create(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Make the temporary instance that is asked for."""
    wanted = NewInstance(
        table=request.text("table_name"),
        version=request.text("version"),
        origin_id=request.text("origin_id"),
        origin_table=request.text("origin_table"),
        external_edit=request.flag("external_edit"),
        copy=request.flag("copy"),
        description=request.text("description"),
    )
    version = wanted.version
    temp = TempRef(table=wanted.table, version=version)
    given = request.arguments["builders"]
    assert isinstance(given, dict)
    texts = {name: str(text) for name, text in given.items()}
    admitted = (
        admit(request, by_file(texts, "", ".yaml"), IN_BUILDER),
        admit(request, {"description": wanted.description}, IN_DESCRIPTION),
    )
    origin: _Origin | None = None

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        nonlocal origin
        find_table(vault, snapshot, wanted.table)
        origin = _find_origin(vault, snapshot, wanted, version)
        holds = [temp_hold(wanted.table, version)]
        if origin is not None:
            holds.append(instance_hold(origin.table, origin.instance.instance_id, exclusive=False))
        return holds

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        for each in admitted:
            operation.admit(each)

        def plan(snapshot: Snapshot, at: float) -> Change:
            find_table(vault, snapshot, wanted.table)
            return _plan_create(vault, operation, wanted, (temp, origin, texts), at)

        operation.publish(plan)
    return operation.process_id


def _plan_create(
    vault: Vault,
    operation: Operation,
    wanted: NewInstance,
    parts: tuple[TempRef, _Origin | None, Mapping[str, str]],
    at: float,
) -> Change:
    """Prepare the branch of a temporary instance."""
    temp, origin, texts = parts
    old = temp_or_none(vault.journal.repository, temp)
    drafted = None if old is None else operation.drafted(temp)
    document = InstanceDocument(
        description=wanted.description,
        version=temp.version,
        external_edit=wanted.external_edit,
        origin=("", "") if origin is None else (origin.instance.instance_id, origin.table),
    )
    edits: list[Edit] = [Remove(path=instance_dir(temp.table, temp.version))]
    if origin is not None:
        edits.extend(_copied(vault, origin, temp, external_edit=wanted.external_edit))
        if wanted.external_edit:
            document = _with_frame_of(vault, document, origin.instance)
    elif not wanted.external_edit:
        name = index_builder(temp.table)
        texts = {name: template(temp.table, name), **texts}
    edits.extend(
        Put(path=builder_path(temp.table, temp.version, name), data=text.encode("utf-8"))
        for name, text in texts.items()
    )
    edits.append(Put(path=instance_document(temp.table, temp.version), data=document.encode()))
    kind = "external edit" if wanted.external_edit else counted(len(texts), "builder")
    source = "" if origin is None else f", from {origin.instance.instance_id}"
    message = operation_message(
        operation,
        f"{temp.table}/{temp.version}: create instance, {kind}{source}",
        [("Table", temp.table), ("Version", temp.version), ("Time", timestamp(at))],
    )
    return Change(
        message=message,
        branches=(
            BranchChange(
                temp=temp,
                tip=None if drafted is None else drafted.tip,
                onto=None if drafted is None else drafted.commit,
                edits=tuple(edits),
                message=message,
                fresh=True,
            ),
        ),
    )


def _find_origin(
    vault: Vault, snapshot: Snapshot, wanted: NewInstance, version: str
) -> _Origin | None:
    """Find the instance to start from: the one named, or the latest when ``copy``."""
    table = wanted.origin_table or wanted.table
    if wanted.origin_id:
        found = find_instance(vault, snapshot, table, wanted.origin_id)
        return _Origin(table=table, instance=found)
    if not wanted.copy:
        if wanted.origin_table:
            find_table(vault, snapshot, wanted.origin_table)
        return None
    for successful in (True, False):
        for label in (version, ""):
            latest = find_latest(vault, snapshot, table, label, successful_only=successful)
            if latest is not None:
                return _Origin(table=table, instance=latest)
    return None


def _copied(vault: Vault, origin: _Origin, temp: TempRef, *, external_edit: bool) -> list[Edit]:
    """Take over from the origin: its dataframe for an external edit, else its builders."""
    instance = origin.instance
    snapshot = Snapshot(vault.journal.repository, instance.commit)
    if external_edit:
        frame = snapshot.blob_id(frame_path(instance.table_name, instance.version))
        if frame is None:
            return []
        path = frame_path(temp.table, temp.version)
        return [Graft(path=path, source=frame, is_tree=False)]
    edits: list[Edit] = []
    for name, blob in snapshot.builders(instance.table_name, instance.version).items():
        own = index_builder(temp.table) if name == index_builder(instance.table_name) else name
        path = builder_path(temp.table, temp.version, own)
        edits.append(Graft(path=path, source=blob, is_tree=False))
    return edits


def _with_frame_of(
    vault: Vault, document: InstanceDocument, instance: IndexedInstance
) -> InstanceDocument:
    """Note the dtypes of the copied dataframe."""
    from dataclasses import replace

    origin = read.instance_document(vault, instance)
    return replace(document, dtypes=origin.dtypes, rows=origin.rows, digest=origin.digest)


def delete_instance(vault: Vault, instance_id: str, table: str, *, process_id: str) -> ProcessId:
    """Remove an instance, dataframe and artifacts for good; its description stays in history."""
    request = Request(
        operation="delete_instance",
        arguments={"instance_id": instance_id, "table_name": table},
    )
    return perform_delete(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_delete(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Remove the instance that is asked for."""
    table, instance_id = request.text("table_name"), request.text("instance_id")
    if is_temp_id(instance_id):
        return _delete_temp(vault, request, process_id)

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        find_instance(vault, snapshot, table, instance_id, withdrawn_too=True)
        return [instance_hold(table, instance_id, exclusive=True)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        found: list[IndexedInstance] = []

        def plan(snapshot: Snapshot, at: float) -> Change:
            found[:] = [find_instance(vault, snapshot, table, instance_id, withdrawn_too=True)]
            pairs = [
                ("Table", table),
                ("Version", found[0].version),
                ("Deletes", instance_id),
                ("Time", timestamp(at)),
            ]
            return Change(
                message=operation_message(
                    operation, f"{table}/{found[0].version}: delete {instance_id}", pairs
                ),
                main=tuple(_without(vault, snapshot, table, found[0])),
                untagged=(tag_ref(table, instance_id),),
            )

        operation.publish(plan)
        forget_objects(vault, operation, found)
    return operation.process_id


def _without(vault: Vault, snapshot: Snapshot, table: str, instance: IndexedInstance) -> list[Edit]:
    """Take an instance out of the tree, where the one before it of its version steps in."""
    edits: list[Edit] = []
    document = snapshot.table(table)
    if document.artifact_instance == instance.instance_id:
        from dataclasses import replace

        edits.append(Remove(path=artifacts_dir(table, instance.version, multiple=False)))
        document = replace(document, artifact_instance="")
        edits.append(Put(path=table_document(table), data=document.encode()))
    current = snapshot.instance(table, instance.version)
    if current is None or current.id != instance.instance_id:
        return edits
    edits.append(Remove(path=instance_dir(table, instance.version)))
    others = [
        other
        for other in vault.journal.index.instances(document.id, instance.version)
        if other.instance_id != instance.instance_id
    ]
    if others:
        before = Snapshot(vault.journal.repository, others[-1].commit)
        tree = before.tree_id(instance_dir(others[-1].table_name, instance.version))
        if tree is not None:
            edits.append(Graft(path=instance_dir(table, instance.version), source=tree))
    return edits


def _delete_temp(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Remove a temporary instance: its branch becomes a parent of a commit that changes nothing."""
    table, instance_id = request.text("table_name"), request.text("instance_id")

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        temp = find_temp_by_id(vault, snapshot, table, instance_id)
        return [temp_hold(table, temp.ref.version)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:

        def plan(snapshot: Snapshot, at: float) -> Change:
            temp = find_temp_by_id(vault, snapshot, table, instance_id)
            draft = operation.drafted(temp.ref)
            return Change(
                message=operation_message(
                    operation,
                    f"{table}/{temp.ref.version}: delete temporary instance",
                    [("Table", table), ("Version", temp.ref.version), ("Time", timestamp(at))],
                ),
                main=(),
                removed=(removed_branch(draft),),
            )

        operation.publish(plan)
    return operation.process_id
