"""What makes a column, data apart: the text of its builder and of the code that this calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tablevault.engine.argument_values import ListNode, MapNode, Node, SetNode
from tablevault.engine.builder import Builder
from tablevault.engine.reference import Template

_WRITTEN = (
    "changed_columns",
    "python_function",
    "code_module",
    "is_custom",
    "return_type",
    "code_version",
)
"""Fields besides arguments and dtypes that decide what is computed."""
DECISIVE = (
    "changed_columns",
    "function",
    "module",
    "is_custom",
    "return_type",
    "dtypes",
    "code_version",
)
"""The same in a builder whose fields are settled."""


def changed_fields(before: Builder, now: Builder) -> list[str]:
    """Name the fields in which two builders differ so that they may compute something else."""
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


def imported_modules(module: str, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Name a module and those it may import, directly or through others, as far as text shows.

    Parameters
    ----------
    module : str
        Name of a module of the vault.
    sources : mapping of str to str
        Text of all of them. One that is no Python imports nothing.
    """
    found: dict[str, None] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name not in sources:
            continue
        found[name] = None
        waiting.extend(_imports(sources[name]))
    return tuple(sorted(found))


def _imports(text: str) -> Iterator[str]:
    """Name what is imported anywhere in the text of a module, by the first part of the name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".", 1)[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".", 1)[0]


def _changed_items(before: Builder, now: Builder, field: str) -> list[str]:
    """Name the entries of a mapping in which two builders differ."""
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
    """Return a node as parsed data of which equal ones are equal: 1, 1.0 and true are not."""
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
