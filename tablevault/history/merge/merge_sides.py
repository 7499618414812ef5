"""The sides of a merge: tables by their ids, and files outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pygit2
from pygit2.enums import FileMode

from tablevault.history.commits.documents import InstanceDocument, TableDocument, timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Edit, Graft, Put, Remove, write_object
from tablevault.names import (
    SHARED_ARTIFACTS,
    TABLES_DIR,
    artifacts_dir,
    builder_path,
    index_builder,
    instance_dir,
    table_dir,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideTable:
    """A table on one side."""

    side: Snapshot
    name: str
    document: TableDocument

    def tree(self, version: str) -> str | None:
        """Return the id of the folder of a version, or of the shared artifacts."""
        return self.side.tree_id(f"{table_dir(self.name)}/{version}")

    def folders(self) -> set[str]:
        """Name the folders of versions."""
        entries = self.side.entries(table_dir(self.name))
        return {
            entry.name for entry in entries if entry.is_folder and entry.name != SHARED_ARTIFACTS
        }

    def whole(self) -> str | None:
        """Return the id of the folder of the table."""
        return self.side.tree_id(table_dir(self.name))

    def made(self) -> dict[str, InstanceDocument]:
        """Return the instances that stand here, by version."""
        found = {version: self.side.instance(self.name, version) for version in self.folders()}
        return {version: document for version, document in found.items() if document is not None}


@dataclass(frozen=True, slots=True)
class SideFile:
    """A file outside of ``tables/``."""

    id: str
    mode: FileMode


def tables_of(side: Snapshot) -> dict[str, SideTable]:
    """Return the tables of a side by their ids."""
    found = {}
    for name in side.table_names():
        document = side.table(name)
        found[str(document.id)] = SideTable(side=side, name=name, document=document)
    return found


def made_at(table: SideTable, instance_id: str) -> tuple[str, str]:
    """Return when an instance was made that stands on a side; ordered the same on both sides."""
    for document in table.made().values():
        if document.id == instance_id:
            return document.materialized_at, instance_id
    # A later one without artifacts stands there; the id says when it was begun.
    begun = instance_id.split("_")[1:2]
    return (timestamp(float(begun[0])) if begun and begun[0].isdigit() else ""), instance_id


def moment_of(table: SideTable, version: str) -> tuple[str, str, str]:
    """Return when the instance of a version was made; no two different folders are equal."""
    document = table.side.instance(table.name, version)
    made = ("", "") if document is None else (document.materialized_at, document.id)
    return (*made, table.tree(version) or "")


def carried(side: SideTable, folder: str, name: str) -> Iterator[Edit]:
    """Take a folder of a table from one side; its index builder is called as the table is."""
    tree = side.tree(folder)
    assert tree is not None
    is_shared = folder == SHARED_ARTIFACTS
    target = artifacts_dir(name, "", multiple=False) if is_shared else instance_dir(name, folder)
    yield Graft(path=target, source=tree)
    if is_shared or side.name == name:
        return
    index = side.side.blob(builder_path(side.name, folder, index_builder(side.name)))
    if index is not None:
        yield Remove(path=builder_path(name, folder, index_builder(side.name)))
        yield Put(path=builder_path(name, folder, index_builder(name)), data=index)


def files_of(side: Snapshot) -> Iterator[tuple[str, SideFile]]:
    """List the files of a side outside of ``tables/``."""
    for entry in side.entries(""):
        if entry.name == TABLES_DIR:
            continue
        if not entry.is_folder:
            yield entry.name, SideFile(entry.id, _mode(entry.executable))
            continue
        for inner in side.files(entry.name):
            yield f"{entry.name}/{inner.name}", SideFile(inner.id, _mode(inner.executable))


def _mode(executable: bool) -> FileMode:
    """Return the mode of a file."""
    return FileMode.BLOB_EXECUTABLE if executable else FileMode.BLOB


def edit_of(path: str, file: SideFile | None) -> Edit:
    """Make a file what it is on the other side."""
    if file is None:
        return Remove(path=path)
    return Graft(
        path=path, source=file.id, is_tree=False, executable=file.mode == FileMode.BLOB_EXECUTABLE
    )


def merge_lines(
    side: Snapshot, base: SideFile | None, ours: SideFile, theirs: SideFile
) -> SideFile | None:
    """Merge the lines of one file as git does; None when they conflict, or are no lines.

    ``merge_file_from_index`` would give text, and fail where a file is no UTF-8 (pygit2 1.21).
    """
    handle = side.repository.handle
    trees = []
    for file in (base, ours, theirs):
        builder = handle.TreeBuilder()
        if file is not None:
            builder.insert("file", pygit2.Oid(hex=file.id), file.mode)
        trees.append(write_object(builder.write))
    ancestor, mine, yours = (str(tree) for tree in trees)
    index = handle.merge_trees(ancestor, mine, yours)
    if index.conflicts is not None:
        return None
    entry = index["file"]
    return SideFile(str(entry.id), FileMode(entry.mode))
