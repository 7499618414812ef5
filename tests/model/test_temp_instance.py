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


def creation_of(parts, version="base", table="stories"):
    return parts.temp(TempRef(table=table, version=version)).creation


def test_the_commit_that_created_it_stays_whatever_happens_to_it(
    vault, parts, temp, git, vault_path
):
    first = git(vault_path, "rev-parse", "temp/stories/base").strip()
    assert temp.creation == first
    vault.create_builder_file("stories", "more")
    (vault_path / REF.folder / "builders" / "more.yaml").write_text("n_threads: 1\n")
    vault.create_builder_file("stories", "other")
    vault.delete_builder_file("more", "stories")
    git(vault_path, "worktree", "add", "-q", vault_path / "../w", "temp/stories/base")
    (vault_path / "../w/tables/stories/base/builders/other.yaml").write_text("n_threads: 2\n")
    git(vault_path / "../w", "commit", "-q", "-am", "by hand")
    git(vault_path, "worktree", "remove", vault_path / "../w")
    assert creation_of(parts) == first
    vault.rename_table("tales", "stories")
    assert creation_of(parts, table="tales") == first


def test_one_that_is_created_anew_has_another_such_commit(vault, parts, temp):
    found = {temp.creation}
    vault.create_instance("stories")
    found.add(creation_of(parts))
    vault.delete_instance("TEMP_base", "stories")
    vault.create_instance("stories")
    assert len(found | {creation_of(parts)}) == 3


def test_a_branch_made_by_plain_git_counts_from_where_it_leaves_main(parts, temp, git, vault_path):
    git(vault_path, "worktree", "add", "-q", "-b", "temp/stories/own", vault_path / "../w", "main")
    (vault_path / "../w/x").write_text("1")
    git(vault_path / "../w", "add", "x")
    git(vault_path / "../w", "commit", "-q", "-m", "by hand")
    first = creation_of(parts, "own")
    (vault_path / "../w/x").write_text("2")
    git(vault_path / "../w", "commit", "-q", "-am", "by hand, too")
    assert creation_of(parts, "own") == first != temp.creation
