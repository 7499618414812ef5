"""The YAML of builder files: parsing, checks of its fields, and templates of new files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml

from tablevault.core_schema import YAML_ERRORS, resolve_as_core, yaml_fault
from tablevault.errors import TVBuilderError
from tablevault.names import index_builder
from tablevault.wording import did_you_mean

REQUIRED = ("changed_columns", "python_function", "code_module", "arguments")
"""Fields that every builder has, besides its type."""

INDEX_ONLY = ("primary_key", "keep_old", "always_run")
"""Fields that only an index builder has."""

DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "is_custom": False,
        "return_type": "dataframe",
        "n_threads": "",
        "dtypes": {},
        "primary_key": [],
        "keep_old": False,
        "always_run": True,
        "deduplicate": False,
        "retry_null": True,
        "code_version": "",
        "retry": 0,
        "timeout_s": "",
        "on_error": "stop",
        "max_errors": "",
        "limits": {},
        "batch_size": 1,
        "mode": "calls",
        "executor": "",
    }
)
"""Optional fields with their defaults."""

KNOWN = ("builder_type", *REQUIRED, *DEFAULTS, "dependencies", "name")
"""All fields; ``name`` is what releases 0.1 wrote, and the name of the file counts."""

_LARGEST_TEXT = 1_000_000
_LONGEST_NUMBER = 10_000
_MERGE = "tag:yaml.org,2002:merge"


def check_builder_text(name: str, text: str) -> None:
    """Refuse text that cannot become a builder; missing fields are allowed.

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
            document = _BuilderLoader(text).get_single_data()
    except YAML_ERRORS as error:
        raise TVBuilderError(
            f'Builder "{name}" is no valid YAML: {yaml_fault(error, text)}.',
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
    """Refuse unknown fields, and those of the other type of builder.

    Raises
    ------
    TVBuilderError
        Names the field and the known one that is most like it.
    """
    for field, value in document.items():
        if field not in KNOWN:
            raise TVBuilderError(
                f'Builder "{name}": there is no field "{field!s:.60}".',
                did_you_mean(field, KNOWN) or f"Fields are {', '.join(KNOWN[:-1])}.",
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


class _BuilderLoader(yaml.SafeLoader):
    """The safe loader with the core schema, without duplicate keys and merge keys.

    A duplicate key would silently hide the first one. Merge keys grow without bounds: a few nested
    ``<<: [*a, *a]`` are billions of entries.
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


def _whole_number(loader: _BuilderLoader, node: yaml.ScalarNode) -> int:
    """Make an int of limited size: Python refuses to print longer ones."""
    text = str(loader.construct_scalar(node))
    number = int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
    if number.bit_length() > _LONGEST_NUMBER:
        raise _problem(f"the number has more than {_LONGEST_NUMBER} bits", node)
    return number


def _float(loader: _BuilderLoader, node: yaml.ScalarNode) -> float:
    """Make a float; refuse digits that overflow to infinity."""
    text = str(loader.construct_scalar(node))
    number = float(text.replace(".", "") if text[-1:].isalpha() else text)
    if number in (float("inf"), float("-inf")) and text[-1:].isdigit():
        raise _problem(f"the number {text} is too large", node)
    return number


_BuilderLoader.yaml_implicit_resolvers = {}  # nothing of YAML 1.1
resolve_as_core(_BuilderLoader)
_BuilderLoader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])
_BuilderLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_BuilderLoader.add_constructor("tag:yaml.org,2002:float", _float)


def _what(document: object) -> str:
    """Describe the type of a document for its author."""
    if document is None:
        return "nothing"
    return "a list" if isinstance(document, list) else "one value"


_TextLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBuilder:
    """The main fields of a builder; empty if the file lacks them."""

    module: str
    function: str
    columns: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    """Name and value: a scalar without its quotes, others as they stand in the file."""


def read_written(text: str) -> WrittenBuilder:
    """Return the main fields of a builder file; all empty if the text is no builder.

    Values are the text of the file, not what YAML makes of it: ``0.20`` stays ``0.20``.
    """
    fields = _fields(text)
    columns, arguments = fields.get("changed_columns"), fields.get("arguments")
    return WrittenBuilder(
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
    if len(text) > _LARGEST_TEXT:
        return {}
    try:
        document = yaml.compose(text, Loader=_TextLoader)
    except YAML_ERRORS:
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


PLACEHOLDERS = frozenset({"COLUMN_NAME", "FUNCTION_NAME", "MODULE_NAME", "ARGUMENT_VALUE"})
"""Words of the templates that the user replaces."""

_TYPE = """\
# {purpose}
builder_type: {kind}

# The columns that this builder fills, in the order in which the function returns them.
changed_columns:
  - COLUMN_NAME
"""

_KEY = """
# Optional. Columns that together name a row; values of earlier runs are found by them.
primary_key:
  - COLUMN_NAME

# Optional. Keep the rows of the instance before whose key does not appear again.
keep_old: false

# Optional. false: the function is not called again while its code and arguments are the same.
always_run: true
"""

_REST = """
# The function, and the module it is in: code/MODULE_NAME.py when is_custom is true, else a
# module that comes with TableVault, such as table_generation.
python_function: FUNCTION_NAME
code_module: MODULE_NAME
is_custom: false

# Passed to the function by name. A string that is exactly one reference becomes the object it
# refers to; a reference within other text becomes text. Write {{}} when there are no arguments.
arguments:
  plain: ARGUMENT_VALUE
  referenced: {sample}

# dataframe: called once, returns a DataFrame.
# row-wise: called for each row, returns one value, or a list of them for several columns.
# generator: called once, yields what row-wise would return.
return_type: {return_type}

# Optional, row-wise only. Calls at the same time; 1 by default, 16 of an async function.
# n_threads: 8

# Optional, for calls that fail or cost: how often they are made again, whether rows whose calls
# fail stay null, and how fast and for how much the function may be called.
# retry: 3
# on_error: keep
# limits: {{calls_per_minute: 500, cost: 5}}

# Optional. Columns that are not named get the type of their values.
dtypes: {{}}
#  amount: Int64
#  score: Float64
#  picture: artifact_string

# Optional. References are found by themselves; add what they cannot show, such as
# [orders.amount, "orders.*", orders(base)].
dependencies: null

# References: <<orders>> is a table, <<orders.{{id,amount}}>> two of its columns,
# <<orders.amount[id::7]>> one value, <<orders.amount[id::1:5]>> the values for 1 to 4, and
# <<orders.amount[id::{inner}]>> takes the id from a row of this table.
"""


def index_template(table: str) -> str:
    """Return the text of a builder file that makes the rows of `table`."""
    return (
        _TYPE.format(
            purpose=f'Makes the rows of table "{table}"; the file has to be called '
            f"{index_builder(table)}.yaml.",
            kind="IndexBuilder",
        )
        + _KEY
        + _REST.format(
            sample='"<<orders.amount[id::7]>>"',
            return_type="dataframe",
            inner="<<self.id[index::0]>>",
        )
    )


def column_template(builder: str) -> str:
    """Return the text of a builder file called `builder` that fills columns of existing rows."""
    return _TYPE.format(
        purpose=f"{builder}: fills columns of the rows that the index builder has made.",
        kind="ColumnBuilder",
    ) + _REST.format(
        sample='"<<orders.amount[id::<<self.id[index]>>]>>"',
        return_type="row-wise",
        inner="<<self.id[index]>>",
    )
