"""Two histories of a vault and what they have in common, into edits or conflicts; pure.

The folder of a version is taken whole from the side with the later instance, a table's settings
are merged field by field, every other file as git merges text. Tables are known by their id, so a
rename on one side and a new instance on the other meet. The result does not depend on which side
is called ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from pygit2.enums import FileMode

from tablevault.errors import TVFileError
from tablevault.history.catalog.in_memory import Union
from tablevault.history.commits.documents import TableDocument, VaultDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.commits.vault_config import SECTIONS, VaultConfig, parsed
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.history.merge.merge_sides import (
    SideFile,
    SideTable,
    carried,
    edit_of,
    files_of,
    made_at,
    merge_lines,
    moment_of,
    tables_of,
)
from tablevault.names import (
    SHARED_ARTIFACTS,
    VAULT_DOCUMENT,
    InstanceId,
    table_dir,
    table_document,
)
from tablevault.wording import BLANK, Call, Wording

Side = Literal["ours", "theirs"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Something that both sides changed, each in its own way."""

    path: str
    problem: str
    hint: str


@dataclass(kw_only=True)
class Merged:
    """What a merge comes to, as edits of the tree of ours."""

    edits: list[Edit] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    renames: dict[str, str] = field(default_factory=dict)
    """Tables of ours that have another name now."""
    gone: list[str] = field(default_factory=list)
    """Tables of ours that the other side has deleted."""
    superseded: list[InstanceId] = field(default_factory=list)
    """Instances that are inactive, since a later one of the other side took their place."""


def merge_snapshots(
    base: Snapshot | None,
    ours: Snapshot,
    theirs: Snapshot,
    resolve: Mapping[str, Side],
    union: Union | None = None,
) -> Merged:
    """Merge `theirs` into `ours`.

    Parameters
    ----------
    base : Snapshot or None
        The last commit that both have in common.
    ours, theirs : Snapshot
        The two sides.
    resolve : dict of path to "ours" or "theirs"
        Which side is right where both changed the same.
    union : Union or None
        What both histories say of instances; None when neither has ended one by itself.

    Returns
    -------
    Merged
        Its edits count only when it has no conflicts.
    """
    return _Merge(base, ours, theirs, resolve, union).run()


class _Merge:
    """One merge."""

    def __init__(
        self,
        base: Snapshot | None,
        ours: Snapshot,
        theirs: Snapshot,
        resolve: Mapping[str, Side],
        union: Union | None,
    ) -> None:
        self._union = union
        self._base = base
        self._ours = ours
        self._theirs = theirs
        self._resolve = resolve
        self._result = Merged()
        self._removed: list[Edit] = []

    def run(self) -> Merged:
        """Merge tables by their ids, all other files by their paths."""
        if self._ours.vault().id != self._theirs.vault().id:
            self._conflict(
                VAULT_DOCUMENT, "the other side is another vault", "Clone it into a folder."
            )
            return self._result
        self._merge_vault()
        self._merge_tables()
        self._merge_files()
        # What frees a name comes before what takes it.
        self._result.edits[:0] = self._removed
        return self._result

    # -- settings -----------------------------------------------------------------------------

    def _merge_vault(self) -> None:
        """Merge ``vault.yaml`` field by field."""
        base = None if self._base is None else self._base.vault()
        ours, theirs = self._ours.vault(), self._theirs.vault()
        if theirs in (ours, base):
            return
        if ours == base:
            data = self._theirs.blob(VAULT_DOCUMENT)
            assert data is not None
            self._result.edits.append(Put(path=VAULT_DOCUMENT, data=data))
            return
        try:
            merged = replace(
                ours,
                description=self._field(
                    VAULT_DOCUMENT,
                    "description",
                    None if base is None else base.description,
                    ours.description,
                    theirs.description,
                ),
                format=max(ours.format, theirs.format),
                config_or_fault=self._merge_config(base, ours, theirs),
            )
            data = merged.encode()
        except TVFileError as error:
            self._conflict(VAULT_DOCUMENT, error.message.rstrip("."), error.hint)
            return
        if merged != ours:
            self._result.edits.append(Put(path=VAULT_DOCUMENT, data=data))

    def _merge_config(
        self, base: VaultDocument | None, ours: VaultDocument, theirs: VaultDocument
    ) -> VaultConfig | str:
        """Merge limits by field, prices by model; each side may be wrong where it is not taken."""
        before = None if base is None else base.config_or_fault
        if theirs.config_or_fault in (ours.config_or_fault, before):
            return ours.config_or_fault
        if ours.config_or_fault == before:
            return theirs.config_or_fault
        sections = [
            each.fields() if isinstance(each, VaultConfig) else {}
            for each in (before, ours.config, theirs.config)
        ]
        merged: dict[str, dict[str, object]] = {}
        for section in SECTIONS:
            known, mine, yours = (each.get(section, {}) for each in sections)
            merged[section] = {
                name: self._field(
                    VAULT_DOCUMENT,
                    f"{section}.{name}",
                    known.get(name),
                    mine.get(name),
                    yours.get(name),
                )
                for name in sorted({*mine, *yours})
            }
            merged[section] = {k: v for k, v in merged[section].items() if v is not None}
        return parsed(merged)

    def _field(self, path: str, name: str, base: T | None, ours: T, theirs: T) -> T:
        """Merge one field."""
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        side = self._resolve.get(path)
        if side is None:
            here, there = ("not set" if each is None else repr(each) for each in (ours, theirs))
            self._conflict(path, f"its {name} is {here} here and {there} there")
        return theirs if side == "theirs" else ours

    # -- tables -------------------------------------------------------------------------------

    def _merge_tables(self) -> None:
        """Merge what is below ``tables/``."""
        bases = {} if self._base is None else tables_of(self._base)
        ours, theirs = tables_of(self._ours), tables_of(self._theirs)
        names: dict[str, str] = {}
        gone = list(_gone(ours, theirs, bases))
        self._result.gone.extend(table.name for table in gone)
        self._removed.extend(Remove(path=table_dir(table.name)) for table in gone)
        for table_id in sorted({*ours, *theirs}):
            base, our, their = (side.get(table_id) for side in (bases, ours, theirs))
            if our is not None and their is not None:
                name = self._merge_table(base, our, their)
            elif our is not None:
                name = self._one_sided(base, our, deleted_by="theirs")
            else:
                assert their is not None
                name = self._one_sided(base, their, deleted_by="ours")
                if name:
                    self._take(their, name)
            if name and names.setdefault(name, table_id) != table_id:
                self._conflict(
                    table_dir(name),
                    f'two tables are called "{name}", one on each side',
                    Wording(
                        "Give yours another name, and pull again: ",
                        Call("rename_table", new_table_name=BLANK, table_name=name),
                        ".",
                    ),
                    may_resolve=False,
                )

    def _one_sided(self, base: SideTable | None, table: SideTable, *, deleted_by: Side) -> str:
        """Keep a table that is new, drop one that the other side deleted; "" when dropped."""
        if base is None:
            # Some who merged before may have settled it already.
            is_gone = self._union is not None and self._union.is_gone(table.document.id)
            if is_gone and deleted_by == "theirs":
                self._result.gone.append(table.name)
                self._removed.append(Remove(path=table_dir(table.name)))
            return "" if is_gone else table.name
        if base.whole() != table.whole() and self._has_news(base, table):
            # By the name that both knew: two tables may have got one name since.
            path = table_dir(base.name)
            if self._resolve.get(path) != deleted_by:
                here, there = (
                    ("deleted here", "changed there")
                    if deleted_by == "ours"
                    else ("changed here", "deleted there")
                )
                called = "" if table.name == base.name else f', where it is "{table.name}" now'
                self._conflict(
                    path,
                    f"it was {here} and {there}{called}",
                    Wording(
                        "A deletion cannot be taken back: ",
                        Call("pull", resolve={path: deleted_by}),
                        " accepts it. Save what you need of the table before.",
                    ),
                    may_resolve=False,
                )
        return ""

    def _has_news(self, base: SideTable, table: SideTable) -> bool:
        """Return whether a side has instances that the base lacks."""
        before = {document.id for document in base.made().values()}
        return any(document.id not in before for document in table.made().values())

    def _merge_table(self, base: SideTable | None, ours: SideTable, theirs: SideTable) -> str:
        """Merge a table that both sides have; give its name."""
        name = self._field(
            table_dir(ours.name),
            "name",
            None if base is None else base.name,
            ours.name,
            theirs.name,
        )
        if ours.whole() == theirs.whole() and name == ours.name == theirs.name:
            return name
        if name != ours.name:
            self._result.renames[ours.name] = name
        owner = self._owner(base, ours, theirs)
        if ours.document.side_effects:
            self._end_all_but_one(base, ours, theirs)
        document = self._merge_settings(base, ours, theirs, owner)
        taken: dict[str, SideTable] = {}
        for version in sorted(ours.folders() | theirs.folders()):
            side = self._standing(ours, theirs, self._later(base, ours, theirs, version), version)
            if side is not None:
                taken[version] = side
        if owner is not None and owner.tree(SHARED_ARTIFACTS):
            taken[SHARED_ARTIFACTS] = owner
        self._write(ours, name, document, taken)
        return name

    def _merge_settings(
        self, base: SideTable | None, ours: SideTable, theirs: SideTable, owner: SideTable | None
    ) -> TableDocument:
        """Merge ``table.yaml`` field by field; what is fixed at the creation is the same."""
        description = self._field(
            table_document(ours.name),
            "description",
            None if base is None else base.document.description,
            ours.document.description,
            theirs.document.description,
        )
        owning = "" if owner is None else owner.document.artifact_instance
        return replace(ours.document, description=description, artifact_instance=owning)

    def _owner(
        self, base: SideTable | None, ours: SideTable, theirs: SideTable
    ) -> SideTable | None:
        """Choose the side whose instance has the one artifact folder of the table."""
        before = "" if base is None else base.document.artifact_instance
        mine, yours = ours.document.artifact_instance, theirs.document.artifact_instance
        if yours in (before, mine):
            winner = ours
        elif mine == before:
            winner = theirs
        else:
            times = (made_at(ours, mine), made_at(theirs, yours))
            winner = ours if times[0] >= times[1] else theirs
            loser = mine if winner is theirs else yours
            if loser:
                self._result.superseded.append(InstanceId(loser))
        return (
            winner if winner.document.artifact_instance or winner.tree(SHARED_ARTIFACTS) else None
        )

    def _later(
        self, base: SideTable | None, ours: SideTable, theirs: SideTable, version: str
    ) -> SideTable | None:
        """Choose the side whose folder of a version is taken; None when it is deleted."""
        before = None if base is None else base.tree(version)
        mine, yours = ours.tree(version), theirs.tree(version)
        if yours in (mine, before):
            return ours if mine else None
        if mine == before:
            return theirs if yours else None
        if mine is None or yours is None:
            return ours if mine else theirs
        return ours if moment_of(ours, version) >= moment_of(theirs, version) else theirs

    def _standing(
        self, ours: SideTable, theirs: SideTable, chosen: SideTable | None, version: str
    ) -> SideTable | None:
        """Take the latest instance that neither side has deleted, where one of them did delete.

        It may stand on neither side: each shows one that the other has deleted, or the one that
        was there before what the other has deleted is known there alone.
        """
        if self._union is None or ours.tree(version) == theirs.tree(version):
            return chosen
        shown = None if chosen is None else chosen.side.instance(chosen.name, version)
        if shown is not None and not self._union.knows(shown.id):
            return chosen  # made without operations, so history does not tell
        found = self._union.latest(ours.document.id, version)
        if found is None:
            return None
        for side in (chosen, ours, theirs):
            document = None if side is None else side.side.instance(side.name, version)
            if document is not None and document.id == found.instance_id:
                return side
        snapshot = Snapshot(ours.side.repository, found.commit)
        before = SideTable(side=snapshot, name=found.table_name, document=ours.document)
        return before if before.tree(version) else chosen

    def _end_all_but_one(self, base: SideTable | None, ours: SideTable, theirs: SideTable) -> None:
        """Leave one instance active where both sides have made some of a table with side effects.

        Each ended what there was before it, but knew nothing of the other.
        """
        before = set() if base is None else {each.id for each in base.made().values()}
        sides = [
            {each.id: each.materialized_at for each in side.made().values()}
            for side in (ours, theirs)
        ]
        if all(side.keys() - before for side in sides):
            made = {name: at for side in sides for name, at in side.items() if name not in before}
            last = max(made, key=lambda name: (made[name], name))
            new = (name for name in sorted(made) if name != last)
            self._result.superseded.extend(
                InstanceId(name) for name in new if name not in self._result.superseded
            )

    def _write(
        self, ours: SideTable, name: str, document: TableDocument, taken: Mapping[str, SideTable]
    ) -> None:
        """Make the folder of a table what was decided."""
        self._removed.append(Remove(path=table_dir(ours.name)))
        self._result.edits.append(Put(path=table_document(name), data=document.encode()))
        for folder, side in taken.items():
            self._result.edits.extend(carried(side, folder, name))

    def _take(self, theirs: SideTable, name: str) -> None:
        """Take over a table that is only there."""
        tree = theirs.whole()
        assert tree is not None
        self._result.edits.append(Graft(path=table_dir(name), source=tree))

    # -- all other files ----------------------------------------------------------------------

    def _merge_files(self) -> None:
        """Merge everything outside of ``tables/`` as git does."""
        sides = [
            {} if side is None else dict(files_of(side))
            for side in (self._base, self._ours, self._theirs)
        ]
        for path in sorted({*sides[1], *sides[2]}):
            base, ours, theirs = (side.get(path) for side in sides)
            if theirs in (ours, base) or path == VAULT_DOCUMENT:
                continue
            if ours == base:
                self._result.edits.append(edit_of(path, theirs))
            else:
                self._merge_file(path, base, ours, theirs)

    def _merge_file(
        self, path: str, base: SideFile | None, ours: SideFile | None, theirs: SideFile | None
    ) -> None:
        """Merge one file that both sides changed; a choice counts where text does not merge."""
        if ours is None or theirs is None:
            here, there = ("deleted", "changed") if ours is None else ("changed", "deleted")
            problem = f"it was {here} here and {there} there"
        else:
            merged = merge_lines(self._ours, base, ours, theirs)
            if merged is not None:
                self._result.edits.append(
                    Put(
                        path=path,
                        data=self._ours.repository.read_blob(merged.id),
                        executable=merged.mode == FileMode.BLOB_EXECUTABLE,
                    )
                )
                return
            problem = "both sides changed the same lines"
        chosen = self._resolve.get(path)
        if chosen is None:
            self._conflict(path, problem)
        elif chosen == "theirs":
            self._result.edits.append(edit_of(path, theirs))

    def _conflict(
        self, path: str, problem: str, hint: str = "", *, may_resolve: bool = True
    ) -> None:
        """Note a conflict."""
        if may_resolve and not hint:
            hint = Wording(
                "Choose: ",
                Call("pull", resolve={path: "ours"}),
                " or ",
                Call("pull", resolve={path: "theirs"}),
                ".",
            )
        self._result.conflicts.append(Conflict(path=path, problem=problem, hint=hint))


def _gone(
    ours: Mapping[str, SideTable], theirs: Mapping[str, SideTable], bases: Mapping[str, SideTable]
) -> Iterator[SideTable]:
    """Return the tables of ours that the other side has deleted."""
    for table_id, table in ours.items():
        if table_id in bases and table_id not in theirs:
            yield table
