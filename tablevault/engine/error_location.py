"""Where a builder names a table that cannot be read, for the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable

from tablevault.engine.argument_values import templates
from tablevault.engine.builder import Builder
from tablevault.engine.dependencies import Dependency, dependency_of
from tablevault.engine.reference import Reference
from tablevault.errors import TableReferenceError


def blamed(
    error: TableReferenceError, builders: Iterable[Builder], needed: Dependency
) -> TableReferenceError:
    """Return `error` with the builder, the field and the place that name what is `needed`."""
    wanted = (needed.table, needed.selector)
    for builder in builders:
        for template in (each for node in builder.nodes.values() for each in templates(node)):
            for reference in template.references():
                if _named_by(reference) == wanted:
                    return _at(
                        error,
                        builder=builder.name,
                        field=template.field,
                        text=template.text,
                        start=reference.start,
                        end=reference.end,
                    )
        if any((each.table, each.selector) == wanted for each in builder.dependencies):
            return _at(error, builder=builder.name, field="dependencies")
    return error


def _named_by(reference: Reference) -> tuple[str, str] | None:
    """Return table and selector that a reference names, nested references aside."""
    found = dependency_of(reference)
    return None if found is None else (found.table, found.selector)


def _at(error: TableReferenceError, **place: str | int) -> TableReferenceError:
    """Add a place to an error."""
    facts = {**error.facts, **place}
    return TableReferenceError(error.message, error.hint, **facts)
