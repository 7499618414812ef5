"""Evaluates references by functions of the row, in which the work that rows share is done once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, Protocol, TypeAlias

import pandas as pd

from tablevault.engine.references.compare import POSITIONS, Cell, Comparable, is_scalar
from tablevault.engine.references.grammar import Condition, Reference, Template, Word
from tablevault.engine.references.view import INDEX, OTHER_INDEX, POSITION_NAMES, View
from tablevault.errors import TableReferenceError
from tablevault.names import SELF
from tablevault.wording import did_you_mean

_SHOWN = 12

ByRow: TypeAlias = Callable[[int], Any]
"""A function of the position of the current row."""


class Tables(Protocol):
    """Source of the tables of an evaluation."""

    def view(self, table: str, selector: str) -> View:
        """Return the table; raises TableReferenceError when there is none."""


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
    return _Evaluator(template, tables, has_row=row is not None).template()(row or 0)


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
        if made is None:
            made = _Evaluator(template, tables, has_row=True).template()
        return made(row)

    return call


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
    evaluator = _Evaluator(template, tables, has_row=False)
    for reference in template.references():
        if isinstance(reference.table, str) and isinstance(reference.selector, str):
            names = own if reference.table == SELF else evaluator.view(reference).names
            evaluator.check_names(reference, names)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The function of a reference; with `is_plain` its results are immutable and no dataframes."""

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


class _Evaluator:
    """Makes the function of one template.

    Parameters
    ----------
    template : Template
        The template.
    tables : Tables
        What it reads.
    has_row : bool
        Whether there is a current row; without one the argument of the functions is ignored.
    """

    def __init__(self, template: Template, tables: Tables, *, has_row: bool) -> None:
        self._template = template
        self._tables = tables
        self._has_row = has_row

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
                self._fail(
                    f"A frame of {value.shape[0]} x {value.shape[1]} cannot stand inside text.",
                    reference,
                    "Add a condition that leaves one value, or make the reference the whole "
                    "string.",
                )
            return value

        return checked

    def _reference(self, reference: Reference) -> _Compiled:
        """Make the function of one reference."""
        names = [word for word in _names(reference) if isinstance(word, Reference)]
        if not all(map(_is_fixed, names)):
            return _Compiled(
                lambda row: self._reference(self._named(reference, row)).function(row),
                is_plain=False,
            )
        if names:
            reference = self._named(reference, 0)
        view = self.view(reference)
        self.check_names(reference, view.names)
        columns = view.names if reference.columns is None else _texts(reference.columns)
        if reference.conditions:
            is_plain = len(columns) == 1 and _is_plain(view, columns[0])
            return _Compiled(self._conditional(reference, view, columns), is_plain)
        if reference.table == SELF and len(columns) == 1 and view.is_position(columns[0]):
            self._need_row(reference)
            return _Compiled(lambda row: row, is_plain=True)
        return _Compiled(lambda _: view.frame(columns, None), is_plain=False)

    # -- names ----------------------------------------------------------------------------------

    def view(self, reference: Reference) -> View:
        """Return the table of a reference."""
        selector = "" if reference.table == SELF else reference.selector
        try:
            return self._tables.view(str(reference.table), str(selector))
        except TableReferenceError as error:
            raise error.with_facts(**self._place(reference)) from error

    def check_names(self, reference: Reference, names: Sequence[str]) -> None:
        """Refuse columns that the table does not have, as far as the reference names them."""
        for word in reference.columns or ():
            if isinstance(word, str):
                self._check_column(word, reference, names)
        for condition in reference.conditions:
            if isinstance(condition.key, str):
                self._check_key(condition, reference, names)

    def _check_column(self, column: str, reference: Reference, names: Sequence[str]) -> None:
        """Refuse a column that the table does not have."""
        if column in names or column in POSITION_NAMES:
            return
        hint = did_you_mean(column, names) or f"It has: {_listed(names)}."
        self._fail(f'Table "{reference.table}" has no column "{column}".', reference, hint)

    def _check_key(self, condition: Condition, reference: Reference, names: Sequence[str]) -> None:
        """Refuse a key that is no column, or, without a value, is both column and position."""
        key = str(condition.key)
        self._check_column(key, reference, names)
        if condition.low is None and key in POSITION_NAMES and key in names:
            position = f"[{OTHER_INDEX}]" if OTHER_INDEX not in names else f"[{INDEX}]"
            self._fail(
                f'Table "{reference.table}" has a column "{key}", so [{key}] does not name a row.',
                reference,
                f"Write {position} for the current row, or [{key}::value] for the column."
                if not set(names) >= POSITION_NAMES
                else f"Write [{key}::value] for the column.",
            )

    def _named(self, reference: Reference, row: int) -> Reference:
        """Return a reference with the names that nested references give."""
        # All rows read the same instance.
        fixed = _Evaluator(self._template, self._tables, has_row=False)
        table = fixed._name(reference.table, row)
        columns = reference.columns
        return replace(
            reference,
            table=table,
            selector="" if table == SELF else fixed._name(reference.selector, row),
            columns=columns and tuple(self._name(word, row) for word in columns),
            conditions=tuple(
                replace(each, key=self._name(each.key, row)) for each in reference.conditions
            ),
        )

    def _name(self, word: Word, row: int) -> str:
        """Return the name that a word evaluates to."""
        if isinstance(word, str):
            return word
        value = self._scalar(self._reference(word).function(row), word)
        if value is None or pd.isna(value):
            self._fail("The name that stands here is missing: no value was found.", word)
        return str(value)

    # -- conditions -----------------------------------------------------------------------------

    def _conditional(self, reference: Reference, view: View, columns: tuple[str, ...]) -> ByRow:
        """Make the function of a reference with conditions."""
        first, *more = reference.conditions
        by_position = not more and view.is_position(str(first.key))
        if by_position and first.low is None:
            self._need_row(reference)
            return _current(reference, view, columns)
        shape = _shape(view, columns)
        sought = [self._sought(each, reference, view) for each in reference.conditions]
        grows = any(each.key in view.growing for each in sought)
        if not grows and all(map(_is_constant, sought)):
            rows = _by_conditions(view, sought)(0)
            return lambda _: shape(rows)
        if not (grows or more or by_position) and first.high is None:
            return _by_key(view, sought[0], columns)
        rows_by_row = _by_conditions(view, sought)
        return lambda row: shape(rows_by_row(row))

    def _sought(self, condition: Condition, reference: Reference, view: View) -> _Sought:
        """Make the functions of a condition."""
        key, high = str(condition.key), condition.high

        def column() -> Comparable:
            """Return the column, which may grow."""
            return POSITIONS if view.is_position(key) else view.comparable(key)

        known = None if key in view.growing else column()

        def cell(word: Word | None) -> ByRow | _Constant:
            """Make the function of one value, as a cell of the column."""

            def converted(value: Any) -> Cell:  # noqa: ANN401 - a reference gives anything
                """Convert a value to a cell; None if nothing can match."""
                value = value if word is None else self._scalar(value, word)
                if value is None or pd.isna(value):
                    return None
                return self._converted(value, known or column(), key, reference)

            if known is not None and (isinstance(word, str) or (word and _is_fixed(word))):
                return _Constant(converted(self._value(word, reference)(0)))
            value = self._value(word, reference)
            same = None if known is None else known.same

            def convert(row: int) -> Cell:
                """Convert the value of a row."""
                found = value(row)
                return found if type(found) is same else converted(found)

            return convert

        return _Sought(key, cell(condition.low), None if high is None else cell(high))

    def _value(self, word: Word | None, reference: Reference) -> ByRow:
        """Make the function of the value in a condition; without one it is the current row."""
        if word is None:
            self._need_row(reference)
            return lambda row: row
        return (lambda _: word) if isinstance(word, str) else self._reference(word).function

    def _scalar(self, value: Any, word: Word) -> Any:  # noqa: ANN401 - a cell of any column
        """Return the single value of a nested reference; of a dataframe with one cell, the cell."""
        if isinstance(value, pd.DataFrame) and value.shape == (1, 1):
            value = value.iloc[0, 0]
        if not is_scalar(value):
            assert isinstance(word, Reference)
            shape = type(value).__name__
            problem = f"A reference inside a reference has to give one value, not a {shape}."
            self._fail(problem, word, "Add a condition that leaves one value.")
        return value

    def _converted(self, value: object, column: Comparable, key: str, reference: Reference) -> Cell:
        """Convert a value to a cell of a column."""
        try:
            return column.convert(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise TableReferenceError(
                f'Column "{key}" of table "{reference.table}" cannot be compared with {value!r}: '
                f"the value has to be {column.kind}.",
                "",
                **self._place(reference),
            ) from error

    # -- errors ---------------------------------------------------------------------------------

    def _need_row(self, reference: Reference) -> None:
        """Refuse a reference to the current row where there is none."""
        if not self._has_row:
            self._fail(
                "There is no current row here.",
                reference,
                "Only arguments of row-wise functions are evaluated for each row, and never the "
                "table or the version of a reference; name the row, as in [index::0].",
            )

    def _fail(self, message: str, reference: Reference, hint: str = "") -> NoReturn:
        """Raise an error with the location of a reference."""
        raise TableReferenceError(message, hint, **self._place(reference))

    def _place(self, reference: Reference) -> dict[str, str | int | None]:
        """Return the location of a reference, as facts of an error."""
        return {
            "builder": self._template.builder,
            "field": self._template.field,
            "text": self._template.text,
            "start": reference.start,
            "end": reference.end,
        }


def _names(reference: Reference) -> list[Word]:
    """Return the words that name table, instance and columns."""
    keys = (condition.key for condition in reference.conditions)
    return [reference.table, reference.selector, *(reference.columns or ()), *keys]


def _texts(words: Sequence[Word]) -> tuple[str, ...]:
    """Return words that are text."""
    return tuple(map(str, words))


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


def _current(reference: Reference, view: View, columns: tuple[str, ...]) -> ByRow:
    """Make the function of the current row of a table, which may have fewer rows than another."""
    if len(columns) != 1:
        return lambda row: view.frame(columns, (row,)) if row < view.rows else None
    name = columns[0]
    cell = view.in_order(name) if _is_plain(view, name) else partial(view.cell, name)
    return cell if reference.table == SELF else lambda row: cell(row) if row < view.rows else None


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
    lookup, value, shape = view.lookup((sought.key,)), _function(sought.low), _shape(view, columns)
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


def _listed(names: Iterable[str]) -> str:
    """List names for an error text, not too many of them."""
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(f'"{name}"' for name in shown[:_SHOWN]) + more
