"""Descriptions, lists and texts: tables, instances, builders, code modules."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.documents import SPENT, InstanceDocument, TableDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot, decode_text
from tablevault.names import (
    CODE_DIR,
    TableId,
    builder_path,
    check_version,
    code_path,
    index_builder,
    is_temp_id,
    temp_of_ref,
)
from tablevault.queries.read import instance_document
from tablevault.queries.resolve import (
    Temp,
    find_instance,
    find_table,
    find_temp,
    find_temp_by_id,
    latest_or_error,
)
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording

Description = dict[str, object]


def table_instances(
    vault: Vault, table: str, version: str, *, include_temp: bool = False
) -> list[str]:
    """List tables (no `table`) or the ids of instances, oldest first."""
    snapshot = vault.snapshot()
    if not table:
        return _tables(vault, snapshot)
    document = find_table(vault, snapshot, table)
    wanted = check_version(version) if version else ""
    found: list[str] = [
        instance.instance_id for instance in vault.journal.index.instances(document.id, wanted)
    ]
    if include_temp:
        temps = [temp_of_ref(ref) for ref in vault.journal.repository.temp_refs()]
        found.extend(
            sorted(
                temp.instance_id
                for temp in temps
                if temp is not None and temp.table == table and wanted in ("", temp.version)
            )
        )
    return found


def _tables(vault: Vault, snapshot: Snapshot) -> list[str]:
    """List the tables in the order of their creation."""
    created = vault.journal.index.created_order()
    return sorted(
        snapshot.table_names(),
        key=lambda name: (created.get(snapshot.table(name).id, ""), name),
    )


def descriptions(vault: Vault, instance_id: str, table: str) -> Description:
    """Describe the vault, a table, or an instance; deleted ones, too."""
    snapshot = vault.snapshot()
    if instance_id:
        return _describe_instance(vault, snapshot, instance_id, table)
    if table:
        return _describe_table(vault, snapshot, table)
    document = snapshot.vault()
    return {
        "summary": document.description,
        "id": document.id,
        "format": document.format,
        "created_by": document.created_by,
        "created_at": document.created_at,
    }


def _describe_table(vault: Vault, snapshot: Snapshot, table: str) -> Description:
    """Describe a table; one that was deleted when no other carries its name now."""
    if snapshot.has_table(table):
        return _table_fields(snapshot.table(table))
    table_id = vault.journal.index.table_of_deleted(table)
    gone = None if table_id is None else vault.journal.index.table_deletion(table_id)
    if gone is None:
        find_table(vault, snapshot, table)
        raise AssertionError("a table that is not there raises")
    commit, at, author = gone
    repository = vault.journal.repository
    before = Snapshot(repository, repository.commit(commit).parents[0])
    return {**_table_fields(before.table(table)), "deleted_at": at, "deleted_by": author}


def _table_fields(document: TableDocument) -> Description:
    """Spell a table document under the names of the API."""
    fields: Description = {
        "summary": document.description,
        "multiple_artifacts": document.multiple_artifacts,
        "side_effects": document.side_effects,
        "created_by": document.created_by,
        "created_at": document.created_at,
    }
    if document.artifact_instance:
        fields["artifact_instance"] = document.artifact_instance
    return fields


def _describe_instance(
    vault: Vault, snapshot: Snapshot, instance_id: str, table: str
) -> Description:
    """Describe an instance; a permanent id is found in whatever table it is."""
    if is_temp_id(instance_id):
        if not table:
            raise TVArgumentError(
                f'"{instance_id}" may be in any table.',
                Wording(
                    "Name its table: ",
                    Call("get_descriptions", instance_id=instance_id, table_name=BLANK),
                    ".",
                ),
                instance=instance_id,
            )
        temp = find_temp_by_id(vault, snapshot, table, instance_id)
        return _instance_fields(vault, snapshot, temp.document)
    found = vault.journal.index.instance(instance_id)
    if found is None:
        if table:
            find_instance(vault, snapshot, table, instance_id)
        raise TVArgumentError(
            f'No table has an instance "{instance_id}".',
            Wording("List them: ", Call("get_table_instances", table_name=BLANK), "."),
            instance=instance_id,
        )
    fields = _instance_fields(vault, snapshot, instance_document(vault, found))
    return {**fields, **_standing(found)}


def _standing(found: IndexedInstance) -> Description:
    """Say what became of an instance after it was made."""
    fields: Description = {"active": found.active}
    if found.deleted_at:
        fields |= {"deleted_at": found.deleted_at, "deleted_by": found.deleted_by}
    return fields


def _instance_fields(vault: Vault, snapshot: Snapshot, document: InstanceDocument) -> Description:
    """Spell an instance document under the names of the API."""
    origin, table_of_origin = document.origin
    pairs = [(table, instance) for table, instance in document.dependencies]
    today = _names_today(vault, snapshot, [(table_of_origin, origin), *pairs])
    fields: Description = {
        "summary": document.description,
        "origin": [origin, today.get(origin, table_of_origin)],
        "external_edit": document.external_edit,
    }
    if document.id:
        fields |= {
            "success": document.success,
            "author": document.author,
            "dependencies": [[today.get(instance, table), instance] for table, instance in pairs],
            "process": document.process,
            "started_at": document.started_at,
            "materialized_at": document.materialized_at,
            "rows": document.rows,
            "dtypes": dict(document.dtypes),
            "primary_key": list(document.primary_key),
        }
    if document.execution:
        fields["execution"] = {
            name: {"computed": run.computed, "reused": run.reused, "reason": run.reason}
            for name, run in document.execution.items()
        }
        fields["calls"] = {
            name: {key: value for key in SPENT if (value := getattr(run, key)) is not None}
            for name, run in document.execution.items()
            if run.calls is not None
        }
    return fields


def _names_today(
    vault: Vault, snapshot: Snapshot, pairs: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Give, by instance id, the name that its table has now, where that is another.

    What is recorded is the name of that day; after a rename it leads nowhere. Of a table that was
    deleted the recorded name is all there is.
    """
    found: dict[str, TableId] = {
        each.instance_id: each.table_id
        for each in vault.journal.index.instances_with_ids(
            instance for _, instance in pairs if instance
        )
    }
    moved = {
        instance: found[instance]
        for table, instance in pairs
        if instance in found
        and not (snapshot.has_table(table) and snapshot.table(table).id == found[instance])
    }
    if not moved:
        return {}
    names = {snapshot.table(name).id: name for name in snapshot.table_names()}
    return {instance: names[table] for instance, table in moved.items() if table in names}


# -- builders and code --------------------------------------------------------------------------


def builders_list(
    vault: Vault, table: str, instance_id: str, version: str, *, is_temp: bool
) -> list[str]:
    """List the builders of an instance, sorted."""
    return sorted(_builders(vault, table, instance_id, version, is_temp=is_temp))


def builder_text(
    vault: Vault, table: str, builder: str, place: tuple[str, str], *, is_temp: bool
) -> str:
    """Give the text of a builder; `place` is instance id and version."""
    found = _builders(vault, table, *place, is_temp=is_temp)
    name = builder or index_builder(table)
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise TVFileError(
            f'There is no builder "{name}" in that instance of table "{table}".',
            f"Builders there: {known}.",
            builder=name,
            table=table,
        )
    return decode_text(found[name], f"{name}.yaml")


def _builders(
    vault: Vault, table: str, instance_id: str, version: str, *, is_temp: bool
) -> dict[str, bytes]:
    """Give the builder files of an instance, by name; of a temporary one as they lie there."""
    snapshot = vault.snapshot()
    if is_temp_id(instance_id) or (is_temp and not instance_id):
        temp = (
            find_temp_by_id(vault, snapshot, table, instance_id)
            if instance_id
            else find_temp(vault, snapshot, table, version)
        )
        return temp_builders(vault, temp)
    if instance_id:
        found = find_instance(vault, snapshot, table, instance_id)
    else:
        found = latest_or_error(vault, snapshot, table, version)
    commit = Snapshot(vault.journal.repository, found.commit)
    return tracked_builders(commit, found.table_name, found.version)


def temp_builders(vault: Vault, temp: Temp) -> dict[str, bytes]:
    """Read the builders of a temporary instance: those of its branch, with edits in its folder.

    The folder follows when the next operation begins, or the vault is opened; a commit that
    somebody else has made on the branch counts at once.
    """
    faces = vault.journal.faces
    if not faces.is_behind(temp.ref, temp.tip):
        return faces.builders(temp.ref)
    branch = Snapshot(vault.journal.repository, temp.tip)
    found = tracked_builders(branch, temp.ref.table, temp.ref.version)
    edited = faces.edited(temp.ref, temp.tip)
    found.update({name: data for name, data in edited.items() if data is not None})
    return {name: found[name] for name in sorted(found) if edited.get(name, b"") is not None}


def tracked_builders(snapshot: Snapshot, table: str, version: str) -> dict[str, bytes]:
    """Read the builders that stand in a commit."""
    found = {}
    for name in snapshot.builders(table, version):
        data = snapshot.blob(builder_path(table, version, name))
        assert data is not None
        found[name] = data
    return found


def code_modules(vault: Vault) -> list[str]:
    """List the code modules, sorted; those in the working tree when it shows ``main``."""
    worktree = vault.journal.worktree
    if worktree.follows_main():
        return sorted(worktree.code.on_disk())
    return sorted(vault.snapshot().code_modules())


def code_text(vault: Vault, module: str) -> str:
    """Give the text of a code module, as it lies in the working tree when that shows ``main``."""
    name = module.removesuffix(".py")
    if name not in code_modules(vault):
        known = ", ".join(code_modules(vault)) or "none"
        raise TVFileError(
            f'There is no code module "{module}".',
            f"Modules in {CODE_DIR}/: {known}.",
            module=module,
        )
    if vault.journal.worktree.follows_main():
        return decode_text((vault.path / code_path(name)).read_bytes(), code_path(name))
    data = vault.snapshot().blob(code_path(name))
    assert data is not None
    return decode_text(data, code_path(name))
