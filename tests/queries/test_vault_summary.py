"""The summary of a vault for a report: tables, temporary instances, builders."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault.queries.vault_summary import (
    builder_settings,
    temp_summaries,
    unfinished,
    vault_summary,
)
from tablevault.vault import Vault
from tests.conftest import AUTHOR
from tests.looking import git
from tests.report.conftest import CODE, write


def summary_of(vault):
    return vault_summary(vault._vault)


def test_an_instance_has_its_entry_document_and_first_rows(made):
    found = summary_of(made)
    assert [table.name for table in found.tables] == ["numbers", "sums", "apart"]
    numbers = found.tables[0]
    assert numbers.document.description == "Numbers & their doubles"
    latest, before, first = numbers.instances
    assert [each.id for each in (first, before, latest)] == made.get_table_instances("numbers")
    assert (latest.rows, latest.rows_before, latest.author) == (3, 3, "Ana Lund")
    assert [each.is_current for each in numbers.instances] == [True, False, False]
    assert latest.duration_s is not None
    assert latest.details.document.description == "another factor"
    runs = {each.name: (each.run.computed, each.run.reused) for each in latest.details.builders}
    assert runs == {"numbers_index": (3, 0), "twice": (3, 0)}
    assert (latest.results, before.results) == ((3, 0), (1, 2))
    assert found.texts[latest.details.builders[1].text_id].lines[-1] == "  factor: 3"
    assert found.texts[latest.details.document.code["m"]].lines[0] == CODE.splitlines()[0]
    assert latest.details.head.rows[1] == ("1", "3")


def test_without_files_of_calls_only_their_numbers_are_known(made, repo_path):
    tracked = git(repo_path, "log", "--format=", "--raw", "--no-abbrev", "--", "*calls.parquet")
    for line in tracked.splitlines():
        if line.split()[4] == "D":
            continue
        pointer = git(repo_path, "cat-file", "blob", line.split()[3])
        oid = pointer.splitlines()[1].rpartition(":")[2]
        (repo_path / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid).unlink(missing_ok=True)
    instances = summary_of(made).tables[0].instances
    builders = [builder for each in instances for builder in each.details.builders]
    assert {builder.calls for builder in builders} == {None}
    assert all(builder.run.calls is not None for builder in builders)


def test_an_instance_is_compared_with_the_one_before_it_in_its_version(vault):
    vault.create_table("t")
    write(vault, "t", {"x": [1]})
    write(vault, "t", {"x": [2, 3]}, version="other")
    write(vault, "t", {"x": [1, 2]})
    newest, other, _ = summary_of(vault).tables[0].instances
    assert (newest.rows_before, other.rows_before) == (1, None)
    assert newest.is_current
    assert other.is_current


def test_deleted_instances_are_listed_and_nothing_is_compared_with_them(made):
    first, _, latest = made.get_table_instances("numbers")
    made.delete_instance(first, "numbers")
    process = make_process(made)
    made.undo(process)
    instances = summary_of(made).tables[0].instances
    assert [bool(each.instance.deleted_at) for each in instances] == [True, False, False, True]
    assert [each.instance.withdrawn for each in instances] == [True, False, False, False]
    current = [each.id for each in instances if each.is_current]
    assert current == [latest]
    # The first that is left has nothing before it.
    assert instances[2].details.changes is None
    assert instances[3].details.changes is None


def make_process(vault):
    vault.create_instance("numbers", external_edit=True)
    return vault.write_instance(pd.DataFrame({"n": [1]}), "numbers")


SLOW_CODE = """import os
import time
from pathlib import Path
import pandas as pd
from tablevault.queries.vault_summary import unfinished
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
    vault.create_code_module("m", text=SLOW_CODE)
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
    probe.create_code_module("m", text=SLOW_CODE.replace("no answer", "still none"))
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
    probe.create_code_module(
        "m", text=SLOW_CODE.replace('raise TimeoutError("no answer")', "return 0")
    )
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
    monkeypatch.setattr("tablevault.queries.vault_summary._MOST_TEMPS", 1)
    probe.create_table("a")
    probe.create_instance("a", external_edit=True)
    probe.create_instance("t", external_edit=True)
    assert [each.document.external_edit for each in found(repo_path)] == [True]


HEAD = "python_function: ask\ncode_module: model\nchanged_columns: [a]\narguments:\n"


def test_an_argument_with_words_of_its_own_is_shown():
    text = f"{HEAD}  prompt: 'Judge <<self.a[index]>> kindly'\n  model: small\n"
    found = builder_settings("b", "id", text)
    assert found.arguments == (("prompt", "Judge <<self.a[index]>> kindly"), ("model", "small"))
    assert (found.function, found.columns, found.more_arguments) == ("model.ask", ("a",), 0)


@pytest.mark.parametrize(
    "value",
    ["<<t>>", "<<self.a[index]>>", '"<<t.a[k::<<self.k[index]>>]>>"', "'<<t.a[k::''x'']>>'"],
)
def test_an_argument_that_passes_a_reference_on_is_left_out(value):
    assert builder_settings("b", "id", f"{HEAD}  a: {value}\n").arguments == ()


def test_two_references_are_words_of_their_own():
    assert builder_settings("b", "id", f"{HEAD}  a: <<t.a[0]>><<t.b[0]>>\n").arguments


def test_many_arguments_are_counted():
    text = HEAD + "".join(f"  a{number}: {number}\n" for number in range(15))
    found = builder_settings("b", "id", text)
    assert (len(found.arguments), found.more_arguments) == (12, 3)
