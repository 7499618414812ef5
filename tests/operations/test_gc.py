"""What gc removes, what it must not, and who may work meanwhile."""

from __future__ import annotations

import os
import signal
import time

import pandas as pd
import pygit2
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVFileError
from tests.looking import check_clean, git

OLD_S = 15 * 24 * 3600.0


def write(vault, table, *values):
    """Write an instance."""
    vault.create_instance(table, external_edit=True)
    vault.write_instance(pd.DataFrame({"a": values}), table)


@pytest.fixture
def filled(vault):
    """Fill the vault a little."""
    vault.create_table("stories")
    for number in range(4):
        write(vault, "stories", number)
    return vault


def objects(path):
    """List the objects of the store."""
    return {file.name for file in (path / ".git/lfs/objects").rglob("*") if file.is_file()}


def put_object(path, data, age_s):
    """Put an object into the store that nothing needs."""
    import hashlib

    oid = hashlib.sha256(data).hexdigest()
    file = path / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (time.time() - age_s,) * 2)
    return oid


def packs(path):
    """List the packs."""
    return sorted((path / ".git/objects/pack").glob("*.pack"))


def test_objects_that_nothing_needs_go_when_they_are_old(filled, vault_path):
    needed = objects(vault_path)
    old = put_object(vault_path, b"old", OLD_S)
    young = put_object(vault_path, b"young", 60)
    report = filled.gc(dry_run=True)
    assert (report.objects, report.object_bytes, report.dry_run) == (1, 3, True)
    assert objects(vault_path) == needed | {old, young}
    report = filled.gc()
    assert (report.objects, report.object_bytes) == (1, 3)
    assert "1 objects removed, 3 bytes" in repr(report)
    assert objects(vault_path) == needed | {young}
    filled.gc(grace_s=0)
    assert objects(vault_path) == needed
    assert filled.verify() == []
    check_clean(vault_path)


def test_what_is_only_staged_or_on_another_branch_stays(filled, vault_path):
    folder = vault_path / "tables/stories/base/artifacts"
    folder.mkdir()
    (folder / "staged.txt").write_text("staged")
    git(vault_path, "add", str(folder))
    git(vault_path, "branch", "mine")
    git(vault_path, "worktree", "add", "-q", "../other", "mine")
    other = vault_path.parent / "other/tables/stories/base/artifacts"
    other.mkdir()
    (other / "committed.txt").write_text("committed")
    git(vault_path.parent / "other", "add", ".")
    git(vault_path.parent / "other", "commit", "-qm", "mine")
    before = objects(vault_path)
    filled.gc(grace_s=0)
    assert objects(vault_path) == before
    git(vault_path, "fsck", "--full", "--strict")


def test_many_packs_become_one_and_nothing_that_is_reached_is_lost(filled, vault_path):
    for number in range(4):
        write(filled, "stories", 100 + number)
        git(vault_path, "repack", "-q")
        git(vault_path, "prune-packed")
    write(filled, "stories", 1000)
    reached = git(vault_path, "rev-list", "--all", "--objects")
    assert len(packs(vault_path)) > 1
    report = filled.gc()
    assert (report.packs_after, len(packs(vault_path))) == (1, 1)
    assert report.packs_before > 1
    assert report.loose_before > report.loose_after
    assert git(vault_path, "rev-list", "--all", "--objects") == reached
    assert filled.get_dataframe("stories")[0]["a"].tolist() == [1000]
    git(vault_path, "fsck", "--full", "--strict")
    assert filled.verify() == []
    again = filled.gc()
    assert again.packs_after == 1
    assert again.loose_after == report.loose_after


def test_git_objects_that_nothing_reaches_stay_until_they_are_old(filled, vault_path):
    handle = pygit2.Repository(str(vault_path))
    young, old = (str(handle.create_blob(data)) for data in (b"young", b"old"))
    in_pack = str(handle.create_blob(b"packed"))
    handle.pack(pack_delegate=lambda builder: builder.add(pygit2.Oid(hex=in_pack)))
    git(vault_path, "prune-packed")
    file = vault_path / f".git/objects/{old[:2]}/{old[2:]}"
    os.utime(file, (time.time() - OLD_S,) * 2)
    report = filled.gc()
    assert report.git_objects == 1
    assert git(vault_path, "cat-file", "-p", young) == "young"
    assert git(vault_path, "cat-file", "-p", in_pack) == "packed"
    assert not file.exists()
    time.sleep(0.01)
    assert filled.gc(grace_s=0).git_objects == 2
    git(vault_path, "fsck", "--full", "--strict")


def test_a_process_that_waits_keeps_what_it_made(filled, vault_path, python):
    script = """
import os, signal, sys
import pandas as pd
from tablevault import TableVault
from tablevault.transactions.transaction import Transaction

vault = TableVault(sys.argv[1], "Ana")
vault.create_instance("stories", external_edit=True)
Transaction.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
vault.write_instance(pd.DataFrame({"a": [77]}), "stories", process_id="mine")
"""
    process = python(script, vault_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    before = objects(vault_path)
    assert filled.gc(grace_s=0).git_objects == 0
    assert objects(vault_path) == before
    filled.stop_process("mine")
    filled.gc(grace_s=0)
    assert len(objects(vault_path)) == len(before) - 1
    assert filled.verify() == []


def test_leftovers_go(filled, vault_path):
    state = vault_path / ".git/tablevault"
    for name in ("tmp/gone", f"checkpoints/{'a' * 40}", "artifacts/base_1_x"):
        (state / name).mkdir(parents=True)
        (state / name / "file").write_text("12345")
    assert filled.verify() == []
    quarantine = state / "quarantine/20200101-000000-00000000"
    quarantine.mkdir(parents=True)
    bad = vault_path / ".git/lfs/bad/0000"
    bad.parent.mkdir(parents=True)
    bad.write_text("bad")
    left = filled.gc()
    assert (state / "tmp/gone").exists()  # it may be in use
    assert not (state / "checkpoints").exists()
    assert left.leftovers == 1
    assert bad.exists()
    assert quarantine.exists()
    os.utime(quarantine, (0, 0))
    filled.gc(grace_s=0)
    assert not bad.exists()
    assert not quarantine.exists()
    check_clean_but_tmp = [file for file in (state / "tmp").iterdir() if file.name != "gone"]
    assert check_clean_but_tmp == []


def test_nothing_is_removed_from_a_damaged_vault(filled, vault_path):
    put_object(vault_path, b"old", OLD_S)
    before = objects(vault_path)
    blob = git(vault_path, "rev-parse", "HEAD~3:vault.yaml").strip()
    (vault_path / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    with pytest.raises(TVFileError, match=blob):
        filled.gc()
    assert objects(vault_path) == before
    with pytest.raises(TVArgumentError):
        filled.gc(grace_s=-1)
    with pytest.raises(TVArgumentError):
        filled.gc(grace_s=float("nan"))


def test_who_works_meanwhile_loses_nothing(vault, vault_path, busy):
    vault = TableVault(vault_path, "Ana", lock_timeout=100)
    with busy(edits=True):
        reports = [vault.gc(grace_s=0) for _ in range(12)]
    assert all(report.packs_after >= 1 for report in reports)
    git(vault_path, "fsck", "--full", "--strict")
    assert "OK" in git(vault_path, "lfs", "fsck")
    for table in ("one", "two"):
        for instance in vault.get_table_instances(table):
            assert len(vault.get_dataframe(table, instance)[0]) == 1
    vault.create_table("last")  # which commits the code that was edited last
    vault.gc(grace_s=0)
    assert vault.verify() == []
    check_clean(vault_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from tablevault import TableVault

vault = TableVault(sys.argv[1], "Ana")
left = int(sys.argv[2])
def counting(name):
    original = getattr(os, name)
    def counted(*arguments, **how):
        global left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **how)
    setattr(os, name, counted)
for name in ("unlink", "replace", "rename", "rmdir"):
    counting(name)
vault.gc(grace_s=0)
"""


@pytest.mark.sweep
@pytest.mark.faults
@pytest.mark.parametrize("step", [1, 2])
def test_killed_at_any_step_it_loses_nothing(filled, vault_path, python, step):
    git(vault_path, "repack", "-q")
    put_object(vault_path, b"old", OLD_S)
    write(filled, "stories", 5)
    reached = git(vault_path, "rev-list", "--all", "--objects")
    process = python(KILLED, vault_path, step)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert git(vault_path, "rev-list", "--all", "--objects") == reached
    git(vault_path, "fsck", "--full", "--strict")
    assert TableVault(vault_path, "Ana").verify() == []
    report = filled.gc(grace_s=0)
    assert report.packs_after == 1
    assert filled.verify() == []
    assert len(filled.get_table_instances("stories")) == 5
