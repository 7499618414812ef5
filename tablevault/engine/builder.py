"""The builder document: YAML from a stranger into a value that can be trusted."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import yaml

from tablevault.engine.dependencies import Dependency, explicit_dependencies
from tablevault.engine.fields import Place
from tablevault.engine.nodes import Grower, Node, references
from tablevault.engine.reference.view import INDEX
from tablevault.engine.templates import PLACEHOLDERS
from tablevault.errors import TVBuilderError
from tablevault.names import index_builder

Kind = Literal["index", "column"]
ReturnType = Literal["dataframe", "row-wise", "generator"]

RETURN_TYPES = ("dataframe", "row-wise", "generator")
_KINDS: Mapping[str, Kind] = MappingProxyType({"IndexBuilder": "index", "ColumnBuilder": "column"})
_INDEX_ONLY = ("primary_key", "keep_old")
_UNREAD = ("builder_type", "dependencies", "name")
_REQUIRED = ("changed_columns", "python_function", "code_module", "arguments")
_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "is_custom": False,
        "return_type": "dataframe",
        "n_threads": 1,
        "dtypes": {},
        "primary_key": [],
        "keep_old": False,
    }
)
_LARGEST_TEXT = 1_000_000
_LONGEST_NUMBER = 10_000
# What PyYAML's safe constructors raise for scalars such as "!!int ''" or 2023-99-99, besides
# its own errors (6.0.3).
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A builder file, checked.

    A field that is given by a reference is None here: it is known when the builder runs. What
    was written, references included, is in `nodes`.

    Attributes
    ----------
    name : str
        File name without ending.
    kind : {"index", "column"}
        Whether it makes the rows or fills columns of them.
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
        Calls at the same time, at least 1; row-wise only.
    dtypes : mapping of str to str, optional
        Declared dtypes by column.
    dependencies : tuple of Dependency
        Explicit ones; they add to what is found in references.
    primary_key : tuple of str, optional
        Columns that name a row, index builder only.
    keep_old : bool, optional
        Whether old rows stay that were not made again, index builder only.
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
    nodes: Mapping[str, Node]
    text: str


def check_builder_text(name: str, text: str) -> None:
    """Refuse text that cannot become a builder; one that is not finished yet may stay.

    Raises
    ------
    TVBuilderError
        `text` is no YAML, or no mapping.
    """
    _document(name, text)


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
        With defaults filled in. Fields that nothing reads are ignored, with a warning in the
        log "tablevault".

    Raises
    ------
    TVBuilderError
        The text is no YAML mapping, holds objects, is still a template, lacks a field, or a field
        has the wrong type; facts ``builder`` and ``field``.
    TableReferenceError
        A reference in a field is malformed.
    """
    document = _document(name, text)
    kind = _kind(name, document, table)
    _refuse_template(name, document)
    _warn_of_unread(name, document, kind)
    written: dict[object, Any] = dict(_DEFAULTS.items())
    written |= {field: value for field, value in document.items() if value is not None}
    for field in _REQUIRED:
        if field not in written:
            raise TVBuilderError(
                f'Builder "{name}": field {field} is missing.',
                "Write arguments: {} when there are none." if field == "arguments" else "Add it.",
                builder=name,
                field=field,
            )
    if kind == "column":
        written |= {field: _DEFAULTS[field] for field in _INDEX_ONLY}
    grower = Grower(name)
    nodes = {field: grower.node(written[field], field) for field in (*_REQUIRED, *_DEFAULTS)}
    read = {
        field: None if any(references(node)) else READERS[field](written[field], Place(name, field))
        for field, node in nodes.items()
        if field != "arguments"
    }
    Place(name, "arguments").mapping(written["arguments"])
    return Builder(
        name=name,
        kind=kind,
        function=read.pop("python_function"),
        module=read.pop("code_module"),
        arguments=nodes["arguments"],
        dependencies=explicit_dependencies(
            document.get("dependencies"), Place(name, "dependencies")
        ),
        nodes=MappingProxyType(nodes),
        text=text,
        **read,
    )


def _what(document: object) -> str:
    """Call what YAML read by a name that its author knows."""
    if document is None:
        return "nothing"
    return "a list" if isinstance(document, list) else "one value"


def _document(name: str, text: str) -> dict[object, object]:
    """Load the YAML of a builder: safe, of limited size, and a mapping."""
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


class _Loader(yaml.SafeLoader):
    """The safe loader, without two things that a builder never means.

    A key that stands twice would silently hide the first one. Merge keys grow without bounds: a
    few nested ``<<: [*a, *a]`` are billions of entries before anybody could count them.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping, in which each key stands once."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                problem = 'the merge key "<<" cannot be used; write the fields out'
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add((key.tag, key.value))
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Make an int that Python is willing to print: hexadecimal ones may have any length."""
    number: int = loader.construct_yaml_int(node)
    if number.bit_length() > _LONGEST_NUMBER:
        problem = f"the number has more than {_LONGEST_NUMBER} bits"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return number


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _reason(error: Exception) -> str:
    """Tell a YAML error in one line, with the line of the file."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or str(error).split("\n", 1)[0] or type(error).__name__
    return f"{said}, line {mark.line + 1}" if mark is not None else str(said)


def _kind(name: str, document: Mapping[object, object], table: str) -> Kind:
    """Read the type, which has to agree with the name of the file."""
    place = Place(name, "builder_type")
    if document.get("builder_type") is None:
        raise TVBuilderError(
            f'Builder "{name}": field builder_type is missing.',
            f"Add one of {', '.join(_KINDS)}.",
            builder=name,
            field="builder_type",
        )
    kind = _KINDS[place.choice(document["builder_type"], tuple(_KINDS))]
    if name == index_builder(table) and kind != "index":
        raise place.wrong("ColumnBuilder", f'IndexBuilder, because it makes the rows of "{table}"')
    if name != index_builder(table) and kind == "index":
        raise place.wrong(
            "IndexBuilder", f'ColumnBuilder: the one index builder is "{index_builder(table)}"'
        )
    return kind


def _refuse_template(name: str, document: Mapping[object, object]) -> None:
    """Refuse a builder in which a word of the template still stands."""
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


def _warn_of_unread(name: str, document: Mapping[object, object], kind: Kind) -> None:
    """Tell the log of fields that nothing reads."""
    known = (*_REQUIRED, *_DEFAULTS, *_UNREAD)
    log = logging.getLogger("tablevault")
    for field in document:
        if field not in known:
            near = difflib.get_close_matches(str(field), known, 1)
            advice = f'; did you mean "{near[0]}"?' if near else ""
            log.warning('Builder "%s": field %r is not known and ignored%s', name, field, advice)
        elif field in _INDEX_ONLY and kind == "column":
            log.warning('Builder "%s": field %s is ignored in a ColumnBuilder', name, field)


def _columns(value: object, place: Place) -> tuple[str, ...]:
    """Read ``changed_columns``; one text is what a reference to one name gives."""
    names = place.names(value)
    if INDEX in names:
        raise place.wrong(list(names), f'other names: "{INDEX}" is the position of the row')
    return names


def _dtypes(value: object, place: Place) -> Mapping[str, str]:
    """Read ``dtypes``."""
    items = place.mapping(value).items()
    return MappingProxyType({place.text(k): place.at(f".{k!s:.40}").text(v) for k, v in items})


READERS: Mapping[str, Callable[[Any, Place], Any]] = MappingProxyType(
    {
        "changed_columns": _columns,
        "python_function": lambda value, place: place.text(value),
        "code_module": lambda value, place: place.text(value),
        "is_custom": lambda value, place: place.flag(value),
        "return_type": lambda value, place: place.choice(value, RETURN_TYPES),
        "n_threads": lambda value, place: place.count(value),
        "dtypes": _dtypes,
        "primary_key": lambda value, place: place.names(value),
        "keep_old": lambda value, place: place.flag(value),
    }
)
"""How each field is read, from YAML or from what its references gave."""
