"""``write_instance``: a dataframe of the user's own becomes an instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tablevault.errors import TVArgumentError
from tablevault.history.snapshot import Snapshot
from tablevault.journal.beginning import refusing, taken_up
from tablevault.journal.operation import running
from tablevault.journal.record import Hold, Request
from tablevault.names import InstanceId, ProcessId, check_version
from tablevault.operations.materialize import Result, materialize, result_holds
from tablevault.queries.resolve import Temp, find_instance, find_temp, latest_or_error
from tablevault.vault import Vault
from tablevault.wording import Call, Operation, Parameter, Wording

if TYPE_CHECKING:
    import pandas as pd

Dependencies = Sequence[Sequence[str | None]] | None


def write_instance(
    vault: Vault,
    frame: pd.DataFrame,
    table: str,
    version: str,
    *,
    options: tuple[Dependencies, Mapping[str, str] | None],
    process_id: str,
) -> ProcessId:
    """Materialise `frame` as an instance; `options` are dependencies and dtypes."""
    with refusing(
        vault.journal, vault.actor(process_id), "write_instance", table_name=table, version=version
    ):
        dependencies, dtypes = options
        label = check_version(version)
        request = Request(
            operation="write_instance",
            arguments={
                "table_name": table,
                "version": label,
                "dependencies": [[pair[0], pair[1]] for pair in _pairs(dependencies)],
                "dtypes": {str(key): str(value) for key, value in (dtypes or {}).items()},
            },
        )
        return perform(vault, frame, taken_up(vault.journal, request, process_id), process_id)


def write_csv(
    vault: Vault,
    path: Path,
    table: str,
    version: str,
    *,
    options: tuple[Dependencies, Mapping[str, str] | None],
    process_id: str,
) -> ProcessId:
    """Materialise a CSV file as an instance; declared columns are cast from their text."""
    from tablevault.frames.csv import read_csv

    frame = read_csv(path, options[1] or {})
    return write_instance(vault, frame, table, version, options=options, process_id=process_id)


def perform(vault: Vault, frame: pd.DataFrame, request: Request, process_id: str) -> ProcessId:
    """Materialise `frame` as the instance that is asked for."""
    table, label = request.text("table_name"), request.text("version")
    dependencies = cast("list[list[str | None]]", request.arguments["dependencies"])
    dtypes = cast("dict[str, str]", request.arguments["dtypes"])
    _find_external(vault, vault.snapshot(), table, label)
    prepared = _prepare(frame, dtypes)
    resolved: list[tuple[str, InstanceId]] = []

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        temp = _find_external(vault, snapshot, table, label)
        resolved[:] = _resolve(vault, snapshot, dependencies)
        return result_holds(snapshot.table(table), temp.ref)

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        draft = operation.drafted(_find_external(vault, vault.snapshot(), table, label).ref)
        unique = tuple(dict.fromkeys(resolved))
        materialize(vault, operation, draft, prepared, Result(dependencies=unique))
    return operation.process_id


def _find_external(vault: Vault, snapshot: Snapshot, table: str, version: str) -> Temp:
    """Find the temporary instance that waits for a frame."""
    temp = find_temp(vault, snapshot, table, version)
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
            Wording(Operation("write_instance"), f" was given a {type(frame).__name__}."),
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


def _resolve(
    vault: Vault, snapshot: Snapshot, dependencies: Dependencies
) -> list[tuple[str, InstanceId]]:
    """Find the instances that are named as dependencies; no id means the latest active one."""
    from tablevault.errors import TVTableError

    found: list[tuple[str, InstanceId]] = []
    for table, instance_id in _pairs(dependencies):
        try:
            instance = (
                find_instance(vault, snapshot, table, instance_id)
                if instance_id
                else latest_or_error(vault, snapshot, table, "")
            )
        except TVTableError as error:
            raise TVArgumentError(error.message, error.hint, **error.facts) from error
        found.append((table, instance.instance_id))
    return found
