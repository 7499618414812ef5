"""A vault as one file, and back."""

from __future__ import annotations

import contextlib
import io
import lzma
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault, compress_vault, decompress_vault, delete_vault
from tablevault.errors import TVArgumentError
from tests.looking import check_clean, git, state_of


def furnish(vault: TableVault) -> None:
    vault.create_code_module("m", text="x = 1\n")
    vault.create_table("papers", allow_multiple_artifacts=True)
    vault.create_instance("papers", external_edit=True)
    (Path(vault.get_artifact_folder("papers")) / "a.txt").write_text("1")
    frame = pd.DataFrame({"file": ["a.txt"]})
    vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
    vault.create_instance("papers")


@pytest.fixture
def filled(copy_of: Callable[..., TableVault], vault_path: Path) -> TableVault:
    return copy_of(furnish, vault_path)


def archive_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.tar.xz")


def test_a_round_trip_gives_an_equal_vault(
    filled: TableVault, vault_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(vault_path)
    monkeypatch.chdir(tmp_path)
    compress_vault(vault_path, preset=0)
    assert state_of(vault_path) == before
    assert list(tmp_path.glob("*.xz")) == []
    delete_vault(vault_path)
    decompress_vault(vault_path)
    again = TableVault(vault_path, "bob")
    assert state_of(vault_path) == before
    assert filled.get_dataframe("papers")[0]["file"].map(lambda p: Path(p).read_text())[0] == "1"
    assert again.get_table_instances("papers", include_temp=True)[-1] == "TEMP_base"
    check_clean(vault_path)


def test_an_archive_without_a_top_folder_is_read(filled: TableVault, vault_path: Path) -> None:
    with tarfile.open(archive_of(vault_path), "w:xz", preset=0) as archive:
        for path in sorted(vault_path.iterdir()):
            archive.add(path, arcname=path.name)
    before = state_of(vault_path)
    delete_vault(vault_path)
    decompress_vault(vault_path)
    assert state_of(vault_path) == before


@pytest.mark.parametrize("folder", ["incomplete", "processes", "tmp"])
def test_what_is_under_way_is_not_archived(
    filled: TableVault, vault_path: Path, folder: str
) -> None:
    path = vault_path / ".git/tablevault" / folder / "half"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    compress_vault(vault_path, preset=0)
    with tarfile.open(archive_of(vault_path)) as archive:
        assert not [name for name in archive.getnames() if name.endswith("/half")]


def test_an_archive_may_be_renamed(filled: TableVault, vault_path: Path) -> None:
    compress_vault(vault_path, preset=0)
    other = vault_path.with_name("other")
    archive_of(vault_path).rename(archive_of(other))
    decompress_vault(other)
    assert TableVault(other, "bob").get_table_instances() == ["papers"]


def test_a_full_target_is_refused(filled: TableVault, vault_path: Path) -> None:
    compress_vault(vault_path, preset=0)
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError, match="there already"):
        decompress_vault(vault_path)
    assert state_of(vault_path) == before


def test_wrong_calls(filled: TableVault, vault_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for preset in (-1, 10):
        with pytest.raises(ValueError, match="preset"):
            compress_vault(vault_path, preset)
    for strange in ("9", 1.5):
        with pytest.raises(TVArgumentError, match="preset"):
            compress_vault(vault_path, strange)  # type: ignore[arg-type]  # as users do
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(FileNotFoundError):
            compress_vault(path)
    with pytest.raises(TVArgumentError):
        compress_vault(tmp_path)
    with pytest.raises(FileNotFoundError):
        decompress_vault(tmp_path / "nowhere")
    assert sorted(path.name for path in vault_path.parent.iterdir()) == [vault_path.name]


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member("/tmp/evil"),
        member("vault/../../evil"),
        member("vault/link", tarfile.SYMTYPE, "/etc"),
        member("vault/hard", tarfile.LNKTYPE, "../../../etc/passwd"),
        member("vault/pipe", tarfile.FIFOTYPE),
        member("vault/device", tarfile.CHRTYPE),
        member("vault/.git/config", tarfile.DIRTYPE),
        member("vault/.GIT/hooks/pre-commit"),
        member("vault/.g\u200cit/config"),
        member("vault/git~1/config"),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, evil: tarfile.TarInfo) -> None:
    target = tmp_path / "in" / "vault"
    target.parent.mkdir()
    with tarfile.open(archive_of(target), "w:xz", preset=0) as archive:
        archive.addfile(member("vault/vault.yaml"), io.BytesIO())
        archive.addfile(evil, io.BytesIO())
    with pytest.raises(TVArgumentError):
        decompress_vault(target)
    assert [path.name for path in target.parent.iterdir()] == [archive_of(target).name]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("damage", ["not xz", "truncated", "no vault", "not tar"])
def test_a_damaged_archive_is_refused(
    filled: TableVault, vault_path: Path, tmp_path: Path, damage: str
) -> None:
    compress_vault(vault_path, preset=0)
    data = archive_of(vault_path).read_bytes()
    target = tmp_path / "vault"
    changed = {
        "not xz": b"hello",
        "truncated": data[: len(data) // 2],
        "not tar": lzma.compress(b"hello" * 1000),
    }
    if damage == "no vault":
        with tarfile.open(archive_of(target), "w:xz") as archive:
            archive.addfile(member("vault/readme.txt"), io.BytesIO())
    else:
        archive_of(target).write_bytes(changed[damage])
    with pytest.raises(TVArgumentError):
        decompress_vault(target)
    assert not target.exists()
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == []


def test_git_settings_and_hooks_of_an_archive_are_not_taken_over(
    filled: TableVault, vault_path: Path
) -> None:
    marker = vault_path.parent / "ran"
    config = vault_path / ".git/config"
    config.write_text(config.read_text() + f'[core]\n\tfsmonitor = "touch {marker}"\n')
    hooks = vault_path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\n")
    (hooks / "post-index-change").write_text("#!/bin/sh\n")
    compress_vault(vault_path, preset=0)
    delete_vault(vault_path)
    decompress_vault(vault_path)
    TableVault(vault_path, "bob")
    check_clean(vault_path)
    assert not marker.exists()
    assert not (hooks / "post-index-change").exists()
    assert "tablevault.drivers.hooks" in (hooks / "pre-commit").read_text()


def archived(vault_path: Path, change: Callable[[Path, Path], None], marker: Path) -> None:
    """Put a vault that somebody has changed in its place, as one archive."""
    compress_vault(vault_path, preset=0)
    change(vault_path, marker)
    with tarfile.open(archive_of(vault_path), "w:xz", preset=0) as archive:
        archive.add(vault_path, arcname=vault_path.name)
    shutil.rmtree(vault_path)


def common_dir(vault: Path, marker: Path) -> None:
    shutil.copytree(vault / ".git", vault / "other")
    with (vault / "other/config").open("a") as config:
        config.write(f'[core]\n\tfsmonitor = "touch {marker}"\n')
    (vault / ".git/commondir").write_text("../other\n")


def settings_of_a_worktree(vault: Path, marker: Path) -> None:
    with (vault / ".git/config").open("a") as config:
        config.write("[extensions]\n\tworktreeConfig = true\n")
    (vault / ".git/config.worktree").write_text(f'[core]\n\tfsmonitor = "touch {marker}"\n')


def programs(vault: Path, marker: Path) -> None:
    (vault / ".git/hooks2").mkdir()
    hook = vault / ".git/hooks2/post-index-change"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    with (vault / ".git/config").open("a") as config:
        config.write(f'[core]\n\thooksPath = .git/hooks2\n\tsshCommand = "touch {marker}"\n')
        config.write(f'[alias]\n\tstatus = "!touch {marker}"\n[include]\n\tpath = ../more\n')
        config.write(f'[filter "lfs"]\n\tclean = "touch {marker}; cat"\n')
        config.write(f'[diff "tablevault"]\n\ttextconv = "touch {marker}; cat"\n')
        config.write(f'[remote "origin"]\n\turl = /nowhere\n\tuploadpack = "touch {marker};"\n')
    (vault / "more").write_text(f'[core]\n\tfsmonitor = "touch {marker}"\n')


def no_settings(vault: Path, _: Path) -> None:
    (vault / ".git/config").write_text("[[[\n")
    (vault / ".git/config.lock").touch()
    (vault / ".git/refs/heads/main.lock").touch()


@pytest.mark.parametrize("change", [common_dir, settings_of_a_worktree, programs, no_settings])
def test_nothing_in_an_archive_makes_git_run_a_program(
    filled: TableVault, vault_path: Path, change: Callable[[Path, Path], None]
) -> None:
    marker = vault_path.parent / "ran"
    archived(vault_path, change, marker)
    decompress_vault(vault_path)
    vault = TableVault(vault_path, "bob")
    git(vault_path, "status")
    git(vault_path, "log", "-p", "--all")
    vault.create_table("more")
    assert vault.verify() == []
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "commondir",
        "config.worktree",
        "hooks/post-index-change",
        "info/attributes",
        "info/grafts",
        "lfs/tmp/x",
        "modules/x/config",
        "objects/info/alternates",
        "objects/INFO/alternates",
        "objects/info/commit-graph",
        "rebase-merge/git-rebase-todo",
        "tablevault/artifacts/x/y",
        "tablevault/moving",
        "tablevault/processes/x.json",
        "tablevault/texts/x",
        "worktrees/x/gitdir",
    ],
)
def test_what_could_lie_or_lead_elsewhere_is_made_again(
    filled: TableVault, vault_path: Path, name: str
) -> None:
    def change(vault: Path, _: Path) -> None:
        path = vault / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("evil\n")

    archived(vault_path, change, vault_path)
    decompress_vault(vault_path)
    path = vault_path / ".git" / name
    assert not path.exists() or path.read_text() != "evil\n"
    TableVault(vault_path, "bob").create_table("more")
    check_clean(vault_path)


def test_an_index_that_lies_is_made_again(filled: TableVault, vault_path: Path) -> None:
    def change(vault: Path, _: Path) -> None:
        with contextlib.closing(sqlite3.connect(vault / ".git/tablevault/index.sqlite")) as index:
            index.execute("UPDATE instances SET instance_id = '../../x', version = '../..'")
            index.commit()

    archived(vault_path, change, vault_path)
    decompress_vault(vault_path)
    ids = TableVault(vault_path, "bob").get_table_instances("papers")
    assert [instance_id.split("_")[0] for instance_id in ids] == ["base"]


def test_an_archive_for_which_there_is_no_room_is_refused(
    filled: TableVault, vault_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress_vault(vault_path, preset=0)
    delete_vault(vault_path)
    full = shutil.disk_usage(vault_path.parent)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(TVArgumentError, match="there is no room"):
        decompress_vault(vault_path)
    assert [path.name for path in vault_path.parent.iterdir()] == [archive_of(vault_path).name]


def test_what_could_not_be_unpacked_is_not_archived(filled: TableVault, vault_path: Path) -> None:
    (vault_path / "data").symlink_to("/")
    with pytest.raises(TVArgumentError, match='"data" is a symbolic link'):
        compress_vault(vault_path)
    assert not archive_of(vault_path).exists()
    (vault_path / "data").unlink()
    (vault_path / ".git/hooks/pre-push").unlink()
    (vault_path / ".git/hooks/pre-push").symlink_to("/bin/true")
    compress_vault(vault_path, preset=0)
    delete_vault(vault_path)
    decompress_vault(vault_path)
