"""The dtype artifact_string as pandas uses it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tablevault.frames.artifact_string import artifact_values, with_folder


@pytest.fixture
def names() -> pd.Series:
    return pd.Series(["a.txt", None, "", "b.txt", "a.txt"], dtype="artifact_string")


def test_elements_are_text_or_missing(names: pd.Series) -> None:
    assert str(names.dtype) == "artifact_string"
    assert names.isna().tolist() == [False, True, False, False, False]
    assert names[1] is pd.NA
    for wrong in (3, b"x", ["x"]):
        with pytest.raises(TypeError):
            pd.Series([wrong], dtype="artifact_string")


def test_equality_is_nullable(names: pd.Series) -> None:
    assert str((names == "a.txt").dtype) == "boolean"
    assert (names == "a.txt").tolist() == [True, pd.NA, False, False, True]
    assert (names != "a.txt").tolist() == [False, pd.NA, True, True, False]
    assert (names == names.copy()).tolist() == [True, pd.NA, True, True, True]


def test_the_usual_operations_work(names: pd.Series) -> None:
    assert names[names == "b.txt"].tolist() == ["b.txt"]
    assert names.unique().dtype == names.dtype
    assert list(names.dropna().unique()) == ["a.txt", "", "b.txt"]
    assert names.take([3, 0]).tolist() == ["b.txt", "a.txt"]
    assert names.reindex([0, 9]).isna().tolist() == [False, True]
    assert pd.concat([names, names]).dtype == names.dtype
    assert names.fillna("x").tolist() == ["a.txt", "x", "", "b.txt", "a.txt"]
    assert names.sort_values().dropna().tolist() == ["", "a.txt", "a.txt", "b.txt"]
    assert str(names.astype("string").dtype) == "string"
    assert names.astype(object)[0] == "a.txt"
    assert "a.txt" in repr(names)
    assert names.value_counts()["a.txt"] == 2
    codes, _ = names.factorize()
    assert codes.tolist() == [0, -1, 1, 2, 0]
    changed = names.copy()
    changed[0] = "c.txt"
    changed.iloc[[1, 2]] = ["d.txt", None]
    assert names[0] == "a.txt"
    assert changed.dropna().tolist() == ["c.txt", "d.txt", "b.txt", "a.txt"]
    with pytest.raises(TypeError):
        changed[0] = 3


def test_arrow_sees_text(names: pd.Series) -> None:
    table = pa.Table.from_pandas(names.to_frame("file"))
    assert table.column("file").to_pylist() == ["a.txt", None, "", "b.txt", "a.txt"]


def test_full_paths_leave_the_frame_alone(names: pd.Series) -> None:
    frame = pd.DataFrame({"file": names, "other": names.astype("string")})
    before = frame.copy()
    full = with_folder(frame, Path("/vault/files"))
    paths = full["file"].tolist()
    assert paths == [f"/vault/files/{n}.txt" if n else "" for n in ("a", "", "", "b", "a")]
    assert str(full["file"].dtype) == "string"
    pd.testing.assert_series_equal(full["other"], frame["other"])
    pd.testing.assert_frame_equal(frame, before)


def test_values_are_listed_once(names: pd.Series) -> None:
    more = pd.Series(["z.txt", "b.txt", None, None, None], dtype="artifact_string")
    assert artifact_values(pd.DataFrame({"a": names, "b": more})) == ["a.txt", "b.txt", "z.txt"]
    assert artifact_values(pd.DataFrame({"a": ["x"]})) == []
