"""Objects with named fields as dicts: dataclasses, attrs classes, pydantic models; enumerations.

pydantic and attrs are not imported: their classes are known by what they have.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

from tablevault.frames.plain import PLAIN_TYPES

_DEEPEST: Final = 100
"""Levels of nesting; what has more stays, and cannot be stored."""


def fields_of(value: object) -> dict[str, Any] | None:
    """Return the fields of an object by name, in order; None for an object of another kind.

    Those of a pydantic model are what its ``model_dump(mode="json")`` gives. An object that does
    not give its fields, such as a dataclass in which one was never set, is of another kind.
    """
    try:
        return _fields(value, type(value))
    except Exception:  # noqa: BLE001 - code of the user's class
        return None


def _fields(value: object, kind: type) -> dict[str, Any] | None:
    """Read the fields of an object; raises what its class raises."""
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "model_fields") and callable(dump := getattr(kind, "model_dump", None)):
        found: dict[str, Any] = dump(value, mode="json")
        return found
    elif isinstance(attributes := getattr(kind, "__attrs_attrs__", None), tuple):
        names = [attribute.name for attribute in attributes]
    else:
        return None
    return {name: getattr(value, name) for name in names}


def as_data(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - a cell
    """Return a value in which objects with fields are dicts, members of enumerations their values.

    Lists, tuples and dicts are looked through; keys of dicts and what is in sets stay, since a
    dict can be neither. Everything else stays, too.
    """
    kind = type(value)
    if depth > _DEEPEST or (kind in PLAIN_TYPES and kind not in _LOOK_INTO):
        return value
    if look := _LOOK_INTO.get(kind):
        return look(value, depth + 1)
    if isinstance(value, enum.Enum):
        return as_data(value.value, depth + 1)
    fields = fields_of(value)
    return value if fields is None else _dict(fields, depth + 1)


def _dict(value: Mapping[Any, object], depth: int) -> dict[Any, Any]:
    """Look into the values of a dict."""
    return {key: as_data(item, depth) for key, item in value.items()}


_LOOK_INTO: Final[Mapping[type, Callable[[Any, int], Any]]] = {
    dict: _dict,
    list: lambda value, depth: [as_data(item, depth) for item in value],
    tuple: lambda value, depth: tuple(as_data(item, depth) for item in value),
}
