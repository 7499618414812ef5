"""Finds what a builder reads: cells of the current row, whole columns, and other tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tablevault.engine.builders.arguments import Node, templates
from tablevault.engine.builders.field_values import FieldPath
from tablevault.engine.references import Reference, Template, parse_template
from tablevault.engine.references.view import POSITION_NAMES
from tablevault.errors import TableReferenceError
from tablevault.names import SELF


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A table that is read: all columns if None, the latest instance if `selector` is ""."""

    table: str
    selector: str = ""
    columns: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Format it as a reference without brackets."""
        table = f"{self.table}({self.selector})" if self.selector else self.table
        if self.columns is None:
            return table
        if len(self.columns) == 1:
            return f"{table}.{self.columns[0]}"
        return f"{table}.{{{','.join(self.columns)}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The reads of one reference, with those nested in it.

    Attributes
    ----------
    template : Template
        A template of the reference alone.
    cells : tuple of str
        Columns of the table under construction of which it reads the cell in the current row.
    wholes : tuple of Dependency
        Columns and tables that it reads besides these cells.
    is_known : bool
        False if a nested reference decides which table, instance or column is read.
    selects : bool
        Whether it has conditions: then its result may stay the same although a column changes.
    by_row : bool
        Whether its result may differ between rows.
    """

    template: Template
    cells: tuple[str, ...]
    wholes: tuple[Dependency, ...]
    is_known: bool
    selects: bool
    by_row: bool


def reads_of(arguments: Node, own: Collection[str]) -> tuple[Read, ...]:
    """Return the reads of the arguments of a builder, one for each outermost reference.

    Parameters
    ----------
    arguments : Node
        Arguments of the builder as they are written.
    own : collection of str
        Columns of the table under construction.
    """
    positions = POSITION_NAMES.difference(own)
    return tuple(
        _read(part, template, positions)
        for template in templates(arguments)
        for part in template.parts
        if isinstance(part, Reference)
    )


def reads_other_rows(arguments: Node, columns: Collection[str], own: Collection[str]) -> bool:
    """Return whether arguments may read columns of the table in other rows than the current one.

    Parameters
    ----------
    arguments : Node
        Arguments of the builder as they are written.
    columns : collection of str
        The columns.
    own : collection of str
        All columns of the table under construction.
    """
    return any(
        not read.is_known
        or any(
            whole.table == SELF and not set(whole.columns or columns).isdisjoint(columns)
            for whole in read.wholes
        )
        for read in reads_of(arguments, own)
    )


def growing(arguments: Node, own: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the references that pass whole columns of the table under construction.

    Their values grow with the table. References inside of others are left out: they select rows.

    Parameters
    ----------
    arguments : Node
        Arguments of the builder as they are written.
    own : collection of str
        Columns that the builder fills: of them it can read only earlier rows.

    Yields
    ------
    tuple of str and str
        The field, such as ``arguments.text``, and the reference as it is written.
    """
    for template in templates(arguments):
        for part in template.parts:
            if not isinstance(part, Reference) or part.table != SELF or part.conditions:
                continue
            names = part.columns
            if names is None or not all(name in own or name in POSITION_NAMES for name in names):
                yield template.field, template.text[part.start : part.end]


def _read(reference: Reference, template: Template, positions: frozenset[str]) -> Read:
    """Return the reads of one outermost reference."""
    every = (reference, *reference.nested())
    cells: dict[str, None] = {}
    wholes: dict[Dependency, None] = {}
    follows_row = False
    for each in every:
        columns = _columns(each)
        here = any(condition.low is None for condition in each.conditions)
        follows_row |= here
        if columns is not None and _is_own_cell(each, positions):
            # The position selects the row; it is not read, unless it is asked for as "index".
            cells.update(dict.fromkeys(columns))
            continue
        if isinstance(each.table, str) and isinstance(each.selector, str):
            selector = "" if each.table == SELF else each.selector
            wholes[Dependency(table=each.table, selector=selector, columns=columns)] = None
        if here and not _is_own_cell(each, positions):
            cells[max(positions, default="")] = None
    is_known = all(isinstance(word, str) for each in every for word in _naming(each))
    return Read(
        template=Template((reference,), builder=template.builder, field=template.field),
        cells=tuple(cells),
        wholes=tuple(wholes),
        is_known=is_known,
        selects=bool(reference.conditions),
        by_row=bool(cells) or follows_row or not is_known,
    )


def _is_own_cell(reference: Reference, positions: frozenset[str]) -> bool:
    """Return whether a reference reads cells of the current row of the table itself."""
    if reference.table != SELF:
        return False
    if not reference.conditions:
        return len(reference.columns or ()) == 1 and positions.issuperset(reference.columns or ())
    (first, *more) = reference.conditions
    return not more and first.key in positions and first.low is None


def _columns(reference: Reference) -> tuple[str, ...] | None:
    """Return the columns that a reference reads, also in conditions; None for all."""
    # A key without a value is the position, or an error.
    keys = [
        condition.key
        for condition in reference.conditions
        if condition.low is not None or condition.key not in POSITION_NAMES
    ]
    if reference.columns is None:
        return None
    names = [word for word in (*reference.columns, *keys) if isinstance(word, str)]
    return tuple(dict.fromkeys(names))


def _naming(reference: Reference) -> Iterator[object]:
    """Yield the words that name tables, instances and columns, without values of conditions."""
    yield reference.table
    yield reference.selector
    yield from reference.columns or ()
    for condition in reference.conditions:
        yield condition.key


_KEYS = {"table", "columns", "version"}
_ALL_COLUMNS = re.compile(r"\s*\.\s*\*\s*$")
_ALLOWED = "text such as orders, orders.amount, orders.{id,amount}, orders.* or orders(base).amount"


def explicit_dependencies(value: object, path: FieldPath) -> tuple[Dependency, ...]:
    """Read the field ``dependencies``: null, or a list of text and mappings.

    Raises
    ------
    TVBuilderError
        An entry has another form.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise path.wrong(value, "a list, or null")
    entries = enumerate(value)
    return tuple(_entry(entry, path.at(f"[{number}]")) for number, entry in entries)


def dependency_of(reference: Reference) -> Dependency | None:
    """Return the table that a reference reads; None if only an execution can resolve it."""
    if not isinstance(reference.table, str) or not isinstance(reference.selector, str):
        return None
    named = reference.columns
    keys = [condition.key for condition in reference.conditions]
    if named is None or not all(isinstance(word, str) for word in (*named, *keys)):
        return Dependency(table=reference.table, selector=reference.selector)
    # In ``self`` it may be a column, whose builder has to run before.
    columns = dict.fromkeys(
        str(word)
        for word in (*named, *keys)
        if reference.table == SELF or word not in POSITION_NAMES
    )
    return Dependency(table=reference.table, selector=reference.selector, columns=tuple(columns))


def merged(dependencies: Iterable[Dependency]) -> tuple[Dependency, ...]:
    """Join the columns of each table and selector, in alphabetical order."""
    found: dict[tuple[str, str], set[str] | None] = {}
    for dependency in dependencies:
        key = dependency.table, dependency.selector
        known = found.setdefault(key, set())
        if dependency.columns is None or known is None:
            found[key] = None
        else:
            known.update(dependency.columns)
    return tuple(
        Dependency(
            table=table, selector=selector, columns=None if names is None else tuple(sorted(names))
        )
        for (table, selector), names in sorted(found.items())
    )


def _entry(entry: object, path: FieldPath) -> Dependency:
    """Read one entry of the field."""
    if isinstance(entry, Mapping):
        return _mapping(entry, path)
    if not isinstance(entry, str):
        raise path.wrong(entry, _ALLOWED)
    inside = entry.strip().removeprefix("<<").removesuffix(">>")
    try:
        template = parse_template("<<" + _ALL_COLUMNS.sub("", inside) + ">>")
    except TableReferenceError as error:
        raise path.wrong(entry, _ALLOWED) from error
    found = template.whole
    dependency = None if found is None or found.conditions else dependency_of(found)
    if dependency is None:
        raise path.wrong(entry, _ALLOWED)
    return dependency


def _mapping(entry: Mapping[object, object], path: FieldPath) -> Dependency:
    """Read an entry of the form ``{table: ..., columns: [...], version: ...}``."""
    for key in entry.keys() - _KEYS:
        raise path.wrong({key: entry[key]}, "a mapping of table, columns and version")
    table, version = entry.get("table"), entry.get("version")
    if not isinstance(table, str) or not table:
        raise path.at(".table").wrong(table, "the name of a table")
    if not isinstance(version, str | int | None) or isinstance(version, bool):
        raise path.at(".version").wrong(version, "a version or an instance id")
    columns = entry.get("columns")
    if isinstance(columns, str):
        columns = [columns]
    names = None if columns is None or columns == ["*"] else path.at(".columns").names(columns)
    return Dependency(table=table, selector="" if version is None else str(version), columns=names)


def dependencies_of(references: Iterable[Reference]) -> Iterator[Dependency]:
    """Yield the tables that references read, as far as their text names them."""
    for reference in references:
        if (dependency := dependency_of(reference)) is not None:
            yield dependency
