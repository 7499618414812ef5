"""The calls of a row-wise builder: their order, and what they see."""

from __future__ import annotations

import asyncio
import threading
import time

import pandas as pd

from tests.engine.builder_texts import index


def test_an_async_function_is_awaited_for_each_row(fill):
    async def call():
        await asyncio.sleep(0)
        return 1

    assert fill(call, return_type="row-wise")["o"].tolist() == [1, 1, 1]


def test_rows_are_called_in_order_and_see_the_rows_before(fill):
    seen = []

    def call(own, row):
        seen.append((row, own))
        return row * 10

    frame = fill(
        call,
        return_type="row-wise",
        arguments="{own: '<<self.o[index::0:3]>>', row: <<self.index>>}",
    )
    assert list(frame["o"]) == [0, 10, 20]
    assert [own[:row] for row, own in seen] == [[], [0], [0, 10]]
    assert all(pd.isna(value) for row, own in seen for value in own[row:])


def test_a_row_wise_index_builder_without_old_rows_makes_none(execute):
    result = execute({"t_index": index(return_type="row-wise")}, {"rows": lambda: 1 / 0})
    assert result.frame.shape == (0, 2)
    assert result.builders[0].calls == 0


def test_threads_work_at_the_same_time_and_give_the_same_rows(fill):
    together = threading.Barrier(3, timeout=100)

    def call(row):
        together.wait()
        time.sleep(0.01 * (3 - row))
        return row

    frame = fill(call, return_type="row-wise", n_threads=3, arguments="{row: <<self.index>>}")
    assert frame["o"].tolist() == [0, 1, 2]


def test_rows_in_threads_do_not_see_each_other(fill):
    seen = []

    def call(own):
        seen.append(own)
        return 1

    fill(call, return_type="row-wise", n_threads=2, arguments="{own: '<<self.o[index::0:3]>>'}")
    assert [[each is pd.NA or each is None for each in own] for own in seen] == [[True] * 3] * 3
