"""Descriptions, lists and texts: tables, instances, builders, code modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tablevault import render
from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.documents import SPENT, InstanceDocument, TableDocument
from tablevault.history.commits.snapshot import Snapshot, decode_text
from tablevault.model.view import Table, VaultView
from tablevault.names import (
    CODE_DIR,
    TableId,
    builder_path,
    check_version,
    code_path,
    index_builder,
    is_temp_id,
    version_of,
)
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording

Description = dict[str, object]
_MOST_SHOWN = 5
_COLUMNS = ("table", "instance", "version", "made", "state")


def table_instances(
    vault: Vault, table_name: str, version: str, *, include_temp: bool = False
) -> list[str]:
    """List tables (no `table_name`) or the ids of instances, oldest first."""
    view = vault.view()
    if not table_name:
        return _tables(view)
    table = view.table(table_name)
    wanted = check_version(version) if version else ""
    rows = view.catalog.instances(table.id, wanted)
    found: list[str] = [each.instance_id for each in rows]
    temps = table.temps() if include_temp else ()
    return found + sorted(each.instance_id for each in temps if wanted in ("", each.ref.version))


def _tables(view: VaultView) -> list[str]:
    """List the tables in the order of their creation."""
    created = view.catalog.created_order()
    tables = [(created.get(table_id, ""), name) for table_id, name in view.table_names.items()]
    return [name for _, name in sorted(tables)]


# -- how a vault shows itself ---------------------------------------------------------------------


def vault_text(vault: Vault) -> str:
    """Name the vault in a line, whether or not it still is there."""
    return f"TableVault({str(vault.path)!r}, {vault.author!r})"


def vault_html(vault: Vault) -> str:
    """Show tables and their latest instances in a notebook; their texts are escaped."""
    rows = [row for table in vault.view().tables() for row in _latest_rows(table)]
    return render.table_html(str(vault.path), _COLUMNS, rows)


def _latest_rows(table: Table) -> Iterator[tuple[str, ...]]:
    """Yield a row for each of the latest instances of a table, the newest first."""
    instances = table.instances()[::-1]
    if not instances:
        yield table.name, "no instance", "", "", ""
    for number, each in enumerate(instances[:_MOST_SHOWN]):
        state = "active" if each.active else "inactive"
        state += "" if each.success else ", partial"
        state += f", {render.counted(each.errors, 'error')}" if each.errors else ""
        made = each.materialized_at[:19].replace("T", " ")
        yield "" if number else table.name, each.instance_id, each.version, made, state
    if len(instances) > _MOST_SHOWN:
        yield "", f"and {len(instances) - _MOST_SHOWN:,} earlier", "", "", ""


# -- descriptions ---------------------------------------------------------------------------------


def descriptions(vault: Vault, instance_id: str, table: str) -> Description:
    """Describe the vault, a table, or an instance; deleted ones, too."""
    view = vault.view()
    if instance_id:
        return _describe_instance(view, instance_id, table)
    if table:
        return _describe_table(view, table)
    document = view.snapshot.vault()
    return {
        "summary": document.description,
        "id": document.id,
        "format": document.format,
        "created_by": document.created_by,
        "created_at": document.created_at,
    }


def _describe_table(view: VaultView, table: str) -> Description:
    """Describe a table; one that was deleted when no other carries its name now."""
    table_id = None if view.snapshot.has_table(table) else view.catalog.table_of_deleted(table)
    gone = None if table_id is None else view.catalog.table_deletion(table_id)
    if gone is None:
        return _table_fields(view.table(table).document)
    commit, at, author = gone
    document = view.before(commit).table(table)
    return {**_table_fields(document), "deleted_at": at, "deleted_by": author}


def _table_fields(document: TableDocument) -> Description:
    """Return a table document under the names of the API."""
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


def _describe_instance(view: VaultView, instance_id: str, table: str) -> Description:
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
        return _instance_fields(view, view.table(table).temp(version_of(instance_id)).document)
    found = view.instance(instance_id)
    if found is None:
        if table:
            view.table(table).instance(instance_id)
        raise TVArgumentError(
            f'No table has an instance "{instance_id}".',
            Wording("List them: ", Call("get_table_instances", table_name=BLANK), "."),
            instance=instance_id,
        )
    fields = {**_instance_fields(view, found.document), "active": found.active}
    if found.deleted_at:
        fields |= {"deleted_at": found.deleted_at, "deleted_by": found.deleted_by}
    return fields


def _instance_fields(view: VaultView, document: InstanceDocument) -> Description:
    """Return an instance document under the names of the API."""
    origin, table_of_origin = document.origin
    pairs = [(table, instance) for table, instance in document.dependencies]
    today = _names_today(view, [(table_of_origin, origin), *pairs])
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


def _names_today(view: VaultView, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return, by instance id, the name that its table has now, where that is another.

    What is recorded is the name of that day; after a rename it leads nowhere. Of a table that was
    deleted the recorded name is all there is.
    """
    found: dict[str, TableId] = {
        each.instance_id: each.table_id
        for each in view.catalog.instances_with_ids(instance for _, instance in pairs if instance)
    }
    moved = {
        instance: found[instance]
        for table, instance in pairs
        if instance in found and not view.is_table(table, found[instance])
    }
    names = view.table_names if moved else {}
    return {instance: names[table] for instance, table in moved.items() if table in names}


# -- builders and code --------------------------------------------------------------------------


def builders_list(
    vault: Vault, table: str, instance_id: str, version: str, *, is_temp: bool
) -> list[str]:
    """List the builders of an instance, sorted."""
    found = vault.view().table(table).find(instance_id, version, is_temp=is_temp)
    return sorted(found.builders())


def builder_text(
    vault: Vault, table: str, builder: str, place: tuple[str, str], *, is_temp: bool
) -> str:
    """Return the text of a builder; `place` is instance id and version."""
    found = vault.view().table(table).find(*place, is_temp=is_temp).builders()
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


def tracked_builders(snapshot: Snapshot, table: str, version: str) -> dict[str, bytes]:
    """Read the builders of the instance that a commit has of a version."""
    found = {}
    for name in snapshot.builders(table, version):
        data = snapshot.blob(builder_path(table, version, name))
        assert data is not None
        found[name] = data
    return found


def code_modules(vault: Vault) -> list[str]:
    """List the code modules, sorted; those in the working tree when it shows ``main``."""
    return vault.view().code_modules()


def code_text(vault: Vault, module: str) -> str:
    """Return the text of a code module, as it is in the working tree when that shows ``main``."""
    name = module.removesuffix(".py")
    view = vault.view()
    known = view.code_modules()
    if name not in known:
        raise TVFileError(
            f'There is no code module "{module}".',
            f"Modules in {CODE_DIR}/: {', '.join(known) or 'none'}.",
            module=module,
        )
    if vault.worktree.follows_main():
        return decode_text((vault.path / code_path(name)).read_bytes(), code_path(name))
    data = view.snapshot.blob(code_path(name))
    assert data is not None
    return decode_text(data, code_path(name))
