"""The tables of one execution: its inputs, and the table under construction."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tablevault.engine.references.view import View, copied, copied_column, is_null
from tablevault.frames.artifact_string import NAME as ARTIFACT
from tablevault.frames.artifact_string import with_paths
from tablevault.frames.dtypes import infer, is_exact
from tablevault.names import SELF, InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedInstance:
    """An instance that is read, chosen before the first builder runs."""

    table: str
    instance_id: InstanceId


class Inputs(Protocol):
    """The tables that builders may read, in their state when the execution began.

    With ``n_threads`` above 1 the engine calls these methods from several threads, but only one
    at a time.
    """

    def resolve(self, table: str, selector: str) -> FixedInstance:
        """Return the instance that a reference names.

        Parameters
        ----------
        table : str
            Name of a table, never ``self``. The name of the table under construction stands for its
            last materialised instance.
        selector : str
            Empty for the latest active instance, a version, or an instance id.

        Raises
        ------
        TableReferenceError
            There is no such table or instance.
        """
        ...

    def columns(self, source: FixedInstance) -> tuple[str, ...]:
        """Return the names of all columns, in order."""
        ...

    def frame(self, source: FixedInstance, columns: Sequence[str] | None) -> pd.DataFrame:
        """Return the named columns, all when None; artifact columns hold full paths.

        The engine keeps the dataframe and never changes it.
        """
        ...

    def contents(self, source: FixedInstance, columns: Sequence[str]) -> pd.DataFrame:
        """Return the named columns to be compared with those of another instance.

        Artifact columns hold text that is equal for files of the same name and content, in any
        folder.
        """
        ...


_NEEDS_ALL = object()
"""Trait of values from which the dtype of a column can only be inferred all together."""


class _GrowingColumn:
    """A column whose rows are being computed, with samples that decide its dtype.

    One value of each trait suffices to infer the dtype of all values. So a reference to a row of
    the column does not cost a pass over all rows.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._unseen: list[int] | None = None  # rows to sample; None for all
        self._samples: dict[object, Any] = {}
        self._needs_all = False

    @cached_property
    def cells(self) -> list[Any]:
        """The values; made on first use, since many columns are never read before they end."""
        return [None] * self._rows

    def put(self, row: int, value: object) -> None:
        """Enter a value."""
        if self._unseen is not None:
            self._unseen.append(row)
            # Of a value that is entered again, the old one may be a sample.
            self._needs_all = self._needs_all or self.cells[row] is not None
        self.cells[row] = value

    def part(self, name: str, rows: Sequence[int]) -> pd.Series:
        """Return some rows, with the dtype of the whole column."""
        samples = self._sampled()
        if samples is None:
            return infer(self.cells, name).iloc[list(rows)]
        made = infer([*samples, *(self.cells[row] for row in rows)], name)
        return made.iloc[len(samples) :].set_axis(list(rows))

    def _sampled(self) -> list[Any] | None:
        """Return samples of the values; None if the dtype has to be inferred from all of them."""
        rows = range(len(self.cells)) if self._unseen is None else self._unseen
        self._unseen = []
        for row in rows:
            value = self.cells[row]
            trait = _trait(value)
            if trait is _NEEDS_ALL:
                self._needs_all = True
            elif trait is not None and trait not in self._samples:
                self._samples[trait] = value
        return None if self._needs_all else list(self._samples.values())


def _trait(value: Any) -> object:  # noqa: ANN401 - a cell holds anything
    """Return a key that is equal for values that imply the same dtype; None for a null."""
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if kind is int:
        bits = (value if value >= 0 else ~value).bit_length()
        # The ranges of Int64, UInt64 and, among floats, Float64.
        return value < 0, bits > 63, bits > 64, bits < 54 or is_exact(value)  # noqa: PLR2004
    if kind is float:
        return None if math.isnan(value) else kind
    if kind is str:
        return kind if value.isascii() or _is_unicode(value) else _NEEDS_ALL
    if kind in (bool, list, dict, tuple, set):
        return kind
    # The value itself may decide, such as the zone of a time.
    return None if value is None or value is pd.NA else _NEEDS_ALL


def _is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class TableDraft(View):
    """The table under construction, with the columns of finished builders.

    While a row-wise or generator builder runs in one thread, its own columns hold the rows that it
    has finished; the others are null.
    """

    def __init__(self, artifacts: Path | None = None) -> None:
        super().__init__((), _nothing)
        self._growing: dict[str, _GrowingColumn] = {}
        self.growing = self._growing.keys()
        self._is_read = False
        self._artifacts = artifacts
        self._stored: dict[str, pd.Series] = {}
        self._known: set[str] = set()

    def set_rows(self, rows: int) -> None:
        """Fix the number of rows, which the index builder decides."""
        self._rows = rows

    def set_column(self, name: str, series: pd.Series) -> None:
        """Add a finished column; references to an artifact column return full paths."""
        self._forget([name])
        self._growing.pop(name, None)
        self._name([name])
        self._stored[name] = series
        if self._artifacts is not None and str(series.dtype) == ARTIFACT:
            series = with_paths(series.to_frame(name), self._artifacts)[name]
        self._series[name] = series

    def stored(self, name: str) -> pd.Series:
        """Return a finished column in the form that is stored; do not change it."""
        return self._stored[name]

    def load(self, names: Sequence[str]) -> None:
        """Do nothing: the draft holds its columns."""

    def finished(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the finished columns in the form that is stored; do not change them."""
        columns: dict[str, Any] = {name: self._stored[name] for name in names}
        for name, series in columns.items():
            if (
                series.dtype != object
            ):  # arrays are not aligned; of objects pandas would infer a dtype
                columns[name] = series.array
        return pd.DataFrame(columns, index=pd.RangeIndex(self.rows), copy=False)

    def grow(self, names: Sequence[str]) -> None:
        """Begin columns whose rows are null at first."""
        self._name(names)
        self._forget(names)
        for name in names:
            self._growing[name] = _GrowingColumn(self.rows)

    def put(self, row: int, values: Mapping[str, Any]) -> None:
        """Enter one finished row of growing columns."""
        for name, value in values.items():
            self._growing[name].put(row, value)
        if self._is_read:
            self._forget(values)
            self._is_read = False

    def series(self, name: str) -> pd.Series:
        """Return a column; a growing one is inferred from its rows so far."""
        if name in self._growing and name not in self._series:
            self._is_read = True
            self._series[name] = infer(self._growing[name].cells, name)
        return super().series(name)

    def cell(self, name: str, row: int) -> Any:  # noqa: ANN401 - a cell holds anything
        """Return one value, None for a null, without inferring a growing column."""
        if name in self._growing:
            value = self._growing[name].cells[row]
            return None if is_null(value) else copied(value)
        return super().cell(name, row)

    def frame(self, names: Sequence[str], rows: Sequence[int] | None) -> pd.DataFrame:
        """Return a dataframe; of growing columns only the rows that are needed are converted."""
        names = tuple(dict.fromkeys(names))
        growing = {name: self._growing[name] for name in names if name in self._growing}
        if rows is None or not growing:
            return super().frame(names, rows)
        made = super().frame([name for name in names if name not in growing], rows)
        for name, column in growing.items():
            made.insert(names.index(name), name, copied_column(column.part(name, rows)))
        return made

    def _name(self, names: Sequence[str]) -> None:
        """Add names of columns, those that are new."""
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        if new:
            self._known.update(new)
            self.names = (*self.names, *new)

    def _forget(self, names: Iterable[str]) -> None:
        """Drop caches that were made from an older state of columns."""
        gone = set(names)
        for made in (self._series, self._cells, self._plain, self._comparable, self._ordered):
            for name in gone:
                made.pop(name, None)
        for joined in (self._lookups, self._wholes):
            for key in [key for key in joined if not gone.isdisjoint(key)]:
                del joined[key]


class RunTables:
    """The tables of one execution, each read once.

    Parameters
    ----------
    inputs : Inputs
        Source of the other tables.
    artifacts : Path, optional
        Artifact folder of the table under construction.

    Attributes
    ----------
    draft : TableDraft
        The table under construction, ``self`` in references.
    """

    def __init__(self, inputs: Inputs, artifacts: Path | None = None) -> None:
        self.draft = TableDraft(artifacts)
        self._inputs = inputs
        self._views: dict[tuple[str, str], View] = {}
        self._sources: dict[FixedInstance, View] = {}
        self._lock = threading.RLock()

    @property
    def sources(self) -> tuple[FixedInstance, ...]:
        """The instances that were read, in order of the first access."""
        return tuple(self._sources)

    def view(self, table: str, selector: str) -> View:
        """Return a table by name and selector."""
        if table == SELF:
            return self.draft
        found = self._views.get((table, selector))
        if found is None:
            with self._lock:
                found = self._views[table, selector] = self._open(table, selector)
        return found

    def _open(self, table: str, selector: str) -> View:
        """Open a table; selectors of the same instance share its columns."""
        source = self._inputs.resolve(table, selector)
        if source not in self._sources:

            def fetch(names: Sequence[str]) -> pd.DataFrame:
                """Read columns, one thread at a time."""
                with self._lock:
                    return self._inputs.frame(source, names)

            self._sources[source] = View(self._inputs.columns(source), fetch)
        return self._sources[source]


def _nothing(names: Sequence[str]) -> pd.DataFrame:
    """Return no columns: the draft holds its own."""
    return pd.DataFrame(columns=list(names))
