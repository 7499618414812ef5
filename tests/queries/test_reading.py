"""Lists, descriptions, trees and texts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from rich.tree import Tree

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVFileError, TVTableError
from tablevault.model.instance import Instance
from tablevault.model.view import VaultView
from tests.looking import git, state_of

COLUMN = "builder_type: ColumnBuilder\n"


def printed(tree: Tree) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - rich keeps it
    console.print(tree)
    text = console.export_text()
    console.file.close()
    return text


def furnish(vault: TableVault) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    vault.create_table("papers", description="those we read")
    vault.create_instance("papers", external_edit=True, description="first")
    (Path(vault.get_artifact_folder("papers")) / "a[b].txt").write_text("1")
    frame = pd.DataFrame({"file": ["a[b].txt"], "score[0]": [1]})
    vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
    vault.create_instance("papers", version="v 2", builders={"column": COLUMN})


@pytest.fixture
def papers(copy_of: Callable[..., TableVault], vault_path: Path) -> TableVault:
    return copy_of(furnish, vault_path)


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


def test_completion_is_exact(papers: TableVault) -> None:
    process = papers.create_table("other")
    assert papers.get_process_completion(process) is True
    assert papers.get_process_completion(process[:-1]) is False
    assert papers.get_process_completion("") is False
    assert papers.get_process_completion("never seen") is False


def test_a_failed_named_process_is_complete(papers: TableVault) -> None:
    with pytest.raises(TVArgumentError):
        papers.create_table("papers", process_id="mine")
    assert papers.get_process_completion("mine") is True


def test_process_ids_are_random(papers: TableVault) -> None:
    assert papers.generate_process_id() != papers.generate_process_id()


def test_reading_works_without_write_permission_to_the_index(
    papers: TableVault, vault_path: Path
) -> None:
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "objects.sqlite"):
        (vault_path / ".git/tablevault" / name).unlink(missing_ok=True)
    assert len(papers.get_table_instances("papers")) == 1
    assert papers.get_dataframe("papers")[0].shape == (1, 2)


READERS = {
    "tables": lambda vault, _: vault.get_table_instances(),
    "instances": lambda vault, _: vault.get_table_instances("papers"),
    "vault": lambda vault, _: vault._repr_html_(),
    "table": lambda vault, _: vault.get_descriptions(table_name="papers"),
    "instance": lambda vault, last: vault.get_descriptions(last),
    "dataframe": lambda vault, _: vault.get_dataframe("papers")[0].to_dict(),
    "dataset": lambda vault, _: vault.get_dataset("papers").to_table().to_pylist(),
    "builders": lambda vault, last: vault.get_builders_list("papers", last),
    "calls": lambda vault, _: vault.get_calls("papers").attrs,
    "tree": lambda vault, _: printed(vault.get_file_tree(artifact_files=True)),
    "log": lambda vault, _: vault.log().to_dict(),
    "log of a table": lambda vault, _: vault.log("papers").to_dict(),
    "log of an instance": lambda vault, last: vault.log("papers", last).to_dict(),
    "lineage": lambda vault, _: str(vault.lineage("papers")),
    "diff": lambda vault, last: str(vault.diff("papers", last)),
    "status": lambda vault, _: str(vault.status()),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_readers_see_one_commit_while_others_write(
    papers: TableVault, vault_path: Path, reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the view of a reader is made, somebody changes whatever can be changed."""
    papers.delete_instance("TEMP_v 2", "papers")  # a branch is as it is at the moment
    for rows in ([1], [1, 2]):
        papers.create_instance("papers", external_edit=True)
        papers.write_instance(pd.DataFrame({"score[0]": rows}), "papers")
    first, _, last = papers.get_table_instances("papers")
    other = TableVault(vault_path, "bob")
    expected = reader(papers, last)
    pinned = VaultView.pinned.__func__

    def then_others_write(cls, parts, **given):
        view = pinned(cls, parts, **given)
        monkeypatch.setattr(VaultView, "pinned", classmethod(pinned))
        other.delete_instance(first, "papers")
        other.create_instance("papers", external_edit=True)
        other.write_instance(pd.DataFrame({"score[0]": [3]}), "papers")
        other.rename_table("articles", "papers")
        other.create_table("more")
        return view

    monkeypatch.setattr(VaultView, "pinned", classmethod(then_others_write))
    assert reader(papers, last) == expected
    assert other.get_table_instances() == ["articles", "more"]


def test_a_vault_can_be_moved(papers: TableVault, vault_path: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.move(vault_path, moved)
    again = TableVault(moved, "ana")
    frame, _ = again.get_dataframe("papers")
    assert Path(frame["file"][0]).read_text() == "1"
    assert frame["file"][0].startswith(str(moved))
    assert git(moved, "status", "--porcelain") == ""
    with pytest.raises(TVFileError, match="moved or deleted"):
        TableVault.get_table_instances(papers)


def test_a_copy_made_with_cp_is_a_vault(
    papers: TableVault, vault_path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(vault_path), str(copy)], check=True)
    again = TableVault(copy, "ana")
    again.create_table("more")
    assert again.get_dataframe("papers")[0].shape == (1, 2)
    assert git(copy, "status", "--porcelain") == ""


def test_what_is_no_parquet_is_no_dataset(
    papers: TableVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"PAR1 of somebody else PAR1")
    monkeypatch.setattr(Instance, "frame_file", lambda _: tmp_path / "f")
    with pytest.raises(TVTableError, match="cannot be opened as a dataset"):
        papers.get_dataset("papers")


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
