"""An instance is what its commit holds; a temporary one, its branch with what was edited."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tablevault.errors import TVTableError
from tablevault.model.instance import Instance
from tablevault.names import TempRef

CODE = "import pandas as pd\n\n\ndef count(n):\n    return pd.DataFrame({'n': range(n)})\n"


def written(vault, table, frame, version="base", **given):
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(frame, table, version=version, **given)
    return vault.get_table_instances(table, version)[-1]


@pytest.fixture
def stories(vault):
    vault.create_table("stories")
    return vault


def of(parts, table, instance_id) -> Instance:
    return parts.view().table(table).instance(instance_id)


def test_a_document_is_that_of_its_own_commit(stories, parts):
    first = written(stories, "stories", pd.DataFrame({"n": [1]}))
    second = written(stories, "stories", pd.DataFrame({"n": [1, 2]}))
    assert of(parts, "stories", first).document.rows == 1
    assert of(parts, "stories", second).document.rows == 2
    stories.rename_table("tales", "stories")
    assert of(parts, "tales", first).document.id == first


def test_two_views_have_equal_instances(stories, parts):
    first = written(stories, "stories", pd.DataFrame({"n": [1]}))
    assert of(parts, "stories", first) == of(parts, "stories", first)
    assert len({of(parts, "stories", first), of(parts, "stories", first)}) == 1


def test_the_previous_instance_is_that_of_the_same_version(stories, parts):
    frame = pd.DataFrame({"n": [1]})
    first = written(stories, "stories", frame)
    written(stories, "stories", frame, version="other")
    deleted = written(stories, "stories", frame)
    last = written(stories, "stories", frame)
    stories.delete_instance(deleted, "stories")
    assert of(parts, "stories", last).previous() == of(parts, "stories", first)
    assert of(parts, "stories", first).previous() is None


def test_artifacts_are_known_by_their_content(stories, parts):
    stories.create_instance("stories", external_edit=True)
    folder = Path(stories.get_artifact_folder("stories", is_temp=True))
    (folder / "a.txt").write_bytes(b"one")
    frame = pd.DataFrame({"file": ["a.txt"]})
    stories.write_instance(frame, "stories", dtypes={"file": "artifact_string"})
    (instance,) = parts.view().table("stories").instances()
    assert instance.artifacts() == {"a.txt": hashlib.sha256(b"one").hexdigest()}
    assert instance.document.has_artifacts


def test_what_history_does_not_hold_is_an_error(stories, parts):
    first = of(parts, "stories", written(stories, "stories", pd.DataFrame({"n": [1]})))
    root = parts.parts.repository.commit(first.commit).parents[0]
    lost = replace(first, commit=root)
    with pytest.raises(TVTableError, match=r"has no instance\.yaml"):
        assert lost.document
    with pytest.raises(TVTableError, match="has no dataframe"):
        lost.frame_file()


def test_an_instance_knows_what_it_was_made_from(stories, parts):
    source = written(stories, "stories", pd.DataFrame({"n": [1, 2, 3]}))
    stories.create_code_module("work", text=CODE)
    builder = {
        "builder_type": "IndexBuilder",
        "changed_columns": ["n"],
        "python_function": "count",
        "code_module": "work",
        "is_custom": True,
        "arguments": {"n": 3},
        "dependencies": ["stories.n"],
    }
    text = yaml.safe_dump(builder)
    stories.create_table("made")
    stories.create_instance("made", builders={"made_index": text})
    stories.execute_instance("made")
    (made,) = stories.get_table_instances("made")
    stories.create_code_module("other", text="x = 1\n")
    stories.rename_table("tales", "stories")
    instance = of(parts, "made", made)
    assert instance.builders() == {"made_index": text.encode()}
    assert instance.code() == {"work": CODE}
    assert [each.instance_id for each in instance.sources()] == [source]
    assert of(parts, "tales", source).sources() == []


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
