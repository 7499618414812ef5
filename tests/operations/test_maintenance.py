"""What verify finds, and what repair mends."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import threading
import zlib
from pathlib import Path

import pandas as pd
import pygit2
import pytest

from tablevault import TableVault
from tablevault.errors import TVFileError
from tablevault.operations.maintenance import verify
from tablevault.vault import Vault
from tests.looking import check_clean, git

BUILDER = """
builder_type: IndexBuilder
changed_columns: [word, source]
python_function: words
code_module: words
is_custom: true
arguments: {folder: ~ARTIFACT_FOLDER~, text: to be or not}
dtypes: {source: artifact_string}
"""
CODE = '''"""Words."""

import pathlib

import pandas as pd


def words(folder, text):
    """One word a row, and the text as a file."""
    pathlib.Path(folder, "text.txt").write_text(text)
    return pd.DataFrame({"word": text.split(), "source": "text.txt"})
'''


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Make a vault with a bit of everything, once."""
    path = tmp_path_factory.mktemp("original") / "vault"
    vault = TableVault(path, "Ana <ana@example.org>", create=True)
    vault.create_code_module("words", text=CODE)
    vault.create_table("words")
    vault.create_instance("words", builders={"words_index": BUILDER})
    vault.execute_instance("words")
    vault.create_table("lengths")
    for first in (1, 2, 3):
        vault.create_instance("lengths", external_edit=True)
        vault.write_instance(
            pd.DataFrame({"length": [first, 2]}), "lengths", dependencies=[("words", "")]
        )
    vault.delete_instance(vault.get_table_instances("lengths")[0], "lengths")
    vault.create_instance("words", copy=True)
    return path


@pytest.fixture
def damaged(original, tmp_path):
    """Copy that vault, to be damaged."""
    path = tmp_path / "vault"
    copy(original, path)
    return path


def copy(source, target):
    """Copy a vault with its hard links, times and modes."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def look(path, **how):
    """Verify a vault that may not even open."""
    return verify(Vault(path=path, author="Ana"), **how)


def one(path, **how):
    """Verify, and expect exactly one problem."""
    (problem,) = look(path, **how)
    return problem


def object_of(path, tracked):
    """Return the object behind a tracked file."""
    oid = git(path, "show", f"main:{tracked}").split("sha256:")[1].split()[0]
    return path / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"


FRAME = "tables/lengths/base/dataframe.parquet"


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


@pytest.mark.parametrize("what", ["gone", "damaged", "moved away"])
def test_a_missing_file_is_not_called_safe_when_its_object_is_not(damaged, what):
    file = object_of(damaged, FRAME)
    (damaged / FRAME).unlink()
    if what != "gone":
        file.chmod(0o644)
        file.write_bytes(b"damage")
    else:
        file.unlink()
    if what == "moved away":
        with pytest.raises(TVFileError, match="damaged"):
            TableVault(damaged, "Ana").get_dataframe("lengths")
    git(damaged, "remote", "add", "origin", "https://example.invalid/v.git")
    found = look(damaged)
    assert not any("Nothing is lost" in str(problem) for problem in found)
    if what != "gone":
        assert any(each.kind == "object" and each.severity == "error" for each in found)


def test_a_flipped_byte_is_found_by_reading_and_mended_from_a_copy(damaged):
    file = object_of(damaged, FRAME)
    text = bytearray(file.read_bytes())
    (damaged / FRAME).unlink()
    (damaged / FRAME).write_bytes(bytes(text))
    (damaged / FRAME).chmod(0o444)
    text[10] ^= 1
    file.chmod(0o644)
    file.write_bytes(bytes(text))
    file.chmod(0o444)
    assert look(damaged, data=False) == []
    found = one(damaged)
    assert (found.kind, found.severity, found.where) == ("object", "error", file.name)
    assert found.repairable
    assert "repair=True" in repr(found)
    assert one(damaged, repair=True).repaired
    assert look(damaged) == []
    assert (damaged / f".git/lfs/bad/{file.name}").is_file()


def test_a_missing_object_is_an_error_unless_a_remote_may_have_it(damaged):
    file = object_of(damaged, FRAME)
    file.unlink()
    (damaged / FRAME).unlink()
    (damaged / FRAME).write_text(git(damaged, "show", f"main:{FRAME}"))
    found = one(damaged)
    assert (found.kind, found.severity) == ("object", "error")
    git(damaged, "remote", "add", "origin", "/nowhere")
    found = one(damaged)
    assert (found.severity, found.repairable) == ("note", False)
    assert "not here" in found.text


def test_what_deleted_instances_had_is_not_missed(damaged):
    vault = TableVault(damaged, "Ana")
    for instance in vault.get_table_instances("lengths"):
        vault.delete_instance(instance, "lengths")
    assert vault.verify() == []


def test_a_document_that_tells_another_number_of_rows_is_found(damaged):
    vault = TableVault(damaged, "Ana")
    vault.create_instance("lengths", external_edit=True)
    vault.write_instance(pd.DataFrame({"length": [9, 9, 9]}), "lengths")
    document = damaged / "tables/lengths/base/instance.yaml"
    document.write_text(document.read_text().replace("rows: 3", "rows: 4"))
    git(damaged, "commit", "-qa", "--amend", "--no-edit", "--no-verify")
    vault.get_table_instances("lengths")
    found = one(damaged)
    assert (found.kind, found.where) == ("dataframe", vault.get_table_instances("lengths")[-1])
    assert "3 rows" in found.text
    assert "4" in found.text


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


def test_a_branch_that_is_not_there_is_told_of(damaged):
    git(damaged, "symbolic-ref", "HEAD", "refs/heads/mbin")
    found = one(damaged)
    assert (found.where, found.severity, found.repairable) == (".git/HEAD", "warning", False)


def test_a_commit_by_hand_is_no_problem(damaged):
    (damaged / "code/words.py").write_text("# mine\n")
    git(damaged, "commit", "-qam", "mine")
    assert look(damaged) == []


def test_a_builder_with_an_unknown_field_is_found(damaged):
    name = "temp/words/base/builders/words_index.yaml"
    (damaged / name).write_text(BUILDER.replace("dtypes:", "dtype:"))
    found = one(damaged, repair=True)
    assert (found.kind, found.severity, found.where) == ("temporary folder", "warning", name)
    assert found.advice == 'Did you mean "dtypes"?'
    assert not found.repairable


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


def test_a_table_whose_id_was_changed_is_named(damaged):
    table = damaged / "tables/words/table.yaml"
    table.write_text(table.read_text().replace("id: ", "id: x", 1))
    git(damaged, "commit", "-q", "--no-verify", "-a", "-m", "by hand")
    found = [problem for problem in look(damaged) if problem.severity == "error"]
    assert [(each.kind, each.where) for each in found] == [("instance", "tables/words/table.yaml")]


def test_a_name_on_main_that_no_other_vault_would_pull_is_named(damaged):
    (damaged / "a\nb.md").write_text("")
    (damaged / "link").symlink_to("vault.yaml")
    git(damaged, "add", "-A")
    git(damaged, "commit", "-q", "--no-verify", "-m", "by hand")
    found = {(each.where, each.kind, each.severity) for each in look(damaged)}
    assert found == {("a\nb.md", "file", "warning"), ("link", "file", "warning")}


def test_a_file_edited_by_hand_is_told_of_and_stays(damaged):
    (damaged / "code/words.py").write_text("# mine\n")
    with (damaged / "temp/words/base/builders/words_index.yaml").open("a") as file:
        file.write("# mine\n")
    assert look(damaged) == []
    table = damaged / "tables/words/table.yaml"
    table.write_text(table.read_text().replace("description: ''", "description: mine"))
    found = one(damaged, repair=True)
    assert (found.severity, found.repairable, found.repaired) == ("note", False, False)
    assert "description: mine" in table.read_text()


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


def test_a_process_that_died_is_told_of_and_left_to_the_user(damaged, python):
    script = """
import os, signal, sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "Ana")
vault.create_instance("lengths", builders={"lengths_index": '''
builder_type: IndexBuilder
changed_columns: [a]
python_function: die
code_module: die
is_custom: true
arguments: {}
'''})
vault.create_code_module("die", text='''
def die():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
''')
vault.execute_instance("lengths")
"""
    process = python(script, damaged)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    found = one(damaged, repair=True)
    assert (found.kind, found.severity, found.repaired) == ("process", "note", False)
    TableVault(damaged, "Ana").stop_process(found.where)
    assert look(damaged) == []


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
