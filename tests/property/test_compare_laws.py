"""Laws of comparing frames: the difference, done to the old frame, makes the new one."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tablevault.frames.frame_diff import compare_frames
from tablevault.frames.parquet import FrameColumns, write_frame

pytestmark = pytest.mark.property

INTS = st.one_of(st.none(), st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]))
FLOATS = st.sampled_from([None, 0.0, -0.0, 1.5, float("inf")])
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "\0", "é\n"]))
LISTS = st.one_of(st.none(), st.lists(st.sampled_from([0, 1]), max_size=2))


def frame_of(rows):
    parts = zip(*rows, strict=True) if rows else ([],) * 4
    ints, floats, texts, lists = map(list, parts)
    objects = np.empty(len(lists), dtype=object)
    objects[:] = lists
    return pd.DataFrame(
        {
            "i": pd.array(ints, dtype="Int64"),
            "f": pd.array(floats, dtype="Float64"),
            "t": pd.array(texts, dtype="string"),
            "o": pd.Series(objects, dtype=object),
        }
    )


ROWS = st.lists(st.tuples(INTS, FLOATS, TEXTS, LISTS), max_size=12)


@st.composite
def edited(draw):
    """Draw rows, and what is left of them after some edits."""
    old = draw(ROWS)
    new = list(old)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(new)))
        row = draw(st.tuples(INTS, FLOATS, TEXTS, LISTS))
        match draw(st.sampled_from(["insert", "delete", "change", "replace"])):
            case "insert":
                new.insert(place, row)
            case "delete":
                del new[place : place + 1]
            case "change" if place < len(new):
                new[place] = (row[0], *new[place][1:])
            case "replace" if place < len(new):
                new[place] = row
            case _:
                pass
    return old, new


def stored(folder, name, frame):
    sink = io.BytesIO()
    written = write_frame(frame, sink)
    (folder / name).write_bytes(sink.getvalue())
    return FrameColumns(folder / name), written.digest


def applied(old, diff):
    """Do to the old frame what the difference says; keyed by row where there is no key."""
    rows = {}
    gone = set(diff.removed.index)
    kept = [row for row in range(len(old)) if row not in gone]
    free = [row for row in range(diff.new.rows) if row not in set(diff.added.index)]
    assert len(kept) == len(free)
    for before, after in zip(kept, free, strict=True):
        rows[after] = [old.iloc[before, place] for place in range(old.shape[1])]
    for after, *values in diff.added.itertuples():
        rows[after] = values
    for after, column, _, value in diff.changed.itertuples():
        rows[after][list(old.columns).index(column)] = value
    return frame_of([tuple(rows[row]) for row in sorted(rows)])


def content(frame):
    """Format a frame so that null, NaN and both zeros are four things."""
    return [tuple(map(spelled, row)) for row in frame.itertuples(index=False)]


def spelled(value):
    """Format one value."""
    return "null" if value is None or value is pd.NA else repr(value)


@settings(max_examples=50)
@given(edited())
def test_a_difference_done_to_the_old_frame_makes_the_new_one(case):
    old, new = map(frame_of, case)
    with tempfile.TemporaryDirectory() as folder:
        (one, digest), (other, its) = (
            stored(Path(folder), name, frame) for name, frame in (("a", old), ("b", new))
        )
        diff = compare_frames(one, other)
        assert diff.is_empty == (digest == its)
        if not diff.is_reordered:
            assert content(applied(old, diff)) == content(new)
        else:
            # Other rows are told by position; those in both are the same rows, somewhere.
            removed = content(diff.removed)
            added = content(diff.added)
            assert len(old) - len(removed) == len(new) - len(added)
        for _, _, before, after in diff.changed.itertuples():
            assert spelled(before) != spelled(after)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 9), FLOATS, TEXTS, LISTS), unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.integers(0, 9), FLOATS, TEXTS, LISTS), unique_by=lambda row: row[0]),
)
def test_with_a_key_rows_are_what_their_key_says(old_rows, new_rows):
    old, new = frame_of(old_rows), frame_of(new_rows)
    before, after = ({row[0]: row for row in rows} for rows in (old_rows, new_rows))
    with tempfile.TemporaryDirectory() as folder:
        (one, _), (other, _) = (
            stored(Path(folder), name, frame) for name, frame in (("a", old), ("b", new))
        )
        diff = compare_frames(one, other, ["i"])
        assert diff.key == ("i",)
        assert set(diff.added["i"]) == set(after) - set(before)
        assert set(diff.removed["i"]) == set(before) - set(after)
        told = {(key, column) for key, column, _, _ in diff.changed.itertuples()}
        expected = {
            (key, name)
            for key in set(before) & set(after)
            for name, one_cell, other_cell in zip(
                "fto", before[key][1:], after[key][1:], strict=True
            )
            if repr(one_cell) != repr(other_cell)
        }
        assert told == expected


@settings(max_examples=25)
@given(ROWS, st.randoms())
def test_the_same_rows_in_another_order_are_no_new_rows(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        (one, digest), (other, its) = (
            stored(Path(folder), name, frame_of(each))
            for name, each in (("a", rows), ("b", shuffled))
        )
        diff = compare_frames(one, other)
        assert (len(diff.added), len(diff.removed), len(diff.changed)) == (0, 0, 0)
        assert diff.is_empty == (digest == its)
