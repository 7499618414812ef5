"""What a call returned as text, exactly as it was returned."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, TypeAlias

from tablevault.frames.tagged_json import UnstorableValueError, from_json, has_surrogates, to_json

Values: TypeAlias = tuple[Any, ...]
"""One value for each column that a builder fills."""

_INT64: Final = 1 << 63
_WORDS: Final[Mapping[object, str]] = {None: "null", True: "true", False: "false"}


def encode_values(values: Values) -> str:
    """Encode the values of a row: quickly where JSON has all of them, else with care.

    Raises
    ------
    UnstorableValueError
        A value is of a type that cannot be kept.
    """
    text = encode_plain(values)
    return to_json(list(values)) if text is None else text


def encode_plain(values: Values) -> str | None:
    """Encode values that JSON gives back exactly, types included; None when there are others.

    A third of the time that `json.dumps` takes.
    """
    texts = []
    for value in values:
        kind = type(value)
        if kind is str:
            text = None if has_surrogates(value) else _quoted(value)
        elif kind is int:
            text = int.__repr__(value) if -_INT64 <= value < _INT64 else None
        elif kind is float:
            text = float.__repr__(value) if math.isfinite(value) else None
        else:
            text = _WORDS.get(value) if value is None or kind is bool else None
        if text is None:
            return None
        texts.append(text)
    return f"[{','.join(texts)}]"


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
