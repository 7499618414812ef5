"""What a builder reads, found in its references and in its explicit dependencies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tablevault.engine.fields import Place
from tablevault.engine.reference import Reference, parse_template
from tablevault.engine.reference.view import POSITION_NAMES
from tablevault.errors import TableReferenceError
from tablevault.names import SELF

_KEYS = {"table", "columns", "version"}
_ALL_COLUMNS = re.compile(r"\s*\.\s*\*\s*$")
_ALLOWED = "text such as orders, orders.amount, orders.{id,amount}, orders.* or orders(base).amount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A table that is read; `columns` are all when None, `selector` "" is the latest instance."""

    table: str
    selector: str = ""
    columns: tuple[str, ...] | None = None


def explicit_dependencies(value: object, place: Place) -> tuple[Dependency, ...]:
    """Read the field ``dependencies``: null, or a list of text and mappings.

    Raises
    ------
    TVBuilderError
        An entry has another form.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise place.wrong(value, "a list, or null")
    entries = enumerate(value)
    return tuple(_entry(entry, place.at(f"[{number}]")) for number, entry in entries)


def dependency_of(reference: Reference) -> Dependency | None:
    """Return what a reference reads; None when only an execution can tell which table that is."""
    if not isinstance(reference.table, str) or not isinstance(reference.selector, str):
        return None
    named = reference.columns
    keys = [condition.key for condition in reference.conditions]
    if named is None or not all(isinstance(word, str) for word in (*named, *keys)):
        return Dependency(table=reference.table, selector=reference.selector)
    # In the own table it may be a column that a builder makes, which has to run before.
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


def _entry(entry: object, place: Place) -> Dependency:
    """Read one entry of the field."""
    if isinstance(entry, Mapping):
        return _mapping(entry, place)
    if not isinstance(entry, str):
        raise place.wrong(entry, _ALLOWED)
    inside = entry.strip().removeprefix("<<").removesuffix(">>")
    try:
        template = parse_template("<<" + _ALL_COLUMNS.sub("", inside) + ">>")
    except TableReferenceError as error:
        raise place.wrong(entry, _ALLOWED) from error
    found = template.whole
    dependency = None if found is None or found.conditions else dependency_of(found)
    if dependency is None:
        raise place.wrong(entry, _ALLOWED)
    return dependency


def _mapping(entry: Mapping[object, object], place: Place) -> Dependency:
    """Read an entry of the form ``{table: ..., columns: [...], version: ...}``."""
    for key in entry.keys() - _KEYS:
        raise place.wrong({key: entry[key]}, "a mapping of table, columns and version")
    table, version = entry.get("table"), entry.get("version")
    if not isinstance(table, str) or not table:
        raise place.at(".table").wrong(table, "the name of a table")
    if not isinstance(version, str | int | None) or isinstance(version, bool):
        raise place.at(".version").wrong(version, "a version or an instance id")
    columns = entry.get("columns")
    if isinstance(columns, str):
        columns = [columns]
    names = None if columns is None or columns == ["*"] else place.at(".columns").names(columns)
    return Dependency(table=table, selector="" if version is None else str(version), columns=names)


def dependencies_of(references: Iterable[Reference]) -> Iterator[Dependency]:
    """Return what references read, as far as it can be told without evaluating them."""
    for reference in references:
        if (dependency := dependency_of(reference)) is not None:
            yield dependency
