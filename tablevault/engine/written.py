"""A builder file as it is written, for people: nothing is constructed, checked or resolved."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import yaml

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST_TEXT = 1_000_000
_ERRORS = (yaml.YAMLError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The fields of a builder that say what it does; empty where the file has none."""

    module: str
    function: str
    columns: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    """Name and value: a scalar without its quotes, others as they stand in the file."""


def read_written(text: str) -> Written:
    """Return what a builder file says; of a text that is no builder all is empty.

    Values are the text of the file, not what YAML makes of it: ``0.20`` stays ``0.20``.
    """
    fields = _fields(text)
    columns, arguments = fields.get("changed_columns"), fields.get("arguments")
    return Written(
        module=_value(fields.get("code_module"), text),
        function=_value(fields.get("python_function"), text),
        columns=tuple(_value(each, text) for each in columns.value)
        if isinstance(columns, yaml.SequenceNode)
        else (),
        arguments=tuple((_value(key, text), _value(value, text)) for key, value in arguments.value)
        if isinstance(arguments, yaml.MappingNode)
        else (),
    )


def _fields(text: str) -> dict[str, yaml.Node]:
    """Return the nodes of a document by the names of its fields."""
    if len(text) > _LONGEST_TEXT:
        return {}
    try:
        document = yaml.compose(text, Loader=_Loader)
    except _ERRORS:
        return {}
    if not isinstance(document, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in document.value if isinstance(key.value, str)}


def _value(node: yaml.Node | None, text: str) -> str:
    """Return the text of a node."""
    if node is None:
        return ""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value).strip()
    first, last = node.start_mark, node.end_mark
    return textwrap.dedent(" " * first.column + text[first.index : last.index]).strip()
