"""Merges by plain git, where no hook has completed them."""

from __future__ import annotations

import pytest

from tablevault.transactions.git_merges import complete_merge

WITHOUT_HOOKS = ("-c", "core.hooksPath=/dev/null")


@pytest.fixture
def by_git(git, repo_path):
    """Run git without the hooks of the vault."""

    def run(*arguments):
        return git(repo_path, *WITHOUT_HOOKS, *arguments)

    return run


def test_a_merge_that_leaves_nothing_to_do_is_closed_once(vault, by_git, repo_path):
    parts = vault._vault.parts
    by_git("checkout", "-q", "-b", "side")
    (repo_path / "notes.txt").write_text("mine")
    by_git("add", "notes.txt")
    by_git("commit", "-q", "-m", "notes")
    by_git("checkout", "-q", "main")
    vault.create_table("t")
    note = parts.state / "completed"
    assert complete_merge(vault._vault) == ""
    assert not note.exists()
    by_git("merge", "-q", "-m", "by git", "side")
    tip = parts.repository.main()
    assert complete_merge(vault._vault) == ""
    assert parts.repository.main() == tip
    assert note.read_text().strip() == tip


def test_a_temporary_instance_of_a_table_that_git_has_removed_is_left_alone(
    vault, by_git, repo_path
):
    parts = vault._vault.parts
    vault.create_table("t")
    vault.create_instance("t")
    by_git("rm", "-q", "-r", "tables/t")
    by_git("commit", "-q", "-m", "gone")
    refs = parts.repository.temp_refs()
    assert complete_merge(vault._vault) == ""
    assert parts.repository.temp_refs() == refs


def test_a_deleted_table_goes_with_what_git_has_merged_into_its_folder(vault, by_git, repo_path):
    vault.create_table("t")
    by_git("checkout", "-q", "-b", "side")
    (repo_path / "tables/t/notes.txt").write_text("mine")
    by_git("add", "tables/t/notes.txt")
    by_git("commit", "-q", "-m", "notes")
    by_git("checkout", "-q", "main")
    vault.delete_table("t")
    by_git("merge", "-q", "-m", "by git", "side")
    assert by_git("ls-files", "tables") == "tables/t/notes.txt\n"
    assert complete_merge(vault._vault)
    assert by_git("ls-files", "tables") == ""
    assert complete_merge(vault._vault) == ""


def test_a_temporary_instance_follows_a_table_that_git_has_renamed(vault, by_git):
    vault.create_table("t")
    vault.create_instance("t")
    by_git("mv", "tables/t", "tables/u")
    by_git("commit", "-q", "-m", "another name")
    assert complete_merge(vault._vault)
    assert vault.get_table_instances("u", include_temp=True) == ["TEMP_base"]
