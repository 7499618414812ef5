"""Columns of every dtype come back as they were."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.parquet import read_frame, write_frame
from tests.frames.columns import COLUMNS, check_same, content, write


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    column = pd.DataFrame({name: pd.Series(COLUMNS[name])})
    nulls = column.iloc[[1, 1]].reset_index(drop=True)
    for frame in (column, column.iloc[:0], nulls, column.iloc[1:].reset_index(drop=True)):
        write(frame, tmp_path / "f")
        check_same(read_frame(tmp_path / "f"), frame)
        check_same(read_frame(tmp_path / "f", rows=0), frame.iloc[:0])
        check_same(read_frame(tmp_path / "f", rows=1), frame.iloc[:1])


def test_all_columns_come_back_together(tmp_path: Path) -> None:
    frame = pd.DataFrame({name: pd.Series(values) for name, values in COLUMNS.items()})
    file = write(frame, tmp_path / "f")
    check_same(read_frame(tmp_path / "f"), frame)
    assert list(file.dtypes) == list(frame)
    assert file.rows == 3
    assert content(frame) == (tmp_path / "f").read_bytes()


def test_numpy_order_of_bytes_and_strides_do_not_matter(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(6, dtype=">i4")[::2], "t": np.arange(3).astype(">M8[s]")})
    assert write(frame, tmp_path / "f").dtypes == {"a": "int32", "t": "datetime64[s]"}
    assert read_frame(tmp_path / "f")["a"].tolist() == [0, 2, 4]


def test_a_dtype_that_cannot_be_kept_is_refused_by_name() -> None:
    for values in (pd.arrays.SparseArray([1, 0]), np.zeros(1, "g")):
        with pytest.raises(TVTableError, match='Column "c" of dtype') as caught:
            write_frame(pd.DataFrame({"c": values}), io.BytesIO())
        assert caught.value.column == "c"


def test_halves_of_a_surrogate_pair_stay_apart(tmp_path: Path) -> None:
    halves = "\ud83d\ude00"
    for values in ([halves], [{halves: [halves]}], pd.array([halves], pd.StringDtype("python"))):
        frame = pd.DataFrame({"a": pd.Series(values, dtype=getattr(values, "dtype", object))})
        write(frame, tmp_path / "f")
        assert repr(read_frame(tmp_path / "f")["a"].tolist()) == repr(list(values))


def test_a_struct_without_fields_is_refused() -> None:
    values = pd.array([{}], dtype=pd.ArrowDtype(pa.struct([])))
    with pytest.raises(TVTableError, match="Parquet cannot hold"):
        write_frame(pd.DataFrame({"a": values}), io.BytesIO())
