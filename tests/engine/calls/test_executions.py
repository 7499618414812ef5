"""What executions keep of instances is noted in a few bytes."""

from __future__ import annotations

import numpy as np
import pytest

from tablevault.engine.calls.store import CallStore


@pytest.fixture
def store(tmp_path):
    return CallStore(tmp_path / "calls.sqlite")


@pytest.mark.parametrize("rows", [[], [-1], [0], [5, -1, 4, -1, -1, 1 << 40, 0]])
def test_rows_come_back_as_they_were_noted(store, rows):
    execution = store.begin("t", "p", forget=False)
    store.keep(execution, "b", [("i", np.array(rows, dtype=np.int64))])
    ((instance, noted),) = store.kept(execution, "b")
    assert (instance, noted.tolist(), noted.dtype) == ("i", rows, np.int64)


def test_rows_are_those_of_the_execution_and_the_builder(store):
    first, second = (store.begin(temp, "p", forget=False) for temp in "tu")
    store.keep(first, "b", [("i", np.arange(3)), ("j", np.arange(2))])
    store.keep(second, "b", [("k", np.arange(1))])
    assert [instance for instance, _ in store.kept(first, "b")] == ["i", "j"]
    assert [instance for instance, _ in store.kept(second, "b")] == ["k"]
    assert store.kept(first, "c") == []


@pytest.mark.parametrize("forget", [False, True])
def test_another_attempt_removes_what_was_noted(store, forget):
    execution = store.begin("t", "p", forget=False)
    store.keep(execution, "b", [("i", np.arange(3))])
    store.begin("t", "q", forget=forget)
    assert store.read("SELECT count(*) FROM kept", ()) == [(0,)]


def test_an_execution_whose_table_is_gone_is_swept_with_what_was_noted(store):
    execution = store.begin("t", "p", forget=False)
    store.keep(execution, "b", [("i", np.arange(3))])
    store.sweep([], [], 0.0)
    assert store.read("SELECT count(*) FROM kept", ()) == [(0,)]


def test_neighbours_take_no_space(store):
    execution = store.begin("t", "p", forget=False)
    store.keep(execution, "b", [("i", np.arange(100_000))])
    ((size,),) = store.read("SELECT length(rows) FROM kept", ())
    assert size < 5_000
