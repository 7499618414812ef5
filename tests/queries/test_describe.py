"""How a vault shows itself: as text, trees, lists and descriptions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVFileError, TVTableError
from tests.looking import git, state_of
from tests.queries.conftest import printed

COLUMN = "builder_type: ColumnBuilder\n"


def test_the_tree_shows_what_was_asked_for(papers: TableVault) -> None:
    (instance,) = papers.get_table_instances("papers")
    text = printed(papers.get_file_tree())
    for part in ("papers", instance, "file(artifact_string)", "score[0](Int64)", "metrics.py"):
        assert part in text
    assert "TEMP_v 2" in text
    assert "column.yaml" in text
    assert "a[b].txt" not in text
    assert "vault.yaml" not in text
    text = printed(papers.get_file_tree(metadata_files=True, artifact_files=True))
    assert "a[b].txt" in text
    assert "vault.yaml" in text
    assert "dataframe.parquet" in text
    text = printed(papers.get_file_tree(code_files=False, builder_files=False))
    assert "metrics.py" not in text
    assert "column.yaml" not in text
    one = printed(papers.get_file_tree(instance, "papers"))
    assert "score[0]" in one
    assert "TEMP" not in one
    assert "column.yaml" in printed(papers.get_file_tree("TEMP_v 2", "papers"))


def test_unknown_names_are_errors_everywhere(papers: TableVault, vault_path: Path) -> None:
    (instance,) = papers.get_table_instances("papers")
    before = state_of(vault_path)
    for error, action in (
        (TVArgumentError, lambda: papers.get_file_tree(table_name="nope")),
        (TVArgumentError, lambda: papers.get_file_tree(instance)),
        (TVArgumentError, lambda: papers.get_file_tree("nope", "papers")),
        (TVArgumentError, lambda: papers.get_file_tree("TEMP_nope", "papers")),
        (TVArgumentError, lambda: papers.get_table_instances("nope")),
        (TVArgumentError, lambda: papers.get_table_instances("papers", "a_b")),
        (TVArgumentError, lambda: papers.get_descriptions("nope")),
        (TVArgumentError, lambda: papers.get_descriptions("TEMP_base")),
        (TVArgumentError, lambda: papers.get_descriptions("TEMP_base", "papers")),
        (TVArgumentError, lambda: papers.get_descriptions(table_name="nope")),
        (TVArgumentError, lambda: papers.get_artifact_folder("nope")),
        (TVArgumentError, lambda: papers.get_artifact_folder("papers")),
        (TVArgumentError, lambda: papers.get_artifact_folder("papers", "nope")),
        (TVTableError, lambda: papers.get_artifact_folder("papers", version="z", is_temp=False)),
        (TVArgumentError, lambda: papers.get_builders_list("nope")),
        (TVArgumentError, lambda: papers.get_builders_list("papers", "nope")),
        (TVFileError, lambda: papers.get_builder_str("papers", "nope", version="v 2")),
        (TVFileError, lambda: papers.get_builder_str("papers", instance_id=instance)),
        (TVTableError, lambda: papers.get_dataframe("papers", version="nope")),
        (TVTableError, lambda: papers.get_dataset("papers", "nope")),
        (TVArgumentError, lambda: papers.get_dataframe("papers", "TEMP_nope")),
        (TVArgumentError, lambda: papers.get_dataframe("../papers")),
    ):
        with pytest.raises(error) as caught:
            action()
        assert caught.value.hint, caught.value
    assert state_of(vault_path) == before


def test_instances_are_described(papers: TableVault) -> None:
    (instance,) = papers.get_table_instances("papers")
    for described in (
        papers.get_descriptions(instance),
        papers.get_descriptions(instance, "papers"),
    ):
        assert described["summary"] == "first"
        assert described["external_edit"] is True
        assert described["rows"] == 1
        assert described["dtypes"] == {"file": "artifact_string", "score[0]": "Int64"}
        assert described["origin"] == ["", ""]
    temp = papers.get_descriptions("TEMP_v 2", "papers")
    assert temp == {"summary": "", "origin": ["", ""], "external_edit": False}
    assert papers.get_descriptions(table_name="papers")["artifact_instance"] == instance


def test_builders_of_materialised_instances(papers: TableVault) -> None:
    (instance,) = papers.get_table_instances("papers")
    assert papers.get_builders_list("papers", instance) == []
    assert papers.get_builders_list("papers", is_temp=False) == []
    assert papers.get_builders_list("papers", version="v 2") == ["column", "papers_index"]
    assert papers.get_builders_list("papers", "TEMP_v 2") == ["column", "papers_index"]


def test_temporary_ids_are_listed_on_request(papers: TableVault) -> None:
    (instance,) = papers.get_table_instances("papers")
    assert papers.get_table_instances("papers", include_temp=True) == [instance]
    assert papers.get_table_instances("papers", "", include_temp=True) == [instance, "TEMP_v 2"]
    assert papers.get_table_instances("papers", "v 2", include_temp=True) == ["TEMP_v 2"]


@pytest.fixture
def elsewhere(papers: TableVault, vault_path: Path, tmp_path: Path) -> Path:
    """Check the branch of a temporary instance out in a working tree of its own, without hooks."""
    papers.create_instance("papers", builders={"column": COLUMN})
    git(vault_path, "worktree", "add", "-q", tmp_path / "elsewhere", "temp/papers/base")
    return tmp_path / "elsewhere"


def commit_there(path: Path, name: str, text: str | None) -> None:
    file = path / f"tables/papers/base/builders/{name}.yaml"
    file.unlink() if text is None else file.write_text(text)
    git(path, "add", "-A")
    git(path, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "by hand")


def test_a_commit_on_the_branch_of_a_temporary_instance_is_seen_at_once(papers, elsewhere):
    commit_there(elsewhere, "more", COLUMN)
    commit_there(elsewhere, "column", f"# changed\n{COLUMN}")
    assert papers.get_builders_list("papers") == ["column", "more", "papers_index"]
    assert papers.get_builder_str("papers", "column") == f"# changed\n{COLUMN}"
    commit_there(elsewhere, "more", None)
    assert papers.get_builders_list("papers") == ["column", "papers_index"]


def test_what_is_edited_in_the_folder_is_seen_with_such_a_commit(papers, elsewhere, vault_path):
    commit_there(elsewhere, "more", COLUMN)
    (vault_path / "temp/papers/base/builders/mine.yaml").write_text(COLUMN)
    (vault_path / "temp/papers/base/builders/column.yaml").unlink()
    assert papers.get_builders_list("papers") == ["mine", "more", "papers_index"]


def test_a_vault_shows_its_tables(vault: TableVault, vault_path) -> None:
    assert repr(vault).startswith(f"TableVault({str(vault_path)!r}, '")
    vault.create_table("empty", description="<b>")
    vault.create_table("t", has_side_effects=True)
    for _ in range(7):
        vault.create_instance("t", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [1]}), "t")
    html = vault._repr_html_()
    assert "no instance" in html
    assert "and 2 earlier" in html
    shown = [each for each in vault.get_table_instances("t") if each in html]
    assert shown == vault.get_table_instances("t")[2:]
    assert (html.count(">active<"), html.count(">inactive<")) == (1, 4)


def test_a_path_is_no_markup(tmp_path) -> None:
    vault = TableVault(tmp_path / "<i>v", "Ana", create=True)
    assert "&lt;i&gt;v" in vault._repr_html_()
    assert "<i>" not in vault._repr_html_()
