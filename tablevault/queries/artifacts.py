"""Where the artifacts of an instance lie as files."""

from __future__ import annotations

import os
from pathlib import Path

from tablevault.history.documents import TableDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import BlobId, artifacts_dir
from tablevault.vault import Vault


def folder_of(vault: Vault, table: str, instance: IndexedInstance) -> Path:
    """Folder of the artifacts of an instance, absolute.

    The folder in the working tree where that holds this very instance; else one that is laid
    out for it alone, so that the files of an older instance are there as long as it exists.
    """
    snapshot = vault.snapshot()
    document = snapshot.table(table)
    shared = shares_folder(document, instance)
    folder = artifacts_dir(table, instance.version, multiple=not shared)
    current = snapshot.instance(table, instance.version)
    if shared:
        owner = document.artifact_instance
        stands = owner == instance.instance_id or not (owner or _has_own_files(vault, instance))
    else:
        stands = current is not None and current.id == instance.instance_id
    if stands and vault.journal.worktree.follows_main():
        return vault.path / folder
    return fixed_folder_of(vault, document, instance)


def fixed_folder_of(vault: Vault, document: TableDocument, instance: IndexedInstance) -> Path:
    """Folder that holds the artifacts of this instance and never changes; laid out if needed.

    The files are links to objects, or copies. A crash leaves no half folder: it appears in one
    step.
    """
    target = vault.state / "artifacts" / instance.instance_id
    if target.is_dir():
        return target
    snapshot = Snapshot(vault.journal.repository, instance.commit)
    multiple = not shares_folder(document, instance)
    tracked = artifacts_dir(instance.table_name, instance.version, multiple=multiple)
    beside = target.with_name(f"{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    beside.mkdir(parents=True)
    # The folder that instances share may have been that of another one at the time.
    files = snapshot.files(tracked) if multiple or _has_own_files(vault, instance) else ()
    for entry in files:
        path = beside / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        pointer = snapshot.pointer_of(BlobId(entry.id), f"{tracked}/{entry.name}")
        vault.store.lay_out(pointer, path, executable=entry.executable)
    try:
        beside.rename(target)
    except OSError:
        # Another reader was faster.
        import shutil

        shutil.rmtree(beside)
    return target


def shares_folder(document: TableDocument, instance: IndexedInstance) -> bool:
    """Tell whether the instance keeps its artifacts in the folder of the table."""
    return not document.multiple_artifacts and instance.success


def artifact_ids(vault: Vault, instance: IndexedInstance) -> dict[str, str]:
    """Give the sha256 of each artifact of an instance, by its name."""
    made = Snapshot(vault.journal.repository, instance.commit)
    multiple = not shares_folder(made.table(instance.table_name), instance)
    folder = artifacts_dir(instance.table_name, instance.version, multiple=multiple)
    return {
        entry.name: made.pointer_of(BlobId(entry.id), f"{folder}/{entry.name}").oid
        for entry in made.files(folder)
    }


def _has_own_files(vault: Vault, instance: IndexedInstance) -> bool:
    """Tell whether the folder that instances share was filled by this one."""
    made = Snapshot(vault.journal.repository, instance.commit)
    return made.table(instance.table_name).artifact_instance == instance.instance_id
