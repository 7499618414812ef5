"""``write_instance``: a dataframe of the user's own becomes an instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.commits.change import Change
from tablevault.model.temp import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import InstanceId, TempRef, check_version
from tablevault.operations.materialize import (
    NewInstance,
    Result,
    plan_instance,
    result_holds,
    store,
)
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.record import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, OperationName, Parameter, Wording

if TYPE_CHECKING:
    import pandas as pd

Dependencies = Sequence[Sequence[str | None]] | None


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
        """Return it with pairs and names as text."""
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
        return store(vault, tx, branch, self.table_df, Result(dependencies=self.resolved))

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
    """Check the caller's frame and give one with text column names and nullable dtypes."""
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
