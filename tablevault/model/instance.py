"""Instances: a materialised one, as its commit has it, and a temporary one, on its branch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Protocol

from tablevault.errors import TableVaultError, TVTableError
from tablevault.history.catalog.catalog import Catalog, IndexedInstance
from tablevault.history.commits.change import BY_HAND
from tablevault.history.commits.documents import InstanceDocument, TableDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.lfs.pointer import Pointer
from tablevault.names import (
    BlobId,
    CommitId,
    InstanceId,
    TempRef,
    artifacts_dir,
    calls_path,
    code_path,
    frame_path,
)
from tablevault.transactions.parts import VaultParts

_REWRITTEN = "The history was rewritten: restore it from another copy of the vault."
_ROW = tuple(each.name for each in fields(IndexedInstance))


class Materialized(Protocol):
    """What says when an instance was made."""

    @property
    def instance_id(self) -> str:
        """Id of the instance."""

    @property
    def materialized_at(self) -> str:
        """When it was made, as RFC 3339 in UTC."""


def by_age(instance: Materialized) -> tuple[str, str]:
    """Return the key that sorts instances, oldest first: the last one is the latest.

    Ids decide between instances of one moment; the catalog and merges have the same order.
    """
    return instance.materialized_at, instance.instance_id


@dataclass(frozen=True, kw_only=True)
class Instance(IndexedInstance):
    """An instance, which never changes; only the catalog says whether it is active or deleted.

    Documents and pointers are read when they are first asked for, and kept.
    """

    parts: VaultParts = field(repr=False, compare=False)
    catalog: Catalog = field(repr=False, compare=False)

    @classmethod
    def of(cls, row: IndexedInstance, parts: VaultParts, catalog: Catalog) -> Instance:
        """Return the instance that a row of the catalog describes."""
        known = {name: getattr(row, name) for name in _ROW}
        return cls(parts=parts, catalog=catalog, **known)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The vault at the commit that made the instance."""
        return Snapshot(self.parts.repository, self.commit)

    @cached_property
    def document(self) -> InstanceDocument:
        """Its ``instance.yaml``.

        Raises
        ------
        TVTableError
            Its commit has no ``instance.yaml``.
        TVFileError
            The document cannot be read.
        """
        found = self.snapshot.instance(self.table_name, self.version)
        if found is None:
            raise TVTableError(
                f'The commit {self.commit[:12]} of instance "{self.instance_id}" has no '
                "instance.yaml.",
                _REWRITTEN,
                instance=self.instance_id,
            )
        return found

    @cached_property
    def table_document(self) -> TableDocument:
        """The document of its table at its commit."""
        return self.snapshot.table(self.table_name)

    # -- its dataframe and its calls ------------------------------------------------------------

    @cached_property
    def frame_pointer(self) -> Pointer | None:
        """The pointer to its dataframe."""
        return self.snapshot.pointer(frame_path(self.table_name, self.version))

    @cached_property
    def calls_pointer(self) -> Pointer | None:
        """The pointer to its calls; None when it has none."""
        return self.snapshot.pointer(calls_path(self.table_name, self.version))

    def has_frame(self) -> bool:
        """Return whether its dataframe is here."""
        return self.frame_pointer is not None and self.parts.store.has(self.frame_pointer)

    def frame_file(self) -> Path:
        """Return its Parquet file, checked; one that is not here is fetched, and its calls, too.

        Raises
        ------
        TVTableError
            Its commit has no dataframe.
        TVFileError
            The file is not here and cannot be fetched, or is damaged.
        """
        if self.frame_pointer is None:
            raise TVTableError(
                f'Instance "{self.instance_id}" has no dataframe.',
                _REWRITTEN,
                instance=self.instance_id,
            )
        is_here = self.parts.store.has(self.frame_pointer)
        path = self.parts.store.file(self.frame_pointer)
        if not is_here:
            # The dataframe can be read without its calls.
            with contextlib.suppress(TableVaultError):
                if self.calls_pointer is not None:
                    self.parts.store.file(self.calls_pointer)
        return path

    # -- how it was made ------------------------------------------------------------------------

    def builders(self) -> dict[str, bytes]:
        """Return the files of the builders that made it, by name, sorted."""
        return self.snapshot.builder_files(self.table_name, self.version)

    def code(self) -> dict[str, str]:
        """Return the texts of the code modules that ran, by name.

        Raises
        ------
        TVFileError
            A text is no UTF-8.
        """
        return {
            name: self.snapshot.text_of(BlobId(blob), code_path(name))
            for name, blob in self.document.code.items()
        }

    def sources(self) -> list[Instance]:
        """Return the instances that it read, oldest first, as far as the catalog knows them."""
        ids = [instance_id for _, instance_id in self.document.dependencies]
        found = self.catalog.instances_with_ids(ids) if ids else []
        return [Instance.of(row, self.parts, self.catalog) for row in found]

    def previous(self) -> Instance | None:
        """Return the instance of the same version before it; None for the first that there is."""
        earlier = [
            row
            for row in self.catalog.instances(self.table_id, self.version)
            if by_age(row) < by_age(self)
        ]
        return Instance.of(earlier[-1], self.parts, self.catalog) if earlier else None

    # -- its artifacts --------------------------------------------------------------------------

    def shares_folder(self, table: TableDocument) -> bool:
        """Return whether it keeps its artifacts in the folder that the instances of a table share.

        Parameters
        ----------
        table : TableDocument
            The document of its table, of any commit: how artifacts are kept never changes.
        """
        return not table.multiple_artifacts and self.success

    @cached_property
    def artifacts_path(self) -> str:
        """The folder of its artifacts in its commit."""
        is_own = not self.shares_folder(self.table_document)
        return artifacts_dir(self.table_name, self.version, multiple=is_own)

    def owns_shared_folder(self) -> bool:
        """Return whether the folder that instances share was filled by this one."""
        return self.table_document.artifact_instance == self.instance_id

    def artifacts(self) -> dict[str, str]:
        """Return the sha256 of each artifact, by its name."""
        pointers = self.snapshot.pointers(self.artifacts_path)
        return {name: pointer.oid for name, pointer in pointers.items()}


_ON_BRANCHES = frozenset({"", BY_HAND, "create_builder_file", "delete_builder_file"})
"""Operations whose commits may stand between the creation of a temporary instance and its tip;
commits without one are the user's own, and those of a renamed table."""


@dataclass(frozen=True, kw_only=True)
class TempInstance:
    """A temporary instance as its branch has it at `tip`; its files are read as they are now."""

    ref: TempRef
    tip: CommitId
    parts: VaultParts = field(repr=False, compare=False)

    @classmethod
    def find(cls, parts: VaultParts, ref: TempRef) -> TempInstance | None:
        """Find the temporary instance of a table and version."""
        tip = parts.repository.tip(ref.ref)
        return None if tip is None else cls(ref=ref, tip=tip, parts=parts)

    @property
    def instance_id(self) -> InstanceId:
        """Its id, ``TEMP_<version>``."""
        return self.ref.instance_id

    @cached_property
    def snapshot(self) -> Snapshot:
        """The vault at the tip of its branch."""
        return Snapshot(self.parts.repository, self.tip)

    @property
    def creation(self) -> CommitId:
        """The commit that created it; another one if it is created anew, the same if renamed.

        A branch that plain git has made counts from where it leaves ``main``.
        """
        first = tip = self.tip
        while True:
            commit = self.parts.repository.commit(tip)
            operation = commit.message.first("Vault-Operation")
            if operation == "create_instance":
                return tip
            if operation not in _ON_BRANCHES:
                return first
            first = tip
            if not commit.parents:
                return first
            tip = commit.parents[0]

    @cached_property
    def document(self) -> InstanceDocument:
        """The document on its branch; without one, that of a new instance."""
        found = self.snapshot.instance(self.ref.table, self.ref.version)
        if found is not None:
            return found
        return InstanceDocument(description="", version=self.ref.version, external_edit=False)

    @cached_property
    def frame_pointer(self) -> Pointer | None:
        """The pointer to the dataframe that it was copied with; None when it had none."""
        return self.snapshot.pointer(frame_path(self.ref.table, self.ref.version))

    @property
    def artifact_folder(self) -> Path:
        """Folder into which functions and people put its artifacts."""
        return self.parts.temp_folders.artifacts(self.ref)

    def builders(self) -> dict[str, bytes]:
        """Return its builders by name, sorted: those of its branch, with edits in its folder.

        The folder follows when the next operation begins, or the vault is opened; a commit that
        another user has made on the branch counts at once.
        """
        if not self.parts.temp_folders.is_behind(self.ref, self.tip):
            return self.parts.temp_folders.builders(self.ref)
        found = self.snapshot.builder_files(*self.ref)
        edits = self.edits()
        found.update({name: data for name, data in edits.items() if data is not None})
        return {name: found[name] for name in sorted(found) if edits.get(name, b"") is not None}

    def edits(self) -> Mapping[str, bytes | None]:
        """Return the builders that were edited by hand, by name; None where one was removed."""
        return self.parts.temp_folders.edited(self.ref, self.tip)
