"""Code that people edit in the working tree is found, and what is no module is left alone."""

from __future__ import annotations

import os

import pytest

from tablevault.errors import TVFileError
from tablevault.history.git.trees import Put, Remove


def test_code_is_not_adopted_amid_a_merge(bench, git):
    bench.publish(**{"code/m.py": b"1\n"})
    (bench.path / ".git/MERGE_HEAD").write_text(f"{bench.repository.main()}\n")
    bench.write("code/m.py", b"<<<<<<< mine\n")
    assert bench.code_edits() == []


def test_code_edited_by_hand_is_found(bench):
    bench.publish(**{"code/kept.py": b"1", "code/edited.py": b"1", "code/gone.py": b"1"})
    bench.write("code/edited.py", b"2")
    bench.write("code/new.py", b"3")
    (bench.path / "code/gone.py").unlink()
    assert bench.code_edits() == [
        Put(path="code/edited.py", data=b"2"),
        Put(path="code/new.py", data=b"3"),
        Remove(path="code/gone.py"),
    ]


def test_a_file_in_the_place_of_the_code_is_told(bench):
    (bench.path / "code").rmdir()
    (bench.path / "code").write_bytes(b"")
    with pytest.raises(TVFileError, match="is a file, where the folder of code modules"):
        bench.code_edits()


def test_code_that_was_touched_or_edited_back_is_no_edit(bench):
    bench.publish(**{"code/m.py": b"1"})
    os.utime(bench.path / "code/m.py")
    assert bench.code_edits() == []
    bench.write("code/m.py", b"2")
    assert len(bench.code_edits()) == 1
    bench.write("code/m.py", b"1")
    assert bench.code_edits() == []


def test_every_edit_of_code_is_found_however_quick(bench):
    bench.publish(**{"code/m.py": b"0"})
    for number in range(1, 10):
        bench.write("code/m.py", b"%d" % number)
        assert bench.code_edits() == [Put(path="code/m.py", data=b"%d" % number)]


def test_code_found_executable_stays_so(bench, status):
    bench.write("code/tool.py", b"#!/usr/bin/env python\n")
    (bench.path / "code/tool.py").chmod(0o755)
    edits = bench.code_edits()
    assert edits == [Put(path="code/tool.py", data=b"#!/usr/bin/env python\n", executable=True)]
    bench.commit(*edits)
    bench.refresh()
    assert status() == ""


def test_what_is_no_module_is_neither_adopted_nor_removed(bench, git):
    for name in ("my-script.py", "notes.txt", "2024.py"):
        bench.write(f"code/{name}", b"x")
    bench.write("code/package/m.py", b"x")
    (bench.path / "code/link.py").symlink_to("notes.txt")
    git(bench.path, "add", "-A")
    git(bench.path, "commit", "-q", "-m", "by hand")
    bench.refresh()
    assert bench.code_edits() == []
    bench.write("code/other-script.py", b"x")
    (bench.path / "code/second.py").symlink_to("notes.txt")
    assert bench.code_edits() == []


def test_a_missing_code_folder_is_a_removal_of_all_modules(bench):
    bench.publish(**{"code/m.py": b"1"})
    (bench.path / "code/m.py").unlink()
    (bench.path / "code").rmdir()
    assert bench.code_edits() == [Remove(path="code/m.py")]


def test_code_with_an_unresolved_conflict_is_not_adopted(bench, git):
    bench.publish(**{"code/m.py": b"1\n", "code/other.py": b"1\n"})
    bench.write("code/m.py", b"mine\n")
    git(bench.path, "stash", "-q")
    bench.publish(**{"code/m.py": b"2\n"})
    git(bench.path, "stash", "pop", check=False)
    bench.write("code/other.py", b"2\n")
    assert bench.code_edits() == [Put(path="code/other.py", data=b"2\n")]


def test_code_of_another_branch_is_not_adopted(bench, git):
    git(bench.path, "checkout", "-q", "-b", "mine")
    bench.write("code/m.py", b"1")
    assert bench.code_edits() == []
