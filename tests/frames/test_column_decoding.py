"""Columns of foreign files, read to the dtypes of pandas."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tablevault.frames.parquet import read_frame


def test_a_foreign_file_is_read_to_nullable_dtypes(tmp_path: Path) -> None:
    table = pa.table(
        {
            "Int32": pa.array([1, None], pa.int32()),
            "UInt8": pa.array([1, None], pa.uint8()),
            "Float64": [1.5, None],
            "boolean": [True, None],
            "string": ["a", None],
            "datetime64[us]": pa.array([1, None], pa.timestamp("us")),
            "datetime64[ns, Europe/Berlin]": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
            "datetime64[us, UTC+05:30]": pa.array([1, 2], pa.timestamp("us", "+05:30")),
            "timedelta64[s]": pa.array([1, None], pa.duration("s")),
            "list<element: int64>[pyarrow]": [[1], None],
            "decimal128(2, 1)[pyarrow]": [Decimal("1.2"), None],
        }
    )
    pq.write_table(table, tmp_path / "f")
    found = read_frame(tmp_path / "f")
    assert [str(dtype) for dtype in found.dtypes] == list(found)
    assert read_frame(tmp_path / "f", rows=1)["Int32"].tolist() == [1]


@pytest.mark.parametrize("zone", ["Evil/../../etc", "/etc/passwd", "nowhere", "+99:99"])
def test_instants_of_a_zone_that_nobody_knows_are_told_in_utc(tmp_path: Path, zone: str) -> None:
    pq.write_table(pa.table({"a": pa.array([1, None], pa.timestamp("us", zone))}), tmp_path / "f")
    frame = read_frame(tmp_path / "f")
    assert frame["a"][0] == pd.Timestamp("1970-01-01 00:00:00.000001Z")
    assert frame.to_string()


def test_the_dictionary_of_a_foreign_file_is_its_values(tmp_path: Path) -> None:
    pq.write_table(pa.table({"d": pa.array(["a", None]).dictionary_encode()}), tmp_path / "f")
    assert read_frame(tmp_path / "f")["d"].dtype == "string"
