"""Rows that an execution keeps of instances are there while it runs, and when it has stopped."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tests.engine.calls.test_call_file import MANY, calls_of
from tests.looking import check_clean
from tests.operations.bench import ASK, IDS, INDEX, Bench

EXECUTE = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "B").execute_instance(sys.argv[2], process_id="p")
"""
DIES = """
import signal

def ask(id):
    if id == {at} and os.path.exists({down!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    pay(id)
    return {text!r} + str(id)
"""


@pytest.fixture
def down(tmp_path: Path) -> Path:
    """Return the file with which functions kill their process, or fail."""
    return tmp_path / "down"


@pytest.fixture
def bench(vault: TableVault, vault_path: Path, tmp_path: Path) -> Bench:
    return Bench(vault, vault_path, tmp_path / "paid")


def shown(bench: Bench) -> dict[int, str]:
    """Return the values of a stopped execution that are not null, by id."""
    frame = bench.vault.get_dataframe("t", "TEMP_base")[0].set_index("id")["x"].dropna()
    return dict(frame.items())


def die(bench: Bench, down: Path, python, table: str = "t") -> None:
    """Execute in a process that is killed by its function."""
    down.touch()
    assert python(EXECUTE, bench.path, table).wait() == -signal.SIGKILL
    down.unlink()


@pytest.fixture
def killed(bench: Bench, down: Path, python) -> dict[int, str]:
    """Kill an execution that keeps all rows but two of its origin; return what it keeps."""
    bench.code(DIES.format(at=13, down=str(down), text="a "))
    bench.run(IDS)
    bench.prepare({"id": [14, *reversed(IDS["id"]), 13]})
    die(bench, down, python)
    return {n: f"a {n}" for n in IDS["id"]}


def test_the_calls_of_kept_rows_are_listed_while_the_execution_has_not_ended(bench, killed) -> None:
    calls = bench.vault.get_calls("t", "TEMP_base")
    asked = calls[(calls["builder"] == "ask") & (calls["outcome"] == "ok")].set_index("row")
    rows = {n: row for row, n in enumerate([14, *reversed(IDS["id"]), 13])}
    (origin,) = bench.vault.get_table_instances("t")
    assert {rows[n] for n in killed} <= set(asked.index)
    assert set(asked.loc[[rows[n] for n in killed], "made_in"]) == {origin}


def test_a_killed_execution_shows_the_rows_that_it_keeps(bench, killed) -> None:
    assert killed.items() <= shown(bench).items()
    (process,) = bench.vault.get_active_processes().values()
    assert process.rows["ask"] == len(shown(bench))


def test_a_killed_execution_goes_on_with_the_rows_that_it_keeps(bench, killed) -> None:
    missing, before = 14 - len(shown(bench)), bench.calls()
    bench.vault.execute_instance("t", process_id="p")
    assert bench.calls() - before == missing
    assert bench.x() == [f"a {n}" for n in (14, *reversed(IDS["id"]), 13)]


def test_an_execution_that_is_stopped_leaves_the_rows_that_it_keeps(bench, killed) -> None:
    first, _ = bench.vault.get_dataframe("t")
    ((origin, *_),) = [bench.vault.get_table_instances("t")]
    there = shown(bench)
    bench.vault.stop_process("p", materialize=True)
    frame, stopped = bench.vault.get_dataframe("t")
    assert dict(frame.set_index("id")["x"].dropna().items()) == there
    assert len(first) == 12
    made = [row for row in calls_of(bench.path).to_pylist() if row["builder"] == "ask"]
    kept = {row["row"]: row["instance"] for row in made if row["instance"] is not None}
    assert kept == dict.fromkeys(range(1, 13), origin)
    assert len(made) == len(there)
    calls = bench.vault.get_calls("t", stopped)
    assert len(calls[calls["builder"] == "ask"]) == len(there)
    check_clean(bench.path)
    assert bench.run({"id": [*IDS["id"], 13, 14]}) == 14 - len(there)
    assert bench.x() == [f"a {n}" for n in (*IDS["id"], 13, 14)]
    assert set(Counter(bench.paid.read_text().split()).values()) <= {1, 2}


@pytest.fixture
def killed_with_many(bench: Bench, down: Path, python) -> str:
    """Kill an execution that finds many rows in an instance; return the id of that."""
    for text in ("a ", "b ", "a "):
        bench.code(DIES.format(at=1000, down=str(down), text=text))
        if bench.calls() < 2000:
            bench.run(MANY)
    first, _ = bench.vault.get_table_instances("t")
    bench.prepare({"id": [*reversed(MANY["id"]), 1000]})
    die(bench, down, python)
    return first


def test_many_rows_that_are_found_are_shown_and_stay(bench, killed_with_many) -> None:
    expected = {n: f"a {n}" for n in MANY["id"]}
    assert shown(bench) == expected
    bench.vault.stop_process("p", materialize=True)
    assert dict(bench.vault.get_dataframe("t")[0].set_index("id")["x"].dropna().items()) == expected
    made = [row for row in calls_of(bench.path).to_pylist() if row["builder"] == "ask"]
    assert {row["instance"] for row in made} == {killed_with_many}
    assert bench.run({"id": [*MANY["id"], 1000]}) == 1


def test_rows_of_an_instance_that_was_deleted_are_null(bench, killed_with_many) -> None:
    bench.vault.delete_instance(killed_with_many, "t")
    assert shown(bench) == {}
    assert bench.vault.get_active_processes()["p"].rows["ask"] == 0
    bench.vault.stop_process("p", materialize=True)
    assert bench.vault.get_dataframe("t")[0]["x"].isna().all()
    check_clean(bench.path)


def test_rows_are_not_shown_where_another_attempt_has_other_rows(bench) -> None:
    bench.code(
        "def ask(id):\n"
        "    if id == 99:\n        raise ConnectionError\n"
        "    return id\n\n"
        "def first(id):\n    if id == 100:\n        raise OSError('down')\n"
        "    return id\n"
    )
    bench.run(IDS)
    first = {**ASK, "changed_columns": ["y"], "python_function": "first"}
    bench.prepare({"id": [*IDS["id"], 99]})
    bench.vault.create_builder_file("t", "a_first", text=yaml.safe_dump(first))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    assert shown(bench) == {n: n for n in IDS["id"]}
    other = {"id": [99, *IDS["id"], 100]}
    index = {**INDEX, "changed_columns": ["id"], "primary_key": ["id"], "arguments": other}
    bench.vault.create_builder_file("t", "t_index", text=yaml.safe_dump(index))
    with pytest.raises(OSError, match="down"):
        bench.vault.execute_instance("t")
    frame, _ = bench.vault.get_dataframe("t", "TEMP_base")
    assert frame["id"].tolist() == other["id"]
    assert frame["x"].isna().all()


def test_an_execution_that_is_stopped_leaves_the_artifacts_of_rows_that_it_keeps(
    bench, down, python, vault_path
) -> None:
    bench.code(
        "import signal\n\ndef ask(id, folder):\n"
        f"    if id == 13 and os.path.exists({str(down)!r}):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    with open(os.path.join(folder, f'{id}.txt'), 'w') as file:\n"
        "        file.write(str(id))\n"
        "    return f'{id}.txt'\n"
    )
    bench.vault.create_table("files", allow_multiple_artifacts=True)
    arguments = {**ASK["arguments"], "folder": "~ARTIFACT_FOLDER~"}
    fields = {"table": "files", "dtypes": {"x": "artifact_string"}, "arguments": arguments}
    bench.run(IDS, **fields)
    bench.prepare({"id": [*IDS["id"], 13]}, **fields)
    die(bench, down, python, "files")
    bench.vault.stop_process("p", materialize=True)
    frame, _ = bench.vault.get_dataframe("files")
    assert [Path(path).read_text() for path in frame["x"][:12]] == [str(n) for n in IDS["id"]]
    check_clean(vault_path)
