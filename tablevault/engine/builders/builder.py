"""Parses builder files into `Builder` values, and compares these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tablevault.engine.builders import prompts
from tablevault.engine.builders.arguments import (
    ListNode,
    MapNode,
    Node,
    NodeParser,
    SetNode,
    check_environment,
    references,
)
from tablevault.engine.builders.document import (
    DEFAULTS,
    INDEX_ONLY,
    PLACEHOLDERS,
    REQUIRED,
    check_fields,
    load_document,
)
from tablevault.engine.builders.field_values import (
    EXECUTOR_FORMS,
    FieldPath,
    MaxErrors,
    Retry,
    parse_executor,
    read_builder_limits,
    read_max_errors,
    read_retry,
    read_timeout,
)
from tablevault.engine.builders.reads import Dependency, explicit_dependencies
from tablevault.engine.references import Template
from tablevault.errors import TVBuilderError
from tablevault.limits_and_prices import Limits
from tablevault.names import index_builder

Kind = Literal["index", "column"]
ReturnType = Literal["dataframe", "row-wise", "generator"]

OnError = Literal["stop", "keep"]

RETURN_TYPES = ("dataframe", "row-wise", "generator")
ON_ERROR = ("stop", "keep")
PROVIDER_BATCH = "provider-batch"
MODES = ("calls", PROVIDER_BATCH)
_KINDS: Mapping[str, Kind] = MappingProxyType({"IndexBuilder": "index", "ColumnBuilder": "column"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A parsed builder file.

    A field that is given by a reference is None: it is resolved when the builder runs. `nodes`
    holds all fields as they are written, with references.

    Attributes
    ----------
    name : str
        File name without ending.
    kind : {"index", "column"}
        Whether it makes the rows or fills columns.
    changed_columns : tuple of str, optional
        Columns that it fills, in the order of the function's output.
    function, module : str, optional
        What is called: ``python_function`` of ``code_module``.
    arguments : Node
        The keyword arguments.
    is_custom : bool, optional
        Whether the module is one of the vault's, default False.
    return_type : {"dataframe", "row-wise", "generator"}, optional
        How the function is called, default "dataframe".
    n_threads : int, optional
        Calls at the same time, at least 1; row-wise only. 0 where the function decides.
    dtypes : mapping of str to str, optional
        Declared dtypes by column.
    dependencies : tuple of Dependency
        Explicit ones, in addition to those of references.
    primary_key : tuple of str, optional
        Columns that name a row, index builder only.
    keep_old : bool, optional
        Whether rows of the previous instance stay that were not made again, index builder only.
    always_run : bool, optional
        Whether its function is called in every execution, default True; False for a column
        builder, whose calls are found by their key.
    deduplicate : bool, optional
        Whether calls with equal arguments are one call, default False; row-wise only.
    retry_null : bool, optional
        Whether a call that returned null for all of its columns is made again by the next
        execution, default True.
    code_version : str, optional
        Version that replaces the code of the function in keys; "" for the code itself.
    retry : Retry, optional
        Retries of a failed call; none by default.
    timeout_s : float, optional
        Seconds after which a call has failed; no limit by default.
    on_error : {"stop", "keep"}, optional
        Whether a failed call ends the execution, or its row stays null; row-wise only.
    max_errors : MaxErrors, optional
        Number of rows that may fail with ``on_error: keep``; any number by default.
    limits : Limits, optional
        Limits of the rate and the cost of calls; none by default.
    batch_size : int, optional
        Rows of one call, default 1; row-wise only.
    mode : {"calls", "provider-batch"}, optional
        Whether ``language_model.complete`` asks at once, or lets the provider answer in a batch.
    executor : str, optional
        Where the function is called; "" where the execution says.
    nodes : mapping of str to Node
        Every field but ``builder_type`` and ``dependencies`` as it was written.
    text : str
        The file.
    """

    name: str
    kind: Kind
    changed_columns: tuple[str, ...] | None
    function: str | None
    module: str | None
    arguments: Node
    is_custom: bool | None
    return_type: ReturnType | None
    n_threads: int | None
    dtypes: Mapping[str, str] | None
    dependencies: tuple[Dependency, ...]
    primary_key: tuple[str, ...] | None
    keep_old: bool | None
    always_run: bool | None
    deduplicate: bool | None
    retry_null: bool | None
    code_version: str | None
    retry: Retry | None
    timeout_s: float | None
    on_error: OnError | None
    max_errors: MaxErrors | None
    limits: Limits | None
    batch_size: int | None
    mode: str | None
    executor: str | None
    nodes: Mapping[str, Node]
    text: str


def parse_builder(name: str, text: str, *, table: str) -> Builder:
    """Read a builder file.

    Parameters
    ----------
    name : str
        File name without ending.
    text : str
        The file.
    table : str
        Table that the builder belongs to; its index builder is known by its name.

    Returns
    -------
    Builder
        With defaults filled in.

    Raises
    ------
    TVBuilderError
        The text is no YAML mapping, holds objects, is still a template, lacks a field or has an
        unknown one, a field has the wrong type, or an environment variable stands where it may
        not; facts ``builder`` and ``field``.
    TableReferenceError
        A reference in a field is malformed.
    """
    document = load_document(name, text)
    check_fields(name, document)
    builder = _builder(name, document, text, table)
    check_environment(name, builder.nodes)
    return builder


def parse_recorded(name: str, text: str, *, table: str) -> Builder:
    """Read the builder of a materialised instance, as `parse_builder` does.

    Unknown fields are ignored: earlier releases ran builders with such fields.
    """
    return _builder(name, load_document(name, text), text, table)


def _builder(name: str, document: Mapping[object, object], text: str, table: str) -> Builder:
    """Check the fields of a builder."""
    kind = _kind(name, document, table)
    _refuse_template(name, document)
    is_prompted = prompts.asks_model(document)
    written: dict[object, Any] = dict(DEFAULTS.items())
    written.update(prompts.DEFAULTS.items() if is_prompted else ())
    written |= {field: value for field, value in document.items() if value is not None}
    for field in REQUIRED:
        if field not in written:
            raise TVBuilderError(
                f'Builder "{name}": field {field} is missing.',
                "Write arguments: {} when there are none." if field == "arguments" else "Add it.",
                builder=name,
                field=field,
            )
    if kind == "column":
        written |= {field: DEFAULTS[field] for field in INDEX_ONLY}
        written["always_run"] = False
    parser = NodeParser(name)
    nodes = {field: parser.node(written[field], field) for field in (*REQUIRED, *DEFAULTS)}
    read = {
        field: None
        if any(references(node))
        else READERS[field](written[field], FieldPath(name, field))
        for field, node in nodes.items()
        if field != "arguments"
    }
    FieldPath(name, "arguments").mapping(written["arguments"])
    if is_prompted:
        nodes["arguments"] = prompts.with_places(nodes["arguments"], name)
    return Builder(
        name=name,
        kind=kind,
        function=read.pop("python_function"),
        module=read.pop("code_module"),
        arguments=nodes["arguments"],
        dependencies=explicit_dependencies(
            document.get("dependencies"), FieldPath(name, "dependencies")
        ),
        nodes=MappingProxyType(nodes),
        text=text,
        **read,
    )


def _kind(name: str, document: Mapping[object, object], table: str) -> Kind:
    """Read the type, which has to agree with the name of the file."""
    path = FieldPath(name, "builder_type")
    if document.get("builder_type") is None:
        raise TVBuilderError(
            f'Builder "{name}": field builder_type is missing.',
            f"Add one of {', '.join(_KINDS)}.",
            builder=name,
            field="builder_type",
        )
    kind = _KINDS[path.choice(document["builder_type"], tuple(_KINDS))]
    if name == index_builder(table) and kind != "index":
        raise path.wrong("ColumnBuilder", f'IndexBuilder, because it makes the rows of "{table}"')
    if name != index_builder(table) and kind == "index":
        raise path.wrong(
            "IndexBuilder", f'ColumnBuilder: the one index builder is "{index_builder(table)}"'
        )
    return kind


def _refuse_template(name: str, document: Mapping[object, object]) -> None:
    """Refuse a builder that still has a placeholder of the template."""
    for field in ("changed_columns", "primary_key", "python_function", "code_module", "arguments"):
        value = document.get(field)
        if isinstance(value, Mapping):
            value = list(value.values())
        words = value if isinstance(value, list) else [value]
        found = [word for word in words if isinstance(word, str) and word in PLACEHOLDERS]
        if found:
            raise TVBuilderError(
                f'Builder "{name}" is still a template: fill in {field}, where {found[0]} stands.',
                builder=name,
                field=field,
            )


def _dtypes(value: object, path: FieldPath) -> Mapping[str, str]:
    """Read ``dtypes``."""
    items = path.mapping(value).items()
    return MappingProxyType({path.text(k): path.at(f".{k!s:.40}").text(v) for k, v in items})


def _executor(value: object, path: FieldPath) -> str:
    """Read ``executor``."""
    text = "" if value == "" else path.text(value)
    try:
        if text:
            parse_executor(text)
    except ValueError:
        raise path.wrong(text, f"one of {EXECUTOR_FORMS}") from None
    return text


READERS: Mapping[str, Callable[[Any, FieldPath], Any]] = MappingProxyType(
    {
        "changed_columns": lambda value, path: path.names(value),
        "python_function": lambda value, path: path.text(value),
        "code_module": lambda value, path: path.text(value),
        "is_custom": lambda value, path: path.flag(value),
        "return_type": lambda value, path: path.choice(value, RETURN_TYPES),
        "n_threads": lambda value, path: 0 if value == "" else path.count(value),
        "dtypes": _dtypes,
        "primary_key": lambda value, path: path.names(value),
        "keep_old": lambda value, path: path.flag(value),
        "always_run": lambda value, path: path.flag(value),
        "deduplicate": lambda value, path: path.flag(value),
        "retry_null": lambda value, path: path.flag(value),
        "code_version": lambda value, path: path.text(value) if value != "" else "",
        "retry": read_retry,
        "timeout_s": read_timeout,
        "on_error": lambda value, path: path.choice(value, ON_ERROR),
        "max_errors": read_max_errors,
        "limits": read_builder_limits,
        "batch_size": lambda value, path: path.count(value),
        "mode": lambda value, path: path.choice(value, MODES),
        "executor": _executor,
    }
)
"""The reader of each field, for values from YAML or from references."""

_WRITTEN = (
    "changed_columns",
    "python_function",
    "code_module",
    "is_custom",
    "return_type",
    "code_version",
)
"""Fields besides arguments and dtypes that can change the results."""
DECISIVE = (
    "changed_columns",
    "function",
    "module",
    "is_custom",
    "return_type",
    "dtypes",
    "code_version",
)
"""The same fields of a resolved builder."""


def changed_fields(before: Builder, now: Builder) -> list[str]:
    """Return the differences between two builders that can change the results, as sentences."""
    changed = [
        f"field {name} changed"
        for name in _WRITTEN
        if _canonical(before.nodes[name]) != _canonical(now.nodes[name])
    ]
    changed += [f"argument `{name}` changed" for name in _changed_items(before, now, "arguments")]
    made = now.changed_columns
    changed += [
        f"dtype of `{name}` changed"
        for name in _changed_items(before, now, "dtypes")
        if made is None or name in made
    ]
    return changed


def _changed_items(before: Builder, now: Builder, field: str) -> list[str]:
    """Return the keys of a mapping whose values differ between two builders."""
    one, other = (_items(builder.nodes[field]) for builder in (before, now))
    names = dict.fromkeys([*one, *other])
    return [name for name in names if one.get(name) != other.get(name)]


def _items(node: Node) -> dict[str, object]:
    """Return the entries of a mapping by the text of their keys; anything else is one entry."""
    if not isinstance(node, MapNode):
        return {"": _canonical(node)}
    return {
        str(key) if isinstance(key, str) else repr(_canonical(key)): _canonical(item)
        for key, item in node.items
    }


def _canonical(node: Node) -> object:
    """Return a comparable form of a node, in which 1, 1.0 and true are not equal."""
    match node:
        case Template(parts):
            return "template", tuple(str(part) for part in parts)
        case ListNode(items):
            return "list", tuple(_canonical(item) for item in items)
        case SetNode(items):
            return "set", frozenset(_canonical(item) for item in items)
        case MapNode(pairs):
            return "map", frozenset((_canonical(key), _canonical(item)) for key, item in pairs)
        case _:
            return type(node).__name__, node
