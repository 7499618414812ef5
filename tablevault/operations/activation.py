"""Which instances stay active: what an execution with side effects and a new instance end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tablevault.history.catalog.catalog import IndexedInstance
from tablevault.history.catalog.fold import DEACTIVATION
from tablevault.history.commits.change import Change
from tablevault.history.commits.documents import InstanceDocument, TableDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.names import ProcessId
from tablevault.queries.artifacts import shares_folder
from tablevault.queries.read import instance_document as document_of
from tablevault.transactions.operation import Operation, Tip, operation
from tablevault.transactions.record import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault


class BeforeFirstCall:
    """Does something once, just before the first function of an execution is called.

    When it fails, no function was called, and the next call tries again.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._lock = threading.Lock()
        self._is_done = False

    def __call__(self) -> None:
        """Do it, unless that is done; other threads wait until it is."""
        with self._lock:
            if not self._is_done:
                self._act()
                self._is_done = True


@operation(DEACTIVATION, restarts=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeactivateInstances(Operation[Vault, None]):
    """Make all instances of a table inactive, by a child of the execution that is to call.

    A commit of its own, so that readers everywhere see it while functions run, and so that it
    stays when the execution fails.
    """

    table_name: str

    def claims(self, vault: Vault, record: Record, snapshot: Snapshot) -> Sequence[Hold]:
        """Claim nothing: the execution holds the table."""
        return []

    def plan(self, vault: Vault, tx: Transaction, prepared: None, tip: Tip) -> Change:
        """Name the instances."""
        table, document = self.table_name, tip.snapshot.table(self.table_name)
        active = [item.instance_id for item in active_instances(vault, document)]
        subject = f"{table}: execution begins, {len(active)} instances inactive"
        pairs = [
            ("Table", table),
            ("Table-Id", document.id),
            tip.time,
            *(("Deactivates", instance_id) for instance_id in active),
        ]
        return Change(message=tx.message(subject, pairs), main=())


def activity_trailers(
    vault: Vault,
    process_id: ProcessId,
    settings: TableDocument,
    document: InstanceDocument,
    *,
    kept: bool,
) -> list[tuple[str, str]]:
    """Return the trailers that say what a new instance does to the earlier ones of its table.

    On a table with side effects all of them become inactive, unless nothing was computed anew
    (`kept`): then those that the execution deactivated become active again. Where the shared
    artifact folder is replaced, those that have artifacts in it become inactive, whatever else.
    """
    replaces_folder = (
        document.success and not settings.multiple_artifacts and document.has_artifacts
    )

    def loses_files(item: IndexedInstance) -> bool:
        return (
            replaces_folder
            and shares_folder(settings, item)
            and document_of(vault, item).has_artifacts
        )

    ends_all = settings.side_effects and not kept
    if not ends_all and not replaces_folder and not settings.side_effects:
        return []
    found: list[tuple[str, str]] = [
        ("Deactivates", item.instance_id)
        for item in active_instances(vault, settings)
        if ends_all or loses_files(item)
    ]
    if kept:
        ended = set(vault.index.deactivated_by(process_id))
        found.extend(
            ("Reactivates", item.instance_id)
            for item in vault.index.instances(settings.id)
            if item.instance_id in ended and not loses_files(item)
        )
    return found


def active_instances(vault: Vault, document: TableDocument) -> list[IndexedInstance]:
    """List the active instances of a table."""
    return [item for item in vault.index.instances(document.id) if item.active]
