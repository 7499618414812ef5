"""Create temporary instances, delete instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from tablevault.errors import TVArgumentError
from tablevault.history.catalog.catalog import IndexedInstance
from tablevault.history.commits.change import BranchChange, Change
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.names import (
    InstanceId,
    TempRef,
    artifacts_dir,
    builder_path,
    check_version,
    frame_path,
    index_builder,
    instance_dir,
    instance_document,
    is_temp_id,
    table_document,
    tag_ref,
    version_of,
)
from tablevault.operations.builder_sources import by_file, gather_builders, template
from tablevault.operations.tables import forget_objects, removed_branch
from tablevault.queries import read
from tablevault.render import counted
from tablevault.secrets import IN_BUILDER, IN_DESCRIPTION
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.operation import Operation, Tip, operation
from tablevault.transactions.record import Hold, Record
from tablevault.transactions.resource_locks import claimed_instance, instance_hold, temp_hold
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import Parameter, Wording

_EXTERNAL = Parameter("create_instance", "external_edit")
_BUILDERS = Parameter("create_instance", "builders")

Builders = Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """The instance that a new one starts from."""

    table: str
    instance: IndexedInstance


@operation("create_instance")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInstance(Operation[Vault, _Origin | None]):
    """Make a temporary instance; one of the same version is replaced."""

    table_name: str
    version: str
    origin_id: str = ""
    origin_table: str = ""
    external_edit: bool = False
    copy: bool = False
    builders: Builders = None
    """As they are handed in; their texts, by name, from `checked` on."""
    description: str = ""
    allow_secret: bool = False

    @property
    def temp(self) -> TempRef:
        """The temporary instance."""
        return TempRef(table=self.table_name, version=self.version)

    @property
    def texts(self) -> Mapping[str, str]:
        """Texts of builders, by name."""
        assert isinstance(self.builders, Mapping), "not checked"
        return self.builders

    def checked(self, vault: Vault) -> Self:
        """Read the builders."""
        version = check_version(self.version)
        if self.external_edit and self.builders:
            raise TVArgumentError(
                Wording("An instance made with ", _EXTERNAL, " has no builders."),
                Wording("Leave out ", _BUILDERS, ", or leave out ", _EXTERNAL, "."),
                table=self.table_name,
            )
        texts = gather_builders(self.table_name, self.builders)
        return replace(self, version=version, builders=texts)

    def gathered(self, vault: Vault) -> Self:
        """Look for what looks like a key."""
        admitted = (
            admit(self.request, by_file(self.texts, "", ".yaml"), IN_BUILDER),
            admit(self.request, {"description": self.description}, IN_DESCRIPTION),
        )
        return replace(self, admitted=admitted)

    def claims(self, vault: Vault, record: Record, snapshot: Snapshot) -> Sequence[Hold]:
        """Claim the version, and share the origin."""
        vault.live_view(snapshot).table(self.table_name)
        origin = self._origin(vault, snapshot)
        holds = [temp_hold(self.table_name, self.version)]
        if origin is not None:
            holds.append(instance_hold(origin.table, origin.instance.instance_id, exclusive=False))
        return holds

    def prepare(self, vault: Vault, tx: Transaction) -> _Origin | None:
        """Find the instance to start from: the one that is claimed, also where a later one is."""
        for table, instance_id in filter(None, map(claimed_instance, tx.record.holds)):
            instance = vault.index.instance(instance_id)
            if instance is not None:
                return _Origin(table=table, instance=instance)
        return None

    def plan(self, vault: Vault, tx: Transaction, prepared: _Origin | None, tip: Tip) -> Change:
        """Begin a branch."""
        vault.live_view(tip.snapshot).table(self.table_name)
        temp = self.temp
        old = vault.temp(temp)
        branch = None if old is None else tx.edited_branch(temp)
        texts = self._all_texts(prepared)
        kind = "external edit" if self.external_edit else counted(len(texts), "builder")
        source = "" if prepared is None else f", from {prepared.instance.instance_id}"
        message = tx.message(
            f"{temp.table}/{temp.version}: create instance, {kind}{source}",
            [("Table", temp.table), ("Version", temp.version), tip.time],
        )
        return Change(
            message=message,
            branches=(
                BranchChange(
                    temp=temp,
                    tip=None if branch is None else branch.tip,
                    onto=None if branch is None else branch.commit,
                    edits=tuple(self._edits(vault, prepared, texts)),
                    message=message,
                    fresh=True,
                ),
            ),
        )

    def _all_texts(self, origin: _Origin | None) -> Mapping[str, str]:
        """Return the texts of builders, that of a template included."""
        if origin is not None or self.external_edit:
            return self.texts
        name = index_builder(self.table_name)
        return {name: template(self.table_name, name), **self.texts}

    def _edits(
        self, vault: Vault, origin: _Origin | None, texts: Mapping[str, str]
    ) -> Iterator[Edit]:
        """Yield what the branch holds: what comes from the origin, builders, the document."""
        temp = self.temp
        document = InstanceDocument(
            description=self.description,
            version=temp.version,
            external_edit=bool(self.external_edit),
            origin=("", "") if origin is None else (origin.instance.instance_id, origin.table),
        )
        yield Remove(path=instance_dir(temp.table, temp.version))
        if origin is not None:
            yield from _copied(vault, origin, temp, external_edit=self.external_edit)
            if self.external_edit:
                document = _with_frame_of(vault, document, origin.instance)
        for name, text in texts.items():
            path = builder_path(temp.table, temp.version, name)
            yield Put(path=path, data=text.encode("utf-8"))
        yield Put(path=instance_document(temp.table, temp.version), data=document.encode())

    def _origin(self, vault: Vault, snapshot: Snapshot) -> _Origin | None:
        """Find the instance to start from: the one named, or the latest when `copy`."""
        table = vault.live_view(snapshot).table(self.origin_table or self.table_name)
        if self.origin_id:
            return _Origin(table=table.name, instance=table.instance(self.origin_id))
        for successful in (True, False) if self.copy else ():
            for label in (self.version, ""):
                latest = table.latest_or_none(label, successful=successful)
                if latest is not None:
                    return _Origin(table=table.name, instance=latest)
        return None


def _copied(vault: Vault, origin: _Origin, temp: TempRef, *, external_edit: bool) -> list[Edit]:
    """Take over from the origin: its dataframe for an external edit, else its builders."""
    instance = origin.instance
    snapshot = Snapshot(vault.repository, instance.commit)
    if external_edit:
        frame = snapshot.blob_id(frame_path(instance.table_name, instance.version))
        if frame is None:
            return []
        path = frame_path(temp.table, temp.version)
        return [Graft(path=path, source=frame, is_tree=False)]
    edits: list[Edit] = []
    for name, blob in snapshot.builders(instance.table_name, instance.version).items():
        own = index_builder(temp.table) if name == index_builder(instance.table_name) else name
        path = builder_path(temp.table, temp.version, own)
        edits.append(Graft(path=path, source=blob, is_tree=False))
    return edits


def _with_frame_of(
    vault: Vault, document: InstanceDocument, instance: IndexedInstance
) -> InstanceDocument:
    """Note the dtypes of the copied dataframe."""
    origin = read.instance_document(vault, instance)
    return replace(document, dtypes=origin.dtypes, rows=origin.rows, digest=origin.digest)


@operation("delete_instance")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteInstance(Operation[Vault, None]):
    """Remove an instance, dataframe and artifacts for good; its description stays in history.

    The branch of a temporary one becomes a parent of a commit that changes nothing.
    """

    instance_id: str
    table_name: str

    def claims(self, vault: Vault, record: Record, snapshot: Snapshot) -> Sequence[Hold]:
        """Claim the instance."""
        table, instance_id = self.table_name, self.instance_id
        if is_temp_id(instance_id):
            temp = vault.live_view(snapshot).table(table).temp(version_of(instance_id))
            return [temp_hold(table, temp.ref.version)]
        vault.live_view(snapshot).table(table).instance(instance_id, withdrawn_too=True)
        return [instance_hold(table, instance_id, exclusive=True)]

    def plan(self, vault: Vault, tx: Transaction, prepared: None, tip: Tip) -> Change:
        """Remove it from the tree, or its branch."""
        table, instance_id = self.table_name, self.instance_id
        if is_temp_id(instance_id):
            return self._without_temp(vault, tx, tip)
        found = vault.live_view(tip.snapshot).table(table).instance(instance_id, withdrawn_too=True)
        pairs = [
            ("Table", table),
            ("Version", found.version),
            ("Deletes", instance_id),
            tip.time,
        ]
        return Change(
            message=tx.message(f"{table}/{found.version}: delete {instance_id}", pairs),
            main=tuple(_without(vault, tip.snapshot, table, found)),
            untagged=(tag_ref(table, instance_id),),
        )

    def _without_temp(self, vault: Vault, tx: Transaction, tip: Tip) -> Change:
        """Remove a temporary instance."""
        temp = (
            vault.live_view(tip.snapshot).table(self.table_name).temp(version_of(self.instance_id))
        )
        table, version = self.table_name, temp.ref.version
        return Change(
            message=tx.message(
                f"{table}/{version}: delete temporary instance",
                [("Table", table), ("Version", version), tip.time],
            ),
            main=(),
            removed=(removed_branch(tx.edited_branch(temp.ref)),),
        )

    def finish(self, vault: Vault, tx: Transaction, prepared: None) -> None:
        """Delete its objects."""
        if not is_temp_id(self.instance_id):
            forget_objects(vault, tx, [InstanceId(self.instance_id)])


def _without(vault: Vault, snapshot: Snapshot, table: str, instance: IndexedInstance) -> list[Edit]:
    """Take an instance out of the tree, where the one before it of its version steps in."""
    edits: list[Edit] = []
    document = snapshot.table(table)
    if document.artifact_instance == instance.instance_id:
        edits.append(Remove(path=artifacts_dir(table, instance.version, multiple=False)))
        document = replace(document, artifact_instance="")
        edits.append(Put(path=table_document(table), data=document.encode()))
    current = snapshot.instance(table, instance.version)
    if current is None or current.id != instance.instance_id:
        return edits
    edits.append(Remove(path=instance_dir(table, instance.version)))
    others = [
        other
        for other in vault.index.instances(document.id, instance.version)
        if other.instance_id != instance.instance_id
    ]
    if others:
        before = Snapshot(vault.repository, others[-1].commit)
        tree = before.tree_id(instance_dir(others[-1].table_name, instance.version))
        if tree is not None:
            edits.append(Graft(path=instance_dir(table, instance.version), source=tree))
    return edits
