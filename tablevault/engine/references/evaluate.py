"""Evaluates parsed templates to objects or text, from the tables of an execution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import pandas as pd

from tablevault.engine.references.compare import POSITIONS, Comparable, is_scalar
from tablevault.engine.references.grammar import Condition, Reference, Template, Word
from tablevault.engine.references.view import (
    INDEX,
    OTHER_INDEX,
    POSITION_NAMES,
    Between,
    Equal,
    View,
)
from tablevault.errors import TableReferenceError
from tablevault.names import SELF
from tablevault.wording import did_you_mean

_SHOWN = 12


class Tables(Protocol):
    """Source of the tables of an evaluation."""

    def view(self, table: str, selector: str) -> View:
        """Return the table; raises TableReferenceError when there is none."""


@dataclass(slots=True)
class Scope:
    """The context of one evaluation: the tables, the current row if any, the template."""

    tables: Tables
    row: int | None
    template: Template

    def fixed(self) -> Scope:
        """Return the same scope without a row: all rows read the same instance."""
        return self if self.row is None else Scope(self.tables, None, self.template)

    def fail(self, message: str, reference: Reference, hint: str = "") -> NoReturn:
        """Raise an error with the location of `reference`."""
        raise TableReferenceError(message, hint, **self.place(reference))

    def place(self, reference: Reference) -> dict[str, str | int | None]:
        """Return the location of `reference`, as facts of an error."""
        return {
            "builder": self.template.builder,
            "field": self.template.field,
            "text": self.template.text,
            "start": reference.start,
            "end": reference.end,
        }


def evaluate(template: Template, tables: Tables, row: int | None = None) -> Any:  # noqa: ANN401 - a reference gives anything
    """Evaluate a template.

    Parameters
    ----------
    template : Template
        From `parse_template`.
    tables : Tables
        Returns the views of the named tables.
    row : int, optional
        Position of the current row; without it, references to the current row are errors.

    Returns
    -------
    object
        The object itself if the template is exactly one reference, else text. A reference without
        conditions returns a DataFrame (``self.index`` in a row returns an int); with conditions
        no row returns None, one cell a scalar, one column a list, else a DataFrame. Results never
        share memory with a view.

    Raises
    ------
    TableReferenceError
        A table, column or row does not exist, a value does not fit the dtype of its column, a
        nested reference returns no scalar, or a dataframe is part of text.
    """
    scope = Scope(tables, row, template)
    if (whole := template.whole) is not None:
        return _result(whole, scope)
    return "".join(part if isinstance(part, str) else _text(part, scope) for part in template.parts)


def check(template: Template, tables: Tables, own: Sequence[str]) -> None:
    """Refuse tables and columns that do not exist, as far as the template names them.

    Parameters
    ----------
    template : Template
        From `parse_template`.
    tables : Tables
        Returns the views of the named tables.
    own : sequence of str
        Columns that the table under construction will have.

    Raises
    ------
    TableReferenceError
        A table, instance or column does not exist.
    """
    scope = Scope(tables, None, template)
    for reference in template.references():
        if not isinstance(reference.table, str) or not isinstance(reference.selector, str):
            continue
        names = own if reference.table == SELF else view_of(reference, scope).names
        for word in reference.columns or ():
            if isinstance(word, str):
                _check_column(word, reference, names, scope)
        for condition in reference.conditions:
            if isinstance(condition.key, str):
                _check_key(condition.key, condition, (reference, names), scope)


def _text(reference: Reference, scope: Scope) -> str:
    """Return the result as text."""
    result = _result(reference, scope)
    if isinstance(result, pd.DataFrame):
        scope.fail(
            f"A frame of {result.shape[0]} x {result.shape[1]} cannot stand inside text.",
            reference,
            "Add a condition that leaves one value, or make the reference the whole string.",
        )
    return str(result)


def _result(reference: Reference, scope: Scope) -> Any:  # noqa: ANN401 - as above
    """Return the result of a reference, simplified by its shape."""
    view = view_of(reference, scope)
    columns = columns_of(reference, view, scope)
    if not reference.conditions:
        if is_current_row(reference, view, columns):
            return _current_row(reference, scope)
        return view.frame(columns, None)
    rows = rows_of(reference, view, scope)
    if len(rows) == 0:
        return None
    if len(columns) != 1:
        return view.frame(columns, rows)
    if len(rows) == 1:
        return view.cell(columns[0], rows[0])
    return [view.cell(columns[0], row) for row in rows]


def view_of(reference: Reference, scope: Scope) -> View:
    """Return the table of a reference."""
    table, selector = reference.table, reference.selector
    if not isinstance(table, str):
        table = name_of(table, scope.fixed())
    if table == SELF:
        selector = ""
    elif not isinstance(selector, str):
        selector = name_of(selector, scope.fixed())
    try:
        return scope.tables.view(table, selector)
    except TableReferenceError as error:
        raise error.with_facts(**scope.place(reference)) from error


def columns_of(reference: Reference, view: View, scope: Scope) -> tuple[str, ...]:
    """Return the columns that a reference names; refuse unknown ones."""
    if reference.columns is None:
        return view.names
    columns = tuple(name_of(column, scope) for column in reference.columns)
    for column in columns:
        _check_column(column, reference, view.names, scope)
    return columns


def _check_column(column: str, reference: Reference, names: Sequence[str], scope: Scope) -> None:
    """Refuse a column that the table does not have."""
    if column in names or column in POSITION_NAMES:
        return
    hint = did_you_mean(column, names) or f"It has: {_listed(names)}."
    scope.fail(f'Table "{reference.table}" has no column "{column}".', reference, hint)


def _check_key(
    key: str, condition: Condition, place: tuple[Reference, Sequence[str]], scope: Scope
) -> None:
    """Refuse a key that is no column, or, without a value, is both column and position."""
    reference, names = place
    _check_column(key, reference, names, scope)
    if condition.low is None and key in POSITION_NAMES and key in names:
        position = f"[{OTHER_INDEX}]" if OTHER_INDEX not in names else f"[{INDEX}]"
        scope.fail(
            f'Table "{reference.table}" has a column "{key}", so [{key}] does not name a row.',
            reference,
            f"Write {position} for the current row, or [{key}::value] for the column."
            if not set(names) >= POSITION_NAMES
            else f"Write [{key}::value] for the column.",
        )


def is_current_row(reference: Reference, view: View, columns: tuple[str, ...]) -> bool:
    """Return whether a reference without conditions is the position of the current row."""
    return reference.table == SELF and len(columns) == 1 and view.is_position(columns[0])


def rows_of(reference: Reference, view: View, scope: Scope) -> Sequence[int]:
    """Return the rows that fulfil all conditions, in ascending order."""
    equal: list[Equal] = []
    between: list[Between] = []
    later: list[tuple[str, Condition]] = []
    for condition in reference.conditions:
        key = name_of(condition.key, scope)
        _check_key(key, condition, (reference, view.names), scope)
        if view.is_position(key) or condition.high is not None:
            later.append((key, condition))
        else:
            equal.append((key, typed(key, condition.low, view.comparable(key), reference, scope)))
    for key, condition in later:
        column = POSITIONS if view.is_position(key) else view.comparable(key)
        low = typed(key, condition.low, column, reference, scope)
        if condition.high is None:
            equal.append((key, low))
        else:
            between.append((key, low, typed(key, condition.high, column, reference, scope)))
    return view.matching(equal, between)


def typed(
    key: str, word: Word | None, column: Comparable, reference: Reference, scope: Scope
) -> Any:  # noqa: ANN401 - a cell of any column
    """Convert the value of a condition to a cell of its column; None if nothing can match."""
    value = _current_row(reference, scope) if word is None else _scalar(word, scope)
    if value is None or pd.isna(value):
        return None
    try:
        return column.convert(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise TableReferenceError(
            f'Column "{key}" of table "{reference.table}" cannot be compared with {value!r}: '
            f"the value has to be {column.kind}.",
            "",
            **scope.place(reference),
        ) from error


def _current_row(reference: Reference, scope: Scope) -> int:
    """Return the position of the current row."""
    if scope.row is None:
        scope.fail(
            "There is no current row here.",
            reference,
            "Only arguments of row-wise functions are evaluated for each row, and never the "
            "table or the version of a reference; name the row, as in [index::0].",
        )
    return scope.row


def _scalar(word: Word, scope: Scope) -> Any:  # noqa: ANN401 - a cell of any column
    """Return the single value of a word; of a dataframe with one cell, the cell."""
    if isinstance(word, str):
        return word
    value = _result(word, scope)
    if isinstance(value, pd.DataFrame) and value.shape == (1, 1):
        value = value.iloc[0, 0]
    if not is_scalar(value):
        shape = type(value).__name__
        problem = f"A reference inside a reference has to give one value, not a {shape}."
        scope.fail(problem, word, "Add a condition that leaves one value.")
    return value


def name_of(word: Word, scope: Scope) -> str:
    """Return the name that a word evaluates to."""
    if isinstance(word, str):
        return word
    value = _scalar(word, scope)
    if value is None or pd.isna(value):
        scope.fail("The name that stands here is missing: no value was found.", word)
    return str(value)


def _listed(names: Iterable[str]) -> str:
    """List names for an error text, not too many of them."""
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(f'"{name}"' for name in shown[:_SHOWN]) + more
