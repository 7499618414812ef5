"""Loose objects become packs, and nothing is lost on the way."""

from __future__ import annotations

import signal
import subprocess
import sys

import pygit2
import pytest

from tablevault import TableVault
from tablevault.history.git import repack


def counts(git, path):
    lines = git(path, "count-objects", "-v").splitlines()
    pairs = (line.split(": ") for line in lines)
    return {key: int(value) for key, value in pairs if value.isdigit()}


@pytest.fixture
def at_once(monkeypatch):
    """Pack after every operation."""
    monkeypatch.setattr(repack, "_ENOUGH_IN_SAMPLE", 0)


@pytest.fixture
def no_git(monkeypatch, tmp_path):
    """Find no program on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("at_once")
def test_many_loose_objects_are_packed(vault, vault_path, git, check_clean):
    for number in range(5):
        vault.create_code_module("m", text=f"x = {number}\n")
    found = counts(git, vault_path)
    assert found["count"] == 0
    assert found["in-pack"] > 20
    assert vault.get_code_module_str("m") == "x = 4\n"
    check_clean(vault_path)


def test_few_loose_objects_stay(vault, vault_path, git):
    vault.create_code_module("m", text="x = 1\n")
    assert counts(git, vault_path)["packs"] == 0


@pytest.mark.usefixtures("at_once")
def test_packs_that_are_small_beside_the_others_become_one(vault, vault_path, git, check_clean):
    for number in range(20):
        vault.create_table(f"t{number}")
        assert counts(git, vault_path)["count"] == 0
        assert counts(git, vault_path)["packs"] <= 6
    assert vault.get_table_instances() == [f"t{number}" for number in range(20)]
    check_clean(vault_path)


@pytest.mark.usefixtures("at_once")
def test_a_pack_that_is_kept_stays(vault, vault_path, git):
    vault.create_table("kept")
    (kept,) = (vault_path / ".git/objects/pack").glob("*.idx")
    kept.with_suffix(".keep").touch()
    for number in range(4):
        vault.create_table(f"t{number}")
    assert kept.exists()
    vault.gc(grace_s=0)
    assert kept.exists()
    assert vault.verify() == []


@pytest.mark.usefixtures("at_once")
def test_what_no_ref_names_yet_is_packed_not_lost(vault, vault_path, git):
    written = str(pygit2.Repository(str(vault_path)).create_blob(b"not committed yet"))
    vault.create_table("papers")
    assert counts(git, vault_path)["count"] == 0
    assert git(vault_path, "cat-file", "-p", written) == "not committed yet"


@pytest.mark.usefixtures("at_once")
def test_configuration_of_the_user_breaks_nothing(vault, vault_path, git, check_clean):
    for key, value in {
        "repack.writeBitmaps": "true",
        "core.fsync": "none",
        "repack.packKeptObjects": "true",
        "pack.packSizeLimit": "1m",
        "gc.auto": "1",
        "gc.pruneExpire": "now",
        "core.multiPackIndex": "true",
    }.items():
        git(vault_path, "config", key, value)
    for number in range(4):
        vault.create_table(f"t{number}")
        git(vault_path, "multi-pack-index", "write")
    assert counts(git, vault_path)["count"] == 0
    assert vault.gc(grace_s=0).packs_after == 1
    assert vault.verify() == []
    check_clean(vault_path)


@pytest.mark.usefixtures("at_once")
def test_the_repository_of_a_hook_is_left_alone(vault, vault_path, git, monkeypatch, tmp_path):
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    pygit2.Repository(str(other)).create_blob(b"x")
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_OBJECT_DIRECTORY": other / ".git/objects",
        "GIT_INDEX_FILE": other / ".git/index",
    }.items():
        monkeypatch.setenv(name, str(value))
    vault.create_table("papers")
    vault.gc(grace_s=0)
    monkeypatch.undo()
    assert counts(git, vault_path)["packs"] == 1
    assert (counts(git, other)["count"], counts(git, other)["packs"]) == (1, 0)


@pytest.mark.parametrize("rounds", [1, 4])
def test_whoever_reads_meanwhile_finds_everything(vault, vault_path, git, monkeypatch, rounds):
    for number in range(20):
        if number == 21 - rounds:
            monkeypatch.setattr(repack, "_ENOUGH_IN_SAMPLE", 0)
        vault.create_code_module("m", text=f"x = {number}\n")
    reader = (
        "import sys\n"
        "from tablevault import TableVault\n"
        "vault = TableVault(sys.argv[1], 'bob')\n"
        "snapshot = vault._vault.snapshot()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(snapshot.blob('code/m.py'), vault.get_table_instances(), flush=True)\n"
    )
    command = [sys.executable, "-c", reader, str(vault_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        monkeypatch.setattr(repack, "_ENOUGH_IN_SAMPLE", 0)
        vault.create_table("papers")
        vault.gc(grace_s=0)
        out, _ = process.communicate("go\n", timeout=60)
    assert counts(git, vault_path)["packs"] == 1
    assert process.returncode == 0
    assert out == "b'x = 19\\n' ['papers']\n"


@pytest.mark.usefixtures("at_once", "no_git")
def test_without_the_program_the_objects_stay_loose(vault, vault_path, caplog):
    vault.create_table("papers")
    assert "The program git cannot be run" in caplog.text
    assert list((vault_path / ".git/objects").glob("[0-9a-f][0-9a-f]/*"))
    assert vault.get_table_instances() == ["papers"]


@pytest.mark.usefixtures("at_once")
def test_a_failure_leaves_the_objects_loose(vault, vault_path, git, check_clean, caplog):
    folder = vault_path / ".git/objects/pack"
    folder.rmdir()
    folder.write_text("in the way")
    vault.create_table("papers")
    assert "could not be packed" in caplog.text
    folder.unlink()
    folder.mkdir()
    assert counts(git, vault_path)["count"] > 0
    assert vault.get_table_instances() == ["papers"]
    check_clean(vault_path)


@pytest.mark.usefixtures("at_once")
def test_a_tag_that_names_nothing_ends_no_packing(vault, vault_path, git):
    git(vault_path, "symbolic-ref", "refs/tags/papers/base_1_a", "refs/tags/papers/gone")
    vault.create_table("papers")
    assert counts(git, vault_path)["count"] == 0
    git(vault_path, "symbolic-ref", "--delete", "refs/tags/papers/base_1_a")
    assert vault.gc(grace_s=0).packs_after == 1


def test_a_vault_that_borrows_objects_packs_its_own(vault, vault_path, git, tmp_path):
    """With ``objects/info/alternates``, as `git clone --shared` makes it."""
    lender = tmp_path / "lender"
    git(tmp_path, "clone", "-q", "--bare", str(vault_path), str(lender))
    git(lender, "repack", "-adq")
    alternates = vault_path / ".git/objects/info/alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{lender}/objects\n")
    vault.create_table("papers")
    vault.gc(grace_s=0)
    assert vault.verify() == []
    assert counts(git, vault_path)["count"] == 0
    borrowed = git(lender, "rev-parse", "HEAD").strip()
    listed = "".join(
        git(vault_path, "verify-pack", "-v", str(index))
        for index in (vault_path / ".git/objects/pack").glob("*.idx")
    )
    assert borrowed not in listed


KILLED = """
import os, signal, sys
from tablevault import TableVault
from tablevault.history.git import repack
repack._ENOUGH_IN_SAMPLE = 0
killed = sys.argv[2]
vault = TableVault(sys.argv[1], "bob")
os.environ["PATH"] = killed + os.pathsep + os.environ["PATH"]
vault.create_table("last")
"""
GIT = """#!/bin/sh
# Ends the vault that runs it and git itself, with the packs written or not.
case " $* " in *" repack "*)
    kill -KILL $PPID
    {git} "$@" &
    {then}
    exit 1;;
esac
exec {git} "$@"
"""


@pytest.mark.faults
@pytest.mark.parametrize("then", ["kill -KILL $!", "wait $!"])
def test_killed_while_it_packs_nothing_is_lost(
    vault, vault_path, git, python, check_clean, tmp_path, monkeypatch, then
):
    import shutil

    with monkeypatch.context() as patch:
        patch.setattr(repack, "_ENOUGH_IN_SAMPLE", 0)
        for number in range(5):
            vault.create_table(f"t{number}")
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(GIT.format(git=shutil.which("git"), then=then))
    program.chmod(0o755)
    process = python(KILLED, vault_path, program.parent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert TableVault(vault_path, "Ana").get_table_instances() == [
        *(f"t{number}" for number in range(5)),
        "last",
    ]
    monkeypatch.setattr(repack, "_ENOUGH_IN_SAMPLE", 0)
    vault.create_code_module("m", text="x = 1\n")
    assert counts(git, vault_path)["count"] == 0
    git(vault_path, "fsck", "--full", "--strict")
    check_clean(vault_path)
