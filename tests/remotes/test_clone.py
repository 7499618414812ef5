"""What is cloned, and what is refused."""

from __future__ import annotations

import pytest

from tablevault import clone_vault
from tablevault.errors import TVArgumentError, TVRemoteError
from tests.clones import BO, own_state, path_of, read
from tests.looking import git as stock


def push_what_is_no_vault(git, folder, bare, branch):
    """Push an empty commit of a new repository."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", branch)
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    git(folder, "push", "-q", str(bare), branch)


def test_what_is_no_vault_is_refused(ana, tmp_path, git, bare):
    push_what_is_no_vault(git, tmp_path / "other", bare, "main")
    ana.add_remote("origin", bare)
    before = own_state(ana)
    with pytest.raises(TVRemoteError, match="something other than a vault"):
        ana.push()
    with pytest.raises(TVRemoteError, match="something other than a vault"):
        ana.pull()
    with pytest.raises(TVRemoteError, match="no vault"):
        clone_vault(bare, tmp_path / "copy", BO)
    assert not (tmp_path / "copy").exists()
    assert own_state(ana) == before


def test_a_repository_with_other_branches_only_is_refused(ana, tmp_path, git, bare):
    push_what_is_no_vault(git, tmp_path / "other", bare, "trunk")
    ana.add_remote("origin", bare)
    with pytest.raises(
        TVRemoteError, match=r'no vault: it has refs/heads/trunk and no branch "main"'
    ):
        ana.push()
    assert stock(bare, "for-each-ref", "--format=%(refname)") == "refs/heads/trunk\n"


def test_a_clone_needs_a_folder_of_its_own(shared, bare, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(TVArgumentError, match="exists, and is not an empty folder"):
        clone_vault(bare, tmp_path / "full", BO)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["x"]
    (tmp_path / "empty").mkdir()
    assert read(clone_vault(bare, tmp_path / "empty", BO)) == [1, 2]


def test_nothing_comes_along_that_could_run(shared, tmp_path, bare):
    ana, _ = shared
    hook = path_of(ana) / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
    hook.chmod(0o755)
    stock(path_of(ana), "config", "alias.x", "!touch ran")
    copy = clone_vault(path_of(ana), tmp_path / "copy", BO)
    assert "alias" not in (tmp_path / "copy/.git/config").read_text(encoding="utf-8")
    assert read(copy) == [1, 2]
    assert not (tmp_path / "ran").exists()
