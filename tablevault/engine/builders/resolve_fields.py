"""Resolves the references in the fields of builders, except in their arguments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tablevault.engine.builders import prompts
from tablevault.engine.builders.arguments import (
    MapNode,
    Node,
    evaluate_node,
    templates,
    with_keywords,
)
from tablevault.engine.builders.builder import (
    PROVIDER_BATCH,
    READERS,
    Builder,
    Kind,
    OnError,
    ReturnType,
)
from tablevault.engine.builders.field_values import FieldPath, MaxErrors, Retry
from tablevault.engine.builders.order import Plan, make_plan
from tablevault.engine.references import Tables, Template, check
from tablevault.errors import TableReferenceError, TVBuilderError, TVTableError
from tablevault.frames.dtypes import parse_dtype
from tablevault.limits_and_prices import Limits
from tablevault.names import SELF

_RENAMED = {"python_function": "function", "code_module": "module"}
_KNOWN = tuple(_RENAMED.get(field, field) for field in READERS)
_LISTS = ("changed_columns", "primary_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedBuilder:
    """A builder that can be run; the fields are those of `Builder`, with references resolved."""

    name: str
    kind: Kind
    changed_columns: tuple[str, ...]
    function: str
    module: str
    is_custom: bool
    return_type: ReturnType
    n_threads: int
    dtypes: Mapping[str, str]
    primary_key: tuple[str, ...]
    keep_old: bool
    always_run: bool
    arguments: Node
    written: Node
    """The arguments as they stand in the file, with keywords such as ``~PROCESS_ID~``."""
    deduplicate: bool
    retry_null: bool
    code_version: str
    retry: Retry
    timeout_s: float | None
    on_error: OnError
    max_errors: MaxErrors | None
    limits: Limits
    batch_size: int
    mode: str
    executor: str

    @property
    def sees_earlier_rows(self) -> bool:
        """Whether the function of a row can read the results of earlier rows in its own columns.

        With calls at the same time, or for several rows, that would depend on timing.
        """
        return self.n_threads == 1 and self.batch_size == 1

    def known_keywords(self) -> tuple[str, ...] | None:
        """Return the names of the arguments; None if references decide them."""
        names = self.arguments.items if isinstance(self.arguments, MapNode) else ()
        known = tuple(name for name, _ in names if isinstance(name, str))
        return known if len(known) == len(names) else None


def resolve_all(
    plan: Plan, tables: Tables, keywords: Mapping[str, str]
) -> tuple[tuple[ResolvedBuilder, ...], Plan]:
    """Resolve the fields of every builder before the first one runs.

    Parameters
    ----------
    plan : Plan
        Of the execution.
    tables : Tables
        The table under construction has no columns yet.
    keywords : mapping of str to str
        Values of ``~ARTIFACT_FOLDER~`` and the like.

    Returns
    -------
    tuple of ResolvedBuilder
        In the order in which they run, which resolved columns may have changed.
    Plan
        With all columns known.

    Raises
    ------
    TVBuilderError
        The value of a reference is invalid in its field, or two builders make one column.
    TableReferenceError
        A table, instance or column does not exist.
    """
    builders = {builder.name: resolve(builder, tables, keywords) for builder in plan.order}
    known = [
        replace(builder, **{field: getattr(builders[builder.name], field) for field in _KNOWN})
        for builder in plan.order
    ]
    plan = make_plan(known, table=plan.table)
    for builder in plan.order:
        _check_reads(builder, tables, plan.columns)
    return tuple(builders[builder.name] for builder in plan.order), plan


def resolve(builder: Builder, tables: Tables, keywords: Mapping[str, str]) -> ResolvedBuilder:
    """Resolve the fields of one builder; raises what `resolve_all` raises."""
    nodes = {name: with_keywords(node, keywords) for name, node in builder.nodes.items()}
    read: dict[str, Any] = {}
    for field, reader in READERS.items():
        value = evaluate_node(nodes[field], tables)
        if field in _LISTS and isinstance(nodes[field], Template) and isinstance(value, str):
            value = [value]
        read[field] = reader(value, FieldPath(builder.name, field))
    read["dtypes"] = _checked_dtypes(builder.name, read["dtypes"], read["changed_columns"])
    arguments, written = nodes["arguments"], builder.nodes["arguments"]
    if prompts.asks_model(read):
        added = (read["changed_columns"], read["dtypes"])
        arguments, written = (prompts.with_schema(each, *added) for each in (arguments, written))
    resolved = ResolvedBuilder(
        name=builder.name,
        kind=builder.kind,
        function=read.pop("python_function"),
        module=read.pop("code_module"),
        arguments=arguments,
        written=written,
        **read,
    )
    _check_row_fields(resolved)
    return resolved


def _asks_model(builder: ResolvedBuilder) -> bool:
    """Return whether a builder asks a model, row by row."""
    named = {
        "code_module": builder.module,
        "python_function": builder.function,
        "is_custom": builder.is_custom,
    }
    return prompts.asks_model(named) and builder.return_type == "row-wise"


def _check_row_fields(builder: ResolvedBuilder) -> None:
    """Refuse fields about single rows where there are none."""
    for field, is_set in (
        ("on_error", builder.on_error != "stop"),
        ("max_errors", builder.max_errors is not None),
        ("batch_size", builder.batch_size != 1),
    ):
        if is_set and builder.return_type != "row-wise":
            raise TVBuilderError(
                f'Builder "{builder.name}": field {field} needs return_type: row-wise, this one is '
                f"{builder.return_type}.",
                "Remove the field, or let the function make one row.",
                builder=builder.name,
                field=field,
            )
    if builder.mode == PROVIDER_BATCH and (not _asks_model(builder) or builder.batch_size != 1):
        raise TVBuilderError(
            f'Builder "{builder.name}": field mode is {builder.mode}, which only '
            "language_model.complete knows, row-wise and without batch_size.",
            "Remove the field.",
            builder=builder.name,
            field="mode",
        )
    if builder.on_error == "keep" and builder.kind == "index":
        raise TVBuilderError(
            f'Builder "{builder.name}": field on_error is keep in an index builder.',
            "Rows that it does not make would have no key. Remove the field.",
            builder=builder.name,
            field="on_error",
        )
    if builder.max_errors is not None and builder.on_error != "keep":
        raise TVBuilderError(
            f'Builder "{builder.name}": field max_errors is {builder.max_errors}, but the '
            "first error ends the execution.",
            "Add on_error: keep.",
            builder=builder.name,
            field="max_errors",
        )


def _check_reads(builder: Builder, tables: Tables, own: tuple[str, ...]) -> None:
    """Refuse references and dependencies to missing tables and columns."""
    for node in builder.nodes.values():
        for template in templates(node):
            check(template, tables, own)
    for dependency in builder.dependencies:
        if dependency.table == SELF:
            continue
        try:
            names = tables.view(dependency.table, dependency.selector).names
        except TableReferenceError as error:
            raise error.with_facts(builder=builder.name, field="dependencies") from error
        for column in dependency.columns or ():
            if column not in names:
                raise TableReferenceError(
                    f'Table "{dependency.table}" has no column "{column}".',
                    "Correct the field dependencies, or remove the column from it.",
                    builder=builder.name,
                    field="dependencies",
                )


def _checked_dtypes(
    builder: str, dtypes: Mapping[str, str], columns: tuple[str, ...]
) -> dict[str, str]:
    """Refuse unknown dtypes, and leave out columns that the builder does not make."""
    for column, dtype in dtypes.items():
        try:
            parse_dtype(dtype)
        except TVTableError as error:
            raise TVBuilderError(
                f'Builder "{builder}": field dtypes.{column} is {dtype!r}. {error.message}',
                error.hint,
                builder=builder,
                field=f"dtypes.{column}",
            ) from error
        if column not in columns:
            logging.getLogger("tablevault").warning(
                'Builder "%s": dtypes names "%s", which is not among changed_columns; ignored',
                builder,
                column,
            )
    return {column: dtype for column, dtype in dtypes.items() if column in columns}
