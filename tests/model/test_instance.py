"""An instance is what its commit holds, whatever stands at its place today."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tablevault.errors import TVTableError
from tablevault.model.instance import Instance

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
