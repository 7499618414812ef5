"""Code modules: written through the API and by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVFileError
from tests.looking import check_clean, git, state_of


def test_a_module_is_written_read_and_deleted(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    assert vault.get_code_modules_list() == ["metrics"]
    assert vault.get_code_module_str("metrics") == "x = 1\n"
    assert (vault_path / "code/metrics.py").read_text() == "x = 1\n"
    vault.delete_code_module("metrics")
    assert vault.get_code_modules_list() == []
    assert not (vault_path / "code/metrics.py").exists()
    assert (vault_path / "code").is_dir()


def test_a_name_alone_never_overwrites(vault: TableVault) -> None:
    vault.create_code_module("metrics")
    template = vault.get_code_module_str("metrics")
    compile(template, "metrics.py", "exec")
    vault.create_code_module("metrics", text="x = 1\n")
    vault.create_code_module("metrics")
    assert vault.get_code_module_str("metrics") == "x = 1\n"


def test_a_file_and_a_folder_are_copied_and_stay(vault: TableVault, tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "c.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    vault.create_code_module(copy_dir=str(tmp_path))
    assert vault.get_code_modules_list() == ["a", "b"]
    vault.create_code_module("other", copy_dir=str(tmp_path / "a.py"))
    assert vault.get_code_module_str("other") == "# a.py\n"
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["a.py", "b.py", "c.txt"]


@pytest.mark.parametrize("name", ["../x", "a.b", "a b", "1a", "a/b", "é"])
def test_a_bad_name_changes_nothing(vault: TableVault, vault_path: Path, name: str) -> None:
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError):
        vault.create_code_module(name, text="x = 1\n")
    with pytest.raises((TVArgumentError, TVFileError)):
        vault.delete_code_module(name)
    assert state_of(vault_path) == before


def test_wrong_calls_change_nothing(vault: TableVault, vault_path: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    before = state_of(vault_path)
    for error, action in (
        (TVArgumentError, vault.create_code_module),
        (TVFileError, lambda: vault.create_code_module(copy_dir=str(tmp_path / "no.py"))),
        (TVFileError, lambda: vault.create_code_module(copy_dir=str(tmp_path / "x.txt"))),
        (TVFileError, lambda: vault.create_code_module(copy_dir=str(tmp_path / "empty"))),
        (TVFileError, lambda: vault.delete_code_module("nope")),
        (TVFileError, lambda: vault.get_code_module_str("nope")),
    ):
        with pytest.raises(error) as caught:
            action()
        assert caught.value.hint
    assert state_of(vault_path) == before


def test_a_hand_edit_is_a_commit_of_its_own(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    (vault_path / "code/metrics.py").write_text("x = 2\n")
    (vault_path / "code/new.py").write_text("y = 1\n")
    assert vault.get_code_module_str("metrics") == "x = 2\n"
    vault.create_table("papers")
    subjects = git(vault_path, "log", "-2", "--format=%s").splitlines()
    assert subjects == [
        "papers: create table",
        "code/metrics.py, code/new.py: edited by hand",
    ]
    assert git(vault_path, "status", "--porcelain") == ""
    assert git(vault_path, "show", "main:code/metrics.py") == "x = 2\n"


def test_a_module_removed_by_hand_is_gone(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    (vault_path / "code/metrics.py").unlink()
    vault.create_table("papers")
    assert vault.get_code_modules_list() == []
    assert git(vault_path, "status", "--porcelain") == ""


def test_a_failed_operation_commits_no_hand_edit(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    (vault_path / "code/metrics.py").write_text("x = 2\n")
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError):
        vault.create_table("../x")
    assert state_of(vault_path) == before


def test_work_on_another_branch_is_left_alone(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    git(vault_path, "checkout", "-q", "-b", "feature")
    (vault_path / "code/metrics.py").write_text("x = 'draft'\n")
    vault.create_table("papers")
    assert git(vault_path, "show", "main:code/metrics.py") == "x = 1\n"
    assert vault.get_code_module_str("metrics") == "x = 1\n"
    assert (vault_path / "code/metrics.py").read_text() == "x = 'draft'\n"
    assert not (vault_path / "tables/papers").exists()
    git(vault_path, "checkout", "-q", "--", "code/metrics.py")
    git(vault_path, "checkout", "-q", "main")
    vault.create_table("stories")
    assert git(vault_path, "status", "--porcelain") == ""
    assert (vault_path / "tables/papers/table.yaml").exists()


def test_what_the_user_staged_stays_staged(vault: TableVault, vault_path: Path) -> None:
    (vault_path / "notes.md").write_text("mine\n")
    git(vault_path, "add", "notes.md")
    vault.create_table("papers")
    assert git(vault_path, "status", "--porcelain") == "A  notes.md\n"


def test_commits_of_the_user_are_built_upon(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    (vault_path / "notes.md").write_text("mine\n")
    git(vault_path, "add", "notes.md")
    git(vault_path, "commit", "-q", "-m", "notes")
    vault.create_table("stories")
    subjects = git(vault_path, "log", "--first-parent", "--format=%s", "-3").splitlines()
    assert subjects == ["stories: create table", "notes", "papers: create table"]
    assert (vault_path / "notes.md").read_text() == "mine\n"
    assert git(vault_path, "status", "--porcelain") == ""


def test_an_operation_wins_over_what_was_edited_by_hand_before(
    vault: TableVault, vault_path: Path
) -> None:
    (vault_path / "code/words.py").write_text("by = 'hand'\n")
    vault.create_code_module("words", text="by = 'operation'\n")
    assert (vault_path / "code/words.py").read_text() == "by = 'operation'\n"
    assert git(vault_path, "show", "main~1:code/words.py") == "by = 'hand'\n"
    (vault_path / "code/words.py").write_text("by = 'hand'\n")
    vault.delete_code_module("words")
    assert vault.get_code_modules_list() == []
    assert git(vault_path, "show", "main~1:code/words.py") == "by = 'hand'\n"
    vault.create_table("papers")
    assert vault.get_code_modules_list() == []
    check_clean(vault_path)


def test_an_edit_back_to_an_earlier_text_is_an_edit(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("words", text="x = 1\n")
    git(vault_path, "checkout", "-q", "-b", "side")
    vault.create_code_module("words", text="x = 2\n")
    git(vault_path, "checkout", "-q", "main")
    (vault_path / "code/words.py").write_text("x = 1\n")
    vault.create_table("papers")
    assert vault.get_code_module_str("words") == "x = 1\n"
    assert git(vault_path, "show", "main:code/words.py") == "x = 1\n"
    check_clean(vault_path)
