"""Instances: create temporary ones, write a dataframe of the caller's, delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.commits.change import BranchChange, Change
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import Table, VaultView
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
from tablevault.operations.code_and_builders import by_file, gather_builders, template
from tablevault.operations.materialize import (
    NewInstance,
    Result,
    plan_instance,
    prepared_document,
    result_holds,
    store,
)
from tablevault.operations.tables import forget_objects, log_forgotten, removed_branch
from tablevault.queries.calls import forgotten_with
from tablevault.render import counted
from tablevault.secrets import IN_BUILDER, IN_DESCRIPTION
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.claims import claimed_instance, instance_hold, temp_hold
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, OperationName, Parameter, Wording

if TYPE_CHECKING:
    import pandas as pd


_EXTERNAL = Parameter("create_instance", "external_edit")
_BUILDERS = Parameter("create_instance", "builders")

Builders = Sequence[str] | Mapping[str, str] | None


@operation("create_instance")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInstance(Operation[Vault, VaultView, Instance | None]):
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

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the version, and share the origin."""
        view.table(self.table_name)
        holds = [temp_hold(self.table_name, self.version)]
        if (origin := self._origin(view)) is not None:
            holds.append(instance_hold(view.name_of(origin), origin.instance_id, exclusive=False))
        return holds

    def prepare(self, vault: Vault, tx: Transaction) -> Instance | None:
        """Return the instance to start from: the claimed one, even if there is a later one."""
        view = vault.view()
        claimed = filter(None, map(claimed_instance, tx.record.holds))
        return next((view.instance(instance_id) for _, instance_id in claimed), None)

    def plan(
        self, view: VaultView, tx: Transaction, prepared: Instance | None, at: float
    ) -> Change:
        """Begin a branch."""
        view.table(self.table_name)
        temp = self.temp
        branch = None if view.temp(temp) is None else tx.edited_branch(temp)
        texts = self._all_texts(prepared)
        kind = "external edit" if self.external_edit else counted(len(texts), "builder")
        source = "" if prepared is None else f", from {prepared.instance_id}"
        message = tx.message(
            f"{temp.table}/{temp.version}: create instance, {kind}{source}",
            [("Table", temp.table), ("Version", temp.version)],
            at=at,
        )
        return Change(
            message=message,
            branches=(
                BranchChange(
                    temp=temp,
                    tip=None if branch is None else branch.tip,
                    onto=None if branch is None else branch.commit,
                    edits=tuple(self._edits(view, prepared, texts)),
                    message=message,
                    fresh=True,
                ),
            ),
        )

    def _all_texts(self, origin: Instance | None) -> Mapping[str, str]:
        """Return the texts of builders, that of a template included."""
        if origin is not None or self.external_edit:
            return self.texts
        name = index_builder(self.table_name)
        return {name: template(self.table_name, name), **self.texts}

    def _edits(
        self, view: VaultView, origin: Instance | None, texts: Mapping[str, str]
    ) -> Iterator[Edit]:
        """Yield what the branch holds: what comes from the origin, builders, the document."""
        temp = self.temp
        document = InstanceDocument(
            description=self.description,
            version=temp.version,
            external_edit=bool(self.external_edit),
            origin=("", "") if origin is None else (origin.instance_id, view.name_of(origin)),
        )
        yield Remove(path=instance_dir(temp.table, temp.version))
        if origin is not None and self.external_edit:
            yield from _copied_frame(origin, temp)
            frame = origin.document
            document = replace(document, dtypes=frame.dtypes, rows=frame.rows, digest=frame.digest)
        elif origin is not None:
            yield from _copied_builders(origin, temp)
        for name, text in texts.items():
            path = builder_path(temp.table, temp.version, name)
            yield Put(path=path, data=text.encode("utf-8"))
        yield Put(path=instance_document(temp.table, temp.version), data=document.encode())

    def _origin(self, view: VaultView) -> Instance | None:
        """Find the instance to start from: the one named, or the latest when `copy`."""
        table = view.table(self.origin_table or self.table_name)
        if self.origin_id:
            return table.instance(self.origin_id)
        for successful in (True, False) if self.copy else ():
            for label in (self.version, ""):
                latest = table.latest_or_none(label, successful=successful)
                if latest is not None:
                    return latest
        return None


def _copied_frame(origin: Instance, temp: TempRef) -> Iterator[Edit]:
    """Yield the edit that copies the dataframe of the origin."""
    frame = origin.snapshot.blob_id(frame_path(origin.table_name, origin.version))
    if frame is not None:
        yield Graft(path=frame_path(*temp), source=frame, is_tree=False)


def _copied_builders(origin: Instance, temp: TempRef) -> Iterator[Edit]:
    """Yield the edits that copy the builders of the origin."""
    builders = origin.snapshot.builders(origin.table_name, origin.version)
    for name, blob in builders.items():
        own = index_builder(temp.table) if name == index_builder(origin.table_name) else name
        yield Graft(path=builder_path(*temp, own), source=blob, is_tree=False)


@operation("delete_instance")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteInstance(Operation[Vault, VaultView, str]):
    """Remove an instance, dataframe and artifacts for good; its description stays in history.

    The branch of a temporary one becomes a parent of a commit that changes nothing.
    """

    instance_id: str
    table_name: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the instance."""
        table, instance_id = self.table_name, self.instance_id
        if is_temp_id(instance_id):
            temp = view.table(table).temp(version_of(instance_id))
            return [temp_hold(table, temp.ref.version)]
        view.table(table).instance(instance_id, withdrawn_too=True)
        return [instance_hold(table, instance_id, exclusive=True)]

    def prepare(self, vault: Vault, tx: Transaction) -> str:
        """Count the calls that are forgotten with it."""
        if is_temp_id(self.instance_id):
            return ""
        table = vault.live_view().table(self.table_name)
        return forgotten_with(table, [table.instance(self.instance_id, withdrawn_too=True)])

    def plan(self, view: VaultView, tx: Transaction, prepared: str, at: float) -> Change:
        """Remove it from the tree, or its branch."""
        table, instance_id = self.table_name, self.instance_id
        if is_temp_id(instance_id):
            return self._without_temp(view, tx, at)
        found = view.table(table).instance(instance_id, withdrawn_too=True)
        subject = f"{table}/{found.version}: delete {instance_id}"
        pairs = [("Table", table), ("Version", found.version), ("Deletes", instance_id)]
        return Change(
            message=tx.message(subject, pairs, prepared, at=at),
            main=tuple(_without(view.table(table), found)),
            untagged=(tag_ref(table, instance_id),),
        )

    def _without_temp(self, view: VaultView, tx: Transaction, at: float) -> Change:
        """Remove a temporary instance."""
        temp = view.table(self.table_name).temp(version_of(self.instance_id))
        table, version = self.table_name, temp.ref.version
        return Change(
            message=tx.message(
                f"{table}/{version}: delete temporary instance",
                [("Table", table), ("Version", version)],
                at=at,
            ),
            main=(),
            removed=(removed_branch(tx.edited_branch(temp.ref)),),
        )

    def finish(self, vault: Vault, tx: Transaction, prepared: str) -> None:
        """Delete its objects."""
        if not is_temp_id(self.instance_id):
            forget_objects(vault, tx, [InstanceId(self.instance_id)])
            log_forgotten(prepared)


def _without(table: Table, instance: Instance) -> Iterator[Edit]:
    """Yield the edits that remove an instance; the one before it of its version takes its place."""
    name, version = table.name, instance.version
    if table.document.artifact_instance == instance.instance_id:
        yield Remove(path=artifacts_dir(name, version, multiple=False))
        without_owner = replace(table.document, artifact_instance="")
        yield Put(path=table_document(name), data=without_owner.encode())
    current = table.view.snapshot.instance(name, version)
    if current is None or current.id != instance.instance_id:
        return
    yield Remove(path=instance_dir(name, version))
    others = [each for each in table.instances(version) if each.instance_id != current.id]
    if others:
        before = others[-1]
        tree = before.snapshot.tree_id(instance_dir(before.table_name, version))
        if tree is not None:
            yield Graft(path=instance_dir(name, version), source=tree)


Dependencies = Sequence[Sequence[str | None]] | None


# -- a dataframe of the caller's ----------------------------------------------------------------


@operation("write_instance", restarts=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class WriteInstance(Operation[Vault, VaultView, NewInstance]):
    """Materialise a dataframe of the caller's, who alone can run it again."""

    table_df: pd.DataFrame = field(compare=False, metadata=NOT_RECORDED)
    table_name: str
    version: str
    dependencies: Dependencies = ()
    dtypes: Mapping[str, str] | None = None
    resolved: tuple[tuple[str, InstanceId], ...] = field(default=(), metadata=NOT_RECORDED)
    """Table and instance of each dependency."""

    def checked(self, vault: Vault) -> Self:
        """Return the operation with dependencies and dtypes as text."""
        return replace(
            self,
            version=check_version(self.version),
            dependencies=_pairs(self.dependencies),
            dtypes={str(name): str(dtype) for name, dtype in (self.dtypes or {}).items()},
        )

    def gathered(self, vault: Vault) -> Self:
        """Find the temporary instance and the dependencies, then cast the dataframe."""
        view = vault.view()
        _find_external(view, self.table_name, self.version)
        resolved = tuple(dict.fromkeys(_resolve(view, self.dependencies)))
        frame = _prepare(self.table_df, self.dtypes or {})
        return replace(self, table_df=frame, resolved=resolved)

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the version, and what else an instance needs."""
        temp = _find_external(view, self.table_name, self.version)
        return result_holds(view.snapshot.table(self.table_name), temp.ref)

    def prepare(self, vault: Vault, tx: Transaction) -> NewInstance:
        """Store the dataframe with its artifacts."""
        branch = tx.edited_branch(TempRef(table=self.table_name, version=self.version))
        document = replace(prepared_document(vault.parts, branch), dependencies=self.resolved)
        return store(vault, tx, branch, self.table_df, Result(document=document))

    def plan(self, view: VaultView, tx: Transaction, prepared: NewInstance, at: float) -> Change:
        """Merge the branch of the temporary instance, and tag the instance."""
        return plan_instance(view, tx, prepared, at)


def read_table(path: Path, dtypes: Mapping[str, str] | None) -> pd.DataFrame:
    """Read a CSV file; declared columns are cast from their text."""
    from tablevault.frames.csv import read_csv

    return read_csv(path, dtypes or {})


def _find_external(view: VaultView, table: str, version: str) -> TempInstance:
    """Find the temporary instance that waits for a frame."""
    temp = view.table(table).temp(version)
    if not temp.document.external_edit:
        raise TVArgumentError(
            f'{temp.ref.instance_id} of table "{table}" is made by builders.',
            Wording(
                "Run ",
                Call("execute_instance", table_name=table, version=temp.ref.version),
                ". Or delete it, and create it with ",
                Parameter("create_instance", "external_edit"),
                ".",
            ),
            table=table,
            version=temp.ref.version,
        )
    return temp


def _prepare(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Check the caller's dataframe; return it with text column names and nullable dtypes."""
    import pandas as pd

    from tablevault.frames.casting import cast as cast_column
    from tablevault.frames.dtypes import normalise_columns, nullable

    if not isinstance(frame, pd.DataFrame):
        raise TVArgumentError(
            Wording(OperationName("write_instance"), f" was given a {type(frame).__name__}."),
            "Pass a pandas DataFrame.",
        )
    if frame.shape[1] == 0 or frame.shape[0] == 0:
        what = "columns" if frame.shape[1] == 0 else "rows"
        raise TVArgumentError(
            f"The dataframe has no {what}.", "An instance needs at least one row and one column."
        )
    named = normalise_columns(frame)
    for name in dtypes:
        if name not in named.columns:
            raise TVArgumentError(
                Wording(
                    Parameter("write_instance", "dtypes"),
                    f' names the column "{name}", which the dataframe does not have.',
                ),
                f"Its columns are: {', '.join(map(str, named.columns[:20]))}.",
                column=str(name),
            )
    declared = {name: cast_column(named[name], dtype) for name, dtype in dtypes.items()}
    rest = nullable(named.drop(columns=list(declared)))
    if not declared:
        return rest
    columns = {name: declared.get(name, rest.get(name)) for name in named.columns}
    return pd.DataFrame(columns, index=named.index)


def _pairs(dependencies: Dependencies) -> list[tuple[str, str | None]]:
    """Check the form of dependencies."""
    pairs: list[tuple[str, str | None]] = []
    for pair in dependencies or []:
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004 - a pair
            raise TVArgumentError(
                f"Dependency {pair!r} is no pair.", "Give pairs (table_name, instance_id)."
            )
        pairs.append((str(pair[0]), pair[1]))
    return pairs


def _resolve(view: VaultView, dependencies: Dependencies) -> Iterator[tuple[str, InstanceId]]:
    """Find the instances that are named as dependencies; no id means the latest active one."""
    for name, instance_id in _pairs(dependencies):
        table = view.table(name)
        try:
            instance = table.instance(instance_id) if instance_id else table.latest()
        except TVTableError as error:
            raise TVArgumentError(error.message, error.hint, **error.facts) from error
        yield name, instance.instance_id
