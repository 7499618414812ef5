"""A file system that is really full, or read-only; in a mount namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.engine.calls.store import CallStore
from tests.engine.calls.old_files import make_version_2
from tests.faults.scenarios import AUTHOR
from tests.looking import check_clean, state_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
FULL = """\
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tablevault import TableVault
from tests.looking import check_clean

root = Path(sys.argv[1])
path = root / "vault"
vault = TableVault(path, "bob", create=True)
vault.create_table("t")
chance = random.Random(1)
written, failed = [], 0
for n in range(60):
    values = [chance.random() for _ in range(4000)]
    calls = (
        lambda: vault.create_instance("t", external_edit=True),
        lambda: vault.write_instance(pd.DataFrame({"x": values}), "t"),
        lambda: vault.create_code_module("m", text=f"# {n}\\n" + "x" * 3000),
    )
    for number, call in enumerate(calls):
        try:
            call()
        except Exception as error:
            failed += 1
            assert "space" in str(error) or "full" in str(error) or number == 1, error
        else:
            written += [values] * (number == 1)
assert failed > 9, failed
assert written
subprocess.run(["mount", "-o", "remount,size=64m", str(root)], check=True)
vault = TableVault(path, "bob")
found = [vault.get_dataframe("t", each)[0]["x"].tolist() for each in vault.get_table_instances("t")]
assert found == written
assert not vault.get_active_processes()
vault.create_instance("t", external_edit=True)
vault.write_instance(pd.DataFrame({"x": [1]}), "t")
check_clean(path)
print("whole")
"""
MADE = """\
import sys
import pandas as pd
from tablevault import TableVault
from tests.faults.scenarios import AUTHOR
vault = TableVault(sys.argv[1], AUTHOR, create=True)
vault.create_table("t")
vault.create_instance("t", external_edit=True)
vault.write_instance(pd.DataFrame({"n": [1, 2]}), "t")
code = "import pandas as pd\\ndef rows(a=0):\\n    return pd.DataFrame({'n': [1, 2]})\\n"
vault.create_code_module("rows", text=code)
vault.create_table("made")
builder = "{builder_type: IndexBuilder, changed_columns: [n], python_function: rows, " \\
    "code_module: rows, is_custom: true, arguments: {}}"
vault.create_instance("made", builders={"made_index": builder})
vault.execute_instance("made")
vault.create_table("gone")
other = builder.replace("{}", "{a: 1}")
vault.create_instance("gone", builders={"gone_index": other})
vault.execute_instance("gone", sample=1)
vault.delete_instance("TEMP_base", "gone")
vault.delete_table("gone")
vault.create_code_module("twice", text="def twice(n):\\n    return n * 2\\n")
column = "{builder_type: ColumnBuilder, changed_columns: [twice], python_function: twice, " \\
    "code_module: twice, is_custom: true, return_type: row-wise, " \\
    "arguments: {n: '<<self.n[index]>>'}}"
vault.create_table("tried")
vault.create_instance("tried", builders={"tried_index": builder, "twice": column})
vault.execute_instance("tried", sample=2)
"""
READ_ONLY = """\
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "bob")
(instance,) = vault.get_table_instances("t")
assert vault.get_calls("made")["outcome"].tolist() == ["ok"]
assert {(each.name, each.state) for each in vault.status().tables} == {
    ("t", "current"), ("made", "current"), ("tried", "missing")}
assert [each for each in vault.verify() if each.severity == "error"] == []
assert [vault.gc(calls_older_than_days=days, dry_run=True).calls for days in (1, 0)] == [0, 1]
for run_index in (False, True):
    planned = vault.plan("tried", run_index=run_index).builders[1]
    assert (planned.calls, planned.reused) == (0, 2), planned
assert vault.get_dataframe("t")[0]["n"].tolist() == [1, 2]
assert vault.get_descriptions(instance)["rows"] == 2
assert len(vault.log()) >= 3
assert not vault.get_active_processes()
try:
    vault.create_table("u")
except OSError as error:
    print(error.strerror)
"""
CLONED = """\
import sys
from tablevault import TableVault
from tablevault.errors import TVFileError
vault = TableVault(sys.argv[1], "bob")
print(sorted((each.name, each.state) for each in vault.status().tables))
assert not vault.refresh(dry_run=True).tables
assert len(vault.get_table_instances("t")) == 1
assert len(vault.log()) >= 3
try:
    vault.get_dataframe("t")
except TVFileError as error:
    print(str(error).partition(" is ")[2])
"""


def test_a_full_file_system_costs_what_did_not_fit_alone(
    mounted: Callable[..., str], tmp_path: Path
) -> None:
    """Operations fail one after the other; when there is room again, all is as it should be."""
    said = mounted('mount -t tmpfs -o size=4m full "$0"', FULL, tmp_path)
    assert said == "whole\n"


@pytest.mark.parametrize(
    ("missing", "is_in_use"),
    [
        ("", False),
        ("", True),
        ("index.sqlite", False),
        ("checked-out", False),
        ("another interpreter", False),
        ("version 3", False),
    ],
)
def test_a_read_only_file_system_is_read(
    mounted: Callable[..., str], tmp_path: Path, missing: str, is_in_use: bool
) -> None:
    path = tmp_path / "vault"
    subprocess.run([sys.executable, "-c", MADE, path], check=True)
    calls = CallStore(path / ".git/tablevault/calls.sqlite")
    if is_in_use:  # SQLite keeps a write-ahead log beside the file
        assert calls.read("SELECT count(*) FROM calls", ()) == [(5,)]
    if missing == "another interpreter":  # opened it last, maybe on another computer
        driver = "merge.tablevault.driver"
        subprocess.run(["git", "-C", path, "config", driver, "/none/python"], check=True)
    elif missing == "version 3":
        make_version_2(path / ".git/tablevault/calls.sqlite")
    elif missing:
        (path / ".git/tablevault" / missing).unlink()
    before = state_of(path)
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    assert mounted(mount, READ_ONLY, path) == "Read-only file system\n"
    assert state_of(path) == before
    TableVault(path, AUTHOR).create_table("u")
    calls.close()
    check_clean(path)


REPAIR = """\
import subprocess, sys

command = [sys.executable, "-m", "tablevault", "--db-dir", sys.argv[1], "verify", "--repair"]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, done.stdout.split("\\t")[:3], done.stderr, sep="\\n")
"""


def test_what_cannot_be_repaired_on_a_read_only_file_system_is_reported_without_a_traceback(
    mounted: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "vault"
    subprocess.run([sys.executable, "-c", MADE, path], check=True)
    (path / "vault.yaml").unlink()
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    code, problem, error = mounted(mount, REPAIR, path).rstrip().split("\n")
    assert (code, problem) == ("1", "['warning', 'vault.yaml', 'The file is missing.']")
    assert 'working tree was repaired: Read-only file system: "' in error


def test_a_clone_by_git_on_a_read_only_file_system_is_read(
    mounted: Callable[..., str], tmp_path: Path
) -> None:
    """Nothing has opened it as a vault: it lacks all that is not in git."""
    subprocess.run([sys.executable, "-c", MADE, tmp_path / "vault"], check=True)
    clone = tmp_path / "clone"
    environment = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"}
    command = ["git", "clone", "-q", tmp_path / "vault", clone]
    subprocess.run(command, check=True, env=environment)
    before = state_of(clone)
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    states, error = mounted(mount, CLONED, clone).splitlines()
    assert states == "[('made', 'current'), ('t', 'current'), ('tried', 'missing')]"
    assert error.startswith(
        "not in this vault, which may only be read: nothing is fetched into it. Read it in a clone"
    )
    assert state_of(clone) == before


DAMAGED = """\
import sys
from tablevault import TableVault

vault = TableVault(sys.argv[1], "bo")
print([each.state for each in vault.status().tables])
print(vault.gc(dry_run=True).calls)
print([each.where for each in vault.verify()])
"""


def test_damaged_records_of_calls_on_a_read_only_file_system_are_none(
    mounted: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "vault"
    subprocess.run([sys.executable, "-c", MADE, path], check=True)
    (path / ".git/tablevault/calls.sqlite").write_bytes(b"no database, " * 999)
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    said = mounted(mount, DAMAGED, path)
    assert said == "['current', 'current', 'missing']\n0\n['.git/tablevault/calls.sqlite']\n"
