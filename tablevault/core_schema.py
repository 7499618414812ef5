"""Scalars of YAML by the core schema of YAML 1.2, and what errors of YAML are told by.

PyYAML 6.0 follows YAML 1.1, for which ``NO`` is false, ``12:30`` is 750, ``010`` is 8 and
``1e-5`` is text. https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re

import yaml

NULL = re.compile(r"null|Null|NULL|~|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    re.ASCII,
)

# The kind, its pattern, and the characters with which such a scalar begins.
_SCHEMA = (
    ("null", NULL, ["~", "n", "N", ""]),
    ("bool", BOOL, list("tTfF")),
    ("int", INT, list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
)

# What PyYAML's safe constructors raise for scalars such as "!!int ''" or "!!timestamp x",
# besides its own errors (6.0.3).
_OF_SCALARS = (TypeError, LookupError, AttributeError)
YAML_ERRORS = (yaml.YAMLError, ValueError, RecursionError, *_OF_SCALARS)
"""What a safe loader raises for a text."""


def yaml_fault(error: Exception, text: str | bytes) -> str:
    """Return what is wrong with a text, in one line, with line and column where they are known."""
    if isinstance(error, _OF_SCALARS):
        return "a value does not fit its tag"
    mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
    said = getattr(error, "problem", None) or str(error).split("\n", 1)[0] or type(error).__name__
    if mark is not None:
        return f"{said}, line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError) and position is not None:
        before = text[:position]
        before = before if isinstance(before, str) else before.decode(errors="replace")
        *lines, line = before.split("\n")
        return f"{said}, line {len(lines) + 1}, column {len(line) + 1}"
    return str(said)


def resolve_as_core(kind: type[yaml.resolver.BaseResolver]) -> None:
    """Add the scalars of the core schema to a loader, or to a dumper, which then quotes such text.

    Parameters
    ----------
    kind : type
        A class of PyYAML. What it resolves already goes first.
    """
    for name, pattern, first in _SCHEMA:
        whole = re.compile(rf"(?:{pattern.pattern})\Z", pattern.flags)
        kind.add_implicit_resolver(f"tag:yaml.org,2002:{name}", whole, first)
