"""``~ENV:NAME~`` in a builder: where it may stand, and which variables are named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from tablevault.engine.argument_values import Node, texts
from tablevault.errors import TVBuilderError

KEYWORD = re.compile(r"~ENV:([^~\n]*)(~?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_environment(builder: str, nodes: Mapping[str, Node]) -> None:
    """Check that environment variables stand where their values are kept from disk.

    Raises
    ------
    TVBuilderError
        One stands in another field than ``arguments``, in a key, or has no proper name.
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
    """Make the error for a keyword that cannot stand where it does."""
    return TVBuilderError(
        f'Builder "{builder}": "{text:.60}" in field {field} names no environment variable that '
        "can be read there.",
        hint,
        builder=builder,
        field=field,
    )


def unset_variables(arguments: Node) -> list[str]:
    """Name the environment variables that arguments need, and that are not set."""
    return [name for name in dict.fromkeys(_names(arguments)) if name not in os.environ]


def _names(node: Node) -> Iterator[str]:
    """Walk the environment variables in a node."""
    for text, _ in texts(node):
        for match in KEYWORD.finditer(text):
            yield match[1]
