"""Calls inside functions: recorded during an execution, plain calls elsewhere."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

import tablevault
from tablevault import TableVault
from tests.operations.building import row_builders

HEAD = """
import os
import pandas as pd
from tablevault import cached

def pay(what):
    with open({paid!r}, "a") as file:
        file.write(f"{{what}}\\n")

def rows(n):
    return pd.DataFrame({{"id": range(n)}})

"""
ASK = """
@cached
def ask(question):
    pay(question)
    return f"answer to {question}"

def parse(text):
    return text.upper()

def f(id):
    return parse(ask(f"question {id}"))
"""


class Bench:
    """A vault with one module and one table, whose functions note what is paid for."""

    def __init__(self, vault: TableVault, paid: Path) -> None:
        self.vault = vault
        self.paid = paid
        vault.create_table("t")

    def run(self, text: str, *, n=6, options=None, **fields) -> int:
        """Write the module, execute, and give the number of calls."""
        before = self.count()
        self.vault.create_code_module("work", text=HEAD.format(paid=str(self.paid)) + text)
        self.vault.create_instance("t", builders=row_builders(n, **fields))
        self.vault.execute_instance("t", **(options or {}))
        return self.count() - before

    def count(self) -> int:
        return len(self.paid.read_text().splitlines()) if self.paid.exists() else 0

    def x(self):
        return self.vault.get_dataframe("t")[0]["x"].tolist()


@pytest.fixture
def bench(vault, tmp_path):
    return Bench(vault, tmp_path / "paid")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_change_around_it_costs_nothing(bench, threads):
    assert bench.run(ASK, n_threads=threads) == 6
    assert bench.run(ASK.replace("text.upper()", "text.split()[-1]"), n_threads=threads) == 0
    assert bench.x() == [str(n) for n in range(6)]
    assert bench.run(ASK.replace("answer to", "reply to"), n_threads=threads) == 6


def test_equal_arguments_are_asked_once_in_one_execution(bench):
    assert bench.run(ASK.replace('f"question {id}"', '"always the same"')) == 1


def test_its_results_stay_when_the_execution_fails(bench):
    fails = ASK.replace("return text.upper()", "raise ValueError('cannot parse')")
    with pytest.raises(ValueError, match="cannot parse"):
        bench.run(fails)
    assert bench.count() == 1
    assert bench.run(ASK) == 5


def test_a_forced_execution_asks_anew(bench):
    assert bench.run(ASK) == 6
    assert bench.run(ASK, options={"force_execute": True}) == 6


def test_calls_that_are_no_longer_in_memory_are_found_in_the_file(bench, monkeypatch):
    monkeypatch.setattr("tablevault.engine.calls.cached._IN_MEMORY", 1)
    text = ASK.replace("question {id}", "question {id % 3}")
    assert bench.run(text) == 3
    assert bench.run(text, options={"force_execute": True}) == 3


def test_what_it_raises_is_no_result(bench, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    text = ASK.replace(
        "pay(question)", f"pay(question)\n    if os.path.exists({str(flag)!r}): 1 / 0"
    )
    with pytest.raises(ZeroDivisionError):
        bench.run(text)
    flag.unlink()
    assert bench.run(text) == 6


def test_arguments_count_by_value_however_they_are_passed(bench):
    text = ASK.replace('ask(f"question {id}")', 'ask("a") + ask(question="a")')
    assert bench.run(text) == 1


def test_threads_of_the_function_itself_are_recorded_too(bench):
    text = ASK.replace(
        'return parse(ask(f"question {id}"))',
        "from concurrent.futures import ThreadPoolExecutor\n"
        "    with ThreadPoolExecutor(2) as pool:\n"
        '        return parse(list(pool.map(ask, [f"question {id}"]))[0])',
    )
    assert bench.run(text) == 6
    assert bench.run(text.replace("text.upper()", "text.lower()")) == 0


def test_coroutines_are_recorded_too(bench):
    text = ASK.replace("def ask", "async def ask").replace(
        'parse(ask(f"question {id}"))', 'parse(asyncio.run(ask(f"question {id}")))'
    )
    text = "import asyncio\n" + text
    assert bench.run(text) == 6
    assert bench.run(text.replace("text.upper()", "text.lower()")) == 0
    assert bench.x()[1] == "answer to question 1"


def test_what_cannot_be_recorded_is_called_each_time_and_told_once(bench, caplog):
    text = ASK.replace('return f"answer to {question}"', "return [open]").replace(
        "text.upper()", "str(len(text))"
    )
    assert bench.run(text, n=3) == 3
    assert bench.run(text.replace("len(text)", "len(text) + 1"), n=3) == 3
    told = [record for record in caplog.messages if '"work.ask" are not recorded' in record]
    assert len(told) == 2


def test_a_result_may_be_changed_by_who_gets_it(bench):
    text = """
@cached
def ask(n):
    pay(n)
    return {"items": [1]}

def f(id):
    found = ask(7)
    found["items"].append(id)
    return len(found["items"])
"""
    assert bench.run(text) == 1
    assert bench.x() == [2] * 6


def test_outside_of_an_execution_it_is_the_function_itself():
    calls = []

    @tablevault.cached
    def ask(question: str, *, loud: bool = False) -> str:
        """Ask."""
        calls.append(question)
        return question.upper() if loud else question

    assert [ask("a"), ask("a", loud=True), ask("a")] == ["a", "A", "a"]
    assert calls == ["a"] * 3
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")
    assert list(inspect.signature(ask).parameters) == ["question", "loud"]
    with pytest.raises(TypeError, match="missing"):
        ask()


def test_outside_of_an_execution_a_coroutine_is_one():
    @tablevault.cached
    async def ask(question):
        return question

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask("a")) == "a"


def test_a_call_that_hangs_is_made_again(bench):
    hang = "pay(question)\n    if hangs.pop(): threading.Event().wait()"
    text = "import threading\nhangs = [False] * 20 + [True]\n" + ASK.replace("pay(question)", hang)
    bench.run(text, n=1, timeout_s=0.5, retry={"times": 20, "wait_s": 0})
    assert bench.x() == ["ANSWER TO QUESTION 0"]
