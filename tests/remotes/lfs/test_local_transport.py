"""Copies to and from repositories on this machine."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from tablevault.errors import TVFileError, TVRemoteError, TVTransferError
from tablevault.files import links
from tablevault.remotes.lfs.transfer import open_transport
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import error_of, fetch, push


@pytest.fixture
def bare(tmp_path, git):
    """Make a bare repository."""
    path = tmp_path / "bare.git"
    path.mkdir()
    git(path, "init", "-q", "--bare")
    return path


def object_of(folder, pointer):
    return folder / "lfs/objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid


def test_objects_are_copied_there_and_back(here, place, bare, contents):
    made = contents(30)
    pointers = here.add(*made)
    report, counted = push(here, pointers, str(bare))
    assert (report.objects, report.bytes, report.present) == (30, sum(map(len, made)), 0)
    assert counted["objects sent"] == 30
    assert counted["send"] == report.bytes
    there = place("there")
    report, counted = fetch(there, pointers, f"file://{bare}")
    assert (report.objects, report.bytes) == (30, sum(map(len, made)))
    assert [there.read(pointer) for pointer in pointers] == made
    assert counted["receive"] == report.bytes
    assert not list((bare / "lfs/tmp").iterdir())
    assert not list((there.path / ".git/tablevault/incomplete").iterdir())


def test_only_objects_are_listed(here, bare, contents):
    pointers = here.add(*contents(2))
    push(here, pointers, str(bare))
    (bare / "lfs/objects/ab/cd").mkdir(parents=True)
    (bare / "lfs/objects/ab/cd/note.txt").touch()
    with closing(open_transport(here.path, str(bare), "upload")) as transport:
        assert {each.oid for each in transport.every()} == {each.oid for each in pointers}


def test_two_vaults_never_share_an_inode(here, place, bare, contents):
    pointers = here.add(*contents(2))
    push(here, pointers, str(bare))
    there = place("there")
    fetch(there, pointers, str(bare))
    for pointer in pointers:
        files = [here.store.file(pointer), object_of(bare, pointer), there.store.file(pointer)]
        assert len({file.stat().st_ino for file in files}) == 3


def test_what_is_there_is_not_copied_again(here, bare, contents):
    pointers = here.add(*contents(5))
    push(here, pointers[:2], str(bare))
    before = object_of(bare, pointers[0]).stat()
    report, _ = push(here, pointers, str(bare))
    assert (report.objects, report.present) == (3, 2)
    assert object_of(bare, pointers[0]).stat() == before


def test_half_an_object_is_none(here, bare, contents):
    made = contents(1)
    [pointer] = here.add(*made)
    object_of(bare, pointer).parent.mkdir(parents=True)
    object_of(bare, pointer).write_bytes(made[0][:100])
    assert push(here, [pointer], str(bare))[0].objects == 1
    assert object_of(bare, pointer).read_bytes() == made[0]


def test_a_path_may_be_relative_and_name_a_working_tree(here, place, contents):
    there = place("there")
    pointers = here.add(*contents(2))
    here.git("remote", "add", "origin", "../there")
    assert push(here, pointers)[0].objects == 2
    assert there.store.has(pointers[0])
    assert there.read(pointers[1]) == here.read(pointers[1])


def test_a_second_working_tree_has_the_objects_of_the_first(here, place, contents, tmp_path):
    there = place("there")
    there.git("commit", "-q", "--allow-empty", "-m", "x")
    there.git("worktree", "add", "-q", tmp_path / "second")
    pointers = here.add(*contents(2))
    assert push(here, pointers, str(tmp_path / "second"))[0].objects == 2
    assert there.store.has(pointers[0])


def test_an_object_that_is_not_there_is_named(here, bare, contents):
    pointers = [pointer_of(each) for each in contents(2)]
    report, _ = fetch(here, pointers, str(bare))
    assert [failure.error.code for failure in report.failures] == [404, 404]
    assert f'The repository "{bare}" does not have object' in str(report.failures[0].error)


def test_a_damaged_object_is_not_taken(here, bare, contents):
    made = contents(1)
    pointer = pointer_of(made[0])
    object_of(bare, pointer).parent.mkdir(parents=True)
    object_of(bare, pointer).write_bytes(bytes(pointer.size))
    report, _ = fetch(here, [pointer], str(bare))
    assert "sent wrong bytes" in str(error_of(report))
    assert not here.store.has(pointer)


def test_a_damaged_object_is_not_given(here, bare, contents, monkeypatch):
    [pointer] = here.add(*contents(1))
    path = here.store.file(pointer)
    monkeypatch.setattr(here.store, "file", lambda _: path)
    path.chmod(0o644)
    path.write_bytes(bytes(pointer.size))
    report, _ = push(here, [pointer], str(bare))
    assert "changed during the copy" in str(error_of(report))
    assert not object_of(bare, pointer).exists()
    assert not list((bare / "lfs/tmp").iterdir())


def test_a_copy_goes_on_where_the_last_one_stopped(here, place, bare, contents):
    made = contents(1, size=3_000_000)
    [pointer] = here.add(*made)
    push(here, [pointer], str(bare))
    there = place("there")
    there.leave(pointer, made[0][:2_000_000])
    report, counted = fetch(there, [pointer], str(bare))
    assert (report.objects, report.bytes) == (1, len(made[0]) - 2_000_000)
    assert counted["receive"] == len(made[0])


def test_blocks_are_shared_where_the_file_system_can(here, place, bare, contents, monkeypatch):
    cloned = []

    def clone(source, target):
        cloned.append(os.sendfile(target, source, 0, os.fstat(source).st_size))
        os.lseek(target, 0, os.SEEK_SET)
        return True

    monkeypatch.setattr(links, "clone", clone)
    made = contents(2)
    pointers = here.add(*made)
    assert push(here, pointers, str(bare))[0].objects == 2
    there = place("there")
    assert fetch(there, pointers, str(bare))[0].objects == 2
    assert len(cloned) == 4
    assert [there.read(pointer) for pointer in pointers] == made


def test_shared_blocks_are_checked_as_well(here, bare, contents, monkeypatch):
    def clone(_, target):
        os.pwrite(target, b"wrong", 0)
        return True

    monkeypatch.setattr(links, "clone", clone)
    [pointer] = here.add(*contents(1))
    report, _ = push(here, [pointer], str(bare))
    assert "changed during the copy" in str(error_of(report))


@pytest.mark.parametrize(
    ("umask", "shared", "file", "folder"),
    [
        (0o022, "umask", 0o644, 0o755),
        (0o077, "umask", 0o600, 0o700),
        (0o022, "group", 0o664, 0o2775),
        (0o077, "group", 0o660, 0o2770),
        (0o077, "all", 0o664, 0o2775),
        (0o022, "0660", 0o664, 0o2775),
    ],
)
def test_permissions_are_those_of_the_repository(
    here, tmp_path, git, contents, umask, shared, file, folder
):
    path = tmp_path / "shared.git"
    path.mkdir()
    git(path, "init", "-q", "--bare", f"--shared={shared}")
    pointers = here.add(*contents(2))
    before = os.umask(umask)
    try:
        push(here, pointers, str(path))
    finally:
        os.umask(before)
    target = object_of(path, pointers[0])
    assert stat.S_IMODE(target.stat().st_mode) == file
    for parent in (target.parent, target.parent.parent, path / "lfs/objects", path / "lfs"):
        assert stat.S_IMODE(parent.stat().st_mode) == folder


@pytest.mark.parametrize("shared", ["group", "all", "umask"])
def test_git_lfs_gives_no_permission_that_we_do_not(here, place, contents, program, shared):
    program("git-lfs")
    there = place("there")
    there.set("core.sharedRepository", shared)
    there.git("lfs", "install", "--local")
    there.git("lfs", "track", "*.bin")
    made = contents(2)
    (there.path / "a.bin").write_bytes(made[0])
    there.git("add", ".")
    push(here, here.add(made[1]), str(there.path))
    files = [object_of(there.path / ".git", pointer_of(each)) for each in made]
    modes = [[stat.S_IMODE(each.stat().st_mode) for each in (file, file.parent)] for file in files]
    # git-lfs 3.3 takes from others what the umask would leave them; git does not, nor do we.
    assert [theirs & ours for theirs, ours in zip(*modes, strict=True)] == modes[0]
    assert modes[0] == modes[1] or shared != "umask"


def test_leftovers_of_a_crash_are_removed_after_a_day(here, bare, contents):
    pointers = here.add(*contents(1))
    folder = bare / "lfs/tmp"
    folder.mkdir(parents=True)
    names = [f"{pointers[0].oid}-tablevault-{'0' * 16}", f"{pointers[0].oid}-tablevault-{'1' * 16}"]
    for name in (*names, "of-git-lfs"):
        (folder / name).write_text("x")
    old = time.time() - 100_000
    for name in (names[0], "of-git-lfs"):
        os.utime(folder / name, (old, old))
    push(here, pointers, str(bare))
    assert sorted(path.name for path in folder.iterdir()) == sorted([names[1], "of-git-lfs"])


def test_a_full_disk_of_the_remote_is_reported(here, bare, contents, monkeypatch):
    fsync = os.fsync

    def refuse(descriptor):
        if "/lfs/tmp/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    pointers = here.add(*contents(1))
    monkeypatch.setattr(os, "fsync", refuse)
    report, _ = push(here, pointers, str(bare))
    assert isinstance(error_of(report), TVTransferError)
    assert "did not take object" in str(error_of(report))
    assert "Free some space" in str(error_of(report))
    assert not list((bare / "lfs/tmp").iterdir())


def test_a_repository_that_may_not_be_written_is_reported(here, bare, contents):
    (bare / "lfs").write_text("in the way")
    report, _ = push(here, here.add(*contents(1)), str(bare))
    assert "did not take object" in str(error_of(report))
    assert "Ask its owner" in str(error_of(report))


def test_an_object_that_cannot_be_read_is_reported(here, bare, contents, monkeypatch):
    made = contents(2)
    for each in made:
        target = object_of(bare, pointer_of(each))
        target.parent.mkdir(parents=True)
        target.write_bytes(each)
    target = object_of(bare, pointer_of(made[0]))
    opened = Path.open

    def refuse(self, *arguments, **more):
        if self == target:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    report, counted = fetch(here, [pointer_of(each) for each in made], str(bare))
    assert report.objects == 1
    assert "cannot be read: Permission denied" in str(error_of(report))
    assert counted["retries"] == 0


def test_an_object_that_is_missing_here_fails_alone(here, bare, contents):
    made = contents(2)
    pointers = [*here.add(made[0]), pointer_of(made[1])]
    report, _ = push(here, pointers, str(bare))
    assert report.objects == 1
    assert isinstance(error_of(report), TVFileError)
    assert "is not in this vault" in str(error_of(report))


def test_a_place_without_a_repository_is_named(here, tmp_path):
    with pytest.raises(TVRemoteError, match="no git repository at"):
        push(here, [], str(tmp_path / "nowhere"))
