"""Compiles templates to functions of the row: work that all rows share is done once.

Only frequent cases are compiled. All others, and all errors, are left to `evaluate`, which alone
defines the meaning of a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import pandas as pd

from tablevault.engine.references.compare import POSITIONS, Cell, Comparable, is_scalar
from tablevault.engine.references.evaluate import (
    Scope,
    Tables,
    columns_of,
    evaluate,
    is_current_row,
    name_of,
    rows_of,
    typed,
    view_of,
)
from tablevault.engine.references.grammar import Condition, Reference, Template, Word
from tablevault.engine.references.view import POSITION_NAMES, View
from tablevault.errors import TableReferenceError
from tablevault.names import SELF

ByRow: TypeAlias = Callable[[int], Any]
"""A function of the position of the current row."""


class _UnusualError(Exception):
    """A case that is left to `evaluate`."""


_LEFT_TO_EVALUATE = (
    _UnusualError,
    TableReferenceError,
    ValueError,
    TypeError,
    OverflowError,
    IndexError,
)


def by_row(template: Template, tables: Tables) -> ByRow:
    """Return a function of the row with the results and errors of `evaluate`.

    Parameters
    ----------
    template : Template
        From `parse_template`.
    tables : Tables
        Not read before the first row. From then on only ``growing`` columns of a view may change.

    Returns
    -------
    callable
        Thread-safe.
    """
    made: ByRow | None = None

    def call(row: int) -> Any:  # noqa: ANN401 - a reference gives anything
        """Evaluate for one row."""
        nonlocal made
        try:
            if made is None:
                made = partial(evaluate, template, tables)  # stays if the next line fails
                made = _Compiler(template, tables).template()
            return made(row)
        except _LEFT_TO_EVALUATE:
            pass
        return evaluate(template, tables, row)

    return call


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A compiled reference; with `is_plain` its results are immutable and no dataframes."""

    function: ByRow
    is_plain: bool


@dataclass(frozen=True, slots=True)
class _Constant:
    """A cell that is the same for every row."""

    cell: Cell


@dataclass(frozen=True, slots=True)
class _Sought:
    """A condition: a column, and the cell or the range to find in it."""

    key: str
    low: ByRow | _Constant
    high: ByRow | _Constant | None


class _Compiler:
    """Make the function of one template."""

    def __init__(self, template: Template, tables: Tables) -> None:
        self._template = template
        self._scope = Scope(tables, None, template)

    def template(self) -> ByRow:
        """Make the function of the template."""
        if (whole := self._template.whole) is not None:
            return self._reference(whole).function
        parts = self._template.parts
        pattern = "".join(
            part.replace("%", "%%") if isinstance(part, str) else "%s" for part in parts
        )
        spliced = [self._spliced(part) for part in parts if isinstance(part, Reference)]
        if len(spliced) == 1:
            (only,) = spliced
            return lambda row: pattern % (only(row),)
        return lambda row: pattern % tuple([part(row) for part in spliced])

    def _spliced(self, reference: Reference) -> ByRow:
        """Make a function whose result may be part of text."""
        part = self._reference(reference)
        if part.is_plain:
            return part.function

        def checked(row: int) -> Any:  # noqa: ANN401 - a reference gives anything
            """Refuse a dataframe."""
            value = part.function(row)
            if isinstance(value, pd.DataFrame):
                raise _UnusualError
            return value

        return checked

    def _reference(self, reference: Reference) -> _Compiled:
        """Make the function of one reference."""
        named = (reference.table, reference.selector, *(reference.columns or ()))
        if not all(isinstance(word, str) or _is_fixed(word) for word in named):
            raise _UnusualError
        view = view_of(reference, self._scope)
        columns = columns_of(reference, view, self._scope)
        if not reference.conditions:
            if is_current_row(reference, view, columns):
                return _Compiled(lambda row: row, is_plain=True)
            return _Compiled(lambda _: view.frame(columns, None), is_plain=False)
        is_plain = len(columns) == 1 and _is_plain(view, columns[0])
        return _Compiled(self._conditional(reference, view, columns), is_plain)

    def _conditional(self, reference: Reference, view: View, columns: tuple[str, ...]) -> ByRow:
        """Make the function of a reference with conditions."""
        is_current = [condition.low is None for condition in reference.conditions]
        keys = [self._key(condition.key) for condition in reference.conditions]
        if any(key in POSITION_NAMES and key in view.names for key in keys):
            raise _UnusualError
        by_position = len(keys) == 1 and view.is_position(keys[0])
        if by_position and all(is_current) and len(columns) == 1:
            is_plain = _is_plain(view, columns[0])
            return view.in_order(columns[0]) if is_plain else _cell_of(view, columns[0])
        shape = _shape(view, columns)
        if by_position and all(is_current):
            return lambda row: shape((row,) if row < view.rows else ())
        sought = [
            self._sought(key, condition, reference, view)
            for key, condition in zip(keys, reference.conditions, strict=True)
        ]
        if all(_is_constant(each) for each in sought):
            rows = rows_of(reference, view, self._scope)
            return lambda _: shape(rows)
        if len(sought) == 1 and sought[0].high is None and not by_position:
            return _by_key(view, sought[0], columns)
        rows_by_row = _by_conditions(view, sought)
        return lambda row: shape(rows_by_row(row))

    def _key(self, word: Word) -> str:
        """Return the column that a condition is on."""
        if not isinstance(word, str) and not _is_fixed(word):
            raise _UnusualError
        return name_of(word, self._scope)

    def _sought(self, key: str, condition: Condition, reference: Reference, view: View) -> _Sought:
        """Compile a condition."""
        is_position = view.is_position(key)
        if not is_position and (key not in view.names or key in view.growing):
            raise _UnusualError
        column = POSITIONS if is_position else view.comparable(key)
        high = condition.high
        return _Sought(
            key,
            self._cell(condition.low, (key, column, reference)),
            None if high is None else self._cell(high, (key, column, reference)),
        )

    def _cell(
        self, word: Word | None, place: tuple[str, Comparable, Reference]
    ) -> ByRow | _Constant:
        """Compile the value of a condition to a cell of its column."""
        key, column, reference = place
        if isinstance(word, str) or (word is not None and _is_fixed(word)):
            return _Constant(typed(key, word, column, reference, self._scope))
        value: ByRow = (lambda row: row) if word is None else self._reference(word).function
        convert, same = column.convert, column.same

        def cell(row: int) -> Cell:
            """Convert the value of a row to a cell."""
            found = value(row)
            return found if type(found) is same else _converted(found, convert)

        return cell


def _is_fixed(reference: Reference) -> bool:
    """Return whether the result of a reference is the same for all rows."""
    return all(
        isinstance(each.table, str)
        and each.table != SELF
        and all(condition.low is not None for condition in each.conditions)
        for each in (reference, *reference.nested())
    )


def _is_constant(sought: _Sought) -> bool:
    """Return whether a condition is the same for all rows."""
    return all(isinstance(each, _Constant) for each in (sought.low, sought.high or sought.low))


def _is_plain(view: View, name: str) -> bool:
    """Return whether cells of a column can be returned without a copy."""
    return name not in view.growing and view.is_plain(name)


def _cell_of(view: View, name: str) -> ByRow:
    """Return a function that returns the cell of a row."""
    if _is_plain(view, name):
        return view.cells(name).__getitem__
    return partial(view.cell, name)


def _shape(view: View, columns: tuple[str, ...]) -> Callable[[Sequence[int]], Any]:
    """Return a function that converts rows to the result of a reference."""
    if len(columns) != 1:
        return lambda rows: view.frame(columns, rows) if len(rows) else None
    cell = _cell_of(view, columns[0])

    def shape(rows: Sequence[int]) -> Any:  # noqa: ANN401 - a cell holds anything
        """Return None, one cell, or a list."""
        if len(rows) == 1:
            return cell(rows[0])
        return [cell(row) for row in rows] if rows else None

    return shape


def _by_key(view: View, sought: _Sought, columns: tuple[str, ...]) -> ByRow:
    """Make a function that finds rows by the value of one column."""
    assert not isinstance(sought.low, _Constant)
    lookup, value, shape = view.lookup((sought.key,)), sought.low, _shape(view, columns)
    first, several = lookup.first, lookup.several
    cell = _cell_of(view, columns[0]) if len(columns) == 1 else lambda row: shape((row,))

    def find(row: int) -> Any:  # noqa: ANN401 - a reference gives anything
        """Look one value up."""
        key = value(row)
        at = first.get(key)
        if at is None:
            return None
        return shape(several[key]) if key in several else cell(at)

    return find


def _by_conditions(view: View, sought: Sequence[_Sought]) -> Callable[[int], Sequence[int]]:
    """Make a function that finds rows by any conditions."""
    equal = [(each.key, _function(each.low)) for each in sought if each.high is None]
    between = [
        (each.key, _function(each.low), _function(each.high))
        for each in sought
        if each.high is not None
    ]
    return lambda row: view.matching(
        [(key, low(row)) for key, low in equal],
        [(key, low(row), high(row)) for key, low, high in between],
    )


def _function(sought: ByRow | _Constant) -> ByRow:
    """Return a function of the row, also for a constant."""
    if not isinstance(sought, _Constant):
        return sought
    cell = sought.cell
    return lambda _: cell


def _converted(value: Any, convert: Callable[[object], Cell]) -> Cell:  # noqa: ANN401 - as above
    """Convert a value to a cell; a null matches nothing."""
    if value is None or value is pd.NA:
        return None
    if not is_scalar(value):
        raise _UnusualError
    return None if pd.isna(value) else convert(value)
