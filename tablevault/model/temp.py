"""A temporary instance: a branch, and its files that people may edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tablevault.history.commits.change import BY_HAND
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.lfs.pointer import Pointer
from tablevault.names import CommitId, InstanceId, TempRef, frame_path
from tablevault.transactions.parts import VaultParts

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
