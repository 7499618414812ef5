"""What an execution has made so far, for whoever reads while it goes on or after it stopped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tablevault.model.temp import TempInstance
from tablevault.names import TempRef
from tablevault.queries.call_files import source_of
from tablevault.transactions.record import Record
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.execution.partial import PartialRun


def run_of_temp(vault: Vault, temp: TempInstance) -> PartialRun | None:
    """Find the execution that runs or ran last on a temporary instance; None when none did."""
    from tablevault.engine.execution.partial import find_run

    find_source = cache(lambda instance: source_of(vault, instance))
    return find_run(vault.calls, vault.checkpoints.made_by(temp.tip), find_source)


def run_of_process(vault: Vault, record: Record) -> PartialRun | None:
    """Find what a process has made; None when it makes nothing, or has not begun to."""
    table, version = (record.request.arguments.get(key) for key in ("table_name", "version"))
    if record.request.operation != "execute_instance" or not (
        isinstance(table, str) and isinstance(version, str)
    ):
        return None
    temp = vault.temp(TempRef(table=table, version=version))
    run = None if temp is None else run_of_temp(vault, temp)
    return run if run is not None and run.process_id == record.process_id else None


def finished_rows(vault: Vault, table: str, version: str) -> dict[str, int]:
    """Count the finished rows of each builder of a temporary instance; empty when there is none."""
    temp = vault.temp(TempRef(table=table, version=version))
    run = None if temp is None else run_of_temp(vault, temp)
    return {} if run is None else run.progress()
