"""Builder files of temporary instances: create and delete."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.change import BranchChange, Change
from tablevault.history.documents import timestamp
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit, Put, Remove
from tablevault.journal.admission import admit
from tablevault.journal.beginning import refusing, taken_up
from tablevault.journal.locks import temp_hold
from tablevault.journal.operation import Operation, running
from tablevault.journal.record import Hold, Request
from tablevault.names import ProcessId, builder_path, check_builder_name
from tablevault.operations.builder_sources import TextSources, builder_texts, by_file
from tablevault.operations.messages import operation_message
from tablevault.queries.resolve import Temp, find_temp
from tablevault.secrets import IN_BUILDER
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Parameter, Wording


def create_builder_file(
    vault: Vault,
    table: str,
    builder: str,
    version: str,
    *,
    sources: TextSources,
    process_id: str,
) -> ProcessId:
    """Write builders into a temporary instance."""
    with refusing(
        vault.journal,
        vault.actor(process_id),
        "create_builder_file",
        table_name=table,
        version=version,
    ):
        request = Request(
            operation="create_builder_file",
            arguments={
                "table_name": table,
                "builder_name": builder,
                "version": version,
                "copy_dir": sources.copy_dir,
                "text": sources.text,
                "allow_secret": sources.allow_secret,
            },
        )
        return perform_create(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_create(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Write the builders that are asked for."""
    table, version = request.text("table_name"), request.text("version")
    # Looked up before the texts, so that a wrong table is what the user hears of first.
    _find_with_builders(vault, vault.snapshot(), table, version)
    copy_dir = request.text("copy_dir")
    texts = builder_texts(table, request.text("builder_name"), copy_dir, request.text("text"))
    admitted = admit(request, by_file(texts, copy_dir, ".yaml"), IN_BUILDER)

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        temp = _find_with_builders(vault, snapshot, table, version)
        return [temp_hold(table, temp.ref.version)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        operation.admit(admitted)

        def plan(snapshot: Snapshot, at: float) -> Change:
            temp = _find_with_builders(vault, snapshot, table, version)
            edits = [
                Put(path=builder_path(table, temp.ref.version, name), data=body.encode("utf-8"))
                for name, body in texts.items()
            ]
            return _on_branch(operation, temp, f"write {', '.join(texts)}", edits, at)

        operation.publish(plan)
    return operation.process_id


def delete_builder_file(
    vault: Vault, builder: str, table: str, version: str, *, process_id: str
) -> ProcessId:
    """Remove a builder from a temporary instance."""
    request = Request(
        operation="delete_builder_file",
        arguments={"builder_name": builder, "table_name": table, "version": version},
    )
    return perform_delete(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_delete(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Remove the builder that is asked for."""
    builder, table = request.text("builder_name"), request.text("table_name")
    version = request.text("version")

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        temp = _find_with_builders(vault, snapshot, table, version)
        check_builder_name(builder)
        if builder not in _names(vault, temp):
            raise TVFileError(
                f'There is no builder "{builder}" in {temp.ref.instance_id} of table "{table}".',
                f"Builders there: {', '.join(_names(vault, temp)) or 'none'}.",
                builder=builder,
                table=table,
            )
        return [temp_hold(table, temp.ref.version)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:

        def plan(snapshot: Snapshot, at: float) -> Change:
            temp = _find_with_builders(vault, snapshot, table, version)
            edits = [Remove(path=builder_path(table, temp.ref.version, builder))]
            return _on_branch(operation, temp, f"delete {builder}", edits, at)

        operation.publish(plan)
    return operation.process_id


def _find_with_builders(vault: Vault, snapshot: Snapshot, table: str, version: str) -> Temp:
    """Find a temporary instance that may have builders."""
    temp = find_temp(vault, snapshot, table, version)
    if temp.document.external_edit:
        raise TVArgumentError(
            f'{temp.ref.instance_id} of table "{table}" is an external edit and has no builders.',
            Wording(
                "Fill it: ",
                Call("write_instance", table_df=BLANK, table_name=table, version=temp.ref.version),
                ". Or delete it, and create it without ",
                Parameter("create_instance", "external_edit"),
                ".",
            ),
            table=table,
            version=temp.ref.version,
        )
    return temp


def _names(vault: Vault, temp: Temp) -> list[str]:
    """Name the builders, those made by hand included."""
    tracked = Snapshot(vault.journal.repository, temp.tip).builders(
        temp.ref.table, temp.ref.version
    )
    return sorted(tracked.keys() | set(vault.journal.faces.builder_names(temp.ref)))


def _on_branch(
    operation: Operation, temp: Temp, what: str, edits: Sequence[Edit], at: float
) -> Change:
    """Commit edits to the branch of a temporary instance, on top of what was edited by hand."""
    draft = operation.drafted(temp.ref)
    message = operation_message(
        operation,
        f"{temp.ref.table}/{temp.ref.version}: {what}",
        [("Table", temp.ref.table), ("Version", temp.ref.version), ("Time", timestamp(at))],
    )
    return Change(
        message=message,
        branches=(
            BranchChange(
                temp=temp.ref,
                tip=draft.tip,
                onto=draft.commit,
                edits=tuple(edits),
                message=message,
            ),
        ),
    )
