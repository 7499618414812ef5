"""Dataframes as users ask for them: of an instance, or of what an execution has made so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.model.instance import Instance
from tablevault.model.temp import TempInstance
from tablevault.model.view import Table
from tablevault.names import is_temp_id, version_of
from tablevault.queries.artifacts import folder_of
from tablevault.queries.partial import run_of_temp
from tablevault.vault import Vault
from tablevault.wording import OperationName, Wording

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameQuery:
    """What part of which instance is to be read."""

    table: str
    instance_id: str = ""
    version: str = ""
    active_only: bool = True
    successful_only: bool = False
    columns: Sequence[str] | None = None
    rows: int | None = None
    full_artifact_path: bool = True


def get_dataframe(vault: Vault, query: FrameQuery) -> tuple[pd.DataFrame, str]:
    """Read the frame of an instance, and return its id, too."""
    from tablevault.frames.artifacts import with_folder
    from tablevault.frames.parquet import read_frame

    table = vault.view().table(query.table)
    if is_temp_id(query.instance_id):
        temp = table.temp(version_of(query.instance_id))
        return _temp_frame(vault, temp, query), temp.instance_id
    instance = _instance(table, query)
    frame = read_frame(instance.frame_file(), columns=query.columns, rows=query.rows)
    if query.full_artifact_path and instance.document.has_artifacts:
        frame = with_folder(frame, folder_of(table, instance))
    return frame, instance.instance_id


def get_dataset(vault: Vault, query: FrameQuery) -> pyarrow.dataset.Dataset:
    """Open the Parquet file of an instance; it is scanned in place, its artifacts are names.

    Raises
    ------
    TVTableError
        It is no Parquet, or has two columns of one name.
    """
    import pyarrow.dataset

    path = _instance(vault.view().table(query.table), query).frame_file()
    try:
        return pyarrow.dataset.dataset(path, format="parquet")
    except UnicodeEncodeError as error:
        raise TVTableError(
            f'"{path}" cannot be opened as a dataset: pyarrow takes no path that is not UTF-8.',
            Wording(
                "Use ",
                OperationName("get_dataframe"),
                ", or give the folder of the vault another name.",
            ),
            path=str(path),
        ) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise TVTableError(
            f'"{path}" cannot be opened as a dataset: {error}',
            Wording(
                "It is damaged or not Parquet: ", OperationName("get_dataframe"), " may tell more."
            ),
            path=str(path),
        ) from error


def _instance(table: Table, query: FrameQuery) -> Instance:
    """Find the instance that is asked for; an unknown id is a TVTableError here."""
    if not query.instance_id:
        return table.latest(
            query.version, active=query.active_only, successful=query.successful_only
        )
    try:
        return table.instance(query.instance_id)
    except TVArgumentError as error:
        raise TVTableError(error.message, error.hint, **error.facts) from error


def _temp_frame(vault: Vault, temp: TempInstance, query: FrameQuery) -> pd.DataFrame:
    """Read what a temporary instance holds: what builders made so far, or a copy of its origin."""
    import pandas as pd

    from tablevault.frames.artifacts import with_folder
    from tablevault.frames.parquet import read_frame

    if (run := run_of_temp(vault, temp)) is not None:
        frame = run.frame(query.columns, query.rows)
    elif temp.frame_pointer is not None:
        file = vault.store.file(temp.frame_pointer)
        frame = read_frame(file, columns=query.columns, rows=query.rows)
    else:
        return pd.DataFrame()
    return with_folder(frame, temp.artifact_folder) if query.full_artifact_path else frame
