"""Laws of dataframe files: what is written is read, and its hash hangs on its meaning only."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tablevault.frames.column_encoding import StoredColumn
from tablevault.frames.digest import digest_column
from tablevault.frames.object_columns import decode_objects, encode_objects, objects_of
from tablevault.frames.parquet import read_frame, write_frame
from tablevault.frames.tagged_json import from_json, to_json

array_of: Any = pd.array  # the stubs know few pairs of values and dtype
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.decimals(),
    st.uuids(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.timedeltas(),
    st.complex_numbers(),
    st.sampled_from([pd.NA, pd.NaT]),
)
KEYS = st.one_of(st.text(max_size=4), st.integers(), st.booleans(), st.binary(max_size=4))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=12,
)
ONE_TYPE = st.sampled_from(
    [
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=8),
        st.decimals(places=2),
        st.decimals(),
        st.dates(),
        st.times(),
        st.datetimes(),
        st.timedeltas(),
        st.uuids(),
        st.lists(st.integers() | st.none()),
        st.lists(st.floats()),
        st.lists(TEXT),
        st.lists(st.floats(width=32)).map(lambda v: np.array(v, "f4")),
    ]
)
MISSING = st.sampled_from([None, float("nan"), pd.NA, pd.NaT])


@st.composite
def columns_of_one_type(draw: st.DrawFn) -> list[Any]:
    """Draw a column as people have it: one type, one sort of missing value."""
    missing = draw(MISSING)
    return draw(st.lists(draw(ONE_TYPE) | st.just(missing), max_size=6))


def shape(value: Any) -> Any:
    """Format type and value so that exactly the same values are equal."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return (type(value), *map(shape, value))
    if isinstance(value, dict):
        return (dict, *(shape(pair) for pair in value.items()))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(map(shape, value)))
    return (type(value), repr(value))  # tells -0.0, fold and zone


@pytest.mark.property
@settings(deadline=None)
@given(VALUES)
def test_any_value_comes_back_from_json(value: object) -> None:
    assert shape(from_json(to_json(value))) == shape(value)


@pytest.mark.property
@settings(deadline=None)
@given(columns_of_one_type() | st.lists(VALUES, max_size=5))
def test_any_column_of_objects_comes_back(values: list[Any]) -> None:
    found = decode_objects(encode_objects(objects_of(values), "c"))
    assert [shape(v) for v in found] == [shape(v) for v in values]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Any:
    """Draw a column of any family of dtypes."""

    def many(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    def nullable(values: st.SearchStrategy[Any]) -> list[Any]:
        return many(st.none() | values)

    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    counts = np.array(many(st.integers(-(2**63), 2**63 - 1)), "i8")
    bits = draw(st.sampled_from([8, 16, 32, 64]))
    small = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    families: dict[str, Any] = {
        "int": lambda: np.array(many(small), f"i{bits // 8}"),
        "bool": lambda: np.array(many(st.booleans()), bool),
        "float": lambda: np.array(many(st.floats()), "f8"),
        "complex": lambda: np.array(many(st.complex_numbers()), "c16"),
        "datetime": lambda: counts.view(f"M8[{unit}]"),
        "timedelta": lambda: counts.view(f"m8[{unit}]"),
        "masked": lambda: array_of(nullable(small), f"Int{bits}"),
        "boolean": lambda: array_of(nullable(st.booleans()), "boolean"),
        "floating": lambda: pd.arrays.FloatingArray(
            np.array(many(st.floats()), "f8"), np.array(many(st.booleans()), bool)
        ),
        "string": lambda: array_of(nullable(TEXT), f"string[{draw(STORAGE)}]"),
        "category": lambda: _categorical(draw, nullable(TEXT)),
        "arrow": lambda: array_of(nullable(st.lists(small)), pd.ArrowDtype(pa.list_(pa.int64()))),
        "objects": lambda: pd.Series(objects_of(many(VALUES)), dtype=object),
    }
    return families[draw(st.sampled_from(sorted(families)))]()


STORAGE = st.sampled_from(["python", "pyarrow"])


def _categorical(draw: st.DrawFn, values: list[Any]) -> pd.Categorical:
    """Draw an order of the categories, one of them unused."""
    known = draw(st.permutations(sorted({"unused", *values} - {None})))
    return pd.Categorical(values, categories=known, ordered=draw(st.booleans()))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Draw a frame."""
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    return pd.DataFrame({name: pd.Series(draw(columns(rows))) for name in names})


def content(frame: pd.DataFrame) -> tuple[bytes, str]:
    sink = io.BytesIO()
    return sink.getvalue(), write_frame(frame, sink).digest


def spelled(frame: pd.DataFrame) -> list[Any]:
    """Format a frame so that exactly the same frames are equal."""
    return [
        (name, v.dtype, [shape(item) for item in v.array])
        if v.dtype.kind not in "mM"
        else (name, v.dtype, v.to_numpy().view("i8").tolist())
        for name, v in frame.items()
    ]


@pytest.mark.property
@settings(deadline=None)
@given(frames(), st.integers(0, 6), st.data())
def test_what_is_written_is_read(frame: pd.DataFrame, rows: int, data: st.DataObject) -> None:
    wanted: Any = data.draw(st.permutations(list(frame)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f")
        with path.open("wb") as sink:
            first = write_frame(frame, sink)
        found = read_frame(path)
        part = read_frame(path, columns=wanted, rows=rows)
    assert spelled(found) == spelled(frame)
    assert spelled(part) == spelled(frame[wanted].iloc[:rows])
    assert content(found)[1] == first.digest
    assert content(found) == content(frame)


@pytest.mark.property
@settings(deadline=None)
@given(
    st.sampled_from(
        [
            (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
            (pa.string(), TEXT),
            (pa.bool_(), st.booleans()),
            (pa.float64(), st.floats()),
            (pa.list_(pa.string()), st.lists(TEXT | st.none())),
            (pa.list_(pa.list_(pa.int8())), st.lists(st.lists(st.integers(-9, 9)) | st.none())),
        ]
    ).flatmap(lambda case: st.tuples(st.just(case[0]), st.lists(st.none() | case[1]))),
    st.data(),
)
def test_the_hash_does_not_hang_on_chunks_or_offsets(
    case: tuple[Any, list[Any]], data: st.DataObject
) -> None:
    kind, values = case
    array = pa.array(values, kind)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    parts = [array[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    pieces, whole = (
        digest_column(StoredColumn(form="arrow", array=a), "x")
        for a in (pa.chunked_array(parts, kind), array)
    )
    assert pieces == whole
