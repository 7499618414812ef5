"""``git merge`` and ``git pull`` come to what ``pull`` comes to: by the driver and the hooks."""

from __future__ import annotations

import subprocess

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tests.clones import BO, path_of, tree, write
from tests.looking import check_clean, git

PRICE = {"input": 1, "output": 2}


def instances_of(vault):
    """Return the instances that are not deleted, and whether they are active."""
    return [(item.instance_id, item.active) for item in vault._vault.parts.index.existing()]


@pytest.fixture(autouse=True)
def programs(program):
    program("git-lfs")


@pytest.fixture
def trio(ana, part, tmp_path):
    """Return Ana's and Bo's vaults, and one that will join both as a vault does."""

    def make():
        bo = part()
        cy = clone_vault(path_of(ana), tmp_path / "cy", "Cy <cy@example.org>")
        return bo, cy

    return make


def pull_both(ana, bo, cy):
    """Pull with git at Bo's, with the vault at Cy's; the result has to be the same."""
    cy.add_remote("bo", path_of(bo))
    cy.pull("bo")
    cy.pull("origin")
    git(path_of(bo), "pull", "-q", "--no-edit", "origin", "main")
    bo = TableVault(path_of(bo), BO)
    assert tree(bo) == tree(cy)
    assert instances_of(bo) == instances_of(cy)
    tags = [git(path_of(vault), "for-each-ref", "refs/tags") for vault in (bo, cy)]
    assert tags[0] == tags[1]
    git(path_of(bo), "fsck", "--strict", "--no-dangling")
    assert git(path_of(bo), "status", "--porcelain") == ""
    return bo


def test_both_have_an_instance_of_one_version(ana, trio):
    builders = [
        {"one": "n_threads: 1\n", "two": "n_threads: 2\n"},
        {"one": "n_threads: 9\n", "three": "n_threads: 3\n"},
    ]
    write(ana, [0])
    bo, cy = trio()
    last = ""
    for vault, texts in zip((bo, ana), builders, strict=True):
        vault.create_instance("t", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [len(texts)]}), "t")
        last = vault.get_dataframe("t")[1]
    bo = pull_both(ana, bo, cy)
    assert bo.get_dataframe("t")[1] == last


def test_a_file_that_the_earlier_side_alone_changed(ana, trio):
    path = "tables/t/base/notes.txt"
    write(ana, [0])
    bo, cy = trio()
    write(bo, [1])
    file = path_of(bo) / path
    file.write_text("of the earlier one\n", "utf-8")
    git(path_of(bo), "add", path)
    git(path_of(bo), "commit", "-qm", "notes")
    write(ana, [2])
    bo = pull_both(ana, bo, cy)
    assert not (path_of(bo) / path).exists()
    assert bo.get_dataframe("t")[0]["n"].tolist() == [2]
    assert git(path_of(bo), "log", "-1", "--format=%s").startswith("merge: instances")


def test_a_rename_meets_new_versions(ana, trio):
    write(ana, [0])
    bo, cy = trio()
    bo.create_instance("t", version="draft", external_edit=True)
    write(bo, [1], version="new")
    ana.rename_table("u", "t")
    bo = pull_both(ana, bo, cy)
    assert bo.get_table_instances() == ["u"]
    bo.write_instance(pd.DataFrame({"n": [5]}), "u", "draft")
    check_clean(path_of(bo))


def test_settings_and_code(ana, trio):
    ana.create_code_module("m", text="A = 0\n\n\n\nB = 0\n")
    bo, cy = trio()
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 0\n")
    bo.create_code_module("m", text="A = 0\n\n\n\nB = 1\n")
    ana.create_table("mails", has_side_effects=True)
    bo = pull_both(ana, bo, cy)
    assert bo.get_code_module_str("m") == "A = 1\n\n\n\nB = 1\n"


def test_side_effects(ana, trio):
    ana.create_table("mails", has_side_effects=True)
    bo, cy = trio()
    write(bo, [1], "mails")
    write(ana, [2], "mails", "other")
    pull_both(ana, bo, cy)


def test_one_name_for_two_tables_stops_git(ana, trio):
    bo, _ = trio()
    for vault in (ana, bo):
        vault.create_table("twice")
    before = tree(bo)
    done = subprocess.run(
        ["git", "pull", "-q", "--no-edit", "origin", "main"],
        cwd=path_of(bo),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert 'two tables are called "twice"' in done.stderr
    git(path_of(bo), "merge", "--abort")
    assert tree(bo) == before
    check_clean(path_of(bo))


def test_a_deletion_meets_a_new_version(ana, trio):
    """Git sees no conflict: what is added and what is removed are different files."""
    bo, _ = trio()
    write(ana, [0])
    bo.pull()
    bo.delete_table("t")
    write(ana, [1], version="new")
    done = subprocess.run(
        ["git", "pull", "-q", "--no-edit", "origin", "main"],
        cwd=path_of(bo),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "tables/t: it was deleted here and changed there" in done.stderr
    git(path_of(bo), "merge", "--abort")
    check_clean(path_of(bo))


def test_a_merge_that_was_settled_by_hand_is_finished(ana, trio):
    ana.create_code_module("m", text="A = 0\n")
    write(ana, [0])
    bo, _ = trio()
    write(bo, [1])
    ana.create_code_module("m", text="A = 1\n")
    bo.create_code_module("m", text="A = 2\n")
    (path_of(bo) / "tables/t/base/notes.txt").write_text("mine\n", "utf-8")
    git(path_of(bo), "add", "tables/t/base/notes.txt")
    git(path_of(bo), "commit", "-qm", "notes")
    write(ana, [2])
    path = path_of(bo)
    pulled = ["git", "pull", "-q", "--no-edit", "origin", "main"]
    assert subprocess.run(pulled, cwd=path, capture_output=True, check=False).returncode == 1
    (path / "code/m.py").write_text("A = 3\n", "utf-8")
    git(path, "commit", "-qam", "settled")
    bo = TableVault(path, BO)
    assert bo.get_dataframe("t")[0]["n"].tolist() == [2]
    assert bo.get_code_module_str("m") == "A = 3\n"
    assert not (path / "tables/t/base/notes.txt").exists()
    check_clean(path)


def test_operations_are_not_rebased(ana, trio):
    bo, _ = trio()
    write(bo, [1])
    write(ana, [2])
    before = tree(bo)
    done = subprocess.run(
        ["git", "pull", "-q", "--rebase", "origin", "main"],
        cwd=path_of(bo),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "cannot be rebased" in done.stderr
    assert tree(bo) == before


def test_git_merges_limits_and_prices_as_pull_does(ana, part):
    bo = part()
    ana.set_config("limits.calls", 2)
    bo.set_config("prices.m", PRICE)
    bo.set_config("limits.cost", 3)
    git(path_of(ana), "fetch", "-q", "origin")
    git(path_of(ana), "merge", "-q", "--no-edit", "origin/main")
    assert ana.get_config() == {"limits": {"calls": 2, "cost": 3}, "prices": {"m": PRICE}}
    check_clean(path_of(ana))
