"""Dataframes and artifacts as users ask for them, and as files of other programs."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tablevault.errors import TVArgumentError, TVTableError, reason_of
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import Table
from tablevault.names import BlobId, artifacts_dir, is_temp_id, version_of
from tablevault.queries.calls import run_of_temp
from tablevault.vault import Vault
from tablevault.wording import OperationName, Wording

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset


def artifact_folder(
    vault: Vault, table_name: str, instance_id: str, version: str, *, is_temp: bool
) -> str:
    """Return the artifact folder of a temporary or materialised instance, absolute; it exists."""
    place = vault.view().table(table_name)
    found = place.find(instance_id, version, is_temp=is_temp)
    folder = found.artifact_folder if isinstance(found, TempInstance) else folder_of(place, found)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def folder_of(table: Table, instance: Instance) -> Path:
    """Return the folder of the artifacts of an instance, absolute.

    The folder in the working tree where that holds this very instance; else one that is written
    for it alone, so that the files of an older instance are there as long as it exists.
    """
    is_shared = instance.shares_folder(table.document)
    if is_shared:
        owner = table.document.artifact_instance
        is_current = owner == instance.instance_id or not (owner or instance.owns_shared_folder())
    else:
        current = table.view.snapshot.instance(table.name, instance.version)
        is_current = current is not None and current.id == instance.instance_id
    if is_current and instance.parts.worktree.follows_main():
        folder = artifacts_dir(table.name, instance.version, multiple=not is_shared)
        return instance.parts.repository.path / folder
    return fixed_folder_of(table, instance)


def fixed_folder_of(table: Table, instance: Instance) -> Path:
    """Return a folder that holds the artifacts of this instance and never changes.

    The files are links to objects, or copies. A crash leaves no half folder: it appears in one
    step.
    """
    target = instance.parts.state / "artifacts" / instance.instance_id
    if target.is_dir():
        return target
    is_shared = instance.shares_folder(table.document)
    tracked = artifacts_dir(instance.table_name, instance.version, multiple=not is_shared)
    beside = target.with_name(f"{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    beside.mkdir(parents=True)
    # The folder that instances share may have been that of another one at the time.
    is_own = not is_shared or instance.owns_shared_folder()
    for entry in instance.snapshot.files(tracked) if is_own else ():
        path = beside / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        pointer = instance.snapshot.pointer_of(BlobId(entry.id), f"{tracked}/{entry.name}")
        instance.parts.store.check_out(pointer, path, executable=entry.executable)
    try:
        beside.rename(target)
    except OSError:
        # Another reader was faster.
        shutil.rmtree(beside)
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameQuery:
    """What part of which instance is to be read."""

    table_name: str
    instance_id: str = ""
    version: str = ""
    active_only: bool = True
    successful_only: bool = False
    columns: Sequence[str] | None = None
    rows: int | None = None
    full_artifact_path: bool = True


def get_dataframe(vault: Vault, query: FrameQuery) -> tuple[pd.DataFrame, str]:
    """Read the frame of an instance, and return its id, too."""
    from tablevault.frames.artifact_string import with_folder
    from tablevault.frames.parquet import read_frame

    table = vault.view().table(query.table_name)
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

    path = _instance(vault.view().table(query.table_name), query).frame_file()
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
            f'"{path}" cannot be opened as a dataset: {reason_of(error)}',
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

    from tablevault.frames.artifact_string import with_folder
    from tablevault.frames.parquet import read_frame

    if (run := run_of_temp(vault, temp)) is not None:
        frame = run.frame(query.columns, query.rows)
    elif temp.frame_pointer is not None:
        file = vault.store.file(temp.frame_pointer)
        frame = read_frame(file, columns=query.columns, rows=query.rows)
    else:
        return pd.DataFrame()
    return with_folder(frame, temp.artifact_folder) if query.full_artifact_path else frame


# -- files of other programs --------------------------------------------------------------------


def content(frame: pd.DataFrame, ending: str) -> bytes:
    """Return a dataframe as the bytes of a file."""
    sink = io.BytesIO()
    WRITERS[ending](frame, sink)
    return sink.getvalue()


def _write_csv(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write CSV without row numbers; lists and mappings are JSON in their cell, bytes digits."""
    import pandas as pd

    flat = frame.copy(deep=False)
    for at in range(frame.shape[1]):
        column = frame.iloc[:, at]
        if pd.api.types.is_object_dtype(column.dtype) or "[" in str(column.dtype):
            flat.isetitem(at, column.map(_cell).array)
    flat.to_csv(sink, index=False, encoding="utf-8")


def _cell(value: object) -> object:
    """Return what a cell of CSV holds."""
    shown = plain(value)
    if isinstance(value, bytes):
        return shown
    return _json(shown) if isinstance(shown, dict | list) else value


def _write_json(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write one list of records."""
    lines = [_json(record) for record in _records(frame)]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
    sink.write(text.encode("utf-8", "backslashreplace"))


def _write_lines(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write one record a line."""
    text = "".join(f"{_json(record)}\n" for record in _records(frame))
    sink.write(text.encode("utf-8", "backslashreplace"))


def _write_parquet(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write what a vault keeps: every dtype and nested value comes back."""
    from tablevault.frames.parquet import write_frame

    write_frame(frame, sink)


WRITERS: Mapping[str, Callable[[pd.DataFrame, BinaryIO], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_lines,
    "parquet": _write_parquet,
}


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return each row as a mapping."""
    names = list(map(str, frame.columns))
    columns = [list(map(plain, frame.iloc[:, at])) for at in range(frame.shape[1])]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def plain(value: object) -> object:
    """Return a value as JSON knows it: null, truth, number, text, list or mapping.

    A number that is infinite is text: JSON has no other way to tell it from null.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # of numpy and pandas
        return plain(value.tolist())
    if value is None or isinstance(value, bool | int | str):
        return value
    return _number(value) if isinstance(value, float) else _text(value)


def _number(value: float) -> float | str | None:
    """Return a float as JSON knows it."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return None if math.isnan(value) else value


def _text(value: object) -> str | None:
    """Return what is no JSON as text: times as ISO 8601, bytes as hexadecimal digits."""
    import pandas as pd

    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal) and value.is_nan():
        return None
    as_iso = getattr(value, "isoformat", None)
    return str(as_iso()) if callable(as_iso) else str(value)


def _json(value: object) -> str:
    """Write one line of JSON."""
    return json.dumps(value, ensure_ascii=False)
