"""An execution that stopped goes on where it was: no row is paid for twice, none is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.engine.calls.records import CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.errors import TVBuilderError, TVLockError, TVProcessError, TVTableError
from tests.looking import check_clean

INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: paid
is_custom: true
arguments: {count: 20}
"""
ROWS = """\
builder_type: ColumnBuilder
changed_columns: [square, text]
python_function: square
code_module: paid
is_custom: true
return_type: row-wise
n_threads: 1
dtypes: {square: Int64}
arguments: {n: "<<self.n[index]>>"}
"""
ITEMS = """\
builder_type: ColumnBuilder
changed_columns: [item]
python_function: items
code_module: paid
is_custom: true
return_type: generator
arguments: {frame: "<<self.n>>"}
"""


def code(paid: Path, *, square: str = "", items: str = "") -> str:
    """Write a module whose functions note each call in a file outside of the vault."""
    return f"""\
import os, signal, time
import pandas as pd


def pay(what):
    with open({str(paid)!r}, "a") as file:
        file.write(what + "\\n")


def make(count):
    pay("make")
    return pd.DataFrame({{"n": range(count)}})


def square(n):
    {square or "pass"}
    pay(f"square {{n}}")
    return n * n, f"text {{n}}"


def items(frame):
    for n in frame["n"]:
        {items or "pass"}
        pay(f"item {{n}}")
        yield [n, str(n)] if False else f"item {{n}}"
"""


@pytest.fixture
def paid(tmp_path: Path) -> Path:
    return tmp_path / "paid"


def calls(paid: Path) -> Counter[str]:
    return Counter(paid.read_text().splitlines()) if paid.exists() else Counter()


@pytest.fixture
def prepared(vault: TableVault, paid: Path) -> Callable[..., TableVault]:
    """Prepare an execution of twenty rows with functions that stop somewhere."""

    def prepare(*builders: str, threads: int = 1, **stops: str) -> TableVault:
        vault.create_code_module("paid", text=code(paid, **stops))
        vault.create_table("t")
        known = {"rows": ROWS.replace("n_threads: 1", f"n_threads: {threads}"), "items": ITEMS}
        given = {name: known[name] for name in builders or ("rows",)}
        vault.create_instance("t", builders={"t_index": INDEX, **given})
        return vault

    return prepare


def mend(vault_path: Path, paid: Path) -> None:
    """Correct the functions by hand."""
    (vault_path / "code/paid.py").write_text(code(paid))


STOP_AT_7 = 'if n == 7: raise RuntimeError("seven")'
EXPECTED = {
    "n": list(range(20)),
    "square": [n * n for n in range(20)],
    "text": [f"text {n}" for n in range(20)],
}
FAILED = pytest.raises(RuntimeError, match="seven")


def check_whole(vault: TableVault, paid: Path, path: Path) -> None:
    """Check the frame, that each row was paid for once, and that nothing is left."""
    frame, _ = vault.get_dataframe("t")
    assert frame[list(EXPECTED)].to_dict("list") == EXPECTED
    assert frame["square"].dtype == "Int64"
    assert set(calls(paid).values()) == {1}
    assert len(calls(paid)) == 21
    assert vault.get_active_processes() == {}
    check_clean(path)


def test_a_failure_with_an_id_pauses_and_goes_on_with_the_missing_rows(
    prepared, paid, vault_path
) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    assert not vault.get_process_completion("p")
    with pytest.raises(TVLockError, match='paused process "p"'):
        vault.create_builder_file("t", "more")
    vault.create_table("other")
    mend(vault_path, paid)
    assert TableVault(vault_path, "Ben").execute_instance("t", process_id="p") == "p"
    assert vault.get_process_completion("p")
    check_whole(vault, paid, vault_path)
    with pytest.raises(TVProcessError, match="has ended"):
        vault.execute_instance("t", process_id="p")


@pytest.mark.parametrize("kind", ["Index", "Column"])
@pytest.mark.parametrize("argument", ["<<self.item>>", "<<self>>"])
def test_a_generator_that_goes_on_sees_the_items_that_it_made_before(
    vault, vault_path, paid, kind, argument
) -> None:
    text = f"""
import pandas as pd

def make(count):
    return pd.DataFrame({{"n": range(count)}})

def items(seen):
    with open({str(paid)!r}, "a") as file:
        file.write(str(seen["item"].dropna().tolist()) + "\\n")
    for n in range(5):
        if n == 3 and STOP:
            raise RuntimeError("seven")
        yield f"item {{n}}"
"""
    vault.create_code_module("paid", text=text.replace("STOP", "True"))
    vault.create_table("t")
    generator = ITEMS.replace("frame: ", "seen: ").replace("<<self.n>>", argument)
    builders = {"t_index": INDEX.replace("20", "5"), "items": generator}
    if kind == "Index":
        builders = {"t_index": generator.replace("ColumnBuilder", "IndexBuilder")}
    vault.create_instance("t", builders=builders)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    (vault_path / "code/paid.py").write_text(text.replace("STOP", "False"))
    vault.execute_instance("t", process_id="p")
    assert paid.read_text().splitlines() == ["[]", "['item 0', 'item 1', 'item 2']"]
    assert vault.get_dataframe("t")[0]["item"].tolist() == [f"item {n}" for n in range(5)]


def test_rows_of_another_function_or_argument_are_made_anew(prepared, paid, vault_path) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    edited = vault_path / "temp/t/base/builders/rows.yaml"
    other = ROWS.replace("function: square", "function: other")
    edited.write_text(other.replace("{n: ", "{m: 100, n: "))
    text = code(paid) + "\n\ndef other(n, m):\n    return n * m, 'other'\n"
    (vault_path / "code/paid.py").write_text(text)
    vault.execute_instance("t", process_id="p")
    frame, instance = vault.get_dataframe("t")
    assert frame["square"].tolist() == [100 * n for n in range(20)]
    assert "other" in vault.get_builder_str("t", "rows", instance)
    check_clean(vault_path)


def test_a_failure_without_an_id_leaves_rows_that_are_paid_for_once(
    prepared, paid, vault_path
) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t")
    assert vault.get_active_processes() == {}
    check_clean(vault_path)
    frame, instance = vault.get_dataframe("t", "TEMP_base")
    assert instance == "TEMP_base"
    assert frame["n"].tolist() == list(range(20))
    assert frame["square"].dropna().tolist() == [n * n for n in range(7)]
    assert (frame["square"].dtype, frame["text"].dtype) == ("Int64", "string")
    some, _ = vault.get_dataframe("t", "TEMP_base", rows=2, columns=["text"])
    assert some.to_dict("list") == {"text": ["text 0", "text 1"]}
    with pytest.raises(TVTableError, match="no column"):
        vault.get_dataframe("t", "TEMP_base", columns=["nope"])
    mend(vault_path, paid)
    vault.execute_instance("t")
    assert calls(paid)["square 0"] == 1
    assert vault.get_dataframe("t")[0]["square"].tolist() == EXPECTED["square"]


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_keep_the_rows_that_were_in_flight(prepared, paid, vault_path, threads) -> None:
    vault = prepared(square=STOP_AT_7 + "\n    time.sleep(0.01)", threads=threads)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    done = sum(calls(paid).values()) - 1
    frame, _ = vault.get_dataframe("t", "TEMP_base")
    assert frame["square"].notna().sum() == done
    mend(vault_path, paid)
    vault.execute_instance("t", process_id="p")
    check_whole(vault, paid, vault_path)


def test_a_generator_keeps_its_items_and_is_called_again_from_the_start(
    prepared, paid, vault_path
) -> None:
    vault = prepared("items", items='if n == 2: raise RuntimeError("seven")')
    with FAILED:
        vault.execute_instance("t", process_id="p")
    frame, _ = vault.get_dataframe("t", "TEMP_base")
    assert frame["item"].dropna().tolist() == ["item 0", "item 1"]
    assert vault.get_active_processes()["p"].rows == {"t_index": 20, "items": 2}
    mend(vault_path, paid)
    vault.execute_instance("t", process_id="p")
    assert vault.get_dataframe("t")[0]["item"].tolist() == [f"item {n}" for n in range(20)]
    check_clean(vault_path)


def test_a_builder_that_ended_is_not_called_again(prepared, paid, vault_path) -> None:
    vault = prepared("rows", "items", square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    assert vault.get_active_processes()["p"]["complete_steps"] == ["t_index", "items"]
    mend(vault_path, paid)
    vault.execute_instance("t", process_id="p")
    assert set(calls(paid).values()) == {1}
    assert len(calls(paid)) == 41


def test_the_arguments_of_the_first_call_count(prepared, paid, vault_path) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    mend(vault_path, paid)
    vault.execute_instance("nope", "other", True, process_id="p")
    check_whole(vault, paid, vault_path)


def test_another_operation_cannot_take_the_id(prepared) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    with pytest.raises(TVProcessError, match="paused execute_instance, not a create_table"):
        vault.create_table("x", process_id="p")
    assert list(vault.get_active_processes()) == ["p"]


def test_a_value_that_does_not_fit_pauses_the_process_that_has_an_id(
    prepared, paid, vault_path
) -> None:
    vault = prepared(square="if n == 7: return 'no number', 1")
    with pytest.raises(TVTableError, match="row 7: 'no number'"):
        vault.execute_instance("t", process_id="p")
    assert vault.get_active_processes()["p"].rows == {"t_index": 20, "rows": 7}
    mend(vault_path, paid)
    vault.execute_instance("t", process_id="p")
    check_whole(vault, paid, vault_path)


def test_an_error_before_the_first_call_ends_the_process_although_it_has_an_id(
    prepared, vault_path
) -> None:
    vault = prepared()
    vault.create_instance("t", builders={"t_index": "builder_type: nonsense"})
    with pytest.raises(TVBuilderError):
        vault.execute_instance("t", process_id="q")
    assert vault.get_process_completion("q")
    assert vault.get_active_processes() == {}
    check_clean(vault_path)


def test_a_slip_while_a_builder_is_repaired_loses_nothing(prepared, paid, vault_path) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    edited = vault_path / "temp/t/base/builders/rows.yaml"
    text = edited.read_text()
    edited.write_text(text + "n_threads: none\n")
    with pytest.raises(TVBuilderError):
        vault.execute_instance("t", process_id="p")
    assert vault.get_active_processes()["p"].error[0] == "TVBuilderError"
    edited.write_text(text)
    mend(vault_path, paid)
    vault.execute_instance("t", process_id="p")
    check_whole(vault, paid, vault_path)


def test_references_go_on_to_mean_the_instances_that_they_meant(prepared, paid, vault_path) -> None:
    vault = prepared(square=STOP_AT_7)
    vault.create_table("source")
    builder = ROWS.replace("{n: ", '{by: "<<source.v>>", n: ').replace("n: square", "n: times")
    vault.create_builder_file("t", "rows", text=builder)
    more = "\n\ndef times(n, by):\n    return square(n)[0] * int(by.iloc[0, 0]), ''\n"
    for number in (1, 100):
        vault.create_instance("source", external_edit=True)
        vault.write_instance(pd.DataFrame({"v": [number]}), "source")
        if number == 1:
            (vault_path / "code/paid.py").write_text(code(paid, square=STOP_AT_7) + more)
            with FAILED:
                vault.execute_instance("t", process_id="p")
    (vault_path / "code/paid.py").write_text(code(paid) + more)
    vault.execute_instance("t", process_id="p")
    frame, instance = vault.get_dataframe("t")
    assert frame["square"].tolist() == EXPECTED["square"]
    first, _ = vault.get_table_instances("source")
    assert vault.get_descriptions(instance)["dependencies"] == [["source", first]]


def test_rows_that_cannot_be_kept_are_one_error_that_pauses(
    prepared, paid, vault_path, monkeypatch
) -> None:
    vault = prepared()
    real = CallStore.write

    def full(
        store: CallStore,
        execution: int,
        written: Sequence[CallRecord],
        *spent: object,
        **more: float,
    ) -> None:
        if any(call.row == 8 for call in written):
            raise OSError(28, "No space left on device")
        real(store, execution, written, *spent, **more)

    with monkeypatch.context() as patch:
        patch.setattr(CallStore, "write", full)
        patch.setattr("tablevault.engine.calls.writer._EVERY_S", 0.0)  # each at once
        with pytest.raises(OSError, match='"rows": row 8 was computed but cannot be kept'):
            vault.execute_instance("t", process_id="p")
    assert vault.get_active_processes()["p"].rows["rows"] == 8
    vault.execute_instance("t", process_id="p")
    assert calls(paid).pop("square 8") == 2
    assert sum(calls(paid).values()) == 22


# -- processes that are killed --------------------------------------------------------------------

EXECUTE = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "B").execute_instance("t", process_id=sys.argv[2])
"""
# What takes no time may be recorded 10 ms later.
KILL_AT_7 = "time.sleep(0.002)\n    if n == 7: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("process_id", ["p", ""])
def test_a_killed_execution_is_finished_by_restart(
    prepared, paid, vault_path, python, process_id
) -> None:
    vault = prepared(square=KILL_AT_7)
    killed = python(EXECUTE, vault_path, process_id)
    assert killed.wait() == -signal.SIGKILL
    (record,) = vault.get_active_processes().values()
    assert record.rows == {"t_index": 20, "rows": 7}
    assert vault.get_dataframe("t", "TEMP_base")[0]["square"].notna().sum() == 7
    vault.create_table("in_between")
    mend(vault_path, paid)
    again = TableVault(vault_path, "Ben", restart=True)
    assert again.get_process_completion(record.process_id)
    check_whole(again, paid, vault_path)


def test_a_nameless_killed_execution_is_taken_back_by_the_next_one(
    prepared, paid, vault_path, python
) -> None:
    vault = prepared(square=KILL_AT_7)
    assert python(EXECUTE, vault_path, "").wait() == -signal.SIGKILL
    (dead,) = vault.get_active_processes()
    mend(vault_path, paid)
    vault.execute_instance("t")
    assert vault.get_process_completion(dead)
    assert calls(paid)["square 0"] == 1
    assert vault.get_dataframe("t")[0]["square"].tolist() == EXPECTED["square"]
    check_clean(vault_path)


@pytest.mark.parametrize("threads", [1, 3])
def test_kills_at_any_moment_lose_at_most_the_rows_in_flight(
    prepared, paid, vault_path, python, threads
) -> None:
    vault = prepared(square="time.sleep(0.005)", threads=threads)
    kills = kill_and_resume(vault, paid, lambda: python(EXECUTE, vault_path, "p"))
    frame, _ = vault.get_dataframe("t")
    assert frame[list(EXPECTED)].to_dict("list") == EXPECTED
    squares = [count for what, count in calls(paid).items() if what.startswith("square")]
    assert len(squares) == 20
    assert sum(squares) - 20 <= kills * threads
    check_clean(vault_path)


def test_a_killed_generator_keeps_every_item_that_it_has_made(
    prepared, paid, vault_path, python
) -> None:
    vault = prepared("items", items="time.sleep(0.005)")
    kills = kill_and_resume(vault, paid, lambda: python(EXECUTE, vault_path, "p"), "items")
    assert calls(paid)["item 0"] >= kills
    frame, _ = vault.get_dataframe("t")
    assert frame["item"].tolist() == [f"item {n}" for n in range(20)]
    check_clean(vault_path)


def kill_and_resume(
    vault: TableVault, paid: Path, start: Callable[[], subprocess.Popen[str]], builder: str = "rows"
) -> int:
    """Kill an execution again and again while it calls functions; give how often that was."""
    chance = random.Random(7)
    kills = done = 0
    for more in (1, 6, 4):
        paid_before = sum(calls(paid).values())
        process = start()
        until = paid_before + more + (done if builder == "items" else 0)
        while process.poll() is None and sum(calls(paid).values()) < until:
            time.sleep(chance.random() / 1000)
        process.kill()
        process.wait()
        kills += 1
        TableVault(vault._vault.path, "Bo")  # ends what had happened before the kill
        left = vault.get_active_processes().get("p")
        if left is None:  # on a busy machine it may have been faster than we
            assert process.returncode in (0, -signal.SIGKILL), process.stderr.read()
            return kills
        assert not left.is_running
        assert left.rows.get(builder, 0) >= done
        done = left.rows.get(builder, 0)
    process = start()
    assert process.wait() == 0, process.stderr.read()
    return kills


TRY = """
import sys
from tablevault import TableVault
from tablevault.engine.calls.records import CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.errors import TVProcessError
vault = TableVault(sys.argv[1], "B")
print("ready", flush=True)
sys.stdin.readline()
try:
    vault.execute_instance("t", process_id="p", background=len(sys.argv) > 2)
except TVProcessError as error:
    print(error)
    sys.exit(9)
"""


@pytest.mark.parametrize("arguments", [(), ("background",)])
def test_of_two_who_go_on_with_the_same_process_exactly_one_does(
    prepared, paid, vault_path, python, arguments
) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t", process_id="p")
    mend(vault_path, paid)
    both = [python(TRY, vault_path, *arguments) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = {process.wait(): process.stdout.read() + process.stderr.read() for process in both}
    assert set(said) == {0, 9}, said
    assert "runs just now" in said[9] or "has ended" in said[9]
    while not vault.get_process_completion("p"):
        time.sleep(0.01)
    check_whole(vault, paid, vault_path)


def test_rows_are_seen_from_another_process_while_they_are_made(
    prepared, paid, vault_path, python, tmp_path
) -> None:
    go = tmp_path / "go"
    waits = f"if n == 7:\n        while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    vault = prepared(square=waits)
    process = python(EXECUTE, vault_path, "p")
    while vault.get_active_processes().get("p", {"rows": {}})["rows"].get("rows") != 7:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    active = vault.get_active_processes()["p"]
    assert active.pid == process.pid
    assert active.rows == {"t_index": 20, "rows": 7}
    assert active["start_success"] is True
    assert active["execution_success"] is None
    assert vault.get_dataframe("t", "TEMP_base")[0]["square"].count() == 7
    with pytest.raises(TVProcessError, match="runs just now"):
        vault.execute_instance("t", process_id="p")
    go.touch()
    assert process.wait() == 0
    check_whole(vault, paid, vault_path)


def test_an_instance_that_is_made_anew_shows_nothing_of_the_one_before(prepared) -> None:
    vault = prepared(square=STOP_AT_7)
    with FAILED:
        vault.execute_instance("t")
    vault.rename_table("u", "t")
    assert len(vault.get_dataframe("u", "TEMP_base")[0]) == 20
    vault.create_instance("u", builders={"u_index": INDEX})
    assert vault.get_dataframe("u", "TEMP_base")[0].empty
