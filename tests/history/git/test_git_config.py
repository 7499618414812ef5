"""Remotes and settings, held against what stock git makes of the same configuration."""

from __future__ import annotations

import os

import pytest

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import (
    Settings,
    find_repository,
    read_committed_settings,
    read_settings,
)


@pytest.fixture
def path(tmp_path, git):
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


def test_a_remote_has_the_urls_that_git_uses(path, git):
    git(path, "remote", "add", "origin", "gh:ana/papers")
    git(path, "remote", "add", "a.b/c", "/srv/x")
    git(path, "remote", "add", "split", "https://h/x")
    git(path, "config", "remote.split.pushurl", "gh:y")
    git(path, "config", "url.https://github.com/.insteadOf", "gh:")
    git(path, "config", "url.https://example.org/ana/.insteadOf", "gh:ana/")
    git(path, "config", "url.ssh://git@h/.pushInsteadOf", "https://h/")
    git(path, "remote", "add", "pushed", "https://h/z")
    settings = read_settings(path)
    for name in ("origin", "a.b/c", "split", "pushed"):
        remote = settings.remote(name)
        assert remote.url == git(path, "remote", "get-url", name).strip()
        assert remote.push_url == git(path, "remote", "get-url", "--push", name).strip()
    assert settings.remote("nobody") is None
    assert sorted(settings.names("remote", "url")) == ["a.b/c", "origin", "pushed", "split"]


def test_the_last_value_counts_and_the_environment_too(path, git, monkeypatch):
    git(path, "config", "--global", "lfs.concurrenttransfers", "3")
    try:
        assert read_settings(path).number("lfs.concurrenttransfers", default=8) == 3
        git(path, "config", "lfs.concurrenttransfers", "2k")
        assert read_settings(path).number("lfs.concurrenttransfers", default=8) == 2048
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "lfs.concurrentTransfers")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "5")
        assert read_settings(path).number("lfs.concurrenttransfers", default=8) == 5
    finally:
        git(path, "config", "--global", "--unset", "lfs.concurrenttransfers")


def test_no_number_is_the_default():
    assert Settings([("a.b", "many")]).number("a.b", default=8) == 8
    assert Settings().number("a.b", default=8) == 8


def test_a_key_without_a_value_is_true(path):
    with (path / ".git/config").open("a") as file:
        file.write("[http]\n\tsslVerify\n[lfs]\n\turl =\n")
    settings = read_settings(path)
    assert settings.flag(settings.get("http.sslverify"), default=False)
    assert settings.get("lfs.url") == ""
    assert settings.flag("no", default=True) is False
    assert settings.flag("", default=True) is True


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/b",
        "https://example.org:443/a/b.git",
        "https://example.org/ab",
        "https://ana@example.org/a/b",
        "https://bob@example.org/x",
        "https://www.example.org/a",
        "https://a.b.example.org/a",
        "http://example.org/a/b",
        "https://example.org:8443/a",
        "https://elsewhere.org/",
    ],
)
def test_settings_of_a_url_are_those_that_git_takes(path, git, url):
    bases = ["", "https://example.org/", "https://example.org/a", "https://*.example.org"]
    bases += ["https://ana@example.org", "http://example.org:80/a/", "https://example.org:8443"]
    for number, base in enumerate(bases):
        git(path, "config", f"http.{base}.proxy" if base else "http.proxy", f"p{number}")
    expected = git(path, "config", "--get-urlmatch", "http.proxy", url).strip()
    assert read_settings(path).for_url("http", "proxy", url) == [expected]


def test_a_setting_may_have_several_values_and_a_url_may_be_nonsense(path, git):
    for value in ("A: 1", "B: 2"):
        git(path, "config", "--add", "http.https://h/.extraHeader", value)
    git(path, "config", "http.https://[/.extraHeader", "C: 3")
    settings = read_settings(path)
    assert settings.for_url("http", "extraheader", "https://h/x") == ["A: 1", "B: 2"]
    assert settings.for_url("http", "extraheader", "https://k/x") == []
    assert settings.for_url("http", "extraheader", "https://h:x/") == []


def test_lfsconfig_is_read_from_the_working_tree_else_from_the_last_commit(path, git):
    assert read_committed_settings(path).get("lfs.url") == ""
    (path / ".lfsconfig").write_text("[lfs]\n\turl = https://one\n")
    git(path, "add", ".")
    git(path, "commit", "-qm", "x")
    (path / ".lfsconfig").write_text("[lfs]\n\turl = https://two\n")
    assert read_committed_settings(path).get("lfs.url") == "https://two"
    (path / ".lfsconfig").unlink()
    assert read_committed_settings(path).get("lfs.url") == "https://one"


def test_lfsconfig_includes_nothing(path, tmp_path):
    (tmp_path / "other").write_text("[lfs]\n\turl = https://other\n")
    (path / ".lfsconfig").write_text(f"[include]\n\tpath = {tmp_path / 'other'}\n")
    assert read_committed_settings(path).get("lfs.url") == ""


def test_lfsconfig_that_is_a_link_is_passed_over(path, tmp_path):
    (tmp_path / "other").write_text("[lfs]\n\turl = https://other\n")
    (path / ".lfsconfig").symlink_to(tmp_path / "other")
    assert read_committed_settings(path).get("lfs.url") == ""


def test_lfsconfig_that_is_no_configuration_is_an_error_with_its_name(path):
    (path / ".lfsconfig").write_text("[lfs\nurl")
    with pytest.raises(TVRemoteError, match=r"\.lfsconfig.*Correct it"):
        read_committed_settings(path)


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ("plain", "plain"),
        ("plain", "plain/.git"),
        ("bare.git", "bare.git"),
        ("bare.git", "bare"),
        ("plain.git", "plain"),
    ],
)
def test_a_repository_is_found_where_git_finds_it(tmp_path, git, made, asked):
    (tmp_path / made).mkdir()
    git(tmp_path / made, "init", "-q", *(["--bare"] if made == "bare.git" else []))
    found = find_repository(tmp_path / asked)
    expected = git(tmp_path / made, "rev-parse", "--absolute-git-dir").strip()
    assert str(found.git_dir) == expected
    assert found.lfs == found.git_dir / "lfs"
    listed = git(tmp_path, "ls-remote", tmp_path / asked)
    assert listed == ""


def test_a_second_working_tree_shares_its_objects(path, tmp_path, git):
    git(path, "commit", "-q", "--allow-empty", "-m", "x")
    git(path, "worktree", "add", "-q", tmp_path / "second")
    assert find_repository(tmp_path / "second").git_dir == path / ".git"


def test_lfs_storage_is_where_git_lfs_keeps_objects(path, tmp_path, git):
    git(path, "config", "lfs.storage", "elsewhere")
    assert find_repository(path).lfs == path / ".git/elsewhere"
    git(path, "config", "lfs.storage", str(tmp_path / "far"))
    assert find_repository(path).lfs == tmp_path / "far"


@pytest.mark.parametrize(
    "value", ["group", "true", "all", "0660", "0640", "0664", "umask", "false"]
)
def test_shared_permissions_are_those_that_git_gives(tmp_path, git, value):
    path = tmp_path / "shared"
    path.mkdir()
    before = os.umask(0o077)
    try:
        git(path, "init", "-q", "--bare", f"--shared={value}")
        blob = git(path, "hash-object", "-w", "--stdin", text="x").strip()
    finally:
        os.umask(before)
    mode = (path / "objects" / blob[:2] / blob[2:]).stat().st_mode
    # Git makes its own objects read-only for everybody.
    assert find_repository(path).shared & 0o044 == mode & 0o044


def test_what_is_no_repository_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "gitfile").write_text("gitdir: nowhere\n")
    for name in ("missing", "file", "gitfile", "."):
        with pytest.raises(TVRemoteError, match="no git repository") as caught:
            find_repository(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
