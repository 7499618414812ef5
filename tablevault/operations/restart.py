"""What ``TableVault(restart=True)`` does: processes that died are run to their end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

from tablevault.errors import TVProcessError
from tablevault.journal.record import Json, Record
from tablevault.journal.recovery import roll_back
from tablevault.operations import builders, code, execute, instances, tables
from tablevault.vault import Vault

Arguments = Mapping[str, Json]


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
    resume = _RESUME.get(record.request.operation)
    if record.parent or resume is None:
        roll_back(vault.journal, record)
        if resume is None and not record.parent:
            raise TVProcessError(
                "it needs data that only its caller has, and was taken back.",
                process=record.process_id,
            )
        return
    resume(vault, record.request.arguments, record.process_id)


def _create_table(vault: Vault, given: Arguments, process_id: str) -> None:
    tables.create_table(
        vault,
        str(given["table_name"]),
        multiple_artifacts=bool(given["allow_multiple_artifacts"]),
        side_effects=bool(given["has_side_effects"]),
        description=str(given["description"]),
        process_id=process_id,
    )


def _create_instance(vault: Vault, given: Arguments, process_id: str) -> None:
    texts = given["builders"]
    assert isinstance(texts, dict)
    wanted = instances.NewInstance(
        table=str(given["table_name"]),
        version=str(given["version"]),
        origin_id=str(given["origin_id"]),
        origin_table=str(given["origin_table"]),
        external_edit=bool(given["external_edit"]),
        copy=bool(given["copy"]),
        description=str(given["description"]),
    )
    builders_given = {name: str(text) for name, text in texts.items()}
    instances.create_instance(vault, wanted, builders_given, process_id=process_id)


def _create_builder_file(vault: Vault, given: Arguments, process_id: str) -> None:
    builders.create_builder_file(
        vault,
        str(given["table_name"]),
        str(given["builder_name"]),
        str(given["version"]),
        sources=(str(given["copy_dir"]), str(given["text"])),
        process_id=process_id,
    )


def _create_code_module(vault: Vault, given: Arguments, process_id: str) -> None:
    code.create_code_module(
        vault,
        str(given["module_name"]),
        copy_dir=str(given["copy_dir"]),
        text=str(given["text"]),
        process_id=process_id,
    )


def _delete_builder_file(vault: Vault, given: Arguments, process_id: str) -> None:
    builders.delete_builder_file(
        vault,
        str(given["builder_name"]),
        str(given["table_name"]),
        str(given["version"]),
        process_id=process_id,
    )


def _execute_instance(vault: Vault, given: Arguments, process_id: str) -> None:
    execute.execute_instance(
        vault,
        str(given["table_name"]),
        str(given["version"]),
        force_execute=bool(given["force_execute"]),
        process_id=process_id,
    )


_RESUME: Mapping[str, Callable[[Vault, Arguments, str], object]] = {
    "create_table": _create_table,
    "rename_table": lambda vault, given, process_id: tables.rename_table(
        vault, str(given["new_table_name"]), str(given["table_name"]), process_id=process_id
    ),
    "delete_table": lambda vault, given, process_id: tables.delete_table(
        vault, str(given["table_name"]), process_id=process_id
    ),
    "create_instance": _create_instance,
    "delete_instance": lambda vault, given, process_id: instances.delete_instance(
        vault, str(given["instance_id"]), str(given["table_name"]), process_id=process_id
    ),
    "create_builder_file": _create_builder_file,
    "delete_builder_file": _delete_builder_file,
    "create_code_module": _create_code_module,
    "delete_code_module": lambda vault, given, process_id: code.delete_code_module(
        vault, str(given["module_name"]), process_id=process_id
    ),
    "execute_instance": _execute_instance,
}
"""By the name of the operation; write_instance is not here: its frame died with its caller."""
