"""Plans an execution: the order in which builders run, and the tables that they read."""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tablevault.engine.builders.arguments import references, templates
from tablevault.engine.builders.builder import Builder
from tablevault.engine.builders.reads import Dependency, dependencies_of, dependency_of, merged
from tablevault.engine.references import Reference
from tablevault.errors import TableReferenceError, TVArgumentError, TVBuilderError
from tablevault.names import SELF, index_builder


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of an execution.

    Attributes
    ----------
    table : str
        Table that is built.
    order : tuple of Builder
        All builders, the index builder first, each after those whose columns it reads.
    reads : mapping of str to tuple of str
        For each builder the builders whose columns it reads, without itself.
    external : tuple of Dependency
        Other tables that are read, each table and selector once; without those that a nested
        reference names.
    """

    table: str
    order: tuple[Builder, ...]
    reads: Mapping[str, tuple[str, ...]]
    external: tuple[Dependency, ...]

    @property
    def index(self) -> Builder:
        """The index builder."""
        return self.order[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table in order, as far as they are known in advance."""
        return tuple(name for builder in self.order for name in builder.changed_columns or ())

    def readers(self, is_open: Callable[[Dependency], bool]) -> Mapping[str, tuple[str, ...]]:
        """Return the builders that read a table for which `is_open` is true, with these tables."""
        found = {
            builder.name: {each.table for each in _dependencies(builder) if is_open(each)}
            for builder in self.order
        }
        return {name: tuple(sorted(tables)) for name, tables in found.items() if tables}

    def names(self, table: str) -> bool:
        """Return whether a builder names a table, other than through a nested reference."""
        return any(each.table == table for each in self.external)


def make_plan(builders: Sequence[Builder], *, table: str) -> Plan:
    """Order builders, and collect the tables that they read.

    Parameters
    ----------
    builders : sequence of Builder
        All builders of the instance.
    table : str
        The table that they build.

    Returns
    -------
    Plan
        Builders that do not depend on each other run in alphabetical order. One that reads
        ``<<self>>`` without naming columns runs after all builders before it in the alphabet,
        except those that depend on it.

    Raises
    ------
    TVBuilderError
        There is no index builder, two builders make one column, or builders depend on each other
        in a circle.
    TVArgumentError
        A primary key names a column that the index builder does not make.
    """
    named = {builder.name: builder for builder in sorted(builders, key=lambda each: each.name)}
    first = index_builder(table)
    if first not in named:
        raise TVBuilderError(
            f'Table "{table}" has no index builder.',
            f'Create the builder "{first}": it makes the rows.',
            table=table,
            builder=first,
        )
    makers = _makers(named.values())
    _check_primary_key(named[first])
    reads = {name: _reads(builder, makers, first) for name, builder in named.items()}
    for name, builder in named.items():
        if name != first and _reads_all(builder):
            _follow_earlier(name, reads)
    order = tuple(named[name] for name in _ordered(reads, first))
    return Plan(
        table=table,
        order=order,
        reads=MappingProxyType({name: tuple(sorted(read)) for name, read in reads.items()}),
        external=merged(
            dependency
            for builder in order
            for dependency in _dependencies(builder)
            if dependency.table != SELF
        ),
    )


def _makers(builders: Iterable[Builder]) -> dict[str, str]:
    """Return the builder of each column; refuse two for one column."""
    makers: dict[str, str] = {}
    for builder in builders:
        for column in builder.changed_columns or ():
            if column in makers:
                raise TVBuilderError(
                    f'Builders "{makers[column]}" and "{builder.name}" both make the column '
                    f'"{column}".',
                    "Remove it from changed_columns of one of them.",
                    builder=builder.name,
                    column=column,
                )
            makers[column] = builder.name
    return makers


def _check_primary_key(index: Builder) -> None:
    """Refuse a key column that the index builder does not make, or that holds files."""
    if index.changed_columns is None or index.primary_key is None:
        return
    for column in index.primary_key:
        if column not in index.changed_columns:
            raise TVArgumentError(
                f'Builder "{index.name}": primary_key names "{column}", which is not among '
                "changed_columns.",
                "Name columns that the index builder makes.",
                builder=index.name,
                column=column,
            )
        if (index.dtypes or {}).get(column) == "artifact_string":
            raise TVBuilderError(
                f'Builder "{index.name}": the artifact column "{column}" cannot be part of the '
                "primary key.",
                "A key has to name a row also when its file changes.",
                builder=index.name,
                column=column,
            )


def _dependencies(builder: Builder) -> Iterator[Dependency]:
    """Yield the dependencies of a builder: those of its references, and declared ones."""
    yield from builder.dependencies
    for node in builder.nodes.values():
        yield from dependencies_of(references(node))


def _reads(builder: Builder, makers: Mapping[str, str], first: str) -> set[str]:
    """Return the builders that have to run before `builder`; it may read its own columns."""
    read = {first}
    for dependency in _dependencies(builder):
        if dependency.table == SELF:
            read |= {makers[name] for name in dependency.columns or () if name in makers}
    return read - {builder.name}


def _reads_all(builder: Builder) -> bool:
    """Return whether a builder reads the table under construction as a whole."""
    return any(each.table == SELF and each.columns is None for each in _dependencies(builder))


def _follow_earlier(name: str, reads: dict[str, set[str]]) -> None:
    """Order a builder after those before it in the alphabet, unless that makes a circle."""
    for earlier in sorted(reads):
        if earlier >= name:
            return
        if not _needs(earlier, name, reads):
            reads[name].add(earlier)


def _needs(name: str, other: str, reads: Mapping[str, set[str]]) -> bool:
    """Return whether builder `name` depends on `other`, directly or through others."""
    seen, waiting = set[str](), [name]
    while waiting:
        if (current := waiting.pop()) == other:
            return True
        if current not in seen:
            seen.add(current)
            waiting += reads[current]
    return False


def _ordered(reads: Mapping[str, set[str]], first: str) -> list[str]:
    """Sort builders topologically; in alphabetical order where possible."""
    sorter = graphlib.TopologicalSorter(reads)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = [f'"{name}"' for name in reversed(error.args[1])]
        raise TVBuilderError(
            f"Builders need each other in a circle: {' reads '.join(circle)}.",
            "The index builder runs first and cannot read columns of others."
            if f'"{first}"' in circle
            else "Remove one of the references, or make both columns with one builder.",
            builder=str(error.args[1][0]),
        ) from error
    order: list[str] = []
    ready = list(sorter.get_ready())
    heapq.heapify(ready)
    while ready:
        name = heapq.heappop(ready)
        order.append(name)
        sorter.done(name)
        for each in sorter.get_ready():
            heapq.heappush(ready, each)
    return order


def with_location(
    error: TableReferenceError, builders: Iterable[Builder], needed: Dependency
) -> TableReferenceError:
    """Return `error` with the builder, the field and the reference that name a table."""
    wanted = (needed.table, needed.selector)
    for builder in builders:
        for template in (each for node in builder.nodes.values() for each in templates(node)):
            for reference in template.references():
                if _named_by(reference) == wanted:
                    return error.with_facts(
                        builder=builder.name,
                        field=template.field,
                        text=template.text,
                        start=reference.start,
                        end=reference.end,
                    )
        if any((each.table, each.selector) == wanted for each in builder.dependencies):
            return error.with_facts(builder=builder.name, field="dependencies")
    return error


def _named_by(reference: Reference) -> tuple[str, str] | None:
    """Return table and selector that a reference names, without nested references."""
    found = dependency_of(reference)
    return None if found is None else (found.table, found.selector)
