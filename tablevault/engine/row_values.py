"""What a call returned as text, exactly as it was returned."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from tablevault.frames.tagged_json import UnstorableValueError, from_json, has_surrogates, to_json

Values: TypeAlias = tuple[Any, ...]
"""One value for each column that a builder fills."""

_INT64: Final = 1 << 63
_plain_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def encode_values(values: Values) -> str:
    """Encode the values of a row: quickly where JSON has all of them, else with care.

    Raises
    ------
    UnstorableValueError
        A value is of a type that cannot be kept.
    """
    if are_plain(values):
        return _plain_json(values)
    return to_json(list(values))


def are_plain(values: Values) -> bool:
    """Return whether decoding gives back exactly these values, types included."""
    return all(map(_is_plain, values))


def decode_values(text: str) -> Values:
    """Decode what `encode_values` made."""
    found = json.loads(text) if "$" not in text else from_json(text)
    assert isinstance(found, list)
    return tuple(found)


def decode_all(texts: Sequence[str]) -> Iterator[Values]:
    """Decode texts that `encode_values` made, all at once where none holds tagged values."""
    joined = f"[{','.join(texts)}]"
    return map(tuple, json.loads(joined)) if "$" not in joined else map(decode_values, texts)


def why_unstorable(value: object) -> str | None:
    """Return why a value cannot be kept; None when it can."""
    try:
        to_json(value)
    except UnstorableValueError as error:
        return error.reason
    return None


def _is_plain(value: object) -> bool:
    """Return whether JSON gives back exactly this value."""
    kind = type(value)
    if kind is str:
        return value.isascii() or not has_surrogates(value)  # type: ignore[attr-defined,arg-type]  # it is text
    if kind is int:
        return -_INT64 <= value < _INT64  # type: ignore[operator]  # it is a number
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # it is a number
    return value is None or kind is bool
