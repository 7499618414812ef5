"""Calls inside functions: recorded during an execution, plain calls elsewhere."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pandas as pd
import pytest

import tablevault
from tablevault import TableVault
from tablevault.engine.calls.claims import Claims
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


# -- the same call at the same moment ----------------------------------------------------------


@pytest.fixture
def waiting(monkeypatch):
    """A semaphore that each call releases that is about to wait for an equal one.

    The functions of a vault reach it as `threading.waiting`.
    """
    semaphore = threading.Semaphore(0)
    claim = Claims.claim

    @contextmanager
    def observed(self, inputs, *, may_wait):
        with claim(self, inputs, may_wait=may_wait) as other:
            if other is not None:
                semaphore.release()
            yield other

    monkeypatch.setattr(Claims, "claim", observed)
    monkeypatch.setattr(threading, "waiting", semaphore, raising=False)
    return semaphore


MEET = """
import asyncio, threading

def until_others_wait(others):
    for _ in range(others):
        assert threading.waiting.acquire(timeout=60)

@cached
def ask(question):
    pay(question)
    until_others_wait(3)
    return f"answer to {question}"

@cached
async def ask_async(question):
    pay(question)
    await asyncio.to_thread(until_others_wait, 3)
    return f"answer to {question}"

"""
ASKERS = {
    "threads": "def f(id):\n    return ask('same')",
    "threads of coroutines": "async def f(id):\n    return await asyncio.to_thread(ask, 'same')",
    "coroutines": "async def f(id):\n    return await ask_async('same')",
    "loops": "def f(id):\n    return asyncio.run(ask_async('same'))",
}


@pytest.mark.parametrize("limit", [{}, {"timeout_s": 60}], ids=["without end", "in time"])
@pytest.mark.parametrize("how", ASKERS)
@pytest.mark.usefixtures("waiting")
def test_rows_that_ask_the_same_at_the_same_moment_pay_once(bench, how, limit):
    assert bench.run(MEET + ASKERS[how], n=4, n_threads=4, **limit) == 1
    assert bench.x() == ["answer to same"] * 4


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("how", ["pool.map(ask, ['same'] * 4)", "gathered()"])
def test_so_do_threads_and_coroutines_of_one_row(bench, how):
    text = f"""
from concurrent.futures import ThreadPoolExecutor

def gathered():
    async def gather():
        return await asyncio.gather(*(ask_async("same") for _ in range(4)))
    return asyncio.run(gather())

def f(id):
    with ThreadPoolExecutor(4) as pool:
        return " ".join({how})
"""
    assert bench.run(MEET + text, n=1) == 1
    assert bench.x() == [" ".join(["answer to same"] * 4)]


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("how", ASKERS)
def test_who_waits_reports_no_usage(bench, how):
    text = MEET.replace("    pay(question)\n", "    pay(question)\n    report_usage(cost=2.0)\n")
    text = "from tablevault import report_usage\n" + text
    asked = "@work.ask_async" if "ask_async" in ASKERS[how] else "@work.ask"
    assert bench.run(text + ASKERS[how], n=4, n_threads=4) == 1
    calls = bench.vault.get_calls("t").query("cost > 0")
    assert list(zip(calls["builder"], calls["cost"], strict=True)) == [(asked, 2.0)]


FAIL = MEET.replace("until_others_wait(3)", "fail_once()").replace(
    "await asyncio.to_thread(until_others_wait, 3)", "await asyncio.to_thread(fail_once)"
)


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("how", ASKERS)
def test_after_a_failure_one_of_those_that_wait_calls(bench, how):
    text = """
first = [True]

def fail_once():
    if first and first.pop():
        until_others_wait(3)
        raise ConnectionError("503")

"""
    assert bench.run(FAIL + text + ASKERS[how], n=4, n_threads=4, on_error="keep") == 2
    assert sorted(bench.x(), key=str) == [pd.NA] + ["answer to same"] * 3


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("how", ASKERS)
def test_an_error_is_not_shared(bench, how):
    text = """
left = [1, 2, 3, 4]

def fail_once():
    number = left.pop()
    if number == 4:
        until_others_wait(3)
    raise ConnectionError(f"error {number}")

"""
    assert bench.run(FAIL + text + ASKERS[how], n=4, n_threads=4, on_error="keep") == 4
    errors = bench.vault.get_calls("t").query("builder == 'f'")["error"]
    assert sorted(errors) == [f"ConnectionError: error {number}" for number in range(1, 5)]


@pytest.mark.usefixtures("waiting")
def test_calls_within_calls_pay_once_too(bench):
    text = """
@cached
def outer(question):
    pay(question)
    return ask(question) + "!"

@cached
def count(n):
    pay(n)
    return 1 if n < 2 else count(n - 1) + count(n - 2)

def f(id):
    return f"{outer('same') if id % 2 else ask('same') + '!'} {count(8 - id)}"
"""
    assert bench.run(MEET.replace("until_others_wait(3)", "") + text, n=4, n_threads=4) == 2 + 9
    assert bench.x() == [f"answer to same! {n}" for n in (34, 21, 13, 8)]


@pytest.mark.usefixtures("waiting")
def test_nobody_waits_for_what_cannot_be_recorded(bench):
    text = """
import threading
together, first = threading.Barrier(3), [True]

@cached
def ask(question):
    pay(question)
    if first and first.pop():
        for _ in range(3):
            assert threading.waiting.acquire(timeout=60)
    else:
        together.wait(60)  # those who waited call at the same time
    return open

def f(id):
    return str(ask("same") is open)
"""
    assert bench.run(text, n=4, n_threads=4) == 4
    assert bench.x() == ["True"] * 4


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("how", ["threads", "coroutines"])
def test_an_interrupt_ends_the_wait_and_nobody_calls_again(bench, monkeypatch, how):
    ended = SimpleQueue()
    monkeypatch.setattr(threading, "ended", ended, raising=False)
    interrupt = "\n    os.kill(os.getpid(), signal.SIGINT)\n    "
    text = MEET.replace(
        "until_others_wait(3)\n", f"until_others_wait(3){interrupt}threading.Event().wait()\n"
    ).replace("wait, 3)\n", f"wait, 3){interrupt}await asyncio.Event().wait()\n")
    noted = ASKERS[how].replace("return", "try:\n        return") + (
        "\n    except BaseException as error:\n"
        "        threading.ended.put(type(error).__name__)\n        raise"
    )
    with pytest.raises(KeyboardInterrupt):
        bench.run("import signal\n" + text + noted, n=4, n_threads=4, timeout_s=600)
    if how == "threads":  # a function that hangs is left
        assert [ended.get(timeout=60) for _ in range(3)] == ["AbandonedError"] * 3
    else:
        assert [ended.get(timeout=60) for _ in range(4)] == ["CancelledError"] * 4
    assert bench.count() == 1
