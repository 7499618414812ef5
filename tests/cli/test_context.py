"""How a command finds its vault and its author."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tablevault.cli.context import CommandContext
from tablevault.progress import Progress
from tests.looking import git, state_of


def test_quiet_is_neither_log_nor_progress():
    quiet = CommandContext(is_quiet=True).handle(Path("v"), "Bo")
    assert (quiet.verbose, quiet.progress) == (False, Progress)
    assert CommandContext().handle(Path("v"), "Bo").verbose


def test_the_vault_is_found_from_a_folder_within(vault, run, monkeypatch):
    vault.create_table("t")
    monkeypatch.chdir("tables/t")
    assert run("get-table-instances")[1].split() == ["t"]


def test_the_author_is_who_git_says(vault, run):
    run("create-table", "t")
    assert git(Path.cwd(), "log", "-1", "--format=%an <%ae>").strip() == (
        "Ana Lund <ana@example.org>"
    )


@pytest.mark.parametrize("words", [("--author", "Bo", "create-table", "t"), ("create-table", "t")])
def test_the_author_is_as_named(vault, run, monkeypatch, words):
    monkeypatch.setenv("TABLEVAULT_AUTHOR", "Bo")
    run(*words)
    assert git(Path.cwd(), "log", "-1", "--format=%an").strip() == "Bo"


def test_options_of_every_command_stand_before_or_after_it(vault, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run("--db-dir", "v", "create-table", "a")[0] == 0
    assert run("create-table", "b", "--db-dir", "v", "--author", "Bo")[0] == 0
    monkeypatch.setenv("TABLEVAULT_DIR", str(tmp_path / "v"))
    assert run("get-table-instances")[1].split() == ["a", "b"]
    assert git(tmp_path / "v", "log", "-2", "--format=%an").split("\n")[0] == "Bo"


def test_settings_that_git_cannot_read_are_told_as_that(vault, run):
    Path(".git/config").write_text("[core\n", encoding="ascii")
    code, _, err = run("create-table", "t")
    assert code == 1
    assert "Git cannot name the author: bad config line 1" in err
    assert "verify --repair" in err


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        (
            {"GIT_AUTHOR_NAME": "Robot", "GIT_AUTHOR_EMAIL": "r@example.org"},
            "Robot <r@example.org>",
        ),
        ({"GIT_AUTHOR_NAME": "Robot"}, "Robot <ana@example.org>"),
        ({}, "Pen <ana@example.org>"),
    ],
)
def test_the_author_is_who_git_would_sign_as(vault, run, monkeypatch, variables, wanted):
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    git(Path.cwd(), "config", "user.email", "ana@example.org")
    git(Path.cwd(), "config", "author.name", "Pen")
    assert run("create-table", "t")[0] == 0
    assert git(Path.cwd(), "log", "-1", "--format=%an <%ae>").strip() == wanted


def test_an_author_needs_no_address(vault, run, monkeypatch):
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(Path.cwd(), "config", "user.name", "Ana")
    git(Path.cwd(), "config", "user.useConfigOnly", "true")
    assert run("create-table", "t")[0] == 0
    assert git(Path.cwd(), "log", "-1", "--format=%an").strip() == "Ana"


def test_without_git_an_author_has_to_be_named(vault, run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, _, err = run("create-table", "t")
    assert code == 1
    assert "git, which would know one, is not on the PATH. Pass --author" in err


def test_nobody_is_no_author(vault, run, monkeypatch, tmp_path):
    (tmp_path / "empty").write_text("", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "empty"))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    git(Path.cwd(), "config", "user.useConfigOnly", "true")
    before = state_of(Path.cwd())
    code, out, err = run("create-table", "t")
    assert (code, out) == (1, "")
    assert "TABLEVAULT_AUTHOR" in err
    assert state_of(Path.cwd()) == before
    assert run("get-table-instances")[0] == 0


@pytest.mark.parametrize("words", [["get-table-instances"], ["execute-instance", "t"]])
def test_where_there_is_no_vault(run, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TABLEVAULT_DIR", raising=False)
    code, _, err = run(*words)
    assert code == 1
    assert err.startswith(f'TableVault error: There is no vault at "{tmp_path}"')
    assert "create-vault" in err
