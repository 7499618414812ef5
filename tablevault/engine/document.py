"""The YAML of a builder file: text from anywhere into a mapping of known fields."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from tablevault.core_schema import resolve_as_core
from tablevault.errors import TVBuilderError

REQUIRED = ("changed_columns", "python_function", "code_module", "arguments")
"""Fields that every builder has, besides its type."""

INDEX_ONLY = ("primary_key", "keep_old", "always_run")
"""Fields that only an index builder has."""

OPTIONAL = (
    "is_custom",
    "return_type",
    "n_threads",
    "dtypes",
    *INDEX_ONLY,
    "deduplicate",
    "retry_null",
    "code_version",
    "retry",
    "timeout_s",
    "on_error",
    "max_errors",
    "limits",
    "batch_size",
    "mode",
)
"""Fields that have a default."""

KNOWN = ("builder_type", *REQUIRED, *OPTIONAL, "dependencies", "name")
"""All fields; ``name`` is what releases 0.1 wrote, and the name of the file counts."""

_LARGEST_TEXT = 1_000_000
_LONGEST_NUMBER = 10_000
_MERGE = "tag:yaml.org,2002:merge"
# What PyYAML's safe constructors raise for scalars such as "!!int ''" or "!!timestamp x",
# besides its own errors (6.0.3).
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def check_builder_text(name: str, text: str) -> None:
    """Refuse text that cannot become a builder; one that is not finished yet may stay.

    Raises
    ------
    TVBuilderError
        `text` is no YAML, no mapping, or has a field that no builder has.
    """
    check_fields(name, load_document(name, text))


def load_document(name: str, text: str) -> Mapping[object, object]:
    """Read the YAML of a builder: safe, of limited size, and a mapping.

    Parameters
    ----------
    name : str
        Name of the builder, for errors.
    text : str
        The file.

    Raises
    ------
    TVBuilderError
        `text` is too long, no YAML, or no mapping.
    """
    problem = ""
    document: object = None
    try:
        if len(text.encode()) > _LARGEST_TEXT:
            problem = f"it is longer than {_LARGEST_TEXT:,} bytes"
        else:
            document = _Loader(text).get_single_data()
    except _YAML_ERRORS as error:
        raise TVBuilderError(
            f'Builder "{name}" is no valid YAML: {_reason(error)}.',
            "Put text with special characters in quotes"
            + (', as a reference within {} or []: {x: "<<t.c[index]>>"}.' if "<<" in text else "."),
            builder=name,
        ) from error
    if not isinstance(document, dict):
        problem = problem or f"it holds {_what(document)} instead of fields"
    if problem or not isinstance(document, dict):
        raise TVBuilderError(
            f'Builder "{name}" cannot be used: {problem}.',
            'Write one "field: value" a line, beginning with builder_type.',
            builder=name,
        )
    return document


def check_fields(name: str, document: Mapping[object, object]) -> None:
    """Refuse fields that no builder has, and those that only the other type has.

    Raises
    ------
    TVBuilderError
        Names the field and the known one that is most like it.
    """
    for field, value in document.items():
        if field not in KNOWN:
            near = difflib.get_close_matches(str(field), KNOWN, 1)
            raise TVBuilderError(
                f'Builder "{name}": there is no field "{field!s:.60}".',
                f'Did you mean "{near[0]}"?' if near else f"Fields are {', '.join(KNOWN[:-1])}.",
                builder=name,
                field=f"{field!s:.60}",
            )
        is_column = document.get("builder_type") == "ColumnBuilder"
        unset: tuple[object, ...] = (None,) if field == "always_run" else (None, False, [])
        if field in INDEX_ONLY and is_column and value not in unset:
            raise TVBuilderError(
                f'Builder "{name}": field {field} is for an IndexBuilder, this is a ColumnBuilder.',
                "Remove it, or write it into the index builder.",
                builder=name,
                field=str(field),
            )


class _Loader(yaml.SafeLoader):
    """The safe loader by the core schema, without two things that a builder never means.

    A key that stands twice would silently hide the first one. Merge keys grow without bounds: a
    few nested ``<<: [*a, *a]`` are billions of entries before anybody could count them.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping, in which each key stands once."""
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                raise _problem('the merge key "<<" cannot be used; write the fields out', key_node)
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _problem("a list or mapping cannot be a key", key_node)
            if key in made:
                written = getattr(key_node, "value", key)
                raise _problem(f"the key {written!r} stands twice", key_node)
            made[key] = self.construct_object(value_node, deep=deep)
        return made


def _problem(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    """Make the error of a node."""
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Make an int that Python is willing to print: hexadecimal ones may have any length."""
    text = str(loader.construct_scalar(node))
    number = int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
    if number.bit_length() > _LONGEST_NUMBER:
        raise _problem(f"the number has more than {_LONGEST_NUMBER} bits", node)
    return number


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    """Make a float; a number of digits is never infinite."""
    text = str(loader.construct_scalar(node))
    number = float(text.replace(".", "") if text[-1:].isalpha() else text)
    if number in (float("inf"), float("-inf")) and text[-1:].isdigit():
        raise _problem(f"the number {text} is too large", node)
    return number


_Loader.yaml_implicit_resolvers = {}  # nothing of YAML 1.1
resolve_as_core(_Loader)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def _what(document: object) -> str:
    """Call what YAML read by a name that its author knows."""
    if document is None:
        return "nothing"
    return "a list" if isinstance(document, list) else "one value"


def _reason(error: Exception) -> str:
    """Describe a YAML error in one line, with the line of the file."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or str(error).split("\n", 1)[0] or type(error).__name__
    return f"{said}, line {mark.line + 1}" if mark is not None else str(said)
