"""Which table and which instance are meant: by name, id, version, activity and success."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.documents import InstanceDocument, TableDocument
from tablevault.history.index import Index, IndexedInstance
from tablevault.history.repository import Repository
from tablevault.history.snapshot import Snapshot, unknown_table
from tablevault.names import CommitId, TempRef, check_version, is_temp_id, version_of
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording


@dataclass(frozen=True, kw_only=True)
class Temp:
    """A temporary instance that exists."""

    ref: TempRef
    tip: CommitId
    repository: Repository

    @cached_property
    def document(self) -> InstanceDocument:
        """What its branch says of it; without a document, as a new one."""
        found = Snapshot(self.repository, self.tip).instance(self.ref.table, self.ref.version)
        if found is not None:
            return found
        return InstanceDocument(description="", version=self.ref.version, external_edit=False)


def find_table(vault: Vault, snapshot: Snapshot, table: object) -> TableDocument:
    """Read the document of a table.

    Raises
    ------
    TVArgumentError
        There is no such table; names a later name of it, or a near miss.
    """
    if isinstance(table, str) and snapshot.has_table(table):
        return snapshot.table(table)
    error = unknown_table(str(table), snapshot.table_names())
    if new := vault.journal.index.new_name(str(table)):
        error = TVArgumentError(error.message, f'It was renamed to "{new}".', table=str(table))
    raise error


def find_instance(
    vault: Vault,
    snapshot: Snapshot,
    table: str,
    instance_id: str,
    *,
    withdrawn_too: bool = False,
) -> IndexedInstance:
    """Find a materialised instance of `table` by its id; one whose making was undone if wanted.

    Raises
    ------
    TVArgumentError
        There is no such table, or no such instance in it, or it was deleted.
    """
    document = find_table(vault, snapshot, table)
    found = vault.journal.index.instance(instance_id)
    if found is None or found.table_id != document.id:
        raise TVArgumentError(
            f'Table "{table}" has no instance "{instance_id}".',
            _known_instances(vault.journal.index, document),
            table=table,
            instance=instance_id,
        )
    if found.withdrawn and withdrawn_too:
        return found
    if found.withdrawn:
        raise TVArgumentError(
            f'The making of instance "{instance_id}" of table "{table}" was undone at '
            f"{found.deleted_at} by {found.deleted_by}.",
            Wording(
                "Undo that, too, by the process id of the undoing, which ",
                Call("log", table_name=table),
                " lists.",
            ),
            table=table,
            instance=instance_id,
        )
    if found.deleted_at:
        raise TVArgumentError(
            f'Instance "{instance_id}" of table "{table}" was deleted at {found.deleted_at} by '
            f"{found.deleted_by}.",
            Wording(
                "Its description remains: ",
                Call("get_descriptions", instance_id=instance_id, table_name=table),
                ".",
            ),
            table=table,
            instance=instance_id,
        )
    return found


def find_latest(
    vault: Vault,
    snapshot: Snapshot,
    table: str,
    version: str,
    *,
    active_only: bool = True,
    successful_only: bool = False,
) -> IndexedInstance | None:
    """Find the instance of `table` that was materialised last; any version when ""."""
    document = find_table(vault, snapshot, table)
    return vault.journal.index.latest(
        document.id, version, active=active_only, successful=successful_only
    )


def latest_or_error(
    vault: Vault,
    snapshot: Snapshot,
    table: str,
    version: str,
    *,
    active_only: bool = True,
    successful_only: bool = False,
) -> IndexedInstance:
    """Find the instance that was materialised last.

    Raises
    ------
    TVTableError
        No instance satisfies the conditions.
    """
    found = find_latest(
        vault,
        snapshot,
        table,
        version,
        active_only=active_only,
        successful_only=successful_only,
    )
    if found is None:
        kinds = ["active"] * active_only + ["successful"] * successful_only + ["materialised"]
        of_version = f' of version "{version}"' if version else ""
        of = {"version": version} if version not in ("", "base") else {}
        raise TVTableError(
            f'Table "{table}" has no {", ".join(kinds)} instance{of_version}.',
            Wording(
                "Make one: ",
                Call("create_instance", table_name=table, **of),
                ", then ",
                Call("execute_instance", table_name=table, **of),
                " or ",
                Call("write_instance", table_df=BLANK, table_name=table, **of),
                ".",
            ),
            table=table,
            version=version,
        )
    return found


def find_temp(vault: Vault, snapshot: Snapshot, table: str, version: str) -> Temp:
    """Find the temporary instance of a version.

    Raises
    ------
    TVArgumentError
        There is no such table, or no temporary instance of that version.
    """
    find_table(vault, snapshot, table)
    ref = TempRef(table=table, version=check_version(version))
    temp = temp_or_none(vault.journal.repository, ref)
    if temp is None:
        raise TVArgumentError(
            f'Table "{table}" has no temporary instance of version "{ref.version}".',
            Wording(
                "Make one: ",
                Call("create_instance", table_name=table, version=ref.version),
                ".",
            ),
            table=table,
            version=ref.version,
        )
    return temp


def temp_or_none(repository: Repository, ref: TempRef) -> Temp | None:
    """Find a temporary instance by its branch."""
    tip = repository.tip(ref.ref)
    return None if tip is None else Temp(ref=ref, tip=tip, repository=repository)


def find_temp_by_id(vault: Vault, snapshot: Snapshot, table: str, instance_id: str) -> Temp:
    """Find a temporary instance by its id, ``TEMP_<version>``."""
    assert is_temp_id(instance_id)
    return find_temp(vault, snapshot, table, version_of(instance_id))


def _known_instances(index: Index, document: TableDocument) -> str:
    """Say which instances there are, the newest first."""
    known = [instance.instance_id for instance in index.instances(document.id)]
    if not known:
        return "The table has no materialised instance yet."
    shown = ", ".join(reversed(known[-3:]))
    return f"The latest are: {shown}."
