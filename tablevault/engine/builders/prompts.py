"""Builders of ``language_model.complete``: places in their prompts, and the schema of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from tablevault.engine.builders.arguments import MapNode, Node, NodeParser
from tablevault.engine.builders.field_values import FieldPath, is_false
from tablevault.engine.references import Condition, Reference, Template
from tablevault.engine.references.view import OTHER_INDEX
from tablevault.errors import TVBuilderError
from tablevault.frames.dtypes import parse_dtype
from tablevault.names import SELF

MODULE: Final = "language_model"
FUNCTION: Final = "complete"
DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    # The version stands for the code of the function, so that a later release of TableVault finds
    # the calls of this one.
    {"return_type": "row-wise", "code_version": "1"}
)
"""Defaults of fields of these builders, where they are not those of others."""

_BRACES = re.compile(r"\{\{|\}\}|\{(?P<column>\w(?:[\w .-]*[\w.-])?)\}|[{}]")
_ROW: Final = Condition(OTHER_INDEX)
_TEXT: Final[Mapping[str, str]] = MappingProxyType({"type": "string"})


def asks_model(document: Mapping[Any, object]) -> bool:
    """Return whether the fields of a builder name ``language_model.complete``."""
    return (
        document.get("code_module") == MODULE
        and document.get("python_function") == FUNCTION
        and (document.get("is_custom") is None or is_false(document["is_custom"]))
    )


def with_places(arguments: Node, builder: str) -> Node:
    """Return arguments in whose prompt ``{column}`` is a reference to the cell of the current row.

    Parameters
    ----------
    arguments : Node
        The arguments as they are written. ``{{`` and ``}}`` in the prompt are braces.
    builder : str
        Name of the builder, for errors.

    Raises
    ------
    TVBuilderError
        There is a brace in the prompt that is neither doubled nor part of a place.
    """
    if not isinstance(arguments, MapNode):
        return arguments
    path = FieldPath(builder, "arguments.prompt")
    return MapNode(
        tuple(
            (name, _filled(node, path) if name == "prompt" else node)
            for name, node in arguments.items
        )
    )


def with_schema(arguments: Node, columns: Sequence[str], dtypes: Mapping[str, str]) -> Node:
    """Return arguments with the schema of an answer, if the columns need one.

    Parameters
    ----------
    arguments : Node
        The arguments; unchanged if they have a schema.
    columns : sequence of str
        Columns that the builder fills. A single one of text takes the text of the answer.
    dtypes : mapping of str to str
        Declared dtypes; a column without one is of text.
    """
    if not isinstance(arguments, MapNode) or (len(columns) == 1 and _is_text(columns[0], dtypes)):
        return arguments
    others = tuple(pair for pair in arguments.items if pair != ("schema", None))
    if any(name == "schema" for name, _ in others):
        return arguments
    schema = NodeParser("").node(_schema(columns, dtypes), "arguments.schema")
    return MapNode((*others, ("schema", schema)))


def _filled(node: Node, path: FieldPath) -> Node:
    """Return a prompt whose places are references."""
    if isinstance(node, str):
        node = Template((node,), node, path.builder, path.field)
    if not isinstance(node, Template):
        return node
    parts = tuple(_joined(_parts(node, path)))
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    return Template(parts, node.text, node.builder, node.field)


def _parts(template: Template, path: FieldPath) -> Iterator[str | Reference]:
    """Yield the parts of a prompt: text without its places, and references."""
    at = 0  # in the text as it is written
    for number, part in enumerate(template.parts):
        if isinstance(part, Reference):
            yield part
            at = part.end
            continue
        following = template.parts[number + 1 : number + 2]
        end = len(template.text)
        if following and isinstance(following[0], Reference):
            end = following[0].start
        # The part is unescaped, but has the same braces in the same order.
        written = _BRACES.finditer(template.text, at, end)
        done = 0
        for found, original in zip(_BRACES.finditer(part), written, strict=True):
            yield part[done : found.start()]
            yield _meant(found, original.start(), path)
            done = found.end()
        yield part[done:]


def _meant(found: re.Match[str], start: int, path: FieldPath) -> str | Reference:
    """Return the brace or the reference for braces in a prompt."""
    text = found.group()
    if text in {"{{", "}}"}:
        return text[0]
    if found["column"] is None:
        raise TVBuilderError(
            f'Builder "{path.builder}": field {path.field} has a single "{text}".',
            "Write {column} for the value of a column, {{ and }} for braces.",
            builder=path.builder,
            field=path.field,
        )
    end = start + len(text)
    return Reference(SELF, "", (found["column"],), (_ROW,), start, end)


def _joined(parts: Iterable[str | Reference]) -> Iterator[str | Reference]:
    """Join texts that follow each other, and leave out empty ones."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        yield part
        text = ""
    if text:
        yield text


def _schema(columns: Sequence[str], dtypes: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON schema of an object with a property for each column."""
    properties = {name: _property(dtypes.get(name, "string")) for name in columns}
    return {
        "type": "object",
        "properties": properties,
        "required": list(columns),
        "additionalProperties": False,
    }


def _property(dtype: str) -> Mapping[str, object]:
    """Return the JSON schema of the values of a dtype."""
    known = parse_dtype(dtype)
    if pd.api.types.is_bool_dtype(known):
        return {"type": "boolean"}
    if pd.api.types.is_integer_dtype(known):
        return {"type": "integer"}
    if pd.api.types.is_float_dtype(known):
        return {"type": "number"}
    if pd.api.types.is_datetime64_any_dtype(known):
        return {"type": "string", "format": "date-time"}
    return {} if dtype == "object" else _TEXT


def _is_text(column: str, dtypes: Mapping[str, str]) -> bool:
    """Return whether a column holds text."""
    return _property(dtypes.get(column, "string")) is _TEXT
