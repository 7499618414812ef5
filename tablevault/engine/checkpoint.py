"""Finished rows and columns of a run on disk, so that a later run need not pay for them again.

In the folder of a run are

- ``run.json``: the process, its builders in order with columns and dtypes,
- ``<builder>.rows``: what a builder that runs has finished, see `tablevault.engine.row_log`,
- ``<builder>.parquet``: the columns of a builder that ended; ``<builder>.none`` when it has none.

The folder belongs to one process: another one that opens it begins with an empty one. What was
appended outlives the death of the process at once; it is synced about once a second and when a
builder ends, so that a failure of power loses about a second.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

import pandas as pd

from tablevault.engine.row_log import RowLog, Values
from tablevault.errors import TVTableError
from tablevault.frames.parquet import read_frame, write_frame

_log = logging.getLogger("tablevault")

RUN_FILE = "run.json"
ROWS_SUFFIX, FRAME_SUFFIX, NONE_SUFFIX = ".rows", ".parquet", ".none"
_BESIDE_SUFFIX = ".tmp"
_SYNC_EVERY_S = 1.0
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A builder of a run: its name, its columns in order, and what it declares about them."""

    name: str
    columns: tuple[str, ...]
    dtypes: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    primary_key: tuple[str, ...] = ()


class Checkpoint(Protocol):
    """What is known of an earlier attempt, and where the present one notes what it has done.

    Called by one thread at a time.
    """

    def begin(self, parts: Sequence[Part]) -> None:
        """Note the builders of the run, in the order in which they run."""

    def finished(self, builder: str) -> dict[str, pd.Series] | None:
        """Give the columns of a builder that ended in an earlier attempt; None when none did."""

    def rows(self, builder: str, columns: Sequence[str]) -> dict[int, Values]:
        """Give the rows that an earlier attempt finished, by number, one value a column."""

    def append(self, builder: str, row: int, values: Values) -> None:
        """Keep a finished row.

        Raises
        ------
        TVTableError
            A value is of a type that cannot be kept; names builder, row, column and value.
        OSError
            The disk is full or fails. The rows before this one are kept.
        """

    def check(self) -> None:
        """Raise when the run is to stop; asked where nothing else is told."""

    def finish(self, builder: str, columns: Mapping[str, pd.Series]) -> None:
        """Keep the columns of a builder that ended.

        Raises
        ------
        TVTableError
            A column cannot be stored.
        """


class NoCheckpoint:
    """A run of which nothing is kept."""

    def begin(self, parts: Sequence[Part]) -> None:
        """Note nothing."""

    def finished(self, builder: str) -> dict[str, pd.Series] | None:  # noqa: ARG002 - as the Protocol
        """Know nothing."""
        return None

    def rows(self, builder: str, columns: Sequence[str]) -> dict[int, Values]:  # noqa: ARG002 - as the Protocol
        """Know nothing."""
        return {}

    def append(self, builder: str, row: int, values: Values) -> None:
        """Keep nothing."""

    def check(self) -> None:
        """Go on."""

    def finish(self, builder: str, columns: Mapping[str, pd.Series]) -> None:
        """Keep nothing."""


class FileCheckpoint:
    """A checkpoint in a folder; implements `Checkpoint`.

    Parameters
    ----------
    folder : Path
        Made when it is missing. What another process left in it is removed.
    process_id : str
        The process whose rows are kept.
    """

    def __init__(self, folder: Path, process_id: str) -> None:
        self.folder = folder
        self._process_id = process_id
        self._parts: dict[str, Part] = {}
        self._logs: dict[str, RowLog] = {}
        self._ended: dict[str, tuple[str, ...]] = {}
        self._synced_at = 0.0
        self._is_noted = False
        if owner_of(folder) != process_id:
            sweep_folder(folder)
            folder.mkdir(parents=True)
            self._note(())

    def __enter__(self) -> Self:
        """Open; it is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        self.close()

    def begin(self, parts: Sequence[Part]) -> None:
        """Note the builders of the run; another index builder than before means other rows."""
        before = parts_of(read_note(self.folder))
        if before and (before[0].name, before[0].columns) != (parts[0].name, parts[0].columns):
            self._clear()
        self._parts = {part.name: part for part in parts}
        self._note(parts)

    def finished(self, builder: str) -> dict[str, pd.Series] | None:
        """Read the columns of a builder that ended; what is damaged is computed again."""
        if self._path(builder, NONE_SUFFIX).exists():
            return {}
        path = self._path(builder, FRAME_SUFFIX)
        if not path.exists():
            return None
        try:
            frame = read_frame(path)
        except TVTableError as error:
            _log.warning('Builder "%s" runs again: %s', builder, error)
            path.unlink()
            if builder == next(iter(self._parts), ""):
                self._clear()
            return None
        self._ended[builder] = tuple(map(str, frame.columns))
        return {str(name): series for name, series in frame.items()}

    def rows(self, builder: str, columns: Sequence[str]) -> dict[int, Values]:
        """Read the rows that are there; none when the columns of the builder have changed."""
        return self._open(builder, columns).rows

    def append(self, builder: str, row: int, values: Values) -> None:
        """Append one row to the file of its builder."""
        log = self._logs.get(builder) or self._open(builder, self._parts[builder].columns)
        log.append(row, values)
        now = time.monotonic()
        if now - self._synced_at >= _SYNC_EVERY_S:
            self._sync(log)
            self._synced_at = now

    def check(self) -> None:
        """Go on: nobody stops what only keeps rows."""

    def finish(self, builder: str, columns: Mapping[str, pd.Series]) -> None:
        """Write columns beside, sync, rename; nothing when they were read from here.

        Dies before the rename: the rows are still there. Dies after it: they count no more.
        """
        if columns and self._ended.get(builder) == tuple(columns):
            return
        if not self._is_noted:
            self._sync_note()
        if columns:
            target = self._path(builder, FRAME_SUFFIX)
            self._write(target, pd.DataFrame(dict(columns)), builder)
        else:
            self._path(builder, NONE_SUFFIX).touch()
        _sync_path(self.folder)
        log = self._logs.pop(builder, None)
        if log is not None:
            log.close()
        self._path(builder, ROWS_SUFFIX).unlink(missing_ok=True)

    def close(self) -> None:
        """Sync and close the files of builders that did not end."""
        for builder in list(self._logs):
            log = self._logs.pop(builder)
            try:
                self._sync(log)
            finally:
                log.close()

    def _clear(self) -> None:
        """Remove what was finished: it belongs to other rows than those that will be made."""
        for path in self.folder.iterdir():
            if path.suffix in (ROWS_SUFFIX, FRAME_SUFFIX, NONE_SUFFIX):
                path.unlink()

    def _open(self, builder: str, columns: Sequence[str]) -> RowLog:
        """Open the file of a builder."""
        if builder not in self._logs:
            path = self._path(builder, ROWS_SUFFIX)
            part = self._parts.get(builder)
            dtypes = part.dtypes if part is not None else _NOTHING
            self._logs[builder] = RowLog(path, builder, columns, dtypes)
        return self._logs[builder]

    def _write(self, target: Path, frame: pd.DataFrame, builder: str) -> None:
        """Write a frame in one step."""
        beside = target.with_suffix(_BESIDE_SUFFIX)
        try:
            with beside.open("wb") as file:
                write_frame(frame, file)
                file.flush()
                os.fsync(file.fileno())
        except TVTableError as error:
            beside.unlink()
            facts = {**error.facts, "builder": builder}
            text = f'Builder "{builder}": {error.message}'
            raise TVTableError(text, error.hint, **facts) from error
        beside.replace(target)

    def _sync(self, log: RowLog) -> None:
        """Make rows durable, and before them the note that says whose they are."""
        if not self._is_noted:
            self._sync_note()
        log.sync()

    def _sync_note(self) -> None:
        """Make the note and the names in the folder durable."""
        _sync_path(self.folder / RUN_FILE)
        _sync_path(self.folder)
        self._is_noted = True

    def _note(self, parts: Iterable[Part]) -> None:
        """Write who runs which builders."""
        fields = {
            "process_id": self._process_id,
            "pid": os.getpid(),
            "started": time.time(),
            "builders": [
                {
                    "name": part.name,
                    "columns": part.columns,
                    "dtypes": dict(part.dtypes),
                    "primary_key": part.primary_key,
                }
                for part in parts
            ],
        }
        beside = self.folder / f"{RUN_FILE}{_BESIDE_SUFFIX}"
        beside.write_text(json.dumps(fields), "ascii")
        beside.replace(self.folder / RUN_FILE)
        self._is_noted = False

    def _path(self, builder: str, suffix: str) -> Path:
        """Give the place of a file of a builder."""
        return self.folder / f"{builder}{suffix}"


def read_note(folder: Path) -> Mapping[str, Any]:
    """Read who runs which builders; empty when nobody does, or a crash left it unreadable."""
    try:
        note = json.loads((folder / RUN_FILE).read_text("ascii"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def parts_of(note: Mapping[str, Any]) -> tuple[Part, ...]:
    """Give the builders that a note names."""
    return tuple(
        Part(
            name=part["name"],
            columns=tuple(part["columns"]),
            dtypes=part["dtypes"],
            primary_key=tuple(part["primary_key"]),
        )
        for part in note.get("builders", ())
    )


def owner_of(folder: Path) -> str:
    """Give the process to which the rows in a folder belong, "" when there are none."""
    return str(read_note(folder).get("process_id", ""))


def sweep_folder(folder: Path) -> None:
    """Remove the folder of a run; the note goes first, so that nobody takes up what is left."""
    (folder / RUN_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _sync_path(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
