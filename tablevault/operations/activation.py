"""Which instances stay active: what an execution with side effects and a new instance end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tablevault.history.catalog.fold import DEACTIVATION
from tablevault.history.commits.change import Change
from tablevault.history.commits.documents import InstanceDocument, timestamp
from tablevault.model.instance import Instance
from tablevault.model.view import Table, VaultView
from tablevault.names import ProcessId
from tablevault.transactions.operation import Operation, operation
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
class DeactivateInstances(Operation[Vault, VaultView, None]):
    """Make all instances of a table inactive, by a child of the execution that is to call.

    A commit of its own, so that readers everywhere see it while functions run, and so that it
    stays when the execution fails.
    """

    table_name: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim nothing: the execution holds the table."""
        return []

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Name the instances."""
        table = view.table(self.table_name)
        active = [each.instance_id for each in table.active_instances()]
        subject = f"{table.name}: execution begins, {len(active)} instances inactive"
        pairs = [
            ("Table", table.name),
            ("Table-Id", table.id),
            ("Time", timestamp(at)),
            *(("Deactivates", instance_id) for instance_id in active),
        ]
        return Change(message=tx.message(subject, pairs), main=())


def activity_trailers(
    table: Table, process_id: ProcessId, document: InstanceDocument, *, kept: bool
) -> list[tuple[str, str]]:
    """Return the trailers that say what a new instance does to the earlier ones of its table.

    On a table with side effects all of them become inactive, unless nothing was computed anew
    (`kept`): then those that the execution deactivated become active again. Where the shared
    artifact folder is replaced, those that have artifacts in it become inactive, whatever else.
    """
    settings = table.document
    replaces_folder = (
        document.success and not settings.multiple_artifacts and document.has_artifacts
    )

    def loses_files(each: Instance) -> bool:
        return replaces_folder and each.shares_folder(settings) and each.document.has_artifacts

    ends_all = settings.side_effects and not kept
    if not ends_all and not replaces_folder and not settings.side_effects:
        return []
    found: list[tuple[str, str]] = [
        ("Deactivates", each.instance_id)
        for each in table.active_instances()
        if ends_all or loses_files(each)
    ]
    if kept:
        ended = set(table.view.catalog.deactivated_by(process_id))
        found.extend(
            ("Reactivates", each.instance_id)
            for each in table.instances()
            if each.instance_id in ended and not loses_files(each)
        )
    return found
