"""The state of temporary instances: progress, and why the last execution stopped."""

from __future__ import annotations

import pytest

from tablevault.queries.temp_summary import temp_summaries, unfinished
from tablevault.vault import Vault
from tests.conftest import AUTHOR

CODE = """import os
import time
from pathlib import Path
import pandas as pd
from tablevault.queries.temp_summary import unfinished
from tablevault.vault import Vault


def rows():
    return pd.DataFrame({"n": range(4)})


def ask(n, stop):
    time.sleep(0.002)  # what takes no time may be recorded 10 ms later
    if n == 2 and stop == "fail":
        raise TimeoutError("no answer")
    if n == 2 and stop == "die":
        os._exit(1)
    return n


def watch(n, path):
    found, = unfinished(Vault(path=Path(path), author="Bo"))
    return f"{found.state} {found.stopped} {found.table} {found.version}"
"""
INDEX = """builder_type: IndexBuilder
changed_columns: [n]
python_function: rows
code_module: m
is_custom: true
arguments: {}
"""
ASK = """builder_type: ColumnBuilder
changed_columns: [a]
python_function: ask
code_module: m
is_custom: true
return_type: row-wise
arguments:
  n: <<self.n[index]>>
  stop: STOP
"""


@pytest.fixture
def probe(vault):
    """Make a table, and code that fails, dies or succeeds by its argument."""
    vault.create_code_module("m", text=CODE)
    vault.create_table("t")
    return vault


def prepare(vault, stop, table="t"):
    builders = {f"{table}_index": INDEX, "ask": ASK.replace("STOP", stop)}
    vault.create_instance(table, builders=builders)


def fail(vault, process_id="", table="t"):
    with pytest.raises(TimeoutError):
        vault.execute_instance(table, process_id=process_id)


def found(path, table="t"):
    vault = Vault(path=path, author=AUTHOR)
    ids = {table: vault.snapshot().table(table).id}
    view = vault.view(with_temps=True)
    return temp_summaries(vault, view, ids, unfinished(vault)).get(table, [])


def progress(temp):
    return [(each.builder, each.rows, each.total) for each in temp.progress]


def test_without_an_execution_there_is_no_process(probe, repo_path):
    prepare(probe, "no")
    (temp,) = found(repo_path)
    assert (temp.process, temp.progress) == (None, [])
    assert list(temp.builders) == ["ask", "t_index"]


def test_the_error_of_the_last_execution_stays_with_it(probe, repo_path):
    prepare(probe, "fail")
    fail(probe)
    (temp,) = found(repo_path)
    assert (temp.process.state, temp.process.error) == ("failed", "TimeoutError: no answer")
    assert temp.process.author.partition(" <")[0] == "Ana Lund"
    assert temp.process.stopped >= temp.process.started
    assert progress(temp) == [("t_index", 4, 4), ("ask", 2, 4)]


def test_the_later_of_two_errors_counts(probe, repo_path):
    prepare(probe, "fail")
    fail(probe)
    probe.create_code_module("m", text=CODE.replace("no answer", "still none"))
    fail(probe)
    (temp,) = found(repo_path)
    assert temp.process.error == "TimeoutError: still none"


def test_a_paused_process_is_one(probe, repo_path):
    prepare(probe, "fail")
    fail(probe)
    fail(probe, "night")
    (temp,) = found(repo_path)
    assert (temp.process.state, temp.process.process_id) == ("paused", "night")
    assert temp.process.stopped >= temp.process.started


def test_a_process_whose_program_is_gone_is_interrupted(probe, repo_path, python):
    prepare(probe, "die")
    script = (
        "import sys; from tablevault import TableVault\n"
        "TableVault(sys.argv[1], 'Ana').execute_instance('t', process_id='night')"
    )
    assert python(script, repo_path).wait(timeout=60) == 1
    (temp,) = found(repo_path)
    assert (temp.process.state, temp.process.error) == ("interrupted", "")
    assert progress(temp) == [("t_index", 4, 4), ("ask", 2, 4)]


def test_a_process_that_runs_has_not_stopped(probe, repo_path):
    watch = ASK.replace("python_function: ask", "python_function: watch")
    watch = watch.replace("stop: STOP", f"path: {repo_path}")
    probe.create_instance("t", builders={"t_index": INDEX, "ask": watch})
    probe.execute_instance("t")
    assert set(probe.get_dataframe("t")[0]["a"]) == {"running None t base"}


def test_an_error_is_over_when_the_instance_is_made(probe, repo_path):
    prepare(probe, "fail")
    fail(probe)
    probe.create_code_module("m", text=CODE.replace('raise TimeoutError("no answer")', "return 0"))
    probe.execute_instance("t")
    assert found(repo_path) == []
    prepare(probe, "no")
    (temp,) = found(repo_path)
    assert temp.progress == []


def test_an_error_follows_its_table_to_another_name(probe, repo_path):
    prepare(probe, "fail")
    fail(probe)
    probe.rename_table("u", "t")
    (temp,) = found(repo_path, "u")
    assert temp.process.error == "TimeoutError: no answer"


def test_another_version_has_its_own_error(probe, repo_path):
    prepare(probe, "fail")
    fail(probe)
    probe.create_instance("t", version="other", builders={"t_index": INDEX})
    base, other = found(repo_path)
    assert base.process is not None
    assert other.process is None


def test_other_tables_take_no_room(probe, repo_path, monkeypatch):
    monkeypatch.setattr("tablevault.queries.temp_summary._MOST_TEMPS", 1)
    probe.create_table("a")
    probe.create_instance("a", external_edit=True)
    probe.create_instance("t", external_edit=True)
    assert [each.document.external_edit for each in found(repo_path)] == [True]
