"""Nothing that a test does depends on, or reaches, the settings of the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pygit2
import pytest


def test_the_home_folder_is_a_temporary_one(sealed):
    assert Path.home() == sealed
    assert os.environ["HOME"] == str(sealed)


def test_git_reads_no_settings_but_the_sealed_ones(git, sealed, tmp_path):
    origins = git(tmp_path, "config", "--list", "--show-origin").splitlines()
    assert {line.split("\t")[0] for line in origins} == {f"file:{sealed}/.gitconfig"}


def test_libgit2_reads_no_settings_but_the_sealed_ones(tmp_path):
    config = pygit2.init_repository(str(tmp_path)).config
    assert config["user.email"] == "ana@example.org"
    levels = {entry.level for entry in config}
    assert levels <= {pygit2.enums.ConfigLevel.GLOBAL, pygit2.enums.ConfigLevel.LOCAL}


def test_a_setting_of_the_machine_is_not_seen(git, tmp_path, sealed):
    (sealed / ".config/git").mkdir(parents=True, exist_ok=True)
    (sealed / ".config/git/config").write_text("[user]\n\tname = Somebody Else\n", "utf-8")
    try:
        assert git(tmp_path, "config", "user.name") == "Ana Lund\n"
    finally:
        (sealed / ".config/git/config").unlink()


@pytest.mark.parametrize("url", ["https://localhost:1/x.git", "ssh://localhost:1/x.git"])
def test_git_reaches_no_network(url, tmp_path):
    done = subprocess.run(
        ["git", "clone", url, str(tmp_path / "x")], capture_output=True, text=True, check=False
    )
    assert "not allowed" in done.stderr


def test_git_variables_of_the_caller_are_gone():
    expected = {
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_ALLOW_PROTOCOL",
        "GIT_TERMINAL_PROMPT",
        "GIT_EDITOR",
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
    }
    assert {name for name in os.environ if name.startswith("GIT_")} == expected


def test_commits_of_git_have_a_fixed_author(git, tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    assert git(tmp_path, "log", "--format=%an <%ae>") == "Ana Lund <ana@example.org>\n"
