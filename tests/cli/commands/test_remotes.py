"""Commands that share a vault."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.looking import git


def test_two_vaults_share_by_commands(made, run, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    assert run("remote")[1] == ""
    assert run("remote", "origin", "../hub.git")[0] == 0
    assert run("remote")[1] == f"origin\t{tmp_path}/hub.git\n"
    pushed = json.loads(run("push", "--json")[1])
    assert pushed["refs"]
    assert pushed["objects"]["objects"] > 0
    assert run("push")[1] == "origin is up to date.\n"
    monkeypatch.chdir(tmp_path)
    assert run("clone", "hub.git", "--all")[:2] == (0, f"Cloned → {tmp_path}/hub\n")
    monkeypatch.chdir("hub")
    run("create-code-module", "--module-name", "m", "--text", "A = 1")
    run("push")
    monkeypatch.chdir(tmp_path / "v")
    run("create-code-module", "--module-name", "m", "--text", "A = 2")
    code, _, err = run("pull")
    assert (code, "code/m.py" in err) == (1, True)
    code, out, err = run("pull", "--theirs", "code/m.py")
    assert (code, out) == (0, "Merged 1 commit from origin.\n"), err
    assert made.get_code_module_str("m") == "A = 1"
    assert run("pull", "nope")[0] == 1
    assert run("remote", "x")[0] == 2


def test_a_bucket_is_named_shown_and_confirmed_by_commands(made, run, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket = "s3://lab/v?endpoint=http://127.0.0.1:9"
    words = ("add", "origin", "../hub.git", "--data", "s3://lab/v")
    assert run("remote", *words, "--endpoint-url", "http://127.0.0.1:9")[0] == 0
    assert run("remote")[1] == f"origin\t{tmp_path}/hub.git\t{bucket}\n"
    facts = {"url": f"{tmp_path}/hub.git", "data": bucket}
    assert json.loads(run("remote", "--json")[1]) == {"origin": facts}
    git(tmp_path / "v", "push", "-q", "--no-verify", "origin", "main")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("clone", "hub.git")
    command = f"`tablevault --db-dir hub trust-bucket '{bucket}'`"
    hint = f'Its data is in "{bucket}". If you trust it: {command}.'
    assert (code, out) == (0, f"Cloned → {tmp_path}/hub\n{hint}\n")
    monkeypatch.chdir("hub")
    assert run("pull", "--all")[2].endswith(f"call `tablevault trust-bucket '{bucket}'`.\n")
    assert run("trust-bucket", bucket)[:2] == (0, "")
    assert "Set AWS_ACCESS_KEY_ID" in run("pull", "--all")[2]
    assert run("trust-bucket", "s3://")[0] == 1


def test_add_may_stand_before_the_name_of_a_remote(made, run, tmp_path):
    assert run("remote", "add", "origin", "hub.git")[0] == 0
    assert run("remote")[1] == "origin\thub.git\n"
    assert run("remote", "add", "origin")[0] == run("remote", "add")[0] == 2


def test_an_agent_that_git_lfs_needs_no_more_is_done(vault, run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("lfs-agent") == (0, "", "")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (["mkdir", "x"], "it is in no git repository"),
        (["true"], "there is no such folder"),
        (["git", "init", "-q", "--bare", "x"], "this operation must be run in a work tree"),
    ],
)
@pytest.mark.parametrize("is_of_environment", [False, True])
def test_git_lfs_is_configured_in_a_clone_alone(
    run, tmp_path, monkeypatch, make, reason, is_of_environment
):
    monkeypatch.chdir(tmp_path)
    subprocess.run(make, check=True)
    folder = str(tmp_path / "x")
    if is_of_environment:
        monkeypatch.setenv("TABLEVAULT_DIR", folder)
    options = [] if is_of_environment else ["--db-dir", folder]
    said = f'There is no clone at "{folder}": {reason}. Go into a clone, or name one by --db-dir.'
    assert run(*options, "lfs-install") == (1, "", f"TableVault error: {said}\n")


def test_a_bucket_that_cannot_be_confirmed_changes_nothing(made, run):
    settings = Path(".git/config").read_text("utf-8")
    assert run("lfs-install", "--trust-bucket", "nope")[:2] == (1, "")
    assert Path(".git/config").read_text("utf-8") == settings
