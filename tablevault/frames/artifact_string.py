"""The extension dtype ``artifact_string``: text that names a file beside the table."""
# ruff: noqa: ANN401, ARG003, SLF001 - names and signatures are those of pandas' extension interface

from __future__ import annotations

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype

NAME = "artifact_string"


@register_extension_dtype
class ArtifactStringDtype(ExtensionDtype):
    """Names of artifacts, relative to the artifact folder; elements are str or ``pd.NA``."""

    name = NAME
    type = str
    kind = "O"
    na_value = pd.NA

    @classmethod
    def construct_array_type(cls) -> builtins.type[ArtifactStringArray]:
        """Return the array class."""
        return ArtifactStringArray

    def __from_arrow__(self, array: pa.Array | pa.ChunkedArray) -> ArtifactStringArray:
        """Make an array from Arrow text."""
        return ArtifactStringArray._from_sequence(array.to_pylist())


class ArtifactStringArray(ExtensionArray):
    """One-dimensional array of artifact names over an object array."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._values = values

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: object = None, copy: bool = False) -> Self:
        """Take text and missing values; anything else is a TypeError."""
        values = np.empty(len(scalars), dtype=object)
        for position, value in enumerate(scalars):
            if isinstance(value, str):
                values[position] = str(value)
            elif value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124 - NaN
                values[position] = pd.NA
            else:
                raise TypeError(f"{value!r} is no text: artifact_string holds names of files")
        return cls(values)

    @classmethod
    def _from_sequence_of_strings(
        cls, strings: Sequence[object], *, dtype: object = None, copy: bool = False
    ) -> Self:
        """Take text, as a CSV reader has it."""
        return cls._from_sequence(strings)

    @classmethod
    def _from_factorized(cls, values: np.ndarray[Any, Any], original: object) -> Self:
        """Take unique values back."""
        return cls._from_sequence(values)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[Self]) -> Self:
        """Join arrays."""
        return cls(np.concatenate([array._values for array in to_concat]))

    @property
    def dtype(self) -> ArtifactStringDtype:
        """The dtype."""
        return ArtifactStringDtype()

    @property
    def nbytes(self) -> int:
        """Bytes of the references, as numpy counts object arrays."""
        return int(self._values.nbytes)

    def __len__(self) -> int:
        """Count the elements."""
        return len(self._values)

    def __getitem__(self, item: Any) -> Any:
        """Return one element, or an array of several."""
        item = pd.api.indexers.check_array_indexer(self, item)
        found = self._values[item]
        return type(self)(found) if isinstance(found, np.ndarray) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set elements; what is no text is a TypeError."""
        key = pd.api.indexers.check_array_indexer(self, key)
        if isinstance(value, str) or not pd.api.types.is_list_like(value):
            self._values[key] = self._from_sequence([value])._values[0]
        else:
            self._values[key] = self._from_sequence(list(value))._values

    def __eq__(self, other: object) -> Any:
        """Compare element by element; the result is nullable boolean."""
        if isinstance(other, pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        mine = pd.array(self._values, dtype="string")
        theirs = pd.array(other._values, dtype="string") if isinstance(other, type(self)) else other
        equal: Any = mine == theirs
        return pd.array(equal, dtype="boolean")

    def __ne__(self, other: object) -> Any:
        """Compare element by element; the result is nullable boolean."""
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else ~equal

    __hash__ = None  # type: ignore[assignment]  # mutable

    def isna(self) -> np.ndarray[Any, Any]:
        """Return which elements are missing."""
        return np.array([value is pd.NA for value in self._values], dtype=bool)

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> Self:
        """Return elements by position, missing ones for -1 when `allow_fill`."""
        from pandas.api.extensions import take

        if allow_fill and (fill_value is None or pd.isna(fill_value)):
            fill_value = pd.NA
        taken: Any = take(self._values, indices, allow_fill=allow_fill, fill_value=fill_value)
        return type(self)(taken)

    def copy(self) -> Self:
        """Copy."""
        return type(self)(self._values.copy())

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Cast; to text as to any other dtype that takes text."""
        dtype = pd.api.types.pandas_dtype(dtype)
        if isinstance(dtype, ArtifactStringDtype):
            return self.copy() if copy else self
        if isinstance(dtype, ExtensionDtype):
            array_type: Any = dtype.construct_array_type()
            return array_type._from_sequence(self._values, dtype=dtype)
        return self._values.astype(dtype)

    def __arrow_array__(self, type: object = None) -> pa.Array:  # noqa: A002 - Arrow's protocol
        """Return Arrow text."""
        values = [None if value is pd.NA else value for value in self._values]
        return pa.array(values, type=type or pa.string())

    def value_counts(self, dropna: bool = True) -> pd.Series:
        """Count how often each name stands there."""
        return pd.Series(self._values).value_counts(dropna=dropna)

    def _values_for_factorize(self) -> tuple[np.ndarray[Any, Any], object]:
        """Return values that pandas can hash, and what stands for a missing one."""
        # pandas 2.2 compares each value with the sentinel, which NA does not allow.
        values = self._values.copy()
        values[self.isna()] = None
        return values, None

    def _values_for_argsort(self) -> np.ndarray[Any, Any]:
        """Return values that can be ordered."""
        return np.array(["" if value is pd.NA else value for value in self._values], dtype=object)

    def _formatter(self, boxed: bool = False) -> Any:  # noqa: ARG002 - pandas' signature
        """Show text as it is."""
        return str


def with_paths(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return a frame with full paths in artifact columns, which stay of that dtype.

    Parameters
    ----------
    frame : DataFrame
        Any; it is not changed.
    folder : Path
        Absolute artifact folder.

    Returns
    -------
    DataFrame
        Folder and name joined; what is missing, or "", stays so.
    """
    columns = artifact_columns(frame)
    if not columns:
        return frame
    joined = frame.copy(deep=False)
    for position in columns:
        names = frame.iloc[:, position]
        paths = [name if pd.isna(name) or not name else str(folder / name) for name in names]
        joined.isetitem(position, ArtifactStringArray._from_sequence(paths))
    return joined


def as_text(series: pd.Series) -> pd.Series:
    """Return an artifact column as ``string``, "" where it is missing; others as they are."""
    if not isinstance(series.dtype, ArtifactStringDtype):
        return series
    return series.astype("string").fillna("")


def with_folder(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return a frame with full paths as ``string``, "" where an artifact is missing."""
    joined = with_paths(frame, folder)
    for position in artifact_columns(frame):
        joined.isetitem(position, as_text(joined.iloc[:, position]).array)
    return joined


def artifact_values(frame: pd.DataFrame) -> list[str]:
    """List the names in all artifact columns, each once, in the order of appearance."""
    found: dict[str, None] = {}
    for position in artifact_columns(frame):
        names = frame.iloc[:, position]
        found.update(dict.fromkeys(name for name in names if isinstance(name, str) and name))
    return list(found)


def artifact_columns(frame: pd.DataFrame) -> list[int]:
    """List the positions of artifact columns."""
    return [n for n, dtype in enumerate(frame.dtypes) if isinstance(dtype, ArtifactStringDtype)]
