"""What a run that has not ended has made so far, read while it goes on or after it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine.checkpoint import (
    FRAME_SUFFIX,
    NONE_SUFFIX,
    ROWS_SUFFIX,
    Part,
    parts_of,
    read_note,
)
from tablevault.engine.row_log import Values, count_rows, read_rows
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.inference import infer
from tablevault.frames.parquet import check_wanted, read_form, read_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialRun:
    """A run by its folder, as `tablevault.engine.checkpoint` keeps it; no lock is taken.

    What is read may be a moment old, and is never half of a row.
    """

    folder: Path
    process_id: str
    parts: tuple[Part, ...]

    def progress(self) -> dict[str, int]:
        """Count the finished rows of each builder, in the order in which they run."""
        return {part.name: self._count(part) for part in self.parts}

    def ended(self) -> tuple[str, ...]:
        """Name the builders that have ended."""
        return tuple(part.name for part in self.parts if self._has_ended(part))

    def frame(self, columns: Sequence[str] | None = None, rows: int | None = None) -> pd.DataFrame:
        """Assemble the table, with nulls where nothing is computed yet.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to give, in this order; all when None.
        rows : int, optional
            First rows only, at least 0.

        Returns
        -------
        DataFrame
            RangeIndex. Of a builder that ended columns as they are, of others with the dtype
            that is declared or that fits the rows so far. As long as the index builder, the
            first one, runs, there are as many rows as it has made.

        Raises
        ------
        TVTableError
            An unknown column, negative `rows`.
        """
        if rows is not None and rows < 0:
            raise TVTableError(f"Cannot read {rows} rows.", "Ask for 0 or more.", rows=rows)
        names = [name for part in self.parts for name in part.columns]
        wanted = names if columns is None else check_wanted(columns, names)
        made: dict[str, pd.Series] = {}
        length: int | None = None
        for number, part in enumerate(self.parts):
            if number == 0 or not set(wanted).isdisjoint(part.columns):
                found = self._columns(part, length)
                length = len(next(iter(found.values()), ())) if number == 0 else length
                made.update(found)
        frame = pd.DataFrame({name: made[name] for name in wanted}, index=range(length or 0))
        return frame if rows is None else frame.head(rows)

    def _columns(self, part: Part, length: int | None) -> dict[str, pd.Series]:
        """Give the columns of one builder; `length` rows, or as many as there are."""
        frame = self._finished(part)
        if frame is None:
            found = read_rows(self._path(part, ROWS_SUFFIX), part.columns)
            # It may have ended meanwhile: the file of rows goes when that of columns is there.
            frame = None if found else self._finished(part)
            if frame is None:
                size = max(found, default=-1) + 1 if length is None else length
                return _with_holes(part, found, size)
        return {name: frame[name] for name in part.columns}

    def _finished(self, part: Part) -> pd.DataFrame | None:
        """Read the columns of a builder that ended; None when it has not."""
        path = self._path(part, FRAME_SUFFIX)
        if not path.exists():
            return None
        try:
            frame = read_frame(path)
        except TVTableError:
            return None
        return frame if list(frame.columns) == list(part.columns) else None

    def _count(self, part: Part) -> int:
        """Count the finished rows of a builder."""
        path = self._path(part, FRAME_SUFFIX)
        for _ in range(2):  # it may end between the first look and the second
            if path.exists():
                return read_form(path)[0]
            if count := count_rows(self._path(part, ROWS_SUFFIX)):
                return count
        return 0

    def _has_ended(self, part: Part) -> bool:
        """Tell whether a builder has ended."""
        return any(self._path(part, suffix).exists() for suffix in (FRAME_SUFFIX, NONE_SUFFIX))

    def _path(self, part: Part, suffix: str) -> Path:
        """Give the place of a file of a builder."""
        return self.folder / f"{part.name}{suffix}"


def find_run(folder: Path) -> PartialRun | None:
    """Find the run that a folder tells of; None when there is none, or it has begun no builder."""
    note = read_note(folder)
    parts = parts_of(note)
    if not parts:
        return None
    return PartialRun(folder=folder, process_id=str(note["process_id"]), parts=parts)


def _with_holes(part: Part, found: Mapping[int, Values], size: int) -> dict[str, pd.Series]:
    """Make columns of the rows that are there, null elsewhere."""
    made = {}
    for position, name in enumerate(part.columns):
        cells: np.ndarray[Any, Any] = np.full(size, None, dtype=object)
        for row, values in found.items():
            if row < size:
                cells[row] = values[position]
        series = pd.Series(cells, dtype=object, name=name)
        made[name] = _typed(series, part.dtypes.get(name))
    return made


def _typed(series: pd.Series, dtype: str | None) -> pd.Series:
    """Give a column its declared dtype, or one that fits: what does not fit fails when it ends."""
    if dtype is not None:
        try:
            return cast(series, dtype)
        except TVTableError:
            pass
    return infer(series, str(series.name))
