"""Rows of an earlier instance that stay in front of the new ones: ``keep_old``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tablevault.engine.matching import NEW, match_rows
from tablevault.engine.resolve_fields import Job
from tablevault.engine.results import check_key
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.inference import infer


def with_old_rows(
    frame: pd.DataFrame, earlier: pd.DataFrame, index: Job, declared: Mapping[str, str]
) -> pd.DataFrame:
    """Put earlier rows in front of new ones.

    Parameters
    ----------
    frame, earlier : DataFrame
        What was made, and the earlier instance. Columns go by name; one that `earlier` lacks is
        null in its rows.
    index : Job
        The index builder. With a primary key only rows stay whose key was not made again;
        without one all of them, each time.
    declared : mapping of str to str
        Declared dtypes by column.

    Returns
    -------
    DataFrame
        Columns of `frame`, RangeIndex. Dtypes as declared, or those that hold the values of kept
        and new rows together; a column in which either part has no value has that of the other.

    Raises
    ------
    TVTableError
        An earlier value does not fit the declared dtype of its column.
    """
    key = list(index.primary_key)
    stays = np.ones(len(earlier), dtype=np.bool_)
    if key and set(key) <= set(earlier.columns):
        both = {name: _joined(earlier[name], frame[name], declared.get(name)) for name in key}
        keys = pd.DataFrame(both)
        new = keys.iloc[len(earlier) :].reset_index(drop=True)
        stays = match_rows(keys.iloc[: len(earlier)], new, key) == NEW
    if not stays.any():
        return frame
    kept = earlier.loc[stays]
    columns = {}
    for name in frame.columns:
        old = kept[name] if name in kept.columns else _nulls(len(kept), frame[name])
        columns[name] = _joined(old, frame[name], declared.get(name))
    joined = pd.DataFrame(columns)
    check_key(joined, index)
    return joined


def _joined(old: pd.Series, new: pd.Series, declared: str | None) -> pd.Series:
    """Put the values of two columns behind each other, with the dtype that holds all."""
    if declared is not None:
        old = _cast(old, new, declared)
    elif not new.notna().any() and old.notna().any():
        new = _nulls(len(new), old)
    if not old.notna().any():
        old = _nulls(len(old), new)
    if old.dtype == new.dtype or _are_times(old, new):
        return pd.concat([old, new], ignore_index=True)
    values = [*old.astype(object), *new.astype(object)]
    if isinstance(old.dtype, pd.CategoricalDtype) and isinstance(new.dtype, pd.CategoricalDtype):
        return pd.Series(values, dtype="category")
    return infer(values, str(new.name))


def _cast(old: pd.Series, new: pd.Series, declared: str) -> pd.Series:
    """Cast earlier values to a declared dtype."""
    try:
        return old if old.dtype == new.dtype else cast(old, declared)
    except TVTableError as error:
        raise TVTableError(
            f"keep_old: an earlier row does not fit: {error.message}",
            "Declare a dtype that holds old and new values, or leave keep_old out.",
            **error.facts,
        ) from error


def _are_times(old: pd.Series, new: pd.Series) -> bool:
    """Return whether two columns differ in the unit of their times or durations alone."""
    zones = [getattr(series.dtype, "tz", None) for series in (old, new)]
    kinds = {getattr(series.dtype, "kind", "") for series in (old, new)}
    return kinds in ({"M"}, {"m"}) and zones[0] == zones[1]


def _nulls(rows: int, like: pd.Series) -> pd.Series:
    """Return a column of nulls with the dtype of another."""
    if like.dtype == object:
        return pd.Series([None] * rows, dtype=object)
    return like.iloc[:0].reindex(range(rows))
