"""Matches the rows of two versions of a dataframe, and compares their cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from tablevault.frames.artifact_string import NAME as ARTIFACT
from tablevault.frames.dtypes import dtype_name
from tablevault.frames.tagged_json import text_to_compare

Rows: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"
"""For each row its position in an earlier dataframe, `NEW_ROW` if it was not there."""

Mask: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.bool_]]"
"""A condition for each row."""

NEW_ROW = -1


def all_new(rows: int) -> Rows:
    """Return positions of rows that are all new; they take no memory."""
    return np.broadcast_to(np.int64(NEW_ROW), rows)


def match_rows(new: pd.DataFrame, old: pd.DataFrame, key: Sequence[str]) -> Rows:
    """Find the earlier position of each row.

    Parameters
    ----------
    new, old : DataFrame
        The result of the index builder, and the earlier dataframe; with a RangeIndex.
    key : sequence of str
        Columns that identify a row. Without them a row matches the one in the same position if
        all columns of `new` are equal.

    Returns
    -------
    array of int64, shape (len(new),)
        Positions in `old`, -1 for new rows. Nothing matches if the dtype of a key changed, or keys
        are not unique in `old`.
    """
    nothing = np.full(len(new), NEW_ROW, dtype=np.int64)
    names = list(key) or list(new.columns)
    if not names or not all(
        name in old.columns and _same_dtype(new[name], old[name]) for name in names
    ):
        return nothing
    if not key:
        both = min(len(new), len(old))
        same = np.ones(both, dtype=np.bool_)
        for name in names:
            same &= cells_equal(new[name].iloc[:both], old[name].iloc[:both])
        nothing[:both][same] = np.flatnonzero(same)
        return nothing
    now, before = (
        pd.Index(frame[names[0]]) if len(names) == 1 else pd.MultiIndex.from_frame(frame[names])
        for frame in (new, old)
    )
    try:
        if not before.is_unique:
            return nothing
        return before.get_indexer(now).astype(np.int64)
    except TypeError:  # values that cannot be hashed
        return nothing


def cells_equal(one: pd.Series, other: pd.Series) -> Mask:
    """Compare two columns of the same length cell by cell; two nulls are equal.

    Columns of different dtypes have no equal cells. Objects are compared by their stored text.
    """
    if not _same_dtype(one, other):
        return np.zeros(len(one), dtype=np.bool_)
    one, other = one.reset_index(drop=True), other.reset_index(drop=True)
    if isinstance(one.dtype, pd.CategoricalDtype):
        one, other = one.astype(object), other.astype(object)
    if one.dtype == object or str(one.dtype) == ARTIFACT:
        one, other = _texts(one), _texts(other)
    null, others_null = one.isna().to_numpy(), other.isna().to_numpy()
    equal = one.array == other.array
    values = pd.array(equal).fillna(value=False) if hasattr(equal, "dtype") else equal
    same: Mask = np.asarray(values, dtype=np.bool_) & ~null & ~others_null
    return same | (null & others_null)


def with_contents(series: pd.Series, content: Callable[[str], str]) -> pd.Series:
    """Append the content of its file to each name in an artifact column."""
    known: dict[object, object] = {}
    for name in series.dropna().unique():
        known[name] = f"{name}\0{content(str(name))}"
    texts = [known.get(name) if isinstance(name, str) else None for name in series.tolist()]
    return pd.Series(texts, index=series.index, dtype=object, name=series.name)


def is_artifact(series: pd.Series) -> bool:
    """Return whether a column names files."""
    return str(series.dtype) == ARTIFACT


def _same_dtype(one: pd.Series, other: pd.Series) -> bool:
    """Return whether the dtypes of two columns have the same name."""
    return one.dtype == other.dtype or dtype_name(one.dtype) == dtype_name(other.dtype)


def _texts(series: pd.Series) -> pd.Series:
    """Return the stored text of objects; an object that cannot be stored equals no other."""
    texts = np.empty(len(series), dtype=object)
    for row, (value, is_null) in enumerate(
        zip(series.tolist(), series.isna().tolist(), strict=True)
    ):
        texts[row] = None if is_null is True else text_to_compare(value, row)
    return pd.Series(texts, dtype=object)
