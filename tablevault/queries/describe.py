"""Descriptions, lists, texts and file trees of tables, instances, builders and code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tablevault import render
from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.documents import SPENT, InstanceDocument, TableDocument
from tablevault.history.commits.snapshot import Snapshot, decode_text
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import Table, VaultView
from tablevault.names import (
    CODE_DIR,
    TABLES_DIR,
    TEMP_DIR,
    VAULT_DOCUMENT,
    InstanceId,
    artifacts_dir,
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


def descriptions(vault: Vault, instance_id: str, table_name: str) -> Description:
    """Describe the vault, a table, or an instance; deleted ones, too."""
    view = vault.view()
    if instance_id:
        return _describe_instance(view, instance_id, table_name)
    if table_name:
        return _describe_table(view, table_name)
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
    (origin, table_of_origin), pairs = document.origin, document.dependencies
    rows = view.catalog.instances_with_ids(filter(None, (origin, *(each for _, each in pairs))))
    table_ids = {each.instance_id: each.table_id for each in rows}

    def today(table: str, instance: str) -> str:
        table_id = table_ids.get(InstanceId(instance))
        return table if table_id is None else view.name_today(table_id, table)

    fields: Description = {
        "summary": document.description,
        "origin": [origin, today(table_of_origin, origin)],
        "external_edit": document.external_edit,
    }
    if document.id:
        fields |= {
            "success": document.success,
            "author": document.author,
            "dependencies": [[today(table, instance), instance] for table, instance in pairs],
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


# -- builders and code --------------------------------------------------------------------------


def builders_list(
    vault: Vault, table_name: str, instance_id: str, version: str, *, is_temp: bool
) -> list[str]:
    """List the builders of an instance, sorted."""
    found = vault.view().table(table_name).find(instance_id, version, is_temp=is_temp)
    return sorted(found.builders())


def builder_text(
    vault: Vault,
    table_name: str,
    builder_name: str,
    instance_id: str,
    version: str,
    *,
    is_temp: bool,
) -> str:
    """Return the text of a builder."""
    found = vault.view().table(table_name).find(instance_id, version, is_temp=is_temp).builders()
    name = builder_name or index_builder(table_name)
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise TVFileError(
            f'There is no builder "{name}" in that instance of table "{table_name}".',
            f"Builders there: {known}.",
            builder=name,
            table=table_name,
        )
    return decode_text(found[name], f"{name}.yaml")


def code_modules(vault: Vault) -> list[str]:
    """List the code modules, sorted; those in the working tree when it shows ``main``."""
    return vault.view().code_modules()


def code_text(vault: Vault, module_name: str) -> str:
    """Return the text of a code module, as it is in the working tree when that shows ``main``."""
    name = module_name.removesuffix(".py")
    view = vault.view()
    known = view.code_modules()
    refuse_unknown_module(name, known)
    if vault.worktree.follows_main():
        return decode_text((vault.path / code_path(name)).read_bytes(), code_path(name))
    data = view.snapshot.blob(code_path(name))
    assert data is not None
    return decode_text(data, code_path(name))


def refuse_unknown_module(name: str, known: Sequence[str]) -> None:
    """Raise TVFileError for a code module that is not there."""
    if name not in known:
        raise TVFileError(
            f'There is no code module "{name}".',
            f"Modules in {CODE_DIR}/: {', '.join(known) or 'none'}.",
            module=name,
        )


# -- file trees ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A label and what is below it."""

    label: str
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Which kinds of files are shown."""

    code_files: bool = True
    builder_files: bool = True
    metadata_files: bool = False
    artifact_files: bool = False


@dataclass(frozen=True, slots=True)
class _TreeReader:
    """Makes the trees of one view."""

    vault: Vault
    view: VaultView
    shown: Shown

    def whole(self) -> Node:
        """Show the vault."""
        tables = tuple(map(self.table, self.view.tables()))
        children = [Node(label=f"{TABLES_DIR}/", children=tables)]
        if self.shown.code_files:
            leaves = tuple(Node(label=f"{name}.py") for name in self.view.code_modules())
            children.append(Node(label=f"{CODE_DIR}/", children=leaves))
        if self.shown.metadata_files:
            children.extend(
                Node(label=name) for name in (".gitattributes", ".gitignore", VAULT_DOCUMENT)
            )
        return Node(label=str(self.vault.path), children=tuple(children))

    def table(self, table: Table) -> Node:
        """Show a table: its temporary instances last."""
        children = [self.instance(table, each) for each in table.instances()]
        children.extend(map(self.temp, table.temps()))
        if self.shown.artifact_files and not table.document.multiple_artifacts:
            folder = artifacts_dir(table.name, "", multiple=False)
            children.append(self._artifacts(self.view.snapshot, folder))
        if self.shown.metadata_files:
            children.append(Node(label="table.yaml"))
        return Node(label=table.name, children=tuple(children))

    def instance(self, table: Table, item: Instance) -> Node:
        """Show a materialised instance: columns, builders, artifacts."""
        builders = item.snapshot.builders(item.table_name, item.version)
        children = self._content(item.document, sorted(builders))
        if self.shown.artifact_files and not item.shares_folder(table.document):
            folder = artifacts_dir(item.table_name, item.version, multiple=True)
            children.append(self._artifacts(item.snapshot, folder))
        label = item.instance_id + ("" if item.active else " (inactive)")
        return Node(label=label, children=tuple(children))

    def temp(self, temp: TempInstance) -> Node:
        """Show a temporary instance."""
        children = self._content(temp.document, sorted(temp.builders()))
        if self.shown.artifact_files:
            folder = temp.artifact_folder
            names = sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
            children.append(_nested("artifacts/", names))
        label = f"{temp.instance_id} ({TEMP_DIR}/{temp.ref.table}/{temp.ref.version})"
        return Node(label=label, children=tuple(children))

    def _content(self, document: InstanceDocument, builders: list[str]) -> list[Node]:
        """Show columns with their dtypes, and builders."""
        children = [Node(label=f"{name}({dtype})") for name, dtype in document.dtypes.items()]
        if self.shown.builder_files and builders:
            leaves = tuple(Node(label=f"{name}.yaml") for name in builders)
            children.append(Node(label="builders/", children=leaves))
        if self.shown.metadata_files:
            children.append(Node(label="instance.yaml"))
            if document.dtypes:
                children.append(Node(label="dataframe.parquet"))
        return children

    def _artifacts(self, snapshot: Snapshot, folder: str) -> Node:
        """Show the artifacts in a tracked folder."""
        return _nested("artifacts/", [entry.name for entry in snapshot.files(folder)])


def file_tree(vault: Vault, instance_id: str, table_name: str, shown: Shown) -> Node:
    """Show the vault, one table, or one instance.

    Raises
    ------
    TVArgumentError
        There is no such table or instance, or an instance is named without its table.
    """
    reader = _TreeReader(vault, vault.view(), shown)
    if not table_name:
        if instance_id:
            raise TVArgumentError(
                f'Instance "{instance_id}" is named without its table.',
                Wording(
                    "Name it: ",
                    Call("get_file_tree", instance_id=instance_id, table_name=BLANK),
                    ".",
                ),
            )
        return reader.whole()
    table = reader.view.table(table_name)
    if not instance_id:
        return reader.table(table)
    found = table.find(instance_id)
    return reader.temp(found) if isinstance(found, TempInstance) else reader.instance(table, found)


def _nested(label: str, names: list[str]) -> Node:
    """Turn relative paths into a tree."""
    root: dict[str, dict[str, object]] = {}
    for name in names:
        inner: dict[str, object] = root  # type: ignore[assignment]  # folders all the way down
        for part in name.split("/"):
            inner = inner.setdefault(part, {})  # type: ignore[assignment]  # as above
    return _folder(label, root)


def _folder(label: str, content: object) -> Node:
    """Show a nested mapping."""
    assert isinstance(content, dict)
    children = [
        replace(_folder(name, inner), label=f"{name}/" if inner else name)
        for name, inner in sorted(content.items())
    ]
    return Node(label=label, children=tuple(children))
