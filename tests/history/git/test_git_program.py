"""Git as a program: in one repository, whatever the environment says."""

from __future__ import annotations

import pytest

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_program import environment, run_git


@pytest.fixture
def path(tmp_path, git):
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


def test_git_is_not_led_astray_by_a_hook_that_calls_us(path, monkeypatch, git, tmp_path):
    names = git(path, "rev-parse", "--local-env-vars").split()
    for name in names:
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    kept = {"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}
    assert set(names) & set(environment()) <= kept
    for name in kept:
        monkeypatch.delenv(name, raising=False)
    assert run_git(["rev-parse", "--git-dir"], path) == b".git\n"


def test_an_error_of_git_is_told(path):
    with pytest.raises(
        TVRemoteError, match="`git cat-file` failed: fatal: invalid object name 'HEAD'"
    ):
        run_git(["cat-file", "blob", "HEAD:x"], path)


def test_missing_git_is_told(path, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TVRemoteError, match=r"git cannot be run: No such file.* Install git"):
        run_git(["version"], path)
