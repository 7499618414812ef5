"""The inputs of a call as a hash: equal inputs give equal keys, in every process and on every day.

A key has two parts. The *code* is a digest of the function and of what it names, see
`tablevault.engine.fingerprints.compute`. The *inputs* are the arguments by value, the columns that
are filled, and the row. Values are hashed as the text of `tablevault.frames.tagged_json`; a
dataframe by its logical digest, a file of the vault by its content.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from tablevault.engine.matching import Mask
from tablevault.frames.artifacts import NAME as ARTIFACT
from tablevault.frames.digest import digest_frame
from tablevault.frames.encoding import encode_column
from tablevault.frames.plain import fields_of
from tablevault.frames.tagged_json import UnstorableValueError, has_surrogates, to_json

ARGUMENTS_BYTES: Final = 10
ROW_BYTES: Final = 8

Inputs: TypeAlias = bytes
"""`ARGUMENTS_BYTES` for arguments and columns, then `ROW_BYTES` for the row, if it counts."""

FileText: TypeAlias = Callable[[str], str]
"""Replaces the path of a file of the vault by its name and content; other text stays."""

_WORDS: Final[Mapping[object, str]] = {None: "null", True: "true", False: "false"}
_float_text = json.JSONEncoder().encode
_NOTHING: Final = np.zeros(0, dtype=np.bool_)


class UnhashableArgumentError(Exception):
    """An argument has no value that could be compared later, such as an open file."""


def same_text(text: str) -> str:
    """Return `text`: no value names a file of a vault."""
    return text


def hash_values(
    values: Mapping[str, Any], file_text: FileText = same_text, seed: bytes = b""
) -> bytes:
    """Hash named arguments by value.

    Parameters
    ----------
    values : mapping of str to object
        Keyword arguments. Their order does not count, nor does that of keys in nested dicts.
    file_text : callable
        See `FileText`.
    seed : bytes
        Hash of what else counts.

    Returns
    -------
    bytes
        `ARGUMENTS_BYTES` of BLAKE2b.

    Raises
    ------
    UnhashableArgumentError
        A value of a type that cannot be stored.
    """
    text = _plain_text(values, file_text)
    if text is None:
        try:
            text = to_json({name: _stand_in(values[name], file_text) for name in sorted(values)})
        except (UnstorableValueError, RecursionError) as error:
            raise UnhashableArgumentError(str(error)) from error
    return hashlib.blake2b(seed + text.encode("ascii"), digest_size=ARGUMENTS_BYTES).digest()


def row_digest(key: tuple[Any, ...]) -> bytes:
    """Hash the primary key of a row into `ROW_BYTES`."""
    texts = [_scalar_text(value) for value in key]
    if None in texts:
        return _short(to_json([_stand_in(value, same_text) for value in key]))
    return _short(f"[{','.join(texts)}]")  # type: ignore[arg-type]  # none is None


class RunningNumbers:
    """The rows of a table without primary key: the how-manieth call with equal arguments it is."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def next(self, arguments: bytes) -> bytes:
        """Return the number of one more call with these arguments; `ROW_BYTES`."""
        number = self._seen[arguments]
        self._seen[arguments] += 1
        return number.to_bytes(ROW_BYTES, "little")


class RowInputs:
    """The inputs of the calls of many rows, in as many bytes as they have.

    Parameters
    ----------
    data : bytes
        Inputs of all rows of a table, one behind the other.
    known : array of bool
        Rows whose inputs are known.
    """

    def __init__(self, data: bytes = b"", known: Mask = _NOTHING) -> None:
        self.known = known
        self._data = data
        self._size = len(data) // max(1, len(known))

    def among(self, known: Mask) -> RowInputs:
        """Return the same of fewer rows."""
        return RowInputs(self._data, known)

    def __getitem__(self, row: int) -> Inputs:
        """Return the inputs of a row, which are known."""
        return self._data[row * self._size : (row + 1) * self._size]

    def of(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the inputs of rows, which are known."""
        found: np.ndarray[Any, Any] = np.frombuffer(self._data, f"S{self._size}")[rows]
        return found

    def get(self, row: int) -> Inputs | None:
        """Return the inputs of a row; None when they are not known."""
        return self[row] if row < len(self.known) and self.known[row] else None


def rows_inputs(arguments: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> bytes:
    """Put the arguments of all rows together with their keys or numbers, see `RowInputs`."""
    both = np.empty(len(arguments), [("arguments", arguments.dtype), ("row", rows.dtype)])
    both["arguments"], both["row"] = arguments, rows
    return both.tobytes()


def running_numbers(arguments: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return for each of many calls what `RunningNumbers` would, as numbers of `ROW_BYTES`."""
    order = np.argsort(arguments, kind="stable")
    is_first = np.append(True, arguments[order[1:]] != arguments[order[:-1]])[: len(order)]
    firsts = np.flatnonzero(is_first)
    numbers = np.empty(len(order), "<u8")
    numbers[order] = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
    return numbers


def _plain_text(values: Mapping[str, Any], file_text: FileText) -> str | None:
    """Encode arguments that JSON gives back exactly; None when there are others.

    A sixth of the time that `to_json` takes, and most arguments are text and numbers.
    """
    made = []
    for name in sorted(values):
        value = values[name]
        if type(value) is str:
            if has_surrogates(value):
                return None
            value = file_text(value)
        text = _scalar_text(value)
        if text is None:
            return None
        made.append(f"{_quoted(name)}:{text}")
    return f"{{{','.join(made)}}}"


def _scalar_text(value: object) -> str | None:
    """Encode text, a number, a truth value or None as `json.dumps` does; None for all others."""
    kind = type(value)
    if kind is str:
        return _quoted(value)  # type: ignore[arg-type]  # it is text
    if kind is int:
        return int.__repr__(value)
    if value is None or kind is bool:
        return _WORDS[value]
    if kind is float and value == value:  # noqa: PLR0124 - NaN
        return _float_text(value)
    return None


def _stand_in(value: Any, file_text: FileText) -> Any:  # noqa: ANN401 - an argument is anything
    """Replace what tagged JSON cannot hold, or what does not count, by what identifies it."""
    match value:
        case str():
            return file_text(str(value))
        case pd.DataFrame():
            return {"$frame": frame_digest(value, file_text)}
        case dict():
            pairs = [
                (to_json(_stand_in(key, file_text)), _stand_in(item, file_text))
                for key, item in value.items()
            ]
            return {"$by_key": [list(pair) for pair in sorted(pairs, key=lambda pair: pair[0])]}
        case list() | tuple():
            return [_stand_in(item, file_text) for item in value]
        case set() | frozenset():
            return {"$set": sorted(to_json(_stand_in(item, file_text)) for item in value)}
        case _:
            return _of_object(value, file_text)


def _of_object(value: object, file_text: FileText) -> object:
    """Replace an object with fields, or a member of an enumeration, by its class and value."""
    if isinstance(value, enum.Enum) and not isinstance(value, int | float):
        return {"$member": [type(value).__qualname__, value.name]}
    fields = fields_of(value)
    if fields is None:
        return value
    return {"$fields": [type(value).__qualname__, _stand_in(fields, file_text)]}


def frame_digest(frame: pd.DataFrame, file_text: FileText = same_text) -> str:
    """Hash a dataframe by its meaning: names, dtypes, values, and labels that are not 0, 1, 2..."""
    columns = []
    for position in range(frame.shape[1]):
        series = frame.iloc[:, position]
        if str(series.dtype) == ARTIFACT:
            texts = [value if pd.isna(value) else file_text(str(value)) for value in series]
            series = pd.Series(texts, dtype=object)
        name = str(frame.columns[position])
        columns.append(
            (name, str(series.dtype), encode_column(series.reset_index(drop=True), name))
        )
    digest = digest_frame(columns, len(frame))
    if frame.index.equals(pd.RangeIndex(len(frame))):
        return digest
    return (
        f"{digest}:{_short(to_json([_stand_in(label, same_text) for label in frame.index])).hex()}"
    )


def _short(text: str) -> bytes:
    """Hash text into `ROW_BYTES`."""
    return hashlib.blake2b(text.encode("ascii"), digest_size=ROW_BYTES).digest()
