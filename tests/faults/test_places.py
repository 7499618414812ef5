"""What a user's machine may have that others have not: odd places, odd settings, other people."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault, compress_vault, decompress_vault, delete_vault
from tablevault.errors import TVArgumentError, TVFileError, TVTableError
from tests.looking import check_clean, git

CODE = "import pandas as pd\n\ndef rows():\n    return pd.DataFrame({'a': [1, 2]})\n"
INDEX = """\
builder_type: IndexBuilder
changed_columns: [a]
primary_key: [a]
python_function: rows
code_module: work
is_custom: true
arguments: {}
"""


def written(path: Path, numbers: list[int]) -> TableVault:
    """A vault with one written instance."""
    vault = TableVault(path, "Ana <ana@example.org>", create=True)
    vault.create_table("t")
    write(vault, numbers)
    return vault


def write(vault: TableVault, numbers: list[int]) -> None:
    """Write an instance."""
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": numbers}), "t")


def values(path: Path) -> list[int]:
    """Read what was written last."""
    frame, _ = TableVault(path, "Bo <bo@example.org>").get_dataframe("t")
    return frame["a"].tolist()


@pytest.fixture(params=["latin-1", "deep"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder whose path is no UTF-8, or too long for SQLite."""
    if request.param == "latin-1":
        path = tmp_path / os.fsdecode(b"caf\xe9")
    else:
        path = tmp_path
        while len(str(path)) < 600:
            path /= "d" * 100
    path.mkdir(parents=True)
    return path


def test_a_vault_works_whatever_the_path_to_it(folder: Path) -> None:
    vault = written(folder / "v", [1])
    vault.create_code_module("work", text=CODE)
    vault.create_instance("t", builders={"t_index": INDEX})
    vault.execute_instance("t")
    assert values(folder / "v") == [1, 2]
    assert vault.verify() == []
    vault.gc(grace_s=0)
    check_clean(folder / "v")
    git(folder / "v", "log", "-p", "--ext-diff")
    command = [sys.executable, "-m", "tablevault", "--db-dir", str(folder / "v")]
    for words in (["log"], ["get-table-instances"], ["verify"]):
        done = subprocess.run([*command, *words], capture_output=True, check=False)
        assert done.returncode == 0, (words, done.stderr)


def test_a_vault_is_copied_whatever_the_path_to_it(folder: Path) -> None:
    written(folder / "v", [1])
    clone_vault(folder / "v", folder / "clone", "Bo <bo@example.org>").push(remote="origin")
    assert values(folder / "clone") == [1]
    compress_vault(folder / "clone")
    shutil.rmtree(folder / "clone")
    decompress_vault(folder / "clone")
    assert values(folder / "clone") == [1]


def test_pyarrow_and_a_path_that_is_no_utf8_are_one_clear_error(tmp_path: Path) -> None:
    vault = written(tmp_path / os.fsdecode(b"caf\xe9"), [1])
    with pytest.raises(TVTableError, match="not UTF-8"):
        vault.get_dataset("t")


def test_settings_of_git_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    written(tmp_path / "v", [1])
    config = tmp_path / "v/.git/config"
    odd = b'[branch "main"]\n\tdescription = caf\xe9\n[user]\n\tname = J\xf6rg\n'
    config.write_bytes(config.read_bytes() + odd)
    assert values(tmp_path / "v") == [1]
    compress_vault(tmp_path / "v")
    shutil.rmtree(tmp_path / "v")
    decompress_vault(tmp_path / "v")
    assert values(tmp_path / "v") == [1]
    assert b"J\xf6rg" in config.read_bytes()


def test_objects_are_where_git_lfs_has_them(tmp_path: Path) -> None:
    written(tmp_path / "v", [1])
    first = set((tmp_path / "v/.git/lfs/objects").glob("??/??/*"))
    git(tmp_path / "v", "config", "lfs.storage", tmp_path / "disk")
    write(TableVault(tmp_path / "v", "Ana <ana@example.org>"), [2])
    (kept,) = (tmp_path / "disk/objects").glob("??/??/*")
    assert set((tmp_path / "v/.git/lfs/objects").glob("??/??/*")) == first
    assert kept.stat().st_mode & 0o222 == 0
    vault = TableVault(tmp_path / "v", "Ana <ana@example.org>")
    old, _ = vault.get_dataframe("t", vault.get_table_instances("t")[0])
    assert old["a"].tolist() == [1]
    assert values(tmp_path / "v") == [2]
    assert vault.verify() == []
    assert not list((tmp_path / "disk/tmp").glob("*/*"))
    if shutil.which("git-lfs"):
        assert "Git LFS fsck OK" in git(tmp_path / "v", "lfs", "fsck")


def test_objects_in_a_store_that_others_may_use_are_not_deleted(tmp_path: Path) -> None:
    for name in ("one", "two"):
        TableVault(tmp_path / name, "Ana <ana@example.org>", create=True).create_table("t")
        git(tmp_path / name, "config", "lfs.storage", tmp_path / "disk")
        write(TableVault(tmp_path / name, "Ana <ana@example.org>"), [1])
    one = TableVault(tmp_path / "one", "Ana <ana@example.org>")
    one.delete_instance(one.get_table_instances("t")[0], "t")
    assert one.gc(grace_s=0).objects == 0
    assert values(tmp_path / "two") == [1]


root_only = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root gives files away"
)


@root_only
def test_a_vault_of_somebody_else_is_opened_as_the_error_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    written(tmp_path / "v", [1])
    for folder, _, names in os.walk(tmp_path / "v"):
        for name in (folder, *(f"{folder}/{name}" for name in names)):
            os.chown(name, 12345, 12345)
    with pytest.raises(TVFileError, match="belongs to user 12345") as raised:
        values(tmp_path / "v")
    command = raised.value.hint.partition(": ")[2]
    assert command == f"git config --global --add safe.directory {tmp_path / 'v'}"


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A temporary folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


TURN = """\
import os, sys
import pandas as pd
os.umask(0o022)
from tablevault import TableVault
vault = TableVault("v", sys.argv[1])
vault.create_instance("t", external_edit=True)
vault.write_instance(pd.DataFrame({"a": [int(sys.argv[2])]}), "t")
"""


@root_only
def test_two_people_work_in_one_folder_in_turn(
    open_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = open_path
    config = tmp_path / ".gitconfig"
    config.write_text("[safe]\n\tdirectory = *\n", "utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "v", [1])
    git(tmp_path / "v", "config", "core.sharedRepository", "group")
    script = "chown -R 12345:12300 . && chmod -R g+rwX . && find . -type d -exec chmod g+s {} +"
    subprocess.run(script, shell=True, cwd=tmp_path / "v", check=True)
    person = ["setpriv", "--regid", "12300", "--clear-groups", "--inh-caps", "+dac_read_search"]
    person += ["--ambient-caps", "+dac_read_search"]
    for turn in range(3):
        user = str(12345 + turn % 2)
        command = [*person, "--reuid", user, "--", sys.executable, "-c", TURN, user, str(turn)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "v").rglob("*"):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            assert status.st_mode & stat.S_IWGRP, path
            assert status.st_gid == 12300, path


@root_only
def test_a_folder_of_somebody_else_is_not_called_a_full_disk(tmp_path: Path) -> None:
    written(tmp_path / "v", [1])
    for folder in (tmp_path / "v/.git/objects").glob("??"):
        folder.chmod(0o555)
    (tmp_path / "v/.git/objects").chmod(0o555)
    script = f"""\
from tablevault import TableVault
try:
    TableVault({str(tmp_path / "v")!r}, "bob").create_table("u")
except PermissionError as error:
    print(error)
"""
    command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", sys.executable]
    done = subprocess.run([*command, "-c", script], capture_output=True, text=True, check=True)
    assert "you may not write to a folder of" in done.stdout
    assert "core.sharedRepository" in done.stdout
    assert "disk full" not in done.stdout


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on another disk than temporary folders are."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as one, tempfile.TemporaryDirectory() as two:
        other = next(
            (path for path in map(Path, (one, two)) if path.stat().st_dev != _device()), None
        )
        if other is None:
            pytest.skip("there is one file system")
        yield other


def _device() -> int:
    """The disk of temporary folders of tests."""
    return Path(os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir()).stat().st_dev


@pytest.mark.parametrize(
    "linked", [".git", ".git/lfs", ".git/lfs/objects", ".git/objects", ".git/tablevault", "code"]
)
def test_a_part_of_the_vault_may_be_a_link_to_another_disk(
    tmp_path: Path, disk: Path, linked: str
) -> None:
    written(tmp_path / "v", [1])
    shutil.move(tmp_path / "v" / linked, disk / "part")
    (tmp_path / "v" / linked).symlink_to(disk / "part")
    write(TableVault(tmp_path / "v", "Ana <ana@example.org>"), [2])
    assert values(tmp_path / "v") == [2]
    assert not list((tmp_path / "v/tables").rglob(".*"))
    git(tmp_path / "v", "fsck", "--strict")
    if linked != "code":
        assert TableVault(tmp_path / "v", "Ana <ana@example.org>").verify() == []
        assert git(tmp_path / "v", "status", "--porcelain") == ""


@pytest.mark.parametrize("linked", [".git", ".git/lfs", ".git/lfs/objects", ".git/objects"])
def test_a_vault_whose_data_is_behind_a_link_is_not_called_deleted(
    tmp_path: Path, linked: str
) -> None:
    written(tmp_path / "v", [1])
    shutil.move(tmp_path / "v" / linked, tmp_path / "part")
    (tmp_path / "v" / linked).symlink_to(tmp_path / "part")
    with pytest.raises(TVArgumentError, match="nothing was deleted"):
        delete_vault(tmp_path / "v")
    assert values(tmp_path / "v") == [1]


def test_a_deletion_names_the_objects_that_it_leaves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "v", [1])
    git(tmp_path / "v", "config", "lfs.storage", tmp_path / "disk")
    write(TableVault(tmp_path / "v", "Ana <ana@example.org>"), [2])
    delete_vault(tmp_path / "v")
    assert str(tmp_path / "disk") in caplog.text


def test_a_sparse_checkout_is_no_problem(tmp_path: Path) -> None:
    vault = written(tmp_path / "v", [1])
    git(tmp_path / "v", "sparse-checkout", "set", "code")
    assert not (tmp_path / "v/tables/t/base").exists()
    assert vault.verify() == []
    assert values(tmp_path / "v") == [1]


def test_a_deleted_current_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(TVArgumentError, match='"v" is relative to the current folder'):
        TableVault("v", "Ana <ana@example.org>", create=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TVFileError, match="A vault cannot be made at"):
        TableVault(tmp_path / "file/v", "Ana <ana@example.org>", create=True)


def test_a_setting_for_all_repositories_does_not_share_a_vault(
    tmp_path: Path, sealed: Path
) -> None:
    config = sealed / ".gitconfig"
    before = config.read_text("utf-8")
    umask = os.umask(0o022)
    try:
        config.write_text(f"{before}[core]\n\tsharedRepository = group\n", "utf-8")
        written(tmp_path / "v", [1])
        assert os.umask(0o022) == 0o022
    finally:
        config.write_text(before, "utf-8")
        os.umask(umask)


@pytest.fixture
def others(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vault of somebody else that we may read, and that git opens."""
    config = open_path / ".gitconfig"
    config.write_text("[safe]\n\tdirectory = *\n", "utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("HOME", str(open_path))
    written(open_path / "v", [1])
    return open_path / "v"


def as_somebody(path: Path, script: str) -> str:
    """Run Python as somebody without any rights, and give what it prints."""
    person = ["setpriv", "--reuid", "12347", "--regid", "12347", "--clear-groups", "--"]
    command = [*person, sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


READ = """\
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "Bo <bo@example.org>")
try:
    print(vault.get_dataframe("t")[0]["a"].tolist())
except Exception as error:
    print(error)
for problem in vault.verify():
    print(problem.kind, problem.text, problem.advice)
"""


@root_only
def test_who_may_only_read_finds_a_whole_vault(others: Path) -> None:
    assert as_somebody(others, READ) == "[1]\n"


@root_only
def test_an_object_without_permission_is_not_called_damaged(others: Path) -> None:
    (stored,) = (others / ".git/lfs/objects").glob("??/??/*")
    stored.chmod(0o400)
    said = as_somebody(others, READ)
    assert f"chmod a+r {stored}" in said
    assert "no permission" in said
    assert "damaged" not in said
