"""Creating, opening and deleting a vault: what is refused is not touched."""

from __future__ import annotations

import copy
import errno
import logging
import os
import pickle
import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault, compress_vault, decompress_vault, delete_vault
from tablevault.errors import (
    TableVaultError,
    TVArgumentError,
    TVFormatError,
    TVLockError,
)
from tablevault.history.commits.setup import EARLIER_NAMES
from tablevault.operations import vaults
from tests.looking import git, state_of


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def written(path: Path) -> TableVault:
    """A vault with one instance."""
    vault = TableVault(path, "ana", create=True)
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [1, 2]}), "t")
    return vault


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TVArgumentError, match="does not exist"):
        TableVault(tmp_path / "nowhere", "ana")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_no_vault_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for create in (False, True):
        with pytest.raises(TVArgumentError, match="no vault"):
            TableVault(tmp_path, "ana", create=create)
    assert files_below(tmp_path) == {"note.txt": b"mine"}


def test_a_plain_git_repository_is_no_vault(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    before = files_below(tmp_path)
    with pytest.raises(TVArgumentError, match="no vault"):
        TableVault(tmp_path, "ana")
    assert files_below(tmp_path) == before


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    for create in (False, True):
        with pytest.raises(TVArgumentError):
            TableVault(path, "ana", create=create)
    assert path.read_text() == "mine"


def test_an_empty_folder_becomes_a_vault(tmp_path: Path) -> None:
    vault = TableVault(tmp_path, "ana", "what it is", create=True)
    assert vault.get_descriptions()["summary"] == "what it is"
    assert git(tmp_path, "status", "--porcelain") == ""


def test_parent_folders_are_made(tmp_path: Path) -> None:
    TableVault(tmp_path / "a" / "b" / "vault", "ana", create=True)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["vault"]


def test_a_vault_is_replaced_by_an_empty_one(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    again = TableVault(vault_path, "bob", "new", create=True)
    assert again.get_table_instances() == []
    assert again.get_descriptions()["summary"] == "new"
    assert list(vault_path.parent.iterdir()) == [vault_path]


def test_a_vault_of_a_newer_format_is_refused(vault: TableVault, vault_path: Path) -> None:
    document = vault_path / "vault.yaml"
    document.write_text(document.read_text().replace("format: 1", "format: 99"))
    git(vault_path, "commit", "-q", "--no-verify", "-am", "from the future")
    with pytest.raises(TVFormatError, match="format 99"):
        TableVault(vault_path, "ana")


def test_a_relative_path_survives_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vault = TableVault("vault", "ana", create=True)
    monkeypatch.chdir("/")
    vault.create_table("papers")
    assert vault.get_table_instances() == ["papers"]


def test_the_author_signs_the_commits(vault_path: Path) -> None:
    vault = TableVault(vault_path, "Ana Li <ana@example.org>", create=True)
    vault.create_table("papers")
    assert git(vault_path, "log", "-1", "--format=%an <%ae>") == "Ana Li <ana@example.org>\n"


@pytest.mark.parametrize("author", ["", "a<b>c", "  ", "Zoë", "a\nb"])
def test_any_author_is_accepted(vault_path: Path, author: str) -> None:
    vault = TableVault(vault_path, author, create=True)
    vault.create_table("papers")
    git(vault_path, "fsck", "--strict")


def test_a_plain_clone_is_a_vault(vault: TableVault, vault_path: Path, tmp_path: Path) -> None:
    vault.create_table("papers")
    vault.create_code_module("m", text="x = 1\n")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(vault_path), str(clone)], check=True)
    other = TableVault(clone, "bob")
    assert other.get_table_instances() == ["papers"]
    other.create_table("stories")
    assert other.get_code_modules_list() == ["m"]
    assert git(clone, "status", "--porcelain") == ""


def test_a_clone_without_a_checkout_loses_no_code(
    vault: TableVault, vault_path: Path, tmp_path: Path
) -> None:
    vault.create_code_module("m", text="x = 1\n")
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--no-checkout", str(vault_path), str(clone)]
    subprocess.run(command, check=True)
    TableVault(clone, "bob").create_table("stories")
    assert git(clone, "show", "main:code/m.py") == "x = 1\n"


def test_delete_vault_refuses_what_is_no_vault(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TVArgumentError):
            delete_vault(path)
    assert (tmp_path / "note.txt").exists()


def test_delete_vault_removes_everything(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    delete_vault(vault_path)
    assert list(vault_path.parent.iterdir()) == []


def test_a_vault_in_use_is_neither_deleted_nor_replaced(
    vault: TableVault, vault_path: Path
) -> None:
    from tablevault.transactions.records import Request
    from tablevault.transactions.transaction import running

    request = Request(operation="create_table", arguments={})
    inner = vault._vault
    with running(inner.parts, request, inner.actor("busy"), lambda *_: []):
        for action in (
            lambda: delete_vault(vault_path),
            lambda: TableVault(vault_path, "bob", create=True),
        ):
            with pytest.raises(TVLockError, match="busy"):
                action()
    assert (vault_path / "vault.yaml").exists()


def test_a_blank_path_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "v")
    monkeypatch.chdir(tmp_path / "v")
    before = state_of(tmp_path / "v")
    for action in (
        lambda: delete_vault(""),
        lambda: compress_vault(""),
        lambda: decompress_vault(""),
        lambda: clone_vault(tmp_path / "v", "", "bob"),
        lambda: TableVault("", "bob"),
        lambda: TableVault("", "bob", create=True),
    ):
        with pytest.raises(TVArgumentError, match=r'^"" is no path\.'):
            action()
    assert state_of(tmp_path / "v") == before
    assert [each.name for each in tmp_path.iterdir()] == ["v"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes to read-only files")
def test_what_root_writes_to_a_working_file_does_not_reach_the_object(tmp_path: Path) -> None:
    written(tmp_path / "v").get_dataframe("t")
    frame = tmp_path / "v/tables/t/base/dataframe.parquet"
    pd.DataFrame({"a": ["edited"]}).to_parquet(frame)
    frame_values, _ = TableVault(tmp_path / "v", "ana").get_dataframe("t")
    assert frame_values["a"].tolist() == [1, 2]
    (problem,) = TableVault(tmp_path / "v", "ana").verify()
    assert (problem.kind, problem.advice) == ("working tree", "Nothing is lost: history has it.")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes to read-only files")
def test_root_replaces_the_hard_links_of_others_when_it_opens_a_vault(tmp_path: Path) -> None:
    written(tmp_path / "v")
    frame = tmp_path / "v/tables/t/base/dataframe.parquet"
    (stored,) = (tmp_path / "v/.git/lfs/objects").glob("??/??/*")
    frame.unlink()
    os.link(stored, frame)
    (tmp_path / "v/.git/tablevault/no-links").unlink()
    vault = TableVault(tmp_path / "v", "ana")
    assert stored.stat().st_nlink == frame.stat().st_nlink == 1
    assert vault.verify() == []
    assert git(tmp_path / "v", "status", "--porcelain") == ""
    # Stat data and the time of git's index prove the file unchanged: git need not hash it.
    assert git(tmp_path / "v", "diff-files", "--raw") == ""


def test_a_vault_with_an_instance_is_moved_aside_by_create(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "v")
    new = TableVault(tmp_path / "v", "bob", create=True)
    assert new.get_table_instances() == []
    (kept,) = tmp_path.glob("v.replaced-*")
    assert re.fullmatch(r"v\.replaced-\d{8}T\d{6}Z", kept.name)
    assert str(kept) in caplog.text
    assert TableVault(kept, "ana").get_dataframe("t")[0]["a"].tolist() == [1, 2]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "v", kept]


@pytest.mark.parametrize("work", ["builder", "code", "edited code", "file", "branch", "damage"])
def test_a_vault_with_any_work_in_it_is_moved_aside_by_create(tmp_path: Path, work: str) -> None:
    vault = TableVault(tmp_path / "v", "ana", create=True)
    vault.create_table("t")
    match work:
        case "builder":
            vault.create_instance("t")
        case "code":
            vault.create_code_module("m", text="x = 1\n")
        case "edited code":
            (tmp_path / "v/code/m.py").write_text("x = 1\n")
        case "file":
            (tmp_path / "v/notes.txt").write_text("mine")
        case "branch":
            git(tmp_path / "v", "branch", "mine")
        case "damage":
            (tmp_path / "v/.git/config").write_text("[")
    TableVault(tmp_path / "v", "bob", create=True)
    assert len(list(tmp_path.glob("v.replaced-*"))) == 1


def test_two_vaults_replaced_within_a_second_are_both_kept(tmp_path: Path) -> None:
    for _ in range(4):
        written(tmp_path / "v")
    assert len(list(tmp_path.glob("v.replaced-*"))) == 3


def test_of_a_link_to_a_vault_the_target_is_moved_aside_and_replaced(tmp_path: Path) -> None:
    written(tmp_path / "disk/v")
    link = tmp_path / "v"
    link.symlink_to("disk/v")
    assert TableVault(link, "bob", create=True).get_table_instances() == []
    assert link.is_symlink()
    (kept,) = (tmp_path / "disk").glob("v.replaced-*")
    assert TableVault(kept, "ana").get_table_instances() == ["t"]


def test_of_a_link_to_a_vault_the_target_is_deleted(tmp_path: Path) -> None:
    written(tmp_path / "disk/v")
    (tmp_path / "v").symlink_to("disk/v")
    delete_vault(tmp_path / "v")
    assert list((tmp_path / "disk").iterdir()) == []
    assert TableVault(tmp_path / "v", "ana", create=True).get_table_instances() == []
    assert (tmp_path / "disk/v/vault.yaml").is_file()


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v").symlink_to("not-mounted/v")
    with pytest.raises(TVArgumentError, match="not-mounted"):
        TableVault(tmp_path / "v", "ana", create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_of_a_link_to_a_vault_the_target_is_compressed_and_restored(tmp_path: Path) -> None:
    written(tmp_path / "disk/v")
    (tmp_path / "v").symlink_to("disk/v")
    compress_vault(tmp_path / "v")
    delete_vault(tmp_path / "v")
    decompress_vault(tmp_path / "v")
    assert (tmp_path / "v").is_symlink()
    assert TableVault(tmp_path / "v", "ana").get_dataframe("t")[0]["a"].tolist() == [1, 2]


def test_a_vault_is_cloned_to_where_a_link_leads(tmp_path: Path) -> None:
    written(tmp_path / "v")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    assert clone_vault(tmp_path / "v", tmp_path / "link", "bob").get_table_instances() == ["t"]
    assert (tmp_path / "empty/vault.yaml").is_file()


@pytest.mark.parametrize("how", ["create", "clone", "decompress"])
def test_an_empty_folder_stays_the_same_folder(tmp_path: Path, how: str) -> None:
    written(tmp_path / "v")
    compress_vault(tmp_path / "v")
    (tmp_path / "v.tar.xz").rename(tmp_path / "new.tar.xz")
    folder = tmp_path / "new"
    folder.mkdir(mode=0o2770)
    (folder / f".{uuid.uuid4()}.new").mkdir()  # left by a crash
    before = folder.stat()
    match how:
        case "create":
            TableVault(folder, "ana", create=True)
        case "clone":
            clone_vault(tmp_path / "v", folder, "bob")
        case "decompress":
            decompress_vault(folder)
    after = folder.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert git(folder, "status", "--porcelain") == ""
    assert not list(folder.glob("*.new"))


def test_a_new_vault_that_fails_leaves_the_old_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    written(tmp_path / "v")
    monkeypatch.setattr(vaults, "put_in_place", refuse)
    with pytest.raises(OSError, match="No space"):
        TableVault(tmp_path / "v", "bob", create=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "v"]
    assert TableVault(tmp_path / "v", "ana").get_table_instances() == ["t"]


AT_A_MOUNT_POINT = """
import sys
import pandas as pd
from tablevault import TableVault, delete_vault
from tablevault.errors import TVFileError
path = f"{sys.argv[1]}/v"
TableVault(path, "ana", create=True).create_table("t")
for act in (lambda: TableVault(path, "bob", create=True), lambda: delete_vault(path)):
    try:
        act()
    except TVFileError as error:
        print(error.message)
print(TableVault(path, "ana").get_table_instances())
"""


def test_a_vault_at_a_mount_point_is_not_replaced_and_an_empty_one_becomes_a_vault(
    mounted: Callable[..., str], tmp_path: Path
) -> None:
    for name in ("disk", "v"):
        (tmp_path / name).mkdir()
    said = mounted('mount --bind "$0/disk" "$0/v"', AT_A_MOUNT_POINT, tmp_path)
    assert said.count("it is a mount point") == 2
    assert said.endswith("['t']\n")


@pytest.fixture(params=["worktree", "submodule", "separate", "gone"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A vault whose git directory is elsewhere, and what the error says about it."""
    written(tmp_path / "v")
    match request.param:
        case "worktree":
            git(tmp_path / "v", "worktree", "add", "-q", tmp_path / "w", "-b", "side", "main")
            return tmp_path / "w", f'is a worktree of the git repository "{tmp_path / "v/.git"}"'
        case "submodule":
            project = tmp_path / "project"
            subprocess.run(["git", "init", "-q", str(project)], check=True)
            allow = ("-c", "protocol.file.allow=always")
            git(project, *allow, "submodule", "--quiet", "add", tmp_path / "v", "data")
            return project / "data", "is a submodule"
        case "separate":
            git(tmp_path / "v", "init", "-q", "--separate-git-dir", tmp_path / "g")
            return tmp_path / "v", f'has its git directory elsewhere, in "{tmp_path / "g"}"'
    (tmp_path / "v/.git").rename(tmp_path / "g")
    (tmp_path / "v/.git").write_text(f"gitdir: {tmp_path / 'nowhere'}\n")
    return tmp_path / "v", "where no git directory is"


def test_a_git_directory_elsewhere_is_named_and_nothing_is_touched(
    elsewhere: tuple[Path, str],
) -> None:
    path, what = elsewhere
    before = files_below(path)
    for action in (
        lambda: TableVault(path, "bob"),
        lambda: TableVault(path, "bob", create=True),
        lambda: delete_vault(path),
        lambda: compress_vault(path),
    ):
        with pytest.raises(TVArgumentError, match=re.escape(what)):
            action()
    assert files_below(path) == before


def test_a_git_directory_elsewhere_can_be_moved_into_the_vault_as_the_error_says(
    tmp_path: Path,
) -> None:
    written(tmp_path / "v")
    git(tmp_path / "v", "init", "-q", "--separate-git-dir", tmp_path / "g")
    with pytest.raises(TVArgumentError) as raised:
        TableVault(tmp_path / "v", "bob")
    command = raised.value.hint.partition("Move it there: ")[2]
    subprocess.run(command, shell=True, check=True)
    assert TableVault(tmp_path / "v", "bob").get_dataframe("t")[0]["a"].tolist() == [1, 2]
    assert git(tmp_path / "v", "status", "--porcelain") == ""


def test_a_submodule_can_be_cloned_into_a_vault_as_the_error_says(tmp_path: Path) -> None:
    written(tmp_path / "v")
    project = tmp_path / "project"
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    allow = ("-c", "protocol.file.allow=always")
    git(project, *allow, "submodule", "--quiet", "add", tmp_path / "v", "data")
    with pytest.raises(TVArgumentError) as raised:
        TableVault(project / "data", "bob")
    command = raised.value.hint.partition("of its own: ")[2].replace("tablevault", "echo", 1)
    words = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    assert words.stdout.split() == ["clone", str(tmp_path / "v"), "DIR"]


def test_verbose_logs_what_each_operation_does(vault_path, vault, caplog):
    caplog.set_level(logging.INFO, "tablevault.operations")  # a command may have lowered it
    logger = logging.getLogger("tablevault")
    level = logger.level
    handlers = list(logger.handlers)
    try:
        loud = TableVault(vault_path, "Ana", verbose=True)
        process_id = loud.create_table("t")
        loud.create_code_module("m", text="def f():\n    raise LookupError('none')\n")
        builder = "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
        builder += "code_module: m, is_custom: true, arguments: {}}"
        loud.create_instance("t", builders={"t_index": builder})
        with pytest.raises(LookupError):
            loud.execute_instance("t", process_id="p")
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == f"create_table of process {process_id} begins"
    assert told[1].startswith("t: create table (commit ")
    assert told[2] == f"create_table of process {process_id} is done"
    assert told[-1] == "execute_instance of process p failed: LookupError: none"


@pytest.mark.parametrize(
    "again", [lambda v: pickle.loads(pickle.dumps(v)), copy.copy, copy.deepcopy]
)
def test_a_copy_opens_the_same_folder_in_the_same_way(tmp_path, again, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("tablevault"), "handlers", [logging.NullHandler()])
    written(tmp_path / "v")
    vault = Special(tmp_path / "v", "Bo", verbose=True, parent_id="", lock_timeout=0.5)
    vault.note = "kept"
    before = files_below(tmp_path / "v" / ".git" / "tablevault")
    other = again(vault)
    assert files_below(tmp_path / "v" / ".git" / "tablevault") == before
    assert (type(other), other.note) == (Special, "kept")
    opened = other._vault
    assert (opened.author, opened.lock_timeout_s, opened.verbose) == ("Bo", 0.5, True)
    assert other.get_dataframe("t")[0]["a"].tolist() == [1, 2]
    other.create_table("u")
    assert vault.get_table_instances("u") == []
    assert git(tmp_path / "v", "log", "-1", "--format=%an") == "Bo\n"


def test_a_pickled_vault_does_not_create_it_again_and_says_when_it_is_gone(tmp_path) -> None:
    data = pickle.dumps(written(tmp_path / "v"))
    assert len(pickle.loads(data).get_table_instances("t")) == 1
    delete_vault(tmp_path / "v")
    with pytest.raises(TableVaultError, match=re.escape(str(tmp_path / "v"))):
        pickle.loads(data).get_table_instances("t")


class Special(TableVault):
    """A class of somebody else."""

    note = ""


def make_early(path: Path) -> None:
    """Rename local files to the names of early versions."""
    state = path / ".git/tablevault"
    for old, new in EARLIER_NAMES.items():
        if (state / new).exists():
            (state / new).rename(state / old)


def edited(path: Path) -> Path:
    """Make a vault with a builder that was edited by hand, and return the file."""
    vault = TableVault(path, "Ana", create=True)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": "builder_type: ColumnBuilder\n"})
    file = path / "temp/t/base/builders/t_index.yaml"
    file.write_text("builder_type: ColumnBuilder\n# mine\n")
    replaced = path / ".git/tablevault/quarantine/20200101-000000-00000000"
    replaced.mkdir(parents=True)
    (replaced / "file").touch()
    make_early(path)
    return file


def test_an_early_vault_gets_the_names_of_today_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "v"
    file = edited(path)
    state = path / ".git/tablevault"
    vault = TableVault(path, "Ana")
    assert not any((state / old).exists() for old in EARLIER_NAMES)
    assert (state / "quarantine/20200101-000000-00000000/file").exists()
    assert vault.verify() == []
    assert file.read_text().endswith("# mine\n")
    vault.create_builder_file("t", "more")
    assert "# mine" in git(path, "show", "temp/t/base:tables/t/base/builders/t_index.yaml")


def test_names_that_are_there_are_not_replaced_by_early_ones(tmp_path: Path) -> None:
    path = tmp_path / "v"
    edited(path)
    TableVault(path, "Ana")
    (path / ".git/tablevault/laid").write_text("0" * 40)
    assert TableVault(path, "Ana").verify() == []


def test_an_archive_of_an_early_vault_keeps_edits(tmp_path: Path) -> None:
    path = tmp_path / "v"
    file = edited(path)
    compress_vault(path, 0)
    delete_vault(path)
    decompress_vault(path)
    assert TableVault(path, "Ana").verify() == []
    assert file.read_text().endswith("# mine\n")
