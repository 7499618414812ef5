"""A run that has not ended, as a reader sees it."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault.engine.checkpoint import FileCheckpoint, Part
from tablevault.engine.partial import find_run
from tablevault.errors import TVTableError

PARTS = (
    Part(name="t_index", columns=("k", "n")),
    Part(name="a", columns=("x", "y"), dtypes={"x": "Int8"}),
    Part(name="b", columns=("z",)),
    Part(name="nothing", columns=()),
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "c"


@pytest.fixture
def kept(folder):
    with FileCheckpoint(folder, "p") as made:
        made.begin(PARTS)
        yield made


@pytest.fixture
def begun(kept):
    """Let the index builder have ended with four rows."""
    kept.finish(
        "t_index", {"k": pd.Series(list("abcd"), dtype="string"), "n": pd.Series([1.5] * 4)}
    )
    return kept


def test_without_a_run_there_is_nothing(folder):
    assert find_run(folder) is None
    with FileCheckpoint(folder, "p"):
        assert find_run(folder) is None


def test_before_the_first_row_there_are_columns_only(kept, folder):
    frame = find_run(folder).frame()
    assert list(frame.columns) == ["k", "n", "x", "y", "z"]
    assert len(frame) == 0
    assert frame["x"].dtype == "Int8"


def test_an_index_builder_that_runs_has_the_rows_it_made(kept, folder):
    for row in range(3):
        kept.append("t_index", row, (f"k{row}", row))
    frame = find_run(folder).frame()
    assert frame["k"].tolist() == ["k0", "k1", "k2"]
    assert (frame["k"].dtype, frame["n"].dtype) == ("string", "Int64")
    assert frame[["x", "y", "z"]].isna().all(axis=None)
    assert len(frame) == 3


def test_rows_that_are_not_done_are_null(begun, folder):
    begun.append("a", 2, (5, "yes"))
    begun.append("a", 0, (None, "no"))
    run = find_run(folder)
    frame = run.frame()
    assert frame["k"].tolist() == list("abcd")
    assert frame["x"].isna().tolist() == [True, True, False, True]
    assert frame["x"].dtype == "Int8"
    assert frame["y"].fillna("-").tolist() == ["no", "-", "yes", "-"]
    assert isinstance(frame.index, pd.RangeIndex)
    assert run.progress() == {"t_index": 4, "a": 2, "b": 0, "nothing": 0}
    assert run.ended() == ("t_index",)
    begun.finish("nothing", {})
    assert run.ended() == ("t_index", "nothing")


def test_columns_of_a_builder_that_ended_are_as_they_are(begun, folder):
    made = {
        "x": pd.Series([1, 2, 3, 4], dtype="Int8"),
        "y": pd.Series(list("wxyz"), dtype="string"),
    }
    begun.finish("a", made)
    frame = find_run(folder).frame()
    assert frame["y"].tolist() == list("wxyz")
    assert frame["y"].dtype == made["y"].dtype


def test_a_value_that_does_not_fit_is_shown_all_the_same(begun, folder):
    begun.append("a", 0, ("no number", 1))
    assert find_run(folder).frame()["x"].tolist()[0] == "no number"


def test_some_columns_and_some_rows_can_be_asked_for(begun, folder):
    begun.append("a", 1, (7, "y"))
    frame = find_run(folder).frame(columns=["y", "k"], rows=2)
    assert list(frame.columns) == ["y", "k"]
    assert frame["k"].tolist() == ["a", "b"]
    assert frame["y"].tolist()[1] == "y"
    assert find_run(folder).frame(columns=[], rows=0).shape == (0, 0)
    with pytest.raises(TVTableError, match='no column "kk"'):
        find_run(folder).frame(columns=["kk"])
    with pytest.raises(TVTableError, match="-1 rows"):
        find_run(folder).frame(rows=-1)


def test_rows_of_an_edited_builder_are_not_shown(begun, folder):
    begun.append("b", 1, (7,))
    begun.close()
    with FileCheckpoint(folder, "p") as again:
        again.begin([*PARTS[:2], Part(name="b", columns=("zz",))])
        assert find_run(folder).frame()["zz"].isna().all()
