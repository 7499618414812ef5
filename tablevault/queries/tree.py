"""What is in a vault, table or instance, as a tree of labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tablevault import render
from tablevault.errors import TVArgumentError
from tablevault.history.documents import InstanceDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import (
    CODE_DIR,
    FACES_DIR,
    TABLES_DIR,
    VAULT_DOCUMENT,
    artifacts_dir,
    is_temp_id,
    temp_of_ref,
)
from tablevault.queries import describe
from tablevault.queries.artifacts import shares_folder
from tablevault.queries.read import instance_document
from tablevault.queries.resolve import (
    Temp,
    find_instance,
    find_table,
    find_temp_by_id,
    temp_or_none,
)
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording

if TYPE_CHECKING:
    from rich.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A label and what is below it."""

    label: str
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Which kinds of files are shown."""

    code: bool = True
    builders: bool = True
    metadata: bool = False
    artifacts: bool = False


@dataclass(frozen=True, slots=True)
class _Reader:
    """One look at a vault."""

    vault: Vault
    snapshot: Snapshot
    shown: Shown

    def whole(self) -> Node:
        """Show the vault."""
        names = describe.table_instances(self.vault, "", "")
        children = [Node(label=f"{TABLES_DIR}/", children=tuple(map(self.table, sorted(names))))]
        if self.shown.code:
            modules = describe.code_modules(self.vault)
            leaves = tuple(Node(label=f"{name}.py") for name in modules)
            children.append(Node(label=f"{CODE_DIR}/", children=leaves))
        if self.shown.metadata:
            children.extend(
                Node(label=name) for name in (".gitattributes", ".gitignore", VAULT_DOCUMENT)
            )
        return Node(label=str(self.vault.path), children=tuple(children))

    def table(self, table: str) -> Node:
        """Show a table: its temporary instances last."""
        document = find_table(self.vault, self.snapshot, table)
        instances = self.vault.journal.index.instances(document.id)
        children = [self.instance(table, item) for item in instances]
        children.extend(self.temp(temp) for temp in self._temps(table))
        if self.shown.artifacts and not document.multiple_artifacts:
            children.append(
                self._artifacts(self.snapshot, artifacts_dir(table, "", multiple=False))
            )
        if self.shown.metadata:
            children.append(Node(label="table.yaml"))
        return Node(label=table, children=tuple(children))

    def instance(self, table: str, item: IndexedInstance) -> Node:
        """Show a materialised instance: columns, builders, artifacts."""
        commit = Snapshot(self.vault.journal.repository, item.commit)
        builders = commit.builders(item.table_name, item.version)
        children = self._content(instance_document(self.vault, item), sorted(builders))
        if self.shown.artifacts:
            shared = shares_folder(self.snapshot.table(table), item)
            folder = artifacts_dir(item.table_name, item.version, multiple=True)
            if not shared:
                children.append(self._artifacts(commit, folder))
        label = item.instance_id + ("" if item.active else " (inactive)")
        return Node(label=label, children=tuple(children))

    def temp(self, temp: Temp) -> Node:
        """Show a temporary instance."""
        builders = describe.temp_builders(self.vault, temp)
        children = self._content(temp.document, sorted(builders))
        if self.shown.artifacts:
            folder = self.vault.journal.faces.artifacts(temp.ref)
            names = sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
            children.append(_nested("artifacts/", names))
        label = f"{temp.ref.instance_id} ({FACES_DIR}/{temp.ref.table}/{temp.ref.version})"
        return Node(label=label, children=tuple(children))

    def _content(self, document: InstanceDocument, builders: list[str]) -> list[Node]:
        """Show columns with their dtypes, and builders."""
        children = [Node(label=f"{name}({dtype})") for name, dtype in document.dtypes.items()]
        if self.shown.builders and builders:
            leaves = tuple(Node(label=f"{name}.yaml") for name in builders)
            children.append(Node(label="builders/", children=leaves))
        if self.shown.metadata:
            children.append(Node(label="instance.yaml"))
            if document.dtypes:
                children.append(Node(label="dataframe.parquet"))
        return children

    def _artifacts(self, snapshot: Snapshot, folder: str) -> Node:
        """Show the artifacts in a tracked folder."""
        return _nested("artifacts/", [entry.name for entry in snapshot.files(folder)])

    def _temps(self, table: str) -> list[Temp]:
        """Find the temporary instances of a table, by version."""
        repository = self.vault.journal.repository
        refs = [temp_of_ref(ref) for ref in sorted(repository.temp_refs())]
        found = [
            temp_or_none(repository, ref) for ref in refs if ref is not None and ref.table == table
        ]
        return [temp for temp in found if temp is not None]


def file_tree(vault: Vault, instance_id: str, table: str, shown: Shown) -> Node:
    """Show the vault, one table, or one instance.

    Raises
    ------
    TVArgumentError
        There is no such table or instance, or an instance is named without its table.
    """
    reader = _Reader(vault, vault.snapshot(), shown)
    if not table:
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
    if not instance_id:
        return reader.table(table)
    if is_temp_id(instance_id):
        return reader.temp(find_temp_by_id(vault, reader.snapshot, table, instance_id))
    return reader.instance(table, find_instance(vault, reader.snapshot, table, instance_id))


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


def draw_file_tree(vault: Vault, instance_id: str, table: str, shown: Shown) -> Tree:
    """Draw what :func:`file_tree` finds."""
    return render.tree(file_tree(vault, instance_id, table, shown))
