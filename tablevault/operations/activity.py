"""Which instances stay active: what an execution with side effects and a new instance end."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tablevault.history.change import Change
from tablevault.history.documents import InstanceDocument, TableDocument, timestamp
from tablevault.history.fold import DEACTIVATION
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.journal.beginning import Actor
from tablevault.journal.operation import Operation, running
from tablevault.journal.record import Hold, Request
from tablevault.operations.messages import operation_message
from tablevault.queries.artifacts import shares_folder
from tablevault.queries.read import has_artifacts
from tablevault.queries.read import instance_document as document_of
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.ready import Function, Load


def before_first_call(load: Load, act: Callable[[], None]) -> Load:
    """Give functions that call `act` once, just before the first of them is called.

    When `act` fails, no function was called, and the next call tries again.
    """
    lock = threading.Lock()
    is_done = False

    def once() -> None:
        """Act, unless that is done; other threads wait until it is."""
        nonlocal is_done
        with lock:
            if not is_done:
                act()
                is_done = True

    def load_announced(module: str, function: str, *, is_custom: bool) -> Function:
        """Find a function, and announce that it is called."""
        return _announced(load(module, function, is_custom=is_custom), once)

    return load_announced


def _announced(function: Function, announce: Callable[[], None]) -> Function:
    """Wrap a function; it keeps its name, and the parameters that it shows."""

    @functools.wraps(function)
    def call(*positional: object, **named: object) -> Any:  # noqa: ANN401 - functions return anything
        """Announce, then call."""
        announce()
        return function(*positional, **named)

    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (ValueError, TypeError):  # some functions written in C have none
        return call
    call.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` asks for
    return call


def deactivate_instances(vault: Vault, parent: Operation, table: str) -> None:
    """Make all instances of a table inactive, by a child of the execution that is to call.

    A commit of its own, so that readers everywhere see it while functions run, and so that it
    stays when the execution fails.
    """
    request = Request(operation=DEACTIVATION, arguments={"table_name": table})
    actor = Actor(
        author=parent.record.author,
        parent=parent.process_id,
        lock_timeout_s=vault.lock_timeout_s,
    )

    def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
        return []  # the execution holds the table

    if not _active(vault, vault.snapshot().table(table)):
        return
    with running(vault.journal, request, actor, setup) as operation:

        def plan(snapshot: Snapshot, at: float) -> Change:
            document = snapshot.table(table)
            active = [item.instance_id for item in _active(vault, document)]
            subject = f"{table}: execution begins, {len(active)} instances inactive"
            pairs = [
                ("Table", table),
                ("Table-Id", document.id),
                ("Time", timestamp(at)),
                *(("Deactivates", instance_id) for instance_id in active),
            ]
            return Change(message=operation_message(operation, subject, pairs), main=())

        operation.publish(plan)


def activity_trailers(
    vault: Vault, operation: Operation, parts: tuple[TableDocument, InstanceDocument], *, kept: bool
) -> list[tuple[str, str]]:
    """Give the trailers that say what a new instance does to the earlier ones of its table.

    On a table with side effects all of them become inactive, unless nothing was computed anew
    (`kept`): then those that the execution deactivated become active again. Where the shared
    artifact folder is replaced, those that have artifacts in it become inactive, whatever else.
    """
    settings, document = parts
    replaces_folder = (
        document.success and not settings.multiple_artifacts and has_artifacts(document)
    )

    def loses_files(item: IndexedInstance) -> bool:
        return (
            replaces_folder
            and shares_folder(settings, item)
            and has_artifacts(document_of(vault, item))
        )

    ends_all = settings.side_effects and not kept
    if not ends_all and not replaces_folder and not settings.side_effects:
        return []
    found: list[tuple[str, str]] = [
        ("Deactivates", item.instance_id)
        for item in _active(vault, settings)
        if ends_all or loses_files(item)
    ]
    if kept:
        ended = set(vault.journal.index.deactivated_by(operation.process_id))
        found.extend(
            ("Reactivates", item.instance_id)
            for item in vault.journal.index.instances(settings.id)
            if item.instance_id in ended and not loses_files(item)
        )
    return found


def _active(vault: Vault, document: TableDocument) -> list[IndexedInstance]:
    """List the active instances of a table."""
    return [item for item in vault.journal.index.instances(document.id) if item.active]
