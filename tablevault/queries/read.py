"""Frames of instances, and what the engine reads while builders run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import (
    TableReferenceError,
    TableVaultError,
    TVArgumentError,
    TVTableError,
)
from tablevault.history.documents import InstanceDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import InstanceId, calls_path, frame_path, is_instance_id
from tablevault.queries import artifacts
from tablevault.queries.resolve import (
    find_instance,
    find_latest,
)
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.inputs import Source
    from tablevault.objects.pointer import Pointer


def instance_document(vault: Vault, instance: IndexedInstance) -> InstanceDocument:
    """Read the document of an instance where it was made."""
    snapshot = Snapshot(vault.journal.repository, instance.commit)
    document = snapshot.instance(instance.table_name, instance.version)
    if document is None:
        raise TVTableError(
            f'The commit {instance.commit[:12]} of instance "{instance.instance_id}" has no '
            "instance.yaml.",
            "The history was rewritten: restore it from another copy of the vault.",
            instance=instance.instance_id,
        )
    return document


def has_artifacts(document: InstanceDocument) -> bool:
    """Tell whether a column of the instance names artifacts."""
    return "artifact_string" in document.dtypes.values()


def frame_file(vault: Vault, instance: IndexedInstance) -> Path:
    """Give the Parquet file of an instance, checked."""
    pointer = _frame_pointer(vault, instance)
    if pointer is None:
        raise TVTableError(
            f'Instance "{instance.instance_id}" has no dataframe.',
            "The history was rewritten: restore it from another copy of the vault.",
            instance=instance.instance_id,
        )
    is_here = vault.store.has(pointer)
    path = vault.store.file(pointer)
    if not is_here:
        _bring_calls(vault, instance)
    return path


def has_frame(vault: Vault, instance: IndexedInstance) -> bool:
    """Return whether the dataframe of an instance is here."""
    pointer = _frame_pointer(vault, instance)
    return pointer is not None and vault.store.has(pointer)


def _frame_pointer(vault: Vault, instance: IndexedInstance) -> Pointer | None:
    """Return the pointer to the dataframe of an instance."""
    snapshot = Snapshot(vault.journal.repository, instance.commit)
    return snapshot.pointer(frame_path(instance.table_name, instance.version))


def calls_pointer(vault: Vault, instance: IndexedInstance) -> Pointer | None:
    """Return the pointer to the calls of an instance; None when it has none."""
    snapshot = Snapshot(vault.journal.repository, instance.commit)
    return snapshot.pointer(calls_path(instance.table_name, instance.version))


def _bring_calls(vault: Vault, instance: IndexedInstance) -> None:
    """Let the calls of an instance come with its dataframe; whoever reads that can do without."""
    with contextlib.suppress(TableVaultError):
        pointer = calls_pointer(vault, instance)
        if pointer is not None:
            vault.store.file(pointer)


@dataclass(slots=True)
class VaultInputs:
    """What builders may read: instances that are fixed when the execution begins.

    Implements :class:`tablevault.engine.inputs.Inputs`.
    """

    vault: Vault
    snapshot: Snapshot
    own_table: str
    _resolved: dict[tuple[str, str], Source] = field(default_factory=dict)
    _instances: dict[InstanceId, IndexedInstance] = field(default_factory=dict)

    def resolve(self, table: str, selector: str) -> Source:
        """Fix the instance that a reference means."""
        key = (table, selector)
        if key not in self._resolved:
            self._resolved[key] = self._find(table, selector)
        return self._resolved[key]

    @property
    def fixed(self) -> list[tuple[str, str, str]]:
        """Give table, selector and instance id of what was resolved so far."""
        return [
            (table, selector, source.instance_id)
            for (table, selector), source in self._resolved.items()
        ]

    def hold_on_to(self, fixed: Iterable[tuple[str, str, str]]) -> None:
        """Let references mean what they meant before, although there may be later instances."""
        from tablevault.engine.inputs import Source

        for table, selector, instance_id in fixed:
            found = find_instance(self.vault, self.snapshot, table, instance_id)
            self._instances[found.instance_id] = found
            self._resolved[table, selector] = Source(table=table, instance_id=found.instance_id)

    def columns(self, source: Source) -> tuple[str, ...]:
        """Columns of an instance, in order."""
        document = instance_document(self.vault, self._instances[source.instance_id])
        return tuple(document.dtypes)

    def frame(self, source: Source, columns: Sequence[str] | None) -> pd.DataFrame:
        """Read columns of an instance; artifacts as full paths to files that never change."""
        from tablevault.frames.artifacts import with_paths
        from tablevault.frames.parquet import read_frame

        instance = self._instances[source.instance_id]
        frame = read_frame(frame_file(self.vault, instance), columns=columns)
        if has_artifacts(instance_document(self.vault, instance)):
            document = self.snapshot.table(source.table)
            folder = artifacts.fixed_folder_of(self.vault, document, instance)
            frame = with_paths(frame, folder)
        return frame

    def contents(self, source: Source, columns: Sequence[str]) -> pd.DataFrame:
        """Read columns of an instance; artifacts as what is in them."""
        from tablevault.engine.matching import is_artifact, with_contents
        from tablevault.frames.parquet import read_frame

        instance = self._instances[source.instance_id]
        frame = read_frame(frame_file(self.vault, instance), columns=columns)
        files = [name for name in frame.columns if is_artifact(frame[name])]
        if not files:
            return frame
        ids = artifacts.artifact_ids(self.vault, instance)
        made = {name: with_contents(frame[name], lambda file: ids.get(file, "")) for name in files}
        return frame.assign(**made)

    def _find(self, table: str, selector: str) -> Source:
        """Find the instance; references to the own table by name see inactive ones, too."""
        from tablevault.engine.inputs import Source

        try:
            if is_instance_id(selector):
                found: IndexedInstance | None = find_instance(
                    self.vault, self.snapshot, table, selector
                )
            else:
                found = self._latest(table, selector)
        except TVArgumentError as error:
            raise TableReferenceError(error.message, error.hint, **error.facts) from error
        if found is None:
            version = f' of version "{selector}"' if selector else ""
            known = self._versions(table) if selector else ""
            raise TableReferenceError(
                f'Table "{table}" has no instance{version} to read.',
                f"It has: {known}." if known else "Materialise one first.",
                table=table,
            )
        self._instances[found.instance_id] = found
        return Source(table=table, instance_id=found.instance_id)

    def _versions(self, table: str) -> str:
        """Name the versions that can be read, for an error text."""
        document = self.snapshot.table(table)
        made = self.vault.journal.index.instances(document.id)
        return ", ".join(f'"{name}"' for name in sorted({each.version for each in made}))

    def _latest(self, table: str, selector: str) -> IndexedInstance | None:
        """Prefer the latest successful instance, else take a partial one."""
        active = table != self.own_table
        for successful in (True, False):
            found = find_latest(
                self.vault,
                self.snapshot,
                table,
                selector,
                active_only=active,
                successful_only=successful,
            )
            if found is not None:
                return found
        return None
