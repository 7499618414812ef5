"""A temporary instance is a branch, with what was edited in its folder."""

from __future__ import annotations

import pytest

from tablevault.names import TempRef

COLUMN = "builder_type: ColumnBuilder\n"
REF = TempRef(table="stories", version="base")


@pytest.fixture
def temp(vault, parts):
    """Find a temporary instance with two builders."""
    vault.create_table("stories")
    builders = {"stories_index": COLUMN, "two": COLUMN}
    vault.create_instance("stories", builders=builders, description="new")
    return parts.temp(REF)


def test_a_branch_is_a_temporary_instance(vault, parts, temp):
    assert temp.instance_id == "TEMP_base"
    assert temp.document.description == "new"
    assert temp.frame_pointer is None
    assert parts.view().temps() == [temp]
    vault.delete_instance("TEMP_base", "stories")
    assert parts.temp(REF) is None


def test_builders_are_those_of_the_branch_with_edits_by_hand(temp, vault_path):
    folder = vault_path / REF.folder / "builders"
    assert temp.edits() == {}
    (folder / "stories_index.yaml").write_text(f"{COLUMN}# mine\n")
    (folder / "three.yaml").write_text(COLUMN)
    (folder / "two.yaml").unlink()
    mine, new = f"{COLUMN}# mine\n".encode(), COLUMN.encode()
    assert temp.edits() == {"stories_index": mine, "three": new, "two": None}
    assert temp.builders() == {"stories_index": mine, "three": new}


def test_edits_by_hand_outlast_a_commit_that_somebody_makes_on_the_branch(
    temp, parts, vault_path, git
):
    (vault_path / REF.folder / "builders" / "stories_index.yaml").write_text(f"{COLUMN}# mine\n")
    tree = git(vault_path, "rev-parse", f"{temp.tip}^{{tree}}").strip()
    commit = git(vault_path, "commit-tree", tree, "-p", temp.tip, "-m", "by plain git").strip()
    git(vault_path, "update-ref", REF.ref, commit)
    moved = parts.temp(REF)
    assert moved.tip == commit
    mine = f"{COLUMN}# mine\n".encode()
    assert moved.builders() == {"stories_index": mine, "two": COLUMN.encode()}


def test_artifacts_belong_into_its_folder(temp, vault_path):
    assert temp.artifact_folder == vault_path / REF.folder / "artifacts"
