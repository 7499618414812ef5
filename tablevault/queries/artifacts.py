"""Where the artifacts of an instance lie as files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tablevault.model.instance import Instance
from tablevault.model.temp import TempInstance
from tablevault.model.view import Table
from tablevault.names import BlobId, artifacts_dir
from tablevault.vault import Vault


def artifact_folder(
    vault: Vault, table: str, instance_id: str, version: str, *, is_temp: bool
) -> str:
    """Return the artifact folder of a temporary or materialised instance, absolute; it exists."""
    place = vault.view().table(table)
    found = place.find(instance_id, version, is_temp=is_temp)
    folder = found.artifact_folder if isinstance(found, TempInstance) else folder_of(place, found)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def folder_of(table: Table, instance: Instance) -> Path:
    """Return the folder of the artifacts of an instance, absolute.

    The folder in the working tree where that holds this very instance; else one that is written
    for it alone, so that the files of an older instance are there as long as it exists.
    """
    is_shared = instance.shares_folder(table.document)
    if is_shared:
        owner = table.document.artifact_instance
        is_current = owner == instance.instance_id or not (owner or instance.owns_shared_folder())
    else:
        current = table.view.snapshot.instance(table.name, instance.version)
        is_current = current is not None and current.id == instance.instance_id
    if is_current and instance.parts.worktree.follows_main():
        folder = artifacts_dir(table.name, instance.version, multiple=not is_shared)
        return instance.parts.repository.path / folder
    return fixed_folder_of(table, instance)


def fixed_folder_of(table: Table, instance: Instance) -> Path:
    """Return a folder that holds the artifacts of this instance and never changes.

    The files are links to objects, or copies. A crash leaves no half folder: it appears in one
    step.
    """
    target = instance.parts.state / "artifacts" / instance.instance_id
    if target.is_dir():
        return target
    is_shared = instance.shares_folder(table.document)
    tracked = artifacts_dir(instance.table_name, instance.version, multiple=not is_shared)
    beside = target.with_name(f"{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    beside.mkdir(parents=True)
    # The folder that instances share may have been that of another one at the time.
    is_own = not is_shared or instance.owns_shared_folder()
    for entry in instance.snapshot.files(tracked) if is_own else ():
        path = beside / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        pointer = instance.snapshot.pointer_of(BlobId(entry.id), f"{tracked}/{entry.name}")
        instance.parts.store.lay_out(pointer, path, executable=entry.executable)
    try:
        beside.rename(target)
    except OSError:
        # Another reader was faster.
        shutil.rmtree(beside)
    return target
