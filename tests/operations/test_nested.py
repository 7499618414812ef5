"""Operations that a function starts: children of the execution that calls it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import TVLockError, TVProcessError
from tests.looking import check_clean, git
from tests.scripts import Script

INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: {function}
code_module: {module}
is_custom: true
arguments: {arguments}
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [made]
python_function: {function}
code_module: {module}
is_custom: true
return_type: row-wise
n_threads: {threads}
arguments: {arguments}
"""
ROWS = """\
import pandas as pd


def rows(count):
    return pd.DataFrame({"n": range(count)})
"""
HEAD = """\
import pandas as pd
from tablevault import TableVault

"""


@pytest.fixture
def outer(vault: TableVault, vault_path: Path):
    """Execute a table whose index function has the given body; it knows ``path``."""
    vault.create_code_module("rows", text=ROWS)
    vault.create_table("outer")

    def run(body: str, *, vault: TableVault = vault, **options: object) -> str:
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        text = f"{HEAD}\ndef work(path, me):\n    vault = TableVault(path, 'within')\n{lines}"
        vault.create_code_module("work", text=f"{text}    return pd.DataFrame({{'n': [1]}})\n")
        arguments = f"{{path: {vault_path}, me: ~PROCESS_ID~}}"
        builder = INDEX.format(function="work", module="work", arguments=arguments)
        vault.create_instance("outer", builders={"outer_index": builder})
        return vault.execute_instance("outer", **options)

    return run


def parents(path: Path) -> set[tuple[str, ...]]:
    """Return the operations in history, each with the process within which it ran."""
    keys = ("Vault-Operation", "Vault-Parent-Process")
    form = ",".join(f"%(trailers:key={key},valueonly,separator=%x20)" for key in keys)
    lines = git(path, "log", "--all", f"--format={form}").splitlines()
    return {tuple(line.split(",")) for line in lines if not line.startswith(",")}


def test_children_are_found_without_passing_anything(
    outer, vault: TableVault, vault_path: Path
) -> None:
    process = outer(
        "vault.create_table('made')\n"
        "vault.create_code_module('extra', text='x = 1')\n"
        "vault.create_instance('made', external_edit=True)\n"
        "vault.write_instance(pd.DataFrame({'m': [1, 2]}), 'made')\n"
        "vault.create_instance('made', external_edit=True)\n"
        "vault.delete_instance('TEMP_base', 'made')\n"
    )
    assert vault.get_dataframe("made")[0]["m"].tolist() == [1, 2]
    assert vault.get_code_module_str("extra") == "x = 1"
    found = parents(vault_path)
    children = {name for name, parent in found if parent == process}
    assert children == {
        "create_table",
        "create_code_module",
        "create_instance",
        "write_instance",
        "delete_instance",
    }
    assert ("execute_instance", "") in found
    assert vault.get_active_processes() == {}
    check_clean(vault_path)


def test_an_execution_within_an_execution(outer, vault: TableVault, vault_path: Path) -> None:
    builder = INDEX.format(function="rows", module="rows", arguments="{count: 3}")
    outer(
        "vault.create_table('inner')\n"
        f"vault.create_instance('inner', builders={{'inner_index': {builder!r}}})\n"
        "vault.execute_instance('inner')\n"
        "assert len(vault.get_dataframe('inner')[0]) == 3\n"
        "assert len(vault.get_active_processes()) == 1\n"
    )
    assert len(vault.get_dataframe("inner")[0]) == 3
    log = git(vault_path, "log", "--format=%s", "--first-parent").splitlines()
    assert log[:2] == ["outer/base: execute, 1 row", "inner/base: execute, 3 rows"]
    check_clean(vault_path)


@pytest.mark.parametrize("threads", [1, 4])
def test_functions_in_worker_threads_are_within_their_execution(
    vault: TableVault, vault_path: Path, threads: int
) -> None:
    work = HEAD + (
        "def work(path, n):\n"
        "    vault = TableVault(path, 'within')\n"
        "    vault.create_table(f'made{n}')\n"
        "    vault.create_instance(f'made{n}', external_edit=True)\n"
        "    vault.write_instance(pd.DataFrame({'m': [n]}), f'made{n}')\n"
        "    return int(vault.get_dataframe(f'made{n}')[0]['m'][0])\n"
    )
    vault.create_code_module("rows", text=ROWS)
    vault.create_code_module("work", text=work)
    vault.create_table("outer", has_side_effects=True)
    index = INDEX.format(function="rows", module="rows", arguments="{count: 8}")
    column = COLUMN.format(
        function="work",
        module="work",
        threads=threads,
        arguments=f"{{path: {vault_path}, n: '<<self.n[index]>>'}}",
    )
    vault.create_instance("outer", builders={"outer_index": index, "made": column})
    process = vault.execute_instance("outer")
    assert vault.get_dataframe("outer")[0]["made"].tolist() == list(range(8))
    form = "--format=%(trailers:key=Vault-Parent-Process,valueonly,separator=%x20)"
    log = git(vault_path, "log", "--first-parent", form).split()
    assert log == [process] * 16
    check_clean(vault_path)


def test_a_thread_with_a_copied_context_is_within_and_a_bare_one_is_not(
    outer, vault_path: Path
) -> None:
    process = outer(
        "import threading, contextvars\n"
        "def make(name):\n"
        "    vault.create_table(name)\n"
        "run = contextvars.copy_context().run\n"
        "for target in ((run, (make, 'copied')), (make, ('bare',))):\n"
        "    thread = threading.Thread(target=target[0], args=target[1])\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "async def within():\n"
        "    await asyncio.to_thread(make, 'to_thread')\n"
        "import asyncio\n"
        "asyncio.run(within())\n"
    )
    form = "--format=%s,%(trailers:key=Vault-Parent-Process,valueonly,separator=%x20)"
    log = git(vault_path, "log", form).splitlines()
    assert f"copied: create table,{process}" in log
    assert f"to_thread: create table,{process}" in log
    assert "bare: create table," in log


def test_another_program_is_within_by_the_id_that_it_is_given(
    outer, vault: TableVault, vault_path: Path
) -> None:
    process = outer(
        "import subprocess, sys\n"
        "code = ('import sys; from tablevault import TableVault; '\n"
        "        'vault = TableVault(sys.argv[1], \"sub\", parent_id=sys.argv[2]); '\n"
        '        \'vault.create_instance("outer", "other", external_edit=True)\')\n'
        "subprocess.run([sys.executable, '-c', code, path, me], check=True)\n"
    )
    assert vault.get_descriptions("TEMP_other", "outer")["external_edit"] is True
    form = "%(trailers:key=Vault-Parent-Process,valueonly,separator=%x20)"
    shown = git(vault_path, "log", "-1", f"--format={form}", "refs/heads/temp/outer/other")
    assert shown.strip() == process


@pytest.mark.parametrize("author", ["me", "'within'"])
def test_in_a_table_with_side_effects_a_child_may_use_what_its_parent_holds(
    vault: TableVault, vault_path: Path, author: str
) -> None:
    vault.create_table("outer", has_side_effects=True)
    text = HEAD + (
        "def work(path, me):\n"
        f"    vault = TableVault(path, {author}, lock_timeout=0.2)\n"
        "    vault.create_instance('outer', 'other', external_edit=True)\n"
        "    vault.write_instance(pd.DataFrame({'n': [5]}), 'outer', 'other')\n"
        "    return vault.get_dataframe('outer', version='')[0]\n"
    )
    vault.create_code_module("work", text=text)
    arguments = f"{{path: {vault_path}, me: ~PROCESS_ID~}}"
    builder = INDEX.format(function="work", module="work", arguments=arguments)
    vault.create_instance("outer", builders={"outer_index": builder})
    vault.execute_instance("outer")
    assert vault.get_dataframe("outer")[0]["n"].tolist() == [5]
    ids = vault.get_table_instances("outer", "")
    assert [vault.get_descriptions(each)["active"] for each in ids] == [False, True]
    check_clean(vault_path)


class NoWaiting:
    """A clock for those who do not wait."""

    time, monotonic = time.time, time.monotonic

    @staticmethod
    def sleep(_: float) -> None:
        raise AssertionError("it waits")


# -- what an execution keeps for itself -----------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "execute_instance('outer')",
        "create_instance('outer', external_edit=True)",
        "create_builder_file('outer', 'more')",
        "delete_builder_file('outer_index', 'outer')",
        "delete_instance('TEMP_base', 'outer')",
        "rename_table('renamed', 'outer')",
        "delete_table('outer')",
        "delete_table('read')",
        "rename_table('renamed', 'read')",
        "delete_instance(vault.get_table_instances('read')[0], 'read')",
    ],
)
def test_a_child_is_refused_what_its_parent_works_with(
    vault: TableVault, vault_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.create_code_module("rows", text=ROWS)
    vault.create_table("read")
    index = INDEX.format(function="rows", module="rows", arguments="{count: 3}")
    vault.create_instance("read", builders={"read_index": index})
    vault.execute_instance("read")
    text = HEAD + (
        "def work(path, frame):\n"
        "    vault = TableVault(path, 'within')\n"
        "    try:\n"
        f"        vault.{call}\n"
        "    except Exception as error:\n"
        "        return pd.DataFrame({'n': [type(error).__name__, str(error)]})\n"
    )
    vault.create_code_module("work", text=text)
    vault.create_table("outer")
    builder = INDEX.format(
        function="work",
        module="work",
        arguments=f"{{path: {vault_path}, frame: <<read.n>>}}",
    )
    vault.create_instance("outer", builders={"outer_index": builder})
    monkeypatch.setattr("tablevault.transactions.begin.time", NoWaiting)
    process = vault.execute_instance("outer")
    kind, said = vault.get_dataframe("outer")[0]["n"]
    assert kind == "TVLockError"
    assert f"within a function that process {process} (execute_instance) calls" in said
    assert vault.get_dataframe("read")[0]["n"].tolist() == [0, 1, 2]
    check_clean(vault_path)


def test_a_function_that_executes_the_table_that_executes_it_is_refused(
    outer, vault: TableVault, vault_path: Path
) -> None:
    text = HEAD + (
        "def back(path):\n"
        "    TableVault(path, 'deep').execute_instance('outer')\n"
        "    return pd.DataFrame({'n': [1]})\n"
    )
    vault.create_code_module("back", text=text)
    builder = INDEX.format(function="back", module="back", arguments=f"{{path: {vault_path}}}")
    vault.create_table("inner")
    vault.create_instance("inner", builders={"inner_index": builder})
    with pytest.raises(TVLockError, match='"TEMP_base" of table "outer" cannot be changed'):
        outer("vault.execute_instance('inner')")
    check_clean(vault_path)
    assert vault.get_table_instances("inner") == []


def test_the_code_that_runs_may_be_made_anew_meanwhile(
    outer, vault: TableVault, vault_path: Path
) -> None:
    edited = (vault_path / "code/rows.py").read_text() + "# by hand\n"
    (vault_path / "code/rows.py").write_text(edited)
    outer(
        "import rows\n"
        "vault.create_code_module('rows', text='x = 1\\n')\n"
        "vault.create_table('made')\n"
    )
    assert vault.get_code_module_str("rows") == "x = 1\n"
    assert (vault_path / "code/rows.py").read_text() == "x = 1\n"
    # What ran is in history all the same.
    (instance,) = vault.get_table_instances("outer")
    document = git(vault_path, "show", f"outer/{instance}:tables/outer/base/instance.yaml")
    blob = next(line.split()[1] for line in document.splitlines() if line.startswith("  rows:"))
    assert git(vault_path, "cat-file", "blob", blob) == edited
    reachable = git(vault_path, "rev-list", "--objects", "main")
    assert blob in reachable
    check_clean(vault_path)


def test_a_commit_of_the_users_meanwhile_is_not_taken_back(
    outer, vault: TableVault, vault_path: Path
) -> None:
    (vault_path / "code/rows.py").write_text(ROWS + "# first\n")
    outer(
        "import subprocess, pathlib\n"
        "file = pathlib.Path(path, 'code/rows.py')\n"
        "file.write_text(file.read_text() + '# second\\n')\n"
        "subprocess.run(['git', '-C', path, 'commit', '-qam', 'by hand'], check=True)\n"
    )
    assert vault.get_code_module_str("rows").endswith("# first\n# second\n")
    assert git(vault_path, "show", "main:code/rows.py").endswith("# first\n# second\n")
    check_clean(vault_path)


# -- failures -------------------------------------------------------------------------------------


def test_children_stay_when_their_parent_fails(outer, vault: TableVault, vault_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        outer("vault.create_table('made')\n1 / 0\n")
    assert "made" in vault.get_table_instances()
    assert vault.get_active_processes() == {}
    check_clean(vault_path)


def test_a_child_that_fails_is_taken_back_and_its_parent_goes_on(
    outer, vault: TableVault, vault_path: Path
) -> None:
    outer(
        "vault.create_table('made')\n"
        "vault.create_instance('made', external_edit=True)\n"
        "try:\n"
        "    vault.write_instance(pd.DataFrame(), 'made')\n"
        "except Exception as error:\n"
        "    assert type(error).__name__ == 'TVArgumentError', error\n"
    )
    assert vault.get_table_instances("made") == []
    assert vault.get_descriptions("TEMP_base", "made")["external_edit"] is True
    check_clean(vault_path)


def test_a_parent_that_is_resumed_calls_its_functions_again(
    outer, vault: TableVault, vault_path: Path
) -> None:
    body = (
        "if 'made' not in vault.get_table_instances():\n"
        "    vault.create_table('made')\n"
        "    raise RuntimeError('after the child')\n"
        "vault.create_table('second')\n"
    )
    with pytest.raises(RuntimeError, match="after the child"):
        outer(body, process_id="job")
    assert vault.execute_instance("outer", process_id="job") == "job"
    assert set(vault.get_table_instances()) == {"outer", "made", "second"}
    form = "--format=%(trailers:key=Vault-Parent-Process,valueonly,separator=%x20)"
    assert git(vault_path, "log", "--first-parent", "-3", form).split() == ["job", "job"]
    check_clean(vault_path)


def test_a_parent_that_is_gone_is_refused(vault: TableVault, vault_path: Path) -> None:
    orphan = TableVault(vault_path, "Ana", parent_id="no process")
    with pytest.raises(TVProcessError, match=r'"no process".*does not run'):
        orphan.create_table("t")
    assert orphan.get_table_instances() == []
    check_clean(vault_path)


def test_a_thread_that_outlives_the_execution_is_on_its_own(
    outer, vault: TableVault, vault_path: Path
) -> None:
    outer(
        "import threading, contextvars, sys\n"
        "ended = threading.Event()\n"
        "sys.tablevault_test = ended\n"
        "def late():\n"
        "    ended.wait(60)\n"
        "    vault.create_table('late')\n"
        "thread = threading.Thread(target=contextvars.copy_context().run, args=(late,))\n"
        "ended.thread = thread\n"
        "thread.start()\n"
    )
    ended = sys.tablevault_test  # type: ignore[attr-defined]
    del sys.tablevault_test  # type: ignore[attr-defined]
    ended.set()
    ended.thread.join()
    form = "--format=%s,%(trailers:key=Vault-Parent-Process,valueonly,separator=%x20)"
    assert git(vault_path, "log", "-1", form) == "late: create table,\n"
    check_clean(vault_path)


def test_a_kill_within_a_child_is_recovered(
    vault: TableVault, vault_path: Path, python: Callable[..., Script]
) -> None:
    script = (
        "import os, sys\n"
        "from tablevault import TableVault\n"
        "from tablevault.lfs.store import ObjectStore\n"
        "ObjectStore.keep = lambda *a: os.kill(os.getpid(), 9)\n"
        "TableVault(sys.argv[1], 'x').execute_instance('outer')\n"
    )
    text = HEAD + (
        "def work(path):\n"
        "    vault = TableVault(path, 'within')\n"
        "    vault.create_instance('made', external_edit=True)\n"
        "    vault.write_instance(pd.DataFrame({'m': [1]}), 'made')\n"
        "    return pd.DataFrame({'n': [1]})\n"
    )
    vault.create_code_module("work", text=text)
    vault.create_table("made")
    vault.create_table("outer")
    builder = INDEX.format(function="work", module="work", arguments=f"{{path: {vault_path}}}")
    vault.create_instance("outer", builders={"outer_index": builder})
    assert python(script, vault_path).wait() == -9
    opened = TableVault(vault_path, "Bo", restart=True)
    assert opened.get_dataframe("outer")[0]["n"].tolist() == [1]
    assert opened.get_dataframe("made")[0]["m"].tolist() == [1]
    assert opened.get_active_processes() == {}
    check_clean(vault_path)
