"""Merge tables, which are matched by their ids: whole instances, and settings field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tablevault.history.commits.documents import InstanceDocument, TableDocument, timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.history.merge.merge_result import MergeResult, Side, ThreeWay
from tablevault.names import (
    SHARED_ARTIFACTS,
    InstanceId,
    TableId,
    artifacts_dir,
    builder_path,
    index_builder,
    instance_dir,
    table_dir,
    table_document,
)
from tablevault.wording import BLANK, Call, Wording


def merge_tables(commits: ThreeWay, result: MergeResult) -> None:
    """Merge what is below ``tables/``: a table renamed on one side and changed on the other, too.

    The folder of a version is taken whole, from the side that has the later instance.
    """
    bases = {} if commits.base is None else _tables(commits.base)
    ours, theirs = _tables(commits.ours), _tables(commits.theirs)
    taken: dict[str, TableId] = {}
    for table_id in sorted({*ours, *theirs}):
        base, our, their = (tables.get(table_id) for tables in (bases, ours, theirs))
        if our is not None and their is not None:
            name = _TableMerge(commits, result, base, our, their).run()
        else:
            name = _merge_missing(commits, result, base, our, their)
        if name and taken.setdefault(name, table_id) != table_id:
            result.conflict(
                table_dir(name),
                f'two tables are called "{name}", one on each side',
                Wording(
                    "Give yours another name, and pull again: ",
                    Call("rename_table", new_table_name=BLANK, table_name=name),
                    ".",
                ),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTable:
    """A table as one commit has it."""

    snapshot: Snapshot
    name: str
    document: TableDocument

    def tree_id(self, folder: str = "") -> str | None:
        """Return the git id of a folder of the table, by default its own; None without it."""
        return self.snapshot.tree_id(f"{table_dir(self.name)}/{folder}".rstrip("/"))

    def versions(self) -> set[str]:
        """Return the names of the folders of versions, with or without an instance."""
        entries = self.snapshot.entries(table_dir(self.name))
        return {
            entry.name for entry in entries if entry.is_folder and entry.name != SHARED_ARTIFACTS
        }

    def instance(self, version: str) -> InstanceDocument | None:
        """Read the document of the instance of a version."""
        return self.snapshot.instance(self.name, version)

    def instances(self) -> dict[str, InstanceDocument]:
        """Return the instances by their ids."""
        found = (self.instance(version) for version in sorted(self.versions()))
        return {document.id: document for document in found if document is not None}

    def time_of(self, version: str) -> tuple[str, str, str]:
        """Return a value that orders folders of a version, the same on both sides.

        Time and id of the instance come first; no two different folders are equal.
        """
        document = self.instance(version)
        made = ("", "") if document is None else (document.materialized_at, document.id)
        return (*made, self.tree_id(version) or "")

    def time_of_owner(self) -> tuple[str, str]:
        """Return time and id of the instance that owns the shared artifacts."""
        instance_id = self.document.artifact_instance
        document = self.instances().get(instance_id)
        if document is not None:
            return document.materialized_at, instance_id
        # A later instance without artifacts replaced it; the id says when it was begun.
        begun = instance_id.split("_")[1:2]
        return (timestamp(float(begun[0])) if begun and begun[0].isdigit() else ""), instance_id

    def edits_to_take(self, folder: str, name: str) -> Iterator[Edit]:
        """Return the edits that take a folder over to a table called `name`.

        The index builder is called as the table is.
        """
        tree = self.tree_id(folder)
        assert tree is not None
        is_shared = folder == SHARED_ARTIFACTS
        path = artifacts_dir(name, "", multiple=False) if is_shared else instance_dir(name, folder)
        yield Graft(path=path, source=tree)
        if is_shared or self.name == name:
            return
        index = self.snapshot.blob(builder_path(self.name, folder, index_builder(self.name)))
        if index is not None:
            yield Remove(path=builder_path(name, folder, index_builder(self.name)))
            yield Put(path=builder_path(name, folder, index_builder(name)), data=index)


def _tables(snapshot: Snapshot) -> dict[TableId, SnapshotTable]:
    """Return the tables of a commit by their ids."""
    found = (
        SnapshotTable(snapshot=snapshot, name=name, document=snapshot.table(name))
        for name in snapshot.table_names()
    )
    return {table.document.id: table for table in found}


def _merge_missing(
    commits: ThreeWay,
    result: MergeResult,
    base: SnapshotTable | None,
    ours: SnapshotTable | None,
    theirs: SnapshotTable | None,
) -> str:
    """Keep a table that one side has created, drop one that the other has deleted; "" if dropped.

    What one side deleted and the other one has new instances of is a conflict.
    """
    table = ours or theirs
    assert table is not None
    if base is not None:
        if base.tree_id() != table.tree_id() and not table.instances().keys() <= (
            base.instances().keys()
        ):
            _refuse_deletion(result, base, table, "ours" if ours is None else "theirs")
        is_deleted = True
    else:
        # Not new if an earlier merge has deleted it.
        catalog = commits.catalog
        is_deleted = catalog is not None and catalog.end_of(table.document.id) is not None
    if is_deleted:
        if table is ours:
            result.deleted.append(table.name)
            result.remove_table(table.name)
        return ""
    if table is theirs:
        tree = table.tree_id()
        assert tree is not None
        result.edits.append(Graft(path=table_dir(table.name), source=tree))
    return table.name


def _refuse_deletion(
    result: MergeResult, base: SnapshotTable, table: SnapshotTable, deleted_by: Side
) -> None:
    """Record a conflict for a deleted table with new instances, unless it is resolved."""
    # By the name that both knew: two tables may have got one name since.
    path = table_dir(base.name)
    if result.resolve(path) == deleted_by:
        return
    here, there = ("deleted", "changed") if deleted_by == "ours" else ("changed", "deleted")
    called = "" if table.name == base.name else f', where it is "{table.name}" now'
    result.conflict(
        path,
        f"it was {here} here and {there} there{called}",
        Wording(
            "A deletion cannot be taken back: ",
            Call("pull", resolve={path: deleted_by}),
            " accepts it. Save what you need of the table before.",
        ),
    )


class _TableMerge:
    """The merge of a table that both sides have."""

    def __init__(
        self,
        commits: ThreeWay,
        result: MergeResult,
        base: SnapshotTable | None,
        ours: SnapshotTable,
        theirs: SnapshotTable,
    ) -> None:
        self._catalog = commits.catalog
        self._result = result
        self._base = base
        self._ours = ours
        self._theirs = theirs

    def run(self) -> str:
        """Merge the table; return its name."""
        base, ours, theirs = self._base, self._ours, self._theirs
        name = self._result.merge_field(
            table_dir(ours.name),
            "name",
            None if base is None else base.name,
            ours.name,
            theirs.name,
        )
        if ours.tree_id() == theirs.tree_id() and name == ours.name == theirs.name:
            return name
        if name != ours.name:
            self._result.renamed[ours.name] = name
        owner = self._choose_owner()
        if ours.document.side_effects:
            self._deactivate_all_but_latest()
        folders = {
            version: self._choose_instance(version)
            for version in sorted(ours.versions() | theirs.versions())
        }
        if owner is not None and owner.tree_id(SHARED_ARTIFACTS):
            folders[SHARED_ARTIFACTS] = owner
        document = self._merge_document(owner)
        self._result.remove_table(ours.name)
        self._result.edits.append(Put(path=table_document(name), data=document.encode()))
        for folder, source in folders.items():
            if source is not None:
                self._result.edits.extend(source.edits_to_take(folder, name))
        return name

    def _merge_document(self, owner: SnapshotTable | None) -> TableDocument:
        """Merge ``table.yaml``; what is fixed when a table is created is the same on both sides."""
        base, ours = self._base, self._ours.document
        description = self._result.merge_field(
            table_document(self._ours.name),
            "description",
            None if base is None else base.document.description,
            ours.description,
            self._theirs.document.description,
        )
        owning = "" if owner is None else owner.document.artifact_instance
        return replace(ours, description=description, artifact_instance=owning)

    def _choose_owner(self) -> SnapshotTable | None:
        """Return the side whose instance owns the shared artifacts: if both are new, the later."""
        base, ours, theirs = self._base, self._ours, self._theirs
        before = "" if base is None else base.document.artifact_instance
        mine, yours = ours.document.artifact_instance, theirs.document.artifact_instance
        if yours in (before, mine):
            owner = ours
        elif mine == before:
            owner = theirs
        else:
            owner = ours if ours.time_of_owner() >= theirs.time_of_owner() else theirs
            other = mine if owner is theirs else yours
            if other:
                self._result.deactivated.append(InstanceId(other))
        has_any = owner.document.artifact_instance or owner.tree_id(SHARED_ARTIFACTS)
        return owner if has_any else None

    def _choose_instance(self, version: str) -> SnapshotTable | None:
        """Return where the folder of a version is taken from; None if its instance is deleted.

        If one side has deleted something, the latest instance that neither has deleted counts.
        That may be in the tree of neither: each shows what the other side has deleted, or what was
        there before that.
        """
        chosen = self._choose_folder(version)
        ours, theirs, catalog = self._ours, self._theirs, self._catalog
        if catalog is None or ours.tree_id(version) == theirs.tree_id(version):
            return chosen
        shown = None if chosen is None else chosen.instance(version)
        if shown is not None and catalog.instance(shown.id) is None:
            return chosen  # made without operations, so history does not tell
        latest = catalog.latest(ours.document.id, version, active=False, successful=False)
        if latest is None:
            return None
        for table in (chosen, ours, theirs):
            document = None if table is None else table.instance(version)
            if document is not None and document.id == latest.instance_id:
                return table
        before = SnapshotTable(
            snapshot=Snapshot(ours.snapshot.repository, latest.commit),
            name=latest.table_name,
            document=ours.document,
        )
        return before if before.tree_id(version) else chosen

    def _choose_folder(self, version: str) -> SnapshotTable | None:
        """Return the side that changed the folder of a version; if both did, the later one."""
        ours, theirs = self._ours, self._theirs
        before = None if self._base is None else self._base.tree_id(version)
        mine, yours = ours.tree_id(version), theirs.tree_id(version)
        if yours in (mine, before):
            return ours if mine else None
        if mine == before:
            return theirs if yours else None
        return ours if ours.time_of(version) >= theirs.time_of(version) else theirs

    def _deactivate_all_but_latest(self) -> None:
        """Leave one instance of a table with side effects active where both sides have new ones.

        Each has deactivated the instances before its own, but knew nothing of the other side.
        """
        before = set() if self._base is None else self._base.instances().keys()
        ours, theirs = self._ours.instances(), self._theirs.instances()
        if ours.keys() <= before or theirs.keys() <= before:
            return
        new = {
            name: document.materialized_at
            for name, document in (ours | theirs).items()
            if name not in before
        }
        last = max(new, key=lambda name: (new[name], name))
        known = self._result.deactivated
        known.extend(InstanceId(name) for name in sorted(new) if name not in {last, *known})
