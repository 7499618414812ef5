"""Rows of two versions of a table are matched by their key, or by place and values."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault.engine.matching import match_rows


def frame(keys):
    columns = {"k": pd.array(list(keys), "string"), "n": pd.array(list(map(ord, keys)), "Int64")}
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("keys", "key", "rows"),
    [
        ("xabc", ["k"], [-1, 0, 1, 2]),
        ("ca", ["k"], [2, 0]),
        ("cxa", ["k", "n"], [2, -1, 0]),
        ("cba", ["n"], [2, 1, 0]),
        ("abxc", [], [0, 1, -1, -1]),
        ("ab", ["new"], [-1, -1]),
    ],
)
def test_rows_are_matched(keys, key, rows):
    assert match_rows(frame(keys), frame("abc"), key).tolist() == rows


@pytest.mark.parametrize("old", [frame("aab"), frame("abc").astype({"k": object})])
def test_keys_that_are_not_unique_or_of_another_dtype_match_nothing(old):
    assert match_rows(frame("abc"), old, ["k"]).tolist() == [-1, -1, -1]
