"""Dataframes are read from one commit, wherever the vault lies and whoever may write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVFileError, TVTableError
from tablevault.model.instance import Instance
from tablevault.model.view import VaultView
from tests.looking import git
from tests.queries.conftest import printed


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
