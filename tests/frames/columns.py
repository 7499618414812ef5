"""Columns of every dtype, written and compared."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault.frames.artifact_string import ArtifactStringDtype
from tablevault.frames.column_encoding import whole_array
from tablevault.frames.parquet import FrameFile, write_frame

array_of: Any = pd.array  # the stubs know few pairs of values and dtype

PANDAS_3 = not pd.__version__.startswith("2.")

UNITS = ("s", "ms", "us", "ns")

INTS = [f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)]

EXTREMES = np.array([-(2**63) + 1, -(2**63), 2**63 - 1], "i8")


def write(frame: pd.DataFrame, path: Path) -> FrameFile:
    with path.open("wb") as sink:
        return write_frame(frame, sink)


def content(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    write_frame(frame, sink)
    return sink.getvalue()


def _columns() -> dict[str, Any]:
    made: dict[str, Any] = {n: np.array([1, 0, 3], n) for n in (*INTS, "bool")}
    made |= {n: np.array([np.nan, -np.inf, -0.0], n) for n in ("float16", "float32", "float64")}
    made |= {n: np.array([complex(np.nan, -0.0), 1j, 0], n) for n in ("complex64", "complex128")}
    for unit in UNITS:
        instants = np.array([0, "NaT", -5], f"M8[{unit}]")
        made[f"datetime {unit}"] = instants
        made[f"timedelta {unit}"] = np.array([0, "NaT", -5], f"m8[{unit}]")
        made[f"extreme datetime {unit}"] = EXTREMES.view(f"M8[{unit}]")
        made[f"extreme timedelta {unit}"] = EXTREMES.view(f"m8[{unit}]")
        for zone in (ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=5.5)), dt.UTC):
            utc = pd.DatetimeIndex(instants).tz_localize("UTC")
            made[f"zoned {zone} {unit}"] = utc.tz_convert(zone).array
    nullable = [n.replace("i", "I").replace("uI", "UI") for n in INTS]
    made |= {n: array_of([1, None, 0], n) for n in (*nullable, "Float32", "Float64", "boolean")}
    made["nan and NA"] = pd.arrays.FloatingArray(
        np.array([np.nan, 1, 2]), np.array([False, True, False])
    )
    texts: list[Any] = [pd.StringDtype("python"), pd.StringDtype("pyarrow")]
    if PANDAS_3:
        texts += [pd.StringDtype(s, na_value=np.nan) for s in ("python", "pyarrow")]
    else:
        texts += [pd.StringDtype("pyarrow_numpy")]
    made |= {f"text {n}": array_of(["a\0", None, "ü"], t) for n, t in enumerate(texts)}
    made["lone surrogate"] = array_of(["\ud800", None, "a"], pd.StringDtype("python"))
    made["artifact"] = array_of(["a", None, "b"], ArtifactStringDtype())
    for freq in ("D", "M", "Q-NOV", "Y", "2D", "W-SUN", "h", "ns"):
        periods = [pd.Period(ordinal=n, freq=freq) for n in (-5, 7)]
        made[f"period {freq}"] = array_of([periods[0], pd.NaT, periods[1]], f"period[{freq}]")
    spans: Any = pd.arrays.IntervalArray
    made["interval int"] = pd.interval_range(0, 3).array
    made["interval float"] = spans.from_tuples([(0.5, 1), None, (2, 3)], closed="both")
    made["interval zoned"] = spans.from_breaks(pd.date_range("2020", periods=4, tz="Asia/Tokyo"))
    return made | _arrow_columns() | _categories()


def _arrow_columns() -> dict[str, Any]:
    cases: list[tuple[pa.DataType, list[Any]]] = [
        (pa.int64(), [1, None, 2]),
        (pa.bool_(), [True, None, False]),
        (pa.string(), ["a", None, ""]),
        (pa.binary(), [b"a", None, b""]),
        (pa.binary(2), [b"ab", None, b"cd"]),
        (pa.list_(pa.int8()), [[1, None], None, []]),
        (pa.list_(pa.int8(), 2), [[1, None], None, [2, 3]]),
        (pa.large_list(pa.string()), [["a"], None, [None]]),
        (pa.struct([("a", pa.int8()), ("é", pa.string())]), [{"a": 1, "é": "x"}, None, {}]),
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)], None, []]),
        (pa.list_(pa.struct([("x", pa.list_(pa.int8()))])), [[{"x": [1]}], None, [None]]),
        (pa.decimal128(10, 2), [Decimal("1.20"), None, Decimal("0.00")]),
        (pa.decimal256(60, 2), [Decimal("1.20"), None, Decimal("0.00")]),
        (pa.date32(), [dt.date.min, None, dt.date.max]),
        (pa.time32("s"), [1, None, 2]),
        (pa.time64("ns"), [1, None, 2]),
        (pa.duration("s"), [1, None, 2]),
        (pa.timestamp("s"), [-(2**62), None, 2**62]),
        (pa.timestamp("s", "UTC"), [0, None, 1]),
        (pa.timestamp("ns", "Europe/Berlin"), [0, None, 1]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b"]),
        (pa.null(), [None] * 3),
    ]
    extension = pd.arrays.ArrowExtensionArray
    return {f"arrow {t}": extension(pa.chunked_array([pa.array(v, t)])) for t, v in cases}


def _categories() -> dict[str, Any]:
    objects = pd.Index(np.fromiter(["1", 1, (2,)], object), dtype=object)
    indexes = {
        "text": pd.Index(["z", "a", "b"]),
        "string": pd.Index(["z", "a", "b"], dtype="string"),
        "int": pd.Index([3, 1, 2]),
        "Int64": pd.Index([3, 1, 2], dtype="Int64"),
        "float": pd.Index([3.5, 1, 2]),
        "bool": pd.Index([True, False]),
        "objects": objects,
        "decimals": pd.Index([Decimal(1), Decimal("2.0")], dtype=object),
        "zoned": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
        "periods": pd.period_range("2020", periods=3, freq="M"),
        "intervals": pd.interval_range(0, 3)[[2, 0, 1]],
        "timedeltas": pd.to_timedelta([3, 1], unit="s"),
        "none": pd.Index([], dtype=object),
    }
    made: dict[str, Any] = {}
    for name, index in indexes.items():
        codes = [0, -1, 1] if len(index) else [-1] * 3
        for ordered in (False, True):
            dtype = pd.CategoricalDtype(index, ordered=ordered)
            made[f"category {name} {ordered}"] = pd.Categorical.from_codes(codes, dtype=dtype)
    return made


COLUMNS = _columns()


def check_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert list(found) == list(wanted)
    assert list(found.index) == list(range(len(wanted)))
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype
        if isinstance(wanted[name].dtype, pd.ArrowDtype):
            # pandas cannot show every instant that Arrow holds
            one, two = (whole_array(pa.array(f[name].array)) for f in (found, wanted))
            assert one == two
            continue
        assert list(map(repr, found[name])) == list(map(repr, wanted[name]))
        if isinstance(wanted[name].dtype, pd.CategoricalDtype):
            one, two = (frame[name].cat.categories for frame in (found, wanted))
            assert one.dtype == two.dtype
            assert list(map(repr, one)) == list(map(repr, two))
