"""A frame comes back from its file as it was; what is no such file is said to be none."""

from __future__ import annotations

import datetime as dt
import io
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tablevault.errors import TVArgumentError, TVFormatError, TVTableError
from tablevault.frames.parquet import read_frame, write_frame
from tests.frames.columns import COLUMNS, array_of, check_same, content, write


def test_the_index_is_not_written(tmp_path: Path) -> None:
    write(pd.DataFrame({"a": [1, 2]}, index=[7, 9]), tmp_path / "f")
    assert read_frame(tmp_path / "f").index.equals(pd.RangeIndex(2))


NAMES = ["", "a.b", "a", "ü\n\t", "\0x", "\U0001f600", "index", "l.list.element", "c.real"]


def test_any_text_is_a_name(tmp_path: Path) -> None:
    frame = pd.DataFrame([range(len(NAMES))], columns=NAMES)
    frame["l"] = pd.Series([[1]], dtype=object)
    frame["c"] = [1j]
    write(frame, tmp_path / "f")
    check_same(read_frame(tmp_path / "f"), frame)
    for name in map(str, frame):
        for rows in (None, 1):
            check_same(read_frame(tmp_path / "f", columns=[name], rows=rows), frame[[name]])


@pytest.mark.parametrize(
    "columns",
    [[], ["a", "a"], [1], pd.MultiIndex.from_tuples([("a", "b")]), pd.Index(["\ud800"], dtype="O")],
    ids=["none", "twice", "number", "levels", "surrogate"],
)
def test_names_that_no_file_can_hold_are_refused(columns: Any) -> None:
    frame = pd.DataFrame([[1] * len(columns)], columns=columns)
    with pytest.raises(TVArgumentError):
        write_frame(frame, io.BytesIO())


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1]})
    write(frame, tmp_path / "f")
    check_same(read_frame(tmp_path / "f", columns=["c", "a"]), frame[["c", "a"]])
    check_same(read_frame(tmp_path / "f", columns=["b"], rows=1), frame[["b"]].iloc[:1])
    assert read_frame(tmp_path / "f", columns=[]).shape == (2, 0)


def test_an_unknown_column_lists_those_there_are(tmp_path: Path) -> None:
    write(pd.DataFrame({"price": [1], "name": ["x"]}), tmp_path / "f")
    with pytest.raises(TVTableError, match=r'Did you mean "price".*"price", "name"'):
        read_frame(tmp_path / "f", columns=["prize"])


def test_a_column_asked_for_twice_and_negative_rows_are_refused(tmp_path: Path) -> None:
    write(pd.DataFrame({"a": [1]}), tmp_path / "f")
    with pytest.raises(TVTableError, match="twice"):
        read_frame(tmp_path / "f", columns=["a", "a"])
    with pytest.raises(TVTableError, match="-1 rows"):
        read_frame(tmp_path / "f", rows=-1)


def test_rows_beyond_a_batch_and_a_group_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tablevault.frames.parquet._ROWS_PER_GROUP", 10)
    monkeypatch.setattr("tablevault.frames.parquet._ROWS_PER_BATCH", 7)
    kinds = pd.Categorical([f"k{n % 13}" for n in range(35)])
    frame = pd.DataFrame({"a": range(35), "k": kinds, "l": [[n] for n in range(35)]})
    write(frame, tmp_path / "f")
    assert pq.ParquetFile(tmp_path / "f").num_row_groups == 4
    for rows in (0, 1, 7, 10, 11, 34, 35, 36, 10**20, None):
        check_same(read_frame(tmp_path / "f", rows=rows), frame.iloc[:rows])


def test_a_result_may_be_changed(tmp_path: Path) -> None:
    frame = pd.DataFrame({name: pd.Series(values) for name, values in COLUMNS.items()})
    write(frame, tmp_path / "f")
    found: Any = read_frame(tmp_path / "f")
    for name in found:
        if not isinstance(found[name].dtype, pd.ArrowDtype):  # pandas cannot set lists in these
            found.loc[0, name] = found.loc[2, name]
    assert read_frame(tmp_path / "f")["int64"].tolist() == [1, 0, 3]


def test_writing_leaves_frame_and_sink_to_the_caller() -> None:
    frame = pd.DataFrame({name: pd.Series(values) for name, values in COLUMNS.items()})
    before = frame.copy(deep=True)
    sink = io.BytesIO()
    write_frame(frame, sink)
    assert not sink.closed
    check_same(frame, before)


def test_an_error_of_the_sink_goes_through(capfd: pytest.CaptureFixture[str]) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    sink = Full()
    with pytest.raises(OSError, match="No space left"):
        write_frame(pd.DataFrame({"a": [1]}), sink)
    assert not sink.closed
    assert not capfd.readouterr().err


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("accepted", [100_000, 1_500_000])
def test_a_sink_that_fails_within_a_column_does_not_end_the_process(
    failure: BaseException, accepted: int
) -> None:
    class Filling(io.BytesIO):
        def write(self, data: Any, /) -> int:
            if self.tell() > accepted:
                raise failure
            return super().write(data)

    noise = np.random.default_rng(0).random(300_000)
    with pytest.raises(type(failure)) as caught:
        write_frame(pd.DataFrame({"a": noise}), Filling())
    assert caught.value is failure


def test_facts_larger_than_one_entry_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tablevault.frames.parquet._PART", 100)
    frame = pd.DataFrame({"k": pd.Categorical([f"k{n}" for n in range(50)])})
    write(frame, tmp_path / "f")
    check_same(read_frame(tmp_path / "f"), frame)
    assert max(map(len, pq.read_metadata(tmp_path / "f").metadata.values())) < 500


def test_a_file_that_pyarrow_made_from_ours_is_foreign(tmp_path: Path) -> None:
    write(pd.DataFrame({"a": [1, 2], "k": pd.Categorical(["x", "y"])}), tmp_path / "f")
    pq.write_table(pq.read_table(tmp_path / "f").drop_columns(["a"]), tmp_path / "g")
    assert read_frame(tmp_path / "g")["k"].tolist() == ["x", "y"]


def test_a_thousand_columns_come_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({f"c{n}": [n, n, n] for n in range(1000)})
    write(frame, tmp_path / "f")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "f"), frame)


def test_stock_readers_see_plain_values(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "s": array_of(["a", None], "string"),
            "k": pd.Categorical(["x", "y"], categories=["z", "y", "x"]),
            "o": pd.Series([{"a": 1}, None], dtype=object),
            "t": pd.Series(np.array([0, 1], "M8[s]")),
        }
    )
    write(frame, tmp_path / "f")
    table = pq.read_table(tmp_path / "f")
    assert table["s"].to_pylist() == ["a", None]
    assert table["k"].to_pylist() == ["x", "y"]
    assert table["o"].to_pylist() == ['{"a":1}', None]
    assert table["t"].to_pylist()[1] == dt.datetime(1970, 1, 1, 0, 0, 1)  # noqa: DTZ001 - naive


def test_a_foreign_file_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"])
    pq.write_table(table, tmp_path / "f")
    with pytest.raises(TVTableError, match="two columns"):
        read_frame(tmp_path / "f")


DAMAGED = pd.DataFrame(
    {
        "a": [1, 2],
        "k": pd.Categorical(["x", "y"]),
        "o": pd.Series([[1], {"a": 1}], dtype=object),
        "z": pd.date_range("2020", periods=2, tz="Europe/Berlin"),
    }
)


def test_a_file_cut_anywhere_is_said_to_be_damaged(tmp_path: Path) -> None:
    whole = content(DAMAGED)
    for size in (*range(0, len(whole), 29), len(whole) - 1):
        (tmp_path / "f").write_bytes(whole[:size])
        with pytest.raises(TVTableError, match="cannot be read as a dataframe file"):
            read_frame(tmp_path / "f")


def test_a_changed_byte_is_an_error_or_harmless(tmp_path: Path) -> None:
    whole = content(DAMAGED)
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (tmp_path / "f").write_bytes(changed)
        with suppress(TVTableError, TVFormatError):
            read_frame(tmp_path / "f")


def test_a_changed_value_is_an_error(tmp_path: Path) -> None:
    whole = bytearray(content(pd.DataFrame({"a": np.arange(1000) ** 3})))
    whole[len(whole) // 4] ^= 1
    (tmp_path / "f").write_bytes(whole)
    with pytest.raises(TVTableError, match="damaged"):
        read_frame(tmp_path / "f")


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_what_is_no_parquet_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    if kind == "text":
        path.write_text("a,b\n1,2\n")
    with pytest.raises(TVTableError, match=kind):
        read_frame(path)


def test_a_file_of_a_newer_version_is_said_to_be_one(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({"tablevault": '{"version": 2}'})
    pq.write_table(table, tmp_path / "f")
    with pytest.raises(TVFormatError, match="version 2"):
        read_frame(tmp_path / "f")


def test_the_digest_does_not_hang_on_storage_or_index(tmp_path: Path) -> None:
    frames = [
        pd.DataFrame({"s": array_of(["a", None], f"string[{storage}]")}, index=index)
        for storage, index in (("python", [0, 1]), ("pyarrow", [5, 6]))
    ]
    one, two = (write(frame, tmp_path / "f") for frame in frames)
    assert one == two


AS_WRITTEN = {
    "Int64": array_of([1, None, 2**60 + 1], "Int64"),
    "UInt8": array_of([1, None, 2], "UInt8"),
    "Float32": array_of([1.5, None, 2], "Float32"),
    "Float64": array_of([1.5, None, 2], "Float64"),
    "boolean": array_of([True, None, False], "boolean"),
    "string": array_of(["a", None, "b"], "string"),
    "int64": np.array([1, 2, 3]),
    "float64": np.array([1.5, np.nan, 3]),
    "bool": np.array([True, False, True]),
    "category": pd.Categorical(["b", "a", None], categories=["z", "b", "a"]),
    "ordered": pd.Categorical(["hi", "lo", None], categories=["lo", "mid", "hi"], ordered=True),
    "ns": np.array(["2026-01-05", "NaT", "2026-01-06"], "M8[ns]"),
    "UTC": pd.DatetimeIndex(["2026-01-05", None, "2026-01-06"], tz=dt.UTC).array,
    "offset": pd.DatetimeIndex(
        ["2026-01-05", None, "2026-01-06"], tz=dt.timezone(dt.timedelta(hours=2))
    ).array,
    "timedelta": np.array([1, 2, 3], "m8[us]"),
    "period": pd.PeriodIndex(["2026-01", None, "2026-02"], freq="M").array,
    "arrow": array_of([1, None, 2], "int64[pyarrow]"),
    "lists": pd.Series([[1], None, [2]], dtype=object).array,
    "dates": pd.Series([dt.date(2026, 1, 5), None, None], dtype=object).array,
}


@pytest.mark.parametrize("kind", AS_WRITTEN)
def test_pandas_alone_reads_the_dtypes_that_were_written(kind, tmp_path):
    frame = pd.DataFrame({"c": pd.Series(AS_WRITTEN[kind])})
    path = tmp_path / "f.parquet"
    write(frame, path)
    found = pd.read_parquet(path)["c"]
    assert found.dtype == read_frame(path)["c"].dtype
    assert found.isna().tolist() == frame["c"].isna().tolist()
    if kind == "Int64":
        assert int(found[2]) == 2**60 + 1


@pytest.mark.parametrize("kind", AS_WRITTEN)
def test_other_programs_read_what_pandas_is_told_about(kind, tmp_path):
    import duckdb
    import polars as pl

    path = tmp_path / "f.parquet"
    write(pd.DataFrame({"c": pd.Series(AS_WRITTEN[kind])}), path)
    assert pl.read_parquet(path).height == 3
    assert len(duckdb.sql(f"FROM '{path}'").fetchall()) == 3


def test_pandas_rounds_no_whole_number_in_objects_or_categories(tmp_path):
    frame = pd.DataFrame({"o": pd.Series([2**60 + 1, None, 1], dtype=object)})
    frame["c"] = pd.Categorical.from_codes([1, -1, 0], categories=[1, 2**60 + 1])
    path = tmp_path / "f.parquet"
    write(frame, path)
    found = pd.read_parquet(path)
    assert [int(found[name][0]) for name in ("o", "c")] == [2**60 + 1] * 2


def test_pandas_needs_no_tablevault_to_read_names_of_artifacts(tmp_path):
    path = tmp_path / "f.parquet"
    write(pd.DataFrame({"c": pd.Series(["a", None], dtype="artifact_string")}), path)
    code = f"import pandas; print(pandas.read_parquet({str(path)!r})['c'].dtype)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "string\n"


@pytest.mark.parametrize("names", [["index"], ["index", "level_0"], ["__index_level_0__", "row"]])
def test_a_column_may_be_called_index(names, tmp_path):
    frame = pd.DataFrame({name: [20, 10] for name in names})
    path = tmp_path / "f.parquet"
    write(frame, path)
    for found in (read_frame(path), pd.read_parquet(path)):
        pd.testing.assert_frame_equal(found, frame)
