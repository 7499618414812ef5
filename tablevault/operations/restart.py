"""What ``TableVault(restart=True)`` does: processes that died are run to their end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

from tablevault.errors import TVProcessError
from tablevault.journal.record import Record, Request
from tablevault.journal.recovery import roll_back
from tablevault.operations import builders, code, execute, instances, tables
from tablevault.vault import Vault


def restart_processes(vault: Vault) -> None:
    """Run every process to its end that is in the journal and does not live.

    Each is handled for itself; what fails is reported by one warning at the end. A process that
    was started within another's function is taken back: its parent makes it again.
    """
    failures = []
    for record in list(vault.journal.files.every()):
        if vault.journal.files.is_alive(record.process_id):
            continue
        try:
            _restart(vault, record)
        except Exception as error:  # noqa: BLE001 - one bad record must not keep the vault closed
            failures.append(f"{record.request.operation} {record.process_id}: {error}")
    if failures:
        warnings.warn(
            f"{len(failures)} processes could not be restarted: " + "; ".join(failures),
            RuntimeWarning,
            stacklevel=4,
        )


def _restart(vault: Vault, record: Record) -> None:
    """Run one process again, with the arguments it was started with."""
    perform = _PERFORM.get(record.request.operation)
    if record.parent or perform is None:
        roll_back(vault.journal, record)
        if perform is None and not record.parent:
            raise TVProcessError(
                "it needs data that only its caller has, and was taken back.",
                process=record.process_id,
            )
        return
    perform(vault, record.request, record.process_id)


Perform = Callable[[Vault, Request, str], object]

_PERFORM: Mapping[str, Perform] = {
    "create_table": tables.perform_create,
    "rename_table": tables.perform_rename,
    "delete_table": tables.perform_delete,
    "create_instance": instances.perform_create,
    "delete_instance": instances.perform_delete,
    "create_builder_file": builders.perform_create,
    "delete_builder_file": builders.perform_delete,
    "create_code_module": code.perform_create,
    "delete_code_module": code.perform_delete,
    "execute_instance": execute.perform,
}
"""By the name of the operation; write_instance is not here: its frame died with its caller."""
