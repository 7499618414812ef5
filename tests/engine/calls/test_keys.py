"""Inputs of calls: equal values give equal hashes, everything else another one."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.engine.calls.keys import (
    RowInputs,
    RunningNumbers,
    UnhashableArgumentError,
    frame_digest,
    hash_values,
    row_digest,
    rows_inputs,
    running_numbers,
)

DIFFERENT = [
    None,
    False,
    True,
    0,
    1,
    1.0,
    "1",
    "",
    "None",
    b"1",
    [],
    [1],
    [1.0],
    [[1]],
    {},
    {"a": 1},
    {"a": 1.0},
    {1: "a"},
    {"1": "a"},
    {"$int": "0x1"},
    float("inf"),
    2**70,
    Decimal(1),
    dt.date(2026, 1, 5),
    dt.datetime(2026, 1, 5, tzinfo=dt.UTC),
    dt.timedelta(1),
    pd.Timestamp("2026-01-05"),
    np.int64(1),
    "é",
    "\ud83d",
    pd.DataFrame({"a": [1]}),
    pd.DataFrame({"a": [1.0]}),
    pd.DataFrame({"b": [1]}),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"a": [1]}, index=[7]),
    [pd.DataFrame({"a": [1]})],
]


@pytest.mark.parametrize("one", range(len(DIFFERENT)))
def test_values_that_differ_have_another_hash(one):
    hashes = [hash_values({"x": value}) for value in DIFFERENT]
    assert hashes.count(hashes[one]) == 1


def test_the_name_of_an_argument_counts():
    assert hash_values({"x": 1}) != hash_values({"y": 1})


def test_the_order_of_arguments_and_keys_does_not():
    one = hash_values({"x": 1, "y": {"a": 1, "b": [2]}})
    assert one == hash_values({"y": {"b": [2], "a": 1}, "x": 1})


def test_text_and_number_do_not_run_into_each_other():
    assert hash_values({"x": "a", "y": "bc"}) != hash_values({"x": "ab", "y": "c"})
    assert hash_values({"x": ["a", "bc"]}) != hash_values({"x": ["ab", "c"]})


def test_a_dataframe_counts_by_its_values():
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": ["x", "y"]})
    assert frame_digest(frame) == frame_digest(frame.copy())
    assert frame_digest(frame) != frame_digest(frame[["b", "a"]])
    assert frame_digest(frame.iloc[1:]) != frame_digest(frame.iloc[1:].reset_index(drop=True))


def test_paths_of_files_count_as_what_stands_for_them():
    def same(text: str) -> str:
        return text.replace("/here/", "/there/")

    assert hash_values({"x": "/here/a"}, same) == hash_values({"x": "/there/a"}, same)
    assert hash_values({"x": ["/here/a"]}, same) == hash_values({"x": ["/there/a"]}, same)
    assert hash_values({"x": "/here/a"}) != hash_values({"x": "/there/a"})


def test_an_argument_that_cannot_be_compared_is_told():
    with pytest.raises(UnhashableArgumentError):
        hash_values({"x": object()})
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(UnhashableArgumentError):
        hash_values({"x": endless})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_two_hashes_are_equal_exactly_when_the_values_are(one, other):
    def shape(value: object) -> object:
        if isinstance(value, list):
            return ["list", *map(shape, value)]
        if isinstance(value, dict):
            return ["dict", *sorted(([key, repr(shape(item))] for key, item in value.items()))]
        return repr(value)

    assert (hash_values({"x": one}) == hash_values({"x": other})) == (shape(one) == shape(other))


def test_every_process_hashes_alike():
    text = (
        "from tablevault.engine.calls.keys import hash_values;"
        "print(hash_values({'x': {'b': {1, 'a', (2,)}, 'a': 'é'}}).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", text],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_rows_have_the_digest_of_their_key():
    one, other, again = map(row_digest, [("a", 1), ("a", 2), ("a", 1)])
    assert one == again != other
    assert row_digest((None,)) != row_digest(("",))
    assert len({*map(row_digest, [(1,), (1.0,), ("1",), (True,), (dt.date(2026, 1, 1),)])}) == 5


def test_calls_with_equal_arguments_are_numbered():
    numbers = RunningNumbers()
    assert numbers.next(b"a") != numbers.next(b"a")
    assert RunningNumbers().next(b"a") == RunningNumbers().next(b"b")


ARGUMENTS = st.lists(
    st.sampled_from([b"0123456789", b"012345678\0", b"\0" * 10, b"\0" * 9 + b"1"]), max_size=12
)


@given(ARGUMENTS)
def test_many_calls_are_numbered_as_one_after_the_other(arguments):
    numbers = RunningNumbers()
    expected = [each + numbers.next(each) for each in arguments]
    array = np.array(arguments, dtype="S10")
    made = RowInputs(rows_inputs(array, running_numbers(array)), np.ones(len(arguments), np.bool_))
    assert [made[row] for row in range(len(arguments))] == expected


def test_inputs_of_a_row_are_known_or_none():
    inputs = RowInputs(b"abcd" * 3, np.array([True, False, True]))
    assert [inputs.get(row) for row in range(4)] == [b"abcd", None, b"abcd", None]
    assert RowInputs().get(0) is None


@dataclass
class Point:
    x: int


@dataclass
class Size:
    x: int


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


def test_an_object_counts_by_its_class_and_fields():
    values = [Point(1), Size(1), Point(2), {"x": 1}, Level.LOW, Level.HIGH, 1, "LOW", [Point(1)]]
    hashes = [hash_values({"a": value}) for value in values]
    assert len(set(hashes)) == len(values)
    assert hash_values({"a": Point(1)}) == hashes[0]
    with pytest.raises(UnhashableArgumentError):
        hash_values({"a": Point(object())})


# Literal values: who changes one of them has every call of every vault made again.
GOLDEN = {
    "4ae4acf2f802f6f5210f": {},
    "9fe5c4c30133ad1ae1d3": {"n": 1, "text": "ä", "x": 1.5, "y": None, "b": True},
    "3facb5d26f0afc2b3c5f": {"a": [1, (2,)], "d": {"k": {1, 2}}},
    "da9908768d1eb5271a2c": {"day": dt.date(2026, 1, 5), "m": Decimal("1.10"), "b": b"x"},
    "d3a2b0e826cca7fc1f5f": {"big": 2**70, "nan": float("nan")},
    "12f2d091f8199c93096e": {
        "f": pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": pd.array(["x", "y"], "string")})
    },
    "ac1d981ac541addfc6d5": {"point": Point(1), "level": Level.LOW},
}
GOLDEN_ROWS = {
    "2204915fb477f654": ("a", 1),
    "ec076fd03f090b87": ("b", None),
    "5ccffcd108f5645f": (float("nan"),),
    "e7af06687d5e78aa": (dt.date(2026, 1, 5),),
    "71857576257465c7": (),
}


@pytest.mark.parametrize("digest", GOLDEN)
def test_keys_of_arguments_never_change(digest):
    assert hash_values(GOLDEN[digest]).hex() == digest


def test_keys_of_rows_never_change():
    assert [row_digest(key).hex() for key in GOLDEN_ROWS.values()] == list(GOLDEN_ROWS)
    assert hash_values({"n": 1}, seed=b"seed").hex() == "07c10e51583609450796"
    assert RunningNumbers().next(b"any").hex() == "0000000000000000"
