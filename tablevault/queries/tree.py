"""What is in a vault, table or instance, as a tree of labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tablevault import render
from tablevault.errors import TVArgumentError
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.model.instance import Instance
from tablevault.model.temp import TempInstance
from tablevault.model.view import Table, VaultView
from tablevault.names import CODE_DIR, FACES_DIR, TABLES_DIR, VAULT_DOCUMENT, artifacts_dir
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
    """Makes the trees of one view."""

    vault: Vault
    view: VaultView
    shown: Shown

    def whole(self) -> Node:
        """Show the vault."""
        tables = tuple(map(self.table, self.view.tables()))
        children = [Node(label=f"{TABLES_DIR}/", children=tables)]
        if self.shown.code:
            leaves = tuple(Node(label=f"{name}.py") for name in self.view.code_modules())
            children.append(Node(label=f"{CODE_DIR}/", children=leaves))
        if self.shown.metadata:
            children.extend(
                Node(label=name) for name in (".gitattributes", ".gitignore", VAULT_DOCUMENT)
            )
        return Node(label=str(self.vault.path), children=tuple(children))

    def table(self, table: Table) -> Node:
        """Show a table: its temporary instances last."""
        children = [self.instance(table, each) for each in table.instances()]
        children.extend(map(self.temp, table.temps()))
        if self.shown.artifacts and not table.document.multiple_artifacts:
            folder = artifacts_dir(table.name, "", multiple=False)
            children.append(self._artifacts(self.view.snapshot, folder))
        if self.shown.metadata:
            children.append(Node(label="table.yaml"))
        return Node(label=table.name, children=tuple(children))

    def instance(self, table: Table, item: Instance) -> Node:
        """Show a materialised instance: columns, builders, artifacts."""
        builders = item.snapshot.builders(item.table_name, item.version)
        children = self._content(item.document, sorted(builders))
        if self.shown.artifacts and not item.shares_folder(table.document):
            folder = artifacts_dir(item.table_name, item.version, multiple=True)
            children.append(self._artifacts(item.snapshot, folder))
        label = item.instance_id + ("" if item.active else " (inactive)")
        return Node(label=label, children=tuple(children))

    def temp(self, temp: TempInstance) -> Node:
        """Show a temporary instance."""
        children = self._content(temp.document, sorted(temp.builders()))
        if self.shown.artifacts:
            folder = temp.artifact_folder
            names = sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
            children.append(_nested("artifacts/", names))
        label = f"{temp.instance_id} ({FACES_DIR}/{temp.ref.table}/{temp.ref.version})"
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


def file_tree(vault: Vault, instance_id: str, table_name: str, shown: Shown) -> Node:
    """Show the vault, one table, or one instance.

    Raises
    ------
    TVArgumentError
        There is no such table or instance, or an instance is named without its table.
    """
    reader = _Reader(vault, vault.view(), shown)
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


def draw_file_tree(vault: Vault, instance_id: str, table: str, shown: Shown) -> Tree:
    """Draw what :func:`file_tree` finds."""
    return render.tree(file_tree(vault, instance_id, table, shown))
