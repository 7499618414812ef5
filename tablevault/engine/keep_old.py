"""Rows of an earlier instance that stay in front of the new ones: ``keep_old``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tablevault.engine.matching import NEW, match_rows
from tablevault.engine.results import check_key
from tablevault.engine.settle import Job
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.dtypes import dtype_name


def with_old_rows(frame: pd.DataFrame, earlier: pd.DataFrame, index: Job) -> pd.DataFrame:
    """Put earlier rows in front of new ones.

    Parameters
    ----------
    frame, earlier : DataFrame
        What was made, and the earlier instance. Columns go by name; one that `earlier` lacks is
        null in its rows.
    index : Job
        The index builder. With a primary key only rows stay whose key was not made again;
        without one all of them, each time.

    Returns
    -------
    DataFrame
        Columns and dtypes of `frame`, RangeIndex.

    Raises
    ------
    TVTableError
        An earlier value does not fit the dtype that its column has now.
    """
    key = list(index.primary_key)
    stays = np.ones(len(earlier), dtype=np.bool_)
    if key and set(key) <= set(earlier.columns):
        stays = match_rows(_typed(earlier[key], frame), frame[key], key) == NEW
    kept = earlier[[name for name in frame.columns if name in earlier.columns]].loc[stays]
    if not len(kept):
        return frame
    old = _typed(kept.reset_index(drop=True), frame).reindex(columns=frame.columns)
    columns = {}
    for name in frame.columns:
        one = old[name] if name in kept.columns else _nulls(len(old), frame[name])
        columns[name] = pd.concat([one, frame[name]], ignore_index=True).astype(frame[name].dtype)
    joined = pd.DataFrame(columns)
    check_key(joined, index)
    return joined


def _typed(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Give earlier rows the dtypes that their columns have now."""
    made = {}
    for name in rows.columns:
        dtype = frame[name].dtype
        try:
            same = rows[name].dtype == dtype
            made[name] = rows[name] if same else cast(rows[name], dtype_name(dtype))
        except TVTableError as error:
            raise TVTableError(
                f"keep_old: an earlier row does not fit: {error.message}",
                "Declare a dtype that holds old and new values, or leave keep_old out.",
                **error.facts,
            ) from error
    return pd.DataFrame(made, index=rows.index)


def _nulls(rows: int, like: pd.Series) -> pd.Series:
    """Give a column of nulls with the dtype of another."""
    return like.iloc[[]].reindex(range(rows))
