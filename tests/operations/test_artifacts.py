"""Artifacts: files that values of a column name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVTableError
from tests.looking import check_clean, git, state_of


def put(vault: TableVault, table: str, files: dict[str, str], names: list[str | None]) -> str:
    vault.create_instance(table, external_edit=True)
    folder = Path(vault.get_artifact_folder(table))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    vault.write_instance(pd.DataFrame({"file": names}), table, dtypes={"file": "artifact_string"})
    return vault.get_table_instances(table)[-1]


def texts(vault: TableVault, table: str, instance: str) -> list[str]:
    frame, _ = vault.get_dataframe(table, instance)
    return [Path(path).read_text() if path else "" for path in frame["file"]]


def test_an_instance_that_replaces_another_begins_without_artifacts(vault: TableVault) -> None:
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    folder = Path(vault.get_artifact_folder("t"))
    (folder / "sub").mkdir()
    (folder / "sub/old.txt").write_text("old")
    vault.create_instance("t", external_edit=True)
    assert list(folder.iterdir()) == []
    (folder / "new.txt").write_text("new")
    vault.write_instance(pd.DataFrame({"f": ["new.txt"]}), "t", dtypes={"f": "artifact_string"})


def test_an_edit_of_an_instance_leaves_its_artifacts(vault: TableVault) -> None:
    vault.create_table("t")
    vault.create_instance("t")
    folder = Path(vault.get_artifact_folder("t"))
    (folder / "mine.txt").write_text("mine")
    vault.create_builder_file("t", "more")
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("multiple", [True, False])
def test_files_of_every_instance_stay_readable(
    vault: TableVault, vault_path: Path, multiple: bool
) -> None:
    vault.create_table("papers", allow_multiple_artifacts=multiple)
    first = put(vault, "papers", {"a.txt": "1", "sub/b.txt": "2"}, ["a.txt", "sub/b.txt", None])
    assert texts(vault, "papers", first) == ["1", "2", ""]
    second = put(vault, "papers", {"a.txt": "changed"}, ["a.txt"])
    assert texts(vault, "papers", second) == ["changed"]
    assert texts(vault, "papers", first) == ["1", "2", ""]
    assert vault.get_descriptions(first)["active"] is multiple
    folder = "tables/papers/base/artifacts" if multiple else "tables/papers/artifacts"
    assert [path.name for path in (vault_path / folder).rglob("*")] == ["a.txt"]
    assert vault.get_artifact_folder("papers", second) == str(vault_path / folder)
    assert f"{folder}/a.txt" in git(vault_path, "lfs", "ls-files")
    frame, _ = vault.get_dataframe("papers", second, full_artifact_path=False)
    assert frame["file"].tolist() == ["a.txt"]
    check_clean(vault_path)


def test_files_that_are_still_named_are_carried_over(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    put(vault, "papers", {"a.txt": "1", "b.txt": "2"}, ["a.txt", "b.txt"])
    second = put(vault, "papers", {"c.txt": "3"}, ["a.txt", "c.txt"])
    assert texts(vault, "papers", second) == ["1", "3"]
    shared = vault_path / "tables/papers/artifacts"
    assert sorted(path.name for path in shared.iterdir()) == ["a.txt", "c.txt"]


def test_an_instance_without_artifacts_leaves_the_folder(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("papers")
    first = put(vault, "papers", {"a.txt": "1"}, ["a.txt"])
    vault.create_instance("papers", version="plain", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1]}), "papers", version="plain")
    assert texts(vault, "papers", first) == ["1"]
    assert vault.get_descriptions(first)["active"] is True
    assert (vault_path / "tables/papers/artifacts/a.txt").read_text() == "1"


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({}, ["missing.txt"]),
        ({"a.txt": "1", "unnamed.txt": "2"}, ["a.txt"]),
        ({}, ["../../vault.yaml"]),
        ({}, ["/etc/passwd"]),
        ({"a.txt": "1"}, ["./a.txt"]),
        ({"a.txt": "1"}, ["sub/../a.txt"]),
        ({"sub/a.txt": "1"}, ["sub"]),
    ],
)
def test_wrong_names_change_nothing(
    vault: TableVault, vault_path: Path, files: dict[str, str], names: list[str]
) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    folder = Path(vault.get_artifact_folder("papers"))
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    before = state_of(vault_path)
    frame = pd.DataFrame({"file": names})
    with pytest.raises(TVTableError) as caught:
        vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
    assert caught.value.hint
    assert state_of(vault_path) == before


def test_a_link_out_of_the_folder_is_refused(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    folder = Path(vault.get_artifact_folder("papers"))
    (folder / "a.txt").symlink_to("/etc/hostname")
    before = state_of(vault_path)
    with pytest.raises(TVTableError, match="symbolic link"):
        vault.write_instance(
            pd.DataFrame({"file": ["a.txt"]}), "papers", dtypes={"file": "artifact_string"}
        )
    assert state_of(vault_path) == before


def test_hidden_files_are_passed_over_and_empty_ones_kept(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("papers")
    first = put(
        vault,
        "papers",
        {".DS_Store": "x", "Thumbs.db": "x", "a.txt~": "", "~$a.docx": "", "empty": ""},
        ["empty"],
    )
    assert texts(vault, "papers", first) == [""]
    check_clean(vault_path)


def test_deleting_the_owner_deletes_its_files(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    first = put(vault, "papers", {"a.txt": "only here"}, ["a.txt"])
    assert vault.get_descriptions(table_name="papers")["artifact_instance"] == first
    vault.delete_instance(first, "papers")
    assert not (vault_path / "tables/papers/artifacts").exists()
    objects = [path for path in (vault_path / ".git/lfs/objects").rglob("*") if path.is_file()]
    assert objects == []
    assert "artifact_instance" not in vault.get_descriptions(table_name="papers")
    check_clean(vault_path)


def test_files_stay_readable_when_the_owner_of_the_folder_is_deleted(vault: TableVault) -> None:
    vault.create_table("papers")
    first = put(vault, "papers", {"a.txt": "1"}, ["a.txt"])
    second = put(vault, "papers", {"a.txt": "changed"}, ["a.txt"])
    vault.delete_instance(second, "papers")
    assert texts(vault, "papers", first) == ["1"]


def test_an_instance_without_artifacts_has_none_of_another(vault: TableVault) -> None:
    vault.create_table("papers")
    first = put(vault, "papers", {"a.txt": "1"}, ["a.txt"])
    vault.create_instance("papers", version="plain", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1]}), "papers", version="plain")
    put(vault, "papers", {"a.txt": "2"}, ["a.txt"])
    vault.delete_instance(first, "papers")
    (plain,) = vault.get_table_instances("papers", "plain")
    assert list(Path(vault.get_artifact_folder("papers", plain)).iterdir()) == []


def test_the_executable_bit_is_kept(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    script = Path(vault.get_artifact_folder("papers")) / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    vault.write_instance(
        pd.DataFrame({"file": ["run.sh"]}), "papers", dtypes={"file": "artifact_string"}
    )
    entry = git(vault_path, "ls-tree", "main", "tables/papers/artifacts/run.sh")
    assert entry.startswith("100755")
    check_clean(vault_path)
