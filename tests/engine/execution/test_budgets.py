from __future__ import annotations

import pytest

from tablevault.engine.calls.spending import Spent
from tablevault.engine.execution.budgets import BegunCalls


def begin(folder, recorded=None, process="p"):
    begun = BegunCalls(folder)
    return begun, begun.start("version", process, recorded or {})


def test_a_call_that_did_not_end_costs_as_much_as_the_dearest_that_did(tmp_path):
    begun, spent = begin(tmp_path)
    assert spent == {}
    for cost in (0.5, 2.0, 0.5):
        begun.add("b")
        begun.end("b", cost)
    begun.add("b")
    begun.close()  # as a kill leaves it
    again, spent = begin(tmp_path)
    assert spent == {"b": Spent(calls=4, cost=5.0)}
    again.add("b")
    again.close()
    assert begin(tmp_path)[1] == {"b": Spent(calls=5, cost=6.25)}


def test_another_process_begins_anew(tmp_path):
    begun, _ = begin(tmp_path)
    begun.add("b")
    begun.close()
    assert begin(tmp_path, process="q")[1] == {}
    assert begin(tmp_path)[1] == {}


@pytest.mark.parametrize(
    "line", ["b\t1", "b\t1\t1\tx", "b\tnan\t1\t1", "b\t1\tinf\t0", "", "\udcff"]
)
def test_a_line_that_says_nothing_is_passed_over(tmp_path, line):
    begun, _ = begin(tmp_path)
    begun.add("b")
    begun.end("b", 0.25)
    begun.close()
    (file,) = tmp_path.iterdir()
    with file.open("a", encoding="utf-8", errors="surrogateescape") as end:
        end.write(f"{line}\n")
    assert begin(tmp_path)[1] == {"b": Spent(calls=1, cost=0.25)}


def test_records_count_where_they_know_more(tmp_path):
    begun, _ = begin(tmp_path)
    begun.add("b")
    begun.close()
    recorded = {"b": Spent(calls=3, input_tokens=5, cost=2.0), "c": Spent(calls=1)}
    assert begin(tmp_path, recorded)[1] == recorded
