"""Which folder belongs to which temporary instance, and when it is gone."""

from __future__ import annotations

import shutil

import pytest

from tablevault.history.checkout.checkpoints import Checkpoints
from tablevault.names import TempRef


@pytest.fixture
def checkpoints(parts):
    return Checkpoints(parts.parts.repository, parts.state)


@pytest.fixture
def folder_of(checkpoints, parts):
    """Return the folder of a temporary instance."""

    def folder(table="t", version="base"):
        tip = parts.parts.repository.tip(TempRef(table=table, version=version).ref)
        return checkpoints.folder(tip)

    return folder


@pytest.fixture
def temp(vault):
    vault.create_table("t")
    vault.create_instance("t")
    return vault


def test_the_folder_is_named_by_the_commit_that_made_the_instance(temp, folder_of, git, repo_path):
    made = git(repo_path, "rev-parse", "temp/t/base").strip()
    assert folder_of() == repo_path / ".git/tablevault/checkpoints" / made


def test_the_folder_stays_whatever_happens_to_the_instance(temp, folder_of, git, repo_path):
    before = folder_of()
    temp.create_builder_file("t", "more")
    (repo_path / "temp/t/base/builders/more.yaml").write_text("n_threads: 1\n")
    temp.create_builder_file("t", "other")
    temp.delete_builder_file("more", "t")
    git(repo_path, "worktree", "add", "-q", repo_path / "../w", "temp/t/base")
    (repo_path / "../w/tables/t/base/builders/other.yaml").write_text("n_threads: 2\n")
    git(repo_path / "../w", "commit", "-q", "-am", "by hand")
    git(repo_path, "worktree", "remove", repo_path / "../w")
    assert folder_of() == before
    temp.rename_table("u", "t")
    assert folder_of("u") == before


def test_an_instance_that_is_made_anew_has_another_folder(temp, folder_of):
    first = folder_of()
    temp.create_instance("t")
    second = folder_of()
    temp.delete_instance("TEMP_base", "t")
    temp.create_instance("t")
    assert len({first, second, folder_of()}) == 3


def test_a_branch_made_by_plain_git_has_a_folder_of_its_own(temp, folder_of, git, repo_path):
    git(repo_path, "branch", "temp/t/own", "main")
    git(repo_path, "worktree", "add", "-q", repo_path / "../w", "temp/t/own")
    (repo_path / "../w/x").write_text("1")
    git(repo_path / "../w", "add", "x")
    git(repo_path / "../w", "commit", "-q", "-m", "by hand")
    first = folder_of("t", "own")
    (repo_path / "../w/x").write_text("2")
    git(repo_path / "../w", "commit", "-q", "-am", "by hand, too")
    assert folder_of("t", "own") == first != folder_of()


def test_folders_of_instances_that_are_gone_are_swept(temp, checkpoints, folder_of):
    kept = folder_of()
    temp.create_instance("t", version="other")
    gone = folder_of("t", "other")
    stray = kept.parent / "stray"
    for folder in (kept, gone, stray):
        (folder / "sub").mkdir(parents=True)
        (folder / "x.rows").write_text("x")
    temp.delete_instance("TEMP_other", "t")
    checkpoints.sweep()
    assert not gone.exists()
    assert not stray.exists()
    assert (kept / "x.rows").exists()
    shutil.rmtree(kept)
    assert checkpoints.sweep() == []


def test_without_folders_nothing_is_swept(temp, checkpoints):
    assert checkpoints.sweep() == []
