"""Which table and which instance are meant, for operations that do not ask a view yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tablevault.history.documents import InstanceDocument, TableDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.repository import Repository
from tablevault.history.snapshot import Snapshot
from tablevault.model.instance import Instance
from tablevault.model.view import Table
from tablevault.names import CommitId, TempRef, is_temp_id, version_of
from tablevault.vault import Vault


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


def _table(vault: Vault, snapshot: Snapshot, table: object) -> Table:
    """Return a table of a commit, with its instances as they are now."""
    return vault.live_view(snapshot).table(table)


def as_instance(vault: Vault, row: IndexedInstance) -> Instance:
    """Return the instance that a row of the catalog describes."""
    if isinstance(row, Instance):
        return row
    return vault.live_view(vault.snapshot()).instance_of(row)


def find_table(vault: Vault, snapshot: Snapshot, table: object) -> TableDocument:
    """Read the document of a table; TVArgumentError when there is none."""
    return _table(vault, snapshot, table).document


def find_instance(
    vault: Vault,
    snapshot: Snapshot,
    table: str,
    instance_id: str,
    *,
    withdrawn_too: bool = False,
) -> Instance:
    """Find a materialised instance by its id; see `Table.instance`."""
    found = _table(vault, snapshot, table)
    return found.instance(instance_id, withdrawn_too=withdrawn_too)


def find_latest(
    vault: Vault,
    snapshot: Snapshot,
    table: str,
    version: str,
    *,
    active_only: bool = True,
    successful_only: bool = False,
) -> Instance | None:
    """Find the instance that was materialised last; see `Table.latest_or_none`."""
    found = _table(vault, snapshot, table)
    return found.latest_or_none(version, active=active_only, successful=successful_only)


def latest_or_error(
    vault: Vault,
    snapshot: Snapshot,
    table: str,
    version: str,
    *,
    active_only: bool = True,
    successful_only: bool = False,
) -> Instance:
    """Find the instance that was materialised last; see `Table.latest`."""
    found = _table(vault, snapshot, table)
    return found.latest(version, active=active_only, successful=successful_only)


def find_temp(vault: Vault, snapshot: Snapshot, table: str, version: str) -> Temp:
    """Find the temporary instance of a version; see `Table.temp`."""
    found = _table(vault, snapshot, table).temp(version)
    return Temp(ref=found.ref, tip=found.tip, repository=vault.repository)


def temp_or_none(repository: Repository, ref: TempRef) -> Temp | None:
    """Find a temporary instance by its branch."""
    tip = repository.tip(ref.ref)
    return None if tip is None else Temp(ref=ref, tip=tip, repository=repository)


def find_temp_by_id(vault: Vault, snapshot: Snapshot, table: str, instance_id: str) -> Temp:
    """Find a temporary instance by its id, ``TEMP_<version>``."""
    assert is_temp_id(instance_id)
    return find_temp(vault, snapshot, table, version_of(instance_id))
