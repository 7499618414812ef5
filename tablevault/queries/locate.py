"""The artifact folder that a caller asks for."""

from __future__ import annotations

from tablevault.names import is_temp_id
from tablevault.queries.artifacts import folder_of
from tablevault.queries.resolve import (
    find_instance,
    find_temp,
    find_temp_by_id,
    latest_or_error,
)
from tablevault.vault import Vault


def artifact_folder(
    vault: Vault, table: str, instance_id: str, version: str, *, is_temp: bool
) -> str:
    """Give the artifact folder of a temporary or materialised instance, absolute; it exists."""
    snapshot = vault.snapshot()
    if is_temp_id(instance_id) or (is_temp and not instance_id):
        temp = (
            find_temp_by_id(vault, snapshot, table, instance_id)
            if instance_id
            else find_temp(vault, snapshot, table, version)
        )
        folder = vault.journal.faces.artifacts(temp.ref)
    else:
        found = (
            find_instance(vault, snapshot, table, instance_id)
            if instance_id
            else latest_or_error(vault, snapshot, table, version)
        )
        folder = folder_of(vault, table, found)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
