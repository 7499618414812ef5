"""Tables: create, rename, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError
from tests.looking import git, state_of


@pytest.mark.parametrize("name", ["", "../x", "a" * 101, "artifacts"])
def test_a_bad_name_changes_nothing(vault: TableVault, vault_path: Path, name: str) -> None:
    vault.create_table("papers")
    before = state_of(vault_path)
    for action in (
        lambda: vault.create_table(name),
        lambda: vault.rename_table(name, "papers"),
    ):
        with pytest.raises(TVArgumentError) as caught:
            action()
        assert caught.value.hint
    assert state_of(vault_path) == before


@pytest.mark.parametrize("name", [None, 3, b"x"])
def test_a_name_that_is_no_text_is_refused(vault: TableVault, name: Any) -> None:
    with pytest.raises(TVArgumentError):
        vault.create_table(name)


def test_a_table_is_one_commit(vault: TableVault, vault_path: Path) -> None:
    before = git(vault_path, "rev-parse", "main").strip()
    process = vault.create_table("papers", description="those we read")
    log = git(vault_path, "log", "--first-parent", "--format=%s", f"{before}..main")
    assert log == "papers: create table\n"
    trailers = git(vault_path, "log", "-1", "--format=%(trailers:key=Vault-Process,valueonly)")
    assert trailers.strip() == process
    assert vault.get_process_completion(process)
    assert vault.get_descriptions(table_name="papers")["summary"] == "those we read"


def test_a_taken_name_is_refused(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError, match='"papers" already'):
        vault.create_table("papers")
    with pytest.raises(TVArgumentError, match='"papers" already'):
        vault.rename_table("papers", "papers")
    assert state_of(vault_path) == before


def test_tables_are_listed_in_the_order_of_creation(vault: TableVault) -> None:
    for name in ("zebra", "ant", "mole"):
        vault.create_table(name)
    assert vault.get_table_instances() == ["zebra", "ant", "mole"]
    vault.rename_table("bee", "zebra")
    assert vault.get_table_instances() == ["bee", "ant", "mole"]


def test_an_unknown_table_is_named_with_a_near_miss(vault: TableVault) -> None:
    vault.create_table("papers")
    with pytest.raises(TVArgumentError, match='Did you mean "papers"'):
        vault.delete_table("paper")


def test_the_new_name_of_a_renamed_table_is_told(vault: TableVault) -> None:
    vault.create_table("papers")
    vault.rename_table("stories", "papers")
    with pytest.raises(TVArgumentError, match='renamed to "stories"'):
        vault.create_instance("papers")


def test_rename_takes_temporary_instances_along(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", builders={"column": "builder_type: ColumnBuilder\n"})
    edited = vault_path / "temp" / "papers" / "base"
    (edited / "builders" / "column.yaml").write_text("builder_type: ColumnBuilder\n# mine\n")
    (edited / "artifacts" / "file.txt").write_text("mine")
    vault.rename_table("stories", "papers")
    assert vault.get_builders_list("stories") == ["column", "stories_index"]
    assert vault.get_builder_str("stories", "column").endswith("# mine\n")
    assert git(vault_path, "branch", "--list", "temp/*").split() == ["temp/stories/base"]
    edited = vault_path / "temp" / "stories" / "base"
    assert (edited / "artifacts" / "file.txt").read_text() == "mine"
    assert not (vault_path / "temp" / "papers").exists()


def test_a_deleted_table_is_still_described(vault: TableVault) -> None:
    vault.create_table("papers", description="those we read")
    vault.create_instance("papers")
    vault.delete_table("papers")
    assert vault.get_table_instances() == []
    described = vault.get_descriptions(table_name="papers")
    assert described["summary"] == "those we read"
    assert described["deleted_by"] == "Ana Lund"


def test_a_freed_name_starts_afresh(vault: TableVault) -> None:
    vault.create_table("papers", description="old")
    vault.create_instance("papers")
    vault.delete_table("papers")
    vault.create_table("papers", description="new")
    assert vault.get_descriptions(table_name="papers")["summary"] == "new"
    assert vault.get_table_instances("papers", "", include_temp=True) == []


def test_delete_table_removes_branches_and_faces(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    vault.create_instance("papers")
    vault.delete_table("papers")
    assert git(vault_path, "branch", "--list", "temp/*") == ""
    assert not (vault_path / "temp" / "papers").exists()
    assert not (vault_path / "tables" / "papers").exists()


def test_a_used_process_id_is_refused(vault: TableVault, vault_path: Path) -> None:
    from tablevault.errors import TVProcessError

    vault.create_table("papers", process_id="job 1")
    before = state_of(vault_path)
    with pytest.raises(TVProcessError, match="job 1"):
        vault.create_table("stories", process_id="job 1")
    vault.create_table("stories", process_id="job")
    assert state_of(vault_path) != before
