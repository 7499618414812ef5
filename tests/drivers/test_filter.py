"""Stock git without git-lfs: the filter of this package steps in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault


@pytest.fixture
def without_lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a PATH on which there is git, but not git-lfs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = folder / program.name
            if program.name != "git-lfs" and not link.exists():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(folder))
    assert subprocess.run(["git", "lfs"], check=False, capture_output=True).returncode != 0


def git(path: Path, *arguments: str) -> str:
    command = ["git", "-C", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("without_lfs")
def test_git_works_without_git_lfs(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    vault = TableVault(path, "ana", create=True)
    vault.create_table("papers")
    for number in range(2):
        vault.create_instance("papers", external_edit=True)
        (Path(vault.get_artifact_folder("papers")) / "a.bin").write_bytes(b"\0\xff" * (1 + number))
        frame = pd.DataFrame({"n": range(5000), "file": ["a.bin"] * 5000})
        vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
    assert git(path, "status", "--porcelain") == ""
    data = path / "tables/papers/base/dataframe.parquet"
    content = data.read_bytes()
    data.unlink()
    git(path, "checkout", "--", "tables")
    assert data.read_bytes() == content
    data.touch()
    assert git(path, "status", "--porcelain") == ""
    data.chmod(0o644)
    data.write_bytes(content + b"x")
    git(path, "add", "tables")
    staged = git(path, "show", ":tables/papers/base/dataframe.parquet")
    assert staged.startswith("version https://git-lfs.github.com/spec/v1\n")
    assert f"size {len(content) + 1}\n" in staged


@pytest.mark.usefixtures("without_lfs")
def test_a_missing_object_leaves_its_pointer(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    vault = TableVault(path, "ana", create=True)
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": range(5)}), "papers")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(path), str(clone)], check=True, capture_output=True)
    TableVault(clone, "bob")
    text = (clone / "tables/papers/base/dataframe.parquet").read_text()
    assert text.startswith("version https://git-lfs.github.com/spec/v1\n")
    assert git(clone, "status", "--porcelain") == ""


def test_git_lfs_is_used_where_it_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    TableVault(path, "ana", create=True)
    assert git(path, "config", "--local", "filter.lfs.clean").strip() == "git-lfs clean -- %f"
