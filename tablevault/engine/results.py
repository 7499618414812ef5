"""Validates the results of functions against the declarations of their builder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd

from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.references.view import copied, copied_column
from tablevault.engine.row_values import RowResults, Values, why_unstorable
from tablevault.errors import TVBuilderError, TVTableError, message_of
from tablevault.frames.casting import cast
from tablevault.frames.dtypes import dtype_name, infer
from tablevault.frames.plain import as_data, plain
from tablevault.render import counted
from tablevault.secrets import has_secrets, leaked, redact

_SHOWN = 80
_REDACTED = 10_000
"""Characters of a text that are searched for secrets before it is cut for display."""
_MOST_ROWS = 5
_CELLS_AT_ONCE = 1 << 16
"""Cells that are converted to Python objects, which take more memory, at a time."""
# By exact type: 0.04 us a cell; the test for a collection takes 0.4 us.
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_TEXTS = ("string", "artifact_string")
_FITTING = {"string": str, "boolean": bool, "Float64": float, "object": object}
"""By dtype, a type whose values all fit."""
_RANGES = {"Int64": (-(1 << 63), (1 << 63) - 1), "Float64": (-(1 << 53), 1 << 53)}
"""By dtype, the range of whole numbers that all fit."""
_EXACT = {"Int64": int, "Float64": float, "string": str, "boolean": bool, "artifact_string": str}
"""By dtype, a type whose values are stored without a change."""
_OBJECTS = (list, Mapping, AbstractSet, np.ndarray)
"""Collections that give a column without a declared dtype the dtype object. A tuple does not: it
holds the values of several columns."""
_COLLECTIONS = (
    list, tuple, Mapping, AbstractSet, Iterator, np.ndarray, pd.Series, pd.Index, pd.DataFrame
)  # fmt: skip


def frame_columns(
    returned: object, builder: ResolvedBuilder, rows: int | None
) -> dict[str, pd.Series]:
    """Split a returned dataframe into columns: by name if the names match, else by position.

    Parameters
    ----------
    returned : object
        The result of the function. Its index is ignored; rows are taken by position.
    builder : ResolvedBuilder
        The builder.
    rows : int, optional
        Required number of rows; any if None.

    Returns
    -------
    dict of str to Series
        In the order of ``changed_columns``, with a RangeIndex, in memory of their own.

    Raises
    ------
    TVBuilderError
        It is no DataFrame, or has another number of columns or rows.
    """
    columns = builder.changed_columns
    if not columns and returned is None:
        return {}
    if not isinstance(returned, pd.DataFrame):
        raise wrong(builder, f"returned {show(returned)}", "It has to return a DataFrame.")
    if returned.shape[1] != len(columns):
        raise wrong(
            builder,
            f"returned {counted(returned.shape[1], 'column')} ({_listed(returned.columns)})",
            f"changed_columns names {len(columns)}: {_listed(columns)}.",
        )
    if rows is not None and len(returned) != rows:
        raise wrong(
            builder,
            f"returned {counted(len(returned), 'row')}",
            f"The table has {counted(rows, 'row')}; return one for each, in order.",
        )
    found = [series for _, series in returned.items()]  # noqa: PERF102 - no dict, but a frame
    labels = {str(label): position for position, label in enumerate(returned.columns)}
    by_name = labels.keys() == set(columns)
    taken = {}
    for position, name in enumerate(columns):
        series = _owned(found[labels[name] if by_name else position], builder, name)
        series.index = pd.RangeIndex(len(series))
        series.name = name
        taken[name] = series
    return taken


def row_values(value: object, builder: ResolvedBuilder, row: int) -> tuple[Any, ...]:
    """Split the result for one row into cells, one for each of ``changed_columns``.

    Raises
    ------
    TVBuilderError
        The number of values is not that of the columns, or a cell holds an iterator or a dataframe.
    """
    columns = builder.changed_columns
    if len(columns) == 1:
        if type(value) in _PLAIN:
            return (value,)
        unwrap = (
            isinstance(value, tuple)
            and len(value) == 1
            and builder.dtypes.get(columns[0]) != "object"
        )
        values: tuple[Any, ...] = value if unwrap and isinstance(value, tuple) else (value,)
    else:
        values = _several(() if value is None and not columns else value, builder, row)
    values = tuple(
        cell if type(cell) in _PLAIN else _as_data(cell, builder, name)
        for name, cell in zip(columns, values, strict=True)
    )
    if not any(type(cell) not in _PLAIN and isinstance(cell, _COLLECTIONS) for cell in values):
        return tuple(map(plain, values))
    for name, cell in zip(columns, values, strict=True):
        if not _takes(builder, name, cell) and why_unstorable(cell) is not None:
            raise _collection(cell, builder, (name, row))
    return tuple(
        _own(cell, builder, (name, row)) for name, cell in zip(columns, values, strict=True)
    )


def items_of(
    returned: object,
    builder: ResolvedBuilder,
    rows: int | None,
    iterate: Callable[[Iterable[Any]], Iterator[Any]],
) -> Iterator[Any]:
    """Return the items that a generator function yields; item i belongs to row i.

    Parameters
    ----------
    returned : object
        The result of the function.
    builder : ResolvedBuilder
        The builder.
    rows : int, optional
        Number of rows of the table; any if None.
    iterate : callable
        Returns the iterator, which runs code of the function.

    Raises
    ------
    TVBuilderError
        The result is no iterable, or a column builder yields more or fewer items than the table
        has rows.
    """
    if not isinstance(returned, Iterable) or isinstance(
        returned, str | bytes | Mapping | AbstractSet | pd.DataFrame
    ):
        hint = "It has to yield one item a row, or return a list of them."
        raise wrong(builder, f"returned {show(returned)}", hint)
    count = 0
    for item in iterate(returned):
        if rows is not None and count == rows:
            raise wrong(
                builder, f"yields more than {counted(rows, 'item')}", "The table has no more rows."
            )
        yield item
        count += 1
    if rows is not None and count < rows:
        raise wrong(
            builder,
            f"yields only {counted(count, 'item')}",
            f"The table has {counted(rows, 'row')}.",
        )


def row_columns(rows: Sequence[Values], builder: ResolvedBuilder) -> dict[str, pd.Series]:
    """Convert the values of all rows, in order, to columns."""
    made = RowResults(builder.changed_columns, len(rows), builder.dtypes)
    for row, values in enumerate(rows):
        made.put(row, values)
    return made.columns()


def partial_columns(made: RowResults, builder: ResolvedBuilder) -> dict[str, pd.Series]:
    """Convert the values of some rows to typed columns of all rows, null elsewhere.

    Raises
    ------
    TVTableError
        As `typed`.
    """
    there = np.flatnonzero(made.there)
    return {
        name: typed(series.iloc[there], name, builder).set_axis(there).reindex(series.index)
        for name, series in made.columns().items()
    }


def typed(series: pd.Series, name: str, builder: ResolvedBuilder) -> pd.Series:
    """Cast a column to its declared dtype, or to the dtype inferred from its values.

    Raises
    ------
    TVTableError
        A value does not fit; the error names builder, column, row and value.
    """
    dtype = builder.dtypes.get(name)
    try:
        fitted: pd.Series = infer(series, name) if dtype is None else cast(series, dtype)
    except TVTableError as error:
        text = f'Builder "{builder.name}": {error.message}'
        raise error.with_facts(text, builder=builder.name, column=name) from error
    return fitted


def check_values(values: Values, builder: ResolvedBuilder, row: int) -> None:
    """Refuse values that their columns cannot hold.

    Raises
    ------
    TVBuilderError
        A value is a collection, and the declared dtype of its column is not ``object``; without a
        declared dtype it may not be a tuple.
    TVTableError
        A value does not fit the declared dtype of its column; the error names builder, column, row
        and value.
    """
    for name, value in zip(builder.changed_columns, values, strict=True):
        if type(value) not in _PLAIN and not _takes(builder, name, value):
            raise _collection(value, builder, (name, row))
        dtype = builder.dtypes.get(name)
        if dtype is None or value is None or _surely_fits(value, dtype):
            continue
        try:
            cast(pd.Series([value], dtype=object, name=name), dtype)
        except TVTableError as error:
            text = f'Builder "{builder.name}": {error.message.replace("row 0", f"row {row}", 1)}'
            raise error.with_facts(text, builder=builder.name, column=name, row=row) from error


def _surely_fits(value: object, dtype: str) -> bool:
    """Return whether a value fits for sure; a cast takes half a millisecond."""
    if type(value) is int and dtype in _RANGES:
        least, most = _RANGES[dtype]
        return least <= value <= most
    return type(value) is _FITTING.get(dtype)


def with_texts(values: Values, builder: ResolvedBuilder, row: int) -> Values:
    """Replace values that cannot be stored by their text, in columns of text.

    Raises
    ------
    TVTableError
        A column of another dtype holds such a value.
    """
    made = []
    for name, value in zip(builder.changed_columns, values, strict=True):
        reason = why_unstorable(value)
        if reason is None:
            made.append(value)
        elif builder.dtypes.get(name) in _TEXTS:
            made.append(str(value))
        else:
            shown = " ".join(repr(value).split())[:_SHOWN]
            kind = f"{type(value).__qualname__}{reason and ', ' + reason}"
            raise _unkeepable(f"{shown} ({kind})", builder, (name, row))
    return tuple(made)


def is_exact(returned: pd.Series, column: pd.Series) -> bool:
    """Return whether a column holds exactly the values that were returned for it."""
    if returned.dtype == column.dtype:
        return True
    exact = {_EXACT.get(dtype_name(column.dtype)), type(None), type(pd.NA)}
    parts = (
        returned.iloc[at : at + _CELLS_AT_ONCE].tolist()
        for at in range(0, len(returned), _CELLS_AT_ONCE)
    )
    return all(exact.issuperset(map(type, cells)) for cells in parts)


def check_key(frame: pd.DataFrame, builder: ResolvedBuilder) -> None:
    """Refuse rows whose primary key is null or not unique.

    Raises
    ------
    TVTableError
        A key is null or appears twice; the error names rows and key.
    """
    key = list(builder.primary_key)
    if not key:
        return
    nulls = np.flatnonzero(frame[key].isna().any(axis=1).to_numpy()).tolist()
    if nulls:
        raise TVTableError(
            f'Builder "{builder.name}": the primary key ({_listed(key)}) is null in '
            f"{_rows(nulls)}.",
            "Give every row a key, or remove the column from primary_key.",
            builder=builder.name,
            row=nulls[0],
        )
    try:
        twice = np.flatnonzero(frame.duplicated(key, keep=False).to_numpy()).tolist()
    except TypeError as error:  # lists in a column of dtype object
        raise TVTableError(
            f'Builder "{builder.name}": values of the primary key ({_listed(key)}) cannot be '
            "compared.",
            "Use columns of numbers or text.",
            builder=builder.name,
        ) from error
    if twice:
        value = tuple(frame[name].iloc[twice[0]] for name in key)
        same = [at for at in twice if tuple(frame[name].iloc[at] for name in key) == value]
        shown = show(value[0] if len(value) == 1 else value)
        raise TVTableError(
            f'Builder "{builder.name}": the primary key ({_listed(key)}) has the value {shown} in '
            f"{_rows(same)}.",
            "Make the rows different, or remove primary_key.",
            builder=builder.name,
            row=same[-1],
        )


def wrong(
    builder: ResolvedBuilder, did: str, hint: str, **facts: str | int | None
) -> TVBuilderError:
    """Return the error for a wrong result of the function of a builder."""
    return TVBuilderError(
        f'Builder "{builder.name}": function "{builder.function}" {did}.',
        hint,
        builder=builder.name,
        **facts,
    )


def show(value: object) -> str:
    """Format a value for an error text: its beginning and its type."""
    if value is None:
        return "None"
    if isinstance(value, np.generic):
        value = value.item()
    try:
        text = " ".join(redact(_shape(value)[:_REDACTED]).split())
    except Exception:  # noqa: BLE001 - a class of the user may fail at that, too
        return f"an object that cannot be shown ({type(value).__name__})"
    return f"{text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''} ({type(value).__name__})"


def _as_data(cell: object, builder: ResolvedBuilder, name: str) -> Any:  # noqa: ANN401 - a cell holds anything
    """Convert an object with fields to a dict, except in a column of text."""
    return cell if builder.dtypes.get(name) in _TEXTS else as_data(cell)


def _own(cell: object, builder: ResolvedBuilder, place: tuple[str, int]) -> Any:  # noqa: ANN401 - a cell holds anything
    """Copy a cell that a function returned: the function may keep and change it.

    Raises
    ------
    TVTableError
        It cannot be copied, such as an object that holds a lock.
    """
    try:
        return copied(cell)
    except Exception as error:
        shown = f"{show(cell)} ({type(error).__name__}: {message_of(error)})"
        raise _unkeepable(shown, builder, place) from error


def _unkeepable(shown: str, builder: ResolvedBuilder, place: tuple[str, int]) -> TVTableError:
    """Return the error for a value that cannot be stored."""
    column, row = place
    return TVTableError(
        f'Builder "{builder.name}": the value of column "{column}" in row {row} cannot be kept: '
        f"{shown}.",
        "Return text, numbers, times, or lists and dicts of them.",
        builder=builder.name,
        row=row,
        column=column,
    )


def _collection(cell: object, builder: ResolvedBuilder, place: tuple[str, int]) -> TVBuilderError:
    """Return the error for a collection that a column does not take."""
    column, row = place
    return wrong(
        builder,
        f'returned {show(cell)} for column "{column}" in row {row}',
        f"Return one value, or declare dtypes: {{{column}: object}}.",
        row=row,
        column=column,
    )


def _owned(series: pd.Series, builder: ResolvedBuilder, name: str) -> pd.Series:
    """Copy a column that a function returned, with the objects in its cells."""
    if series.dtype != object:
        return copied_column(series)
    values = np.empty(len(series), dtype=object)
    for row, cell in enumerate(series.tolist()):
        values[row] = _own(_as_data(cell, builder, name), builder, (name, row))
    return pd.Series(values, name=name, dtype=object)


def _shape(value: object) -> str:
    """Format a value, a dataframe by its shape."""
    if isinstance(value, pd.DataFrame):
        return f"{value.shape[0]} x {value.shape[1]}"
    return repr(value)


def _several(value: object, builder: ResolvedBuilder, row: int) -> tuple[Any, ...]:
    """Return several values as a tuple; of a Series by name if its labels are the columns."""
    columns = builder.changed_columns
    if isinstance(value, pd.Series):
        by_name = value.index.is_unique and set(value.index) == set(columns)
        values = [value[name] for name in columns] if by_name else value.tolist()
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1):
        values = list(value)
    else:
        raise wrong(
            builder,
            f"returned {show(value)} in row {row}",
            f"It has to return a list or tuple of {len(columns)} values: {_listed(columns)}.",
            row=row,
        )
    if len(values) != len(columns):
        raise wrong(
            builder,
            f"returned {counted(len(values), 'value')} in row {row}: {show(value)}",
            f"changed_columns names {len(columns)}: {_listed(columns)}.",
            row=row,
        )
    return tuple(values)


def _takes(builder: ResolvedBuilder, column: str, cell: object) -> bool:
    """Return whether a column may hold a value: a collection only if it holds objects."""
    if not isinstance(cell, _COLLECTIONS):
        return True
    match builder.dtypes.get(column):
        case None:
            return isinstance(cell, _OBJECTS)
        case "object":
            return not isinstance(cell, Iterator | pd.DataFrame)
        case _:
            return False


def _listed(names: Iterable[object]) -> str:
    """List names for an error text."""
    return ", ".join(f'"{name}"' for name in names)


def _rows(rows: Sequence[int]) -> str:
    """Name some rows for an error text."""
    named = ", ".join(str(row) for row in rows[:_MOST_ROWS])
    more = f" and {len(rows) - _MOST_ROWS} more" if len(rows) > _MOST_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"


def refuse_leak(text: str, builder: ResolvedBuilder, row: int) -> None:
    """Refuse a result, as tagged JSON, that holds a secret; `row` is -1 for none.

    Raises
    ------
    TVTableError
        It holds the value of an environment variable that a builder has read.
    """
    if variable := leaked(text):
        raise _leak_error(variable, builder, "" if row < 0 else f" for row {row}", row=row)


def refuse_leaks(columns: Mapping[str, pd.Series], builder: ResolvedBuilder) -> None:
    """Refuse columns in which a cell holds a secret; raises as `refuse_leak`."""
    if not has_secrets():
        return
    for name, series in columns.items():
        if series.dtype != object and not pd.api.types.is_string_dtype(series.dtype):
            continue
        for row, cell in enumerate(series):
            if variable := leaked(str(cell)):
                raise _leak_error(
                    variable, builder, f" in column {name}, row {row}", column=name, row=row
                )


def _leak_error(
    variable: str, builder: ResolvedBuilder, where: str, **facts: str | int
) -> TVTableError:
    """Return the error for a secret in a result."""
    return TVTableError(
        f'Builder "{builder.name}": what function "{builder.function}" returned{where} holds '
        f'the value of the environment variable "{variable}", which would be kept for ever.',
        "Leave it out, for instance where the text of an exception is returned.",
        builder=builder.name,
        variable=variable,
        **facts,
    )
