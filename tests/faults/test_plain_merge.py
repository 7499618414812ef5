"""A kill in the middle of what git's own merge has the package do: the next one ends the work."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tests.faults.injection import instrumented
from tests.faults.scenarios import AUTHOR
from tests.looking import check_clean, git

pytestmark = pytest.mark.faults
NOTES = "tables/words/base/notes.txt"
DRIVER = """\
import sys
from pathlib import Path
from tablevault.drivers.merge import main
from tests.faults.injection import instrumented, kill
with instrumented(Path.cwd()) as steps, steps.counting(int(sys.argv[1]), kill):
    status = main(sys.argv[2:])
sys.exit(status)
"""


def write(vault: TableVault, values: list[int], table: str = "words") -> None:
    """Make an instance."""
    vault.create_instance(table, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": values}), table)


@pytest.fixture(scope="module")
def parted(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a vault that has fetched a diverged history, later than its own."""
    folder = tmp_path_factory.mktemp("parted")
    theirs = TableVault(folder / "theirs", "Bo <bo@example.org>", create=True)
    theirs.create_table("words")
    theirs.create_table("old")
    write(theirs, [0])
    ours = clone_vault(folder / "theirs", folder / "ours", AUTHOR, data="all")
    write(ours, [1])
    path = folder / "ours"
    (path / NOTES).write_text("of the earlier one\n", "utf-8")
    git(path, "add", NOTES)
    git(path, "commit", "-qm", "notes")
    ours.create_instance("old", external_edit=True)
    write(theirs, [2])
    theirs.rename_table("new", "old")
    git(path, "fetch", "-q")
    return path


def copy(vault: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(vault, to, symlinks=True)
    return to


def merge(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Merge with plain git."""
    return subprocess.run(
        ["git", "-C", path, *options, "merge", "-q", "--no-edit", "origin/main"],
        capture_output=True,
        text=True,
        check=False,
    )


def check_whole(path: Path) -> None:
    """See that the vault holds what a pull would have made of it."""
    vault = TableVault(path, "somebody else <else@example.org>")
    assert not (path / NOTES).exists()
    assert vault.get_dataframe("words")[0]["n"].tolist() == [2]
    assert git(path, "branch", "--list", "temp/*").split() == ["temp/new/base"]
    assert [each for each in vault.verify() if each.severity == "error"] == []
    signed = git(path, "log", "--format=%an <%ae>", "-1")
    assert signed == "Ana Lund <ana@example.org>\n", "whoever merged"
    check_clean(path)


@pytest.fixture
def merged(parted: Path, tmp_path: Path) -> Path:
    """Return the vault merged by git, where no hook has run."""
    path = copy(parted, tmp_path / "merged")
    done = merge(path, "-c", "core.hooksPath=/dev/null")
    assert done.returncode == 0, done.stderr
    assert (path / NOTES).exists()
    return path


def test_the_hook_finishes_a_merge(parted: Path, tmp_path: Path) -> None:
    path = copy(parted, tmp_path / "vault")
    assert "whole again" in merge(path).stderr
    check_whole(path)


def test_opening_finishes_a_merge_once(merged: Path) -> None:
    check_whole(merged)
    before = git(merged, "rev-parse", "main")
    TableVault(merged, AUTHOR)
    assert git(merged, "rev-parse", "main") == before


def test_a_kill_while_a_merge_is_finished(
    merged: Path, tmp_path: Path, killed: Callable[..., str]
) -> None:
    path = copy(merged, tmp_path / "vault")
    with instrumented(path) as steps, steps.counting():
        TableVault(path, AUTHOR)
    count = len(steps.names)
    assert count > 20
    for at in range(3, count, count // 5):
        copy(merged, path)
        assert killed(path, "", 0, at) == "killed", at
        git(path, "fsck", "--strict", "--no-dangling")
        check_whole(path)


@pytest.mark.sweep
@pytest.mark.parametrize("at", [1, 4])
def test_a_kill_in_the_merge_driver(parted: Path, tmp_path: Path, at: int) -> None:
    path = copy(parted, tmp_path / "vault")
    before = git(path, "rev-parse", "main")
    command = shlex.join([sys.executable, "-c", DRIVER, str(at)])
    done = merge(path, "-c", f"merge.tablevault.driver={command} %O %A %B %P")
    assert done.returncode != 0
    git(path, "fsck", "--strict", "--no-dangling")
    TableVault(path, AUTHOR)
    assert git(path, "rev-parse", "main") == before
    git(path, "merge", "--abort")
    check_clean(path)
    assert merge(path).returncode == 0
    check_whole(path)
