"""Instances that plain git has changed, where no hook keeps it from that."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tests.drivers.test_hooks import CODE, INDEX
from tests.looking import git

BO = "Bo <bo@example.org>"


@pytest.fixture
def plain(vault: TableVault, vault_path: Path, tmp_path: Path) -> Path:
    """Make a clone by plain git that was never opened, so it has no hooks."""
    vault.create_code_module("work", text=CODE)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": INDEX})
    vault.execute_instance("t")
    vault.create_table("files")
    vault.create_instance("files", external_edit=True)
    Path(vault.get_artifact_folder("files"), "a.txt").write_text("a")
    vault.write_instance(pd.DataFrame({"f": ["a.txt"]}), "files", dtypes={"f": "artifact_string"})
    git(tmp_path, "clone", "-q", vault_path, "plain")
    return tmp_path / "plain"


def replace_in(path: Path, name: str, old: str, new: str) -> None:
    (path / name).write_text((path / name).read_text().replace(old, new))


def commit(path: Path, message: str = "by hand") -> str:
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", message)
    return git(path, "rev-parse", "HEAD").strip()


CHANGES = {
    "tables/t/base/builders/t_index.yaml": ("n: 2", "n: 3"),
    "tables/t/base/instance.yaml": ("rows: 2", "rows: 3"),
    "tables/t/base/dataframe.parquet": ("size ", "size 1"),
    "tables/files/artifacts/a.txt": ("size ", "size 1"),
}


def change(path: Path, name: str) -> str:
    """Commit another content of a file, pointers as they are in git."""
    old, new = CHANGES[name]
    text = git(path, "show", f"main:{name}").replace(old, new)
    blob = git(path, "hash-object", "-w", "--stdin", text=text).strip()
    git(path, "update-index", "--cacheinfo", f"100644,{blob},{name}")
    git(path, "commit", "-q", "-m", "by hand")
    git(path, "checkout-index", "-q", "-f", "-a", check=False)
    return git(path, "rev-parse", "HEAD").strip()


def worse_than_notes(vault: TableVault) -> list[object]:
    """Leave out the objects that a plain clone does not bring."""
    return [problem for problem in vault.verify() if problem.severity != "note"]


@pytest.mark.parametrize("name", CHANGES)
def test_verify_and_log_flag_the_commit(plain, name):
    made = change(plain, name)
    opened = TableVault(plain, BO)
    table = name.split("/")[1]
    flagged = [each for each in opened.verify(data=False) if each.kind == "instance"]
    assert [each.where for each in flagged] == [name]
    assert made[:12] in flagged[0].text
    for log in (opened.log(), opened.log(table)):
        entry = log[log["commit"] == made].iloc[0]
        assert entry["operation"] == "commit"
        assert entry["table_name"] == table
        assert not entry["success"]
        assert name in entry["error"]


def test_what_takes_it_back_is_named_and_flags_nothing_more(plain):
    change(plain, "tables/t/base/builders/t_index.yaml")
    opened = TableVault(plain, BO)
    (problem,) = [each for each in opened.verify() if each.kind == "instance"]
    commit_id = re.search("`git revert (.*?)`", problem.advice)[1]
    git(plain, "reset", "-q", "--hard")
    git(plain, "revert", "--no-edit", commit_id)
    assert worse_than_notes(TableVault(plain, BO)) == []
    assert opened.log()["success"].tolist().count(False) == 1


def test_a_removed_instance_is_flagged_in_the_log(plain):
    git(plain, "rm", "-q", "-r", "tables/t/base")
    made = commit(plain)
    log = TableVault(plain, BO).log("t")
    assert log["commit"][~log["success"]].tolist() == [made]


def test_a_commit_of_other_files_is_not_flagged(plain):
    (plain / "tables/t/base/notes.md").write_text("mine")
    (plain / "README.md").write_text("mine")
    replace_in(plain, "code/work.py", "import", "# mine\nimport")
    commit(plain)
    opened = TableVault(plain, BO)
    assert worse_than_notes(opened) == []
    assert opened.log()["success"].all()


def test_a_later_commit_is_not_flagged_for_what_an_earlier_one_changed(plain):
    made = change(plain, "tables/t/base/builders/t_index.yaml")
    git(plain, "reset", "-q", "--hard")
    (plain / "tables/t/base/notes.md").write_text("mine")
    commit(plain)
    log = TableVault(plain, BO).log()
    assert log["commit"][~log["success"]].tolist() == [made]


def test_a_merge_is_not_flagged_and_what_it_brings_is(plain, vault, vault_path):
    made = change(plain, "tables/t/base/builders/t_index.yaml")
    vault.create_table("more")
    git(vault_path, "pull", "-q", "--no-edit", "--no-rebase", plain, "main")
    opened = TableVault(vault_path, BO)
    log = opened.log()
    assert log["commit"][~log["success"]].tolist() == [made]
    (problem,) = [each for each in opened.verify() if each.kind == "instance"]
    assert made[:12] in problem.text


def test_what_operations_do_is_no_change_of_an_instance(vault, plain):
    frame, _ = vault.get_dataframe("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(frame, "t")  # the same rows, so that they stay when it is deleted
    vault.rename_table("u", "t")
    first, second = vault.get_table_instances("u")
    vault.delete_instance(second, "u")
    vault.undo(vault.log()["process_id"][0])
    vault.create_instance("u", builders={"u_index": INDEX})
    vault.execute_instance("u")
    assert vault.verify() == []
    assert vault.log()["success"].all()
    assert vault.get_table_instances("u")[:2] == [first, second]
