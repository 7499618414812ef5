"""Arguments of builders as trees of scalars and references: parsed once, evaluated by row."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import pandas as pd

from tablevault.engine.builders.field_values import FieldPath
from tablevault.engine.references import (
    ByRow,
    Reference,
    Tables,
    Template,
    by_row,
    evaluate,
    parse_template,
)
from tablevault.errors import TVBuilderError

LARGEST = 100_000
"""Values that a builder may hold, YAML aliases expanded: a few lines of them can mean billions."""

DEEPEST = 50
"""Levels to which lists and mappings may be nested; a YAML alias may even contain itself."""

Scalar: TypeAlias = str | int | float | bool | bytes | dt.date | None
Node: TypeAlias = "Scalar | Template | ListNode | SetNode | MapNode"


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list whose items may hold references."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class SetNode:
    """A set whose items may hold references."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping whose keys and values may hold references."""

    items: tuple[tuple[Node, Node], ...]


class NodeParser:
    """Converts the YAML of one builder to nodes, and counts them.

    Parameters
    ----------
    builder : str
        Name of the builder, for errors.
    """

    def __init__(self, builder: str) -> None:
        self._builder = builder
        self._made = 0

    def node(self, value: object, field: str, depth: int = 0) -> Node:
        """Return the node of the value at the path `field`."""
        self._made += 1
        if self._made > LARGEST or depth > DEEPEST:
            raise TVBuilderError(
                f'Builder "{self._builder}": field {field} is too large.',
                f"At most {LARGEST:,} values, nested {DEEPEST} deep; aliases count each time.",
                builder=self._builder,
                field=field,
            )
        if isinstance(value, str):
            if "<<" not in value:
                return value
            return parse_template(value, builder=self._builder, field=field)
        if isinstance(value, Mapping):
            return MapNode(
                tuple(
                    (
                        self.node(key, f"{field}, key {key!r:.40}", depth + 1),
                        self.node(item, f"{field}.{key!s:.40}", depth + 1),
                    )
                    for key, item in value.items()
                )
            )
        if isinstance(value, list | tuple):
            items = enumerate(value)
            return ListNode(tuple(self.node(v, f"{field}[{n}]", depth + 1) for n, v in items))
        if isinstance(value, set):
            return SetNode(tuple(self.node(v, field, depth + 1) for v in value))
        assert isinstance(value, Scalar | None)
        return value


def evaluate_node(node: Node, tables: Tables, row: int | None = None) -> Any:  # noqa: ANN401 - references give anything
    """Evaluate a node to a new object, which the receiver may change."""
    match node:
        case Template():
            return evaluate(node, tables, row)
        case ListNode(items):
            return [evaluate_node(item, tables, row) for item in items]
        case MapNode(pairs):
            return {_key(key, tables, row): evaluate_node(item, tables, row) for key, item in pairs}
        case SetNode(items):
            return {_key(item, tables, row) for item in items}
        case _:
            return node


def compile_node(node: Node, tables: Tables) -> ByRow:
    """Return a function of the row with the results and errors of `evaluate_node`.

    Work that is the same for all rows is done once, at the first row. From then on no column of
    `tables` may change, except those that are ``growing``.
    """
    match node:
        case Template():
            return by_row(node, tables)
        case ListNode(items):
            return _compile_list(items, tables)
        case MapNode(pairs):
            return _compile_map(pairs, tables)
        case SetNode():
            return partial(evaluate_node, node, tables)
        case _:
            return lambda _: node


def compile_arguments(
    arguments: Node, tables: Tables, *, builder: str
) -> Callable[[int | None], dict[str, Any]]:
    """Return a function that evaluates the arguments of a builder for one call.

    Parameters
    ----------
    arguments : Node
        A mapping.
    tables : Tables
        The own columns of the builder are ``growing`` in it already. Not read before the first
        call.
    builder : str
        Name of the builder, for errors.

    Returns
    -------
    callable
        Takes the position of the current row, or None. Returns keyword arguments that the caller
        may change. Thread-safe.
    """
    by_row = compile_node(arguments, tables)
    pairs = arguments.items if isinstance(arguments, MapNode) else ()
    is_named = all(isinstance(key, str) for key, _ in pairs)

    def call(row: int | None) -> dict[str, Any]:
        """Evaluate for one call."""
        found: dict[Any, Any] = evaluate_node(arguments, tables) if row is None else by_row(row)
        if not is_named:
            for name in found:
                if not isinstance(name, str):
                    allowed = "a mapping from names of parameters"
                    raise FieldPath(builder, "arguments").wrong(name, allowed)
        return found

    return call


def _compile_list(items: tuple[Node, ...], tables: Tables) -> ByRow:
    """Return the function of a list."""
    if all(isinstance(item, Scalar) for item in items):
        return lambda _: list(items)
    compiled = [compile_node(item, tables) for item in items]
    return lambda row: [each(row) for each in compiled]


def _compile_map(pairs: tuple[tuple[Node, Node], ...], tables: Tables) -> ByRow:
    """Return the function of a mapping."""
    same = {key: item for key, item in pairs if isinstance(key, Scalar)}
    if len(same) < len(pairs):  # a reference, or 1 and true, which are one key
        return partial(evaluate_node, MapNode(pairs), tables)
    compiled = [(key, compile_node(i, tables)) for key, i in pairs if not isinstance(i, Scalar)]

    def call(row: int) -> dict[Any, Any]:
        """Evaluate the values that depend on the row."""
        made: dict[Any, Any] = same.copy()
        for key, each in compiled:
            made[key] = each(row)
        return made

    return call


def _key(node: Node, tables: Tables, row: int | None) -> Any:  # noqa: ANN401 - as above
    """Evaluate a key of a mapping or an item of a set, neither of which may be a frame or list."""
    value = evaluate_node(node, tables, row)
    if isinstance(value, list | dict | set | pd.DataFrame):
        where = node if isinstance(node, Template) else Template(())
        raise TVBuilderError(
            f'Builder "{where.builder}": {where.field} gives a {type(value).__name__}, which '
            "cannot be the key of a mapping or an item of a set.",
            "Add a condition that leaves one value.",
            builder=where.builder,
            field=where.field,
        )
    return value


def _leaves(node: Node, *, is_key: bool = False) -> Iterator[tuple[Scalar | Template, bool]]:
    """Yield the scalars and templates in a node, and whether each is in the key of a mapping."""
    match node:
        case ListNode(items) | SetNode(items):
            for item in items:
                yield from _leaves(item, is_key=is_key)
        case MapNode(pairs):
            for key, item in pairs:
                yield from _leaves(key, is_key=True)
                yield from _leaves(item, is_key=is_key)
        case _:
            yield node, is_key


def templates(node: Node) -> Iterator[Template]:
    """Yield every template in a node."""
    return (leaf for leaf, _ in _leaves(node) if isinstance(leaf, Template))


def references(node: Node) -> Iterator[Reference]:
    """Yield every reference in a node, nested ones too."""
    for template in templates(node):
        yield from template.references()


def texts(node: Node) -> Iterator[tuple[str, bool]]:
    """Yield each literal text in a node, and whether it is a key; references are left out."""
    for leaf, is_key in _leaves(node):
        parts = leaf.parts if isinstance(leaf, Template) else (leaf,)
        yield from ((part, is_key) for part in parts if isinstance(part, str))


def with_keywords(node: Node, keywords: Mapping[str, str]) -> Node:
    """Replace keywords such as ``~PROCESS_ID~`` in the literal text of a node.

    References and their results are not changed.
    """

    def fill(text: str) -> str:
        """Replace each keyword."""
        for keyword, value in keywords.items():
            text = text.replace(keyword, value)
        return text

    return map_text(node, fill)


def map_text(node: Node, fill: Callable[[str], str]) -> Node:
    """Return a copy of a node with `fill` applied to its literal text, references left out."""
    match node:
        case str():
            return fill(node)
        case Template():
            parts = tuple(fill(part) if isinstance(part, str) else part for part in node.parts)
            return replace(node, parts=parts)
        case ListNode(items):
            return ListNode(tuple(map_text(item, fill) for item in items))
        case SetNode(items):
            return SetNode(tuple(map_text(item, fill) for item in items))
        case MapNode(pairs):
            return MapNode(
                tuple((map_text(key, fill), map_text(item, fill)) for key, item in pairs)
            )
        case _:
            return node


KEYWORD = re.compile(r"~ENV:([^~\n]*)(~?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_environment(builder: str, nodes: Mapping[str, Node]) -> None:
    """Check that environment variables are used only where their values are not stored.

    Raises
    ------
    TVBuilderError
        One is used outside of ``arguments`` or in a key, or its name is invalid.
    """
    for field, node in nodes.items():
        is_passed = field == "arguments"
        for text, is_key in texts(node):
            for match in KEYWORD.finditer(text):
                if not _NAME.fullmatch(match[1]) or not match[2]:
                    raise _wrong(builder, field, match[0], "Write ~ENV:NAME~.")
                if is_key or not is_passed:
                    hint = "It can be a value in arguments, or a part of one."
                    raise _wrong(builder, field, match[0], hint)


def _wrong(builder: str, field: str, text: str, hint: str) -> TVBuilderError:
    """Return the error for a misplaced keyword."""
    return TVBuilderError(
        f'Builder "{builder}": "{text:.60}" in field {field} names no environment variable that '
        "can be read there.",
        hint,
        builder=builder,
        field=field,
    )


def unset_variables(arguments: Node) -> list[str]:
    """Return the environment variables in arguments that are not set."""
    return [name for name in dict.fromkeys(_names(arguments)) if name not in os.environ]


def _names(node: Node) -> Iterator[str]:
    """Yield the environment variables in a node."""
    for text, _ in texts(node):
        for match in KEYWORD.finditer(text):
            yield match[1]
