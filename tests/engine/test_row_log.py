"""The append-only file of rows: exact values, whole records, whatever byte a crash left last."""

from __future__ import annotations

import datetime as dt
import enum
import random
import resource
import struct
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.row_log import RowLog, count_rows, read_rows
from tablevault.errors import TVTableError

COLUMNS = ("x", "y")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "b.rows"


def fill(path, rows, columns=COLUMNS, dtypes=None):
    log = RowLog(path, "b", columns, dtypes)
    for row, values in rows.items():
        log.append(row, values)
    log.close()


VALUES = [
    None,
    True,
    0,
    -(2**63),
    2**63,
    2**200,
    1.5,
    0.1 + 0.2,
    float("inf"),
    "",
    "Grüße \n \x00 \U0001f600",
    "\ud83d\ude00",
    "\udc00",
    "$tuple",
    [1, [None, "a"]],
    {"a": {"b": 1}, "$c": 2},
    {1: 2},
    (1, (2,)),
    {1, 2},
    b"\x00\xff",
    Decimal("1.10"),
    dt.date(2024, 2, 29),
    dt.datetime(2024, 2, 29, 1, 2, 3, 4, ZoneInfo("Europe/Oslo")),
    dt.timedelta(days=-1, microseconds=1),
    pd.Timestamp("2024-01-01", tz="UTC"),
    pd.NA,
    pd.NaT,
    np.float32(1.5),
    np.int8(-3),
    np.str_("text"),
    np.datetime64("2024-01-01"),
]


@pytest.mark.parametrize("value", VALUES, ids=[repr(value)[:30] for value in VALUES])
def test_a_value_comes_back_as_it_was(path, value):
    fill(path, {7: (value, 1)})
    kept, one = RowLog(path, "b", COLUMNS).rows[7]
    assert type(kept) is type(value)
    assert kept is value or kept == value
    assert one == 1


def test_not_a_number_and_arrays_come_back_as_they_were(path):
    fill(path, {0: (float("nan"), np.arange(6, dtype="f4").reshape(2, 3))})
    nan, array = read_rows(path, COLUMNS)[0]
    assert nan != nan  # noqa: PLR0124 - that is what NaN is
    assert array.dtype == np.float32
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_row_written_twice_has_its_later_values(path):
    fill(path, {0: (1, 2)})
    fill(path, {0: (3, 4), 1: (5, 6)})
    assert read_rows(path, COLUMNS) == {0: (3, 4), 1: (5, 6)}
    assert count_rows(path) == 2


def test_rows_of_other_columns_are_dropped(path):
    fill(path, {0: (1, 2)})
    assert read_rows(path, ("x", "z")) == {}
    assert RowLog(path, "b", ("y", "x")).rows == {}
    assert read_rows(path, COLUMNS) == {}
    assert count_rows(path) == 0


def test_without_a_file_there_are_no_rows(path):
    assert read_rows(path, COLUMNS) == {}
    assert count_rows(path) == 0


# -- what a crash leaves --------------------------------------------------------------------------


def ends_of_rows(path: Path) -> list[int]:
    """Give the size of the file after its head, and after each row."""
    data, ends, at = path.read_bytes(), [], 0
    while at < len(data):
        at += 16 + struct.unpack_from("<I", data, at)[0]
        ends.append(at)
    return ends


def test_a_file_cut_off_at_any_byte_has_its_whole_rows_and_goes_on(path):
    rows = {0: (1, "one"), 3: (None, {"a": [1.5]}), 1: ("Grüße", b"\x00")}
    fill(path, rows)
    data, ends = path.read_bytes(), ends_of_rows(path)
    assert len(ends) == 4
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        whole = dict(list(rows.items())[: max(0, sum(end <= size for end in ends) - 1)])
        assert read_rows(path, COLUMNS) == whole
        assert count_rows(path) == len(whole)
        log = RowLog(path, "b", COLUMNS)
        assert log.rows == whole
        log.append(9, (9, 9))
        log.close()
        assert read_rows(path, COLUMNS) == {**whole, 9: (9, 9)}


def test_a_file_that_lost_its_last_blocks_has_the_rows_before_them(path):
    fill(path, {row: (row, "x" * 50) for row in range(20)})
    data, ends = path.read_bytes(), ends_of_rows(path)
    for lost in (1, 17, 100, 700):
        path.write_bytes(data[:-lost] + bytes(lost) + bytes(100))
        whole = sum(end <= len(data) - lost for end in ends) - 1
        assert list(read_rows(path, COLUMNS)) == list(range(whole))


def test_a_damaged_byte_ends_the_rows_and_invents_none(path):
    rows = {row: (row, f"text {row}") for row in range(10)}
    fill(path, rows)
    data = path.read_bytes()
    chance = random.Random(5)
    for _ in range(300):
        at = chance.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        found = read_rows(path, COLUMNS)
        assert found.items() <= rows.items()
        assert len(found) < len(rows)


@contextmanager
def room_for(size):
    """Let no file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_clear_error_and_leaves_whole_rows(path):
    log = RowLog(path, "b", COLUMNS)
    log.append(0, (1, 2))
    before = path.read_bytes()
    for more in (0, 1, 15, 16, 17, 25):
        with room_for(len(before) + more), pytest.raises(OSError, match='"b": row 1 was') as caught:
            log.append(1, ("x" * 100, None))
        assert str(path) in str(caught.value)
        assert path.read_bytes() == before
    log.append(1, (3, 4))
    log.close()
    assert read_rows(path, COLUMNS) == {0: (1, 2), 1: (3, 4)}


# -- what cannot be kept --------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Size(enum.IntEnum):
    BIG = 3


def test_a_value_of_a_foreign_type_is_an_error_that_names_it(path):
    log = RowLog(path, "b", COLUMNS)
    with pytest.raises(TVTableError, match=r'"b".*"y" in row 4.*Colour.RED.*\(Colour\)') as caught:
        log.append(4, (1, Colour.RED))
    assert (caught.value.builder, caught.value.row, caught.value.column) == ("b", 4, "y")
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(TVTableError, match="contains itself"):
        log.append(4, (1, circle))
    log.append(4, (1, 2))
    log.close()
    assert read_rows(path, COLUMNS) == {4: (1, 2)}


def test_a_value_of_a_subclass_is_kept_as_the_column_takes_it(path):
    fill(path, {0: (Size.BIG, np.float64(2.0))})
    assert read_rows(path, COLUMNS) == {0: (3, 2.0)}


def test_a_text_column_keeps_what_it_would_hold(path):
    dtypes = {"x": "string", "y": "artifact_string"}
    fill(path, {0: (Colour.RED, Path("a/b.txt"))}, dtypes=dtypes)
    assert read_rows(path, COLUMNS) == {0: ("Colour.RED", "a/b.txt")}
