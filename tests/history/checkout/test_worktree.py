"""Working files and git's index follow ``main``, and what the user did stays."""

from __future__ import annotations

import os
import subprocess

import pytest

from tablevault.history.checkout.worktree import WorkTree
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Graft, Put, Remove
from tablevault.names import MAIN

FRAME = "tables/t/base/dataframe.parquet"


def test_a_new_repository_is_laid_out_clean(bench, status):
    assert bench.read("vault.yaml") == bench.repository.read_blob(
        bench.repository.handle.revparse_single("main:vault.yaml").id
    )
    assert status() == ""
    assert not bench.worktree.is_behind(bench.repository.main())


def test_files_come_change_and_go(bench, status, git):
    bench.publish(**{"a": b"1", "sub/b": b"2", "sub/deep/c": b"3", "é ü": b"4"})
    assert (bench.read("sub/deep/c"), status()) == (b"3", "")
    bench.publish(**{"a": b"new", "sub/deep/c": None})
    assert (bench.read("a"), status()) == (b"new", "")
    assert not (bench.path / "sub/deep").exists()
    bench.publish(**{"sub/b": None, "é ü": None})
    assert not (bench.path / "sub").exists()
    assert status() == ""
    assert not git(bench.path, "diff-files"), "git has to hash nothing"


def test_several_commits_are_followed_at_once(bench, status):
    for number in range(5):
        bench.commit(Put(path="a", data=b"%d" % number), Put(path=f"f{number}", data=b""))
    bench.refresh()
    assert (bench.read("a"), status()) == (b"4", "")


def test_a_file_may_become_a_folder_and_back(bench, status):
    bench.publish(x=b"file")
    bench.publish(**{"x": None, "x/y": b"below"})
    assert (bench.read("x/y"), status()) == (b"below", "")
    bench.publish(**{"x/y": None, "x": b"file"})
    assert (bench.read("x"), status()) == (b"file", "")


def test_the_code_folder_stays_when_it_is_empty(bench):
    bench.publish(**{"code/m.py": b""})
    bench.publish(**{"code/m.py": None})
    assert (bench.path / "code").is_dir()


def test_an_executable_is_laid_out_so(bench, status):
    bench.commit(Put(path="run", data=b"#!/bin/sh\n", executable=True))
    bench.refresh()
    assert os.access(bench.path / "run", os.X_OK)
    bench.commit(Put(path="run", data=b"#!/bin/sh\n"))
    bench.refresh()
    assert not os.access(bench.path / "run", os.X_OK)
    assert status() == ""


def test_links_and_submodules_of_a_commit_are_never_laid_out(bench, git):
    blob = bench.repository.handle.create_blob(b"/etc/passwd")
    listing = f"120000 blob {blob}\tlink\n160000 commit {bench.repository.main()}\tmodule\n"
    tree = git(bench.path, "mktree", "--missing", text=listing).strip()
    bench.commit(Graft(path="stranger", source=tree))
    for checked_out in (bench.worktree.checked_out(), None):
        if checked_out is None:
            (bench.state / "checked-out").unlink()
        bench.refresh()
        assert not (bench.path / "stranger").exists()


def test_a_file_whose_name_is_no_text_is_laid_out(bench, git):
    blob = bench.repository.handle.create_blob(b"x")
    tree = git(bench.path, "mktree", text=f"100644 blob {blob}\tcaf\udce9.txt\n").strip()
    bench.commit(Graft(path="sub", source=tree))
    bench.refresh()
    assert git(bench.path, "status", "--porcelain") == ""
    assert (bench.path / "sub/caf\udce9.txt").read_bytes() == b"x"


def test_an_edited_file_stays_when_main_changes_it(bench, status):
    bench.publish(a=b"1")
    bench.write("a", b"mine")
    bench.publish(a=b"2")
    assert bench.read("a") == b"mine"
    assert status() == " M a\n"
    bench.publish(a=None)
    assert bench.read("a") == b"mine"
    assert status() == "?? a\n"


def test_a_file_in_the_way_of_a_new_one_stays(bench, status):
    bench.write("a", b"mine")
    bench.publish(a=b"1")
    assert bench.read("a") == b"mine"
    assert status() == " M a\n"


def test_an_edit_that_equals_what_comes_is_clean(bench, status):
    bench.publish(a=b"1")
    bench.write("a", b"2")
    bench.publish(a=b"2")
    assert status() == ""


def test_an_edit_of_the_same_size_within_one_tick_stays(bench):
    bench.publish(a=b"1")
    kept = (bench.path / "a").stat()
    bench.write("a", b"!")
    os.utime(bench.path / "a", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    os.utime(bench.path / ".git/index", ns=(kept.st_mtime_ns, kept.st_mtime_ns))
    bench.publish(a=b"2")
    assert bench.read("a") == b"!"


def test_a_removed_file_comes_back_only_when_main_changes_it(bench, status):
    bench.publish(a=b"1", b=b"1")
    (bench.path / "a").unlink()
    (bench.path / "b").unlink()
    bench.publish(a=b"2")
    assert bench.read("a") == b"2"
    assert status() == " D b\n"


def test_a_file_that_both_sides_removed_is_gone(bench, status):
    bench.publish(**{"sub/a": b"1"})
    (bench.path / "sub/a").unlink()
    (bench.path / "sub").rmdir()
    bench.publish(**{"sub/a": None})
    assert status() == ""


def test_other_files_of_the_user_are_left_alone(bench, status):
    bench.publish(**{"sub/a": b"1"})
    bench.write("sub/mine", b"x")
    bench.publish(**{"sub/a": None})
    assert bench.read("sub/mine") == b"x"
    assert status() == "?? sub/\n"


def test_what_the_user_staged_stays_staged(bench, status, git):
    bench.publish(a=b"1", b=b"1")
    bench.write("a", b"staged")
    bench.write("new", b"new")
    git(bench.path, "add", "a", "new")
    git(bench.path, "rm", "-q", "--cached", "b")
    bench.publish(a=b"2", c=b"3")
    assert set(status().splitlines()) == {"M  a", "D  b", "?? b", "A  new"}
    assert git(bench.path, "show", ":a") == "staged"


def test_what_was_staged_as_removed_goes_when_it_is_what_main_removes(bench, status, git):
    bench.publish(**{"sub/a": b"1", "sub/b": b"1"})
    git(bench.path, "rm", "-q", "--cached", "sub/a", "sub/b")
    bench.write("sub/b", b"mine")
    bench.publish(**{"sub/a": None, "sub/b": None})
    assert not (bench.path / "sub/a").exists()
    assert bench.read("sub/b") == b"mine"
    assert status() == "?? sub/\n"


def test_an_index_that_somebody_deleted_is_made_again_whole(bench, status):
    bench.publish(a=b"1", b=b"1", c=b"1")
    (bench.path / ".git/index").unlink()
    bench.write("b", b"mine")
    bench.publish(a=b"2", c=None)
    assert status() == " M b\n"
    assert not (bench.path / "c").exists()


def test_what_the_user_stages_while_files_are_laid_out_stays_staged(
    bench, status, git, monkeypatch
):
    bench.write("mine", b"mine")
    real = WorkTree._stage
    added = []

    def stage(self, *arguments):
        if not added:
            added.append(git(bench.path, "add", "mine"))
        real(self, *arguments)

    monkeypatch.setattr(WorkTree, "_stage", stage)
    bench.publish(a=b"1")
    assert status() == "A  mine\n"


def test_an_intention_to_add_does_not_stage_a_removal(bench, status, git):
    bench.write("new", b"1")
    git(bench.path, "add", "-N", "new")
    bench.publish(new=b"1")
    assert status() == ""


def test_a_conflict_of_the_user_is_kept(bench, git):
    bench.publish(a=b"1\n")
    bench.write("a", b"mine\n")
    git(bench.path, "stash", "-q")
    bench.publish(a=b"2\n")
    git(bench.path, "stash", "pop", check=False)
    before = git(bench.path, "ls-files", "-u")
    assert before
    bench.publish(a=b"3\n", b=b"1")
    assert git(bench.path, "ls-files", "-u") == before
    assert b"<<<<<<<" in bench.read("a")


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling"])
def test_whatever_the_user_put_in_the_way_stays_and_stops_nothing(bench, kind, tmp_path, status):
    place = bench.path / "tables"
    {
        "file": lambda: place.write_text("mine"),
        "folder": lambda: (place / "t/table.yaml/x").mkdir(parents=True),
        "link": lambda: place.symlink_to(tmp_path),
        "dangling": lambda: place.symlink_to(tmp_path / "nowhere"),
    }[kind]()
    for data in (b"1", b"2", None):
        bench.publish(**{"tables/t/table.yaml": data, "beside": data})
        assert (bench.path / "beside").exists() == (data is not None)
    assert place.is_symlink() == (kind in {"link", "dangling"})
    assert not list(tmp_path.iterdir())
    assert bench.worktree.checked_out() == bench.repository.main()


def test_nothing_is_written_through_a_link_that_a_stranger_committed(bench, git, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/authorized").write_text("mine")
    (bench.path / "dir").symlink_to(tmp_path / "victim")
    git(bench.path, "add", "dir")
    git(bench.path, "commit", "-q", "-m", "a link")
    bench.refresh()
    bench.publish(**{"dir": None, "dir/authorized": b"theirs"})
    bench.publish(**{"dir/authorized": None})
    assert (tmp_path / "victim/authorized").read_text() == "mine"


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", "git~1", ".g\u200cit", "a/../../b"])
def test_a_name_that_leaves_the_vault_is_never_laid_out(bench, git, name):
    blob = bench.repository.handle.create_blob(b"evil")
    inner = git_tree(bench.path, b"100644 x\0" + blob.raw)
    outer = git_tree(bench.path, b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner))
    commit = git(bench.path, "commit-tree", outer, "-p", "main", "-m", "evil").strip()
    before = sorted(bench.path.parent.rglob("*"))
    git(bench.path, "update-ref", MAIN, commit)
    (bench.state / "checked-out").unlink()
    bench.refresh()
    new = set(bench.path.parent.rglob("*")) - set(before)
    assert not [path for path in new if path.name == "x"]
    assert Snapshot(bench.repository, commit).files("") == []


def git_tree(path, content):
    """Write a tree that git itself would refuse to make."""
    command = ["git", "-C", str(path), "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    return (
        subprocess.run(command, input=content, capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )


def test_a_working_tree_on_another_branch_is_not_touched(bench, status, git):
    bench.publish(a=b"1")
    git(bench.path, "checkout", "-q", "-b", "mine")
    bench.publish(a=b"2", b=b"2")
    assert (bench.read("a"), status()) == (b"1", "")
    git(bench.path, "checkout", "-q", "main")
    bench.refresh()
    assert (bench.read("a"), bench.read("b"), status()) == (b"2", b"2", "")


def test_a_detached_working_tree_is_not_touched(bench, status, git):
    git(bench.path, "checkout", "-q", "--detach")
    bench.publish(a=b"1")
    assert not (bench.path / "a").exists()
    assert status() == ""


def test_a_merge_of_the_user_is_not_disturbed_and_takes_nothing_back(bench, status, git):
    bench.publish(a=b"1\n")
    git(bench.path, "checkout", "-q", "-b", "other")
    bench.write("a", b"theirs\n")
    git(bench.path, "commit", "-q", "-am", "theirs")
    git(bench.path, "checkout", "-q", "main")
    bench.write("a", b"ours\n")
    git(bench.path, "commit", "-q", "-am", "ours")
    bench.refresh()
    git(bench.path, "merge", "other", check=False)
    before = (status(), bench.read("a"), git(bench.path, "ls-files", "-u"))
    bench.publish(b=b"1", a=b"3\n")
    assert (status(), bench.read("a"), git(bench.path, "ls-files", "-u")) == before
    bench.write("a", b"merged\n")
    git(bench.path, "commit", "-q", "-am", "merged")
    bench.refresh()
    assert (bench.read("a"), bench.read("b"), status()) == (b"merged\n", b"1", "")


def test_plain_commits_of_git_in_between_change_nothing(bench, status, git):
    bench.publish(a=b"1")
    bench.write("a", b"by hand")
    bench.write("b", b"by hand")
    git(bench.path, "add", "-A")
    git(bench.path, "commit", "-q", "-m", "by hand")
    bench.refresh()
    assert (bench.read("a"), status()) == (b"by hand", "")
    bench.publish(a=b"2")
    assert (bench.read("a"), status()) == (b"2", "")


def test_a_rewritten_main_is_followed(bench, status, git):
    bench.publish(a=b"1")
    bench.publish(a=b"2", b=b"2")
    git(bench.path, "reset", "-q", "--hard", "HEAD~1")
    bench.refresh()
    assert (bench.read("a"), status()) == (b"1", "")
    git(bench.path, "reflog", "expire", "--expire=now", "--all")
    git(bench.path, "gc", "-q", "--prune=now")
    bench.publish(a=b"3")
    assert (bench.read("a"), status()) == (b"3", "")


def test_an_index_that_is_locked_is_brought_up_to_date_later(bench, status, monkeypatch):
    monkeypatch.setattr("tablevault.history.checkout.worktree._BUSY_WAIT_S", 0)
    bench.publish(a=b"1")
    lock = bench.path / ".git/index.lock"
    lock.touch()
    bench.publish(a=b"2", b=b"2")
    assert bench.read("a") == b"2"
    assert bench.worktree.is_behind(bench.repository.main())
    lock.unlink()
    # Without that, the next `git commit` would take the operation back.
    bench.refresh()
    assert status() == ""


def test_an_index_that_is_locked_for_a_moment_is_waited_for(bench, status, monkeypatch):
    lock = bench.path / ".git/index.lock"
    lock.touch()
    sleep = "tablevault.history.checkout.worktree.time.sleep"
    monkeypatch.setattr(sleep, lambda _: lock.unlink(True))
    bench.publish(a=b"1")
    assert status() == ""


@pytest.mark.parametrize("damage", ["split", "torn", "missing"])
def test_an_index_that_cannot_be_written_stops_nothing(bench, git, damage):
    bench.publish(a=b"1")
    index = bench.path / ".git/index"
    if damage == "split":
        git(bench.path, "update-index", "--split-index")
    elif damage == "torn":
        index.write_bytes(index.read_bytes()[:40])
    else:
        index.unlink()
    bench.publish(a=b"2")
    assert bench.read("a") == b"2"
    assert bench.worktree.checked_out() == bench.repository.main()


def test_a_file_kept_out_by_a_sparse_checkout_is_no_removal(bench, git):
    bench.publish(**{"code/m.py": b"1"})
    git(bench.path, "update-index", "--skip-worktree", "code/m.py")
    (bench.path / "code/m.py").unlink()
    assert bench.code_edits() == []


@pytest.mark.parametrize("text", ["", "x", "a" * 39, "ab" * 20, "\xff"])
def test_without_a_note_all_is_compared_anew(bench, status, text):
    bench.publish(a=b"1")
    (bench.state / "checked-out").write_text(text, "latin-1")
    bench.write("mine", b"mine")
    bench.publish(b=b"2")
    assert (bench.read("a"), bench.read("b"), status()) == (b"1", b"2", "?? mine\n")


def test_a_refresh_that_died_is_done_again(bench, status, monkeypatch):
    bench.publish(a=b"1", b=b"1", gone=b"1")

    class Killed(BaseException):
        pass

    real = WorkTree._change
    for deaths in range(2):
        seen = []

        def change(self, delta, index, seen=seen, deaths=deaths):
            if len(seen) == deaths:
                raise Killed
            seen.append(delta)
            return real(self, delta, index)

        main = bench.commit(
            Put(path="a", data=b"%d" % deaths),
            Put(path=f"new{deaths}", data=b""),
            *([Remove(path="gone")] if deaths == 0 else []),
        )
        with monkeypatch.context() as patch:
            patch.setattr(WorkTree, "_change", change)
            with pytest.raises(Killed):
                bench.refresh()
        bench.refresh()
        assert bench.worktree.checked_out() == main
        assert status() == ""


def test_what_a_death_left_half_written_is_neither_seen_nor_in_the_way(bench, status):
    pointer = bench.put_object(b"rows")
    os.link(bench.store.file(pointer), bench.state / "checking-out")
    bench.publish(a=b"1")
    assert bench.store.file(pointer).read_bytes() == b"rows"
    assert not (bench.state / "checking-out").exists()
    assert status() == ""


def test_a_pointer_is_laid_out_as_its_object_read_only_and_clean(bench, status, git):
    pointer = bench.put_object(b"rows" * 1000)
    bench.publish(**{FRAME: pointer.encode()})
    assert bench.read(FRAME) == b"rows" * 1000
    assert (bench.path / FRAME).stat().st_mode & 0o777 == 0o444
    assert status() == ""
    assert not git(bench.path, "diff-files"), "git has to run no filter"
    assert "OK" in git(bench.path, "lfs", "fsck")


def test_a_dataframe_is_replaced_and_removed(bench, status):
    first, second = bench.put_object(b"first"), bench.put_object(b"second")
    bench.publish(**{FRAME: first.encode()})
    bench.publish(**{FRAME: second.encode()})
    assert (bench.read(FRAME), status()) == (b"second", "")
    bench.publish(**{FRAME: None})
    assert not (bench.path / "tables").exists()
    assert bench.store.file(first).read_bytes() == b"first"


def test_an_object_that_is_missing_leaves_the_text_of_its_pointer(bench, status, git):
    pointer = bench.put_object(b"rows")
    path = bench.store.file(pointer)
    data = path.read_bytes()
    path.unlink()
    bench.publish(**{FRAME: pointer.encode()})
    assert bench.read(FRAME) == pointer.encode()
    assert status() == ""
    bench.put_object(data)
    git(bench.path, "lfs", "checkout")
    assert bench.read(FRAME) == data
    second = bench.put_object(b"second")
    bench.publish(**{FRAME: second.encode()})
    assert (bench.read(FRAME), status()) == (b"second", "")


def test_an_edited_dataframe_stays(bench, status):
    bench.publish(**{FRAME: bench.put_object(b"first").encode()})
    (bench.path / FRAME).unlink()
    bench.write(FRAME, b"mine!")
    bench.publish(**{FRAME: bench.put_object(b"second").encode()})
    assert bench.read(FRAME) == b"mine!"
    assert status() == f" M {FRAME}\n"


def test_an_empty_artifact_is_an_empty_file(bench, status):
    bench.publish(**{"tables/t/artifacts/empty": b""})
    assert bench.read("tables/t/artifacts/empty") == b""
    assert status() == ""


def test_an_artifact_may_have_the_longest_name(bench, status):
    name = f"tables/t/artifacts/{'n' * 255}"
    bench.publish(**{name: bench.put_object(b"x").encode(), f"code/{'m' * 252}.py": b"1"})
    assert bench.read(name) == b"x"
    assert status() == ""


def test_an_executable_artifact_can_be_run_and_shares_no_mode(bench, status):
    pointer = bench.put_object(b"#!/bin/sh\n")
    bench.commit(
        Put(path="tables/t/artifacts/run", data=pointer.encode(), executable=True),
        Put(path="tables/t/artifacts/text", data=pointer.encode()),
    )
    bench.refresh()
    assert os.access(bench.path / "tables/t/artifacts/run", os.X_OK)
    assert not (bench.path / "tables/t/artifacts/text").stat().st_mode & 0o111
    assert status() == ""
