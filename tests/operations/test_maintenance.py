"""What verify finds, and what repair mends."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import zlib
from pathlib import Path

import pandas as pd
import pygit2
import pytest

from tablevault import TableVault
from tests.damaging import FRAME, copy, look, one
from tests.looking import check_clean, git


def test_a_whole_vault_has_no_problems(damaged):
    assert look(damaged) == []
    assert TableVault(damaged, "Ana").verify(data=False) == []
    check_clean(damaged)


def test_verify_changes_nothing(damaged):
    shutil.rmtree(damaged / "tables")
    (damaged / ".git/index").unlink()
    before = {file: file.lstat() for file in damaged.rglob("*") if "sqlite" not in file.name}
    look(damaged)
    after = {file: file.lstat() for file in damaged.rglob("*") if "sqlite" not in file.name}
    assert before.keys() == after.keys()
    # SQLite may make a file next to the index, and remove it.
    files = [file for file in before if not file.is_dir()]
    assert all(before[file].st_mtime_ns == after[file].st_mtime_ns for file in files)


@pytest.mark.parametrize(
    ("break_it", "kind", "where"),
    [
        (lambda p: git(p, "tag", "-d", git(p, "tag").split()[0]), "tag", "refs/tags/lengths/"),
        (lambda p: git(p, "tag", "-f", git(p, "tag").split()[0], "main"), "tag", "refs/tags/"),
        (lambda p: shutil.rmtree(p / "tables/lengths/base"), "working tree", "tables/lengths/"),
        (
            lambda p: shutil.rmtree(p / "temp/words/base/builders"),
            "temporary folder",
            "temp/words/base",
        ),
        (lambda p: git(p, "config", "--unset", "filter.lfs.clean"), "settings", ".git/config"),
        (lambda p: (p / ".git/hooks/pre-push").unlink(), "settings", ".git/hooks/pre-push"),
        (lambda p: (p / ".git/index").write_bytes(b"DIRC"), "working tree", ".git/index"),
        (lambda p: (p / ".git/HEAD").write_text("?"), "repository", ".git/HEAD"),
        (lambda p: (p / ".git/config").write_text("[?"), "repository", ".git/config"),
        (lambda p: (p / ".git/refs/heads/main").write_text(""), "ref", "refs/heads/main"),
        (lambda p: (p / FRAME).chmod(0o644), "working tree", FRAME),
        (
            lambda p: (p / ".git/tablevault/processes/x.json").write_text("{"),
            "process",
            ".git/tablevault/processes/x.json",
        ),
        (lambda p: (p / ".git/tablevault/tmp").rmdir(), "state", ".git/tablevault/tmp"),
    ],
)
def test_what_is_derived_is_found_and_mended(damaged, break_it, kind, where):
    break_it(damaged)
    found = look(damaged)
    assert any(each.kind == kind and each.where.startswith(where) for each in found), found
    mended = look(damaged, repair=True)
    assert mended
    assert all(problem.repaired for problem in mended), mended
    assert look(damaged) == []
    check_clean(damaged)


def test_a_wrong_index_is_folded_again(damaged):
    import sqlite3

    TableVault(damaged, "Ana").get_table_instances("lengths")
    with sqlite3.connect(damaged / ".git/tablevault/index.sqlite") as connection:
        connection.execute("UPDATE instances SET materialized_at = '1970' WHERE version = 'base'")
    connection.close()
    assert one(damaged).kind == "index"
    assert one(damaged, repair=True).repaired
    assert look(damaged) == []


def test_a_working_tree_that_was_laid_out_in_part_is_laid_out(damaged, python):
    script = """
import os, signal, sys
from tablevault import TableVault
from tablevault.history.checkout.worktree import WorkTree

vault = TableVault(sys.argv[1], "Ana")
WorkTree._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
vault.create_table("more")
"""
    process = python(script, damaged)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert {problem.kind for problem in look(damaged)} == {"working tree", "process"}
    assert all(problem.repaired for problem in look(damaged, repair=True))
    assert look(damaged) == []
    assert (damaged / "tables/more/table.yaml").is_file()
    check_clean(damaged)


def test_a_commit_by_hand_is_no_problem(damaged):
    (damaged / "code/words.py").write_text("# mine\n")
    git(damaged, "commit", "-qam", "mine")
    assert look(damaged) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("vault.yaml", "format: [\n"),
        ("vault.yaml", "format: none\n"),
        ("vault.yaml", None),
        ("tables/words/table.yaml", "id: [\n"),
        ("tables/words/base/instance.yaml", "- a list\n"),
    ],
)
def test_a_document_on_main_that_cannot_be_read_is_named(damaged, path, text):
    if text is None:
        (damaged / path).unlink()
    else:
        (damaged / path).write_text(text)
    git(damaged, "commit", "-q", "--no-verify", "-a", "-m", "by hand")
    found = {problem.where: problem for problem in look(damaged)}
    assert (found[path].kind, found[path].severity) == ("file", "error")


def test_a_limit_on_main_that_cannot_be_is_named_with_its_line(damaged):
    with (damaged / "vault.yaml").open("a") as file:
        file.write("limits: {calls: -1}\n")
    git(damaged, "commit", "-q", "--no-verify", "-a", "-m", "by hand")
    found = one(damaged)
    assert (found.kind, found.severity, found.where) == ("settings", "warning", "vault.yaml")
    assert "line 6: limits.calls is -1" in found.text
    assert "git commit vault.yaml" in found.advice


def test_a_name_on_main_that_no_other_vault_would_pull_is_named(damaged):
    (damaged / "a\nb.md").write_text("")
    (damaged / "link").symlink_to("vault.yaml")
    git(damaged, "add", "-A")
    git(damaged, "commit", "-q", "--no-verify", "-m", "by hand")
    found = {(each.where, each.kind, each.severity) for each in look(damaged)}
    assert found == {("a\nb.md", "file", "warning"), ("link", "file", "warning")}


def test_what_repair_replaces_is_kept_aside(damaged):
    frame = damaged / FRAME
    frame.unlink()
    frame.write_bytes(b"what somebody wrote over it")
    assert one(damaged, repair=True).repaired
    kept = [
        file.read_bytes() for file in (damaged / ".git/tablevault/quarantine").rglob("*.parquet")
    ]
    assert kept == [b"what somebody wrote over it"]
    check_clean(damaged)


def test_a_lost_text_is_restored_from_the_working_tree(damaged):
    blob = git(damaged, "rev-parse", "main:code/words.py").strip()
    (damaged / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    assert any(problem.where == blob for problem in look(damaged))
    assert any(problem.repaired for problem in look(damaged, repair=True))
    assert look(damaged) == []
    check_clean(damaged)


def flip(file, choose):
    """Flip a bit."""
    text = bytearray(file.read_bytes())
    text[choose.randrange(len(text))] ^= 1 << choose.randrange(8)
    file.write_bytes(bytes(text))


def cut(file, choose):
    """Cut the end off."""
    text = file.read_bytes()
    file.write_bytes(text[: choose.randrange(len(text))])


def remove(file, choose):
    """Delete the file."""
    del choose
    file.unlink()


def replace(file, choose):
    """Put a folder in its place."""
    del choose
    file.unlink()
    (file / "inner").mkdir(parents=True)


# Of these a change means nothing, or cannot be told from what somebody wants.
MEANINGLESS = (
    *(".git/logs/", ".git/hooks/", ".git/description", ".git/info/", ".git/COMMIT_EDITMSG"),
    *("code/", ".git/tablevault/objects", ".git/tablevault/moving", ".lock"),
    *(".git/tablevault/checked-out", ".git/tablevault/calls.sqlite"),
    ".git/config",
    *(
        ".git/tablevault/index.sqlite",
        ".git/tablevault/temp-folders/",
        "temp/",
        ".git/objects/info",
    ),
)


def reads_alike(before, after):
    """Return whether a loose object or a ref says the same still.

    Deflate pads with any bits, and git needs no line break at the end of HEAD.
    """
    if not after.is_file():
        return False
    if before.name == "HEAD" or "refs" in before.parts:
        return before.read_bytes().strip() == after.read_bytes().strip()
    if before.parent.parent.name != "objects":
        return False
    try:
        return zlib.decompress(before.read_bytes()) == zlib.decompress(after.read_bytes())
    except zlib.error:
        return False


@pytest.mark.sweep
@pytest.mark.faults
@pytest.mark.parametrize("act", [flip, cut, remove, replace])
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_no_damage_ends_verify_and_what_matters_is_named(original, tmp_path, act, packed):
    choose = random.Random(f"{act.__name__} {packed}")
    source, path = tmp_path / "source", tmp_path / "vault"
    copy(original, source)
    if packed:
        git(source, "gc", "-q")
        git(source, "status")
    files = [file.relative_to(source) for file in source.rglob("*") if file.is_file()]
    unnamed = []
    for file in choose.sample(files, 30):
        copy(source, path)
        if not (path / file).exists() or not (path / file).stat().st_size:
            continue
        mode = (path / file).stat().st_mode
        (path / file).chmod(0o644)
        act(path / file, choose)
        if act in (flip, cut):
            (path / file).chmod(mode)
        found = look(path)
        if not (found or reads_alike(source / file, path / file)) and not any(
            part in f"{file}" for part in MEANINGLESS
        ):
            unnamed.append(str(file))
        look(path, repair=True)
        assert not any(problem.repairable for problem in look(path)), (file, look(path))
    assert unnamed == []


def test_a_pack_that_is_gone_is_named_although_a_handle_has_it_open(damaged):
    git(damaged, "gc", "-q")
    (pack,) = (damaged / ".git/objects/pack").glob("*.pack")
    reader = TableVault(damaged, "Ana")
    reader.get_table_instances("words")
    pack.unlink()
    assert f".git/objects/pack/{pack.name}" in [problem.where for problem in look(damaged)]
    reader.get_table_instances("lengths")


def test_who_works_meanwhile_is_no_problem(vault, busy):
    with busy():
        for number in range(12):
            assert vault.verify(data=number % 2 == 0) == []
    assert vault.verify() == []


def test_repair_and_other_operations_leave_each_other_in_peace(vault, vault_path):
    failed = []

    def write():
        try:
            mine = TableVault(vault_path, "Ben")
            mine.create_table("other")
            for number in range(8):
                mine.create_instance("other", external_edit=True)
                mine.write_instance(pd.DataFrame({"a": [number]}), "other")
        except Exception as error:  # noqa: BLE001 - told of below
            failed.append(error)

    vault.create_table("stories")
    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        Path(vault_path, "tables/stories/table.yaml").unlink(missing_ok=True)
        Path(vault_path, ".git/tablevault/index.sqlite").unlink(missing_ok=True)
        vault.verify(repair=True)
        vault.get_table_instances()
    writer.join()
    assert not failed
    vault.verify(repair=True)
    assert vault.verify() == []
    check_clean(vault_path)


@pytest.mark.parametrize("how", ["repair", "opening"])
def test_git_is_let_go_of_where_somebody_died_writing_its_index(damaged, how):
    beside, lock = damaged / ".git/index.tablevault", damaged / ".git/index.lock"
    beside.write_bytes(b"")
    lock.hardlink_to(beside)
    assert "Left by a crash" in one(damaged).text
    if how == "repair":
        assert one(damaged, repair=True).repaired
    else:
        TableVault(damaged, "Ben")
    assert not lock.exists()
    assert look(damaged) == []
    check_clean(damaged)


@pytest.mark.parametrize("left", [0, 8, 20])
def test_what_a_loss_of_power_cut_off_never_gets_into_history(damaged, left):
    text = "value = 'lost once'\n"
    vault = TableVault(damaged, "Ben")
    name = str(pygit2.Repository(str(damaged)).create_blob(text.encode()))
    loose = damaged / ".git/objects" / name[:2] / name[2:]
    data = loose.read_bytes()
    loose.chmod(0o644)
    loose.write_bytes(data[:left])
    tip = git(damaged, "rev-parse", "main")
    with pytest.raises(OSError, match="run the operation again"):
        vault.create_code_module("lost", text=text)
    assert git(damaged, "rev-parse", "main") == tip
    vault.create_code_module("lost", text=text)
    assert vault.get_code_module_str("lost") == text
    check_clean(damaged)
