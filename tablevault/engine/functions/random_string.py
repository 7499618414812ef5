"""Columns of random text, to try builders with."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence

import pandas as pd

_LENGTH = 20
_LETTERS = string.ascii_letters + string.digits


def random_column_string(
    df: pd.DataFrame, column_names: Sequence[str], *, seed: int | str | None = None, **_: object
) -> pd.DataFrame:
    """Make a frame with as many rows as `df` and the named columns.

    Parameters
    ----------
    df : DataFrame
        Only its number of rows matters.
    column_names : list of str
        Names of the columns, or one name.
    seed : int or str, optional
        The same seed gives the same text.
    **_ : object
        Anything else is ignored.

    Returns
    -------
    DataFrame
        Text of 20 letters and digits in each cell.
    """
    source = _source(seed)
    names = _names(column_names)
    return pd.DataFrame(
        {name: [_text(source) for _ in range(len(df))] for name in names}, columns=names
    )


def random_row_string(
    column_names: Sequence[str], *, seed: int | str | None = None, **_: object
) -> list[str] | str:
    """Make the values of one row: a text for one column, else a list with one for each.

    A seed makes all rows the same, unless it comes from the row: ``seed: <<self.k[index]>>``.
    """
    source = _source(seed)
    values = [_text(source) for _ in _names(column_names)]
    return values[0] if len(values) == 1 else values


def random_gen_string(
    column_names: Sequence[str],
    df: pd.DataFrame,
    *,
    seed: int | str | None = None,
    **_: object,
) -> Iterator[list[str] | str]:
    """Yield one item for each row of `df`, each as `random_row_string` returns it."""
    source = _source(seed)
    names = _names(column_names)
    for _row in range(len(df)):
        values = [_text(source) for _ in names]
        yield values[0] if len(values) == 1 else values


def _names(column_names: Sequence[str]) -> list[str]:
    """Accept one name for a list of one."""
    return [column_names] if isinstance(column_names, str) else list(column_names)


def _source(seed: int | str | None) -> random.Random:
    """Make a source of its own, so that neither the program nor other builders disturb it."""
    return random.Random(seed)  # noqa: S311 - nothing secret


def _text(source: random.Random) -> str:
    """Make one text."""
    return "".join(source.choices(_LETTERS, k=_LENGTH))
