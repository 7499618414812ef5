"""Calls that fail, wait and cost: what a builder says about them, with counted calls."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import yaml

from tablevault.errors import TVArgumentError, TVBudgetError, TVBuilderError
from tests.looking import check_clean, git
from tests.operations.building import row_builders

HEAD = """
import asyncio, threading, time
import pandas as pd
from tablevault import cached, report_usage

LOG = {log!r}

def rows(n):
    return pd.DataFrame({{"id": range(n)}})

def note(what):
    with open(LOG, "a") as file:
        file.write(f"{{what}}\\n")

class Busy(Exception):
    pass

def failures_of(id):
    with open(LOG) as file:
        return file.read().split().count(str(id))
"""
PLAIN = "def f(id):\n    note(id)\n    return id\n"
FAILS_TWICE = """
def f(id):
    note(id)
    if id == 2 and failures_of(id) < 3:
        raise Busy("later")
    return id
"""
POISON = """
def f(id):
    note(id)
    report_usage("m", input_tokens=10, cost=1.0)
    if id in (2, 5):
        raise ValueError(f"poison {id}")
    return id
"""


class Bench:
    """A vault with one module and one table of rows that a function is called for."""

    def __init__(self, vault, path, log):
        self.vault = vault
        self.path = path
        self.log = log
        log.touch()
        vault.create_table("t")

    def prepare(self, text, *, n=6, **fields):
        self.vault.create_code_module("work", text=HEAD.format(log=str(self.log)) + text)
        self.vault.create_instance("t", builders=row_builders(n, **fields))

    def run(self, text, *, options=None, **fields):
        self.prepare(text, **fields)
        self.vault.execute_instance("t", **(options or {}))
        return self.values()

    def values(self):
        frame, _ = self.vault.get_dataframe("t")
        return frame["x"].astype(object).where(frame["x"].notna(), None).tolist()

    def calls(self):
        """Return what was called since this was asked last, in order."""
        found = self.log.read_text().split()
        self.log.write_text("")
        return found


@pytest.fixture
def bench(vault, vault_path, tmp_path):
    return Bench(vault, vault_path, tmp_path / "log")


# -- again after errors -------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_a_call_that_fails_is_made_again(bench, threads):
    retry = {"times": 2, "wait_s": 0}
    assert bench.run(FAILS_TWICE, retry=retry, n_threads=threads) == list(range(6))
    assert sorted(bench.calls()) == sorted("0122" + "2345")
    calls = bench.vault.get_calls("t")
    assert calls.loc[calls["row"] == 2, "attempts"].tolist() == [3]
    assert calls.loc[calls["row"] != 2, "attempts"].dropna().unique().tolist() == [1]
    assert (calls["outcome"] == "ok").all()


def test_the_last_error_passes_as_it_is(bench):
    with pytest.raises(Exception, match=r"^later") as caught:
        bench.run(FAILS_TWICE, retry={"times": 1, "wait_s": 0})
    assert type(caught.value).__name__ == "Busy"
    assert "row 2 (id 2 (int))" in caught.value.__notes__[0]
    assert bench.calls() == ["0", "1", "2", "2"]


@pytest.mark.parametrize(("on", "calls"), [(["Busy"], 8), (["OSError"], 3), ("work", None)])
def test_only_named_errors_are_worth_another_call(bench, on, calls):
    expected = (TVBuilderError, "retry.on") if calls is None else (Exception, "later")
    if calls == 8:
        bench.run(FAILS_TWICE, retry={"wait_s": 0, "on": on})
    else:
        with pytest.raises(expected[0], match=expected[1]):
            bench.run(FAILS_TWICE, retry={"wait_s": 0, "on": on})
    assert len(bench.calls()) == (calls or 0)


def test_a_mistake_in_the_program_is_not_asked_again(bench):
    with pytest.raises(NameError):
        bench.run("def f(id):\n    note(id)\n    return answer\n", retry=5)
    assert bench.calls() == ["0"]


def test_a_value_that_does_not_fit_is_asked_for_again(bench):
    text = """
def f(id):
    note(id)
    return "none" if id == 2 and failures_of(id) < 2 else id
"""
    values = bench.run(text, retry={"times": 1, "wait_s": 0}, dtypes={"x": "Int64"})
    assert values == list(range(6))
    assert bench.calls().count("2") == 2


def test_each_attempt_is_paid_for(bench):
    text = POISON.replace("id in (2, 5)", "id == 2 and failures_of(id) < 3")
    bench.run(text, retry={"times": 2, "wait_s": 0})
    trailers = git(bench.path, "log", "-1", "--format=%(trailers:only)")
    assert "Vault-Cost: 8\n" in trailers
    assert "Vault-Tokens: 80\n" in trailers
    assert "Vault-Calls: 9\n" in trailers  # with the one for the rows


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("retry", {"tims": 3}, "retry.tims is 3"),
        ("on_error", "skip", "on_error is 'skip'"),
        ("max_errors", 3, "Add on_error: keep"),
        ("batch_size", 0, "batch_size is 0"),
        ("limits", {"calls": -3}, "limits.calls is -3"),
    ],
)
def test_a_field_that_cannot_be_is_refused_before_any_call(bench, field, value, told):
    with pytest.raises(TVBuilderError) as caught:
        bench.run(PLAIN, **{field: value})
    assert told in str(caught.value)
    assert bench.calls() == []


# -- errors that stay ---------------------------------------------------------------------------


def test_rows_whose_calls_fail_stay_null_and_are_asked_again(bench):
    assert bench.run(POISON, on_error="keep") == [0, 1, None, 3, 4, None]
    assert len(bench.calls()) == 6
    failed = bench.vault.get_calls("t", outcome="error")
    assert failed["row"].tolist() == [2, 5]
    assert failed["error"].tolist() == ["ValueError: poison 2", "ValueError: poison 5"]
    assert bench.vault.get_calls("t", outcome="ok")["row"].dropna().tolist() == [0, 1, 3, 4]
    with pytest.raises(TVArgumentError, match="outcome"):
        bench.vault.get_calls("t", outcome="failed")

    bench.vault.create_instance("t", copy=True)
    bench.vault.execute_instance("t")
    assert bench.calls() == ["2", "5"]
    assert bench.values() == [0, 1, None, 3, 4, None]
    check_clean(bench.path)


def test_a_process_tells_which_rows_failed_and_what_it_has_cost(bench):
    bench.prepare(POISON, on_error="keep")
    with pytest.raises(TVBudgetError):
        bench.vault.execute_instance("t", process_id="p", max_calls=4)
    process = bench.vault.get_active_processes()["p"]
    assert list(process.rows.values()) == [6, 3]
    assert list(process.errors.values()) == [1]
    assert list(process.cost.values()) == [4.0]


def test_an_instance_with_errors_says_so_and_is_not_successful(bench):
    bench.run(PLAIN, on_error="keep")
    _, whole = bench.vault.get_dataframe("t")
    bench.run(POISON, on_error="keep")
    _, with_errors = bench.vault.get_dataframe("t")
    assert bench.vault.get_dataframe("t", successful_only=True)[1] == whole != with_errors
    document = yaml.safe_load(git(bench.path, "show", "main:tables/t/base/instance.yaml"))
    assert (document["errors"], document["execution"]["f"]["errors"]) == (2, 2)
    message = git(bench.path, "log", "-1", "--format=%B")
    assert "6 rows, 2 errors" in message
    assert "\nVault-Errors: 2\n" in message


def test_a_row_that_failed_is_asked_again_also_where_null_is_an_answer(bench):
    fields = {"on_error": "keep", "retry_null": False}
    text = POISON.replace("return id", "return None if id == 3 else id")
    assert bench.run(text, **fields) == [0, 1, None, None, 4, None]
    bench.calls()
    bench.vault.create_instance("t", copy=True)
    bench.vault.execute_instance("t")
    assert bench.calls() == ["2", "5"]


def test_a_value_that_does_not_fit_is_such_an_error(bench):
    text = 'def f(id):\n    note(id)\n    return "x" if id == 3 else id\n'
    assert bench.run(text, on_error="keep", dtypes={"x": "Int64"}) == [0, 1, 2, None, 4, 5]
    assert bench.vault.get_calls("t", outcome="error")["outcome"].tolist() == ["rejected"]
    bench.calls()
    bench.run(text, on_error="keep", dtypes={"x": "string"})
    assert bench.calls() == []
    assert bench.values() == ["0", "1", "2", "x", "4", "5"]


@pytest.mark.parametrize(
    ("raised", "kept"),
    [
        (r'ValueError("caf\udce9")', r"ValueError: caf\udce9"),
        (r'ValueError("a\0b")', "ValueError: a\0b"),
        ("Mute()", "Mute: it gives no text"),
    ],
)
def test_any_text_of_an_error_is_recorded(bench, raised, kept):
    text = f"""
class Mute(Exception):
    def __str__(self):
        raise OSError

def f(id):
    raise {raised}
"""
    bench.run(text, n=1, on_error="keep")
    assert bench.vault.get_calls("t", outcome="error")["error"].tolist() == [kept]


def test_files_that_a_failed_call_has_written_are_no_artifacts(bench):
    text = """
def f(id, folder):
    with open(f"{folder}/{id}.txt", "w") as file:
        file.write("x")
    if id in (2, 5):
        raise ValueError("poison")
    return f"{id}.txt"
"""
    arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~"}
    fields = {"on_error": "keep", "arguments": arguments, "dtypes": {"x": "artifact_string"}}
    bench.run(text, **fields)
    files = git(bench.path, "ls-tree", "--name-only", "main:tables/t/artifacts").split()
    assert files == [f"{number}.txt" for number in (0, 1, 3, 4)]
    check_clean(bench.path)


@pytest.mark.parametrize(("most", "fits"), [(2, True), (1, False), ("34%", True), ("33%", False)])
def test_more_errors_than_allowed_end_the_execution(bench, most, fits):
    if fits:
        bench.run(POISON, on_error="keep", max_errors=most)
        return
    with pytest.raises(ValueError, match="poison 5") as caught:
        bench.run(POISON, on_error="keep", max_errors=most)
    assert f"more than max_errors, {most}, allows" in caught.value.__notes__[-1]


def test_what_is_about_the_execution_is_no_error_of_a_row(bench):
    """An argument that cannot be evaluated, or a budget, ends the execution in any case."""
    with pytest.raises(TVBudgetError):
        bench.run(POISON, on_error="keep", options={"max_calls": 1})
    assert bench.vault.get_calls("t", "TEMP_base", outcome="error").empty


def with_judge(n):
    """Return builders of answers that may fail, and of a judgement on each, and on all."""
    builders = row_builders(n, on_error="keep")
    fields = yaml.safe_load(builders["f"])
    judge = {"changed_columns": ["y"], "python_function": "judge"}
    judge |= {"arguments": {"x": "<<self.x[index]>>"}, "retry_null": False}
    total = {"changed_columns": ["z"], "python_function": "total", "return_type": "dataframe"}
    total |= {"arguments": {"frame": "<<self.{x,y}>>"}, "on_error": "stop"}
    for name, other in (("judge", judge), ("total", total)):
        builders[name] = yaml.safe_dump(fields | other)
    return builders


JUDGE = """
def judge(x):
    note(f"judge{x}")
    return x + 100

def total(frame):
    return pd.DataFrame({"z": [int(frame["y"].sum())] * len(frame)})
"""


def test_nobody_is_asked_about_what_has_failed(bench):
    """A row that reads a failed cell is left null; it is asked for when the cell is there."""
    bench.prepare(POISON + JUDGE)
    bench.vault.create_instance("t", builders=with_judge(6))
    bench.vault.execute_instance("t")
    frame, _ = bench.vault.get_dataframe("t")
    assert frame["y"].isna().tolist() == frame["x"].isna().tolist()
    assert frame["z"].tolist() == [408] * 6, "whole columns are read with their nulls"
    assert [each for each in bench.calls() if "judge" in each] == [
        f"judge{each}" for each in (0, 1, 3, 4)
    ]
    message = git(bench.path, "log", "-1", "--format=%B")
    assert "judge: 6 rows computed: first run; 2 rows left whose inputs failed" in message
    assert "Vault-Errors: 2" in message

    mended = POISON.replace("id in (2, 5)", "id == 5") + JUDGE
    bench.vault.create_code_module("work", text=HEAD.format(log=str(bench.log)) + mended)
    bench.vault.create_instance("t", copy=True)
    bench.vault.execute_instance("t", accept_code=True)
    assert bench.calls() == ["2", "5", "judge2"]
    frame, _ = bench.vault.get_dataframe("t")
    assert frame["y"].isna().tolist() == [False] * 5 + [True]


def test_a_trial_leaves_out_what_has_failed_too(bench):
    bench.prepare(POISON + JUDGE)
    bench.vault.create_instance("t", builders=with_judge(6))
    bench.vault.execute_instance("t", sample=4)
    assert [each for each in bench.calls() if "judge" in each] == ["judge0", "judge1", "judge3"]


@pytest.mark.parametrize("kind", ["generator", "dataframe"])
@pytest.mark.parametrize("field", [{"on_error": "keep"}, {"batch_size": 2}])
def test_rows_can_only_fail_alone_where_they_are_made_alone(bench, kind, field):
    with pytest.raises(TVBuilderError, match="needs return_type: row-wise"):
        bench.run(PLAIN, return_type=kind, **field)


# -- coroutines ---------------------------------------------------------------------------------

TOGETHER = """
inside, most, client = 0, 0, None
lock = asyncio.Lock()

async def f(id):
    global inside, most
    note(id)
    inside += 1
    most = max(most, inside)
    async with lock:
        while most < {together} and most < {rows}:
            await asyncio.sleep(0)
    inside -= 1
    report_usage("m", input_tokens=id)
    return most
"""


@pytest.mark.parametrize(("fields", "together"), [({}, 16), ({"n_threads": 3}, 3)])
def test_coroutines_run_at_the_same_time(bench, fields, together):
    values = bench.run(TOGETHER.format(together=together, rows=40), n=40, **fields)
    assert max(values) == together
    calls = bench.vault.get_calls("t")
    assert calls["gen_ai.usage.input_tokens"].dropna().tolist() == list(range(40))


def test_all_executions_of_a_program_share_one_event_loop(bench, caplog):
    text = """
loops = set()
async def f(id):
    loops.add(id_of(asyncio.get_running_loop()))
    return len(loops)
id_of = id
"""
    bench.run(text, n=2)
    bench.run(text, n=4)
    assert bench.values() == [1, 1, 1, 1]


def test_an_interrupt_cancels_coroutines_and_keeps_what_is_finished(bench, monkeypatch):
    text = """
ended = []
async def f(id):
    note(id)
    if id < 2:
        return id
    try:
        await asyncio.sleep(1000)
    finally:
        note(f"ended{id}")
"""
    bench.prepare(text, n=5)
    released = threading.Event()

    def interrupt():
        while "4" not in bench.log.read_text().split() or bench.vault.get_calls(
            "t", "TEMP_base", outcome="ok"
        )["row"].dropna().tolist() != [0, 1]:
            if released.wait(0.01):
                return
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.vault.execute_instance("t")
    finally:
        released.set()
        thread.join()
    assert set(bench.calls()) >= {"ended2", "ended3", "ended4"}
    bench.run(text.replace("await asyncio.sleep(1000)", "return id"), n=5)
    assert sorted(each for each in bench.calls() if each.isdigit()) == ["0", "1", "2", "3", "4"]


# -- time ---------------------------------------------------------------------------------------

HANGS = """
async def wait():
    await asyncio.sleep(1000)

def f(id):
    note(id)
    if id == 1:
        {wait}
    return id
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_takes_too_long_has_failed(bench, threads, is_async):
    text = HANGS.format(wait="threading.Event().wait(1000)")
    if is_async:
        text = HANGS.format(wait="await wait()").replace("def f", "async def f")
    values = bench.run(text, n=3, timeout_s=0.2, on_error="keep", n_threads=threads)
    assert values == [0, None, 2]
    (error,) = bench.vault.get_calls("t", outcome="error")["error"]
    assert error == "TimeoutError: The call took longer than timeout_s, 0.2 seconds."


# -- budgets and rates --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"max_calls": 2}, {"max_cost": 2.0}])
def test_a_budget_ends_an_execution_before_the_next_call(bench, options):
    text = POISON.replace("id in (2, 5)", "False")
    with pytest.raises(TVBudgetError, match=r"used up.*kept"):
        bench.run(text, options={**options, "process_id": "job"})
    assert bench.calls() == ["0", "1"]
    assert not bench.vault.get_active_processes()["job"].is_running
    bench.vault.execute_instance("t", process_id="job")
    assert bench.calls() == ["2", "3", "4", "5"]
    assert bench.values() == list(range(6))
    check_clean(bench.path)


def test_a_budget_counts_calls_that_are_made_again(bench):
    with pytest.raises(TVBudgetError):
        bench.run(FAILS_TWICE, retry={"times": 2, "wait_s": 0}, options={"max_calls": 4})
    assert bench.calls() == ["0", "1", "2", "2"]


def test_calls_at_the_same_time_spend_no_more_than_one_beyond_the_budget(bench):
    text = POISON.replace("id in (2, 5)", "False")
    with pytest.raises(TVBudgetError):
        bench.run(text, n=30, n_threads=8, options={"max_cost": 5})
    assert len(bench.calls()) <= 6


def test_what_the_calls_within_a_call_cost_counts(bench):
    text = """
@cached
def ask(id):
    note(id)
    report_usage("m", cost=1.0)
    return id

def f(id):
    return ask(id)
"""
    with pytest.raises(TVBudgetError):
        bench.run(text, options={"max_cost": 3})
    assert bench.calls() == ["0", "1", "2"]


def test_the_budget_of_a_builder_holds_for_all_attempts_of_a_process(bench):
    options = {"process_id": "job"}
    with pytest.raises(TVBudgetError, match="budget in its limits"):
        bench.run(PLAIN, limits={"calls": 2}, options=options)
    with pytest.raises(TVBudgetError):
        bench.vault.execute_instance("t", process_id="job")
    assert bench.calls() == ["0", "1"]


@pytest.mark.parametrize("options", [{"max_calls": -1}, {"max_cost": -0.5}])
def test_a_budget_is_not_negative(bench, options):
    bench.prepare(PLAIN)
    with pytest.raises(TVArgumentError, match=next(iter(options))):
        bench.vault.execute_instance("t", **options)


def test_calls_wait_for_their_rate(bench):
    begun = time.monotonic()
    bench.run(PLAIN, n=8, n_threads=4, limits={"calls_per_minute": 1200})
    # Eight calls, of which a quarter of a second's worth begins at once.
    assert time.monotonic() - begun > (8 - 6) * 60 / 1200


THREE_AT_ONCE = """
barrier = threading.Barrier(3)

def f(id):
    note(id)
    report_usage("m", input_tokens=10)
    with open(LOG) as file:
        if len(file.readlines()) > 1:
            barrier.wait(60)
    return id
"""


def test_an_execution_that_goes_on_knows_how_many_tokens_a_call_takes(bench):
    fields = {"n": 4, "n_threads": 3, "limits": {"tokens_per_minute": 10**6}}
    with pytest.raises(TVBudgetError):
        bench.run(THREE_AT_ONCE, options={"max_calls": 1, "process_id": "job"}, **fields)
    bench.vault.execute_instance("t", process_id="job")
    assert bench.values() == list(range(4))


KILLED = """
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "Ana Lund <ana@example.org>")
vault.execute_instance("t", process_id="job")
"""


@pytest.mark.sweep
@pytest.mark.parametrize("limits", [{"calls": 8}, {"cost": 8}])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_budget_survives_kills(bench, python, limits, threads):
    text = POISON.replace("id in (2, 5)", "False").replace(
        "note(id)",
        "note(id)\n    if id == 3 and failures_of(3) == 1: os.kill(os.getpid(), 9)",
    )
    bench.prepare("import os\n" + text, n=20, n_threads=threads, limits=limits)
    assert python(KILLED, bench.path).wait() == -9
    with pytest.raises(TVBudgetError):
        bench.vault.execute_instance("t", process_id="job")
    # A thread may be killed between its turn and its call.
    assert 9 - threads <= len(bench.calls()) <= 8


# -- batches ------------------------------------------------------------------------------------

BATCH = """
def f(id, text):
    note("-".join(map(str, id)))
    report_usage("m", input_tokens=7, cost=0.5)
    if 3 in id:
        raise ValueError("poison")
    return [f"{text}{each}" for each in id]
"""
ARGUMENTS = {"id": "<<self.id[index]>>", "text": "a"}


def test_a_batch_is_split_until_the_bad_row_stands_alone(bench):
    values = bench.run(BATCH, n=8, batch_size=4, on_error="keep", arguments=ARGUMENTS)
    assert values == ["a0", "a1", "a2", None, "a4", "a5", "a6", "a7"]
    assert bench.calls() == ["0-1-2-3", "0-1", "2-3", "2", "3", "4-5-6-7"]
    calls = bench.vault.get_calls("t")
    sums = calls.loc[calls["builder"] == "f"][["gen_ai.usage.input_tokens", "cost"]].sum()
    assert sums.tolist() == [42, 3.0]
    bench.vault.create_instance("t", copy=True)
    bench.vault.execute_instance("t")
    assert bench.calls() == ["3"]


def test_rows_of_a_batch_are_found_one_by_one(bench):
    text = BATCH.replace("3 in id", "False")
    bench.run(text, n=5, batch_size=2, arguments=ARGUMENTS)
    bench.calls()
    bench.run(text, n=8, batch_size=4, arguments=ARGUMENTS)
    assert bench.calls() == ["5-6-7"]


@pytest.mark.parametrize("returned", ["id[:-1]", "id + [1]", "len(id)", "None", "'abc'"])
def test_a_batch_has_one_result_for_each_row(bench, returned):
    text = f"def f(id):\n    note(len(id))\n    return {returned}\n"
    with pytest.raises(TVBuilderError, match=r"returned .* for a batch"):
        bench.run(text, batch_size=2)


def test_a_misfit_in_a_batch_is_asked_again_alone(bench):
    text = """
def f(id):
    note("-".join(map(str, id)))
    return ["x" if each == 1 and len(id) > 1 else each for each in id]
"""
    values = bench.run(text, n=4, batch_size=4, retry=1, dtypes={"x": "Int64"})
    assert values == [0, 1, 2, 3]
    assert bench.calls() == ["0-1-2-3", "1"]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_batch_has_finished_is_kept_when_a_row_of_it_ends_the_execution(bench, threads):
    with pytest.raises(ValueError, match="poison"):
        bench.run(BATCH, n=4, batch_size=4, n_threads=threads, arguments=ARGUMENTS)
    assert bench.calls() == ["0-1-2-3", "0-1", "2-3", "2", "3"]
    costs = bench.vault.get_calls("t", "TEMP_base")["cost"]
    assert costs.sum() == 2.5
    with pytest.raises(ValueError, match="poison"):
        bench.vault.execute_instance("t")
    assert bench.calls() == ["3"]


def test_what_fits_in_a_batch_is_kept_when_a_misfit_ends_the_execution(bench):
    text = """
def f(id):
    note("-".join(map(str, id)))
    report_usage("m", cost=1.0)
    return ["x" if each in (1, 2) and len(id) > 2 else each for each in id]
"""
    with pytest.raises(Exception, match="Int64"):
        bench.run(text, n=4, batch_size=4, dtypes={"x": "Int64"})
    assert bench.vault.get_calls("t", "TEMP_base")["cost"].sum() == 1.0
    bench.calls()
    bench.vault.execute_instance("t")
    assert bench.calls() == ["1-2"]


def test_what_fits_in_a_batch_is_kept_when_there_is_no_budget_for_a_misfit(bench):
    text = """
def f(id):
    note("-".join(map(str, id)))
    return ["x" if each == 1 and len(id) > 1 else each for each in id]
"""
    fields = {"batch_size": 4, "retry": {"times": 1, "wait_s": 0}, "dtypes": {"x": "Int64"}}
    with pytest.raises(TVBudgetError):
        bench.run(text, n=4, options={"max_calls": 1}, **fields)
    bench.calls()
    bench.vault.execute_instance("t")
    assert bench.calls() == ["1"]


@pytest.mark.parametrize("fields", [{}, {"batch_size": 2, "arguments": ARGUMENTS}])
def test_attempts_before_a_budget_is_used_up_are_paid_for(bench, fields):
    text = """
def f(id, text=""):
    note(id)
    report_usage("m", cost=1.0)
    raise OSError("busy")
"""
    options = {"max_calls": 2, "process_id": "job"}
    with pytest.raises(TVBudgetError):
        bench.run(text, n=2, retry={"times": 9, "wait_s": 0}, options=options, **fields)
    calls = bench.vault.get_calls("t", "TEMP_base", outcome="error")
    assert (calls["cost"].sum(), calls["attempts"].sum()) == (2.0, 2)


def test_a_plan_counts_batches(bench):
    """What rows have cost before is expected of each row, in however many calls."""
    text = BATCH.replace("3 in id", "False").replace("note(", "time.sleep(0.002)\n    note(", 1)
    bench.run(text, n=4, batch_size=2, arguments=ARGUMENTS)
    bench.vault.create_instance("t", builders=row_builders(9, batch_size=4, arguments=ARGUMENTS))
    planned = bench.vault.plan("t", run_index=True).builders[1]
    assert (planned.calls, planned.reused, planned.cost) == (2, 4, 1.25)


def test_coroutines_take_batches_too(bench):
    text = "async def f(id):\n    return [each + 1 for each in id]\n"
    assert bench.run(text, n=5, batch_size=2) == [1, 2, 3, 4, 5]
