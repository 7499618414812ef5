"""The tables of one run: those that are read, and the one that is being built."""

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

from tablevault.engine.references.view import View, is_null, own, owned
from tablevault.frames.artifact_string import NAME as ARTIFACT
from tablevault.frames.artifact_string import with_paths
from tablevault.frames.dtypes import infer, is_exact
from tablevault.names import SELF, InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedInstance:
    """One materialised instance that was fixed before any builder ran."""

    table: str
    instance_id: InstanceId


class Inputs(Protocol):
    """The tables that builders may read, as they were when the execution began.

    The engine calls these from several threads when a builder has ``n_threads`` above 1, but
    never two at once.
    """

    def resolve(self, table: str, selector: str) -> FixedInstance:
        """Find the instance that a reference means.

        Parameters
        ----------
        table : str
            Name of a table. Never ``self``; the table that is being built comes by its name
            when its last materialised instance is meant.
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

        The engine keeps what it is given and never changes it.
        """
        ...

    def contents(self, source: FixedInstance, columns: Sequence[str]) -> pd.DataFrame:
        """Return the named columns to be compared with those of another instance.

        Artifact columns hold text that is the same only for a file of the same name with the
        same bytes, wherever it is.
        """
        ...


_ODD = object()
"""What values say that have to be looked at together."""


class _Growing:
    """A column whose rows are being finished, and what its values have in common so far.

    The dtype of all values together is known from one value of each trait. A row that asks for
    itself must not cost a pass over all rows.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._unseen: list[int] | None = None  # None stands for all of them
        self._samples: dict[object, Any] = {}
        self._is_odd = False

    @cached_property
    def cells(self) -> list[Any]:
        """The values; many columns are neither shown to their builder nor asked for."""
        return [None] * self._rows

    def put(self, row: int, value: object) -> None:
        """Enter a value."""
        if self._unseen is not None:
            self._unseen.append(row)
            self._is_odd = self._is_odd or self.cells[row] is not None  # what it was is a sample
        self.cells[row] = value

    def part(self, name: str, rows: Sequence[int]) -> pd.Series:
        """Return some rows, with the dtype that all values together have."""
        samples = self._look()
        if samples is None:
            return infer(self.cells, name).iloc[list(rows)]
        made = infer([*samples, *(self.cells[row] for row in rows)], name)
        return made.iloc[len(samples) :].set_axis(list(rows))

    def _look(self) -> list[Any] | None:
        """Return the samples of all values; None when all of them have to be looked at."""
        rows = range(len(self.cells)) if self._unseen is None else self._unseen
        self._unseen = []
        for row in rows:
            value = self.cells[row]
            trait = _trait(value)
            if trait is _ODD:
                self._is_odd = True
            elif trait is not None and trait not in self._samples:
                self._samples[trait] = value
        return None if self._is_odd else list(self._samples.values())


def _trait(value: Any) -> object:  # noqa: ANN401 - a cell holds anything
    """Name what a value says about the dtype of its column, the same for others that say it."""
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if kind is int:
        bits = (value if value >= 0 else ~value).bit_length()
        # What Int64, UInt64 and, beside floats, Float64 hold.
        return value < 0, bits > 63, bits > 64, bits < 54 or is_exact(value)  # noqa: PLR2004
    if kind is float:
        return None if math.isnan(value) else kind
    if kind is str:
        return kind if value.isascii() or _is_unicode(value) else _ODD
    if kind in (bool, list, dict, tuple, set):
        return kind
    # The value itself may decide, such as the zone of a time.
    return None if value is None or value is pd.NA else _ODD


def _is_unicode(text: str) -> bool:
    """Return whether a text holds no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class TableDraft(View):
    """The table under construction, as finished builders have left it.

    While a row-wise or generator builder runs in one thread, the rows it has finished can be
    read from its own columns; the others are null.
    """

    def __init__(self, artifacts: Path | None = None) -> None:
        super().__init__((), _nothing)
        self._growing: dict[str, _Growing] = {}
        self.growing = self._growing.keys()
        self._is_read = False
        self._artifacts = artifacts
        self._stored: dict[str, pd.Series] = {}
        self._known: set[str] = set()

    def set_rows(self, rows: int) -> None:
        """Fix the number of rows, which the index builder decides."""
        self._rows = rows

    def set_column(self, name: str, series: pd.Series) -> None:
        """Add a finished column; references to an artifact column give full paths."""
        self._forget([name])
        self._growing.pop(name, None)
        self._name([name])
        self._stored[name] = series
        if self._artifacts is not None and str(series.dtype) == ARTIFACT:
            series = with_paths(series.to_frame(name), self._artifacts)[name]
        self._series[name] = series

    def stored(self, name: str) -> pd.Series:
        """Return a finished column as it is to be stored; it stays the property of the draft."""
        return self._stored[name]

    def load(self, names: Sequence[str]) -> None:
        """Fetch nothing: the draft has all of its own, and makes growing columns when asked."""

    def finished(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the finished columns as they are to be stored; they stay those of the draft."""
        columns: dict[str, Any] = {name: self._stored[name] for name in names}
        for name, series in columns.items():
            if series.dtype != object:  # an array need not be aligned; objects would be inferred
                columns[name] = series.array
        return pd.DataFrame(columns, index=pd.RangeIndex(self.rows), copy=False)

    def grow(self, names: Sequence[str]) -> None:
        """Begin columns that are all null."""
        self._name(names)
        self._forget(names)
        for name in names:
            self._growing[name] = _Growing(self.rows)

    def put(self, row: int, values: Mapping[str, Any]) -> None:
        """Enter one finished row of growing columns."""
        for name, value in values.items():
            self._growing[name].put(row, value)
        if self._is_read:
            self._forget(values)
            self._is_read = False

    def series(self, name: str) -> pd.Series:
        """Return a column; one that grows is made from what is there."""
        if name in self._growing and name not in self._series:
            self._is_read = True
            self._series[name] = infer(self._growing[name].cells, name)
        return super().series(name)

    def cell(self, name: str, row: int) -> Any:  # noqa: ANN401 - a cell holds anything
        """Return one value, None for a null; no column is made of one that grows."""
        if name in self._growing:
            value = self._growing[name].cells[row]
            return None if is_null(value) else own(value)
        return super().cell(name, row)

    def frame(self, names: Sequence[str], rows: Sequence[int] | None) -> pd.DataFrame:
        """Make a frame; of columns that grow without making whole ones for a few rows."""
        names = tuple(dict.fromkeys(names))
        growing = {name: self._growing[name] for name in names if name in self._growing}
        if rows is None or not growing:
            return super().frame(names, rows)
        made = super().frame([name for name in names if name not in growing], rows)
        for name, column in growing.items():
            made.insert(names.index(name), name, owned(column.part(name, rows)))
        return made

    def _name(self, names: Sequence[str]) -> None:
        """Add names of columns, those that are new."""
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        if new:
            self._known.update(new)
            self.names = (*self.names, *new)

    def _forget(self, names: Iterable[str]) -> None:
        """Drop what was made from an older state of columns."""
        gone = set(names)
        for made in (self._series, self._cells, self._plain, self._comparable, self._ordered):
            for name in gone:
                made.pop(name, None)
        for joined in (self._lookups, self._wholes):
            for key in [key for key in joined if not gone.isdisjoint(key)]:
                del joined[key]


class RunTables:
    """Every table of one run, each read once.

    Parameters
    ----------
    inputs : Inputs
        Where the other tables come from.
    artifacts : Path, optional
        Folder of the artifacts of the table that is being built.

    Attributes
    ----------
    draft : TableDraft
        The table that is being built, ``self`` in references.
    """

    def __init__(self, inputs: Inputs, artifacts: Path | None = None) -> None:
        self.draft = TableDraft(artifacts)
        self._inputs = inputs
        self._views: dict[tuple[str, str], View] = {}
        self._sources: dict[FixedInstance, View] = {}
        self._lock = threading.RLock()

    @property
    def sources(self) -> tuple[FixedInstance, ...]:
        """The instances that were read, in the order in which they first were."""
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
        """Resolve a table; two selectors that mean one instance share what was read."""
        source = self._inputs.resolve(table, selector)
        if source not in self._sources:

            def fetch(names: Sequence[str]) -> pd.DataFrame:
                """Ask for columns, one question at a time."""
                with self._lock:
                    return self._inputs.frame(source, names)

            self._sources[source] = View(self._inputs.columns(source), fetch)
        return self._sources[source]


def _nothing(names: Sequence[str]) -> pd.DataFrame:
    """Fetch no column: the draft has all of its own."""
    return pd.DataFrame(columns=list(names))
