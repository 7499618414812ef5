"""What functions report is kept with their calls, and counted for the next instance."""

from __future__ import annotations

import asyncio
import signal

import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.commits.documents import decode_instance
from tests.looking import check_clean, git
from tests.operations.building import row_builders

HEAD = """
import asyncio, contextvars, os, signal
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from tablevault import cached, report_usage

def rows(n):
    return pd.DataFrame({"id": range(n)})
"""
ASK = """
def f(id):
    report_usage("m", input_tokens=id, cost=0.5)
    return id
"""
FAILS_AT_3 = """
def f(id):
    report_usage("m", input_tokens=id, cost=0.5)
    if id == 3 and not os.path.exists({up!r}):
        raise ConnectionError("no answer")
    return id
"""
MODEL, SENT, RECEIVED = (
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
)


class Bench:
    """A vault with one module and one table."""

    def __init__(self, vault: TableVault) -> None:
        self.vault = vault
        self.expected_cost = None
        vault.create_table("t")

    def prepare(self, text: str, *, n=6, **fields) -> None:
        self.vault.create_code_module("work", text=HEAD + text)
        self.vault.create_instance("t", builders=row_builders(n, **fields))

    def run(self, text: str, *, options=None, **fields):
        """Execute, and return the calls of the instance."""
        self.prepare(text, **fields)
        self.vault.execute_instance("t", **(options or {}))
        return self.vault.get_calls("t")

    def told(self, builder="f"):
        """Return what the description of the latest instance says a builder has spent."""
        _, instance = self.vault.get_dataframe("t")
        told = dict(self.vault.get_descriptions(instance, "t")["calls"][builder])
        self.expected_cost = told.pop("expected_cost", None)
        return told


def column(calls, name, *, builder="f"):
    """Return the values of a column for one builder, None for null."""
    found = calls.loc[calls["builder"] == builder, name]
    return found.astype(object).where(found.notna(), None).tolist()


def trailers(path):
    lines = git(path, "log", "-1", "--format=%(trailers:only)").splitlines()
    pairs = [line.split(": ", 1) for line in lines if line]
    return {name: value for name, value in pairs if name in {"Vault-Calls", "Vault-Cost"}}


@pytest.fixture
def bench(vault):
    return Bench(vault)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("within_loop", [False, True], ids=["plain", "loop"])
def test_each_row_has_its_own(bench, threads, within_loop):
    async def run():
        return bench.run(ASK, n_threads=threads)

    calls = asyncio.run(run()) if within_loop else bench.run(ASK, n_threads=threads)
    assert column(calls, SENT) == list(range(6))
    assert column(calls, MODEL) == ["m"] * 6
    assert column(calls, RECEIVED) == [None] * 6
    assert column(calls, "cost", builder="t_index") == [None]
    assert bench.told() == {"calls": 6, "input_tokens": 15, "cost": 3.0}
    assert bench.told("t_index") == {"calls": 1}


def test_the_innermost_call_is_charged_and_the_builder_has_the_sum(bench):
    text = """
@cached
def ask(id):
    report_usage("m", input_tokens=10, cost=0.25)
    return id

def f(id):
    report_usage(cost=0.5)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask, id + 100).result()
    return ask(id)
"""
    calls = bench.run(text, n=2)
    assert column(calls, "cost") == [0.5, 0.5]
    assert column(calls, "cost", builder="@work.ask") == [0.25] * 4
    assert column(calls, "function", builder="@work.ask") == ["ask"] * 4
    # In a thread without the context of the call nobody knows whose call it is.
    assert bench.told() == {"calls": 2, "input_tokens": 20, "cost": 1.5}


def test_coroutines_are_charged_one_by_one(bench):
    text = """
@cached
async def ask(n):
    report_usage(input_tokens=n)
    await asyncio.sleep(0)
    report_usage(input_tokens=n)
    return n

def f(id):
    async def all():
        return sum(await asyncio.gather(*(ask(n) for n in (1, 10, 100))))
    return asyncio.run(all())
"""
    calls = bench.run(text, n=1)
    assert sorted(column(calls, SENT, builder="@work.ask")) == [2, 20, 200]
    assert column(calls, SENT) == [None]
    assert bench.told()["input_tokens"] == 222


def test_a_cached_call_that_fails_or_is_not_kept_is_paid_for_all_the_same(bench):
    text = """
@cached
def ask(id):
    report_usage(cost=0.5)
    if id < 2:
        raise ValueError("unclear")
    return object() if id == 2 else id

def f(id):
    try:
        return ask(id) and id
    except ValueError:
        return None
"""
    calls = bench.run(text, n=4)
    inner = calls[calls["builder"] == "@work.ask"]
    assert inner["outcome"].tolist() == ["error", "error", "ok"]
    assert inner["error"].tolist()[0] == "ValueError: unclear"
    assert column(calls, "cost") == [None, None, 0.5, None]
    assert bench.told() == {"calls": 4, "cost": 2.0}


GENERATES = """
def f(frame):
    report_usage(cost=100)
    for id in frame["id"]:
        report_usage(cost=int(id))
        yield int(id)
    report_usage(cost=1000)
"""
TABLE = {"arguments": {"frame": "<<self>>"}, "return_type": "generator"}


@pytest.mark.parametrize("within_loop", [False, True], ids=["plain", "loop"])
def test_an_item_has_what_was_reported_before_it(bench, within_loop):
    async def run():
        return bench.run(GENERATES, n=3, **TABLE)

    calls = asyncio.run(run()) if within_loop else bench.run(GENERATES, n=3, **TABLE)
    assert column(calls, "row") == [0, 1, 2, None]
    assert column(calls, "cost") == [100.0, 1.0, 2.0, 1000.0]
    assert bench.told() == {"calls": 1, "cost": 1103.0}


def test_items_that_are_there_are_paid_for_by_the_call_that_makes_them_again(bench, tmp_path):
    up = tmp_path / "up"
    text = GENERATES.replace(
        "        yield",
        f"        if id == 2 and not os.path.exists({str(up)!r}):\n"
        "            raise ConnectionError\n"
        "        yield",
    )
    bench.prepare(text, n=4, **TABLE)
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    calls = bench.vault.get_calls("t", "TEMP_base")
    assert column(calls, "cost") == [100.0, 1.0, 2.0]
    assert column(calls, "outcome") == ["ok", "ok", "error"]
    up.touch()
    bench.vault.execute_instance("t", process_id="p")
    calls = bench.vault.get_calls("t")
    assert column(calls, "row") == [0, 1, 2, 3, None, None]
    assert column(calls, "cost") == [100.0, 1.0, 2.0, 3.0, 2.0, 1101.0]
    assert bench.told() == {"calls": 2, "cost": 1209.0}


def test_a_whole_dataframe_has_one_call(bench):
    text = """
def f(frame):
    report_usage("m", 7, 8, 0.5)
    return pd.DataFrame({"x": frame["id"]})
"""
    calls = bench.run(text, **{**TABLE, "return_type": "dataframe"})
    assert [column(calls, name) for name in ("row", MODEL, SENT, RECEIVED, "cost")] == [
        [None],
        ["m"],
        [7],
        [8],
        [0.5],
    ]
    assert bench.told() == {"calls": 1, "input_tokens": 7, "output_tokens": 8, "cost": 0.5}


def test_an_empty_table_costs_nothing(bench, vault_path):
    calls = bench.run(ASK, n=0)
    assert calls["builder"].tolist() == ["t_index"]
    assert bench.told() == {"calls": 0}
    assert trailers(vault_path) == {"Vault-Calls": "1"}


# -- failures --------------------------------------------------------------------------------------


def test_a_call_that_fails_keeps_what_it_used(bench, vault_path, tmp_path):
    up = tmp_path / "up"
    bench.prepare(FAILS_AT_3.format(up=str(up)))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    failed = bench.vault.get_calls("t", "TEMP_base").iloc[-1]
    assert failed[["row", "id", "outcome", "error", "cost"]].tolist() == [
        3,
        3,
        "error",
        "ConnectionError: no answer",
        0.5,
    ]
    up.touch()
    bench.vault.execute_instance("t")
    assert trailers(vault_path) == {"Vault-Calls": "9", "Vault-Cost": "3.5"}
    assert bench.told() == {"calls": 7, "input_tokens": 18, "cost": 3.5}
    calls = bench.vault.get_calls("t")
    mine = calls[calls["builder"] == "f"]
    assert mine["row"].tolist() == mine["id"].tolist() == [0, 1, 2, 3, 3, 4, 5]
    assert mine["outcome"].tolist() == ["ok", "ok", "ok", "error", "ok", "ok", "ok"]
    assert len(set(mine["process"])) == 2
    check_clean(vault_path)


def test_a_value_that_does_not_fit_is_paid_for(bench):
    text = "def f(id):\n    report_usage(cost=0.5)\n    return 'x' if id == 1 else id\n"
    bench.prepare(text, n=3, dtypes={"x": "Int64"})
    with pytest.raises(TVTableError):
        bench.vault.execute_instance("t")
    calls = bench.vault.get_calls("t", "TEMP_base")
    assert column(calls, "outcome") == ["ok", "rejected"]
    assert column(calls, "cost") == [0.5, 0.5]


def test_executions_that_failed_before_are_counted_until_an_instance_is_made(
    bench, vault_path, tmp_path
):
    bench.run(ASK)
    assert trailers(vault_path) == {"Vault-Calls": "7", "Vault-Cost": "3"}
    up = tmp_path / "up"
    bench.prepare(FAILS_AT_3.format(up=str(up)).replace("0.5", "0.25"))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")  # index, 4 rows
    bench.vault.delete_instance("TEMP_base", "t")
    bench.prepare(FAILS_AT_3.format(up=str(up)).replace("0.5", "0.25"))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", force_execute=True)  # index, 4 rows
    up.touch()
    bench.vault.execute_instance("t", force_execute=True)  # index, 6 rows
    assert trailers(vault_path) == {"Vault-Calls": "17", "Vault-Cost": "3.5"}
    bench.run(ASK)
    assert trailers(vault_path) == {"Vault-Calls": "1"}
    assert bench.told() == {"calls": 0}


def test_versions_and_tables_are_counted_apart(bench, vault_path):
    bench.prepare(FAILS_AT_3.format(up="never"))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    bench.vault.create_instance("t", "large", builders=row_builders(2))
    bench.vault.execute_instance("t", "large")
    assert trailers(vault_path) == {"Vault-Calls": "1"}
    bench.vault.rename_table("u", "t")
    builders = {name.replace("t_index", "u_index"): text for name, text in row_builders(3).items()}
    bench.vault.delete_instance("TEMP_base", "u")
    bench.vault.create_instance("u", builders=builders)
    bench.vault.execute_instance("u")
    assert trailers(vault_path) == {"Vault-Calls": "6", "Vault-Cost": "2"}


def test_a_partial_instance_accounts_for_what_was_spent(bench, vault_path):
    bench.prepare(FAILS_AT_3.format(up="never"))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    bench.vault.stop_process("p", materialize=True)
    assert trailers(vault_path) == {"Vault-Calls": "5", "Vault-Cost": "2"}
    calls = bench.vault.get_calls("t")
    assert column(calls, "outcome") == ["ok", "ok", "ok", "error"]
    bench.run(ASK.replace("0.5", "1.0"))
    assert trailers(vault_path) == {"Vault-Calls": "7", "Vault-Cost": "6"}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_after_a_signal_no_report_of_a_finished_call_is_lost(
    bench, vault_path, python, monkeypatch, sent
):
    text = f"""
def f(id):
    report_usage(cost=0.5)
    if id == 3 and os.environ.get("STOP"):
        os.kill(os.getpid(), {int(sent)})
        signal.pause()
    return id
"""
    bench.prepare(text)
    script = "import sys\nfrom tablevault import TableVault\n"
    script += "TableVault(sys.argv[1], 'B').execute_instance('t')\n"
    with monkeypatch.context() as patch:
        patch.setenv("STOP", "1")
        python(script, vault_path).wait()
    bench.vault.execute_instance("t")
    told = bench.told()
    spent = {"calls": 7, "cost": 3.5}  # an interrupted call has reported what it used
    if sent == signal.SIGKILL:  # may cost the calls of the last 10 ms
        assert 3 <= told["calls"] <= 6
    else:
        assert told == spent


def test_results_that_code_was_repaired_for_are_paid_for_once(bench, tmp_path):
    up = tmp_path / "up"
    text = FAILS_AT_3.format(up=str(up))
    bench.prepare(text)
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    bench.vault.create_code_module("work", text=HEAD + ASK)
    bench.vault.execute_instance("t")
    assert bench.told() == {"calls": 7, "input_tokens": 18, "cost": 3.5}
    calls = bench.vault.get_calls("t")
    assert column(calls, "row") == [0, 1, 2, 3, 3, 4, 5]
    assert calls.loc[calls["outcome"] == "ok", "cost"].sum() == 3.0
    assert set(calls["module"]) == {"work"}


def test_a_row_that_code_was_repaired_after_names_the_code_that_made_it(bench):
    bench.prepare(FAILS_AT_3.format(up="never"))
    for text in (None, FAILS_AT_3.format(up="never").replace("id == 3", "id == 5")):
        if text is not None:
            bench.vault.create_code_module("work", text=HEAD + text)
        with pytest.raises(ConnectionError):
            bench.vault.execute_instance("t")
    calls = bench.vault.get_calls("t", "TEMP_base")
    ok = calls[(calls["builder"] == "f") & (calls["outcome"] == "ok")]
    assert ok["row"].tolist() == [0, 1, 2, 3, 4]
    old, new = ok["code"].tolist()[0], ok["code"].tolist()[-1]
    assert ok["code"].tolist() == [old] * 3 + [new] * 2
    assert old != new


def test_a_bad_report_is_an_error_of_its_call(bench):
    bench.prepare("def f(id):\n    report_usage(cost=-1)\n    return id\n", n=1)
    with pytest.raises(
        TVArgumentError, match=r"Argument cost of report_usage is -1 \(int\)"
    ) as caught:
        bench.vault.execute_instance("t")
    assert 'In builder "f"' in caught.value.__notes__[0]


def test_a_process_of_its_own_leaves_the_call_alone(bench):
    text = """
import multiprocessing

def work():
    report_usage(cost=5)

def f(id):
    report_usage(cost=0.5)
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode
"""
    calls = bench.run(text, n=1)
    assert bench.vault.get_dataframe("t")[0]["x"].tolist() == [0]
    assert column(calls, "cost") == [0.5]


# -- what was reused -------------------------------------------------------------------------------


def test_calls_of_others_are_not_paid_for_again(bench, vault_path):
    bench.run(ASK)
    bench.vault.create_instance("t", "large", builders=row_builders(7))
    bench.vault.execute_instance("t", "large")
    assert trailers(vault_path) == {"Vault-Calls": "2", "Vault-Cost": "0.5"}


def test_a_reused_call_names_the_instance_that_held_it_first(bench):
    bench.run(FAILS_AT_3.format(up="never"), n=3)
    _, made_in = bench.vault.get_dataframe("t")
    bench.vault.create_table("u")
    builders = {name.replace("t_index", "u_index"): text for name, text in row_builders(5).items()}
    bench.vault.create_instance("u", builders=builders)
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("u")
    calls = bench.vault.get_calls("u", "TEMP_base")
    assert column(calls, "made_in") == [made_in] * 3 + [None]
    assert column(calls, "row") == [0, 1, 2, 3]
    assert column(calls, "cost") == [0.5] * 4


def test_documents_of_before_are_read_and_written_as_they_are(bench, vault_path):
    bench.run(ASK)
    path = vault_path / "tables/t/base/instance.yaml"
    fields = yaml.safe_load(path.read_text())
    assert list(fields["execution"]["f"]) == [
        "computed",
        "reused",
        "reason",
        "calls",
        "input_tokens",
        "cost",
    ]
    for run in fields["execution"].values():
        for name in ("calls", "input_tokens", "cost"):
            run.pop(name, None)
    old = yaml.safe_dump(fields, sort_keys=False).encode()
    document = decode_instance(old, "instance.yaml")
    assert document.execution["f"].calls is None
    assert yaml.safe_load(document.encode()) == fields


def test_a_call_whose_file_is_missing_is_paid_for(bench):
    text = "def f(id):\n    report_usage(cost=0.5)\n    return f'{id}.txt'\n"
    bench.prepare(text, n=2, dtypes={"x": "artifact_string"})
    with pytest.raises(TVTableError, match=r"0\.txt"):
        bench.vault.execute_instance("t")
    calls = bench.vault.get_calls("t", "TEMP_base")
    assert (column(calls, "outcome"), column(calls, "cost")) == (["rejected"], [0.5])


def test_a_call_with_a_file_is_paid_for_once(bench):
    text = """
def f(id, folder):
    report_usage(cost=0.5)
    with open(f"{folder}/{id}.txt", "w") as file:
        file.write("x")
    return f"{id}.txt"
"""
    arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~"}
    calls = bench.run(text, n=2, dtypes={"x": "artifact_string"}, arguments=arguments)
    assert column(calls, "cost") == [0.5, 0.5]
    assert bench.told() == {"calls": 2, "cost": 1.0}


RESPONSE = """
from types import SimpleNamespace

@cached
def ask(id):
    if id == 2:
        report_usage("mine", input_tokens=1)
    return {{"model": "m", "usage": {usage}, "text": str(id)}}

@cached
def ask_object(id):
    usage = SimpleNamespace(input_tokens=3, output_tokens=4)
    return SimpleNamespace(model="o", usage=usage)

def f(id):
    ask_object(id)
    return ask(id)["text"]
"""


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ('{"prompt_tokens": 5, "completion_tokens": 7}', (5, 7)),
        ('{"input_tokens": 5, "output_tokens": 7}', (5, 7)),
        ('{"prompt_tokens": True, "completion_tokens": "7"}', (None, None)),
        ("None", (None, None)),
    ],
)
def test_the_answer_of_a_provider_says_itself_what_it_used(bench, caplog, usage, counts):
    calls = bench.run(RESPONSE.format(usage=usage), n=3)
    names = (SENT, RECEIVED, MODEL)
    used = zip(*(column(calls, name, builder="@work.ask") for name in names), strict=True)
    own = (*counts, "m" if counts[0] else None)
    assert sorted(used, key=str) == sorted([own, own, (1, None, "mine")], key=str)
    assert column(calls, SENT) == [3, 3, 3], "an answer that is no value is charged to the builder"


def test_tokens_cost_what_the_vault_says_unless_the_function_says_so(bench):
    bench.vault.set_config("prices.m", {"input": 2, "output": 8})
    text = """
def f(id):
    report_usage("m" if id else "other", input_tokens=500_000, output_tokens=250_000)
    if id == 2:
        report_usage(cost=0.5)
    return id
"""
    calls = bench.run(text, n=3)
    assert column(calls, "cost") == [None, 3.0, 3.5]
    assert bench.told()["cost"] == 6.5


def test_what_was_expected_is_told_beside_what_it_cost(bench, vault_path):
    """The second time it is known what a call costs; the first time nothing is said."""
    bench.run(ASK.replace("return id", "import time; time.sleep(0.002); return id"), n=4)
    assert "expected" not in git(vault_path, "log", "-1", "--format=%B")
    text = ASK.replace("return id", "import time; time.sleep(0.002); return id")
    calls = bench.run(text.replace("cost=0.5", "cost=1.0"), n=4, options={})
    assert column(calls, "cost") == [1.0] * 4
    assert (bench.told()["cost"], bench.expected_cost) == (4.0, 2.0)
    assert "cost 4 (2 expected)" in git(vault_path, "log", "-1", "--format=%B")


def test_cached_calls_are_listed_as_they_were_recorded_however_short(bench):
    text = """
import time

@cached
def ask(id):
    report_usage(str(id))
    time.sleep(0.005 * (id % 3 == 1))  # the file of an instance has the time of these alone
    return id

def f(id):
    return ask(id)
"""
    calls = bench.run(text, n=6)
    assert column(calls, MODEL, builder="@work.ask") == list("012345")
