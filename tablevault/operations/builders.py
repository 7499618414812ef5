"""Builder files of temporary instances: create and delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.change import BranchChange, Change
from tablevault.history.commits.documents import timestamp
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.model.temp import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import builder_path, check_builder_name
from tablevault.operations.builder_sources import builder_texts, by_file
from tablevault.secrets import IN_BUILDER
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.record import Hold, Record
from tablevault.transactions.resource_locks import temp_hold
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Parameter, Wording


@operation("create_builder_file")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBuilderFile(Operation[Vault, VaultView, None]):
    """Write builders into a temporary instance: a file, a folder's, a text, or a template."""

    table_name: str
    builder_name: str = ""
    version: str = ""
    copy_dir: str = ""
    text: str = ""
    allow_secret: bool = False
    texts: Mapping[str, str] = field(default_factory=dict, metadata=NOT_RECORDED)
    """Text of each builder, once it was read."""

    def gathered(self, vault: Vault) -> Self:
        """Read the files, after a look for the table, which the user is to hear of first."""
        _find_with_builders(vault.view(), self.table_name, self.version)
        texts = builder_texts(self.table_name, self.builder_name, self.copy_dir, self.text)
        admitted = admit(self.request, by_file(texts, self.copy_dir, ".yaml"), IN_BUILDER)
        return replace(self, texts=texts, admitted=(admitted,))

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the temporary instance."""
        temp = _find_with_builders(view, self.table_name, self.version)
        return [temp_hold(self.table_name, temp.ref.version)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Write the files."""
        temp = _find_with_builders(view, self.table_name, self.version)
        edits = [
            Put(
                path=builder_path(self.table_name, temp.ref.version, name),
                data=body.encode("utf-8"),
            )
            for name, body in self.texts.items()
        ]
        return _on_branch(tx, temp, f"write {', '.join(self.texts)}", edits, at)


@operation("delete_builder_file")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBuilderFile(Operation[Vault, VaultView, None]):
    """Remove a builder from a temporary instance."""

    builder_name: str
    table_name: str
    version: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the temporary instance; the builder has to be there."""
        temp = _find_with_builders(view, self.table_name, self.version)
        check_builder_name(self.builder_name)
        known = _names(temp)
        if self.builder_name not in known:
            raise TVFileError(
                f'There is no builder "{self.builder_name}" in {temp.ref.instance_id} of table '
                f'"{self.table_name}".',
                f"Builders there: {', '.join(known) or 'none'}.",
                builder=self.builder_name,
                table=self.table_name,
            )
        return [temp_hold(self.table_name, temp.ref.version)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Remove the file."""
        temp = _find_with_builders(view, self.table_name, self.version)
        path = builder_path(self.table_name, temp.ref.version, self.builder_name)
        return _on_branch(tx, temp, f"delete {self.builder_name}", [Remove(path=path)], at)


def _find_with_builders(view: VaultView, table: str, version: str) -> TempInstance:
    """Find a temporary instance that may have builders."""
    temp = view.table(table).temp(version)
    if temp.document.external_edit:
        raise TVArgumentError(
            f'{temp.ref.instance_id} of table "{table}" is an external edit and has no builders.',
            Wording(
                "Fill it: ",
                Call("write_instance", table_df=BLANK, table_name=table, version=temp.ref.version),
                ". Or delete it, and create it without ",
                Parameter("create_instance", "external_edit"),
                ".",
            ),
            table=table,
            version=temp.ref.version,
        )
    return temp


def _names(temp: TempInstance) -> list[str]:
    """Name the builders, those made by hand included."""
    tracked = temp.snapshot.builders(*temp.ref)
    return sorted(tracked.keys() | set(temp.parts.temp_folders.builder_names(temp.ref)))


def _on_branch(
    tx: Transaction, temp: TempInstance, what: str, edits: Sequence[Edit], at: float
) -> Change:
    """Commit edits to the branch of a temporary instance, on top of what was edited by hand."""
    branch, ref = tx.edited_branch(temp.ref), temp.ref
    message = tx.message(
        f"{ref.table}/{ref.version}: {what}",
        [("Table", ref.table), ("Version", ref.version), ("Time", timestamp(at))],
    )
    return Change(
        message=message,
        branches=(
            BranchChange(
                temp=ref,
                tip=branch.tip,
                onto=branch.commit,
                edits=tuple(edits),
                message=message,
            ),
        ),
    )
