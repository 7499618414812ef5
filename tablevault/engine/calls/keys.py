"""Hashes of the inputs of calls: equal inputs have equal hashes in every process, for ever.

A key has two parts. The *code* is a digest of the function and of all code it uses, see
`tablevault.engine.fingerprints.compute`. The *inputs* are the arguments by value, the columns that
are filled, and the row. Values are hashed as the text of `tablevault.frames.tagged_json`; a
dataframe by its logical digest, a file of the vault by its content.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from tablevault.engine.builders.arguments import MapNode, Node, compile_arguments
from tablevault.engine.builders.reads import reads_of
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.records import ARGUMENTS_BYTES, ROW_BYTES
from tablevault.engine.matching import Mask
from tablevault.engine.tables import RunTables
from tablevault.errors import TableReferenceError
from tablevault.frames.artifact_string import NAME as ARTIFACT
from tablevault.frames.column_encoding import encode_column
from tablevault.frames.digest import digest_frame
from tablevault.frames.plain import fields_of
from tablevault.frames.tagged_json import UnstorableValueError, has_surrogates, to_json
from tablevault.names import SELF

Inputs: TypeAlias = bytes
"""`ARGUMENTS_BYTES` for arguments and columns, then `ROW_BYTES` for the row, if it is part."""

FileText: TypeAlias = Callable[[str], str]
"""Replaces the path of a file of the vault by its name and content hash; keeps other text."""

_WORDS: Final[Mapping[object, str]] = {None: "null", True: "true", False: "false"}
_float_text = json.JSONEncoder().encode
_NOTHING: Final = np.zeros(0, dtype=np.bool_)


class UnhashableArgumentError(Exception):
    """An argument cannot be compared by value, such as an open file."""


def same_text(text: str) -> str:
    """Return `text`; for values that name no file of a vault."""
    return text


def hash_values(
    values: Mapping[str, Any], file_text: FileText = same_text, seed: bytes = b""
) -> bytes:
    """Hash named arguments by value.

    Parameters
    ----------
    values : mapping of str to object
        Keyword arguments. Neither their order matters nor that of keys in nested dicts.
    file_text : callable
        See `FileText`.
    seed : bytes
        Hash of further inputs.

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
    """Numbers calls with equal arguments, for tables without primary key."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def next(self, arguments: bytes) -> bytes:
        """Return the number of one more call with these arguments; `ROW_BYTES`."""
        number = self._seen[arguments]
        self._seen[arguments] += 1
        return number.to_bytes(ROW_BYTES, "little")


class RowInputs:
    """The inputs of the calls of many rows, in one block of bytes.

    Parameters
    ----------
    data : bytes
        Inputs of all rows of a table, concatenated.
    known : array of bool
        Rows whose inputs are known.
    """

    def __init__(self, data: bytes = b"", known: Mask = _NOTHING) -> None:
        self.known = known
        self._data = data
        self._size = len(data) // max(1, len(known))

    def among(self, known: Mask) -> RowInputs:
        """Return the same with fewer rows known."""
        return RowInputs(self._data, known)

    def __getitem__(self, row: int) -> Inputs:
        """Return the inputs of a row; they have to be known."""
        return self._data[row * self._size : (row + 1) * self._size]

    def of(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the inputs of rows; they have to be known."""
        found: np.ndarray[Any, Any] = np.frombuffer(self._data, f"S{self._size}")[rows]
        return found

    def get(self, row: int) -> Inputs | None:
        """Return the inputs of a row; None if they are not known."""
        return self[row] if row < len(self.known) and self.known[row] else None


def rows_inputs(arguments: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> bytes:
    """Concatenate the arguments of each row with its key or number, see `RowInputs`."""
    both = np.empty(len(arguments), [("arguments", arguments.dtype), ("row", rows.dtype)])
    both["arguments"], both["row"] = arguments, rows
    return both.tobytes()


def running_numbers(arguments: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the numbers that `RunningNumbers` would give to calls one after the other."""
    order = np.argsort(arguments, kind="stable")
    is_first = np.append(True, arguments[order[1:]] != arguments[order[:-1]])[: len(order)]
    firsts = np.flatnonzero(is_first)
    numbers = np.empty(len(order), "<u8")
    numbers[order] = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
    return numbers


def _plain_text(values: Mapping[str, Any], file_text: FileText) -> str | None:
    """Encode arguments if JSON holds all of them exactly, else return None.

    It takes a sixth of the time of `to_json`, and most arguments are text and numbers.
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
    """Convert a value for tagged JSON, such that equal values have equal text."""
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
    """Encode an object with fields, or a member of an enumeration, by its class and value."""
    if isinstance(value, enum.Enum) and not isinstance(value, int | float):
        return {"$member": [type(value).__qualname__, value.name]}
    fields = fields_of(value)
    if fields is None:
        return value
    return {"$fields": [type(value).__qualname__, _stand_in(fields, file_text)]}


def frame_digest(frame: pd.DataFrame, file_text: FileText = same_text) -> str:
    """Hash names, dtypes and values of a dataframe, and its index unless it is 0, 1, 2, ..."""
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


_SEED_BYTES: Final = 16


class CallKeys:
    """Computes the inputs of the calls of one builder.

    Arguments that are the same for all rows are hashed once, at the first row.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    tables : RunTables
        Tables that its arguments read; all builders whose columns it reads have run.
    file_text : callable
        See `tablevault.engine.calls.keys.FileText`.
    key_columns : sequence of str
        The primary key of the table; empty when it has none.
    """

    def __init__(
        self,
        builder: ResolvedBuilder,
        tables: RunTables,
        file_text: FileText,
        key_columns: Sequence[str],
    ) -> None:
        self._builder = builder
        self._tables = tables
        self._file_text = file_text
        self._key_columns = key_columns
        pairs = builder.written.items if isinstance(builder.written, MapNode) else ()
        whole = not pairs and not isinstance(builder.written, MapNode)
        constant = tuple(pair for pair in pairs if not self._varies(MapNode((pair,))))
        varying = tuple(pair for pair in pairs if pair not in constant)
        self._constant = MapNode(constant)
        self._by_row = compile_arguments(
            builder.written if whole else MapNode(varying), tables, builder=builder.name
        )
        self._seed: bytes | None = None
        self._added: Mapping[str, Any] = {}
        self._numbers = RunningNumbers()
        self._row_digests: np.ndarray[Any, Any] | None = None
        has_key = bool(key_columns) and builder.kind != "index"
        self.are_numbered = not has_key and not builder.deduplicate
        """Whether only their order distinguishes calls with equal arguments."""

    def add_constant(self, values: Mapping[str, Any]) -> None:
        """Include values that each call receives besides its arguments."""
        self._added = values

    @property
    def depends_on_earlier_rows(self) -> bool:
        """Whether the arguments of a row show what the builder has made of rows before it."""
        own = set(self._builder.changed_columns)
        return any(
            whole.table == SELF and not own.isdisjoint(whole.columns or ())
            for read in reads_of(self._builder.written, self._tables.draft.names)
            for whole in read.wholes
        )

    def arguments(self, row: int | None) -> bytes:
        """Hash the arguments of a call.

        Raises
        ------
        UnhashableArgumentError
            An argument cannot be compared by value.
        TableReferenceError
            A reference cannot be evaluated.
        """
        if self._seed is None:
            self._seed = self._hash_constant()
        return hash_values(self._by_row(row), self._file_text, self._seed)

    def of_row(self, row: int, arguments: bytes) -> Inputs:
        """Return the inputs of the call for one row; call in the order of rows."""
        if self._builder.deduplicate:
            return arguments
        if self.are_numbered:
            return arguments + self._numbers.next(arguments)
        digest: bytes = self._digests()[row].tobytes()
        return arguments + digest

    def of_rows(self, rows: Sequence[int], later: Collection[int] = ()) -> RowInputs:
        """Return the inputs of the calls for rows, as far as they can be computed.

        Parameters
        ----------
        rows : sequence of int
            In order.
        later : collection of int
            Rows whose arguments are not known yet.
        """
        size = self._tables.draft.rows
        arguments = np.zeros(size, f"S{ARGUMENTS_BYTES}")
        known = np.zeros(size, dtype=np.bool_)
        wanted: Iterable[int] = rows
        if self.are_numbered and rows:  # earlier rows are numbered, too
            wanted = (row for row in range(rows[-1] + 1) if row not in later)
        for row in wanted:
            try:
                arguments[row] = self.arguments(row)
            except (UnhashableArgumentError, TableReferenceError):
                continue  # the call of this row raises the error
            known[row] = True
        if self._builder.deduplicate:
            data = arguments.tobytes()
        elif self.are_numbered:
            numbers = np.zeros(size, "<u8")
            numbers[known] = running_numbers(arguments[known])
            data = rows_inputs(arguments, numbers)
        else:
            data = rows_inputs(arguments, self._digests())
        asked = np.zeros(size, dtype=np.bool_)
        asked[rows] = True
        return RowInputs(data, known & asked)

    def of_table(self) -> Inputs:
        """Return the inputs of the one call for a whole table.

        Raises
        ------
        UnhashableArgumentError, TableReferenceError
            As `arguments`.
        """
        arguments = self.arguments(None)
        if self._builder.kind == "index":
            return arguments + bytes(ROW_BYTES)
        rows = hashlib.blake2b(digest_size=ROW_BYTES)
        rows.update(self._tables.draft.rows.to_bytes(8, "little"))
        if self._key_columns:
            rows.update(self._digests().tobytes())
        return arguments + rows.digest()

    def _varies(self, node: Node) -> bool:
        """Return whether an argument may differ between rows."""
        return any(
            read.by_row or any(whole.table == SELF for whole in read.wholes)
            for read in reads_of(node, self._tables.draft.names)
        )

    def _hash_constant(self) -> bytes:
        """Hash the inputs that all calls share."""
        builder = self._builder
        call = compile_arguments(self._constant, self._tables, builder=builder.name)
        added = [(name, repr(value)) for name, value in sorted(self._added.items())]
        facts = json.dumps([builder.return_type, builder.changed_columns, added])
        same = hash_values(call(None), self._file_text)
        return hashlib.blake2b(same + facts.encode(), digest_size=_SEED_BYTES).digest()

    def _digests(self) -> np.ndarray[Any, Any]:
        """Return the digests of the primary keys of all rows."""
        if self._row_digests is None:
            draft = self._tables.draft
            cells = (map(draft.in_order(name), range(draft.rows)) for name in self._key_columns)
            digests = map(row_digest, zip(*cells, strict=True))
            texts = np.fromiter(digests, f"S{ROW_BYTES}", draft.rows)
            self._row_digests = texts.view(f"V{ROW_BYTES}")  # dtype S would drop trailing zeros
        return self._row_digests
