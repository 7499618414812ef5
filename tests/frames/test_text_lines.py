"""Dataframes as lines of text: one line a row, whatever is in it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tablevault.frames import text_lines
from tablevault.frames.parquet import write_frame
from tablevault.frames.text_lines import frame_lines, row_lines


def shown(path: Path, frame: pd.DataFrame) -> list[str]:
    with path.open("wb") as sink:
        write_frame(frame, sink)
    found, more = frame_lines(str(path))
    assert more == 0
    return found


def cells(array: pa.Array) -> list[str]:
    return list(row_lines(pa.RecordBatch.from_arrays([array], ["c"])))


def test_the_columns_come_first_with_the_dtypes_of_the_vault(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": pd.array([1, 2], dtype="Int64"),
            "label": pd.array(["x", None], dtype="string"),
            "kind": pd.Categorical(["u", "v"]),
            "any": pd.Series([{"a": [1, None]}, "text"], dtype=object),
        }
    )
    assert shown(tmp_path / "f", frame) == [
        "# columns: id (Int64), label (string), kind (category), any (object)",
        "# rows: 2",
        '1\tx\tu\t{"a":[1,null]}',
        '2\t\\N\tv\t"text"',
    ]


def test_a_foreign_file_is_shown_with_the_types_of_arrow(tmp_path: Path) -> None:
    table = pa.table({"a": [1], "b": [[{"x": "é"}]], "c": pa.nulls(1)})
    pq.write_table(table, tmp_path / "f")
    found, _ = frame_lines(str(tmp_path / "f"))
    assert found[0] == "# columns: a (int64), b (list<element: struct<x: string>>), c (null)"
    assert found[2] == '1\t[{"x": "é"}]\t\\N'


def test_floats_have_all_their_digits_and_nan_is_no_null(tmp_path: Path) -> None:
    values = pd.array([0.1 + 0.2, 1e300, -0.0, 1.0, None], dtype="Float64")
    plain = np.array([np.nan, np.inf, 5e-324, 2 / 3, 0.0])
    found = shown(tmp_path / "f", pd.DataFrame({"a": values, "b": plain}))
    assert found[2:] == [
        "0.30000000000000004\tnan",
        "1e+300\tinf",
        "-0.0\t5e-324",
        "1.0\t0.6666666666666666",
        "\\N\t0.0",
    ]


def test_a_cell_stays_in_its_cell() -> None:
    texts = ["a\tb\nc\rd", "back\\slash", "\\N", "\x1b[31mred\x07", "\u202eabc\u2028", "", None]
    assert cells(pa.array(texts)) == [
        "a\\tb\\nc\\rd",
        "back\\\\slash",
        "\\\\N",
        "\\x1b[31mred\\x07",
        "\\u202eabc\\u2028",
        "",
        "\\N",
    ]


def test_a_row_is_never_taken_for_a_line_about_the_file() -> None:
    assert cells(pa.array(["# columns: x", "a # b"])) == ["\\# columns: x", "a # b"]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([b"\x00\xff", None]), ["\\\\x00ff", "\\N"]),
        (pa.array([Decimal("1.50"), None]), ["1.50", "\\N"]),
        (
            pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            ["2023-11-14 22:13:20.123456789"],
        ),
        (pa.array([-1], pa.timestamp("ms", "Europe/Oslo")), ["1969-12-31 23:59:59.999Z"]),
        (pa.array([0, 2**62], pa.timestamp("s")), ["1970-01-01 00:00:00", f"{2**62} s"]),
        (pa.array([90, None], pa.duration("us")), ["90 us", "\\N"]),
        (pa.array([dt.date(2024, 2, 29)]), ["2024-02-29"]),
        (pa.array([2**31 - 1], pa.int32()).view(pa.date32()), [str(2**31 - 1)]),
        (pa.array([86_400_000], pa.date64()), ["1970-01-02"]),
        (pa.array([dt.time(1, 2, 3, 4)]), ["01:02:03.000004"]),
        (pa.array([3661], pa.time32("s")), ["01:01:01"]),
        (pa.array(["a", None]).dictionary_encode(), ["a", "\\N"]),
        (pa.array([[1, None], None]), ["[1, null]", "\\N"]),
        (pa.array([[("k", "a\nb")]], pa.map_(pa.string(), pa.string())), ['[["k", "a\\\\nb"]]']),
        (pa.array([{"at": 1}], pa.struct([("at", pa.timestamp("ns"))])), ['{"at": 1}']),
        (pa.array([[2**62]], pa.list_(pa.timestamp("s"))), [f"[{2**62}]"]),
        (pa.array([1.5], pa.float16()), ["1.5"]),
    ],
)
def test_each_type_has_a_text(array: pa.Array, text: list[str]) -> None:
    assert cells(array) == text


def test_what_is_too_much_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    with path.open("wb") as sink:
        write_frame(pd.DataFrame({"a": range(100), "b": ["x" * 100] * 100}), sink)
    monkeypatch.setattr(text_lines, "MOST_ROWS", 7)
    found, more = frame_lines(str(path))
    assert (len(found), found[1], more) == (9, "# rows: 100", 93)
    monkeypatch.setattr(text_lines, "MOST_BYTES", 350)
    assert frame_lines(str(path))[1] == 97
    monkeypatch.setattr(text_lines, "MOST_BYTES", 10)
    assert frame_lines(str(path))[1] == 100


def test_many_columns_show_fewer_rows(tmp_path: Path) -> None:
    path = tmp_path / "f"
    pq.write_table(pa.table({f"c{n}": range(50) for n in range(20_000)}), path)
    found, more = frame_lines(str(path))
    assert len(found) == 22
    assert more == 30


def test_an_empty_dataframe_is_its_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.array([], dtype="string")})
    assert shown(tmp_path / "f", frame) == ["# columns: a (string)", "# rows: 0"]


def test_pandas_and_numpy_are_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    frame = pd.DataFrame(
        {"a": [1.5], "t": pd.to_datetime(["2024-01-01"]), "c": pd.Categorical(["x"])}
    )
    with path.open("wb") as sink:
        write_frame(frame, sink)
    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "from tablevault.frames.text_lines import frame_lines\n"
        "print(frame_lines(sys.argv[1])[0][2])\n"
        "print({'pandas', 'pyarrow.compute', 'pyarrow.parquet'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["1.5\t2024-01-01 00:00:00\tx", "set()"]


def test_of_a_long_cell_the_begin_is_shown_and_a_hash_of_all(tmp_path: Path) -> None:
    texts = ["x" * 5_000, "x" * 4_999 + "y", "x" * text_lines.LONGEST_CELL]
    found = shown(tmp_path / "f", pd.DataFrame({"a": texts, "b": [[0] * 3_000, "z", "z"]}))[2:]
    assert all(len(line) < 2 * text_lines.LONGEST_CELL + 200 for line in found)
    assert found[0].startswith("x" * text_lines.LONGEST_CELL + "... (5000 characters, sha256 ")
    assert found[0].partition("\t")[0] != found[1].partition("\t")[0]
    assert found[2] == "x" * text_lines.LONGEST_CELL + '\t"z"'
