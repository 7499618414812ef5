"""The log: operations that left a commit, those that failed, and commits of plain git."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TableVaultError, TVArgumentError
from tests.looking import git, state_of

DTYPES = {
    "time": "datetime64[us, UTC]",
    "operation": "string",
    "table_name": "string",
    "version": "string",
    "instance_id": "string",
    "rows": "Int64",
    "success": "bool",
    "error": "string",
    "author": "string",
    "duration": "timedelta64[us]",
    "subject": "string",
    "process_id": "string",
    "parent_id": "string",
    "commit": "string",
}
FAILS = """\
import pandas as pd
def fail():
    raise ValueError("no [bold]luck[/bold]")
"""
BUILDER = """\
builder_type: IndexBuilder
changed_columns: [a]
python_function: fail
code_module: broken
is_custom: true
arguments: {}
"""


def write(vault, table, frame, version="base"):
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(frame, table, version=version)
    return vault.get_table_instances(table, version)[-1]


def dtypes(frame):
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def furnish(vault):
    vault.create_table("stories")
    vault.create_table("papers")
    write(vault, "stories", pd.DataFrame({"a": [1, 2]}))
    write(vault, "papers", pd.DataFrame({"a": [1]}))


@pytest.fixture
def told(copy_of, vault_path):
    return copy_of(furnish, vault_path)


def test_operations_are_listed_newest_first(told, repo_path):
    found = told.log()
    assert found["operation"].tolist() == [
        "write_instance",
        "create_instance",
        "write_instance",
        "create_instance",
        "create_table",
        "create_table",
        "create_vault",
    ]
    assert found["time"].is_monotonic_decreasing
    assert found["rows"].tolist()[:3] == [1, pd.NA, 2]
    assert found["instance_id"].tolist()[1] == "TEMP_base"
    assert found["success"].all()
    assert found["commit"][0] == git(repo_path, "rev-parse", "main").strip()
    assert (found["duration"].dropna() >= pd.Timedelta(0)).all()
    assert dtypes(found) == DTYPES


def test_a_log_of_nothing_has_the_same_columns(told):
    found = told.log(limit=0)
    assert len(found) == 0
    assert dtypes(found) == DTYPES


def test_a_limit_keeps_the_newest(told):
    pd.testing.assert_frame_equal(told.log(limit=3), told.log().head(3))
    pd.testing.assert_frame_equal(told.log("stories", limit=1), told.log("stories").head(1))
    assert len(told.log(limit=10**30)) == len(told.log())


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_a_limit_that_is_no_number_of_rows_is_refused(told, limit):
    with pytest.raises(TVArgumentError, match="limit"):
        told.log(limit=limit)


def test_a_table_is_followed_through_its_names(told):
    before = told.log("stories")["process_id"].tolist()
    told.rename_table("tales", "stories")
    told.create_table("stories")
    assert told.log("tales")["process_id"].tolist()[1:] == before
    assert told.log("stories")["operation"].tolist() == ["create_table"]


def test_a_deleted_table_is_found_by_its_last_name(told):
    told.delete_table("papers")
    assert told.log("papers")["operation"].tolist()[0] == "delete_table"
    with pytest.raises(TVArgumentError, match="paperz"):
        told.log("paperz")


def test_an_instance_is_followed_from_its_preparation_to_its_end(told):
    first = told.get_table_instances("stories")[0]
    second = write(told, "stories", pd.DataFrame({"a": [3]}))
    told.delete_instance(first, "stories")
    assert told.log("stories", first)["operation"].tolist() == [
        "delete_instance",
        "write_instance",
        "create_instance",
    ]
    assert told.log("stories", second)["operation"].tolist() == [
        "write_instance",
        "create_instance",
    ]


def test_a_temporary_instance_has_a_log(told):
    told.create_instance("papers", version="draft")
    text = "builder_type: ColumnBuilder\n"
    told.create_builder_file("papers", "more", version="draft", text=text)
    found = told.log("papers", "TEMP_draft")
    assert found["operation"].tolist() == ["create_builder_file", "create_instance"]


def test_an_unknown_instance_is_refused(told):
    for table, instance in (("stories", "base_1_x"), ("", "base_1_x"), ("stories", "TEMP_x")):
        with pytest.raises(TVArgumentError):
            told.log(table, instance)


def test_a_failed_execution_is_listed_with_its_error(told):
    told.create_code_module("broken", text=FAILS)
    told.create_instance("stories")
    told.create_builder_file("stories", text=BUILDER)
    with pytest.raises(ValueError, match="luck"):
        told.execute_instance("stories")
    found = told.log("stories").iloc[0]
    assert (found["operation"], found["success"], found["commit"]) == (
        "execute_instance",
        False,
        "",
    )
    assert found["error"] == "ValueError: no [bold]luck[/bold]"
    assert set(told.log("stories")["author"]) == {found["author"]}
    assert (found["table_name"], found["version"], found["instance_id"]) == (
        "stories",
        "base",
        "TEMP_base",
    )
    assert told.log("stories", "TEMP_base")["success"].tolist()[0] is False
    assert "execute_instance" not in told.log("papers")["operation"].tolist()
    told.rename_table("tales", "stories")
    assert "execute_instance" in told.log("tales")["operation"].tolist()


def test_an_execution_that_is_refused_is_listed_once_for_each_time(vault):
    vault.create_table("t")
    for _ in range(2):  # the id is free again
        with pytest.raises(TVArgumentError, match="no temporary instance"):
            vault.execute_instance("t", process_id="tried")
    log = vault.log()
    assert log["process_id"].tolist().count("tried") == 2


@pytest.mark.parametrize("kind", ["SystemExit(3)", "KeyboardInterrupt"])
def test_an_interrupted_execution_has_not_succeeded(told, kind):
    code = FAILS.replace('ValueError("no [bold]luck[/bold]")', kind)
    told.create_code_module("broken", text=code)
    told.create_instance("stories", builders={"stories_index": BUILDER})
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        told.execute_instance("stories")
    told.create_instance("stories")  # takes back what the interrupted process holds
    found = told.log("stories").iloc[1]
    assert (found["operation"], found["success"]) == ("execute_instance", False)
    assert found["error"] == "TVProcessError: The program that ran it ended first"


def test_commits_of_plain_git_are_listed(told, repo_path):
    (repo_path / "notes.md").write_text("x")
    git(repo_path, "add", "notes.md")
    git(repo_path, "commit", "-q", "-m", "add notes\n\nVault-like: no")
    found = told.log()
    mine = found[found["operation"] == "commit"]
    assert mine["subject"].tolist() == ["add notes"]
    assert mine["process_id"].tolist() == [""]


def test_a_log_folded_from_nothing_is_the_same(told, repo_path):
    told.rename_table("tales", "stories")
    told.create_instance("tales", version="draft")
    before = told.log()
    (repo_path / ".git/tablevault/index.sqlite").unlink()
    pd.testing.assert_frame_equal(TableVault(repo_path, "b").log(), before)


def test_an_index_of_another_release_is_made_again(told, repo_path):
    before = told.log()
    file = repo_path / ".git/tablevault/index.sqlite"
    for left in repo_path.glob(".git/tablevault/index.sqlite*"):
        left.unlink()
    old = sqlite3.connect(file)
    old.executescript("CREATE TABLE folded (commit_id TEXT PRIMARY KEY);")
    old.execute("INSERT INTO folded VALUES (?)", (before["commit"][0],))
    old.commit()
    old.close()
    pd.testing.assert_frame_equal(TableVault(repo_path, "b").log(), before)


def test_a_damaged_local_history_hides_no_commit(told, repo_path):
    before = told.log()
    lines = [b"\xff\x00 no json", b"[1]", json.dumps({"error": 3, "ended_at": "x"}).encode()]
    (repo_path / ".git/tablevault/history.jsonl").write_bytes(b"\n".join(lines))
    assert told.log()["commit"].tolist()[: len(before)] == before["commit"].tolist()


def test_a_log_changes_nothing(told, repo_path):
    before = state_of(repo_path)
    told.log()
    with pytest.raises(TableVaultError):
        told.log("nowhere")
    assert state_of(repo_path) == before


def test_a_clone_has_the_log_of_its_commits(told, repo_path, tmp_path):
    git(tmp_path, "clone", "-q", str(repo_path), "copy")
    copy = TableVault(tmp_path / "copy", "b")
    pd.testing.assert_frame_equal(copy.log(), told.log())
    shutil.rmtree(tmp_path / "copy")
