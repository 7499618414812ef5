"""A new repository, and the settings that make stock git at home in it."""

from __future__ import annotations

import pandas as pd
import pygit2
import pytest

from tablevault import TableVault
from tablevault.errors import TVLockError
from tablevault.history.commits import setup
from tablevault.history.commits.setup import configure
from tablevault.history.commits.snapshot import Snapshot
from tablevault.names import MAIN


@pytest.fixture
def repository(new_repository):
    return new_repository()


def test_a_new_repository_has_one_commit_that_git_finds_whole(repository, git, author):
    path = repository.path
    assert git(path, "log", "--format=%s|%an <%ae>|%P", "--all") == f"create vault|{author}|\n"
    assert git(path, "symbolic-ref", "HEAD") == f"{MAIN}\n"
    files = git(path, "ls-tree", "-r", "--name-only", "main").split()
    assert files == [".gitattributes", ".gitignore", "vault.yaml"]
    assert not git(path, "fsck", "--strict", "--no-progress")
    assert Snapshot(repository, repository.main()).vault().id == "v"


def test_stock_git_is_told_to_use_git_lfs(repository, git):
    settings = git(repository.path, "config", "--local", "--list").splitlines()
    assert "filter.lfs.process=git-lfs filter-process" in settings
    assert "filter.lfs.clean=git-lfs clean -- %f" in settings
    assert "filter.lfs.smudge=git-lfs smudge -- %f" in settings
    assert "filter.lfs.required=true" in settings
    assert "core.trustctime=false" in settings


def test_configuring_again_writes_nothing(repository):
    config = repository.git_dir / "config"
    before = (config.read_bytes(), config.stat().st_mtime_ns)
    configure(repository.path)
    assert (config.read_bytes(), config.stat().st_mtime_ns) == before


def test_settings_of_the_user_stay(repository, git):
    git(repository.path, "config", "core.pager", "cat")
    git(repository.path, "config", "filter.lfs.smudge", "git-lfs smudge --skip -- %f")
    configure(repository.path)
    assert git(repository.path, "config", "core.pager") == "cat\n"


def test_settings_that_somebody_took_away_or_set_twice_come_back(repository, git):
    git(repository.path, "config", "--unset", "filter.lfs.required")
    configure(repository.path)
    assert git(repository.path, "config", "filter.lfs.required") == "true\n"
    git(repository.path, "config", "core.trustctime", "true")
    git(repository.path, "config", "--add", "core.trustctime", "true")
    configure(repository.path)
    assert git(repository.path, "config", "--get-all", "core.trustctime") == "false\n"


def test_settings_in_another_file_are_looked_at_each_time(repository, git, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("[core]\n\ttrustctime = false\n")
    git(repository.path, "config", "include.path", elsewhere)
    git(repository.path, "config", "--unset", "core.trustctime")
    configure(repository.path)
    assert "trustctime" not in (repository.git_dir / "config").read_text()
    elsewhere.write_text("")
    configure(repository.path)
    assert git(repository.path, "config", "core.trustctime") == "false\n"


def test_without_git_lfs_the_filter_is_the_packages_own(repository, git, monkeypatch):
    monkeypatch.setattr("tablevault.history.commits.setup.shutil.which", lambda _: None)
    configure(repository.path)
    clean = git(repository.path, "config", "filter.lfs.clean")
    assert "tablevault.drivers.filter" in clean
    monkeypatch.undo()
    configure(repository.path)
    assert git(repository.path, "config", "filter.lfs.clean") == "git-lfs clean -- %f\n"


@pytest.mark.parametrize("depth", [None, 1])
def test_a_plain_clone_becomes_a_vault_when_it_is_opened(
    vault, repo_path, git, tmp_path, author, depth, check_clean
):
    vault.create_table("stories")
    vault.create_code_module("m", text="x = 1\n")
    clone = tmp_path / "clone"
    options = [] if depth is None else [f"--depth={depth}"]
    git(tmp_path, "clone", "-q", *options, f"file://{repo_path}", clone)
    opened = TableVault(clone, author)
    assert list(opened.get_code_modules_list()) == ["m"]
    opened.create_table("more")
    assert (clone / "tables/more/table.yaml").exists()
    check_clean(clone)


def test_a_clone_without_a_working_tree_is_laid_out(vault, repo_path, git, tmp_path, author):
    vault.create_code_module("m", text="x = 1\n")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--no-checkout", repo_path, clone)
    TableVault(clone, author)
    assert (clone / "code/m.py").read_text() == "x = 1\n"
    assert not git(clone, "status", "--porcelain")


def test_the_vault_uses_no_more_of_git_than_the_pygit2_it_asks_for(repository):
    assert pygit2.Repository(str(repository.path)).head_is_unborn is False


def test_a_clone_by_git_that_turns_line_ends_holds_the_same_bytes(
    vault, repo_path, git, tmp_path, author, check_clean
):
    vault.create_code_module("m", text="x = 1\n")
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    vault.write_instance(pd.DataFrame({"title": ["a"]}), "papers")
    clone = tmp_path / "clone"
    lfs = ["filter.lfs.process=git-lfs filter-process", "filter.lfs.required=true"]
    settings = [each for setting in ("core.autocrlf=true", *lfs) for each in ("-c", setting)]
    git(tmp_path, "clone", "-q", *settings, repo_path, clone)
    assert (clone / "code/m.py").read_bytes() == b"x = 1\n"
    opened = TableVault(clone, author)
    # Not even that git-lfs checks files out so that they can be written to is left.
    assert opened.verify() == []
    check_clean(clone)


def test_an_index_in_two_parts_is_not_made_in_a_vault(vault, repo_path, git, monkeypatch, tmp_path):
    settings = tmp_path / "gitconfig"
    settings.write_text("[core]\n\tsplitIndex = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    vault.create_code_module("m", text="x = 1\n")
    (repo_path / "code/m.py").write_text("x = 2\n")
    git(repo_path, "-c", "user.name=Ana", "-c", "user.email=a@x", "commit", "-qam", "by hand")
    vault.create_table("papers")
    assert not git(repo_path, "status", "--porcelain")
    assert vault.verify() == []


def test_a_config_that_another_process_writes_is_waited_for(repository, monkeypatch):
    config = pygit2.Config(str(repository.path / ".git/config"))
    del config["filter.lfs.required"]
    lock = repository.path / ".git/config.lock"
    lock.touch()
    monkeypatch.setattr(setup.time, "sleep", lambda _: lock.unlink())
    configure(repository.path)
    assert pygit2.Config(str(repository.path / ".git/config"))["filter.lfs.required"] == "true"
    assert not lock.exists()


def test_a_lock_that_stays_on_the_config_is_an_error(repository, monkeypatch):
    config = pygit2.Config(str(repository.path / ".git/config"))
    del config["filter.lfs.required"]
    (repository.path / ".git/config.lock").touch()
    monkeypatch.setattr(setup, "_CONFIG_LOCK_S", 0.0)
    with pytest.raises(TVLockError, match=r"config\.lock.*remove that file if none runs"):
        configure(repository.path)
    assert "filter.lfs.required" not in pygit2.Config(str(repository.path / ".git/config"))
