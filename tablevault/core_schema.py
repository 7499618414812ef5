"""Scalars of YAML by the core schema of YAML 1.2: what is a number, what is text.

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
