"""The vault at one commit of ``main``: its tables, their instances, and their history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.catalog.catalog import Catalog, IndexedInstance, PinnedCatalog
from tablevault.history.commits.documents import TableDocument
from tablevault.history.commits.snapshot import Snapshot, unknown_table
from tablevault.history.git.repository import Repository
from tablevault.model.instance import Instance, TempInstance
from tablevault.names import CommitId, TableId, TempRef, check_version, is_temp_id, version_of
from tablevault.transactions.parts import VaultParts
from tablevault.wording import BLANK, Call, Either, Parameter, Wording

_SHOWN = 3


@dataclass(frozen=True)
class VaultView:
    """The vault as a reader sees it.

    `snapshot` has the files of one commit of ``main``, `catalog` what the history of that commit
    says of instances, tables and operations. A view that `pinned` makes has both of the same
    commit: whatever is committed, pulled, undone or rewritten meanwhile, no answer changes, and
    two answers never contradict each other. Three things are not part of a commit and are read as
    they are when they are asked for: temporary instances, which are branches; objects, which
    `gc` deletes once their instance is deleted; files in the working tree.

    A view is for one call: as long as it lasts, SQLite cannot shorten the log of the index.
    """

    parts: VaultParts = field(repr=False)
    snapshot: Snapshot
    catalog: Catalog = field(repr=False)

    @classmethod
    def pinned(cls, parts: VaultParts, *, with_temps: bool = False) -> VaultView:
        """Return a view of the newest commit; see :meth:`tablevault.vault.Vault.view`."""
        catalog = parts.index.pin(with_temps=with_temps)
        return cls(parts, Snapshot(parts.repository, catalog.commit), catalog)

    def release(self) -> None:
        """Release the catalog, before something is kept that refers to this view.

        Whatever is asked of the catalog afterwards is right, too, but takes long.
        """
        if isinstance(self.catalog, PinnedCatalog):
            self.catalog.release()

    @property
    def commit(self) -> CommitId:
        """The commit of ``main``."""
        return self.snapshot.commit

    @property
    def repository(self) -> Repository:
        """The git repository."""
        return self.snapshot.repository

    def before(self, commit: CommitId) -> Snapshot:
        """Return the files as they were before a commit of ``main``."""
        return Snapshot(self.repository, self.repository.commit(commit).parents[0])

    # -- tables ---------------------------------------------------------------------------------

    def table(self, name: object) -> Table:
        """Return a table.

        Raises
        ------
        TVArgumentError
            There is no such table; names a later name of it, or a near miss.
        """
        if isinstance(name, str) and self.snapshot.has_table(name):
            return Table(self, name)
        error = unknown_table(str(name), self.snapshot.table_names())
        if new := self.catalog.new_name(str(name)):
            error = TVArgumentError(error.message, f'It was renamed to "{new}".', table=str(name))
        raise error

    def tables(self) -> list[Table]:
        """Return the tables, by name."""
        return [Table(self, name) for name in sorted(self.snapshot.table_names())]

    @cached_property
    def table_names(self) -> dict[TableId, str]:
        """Name of each table, by its id."""
        return self.snapshot.names_by_id()

    def name_of(self, instance: IndexedInstance) -> str:
        """Return the name that the table of an instance has now; see `name_today`."""
        return self.name_today(instance.table_id, instance.table_name)

    def name_today(self, table_id: TableId, recorded: str) -> str:
        """Return the name that a table has now; the recorded one if the table was deleted.

        After a rename the recorded name leads nowhere, or to another table.
        """
        if self.is_table(recorded, table_id):
            return recorded
        return self.table_names.get(table_id, recorded)

    def is_table(self, name: str, table_id: TableId) -> bool:
        """Return whether the table of that id has that name."""
        return self.snapshot.has_table(name) and self.snapshot.table(name).id == table_id

    def code_modules(self) -> list[str]:
        """List the code modules, sorted: those of the working tree while it shows ``main``."""
        worktree = self.parts.worktree
        if worktree.follows_main():
            return sorted(worktree.code.on_disk())
        return sorted(self.snapshot.code_modules())

    # -- instances of all tables ----------------------------------------------------------------

    def instance(self, instance_id: str) -> Instance | None:
        """Find an instance of whatever table by its id; deleted ones, too."""
        found = self.catalog.instance(instance_id)
        return None if found is None else self.instance_of(found)

    def instance_of(self, row: IndexedInstance) -> Instance:
        """Return the instance that a row of the catalog describes."""
        return Instance.of(row, self.parts, self.catalog)

    def instances_of(self, rows: Iterable[IndexedInstance]) -> list[Instance]:
        """Return the instances that rows of the catalog describe."""
        return [Instance.of(row, self.parts, self.catalog) for row in rows]

    def temps(self) -> list[TempInstance]:
        """Return the temporary instances of all tables, by table and version."""
        temps = self.parts.repository.temps().items()
        return [TempInstance(ref=ref, tip=tip, parts=self.parts) for ref, tip in temps]

    def temp(self, ref: TempRef) -> TempInstance | None:
        """Find a temporary instance by its table and version."""
        return TempInstance.find(self.parts, ref)


@dataclass(frozen=True)
class Table:
    """A table of a view."""

    view: VaultView = field(repr=False, compare=False)
    name: str

    @cached_property
    def document(self) -> TableDocument:
        """Its ``table.yaml``."""
        return self.view.snapshot.table(self.name)

    @property
    def id(self) -> TableId:
        """Its id, which it keeps under another name."""
        return self.document.id

    def instances(self, version: str = "") -> list[Instance]:
        """Return the instances that are not deleted, oldest first; of one version if given."""
        return self.view.instances_of(self.view.catalog.instances(self.id, version))

    def instance(self, instance_id: str, *, withdrawn_too: bool = False) -> Instance:
        """Return an instance by its id; one that an undo removed only if wanted.

        Raises
        ------
        TVArgumentError
            The table has no such instance, or it was deleted.
        """
        found = self.view.catalog.instance(instance_id)
        if found is None or found.table_id != self.id:
            raise TVArgumentError(
                f'Table "{self.name}" has no instance "{instance_id}".',
                self._known_instances(),
                table=self.name,
                instance=instance_id,
            )
        if found.deleted_at and not (found.withdrawn and withdrawn_too):
            raise _gone(found, self.name)
        return self.view.instance_of(found)

    def active_instances(self) -> list[Instance]:
        """Return the active instances, oldest first."""
        return [each for each in self.instances() if each.active]

    def latest(
        self, version: str = "", *, active: bool = True, successful: bool = False
    ) -> Instance:
        """Return the instance that was materialised last, of any version when "".

        Raises
        ------
        TVArgumentError
            No instance can be of that version.
        TVTableError
            No instance satisfies the conditions.
        """
        found = self.latest_or_none(version, active=active, successful=successful)
        if found is not None:
            return found
        if version:
            check_version(version)
        kinds = ["active"] * active + ["successful"] * successful + ["materialised"]
        of_version = f' of version "{version}"' if version else ""
        of = {"version": version} if version not in ("", "base") else {}
        raise TVTableError(
            f'Table "{self.name}" has no {", ".join(kinds)} instance{of_version}.',
            Wording(
                "Make one: ",
                Call("create_instance", table_name=self.name, **of),
                ", then ",
                Call("execute_instance", table_name=self.name, **of),
                "; or ",
                Call("create_instance", table_name=self.name, external_edit=True, **of),
                ", then ",
                Call("write_instance", table_df=BLANK, table_name=self.name, **of),
                ".",
            ),
            table=self.name,
            version=version,
        )

    def latest_or_none(
        self, version: str = "", *, active: bool = True, successful: bool = False
    ) -> Instance | None:
        """Find the instance that was materialised last, of any version when ""."""
        found = self.view.catalog.latest(self.id, version, active=active, successful=successful)
        return None if found is None else self.view.instance_of(found)

    def temp(self, version: str) -> TempInstance:
        """Return the temporary instance of a version.

        Raises
        ------
        TVArgumentError
            There is none.
        """
        ref = TempRef(table=self.name, version=check_version(version))
        found = self.view.temp(ref)
        if found is not None:
            return found
        raise TVArgumentError(
            f'Table "{self.name}" has no temporary instance of version "{ref.version}".',
            Wording(
                "Make one: ",
                Call("create_instance", table_name=self.name, version=ref.version),
                ".",
            ),
            table=self.name,
            version=ref.version,
        )

    def temp_with_builders(self, version: str) -> TempInstance:
        """Return the temporary instance of a version that is made by builders.

        Raises
        ------
        TVArgumentError
            There is none, or it waits for a dataframe of the caller's.
        """
        found = self.temp(version)
        if not found.document.external_edit:
            return found
        version = found.ref.version
        raise TVArgumentError(
            f'{found.instance_id} of table "{self.name}" is an external edit and has no builders.',
            Wording(
                "Fill it: ",
                Call("write_instance", table_df=BLANK, table_name=self.name, version=version),
                ". Or delete it, and create it without ",
                Parameter("create_instance", "external_edit"),
                ".",
            ),
            table=self.name,
            version=version,
        )

    def temps(self) -> list[TempInstance]:
        """Return the temporary instances, by version."""
        return [each for each in self.view.temps() if each.ref.table == self.name]

    def find(
        self, instance_id: str = "", version: str = "", *, is_temp: bool = False
    ) -> Instance | TempInstance:
        """Return what a caller names: by its id, else the temporary or the latest of a version.

        Raises
        ------
        TVArgumentError
            There is none with that id, or no temporary one of the version.
        TVTableError
            There is no active materialised one of the version.
        """
        if is_temp_id(instance_id):
            return self.temp(version_of(instance_id))
        if instance_id:
            return self.instance(instance_id)
        if not is_temp:
            return self.latest(version)
        try:
            return self.temp(version)
        except TVArgumentError as error:
            if self.latest_or_none(version) is None:
                raise
            read = Either("pass is_temp=False", "pass --materialised")
            hint = Wording("To read the latest instance, ", read, ". ", error.hint)
            raise TVArgumentError(error.message, hint, **error.facts) from None

    def _known_instances(self) -> str:
        """Name the latest instances, for an error text."""
        known = [each.instance_id for each in self.view.catalog.instances(self.id)]
        if not known:
            return "The table has no materialised instance yet."
        return f"The latest are: {', '.join(reversed(known[-_SHOWN:]))}."


def _gone(found: IndexedInstance, table: str) -> TVArgumentError:
    """Make the error for an instance that was deleted, or that an undo removed."""
    instance = found.instance_id
    when = f"{found.deleted_at} by {found.deleted_by}."
    if found.withdrawn:
        what = f'The making of instance "{instance}" of table "{table}" was undone at {when}'
        hint = Wording(
            "Undo that, too, by the process id of the undoing, which ",
            Call("log", table_name=table),
            " lists.",
        )
    else:
        what = f'Instance "{instance}" of table "{table}" was deleted at {when}'
        description = Call("get_descriptions", instance_id=instance, table_name=table)
        hint = Wording("Its description remains: ", description, ".")
    return TVArgumentError(what, hint, table=table, instance=instance)
