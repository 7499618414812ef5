"""Creating, opening and deleting a vault: what is refused is not touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault, delete_vault
from tablevault.errors import TVArgumentError, TVFormatError, TVLockError
from tests.looking import git


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def written(path: Path) -> TableVault:
    """A vault with one instance."""
    vault = TableVault(path, "ana", create=True)
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [1, 2]}), "t")
    return vault


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TVArgumentError, match="does not exist"):
        TableVault(tmp_path / "nowhere", "ana")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_no_vault_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for create in (False, True):
        with pytest.raises(TVArgumentError, match="no vault"):
            TableVault(tmp_path, "ana", create=create)
    assert files_below(tmp_path) == {"note.txt": b"mine"}


def test_a_plain_git_repository_is_no_vault(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    before = files_below(tmp_path)
    with pytest.raises(TVArgumentError, match="no vault"):
        TableVault(tmp_path, "ana")
    assert files_below(tmp_path) == before


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    for create in (False, True):
        with pytest.raises(TVArgumentError):
            TableVault(path, "ana", create=create)
    assert path.read_text() == "mine"


def test_an_empty_folder_becomes_a_vault(tmp_path: Path) -> None:
    vault = TableVault(tmp_path, "ana", "what it is", create=True)
    assert vault.get_descriptions()["summary"] == "what it is"
    assert git(tmp_path, "status", "--porcelain") == ""


def test_parent_folders_are_made(tmp_path: Path) -> None:
    TableVault(tmp_path / "a" / "b" / "vault", "ana", create=True)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["vault"]


def test_a_vault_is_replaced_by_an_empty_one(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    again = TableVault(vault_path, "bob", "new", create=True)
    assert again.get_table_instances() == []
    assert again.get_descriptions()["summary"] == "new"
    assert list(vault_path.parent.iterdir()) == [vault_path]


def test_a_vault_of_a_newer_format_is_refused(vault: TableVault, vault_path: Path) -> None:
    document = vault_path / "vault.yaml"
    document.write_text(document.read_text().replace("format: 1", "format: 99"))
    git(vault_path, "commit", "-q", "--no-verify", "-am", "from the future")
    with pytest.raises(TVFormatError, match="format 99"):
        TableVault(vault_path, "ana")


def test_a_relative_path_survives_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vault = TableVault("vault", "ana", create=True)
    monkeypatch.chdir("/")
    vault.create_table("papers")
    assert vault.get_table_instances() == ["papers"]


def test_the_author_signs_the_commits(vault_path: Path) -> None:
    vault = TableVault(vault_path, "Ana Li <ana@example.org>", create=True)
    vault.create_table("papers")
    assert git(vault_path, "log", "-1", "--format=%an <%ae>") == "Ana Li <ana@example.org>\n"


@pytest.mark.parametrize("author", ["", "a<b>c", "  ", "Zoë", "a\nb"])
def test_any_author_is_accepted(vault_path: Path, author: str) -> None:
    vault = TableVault(vault_path, author, create=True)
    vault.create_table("papers")
    git(vault_path, "fsck", "--strict")


def test_a_plain_clone_is_a_vault(vault: TableVault, vault_path: Path, tmp_path: Path) -> None:
    vault.create_table("papers")
    vault.create_code_module("m", text="x = 1\n")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(vault_path), str(clone)], check=True)
    other = TableVault(clone, "bob")
    assert other.get_table_instances() == ["papers"]
    other.create_table("stories")
    assert other.get_code_modules_list() == ["m"]
    assert git(clone, "status", "--porcelain") == ""


def test_a_clone_without_a_checkout_loses_no_code(
    vault: TableVault, vault_path: Path, tmp_path: Path
) -> None:
    vault.create_code_module("m", text="x = 1\n")
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--no-checkout", str(vault_path), str(clone)]
    subprocess.run(command, check=True)
    TableVault(clone, "bob").create_table("stories")
    assert git(clone, "show", "main:code/m.py") == "x = 1\n"


def test_delete_vault_refuses_what_is_no_vault(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TVArgumentError):
            delete_vault(path)
    assert (tmp_path / "note.txt").exists()


def test_delete_vault_removes_everything(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    delete_vault(vault_path)
    assert list(vault_path.parent.iterdir()) == []


def test_a_vault_in_use_is_neither_deleted_nor_replaced(
    vault: TableVault, vault_path: Path
) -> None:
    from tablevault.journal.operation import running
    from tablevault.journal.record import Request

    request = Request(operation="create_table", arguments={})
    inner = vault._vault
    with running(inner.journal, request, inner.actor("busy"), lambda *_: []):
        for action in (
            lambda: delete_vault(vault_path),
            lambda: TableVault(vault_path, "bob", create=True),
        ):
            with pytest.raises(TVLockError, match="busy"):
                action()
    assert (vault_path / "vault.yaml").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes to read-only files")
def test_what_root_writes_to_a_working_file_does_not_reach_the_object(tmp_path: Path) -> None:
    written(tmp_path / "v").get_dataframe("t")
    frame = tmp_path / "v/tables/t/base/dataframe.parquet"
    pd.DataFrame({"a": ["edited"]}).to_parquet(frame)
    frame_values, _ = TableVault(tmp_path / "v", "ana").get_dataframe("t")
    assert frame_values["a"].tolist() == [1, 2]
    (problem,) = TableVault(tmp_path / "v", "ana").verify()
    assert (problem.kind, problem.advice) == ("working tree", "Nothing is lost: history has it.")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes to read-only files")
def test_root_replaces_the_hard_links_of_others_when_it_opens_a_vault(tmp_path: Path) -> None:
    written(tmp_path / "v")
    frame = tmp_path / "v/tables/t/base/dataframe.parquet"
    (stored,) = (tmp_path / "v/.git/lfs/objects").glob("??/??/*")
    frame.unlink()
    os.link(stored, frame)
    (tmp_path / "v/.git/tablevault/no-links").unlink()
    vault = TableVault(tmp_path / "v", "ana")
    assert stored.stat().st_nlink == frame.stat().st_nlink == 1
    assert vault.verify() == []
    assert git(tmp_path / "v", "status", "--porcelain") == ""
    # Stat data and the time of git's index prove the file unchanged: git need not hash it.
    assert git(tmp_path / "v", "diff-files", "--raw") == ""
