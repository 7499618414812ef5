"""Dataframes as users ask for them: of an instance, or of what an execution has made so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import frame_path, is_temp_id
from tablevault.names import instance_document as document_path
from tablevault.queries import artifacts
from tablevault.queries.partial import run_of_temp
from tablevault.queries.read import frame_file, has_artifacts, instance_document
from tablevault.queries.resolve import (
    Temp,
    find_instance,
    find_table,
    find_temp_by_id,
    latest_or_error,
)
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd


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
    """Read the frame of an instance, and say which one it was."""
    snapshot = vault.snapshot()
    if is_temp_id(query.instance_id):
        temp = find_temp_by_id(vault, snapshot, query.table, query.instance_id)
        return _temp_frame(vault, temp, query), temp.ref.instance_id
    instance = _instance(vault, snapshot, query)
    frame = _frame(vault, instance, query)
    if query.full_artifact_path and _names_artifacts(vault, instance):
        from tablevault.frames.artifacts import with_folder

        frame = with_folder(frame, artifacts.folder_of(vault, query.table, instance))
    return frame, instance.instance_id


def find_query_instance(vault: Vault, query: FrameQuery) -> IndexedInstance:
    """Find the materialised instance that is asked for."""
    return _instance(vault, vault.snapshot(), query)


def _instance(vault: Vault, snapshot: Snapshot, query: FrameQuery) -> IndexedInstance:
    """Find the instance that is asked for; an unknown id is a TVTableError here."""
    find_table(vault, snapshot, query.table)
    if not query.instance_id:
        return latest_or_error(
            vault,
            snapshot,
            query.table,
            query.version,
            active_only=query.active_only,
            successful_only=query.successful_only,
        )
    try:
        return find_instance(vault, snapshot, query.table, query.instance_id)
    except TVArgumentError as error:
        raise TVTableError(error.message, error.hint, **error.facts) from error


def _frame(vault: Vault, instance: IndexedInstance, query: FrameQuery) -> pd.DataFrame:
    """Read what is asked for from the file of an instance."""
    from tablevault.frames.parquet import read_frame

    path = frame_file(vault, instance)
    return read_frame(path, columns=query.columns, rows=query.rows)


def _temp_frame(vault: Vault, temp: Temp, query: FrameQuery) -> pd.DataFrame:
    """Read what a temporary instance holds: what builders made so far, or a copy of its origin."""
    import pandas as pd

    from tablevault.frames.artifacts import with_folder
    from tablevault.frames.parquet import read_frame

    pointer = Snapshot(vault.journal.repository, temp.tip).pointer(
        frame_path(temp.ref.table, temp.ref.version)
    )
    if (run := run_of_temp(vault, temp)) is not None:
        frame = run.frame(query.columns, query.rows)
    elif pointer is not None:
        frame = read_frame(vault.store.file(pointer), columns=query.columns, rows=query.rows)
    else:
        return pd.DataFrame()
    if query.full_artifact_path:
        frame = with_folder(frame, vault.journal.faces.artifacts(temp.ref))
    return frame


def _names_artifacts(vault: Vault, instance: IndexedInstance) -> bool:
    """Return the same of an instance, whose document mostly need not be decoded for it."""
    snapshot = Snapshot(vault.journal.repository, instance.commit)
    blob = snapshot.blob(document_path(instance.table_name, instance.version))
    may_have = blob is None or b"artifact_string" in blob
    return may_have and has_artifacts(instance_document(vault, instance))
