"""Columns of random text."""

from __future__ import annotations

import pandas as pd

from tablevault.engine.functions import random_string


def test_random_text_has_twenty_letters_and_digits():
    text = random_string.random_row_string(["a"])
    assert len(text) == 20
    assert text.isalnum()
    assert text.isascii()


def test_a_row_of_several_columns_is_a_list():
    assert [len(text) for text in random_string.random_row_string(["a", "b"])] == [20, 20]


def test_frames_and_generators_have_a_row_for_each_row():
    df = pd.DataFrame({"x": [1, 2, 3]})
    frame = random_string.random_column_string(df=df, column_names=["a", "b"], other=1)
    assert list(frame.columns) == ["a", "b"]
    assert len(frame) == 3
    assert len(list(random_string.random_gen_string(["a"], df, other=1))) == 3


def test_a_seed_gives_the_same_text():
    df = pd.DataFrame({"x": [1, 2]})
    first = list(random_string.random_gen_string(["a", "b"], df, seed=7))
    assert first == list(random_string.random_gen_string(["a", "b"], df, seed=7))
    assert first != list(random_string.random_gen_string(["a", "b"], df, seed=8))
    assert random_string.random_row_string(["a"], seed=1) == random_string.random_row_string(
        ["a"], seed=1
    )
