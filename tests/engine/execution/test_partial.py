"""An execution that has not ended, as a reader sees it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.calls.call_file import CallSource
from tablevault.engine.calls.ledger import BuilderColumns, Ledger, ReusePolicy
from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.engine.execution.partial import find_run
from tablevault.engine.row_values import encode_values
from tablevault.errors import TVTableError

PARTS = (
    BuilderColumns(name="t_index", columns=("k", "n")),
    BuilderColumns(name="a", columns=("x", "y"), dtypes={"x": "Int8"}),
    BuilderColumns(name="b", columns=("z",)),
    BuilderColumns(name="nothing", columns=()),
)
CODE = b"c" * 16


@pytest.fixture
def store(tmp_path):
    return CallStore(tmp_path / "calls.sqlite")


@pytest.fixture
def ledger(store):
    with Ledger(store, temp="t", process="p", policy=ReusePolicy()) as made:
        made.begin(PARTS)
        yield made


def run_of(store, **frames):
    """Find the execution; `frames` are the instances that can be read, by id."""
    return find_run(store, "t", lambda name: source(name, frames[name]) if name in frames else None)


def source(name, frame=None):
    return CallSource(instance=name, calls=lambda: None, frame=lambda: frame)


def keep(store, builder, *rows, instance="i"):
    """Note that a builder keeps rows of an instance."""
    run = store.execution_of("t")
    store.keep(run[0], builder, [(instance, np.array(rows, dtype=np.int64))])


def call(builder, row, text="[]"):
    return CallRecord(0, builder, row, f"{builder}{row}".encode(), CODE, "ok", text, 0.0, 1.0, None)


def put(ledger, builder, row, *values):
    ledger.add(call(builder, row, encode_values(values)))


@pytest.fixture
def begun(ledger):
    """Let the index builder have ended with four rows."""
    columns = {"k": pd.Series(list("abcd"), dtype="string"), "n": pd.Series([1.5] * 4)}
    ledger.add_frame(call("t_index", NO_ROW), columns)
    ledger.finish("t_index", CODE, ["k", "n"], is_exact=True)
    return ledger


def test_without_an_execution_there_is_nothing(store):
    assert run_of(store) is None
    store.begin("t", "p", forget=False)
    assert run_of(store) is None


def test_before_the_first_row_there_are_columns_only(ledger, store):
    frame = run_of(store).frame()
    assert list(frame.columns) == ["k", "n", "x", "y", "z"]
    assert len(frame) == 0
    assert frame["x"].dtype == "Int8"


def test_an_index_builder_that_runs_has_the_rows_it_made(ledger, store):
    for row in range(3):
        put(ledger, "t_index", row, f"k{row}", row)
    frame = run_of(store).frame()
    assert frame["k"].tolist() == ["k0", "k1", "k2"]
    assert (frame["k"].dtype, frame["n"].dtype) == ("string", "Int64")
    assert frame[["x", "y", "z"]].isna().all(axis=None)
    assert len(frame) == 3


def test_rows_that_are_not_done_are_null(begun, store):
    put(begun, "a", 2, 5, "yes")
    put(begun, "a", 0, None, "no")
    run = run_of(store)
    frame = run.frame()
    assert frame["k"].tolist() == list("abcd")
    assert frame["x"].isna().tolist() == [True, True, False, True]
    assert frame["x"].dtype == "Int8"
    assert frame["y"].fillna("-").tolist() == ["no", "-", "yes", "-"]
    assert isinstance(frame.index, pd.RangeIndex)
    assert run.progress() == {"t_index": 4, "a": 2, "b": 0, "nothing": 0}
    assert run.ended() == ("t_index",)
    begun.finish("nothing", CODE, [], is_exact=True)
    assert run.ended() == ("t_index", "nothing")


def test_a_dataframe_is_as_it_was_returned(begun, store):
    made = {"z": pd.Series([1.5, 2.5, 3.5, None], dtype="Float64")}
    begun.add_frame(call("b", NO_ROW), made)
    frame = run_of(store).frame()
    assert frame["z"].dtype == "Float64"
    assert frame["z"].tolist()[:3] == [1.5, 2.5, 3.5]
    assert run_of(store).progress()["b"] == 4


def test_a_value_that_does_not_fit_is_shown_all_the_same(begun, store):
    put(begun, "a", 0, "no number", 1)
    assert run_of(store).frame()["x"].tolist()[0] == "no number"


def test_rows_of_calls_that_others_made_are_shown(begun, store):
    other = store.begin("other", "q", forget=False)
    store.write(other, [call("elsewhere", 9, encode_values(("found",)))])
    (found,) = store.find([b"elsewhere9"], CODE).values()
    begun.take("b", [(2, found.id)])
    run = run_of(store)
    assert run.frame()["z"].fillna("-").tolist() == ["-", "-", "found", "-"]
    assert run.progress()["b"] == 1


def fail(ledger, builder, row, cost=None):
    record = call(builder, row, None)._replace(outcome="error", error="no", cost=cost)
    ledger.add(record)


def test_rows_that_failed_are_counted_until_they_have_a_result(begun, store):
    for row in (1, 2, 2, 3):
        fail(begun, "a", row)
    put(begun, "a", 3, 5, "yes")
    fail(begun, "b", 2)
    other = store.begin("other", "q", forget=False)
    store.write(other, [call("elsewhere", 9, encode_values(("found",)))])
    (found,) = store.find([b"elsewhere9"], CODE).values()
    begun.take("b", [(2, found.id)])
    assert run_of(store).errors() == {"a": 2}


def test_what_builders_have_cost_is_added_up(begun, store):
    for row in (1, 2):
        fail(begun, "a", row, cost=0.25)
    put(begun, "b", 1, 5)
    begun.flush()
    assert run_of(store).cost() == {"a": 0.5}


def test_some_columns_and_some_rows_can_be_asked_for(begun, store):
    put(begun, "a", 1, 7, "y")
    run = run_of(store)
    frame = run.frame(columns=["y", "k"], rows=2)
    assert list(frame.columns) == ["y", "k"]
    assert frame["k"].tolist() == ["a", "b"]
    assert frame["y"].tolist()[1] == "y"
    assert run.frame(columns=[], rows=0).shape == (0, 0)
    with pytest.raises(TVTableError, match='no column "kk"'):
        run.frame(columns=["kk"])
    with pytest.raises(TVTableError, match="-1 rows"):
        run.frame(rows=-1)


OLD = pd.DataFrame(
    {
        "k": pd.Series(list("dcba"), dtype="string"),
        "n": [4.0, 3.0, 2.0, 1.0],
        "x": pd.Series([40, None, 20, 10], dtype="Int8"),
        "y": pd.Series(["u", "v", None, "w"], dtype="category"),
        "z": pd.to_datetime(["2026-01-04", "2026-01-03", None, "2026-01-01"]),
    }
)


def test_rows_that_are_kept_are_shown_and_counted(begun, store):
    keep(store, "a", 3, -1, 1, -1)
    put(begun, "a", 3, 7, "called")
    run = run_of(store, i=OLD)
    frame = run.frame()
    assert frame["x"].dtype == "Int8"
    assert frame["x"].fillna(0).tolist() == [10, 0, 0, 7]
    assert frame["y"].astype(object).fillna("-").tolist() == ["w", "-", "v", "called"]
    assert run.progress()["a"] == 3
    ((name, (kept,)),) = [each for each in run.kept().items() if each[1]]
    assert (name, kept.rows.tolist()) == ("a", [3, -1, 1, -1])


def test_columns_that_are_kept_whole_have_their_dtypes(begun, store):
    keep(store, "a", 3, 2, 1, 0)
    keep(store, "b", 0, 1, 2, 3)
    frame = run_of(store, i=OLD).frame()
    assert frame[["x", "y"]].equals(OLD[["x", "y"]][::-1].reset_index(drop=True))
    assert frame["z"].equals(OLD["z"])


def test_rows_are_kept_of_several_instances(begun, store):
    keep(store, "b", 0, -1, -1, -1)
    keep(store, "b", -1, 0, -1, 1, instance="j")
    frame = run_of(store, i=OLD.astype({"z": object}), j=pd.DataFrame({"z": ["a", "b"]})).frame()
    assert frame["z"].astype(object).tolist()[1::2] == ["a", "b"]


def test_an_index_builder_that_is_kept_has_its_rows(ledger, store):
    keep(store, "t_index", 0, 1, 2, 3)
    run = run_of(store, i=OLD)
    assert run.frame()["k"].tolist() == list("dcba")
    assert run.progress()["t_index"] == 4


@pytest.mark.parametrize("frames", [{}, {"i": None}, {"i": OLD[["k"]]}, {"i": OLD[:0]}])
def test_rows_of_an_instance_that_is_gone_are_null(begun, store, frames):
    keep(store, "a", 3, -1, 1, -1)
    keep(store, "b", 0, 1, 2, 3)
    put(begun, "a", 3, 7, "called")
    frame = run_of(store, **frames).frame()
    assert frame["x"].fillna(0).tolist() == [0, 0, 0, 7]
    assert frame["z"].isna().all()


def test_a_recorded_call_counts_less_than_a_row_that_is_kept(begun, store):
    put(begun, "a", 1, 7, "before")
    begun.flush()
    keep(store, "a", -1, 1, -1, -1)
    run = run_of(store, i=OLD)
    assert run.frame()["y"].fillna("-").tolist() == ["-", "v", "-", "-"]
    assert run.progress()["a"] == 1


@pytest.mark.parametrize("process", ["p", "q"])
def test_each_attempt_notes_anew_what_it_keeps(begun, store, process):
    keep(store, "a", 3, -1, 1, -1)
    store.begin("t", process, forget=False)
    assert run_of(store, i=OLD).frame()["x"].isna().all()


def test_what_is_kept_goes_with_the_execution(begun, store):
    keep(store, "a", 3, -1, 1, -1)
    number, *_ = store.execution_of("t")
    store.assign(number, "new", {})
    assert store.kept(number, "a") == []
