"""Loose objects become packs, and nothing is lost on the way."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tablevault import TableVault
from tablevault.history import packing


def counts(git, path):
    lines = git(path, "count-objects", "-v").splitlines()
    return {key: int(value) for key, value in (line.split(": ") for line in lines)}


def test_many_loose_objects_are_packed(vault, vault_path, git, check_clean, monkeypatch):
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
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


@pytest.mark.parametrize("packs", [0, 7])
def test_whoever_reads_meanwhile_finds_everything(vault, vault_path, git, monkeypatch, packs):
    for number in range(20):
        if number == 20 - packs:
            monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
        vault.create_code_module("m", text=f"x = {number}\n")
    assert counts(git, vault_path)["packs"] == packs
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
        monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
        vault.create_table("papers")
        out, _ = process.communicate("go\n", timeout=60)
    assert counts(git, vault_path)["packs"] == 1
    assert process.returncode == 0
    assert out == "b'x = 19\\n' ['papers']\n"


def test_a_failure_leaves_the_objects_loose(vault, vault_path, git, check_clean, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    monkeypatch.setattr(packing, "sync_file", fail)
    vault.create_table("papers")
    assert counts(git, vault_path)["count"] > 0
    assert vault.get_table_instances() == ["papers"]
    check_clean(vault_path)


@pytest.mark.parametrize("number", [1, 3])
def test_packing_again_packs_what_is_new(vault, vault_path, git, monkeypatch, number):
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    for table in range(number):
        vault.create_table(f"t{table}")
    found = counts(git, vault_path)
    assert (found["count"], found["packs"]) == (0, number)


def test_a_tag_that_goes_meanwhile_ends_no_packing(vault, vault_path, git, monkeypatch):
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    # As who lists tags meets one that was deleted between its name and its target.
    git(vault_path, "symbolic-ref", "refs/tags/papers/base_1_a", "refs/tags/papers/gone")
    vault.create_table("papers")
    assert counts(git, vault_path)["count"] == 0
    git(vault_path, "symbolic-ref", "--delete", "refs/tags/papers/base_1_a")
    assert vault.gc(grace_s=0).packs_after == 1


def test_eight_small_packs_become_one(vault, vault_path, git, check_clean, monkeypatch):
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    for number in range(7):
        vault.create_table(f"t{number}")
    before = counts(git, vault_path)
    assert before["packs"] == 7
    vault.create_table("t7")
    found = counts(git, vault_path)
    assert (found["count"], found["packs"]) == (0, 1)
    assert found["in-pack"] > before["in-pack"]
    assert len(list((vault_path / ".git/objects/pack").iterdir())) == 2
    check_clean(vault_path)


def test_packs_that_are_large_or_kept_stay(vault, vault_path, git, monkeypatch):
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    vault.create_table("kept")
    (kept,) = (vault_path / ".git/objects/pack").glob("*.idx")
    kept.with_suffix(".keep").touch()
    monkeypatch.setattr(packing, "_SMALL", 1)
    for number in range(10):
        vault.create_table(f"t{number}")
    assert counts(git, vault_path)["packs"] == 11
    monkeypatch.undo()
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    vault.create_table("last")
    assert counts(git, vault_path)["packs"] == 2
    assert kept.exists()


def test_a_damaged_pack_does_not_keep_objects_loose(vault, vault_path, git, monkeypatch, caplog):
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    packs = set()
    for number in range(7):
        vault.create_table(f"t{number}")
        packs, before = set((vault_path / ".git/objects/pack").glob("*.pack")), packs
        if number == 2:
            (damaged,) = packs - before
            damaged.chmod(0o644)
            content = bytearray(damaged.read_bytes())
            content[20:-40] = bytes(len(content) - 60)
            damaged.write_bytes(content)
    before = counts(git, vault_path)
    packing._pack(vault_path / ".git", vault_path / ".git/tablevault")
    assert "could not be made one" in caplog.text
    assert counts(git, vault_path)["packs"] >= before["packs"]
    assert damaged.exists()


KILLED = """
import os, signal, sys
from tablevault import TableVault
from tablevault import TableVault
from tablevault.history import packing
packing._ENOUGH_IN_SAMPLE = 0
left = int(sys.argv[2])
vault = TableVault(sys.argv[1], "bob")

def counting(name):
    original = getattr(os, name)
    def counted(*arguments, **how):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **how)
    setattr(os, name, counted)

def pack(*arguments):
    for name in ("unlink", "rename", "replace", "rmdir", "mkdir", "fsync"):
        counting(name)
    whole(*arguments)

whole, packing._pack = packing._pack, pack
vault.create_table("last")
"""


@pytest.mark.faults
@pytest.mark.parametrize("step", [1, 5, 9, 13, 20, 30])
def test_killed_while_eight_become_one_nothing_is_lost(
    vault, vault_path, git, python, check_clean, monkeypatch, step
):
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
        for number in range(7):
            vault.create_table(f"t{number}")
    process = python(KILLED, vault_path, step)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert TableVault(vault_path, "Ana").get_table_instances() == [
        *(f"t{number}" for number in range(7)),
        "last",
    ]
    check_clean(vault_path)
    monkeypatch.setattr(packing, "_ENOUGH_IN_SAMPLE", 0)
    vault.create_code_module("m", text="x = 1\n")
    found = counts(git, vault_path)
    assert found["count"] == 0
    assert found["packs"] <= 2
    check_clean(vault_path)
