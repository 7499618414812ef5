"""What an undo brings back and takes away: each kind of operation, there and back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVProcessError
from tests.looking import check_clean, git
from tests.operations.undoing import (
    FRAME,
    column_builder,
    index_builder,
    latest,
    picture,
    refused,
)

AUTHOR = "Ana Lund <ana@example.org>"

Do = Callable[[TableVault], str]

KINDS: dict[str, Do] = {
    "create_table": lambda v: v.create_table("new", has_side_effects=True),
    "rename_table": lambda v: v.rename_table("renamed", "t"),
    "rename_table with artifacts": lambda v: v.rename_table("renamed", "files"),
    "delete_table": lambda v: v.delete_table("empty"),
    "create_instance": lambda v: v.create_instance("t", version="new", copy=True),
    "create_instance, external": lambda v: v.create_instance("free", copy=True, external_edit=True),
    "create_instance, replacing": lambda v: v.create_instance(
        "t", builders={"x": column_builder()}
    ),
    "delete_instance, temporary": lambda v: v.delete_instance("TEMP_base", "t"),
    "create_builder_file": lambda v: v.create_builder_file("t", "x", text=column_builder()),
    "create_builder_file, again": lambda v: v.create_builder_file("t", text=index_builder(9)),
    "delete_builder_file": lambda v: v.delete_builder_file("m", "acts"),
    "create_code_module": lambda v: v.create_code_module("more", text="x = 1\n"),
    "create_code_module, again": lambda v: v.create_code_module("made", text="x = 1\n"),
    "create_code_module, no change": lambda v: v.create_code_module("made"),
    "delete_code_module": lambda v: v.delete_code_module("made"),
    "set_config": lambda v: v.set_config("prices.gpt-4.1", {"input": 2, "output": 8}),
    "set_config, no change": lambda v: v.set_config("limits", None),
    "execute_instance": lambda v: v.execute_instance("t", force_execute=True),
    "execute_instance, side effects": lambda v: v.execute_instance("acts"),
    "execute_instance, artifacts": lambda v: v.execute_instance("files"),
    "write_instance": lambda v: v.write_instance(FRAME, "free", version="other"),
}

EVERY_RUN = (
    "create_table",
    "rename_table with artifacts",
    "create_instance, replacing",
    "delete_instance, temporary",
    "create_code_module, again",
    "set_config",
    "execute_instance, artifacts",
    "write_instance",
)
"""Kinds that are not left to the sweeps: one of each way in which something is changed."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in EVERY_RUN else [pytest.mark.sweep]) for kind in KINDS],
)
def test_what_is_undone_was_never_there_and_undone_again_it_was(
    full: TableVault, vault_path: Path, kind: str
) -> None:
    before = picture(vault_path)
    commits = int(git(vault_path, "rev-list", "--first-parent", "--count", "main"))
    done = KINDS[kind](full)
    after = picture(vault_path)
    undone = full.undo(done)
    assert picture(vault_path) == before
    done = full.undo(undone)
    assert picture(vault_path) == after
    check_clean(vault_path)
    assert int(git(vault_path, "rev-list", "--first-parent", "--count", "main")) >= commits + 2
    (vault_path / ".git/tablevault/index.sqlite").unlink()
    assert picture(vault_path) == after
    undone = full.undo(done)
    assert not full.gc(grace_s=0).objects
    assert [each for each in full.verify() if each.severity != "note"] == []
    full.undo(full.undo(undone))
    clone = vault_path.with_name("clone")
    git(vault_path.parent, "clone", "-q", str(vault_path), str(clone))
    shutil.copytree(vault_path / ".git/lfs", clone / ".git/lfs")
    again = TableVault(clone, AUTHOR)
    for table in full.get_table_instances(""):
        assert again.get_table_instances(table, "") == full.get_table_instances(table, "")


def test_an_execution_that_is_undone_can_be_executed_anew(full: TableVault) -> None:
    done = full.execute_instance("t", force_execute=True)
    made = latest(full, "t")
    full.undo(done)
    with pytest.raises(TVArgumentError, match="was undone at"):
        full.get_builders_list("t", made)
    assert full.get_descriptions(made)["deleted_at"]
    full.create_builder_file("t", text=index_builder(5))
    full.execute_instance("t")
    assert len(full.get_dataframe("t")[0]) == 5


def test_a_name_is_given_back_with_all_that_was_made_since(
    full: TableVault, vault_path: Path
) -> None:
    done = full.rename_table("renamed", "t")
    full.execute_instance("renamed", force_execute=True)
    full.create_instance("renamed", version="new", builders={"renamed_index": index_builder()})
    full.undo(done)
    assert len(full.get_table_instances("t", "")) == 2
    full.execute_instance("t", version="new")
    with pytest.raises(TVArgumentError, match='renamed to "t"'):
        full.get_descriptions(table_name="renamed")
    check_clean(vault_path)


def test_a_deletion_is_undone_where_the_bytes_are_needed_elsewhere(
    full: TableVault, vault_path: Path
) -> None:
    full.write_instance(FRAME, "free", version="other")
    second = full.get_table_instances("free", "")[-1]
    before = picture(vault_path)
    done = full.delete_instance(second, "free")
    full.undo(done)
    assert picture(vault_path) == before
    check_clean(vault_path)


def test_a_table_with_instances_comes_back_where_the_bytes_are_needed_elsewhere(
    full: TableVault, vault_path: Path
) -> None:
    full.create_table("twin", description="the same bytes")
    full.create_instance("twin", external_edit=True)
    full.write_instance(FRAME, "twin")
    full.create_instance("twin", external_edit=True, copy=True)
    full.create_instance("twin", version="b", builders={"x": column_builder()})
    before = picture(vault_path)
    done = full.delete_table("twin")
    after = picture(vault_path)
    undone = full.undo(done)
    assert picture(vault_path) == before
    full.undo(undone)
    assert picture(vault_path) == after
    check_clean(vault_path)


def test_what_was_undone_keeps_its_bytes_until_its_table_is_deleted(
    full: TableVault, vault_path: Path
) -> None:
    full.delete_instance(latest(full, "free"), "free")
    objects = {file.name for file in (vault_path / ".git/lfs/objects").rglob("*") if file.is_file()}
    done = full.write_instance(FRAME, "free", version="other")
    undone = full.undo(done)
    # The same bytes, made and deleted.
    full.create_instance("free", version="third", external_edit=True)
    full.write_instance(FRAME, "free", version="third")
    full.delete_instance(latest(full, "free"), "free")
    full.undo(undone)
    assert len(full.get_dataframe("free", version="other")[0]) == 3
    full.undo(_last_process(vault_path))
    full.delete_table("free")
    left = {file.name for file in (vault_path / ".git/lfs/objects").rglob("*") if file.is_file()}
    assert left == objects


def _last_process(path: Path) -> str:
    return git(path, "log", "-1", "--format=%(trailers:key=Vault-Process,valueonly)").strip()


def test_what_was_undone_can_be_deleted_for_good(full: TableVault, vault_path: Path) -> None:
    objects = {file.name for file in (vault_path / ".git/lfs/objects").rglob("*") if file.is_file()}
    done = full.write_instance(FRAME * 7, "free", version="other")
    made = latest(full, "free")
    undone = full.undo(done)
    before = picture(vault_path)
    deleted = full.delete_instance(made, "free")
    assert picture(vault_path) == before
    left = {file.name for file in (vault_path / ".git/lfs/objects").rglob("*") if file.is_file()}
    assert left == objects
    assert refused(full, vault_path, undone).blocking == deleted
    assert "not in the vault any more" in str(refused(full, vault_path, deleted))
    with pytest.raises(TVArgumentError, match="was deleted at"):
        full.get_builders_list("free", made)
    check_clean(vault_path)
    assert [each for each in full.verify() if each.severity != "note"] == []


def test_an_instance_comes_back_in_front_of_what_was_deleted_since(
    full: TableVault, vault_path: Path
) -> None:
    """X is undone while W, which stood before it, was deleted: nothing of W comes back."""
    full.create_instance("free", external_edit=True)
    old = latest(full, "free")
    done = full.write_instance(FRAME + 1, "free")
    full.delete_instance(old, "free")
    full.undo(done)
    assert full.get_table_instances("free", "") == []
    assert not (vault_path / "tables/free/base").exists()
    check_clean(vault_path)


def test_the_shared_folder_is_empty_when_its_owner_was_deleted(
    full: TableVault, vault_path: Path
) -> None:
    old = latest(full, "files")
    done = full.execute_instance("files")
    full.delete_instance(old, "files")
    undone = full.undo(done)
    assert "artifact_instance" not in full.get_descriptions(table_name="files")
    check_clean(vault_path)
    full.undo(undone)
    assert len(full.get_dataframe("files")[0]) == 3
    check_clean(vault_path)


def test_an_execution_that_failed_gives_back_activity(full: TableVault, vault_path: Path) -> None:
    instance = latest(full, "acts")
    full.create_builder_file("acts", "m", text=column_builder("fail"))
    with pytest.raises(LookupError):
        full.execute_instance("acts", force_execute=True)
    assert not full.get_descriptions(instance)["active"]
    undone = full.undo(_last_process(vault_path))
    assert full.get_descriptions(instance)["active"]
    full.undo(undone)
    assert not full.get_descriptions(instance)["active"]


def test_artifacts_come_back_to_where_their_author_had_put_them(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("pictures")
    vault.create_instance("pictures", external_edit=True)
    folder = vault_path / "temp/pictures/base/artifacts"
    (folder / "a").mkdir()
    (folder / "a/one.txt").write_text("one")
    before = picture(vault_path)
    frame = pd.DataFrame({"file": ["a/one.txt"]})
    dtypes = {"file": "artifact_string"}
    done = vault.write_instance(frame, "pictures", dtypes=dtypes)
    after = picture(vault_path)
    undone = vault.undo(done)
    assert picture(vault_path) == before
    assert os.access(folder / "a/one.txt", os.W_OK)
    vault.undo(undone)
    assert picture(vault_path) == after
    vault.undo(_last_process(vault_path))
    vault.write_instance(frame, "pictures", dtypes=dtypes)
    assert picture(vault_path)["/tables/pictures/artifacts/a/one.txt"] == b"one"


def test_a_partial_instance_is_undone(full: TableVault, vault_path: Path) -> None:
    full.create_builder_file("t", "m", text=column_builder("fail"))
    before = picture(vault_path)
    with pytest.raises(LookupError):
        full.execute_instance("t", process_id="paused")
    with pytest.raises(TVProcessError, match="has not ended"):
        full.undo("paused")
    stopped = full.stop_process("paused", materialize=True)
    assert len(full.get_table_instances("t", "")) == 2
    full.undo(stopped)
    assert picture(vault_path) == before
    with pytest.raises(TVProcessError, match="left no commit"):
        full.undo("paused")
    check_clean(vault_path)
