"""What ``TableVault(restart=True)`` does: processes that died are run to their end."""

from __future__ import annotations

import warnings

from tablevault.errors import TableVaultError, TVLockError, TVProcessError
from tablevault.names import ProcessId
from tablevault.operations.stop import StopProcess
from tablevault.secrets import text_to_keep
from tablevault.transactions.operation import decoded_operation
from tablevault.transactions.record import Record
from tablevault.transactions.recovery import roll_back, roll_forward
from tablevault.vault import Vault


def restart_processes(vault: Vault) -> None:
    """Run every process to its end that is in the journal and that nobody runs.

    Each is handled for itself; what fails is reported by one warning at the end. Processes that
    stop others come first, so that these are not run instead of stopped.
    """
    files = vault.records
    failures = []
    for record in sorted(files.every(), key=_stops_nothing):
        try:
            problem = _restart(vault, record)
        # One bad record must not keep the vault closed, nor a function that wants to exit.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            # In another interpreter somebody may have been faster.
            ended = isinstance(error, TVProcessError) and files.read(record.process_id) is None
            runs = ended or files.is_alive(record.process_id)
            problem = "" if runs else f"{type(error).__name__}: {text_to_keep(error)}"
        if problem:
            failures.append(f"{record.request.operation} {record.process_id}: {problem}")
    if failures:
        warnings.warn(
            f"{len(failures)} processes could not be restarted: " + "; ".join(failures),
            RuntimeWarning,
            stacklevel=5,
        )


def _restart(vault: Vault, record: Record) -> str:
    """Run one process again, with the arguments it was started with; say what was not possible.

    What was started within another one is left to that; when it has ended, nobody waits for what
    it started, and only what has an id of its own is run.
    """
    files, process_id = vault.records, record.process_id
    if files.is_alive(process_id) or files.read(process_id) is None:
        return ""
    if record.parent and files.read(ProcessId(record.parent)) is not None:
        return ""
    asked = decoded_operation(record.request)
    if asked is None or (record.parent and not record.named):
        _take_back(vault, record)
        needs = "only its caller can run it again; it was taken back"
        return needs if asked is None else ""
    try:
        asked.start(vault, vault.actor(process_id))
    except TVLockError:
        raise  # somebody else is in the way: it goes on waiting
    except TableVaultError:
        left = files.read(process_id)
        if left is not None and not left.plan and not files.is_alive(process_id):
            _take_back(vault, left)  # it cannot begin, and has done nothing that would be lost
        raise
    return ""


def _take_back(vault: Vault, record: Record) -> None:
    """End a process that cannot be run again; unless it has happened."""
    with vault.records.mutex():
        if not roll_forward(vault.parts, record):
            roll_back(vault.parts, record)


def _stops_nothing(record: Record) -> bool:
    """Return whether a process does not stop another one."""
    return record.request.operation != StopProcess.operation_name
