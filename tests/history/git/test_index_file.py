"""Git's index file, held against stock git."""

from __future__ import annotations

import contextlib
import os
import string
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.errors import TVFileError
from tablevault.history.git.index_file import GitIndex, GitIndexBusyError, read_index

EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

letters = st.text(
    st.one_of(
        st.sampled_from(string.printable.replace("/", "").replace("\\", "")),
        st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"),
    ),
    min_size=1,
    max_size=12,
).filter(lambda name: name.strip(". ") and "git" not in name.lower() and ":" not in name)
paths = st.one_of(
    st.lists(letters, min_size=1, max_size=4).map("/".join),
    st.integers(4090, 4200).map(lambda length: "/".join(["d" * 199] * 25)[:length].strip("/")),
).filter(lambda path: len(path.encode()) < 5000)


@pytest.fixture
def work(git, tmp_path):
    """A repository with a few files of each kind."""
    git(tmp_path, "init", "-q", "-b", "main")
    for name in ("a", "b", "sub/c", "sub/deep/d", "é/x y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, "utf-8")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("a")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "x")
    return tmp_path


@pytest.fixture(scope="session")
def bare(git, tmp_path_factory):
    path = tmp_path_factory.mktemp("bare")
    git(path, "init", "-q")
    git(path, "hash-object", "-w", "--stdin")
    git(path, "config", "core.protectNTFS", "false")
    return path


def index_of(path):
    return path / ".git/index"


def listed(git, path):
    """Return what git reads: mode, id, stage and name of each entry, with flags and stat."""
    tags = git(path, "ls-files", "-z", "-s", "-v").split("\0")[:-1]
    debug = git(path, "ls-files", "-z", "--debug")
    return tags, debug


def rewritten(path):
    """Read and write the index of git, and give it."""
    index = read_index(index_of(path))
    index.write(index_of(path))
    return index


@pytest.mark.parametrize("version", [2, 3, 4])
def test_an_index_of_git_is_read_and_written_alike(git, work, version):
    git(work, "update-index", f"--index-version={version}")
    git(work, "update-index", "--assume-unchanged", "b")
    if version != 2:
        git(work, "update-index", "--skip-worktree", "a")
    before = listed(git, work)
    index = rewritten(work)
    assert listed(git, work)[0] == before[0]
    assert stats(listed(git, work)[1]) == stats(before[1])
    assert index.blob("sub/c") == git(work, "rev-parse", "HEAD:sub/c").strip()
    assert not git(work, "status", "--porcelain")
    assert not git(work, "fsck", "--strict")


def stats(debug):
    """Take the stat lines out of `git ls-files --debug`, flags apart."""
    return [line.split("\tflags")[0] for line in debug.splitlines() if line.startswith("  ")]


def test_extensions_of_git_are_dropped_and_made_again(git, work):
    git(work, "update-index", "--force-untracked-cache")
    git(work, "status")
    assert b"TREE" in index_of(work).read_bytes()
    rewritten(work)
    assert b"TREE" not in index_of(work).read_bytes()
    assert not git(work, "status", "--porcelain")
    (work / "new").write_text("new")
    git(work, "add", "new")
    git(work, "commit", "-q", "-m", "y")
    assert not git(work, "status", "--porcelain")


def test_a_missing_index_is_empty(tmp_path):
    assert read_index(tmp_path / "index").entries == {}


def test_an_empty_index_is_one_that_git_reads(git, work):
    index = read_index(index_of(work))
    index.entries.clear()
    index.write(index_of(work))
    assert git(work, "ls-files") == ""


def test_conflict_stages_are_kept(git, work):
    git(work, "checkout", "-q", "-b", "other")
    (work / "a").write_text("theirs")
    git(work, "commit", "-q", "-am", "theirs")
    git(work, "checkout", "-q", "main")
    (work / "a").write_text("ours")
    git(work, "commit", "-q", "-am", "ours")
    git(work, "merge", "other", check=False)
    before = listed(git, work)
    assert len({line.split("\t")[0] for line in before[0] if line.endswith("\ta")}) == 3
    index = rewritten(work)
    assert listed(git, work)[0] == before[0]
    assert index.blob("a") is None
    assert index.is_unmerged("a")
    assert not index.is_unmerged("b")
    index = read_index(index_of(work))
    index.remove("a")
    index.write(index_of(work))
    assert "\ta" not in git(work, "ls-files", "-s")


def test_an_intention_to_add_is_kept_and_stages_nothing(git, work):
    (work / "new").write_text("new")
    git(work, "add", "-N", "new")
    before = git(work, "status", "--porcelain")
    index = rewritten(work)
    assert git(work, "status", "--porcelain") == before == " A new\n"
    assert index.blob("new") is None


def test_a_sparse_checkout_is_kept(git, work):
    git(work, "update-index", "--skip-worktree", "a")
    (work / "a").unlink()
    index = rewritten(work)
    assert index.is_skipped("a")
    assert not index.is_skipped("b")
    assert not git(work, "status", "--porcelain")


def test_an_entry_that_is_put_is_clean_for_git(git, work):
    (work / "n e w").write_text("content")
    (work / "tool").write_text("#!")
    (work / "tool").chmod(0o755)
    index = read_index(index_of(work))
    for name, executable in (("n e w", False), ("tool", True)):
        blob = git(work, "hash-object", "-w", name).strip()
        index.put(name, blob, (work / name).lstat(), executable=executable)
    index.write(index_of(work))
    assert git(work, "status", "--porcelain") == 'A  "n e w"\nA  tool\n'
    assert not git(work, "diff-files")
    index = read_index(index_of(work))
    index.remove("tool")
    index.remove("nothing")
    index.write(index_of(work))
    assert git(work, "status", "--porcelain") == 'A  "n e w"\n?? tool\n'


def test_the_stat_of_an_entry_is_the_one_that_git_writes(git, work):
    index = read_index(index_of(work))
    blob = index.blob("a")
    assert blob is not None
    index.put("a", blob, (work / "a").lstat(), executable=False)
    before = stats(git(work, "ls-files", "--debug"))
    index.write(index_of(work))
    assert stats(git(work, "ls-files", "--debug")) == before


def test_an_entry_without_a_stat_is_compared_by_git(git, work):
    index = read_index(index_of(work))
    blob = index.blob("a")
    assert blob is not None
    index.put("a", blob, None, executable=False)
    index.write(index_of(work))
    assert not git(work, "status", "--porcelain")
    (work / "a").write_text("A")
    assert git(work, "status", "--porcelain") == " M a\n"


def test_a_file_is_fresh_until_it_changes(work):
    path = work / "a"
    os.utime(path, ns=(10**18, 10**18))
    index = read_index(index_of(work))
    blob = index.blob("a")
    assert blob is not None
    index.put("a", blob, path.lstat(), executable=False)
    index.write(index_of(work))
    index = read_index(index_of(work))
    assert index.is_fresh("a", path.lstat())
    os.link(path, work / "second")
    assert index.is_fresh("a", path.lstat()), "a new link changes the ctime, not the bytes"
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert not index.is_fresh("a", path.lstat())
    os.utime(path, ns=(10**18, 10**18))
    path.write_text("longer")
    assert not index.is_fresh("a", path.lstat())
    assert not index.is_fresh("nowhere", path.lstat())


def test_a_file_that_is_not_older_than_the_index_may_have_changed_unseen(work):
    index = read_index(index_of(work))
    blob = index.blob("a")
    assert blob is not None
    index.put("a", blob, (work / "a").lstat(), executable=False)
    index.write(index_of(work))
    status = (work / "a").lstat()
    os.utime(index_of(work), ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert not read_index(index_of(work)).is_fresh("a", status)


def test_a_busy_index_is_not_written(git, work):
    index = read_index(index_of(work))
    before = index_of(work).read_bytes()
    lock = work / ".git/index.lock"
    lock.write_bytes(b"of git")
    index.remove("a")
    with pytest.raises(GitIndexBusyError):
        index.write(index_of(work))
    assert index_of(work).read_bytes() == before
    assert lock.read_bytes() == b"of git"


def test_git_waits_for_an_index_that_is_being_written(work, monkeypatch):
    index = read_index(index_of(work))
    answers = []
    encode = index.encode

    def slow():
        done = subprocess.run(
            ["git", "-C", str(work), "add", "a"], capture_output=True, check=False
        )
        answers.append(done.returncode)
        return encode()

    monkeypatch.setattr(index, "encode", slow)
    index.write(index_of(work))
    assert answers == [128]


def test_what_git_staged_since_the_index_was_read_is_not_overwritten(git, work):
    index = read_index(index_of(work))
    (work / "new").write_text("new")
    git(work, "add", "new")
    with pytest.raises(GitIndexBusyError):
        index.write(index_of(work))
    assert git(work, "status", "--porcelain") == "A  new\n"
    assert not (work / ".git/index.lock").exists()


def test_a_write_that_fails_leaves_no_lock(work, monkeypatch):
    index = read_index(index_of(work))

    def fail():
        raise MemoryError

    monkeypatch.setattr(index, "encode", fail)
    with pytest.raises(MemoryError):
        index.write(index_of(work))
    assert not (work / ".git/index.lock").exists()


@pytest.mark.parametrize("damage", [b"", b"DIRC", b"x" * 200])
def test_a_damaged_index_is_an_error_with_a_remedy(work, damage):
    index_of(work).write_bytes(damage)
    with pytest.raises(TVFileError, match="git reset"):
        read_index(index_of(work))


@given(st.data())
def test_an_index_that_is_cut_off_is_an_error_or_read(bare, git, data):
    index = GitIndex({})
    for name in "abc":
        index.put(name, EMPTY_BLOB, None, executable=False)
    whole = index.encode()
    path = bare / ".git/torn"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with contextlib.suppress(TVFileError):
        assert set(read_index(path).entries) == set(index.entries)


def test_a_split_index_is_refused(git, work):
    git(work, "update-index", "--split-index")
    with pytest.raises(TVFileError, match="link"):
        read_index(index_of(work))


def test_a_sparse_index_is_refused(git, work):
    git(work, "sparse-checkout", "set", "--cone", "--sparse-index", "sub")
    with pytest.raises(TVFileError, match="sdir"):
        read_index(index_of(work))


@given(st.lists(paths, unique=True, max_size=12), st.sampled_from([2, 4]))
def test_git_reads_any_paths_that_are_written_and_we_those_of_git(bare, git, names, version):
    names = [
        name
        for name in names
        if not any(other != name and other.startswith(f"{name}/") for other in names)
    ]
    index = read_index(index_of(bare))
    index.entries.clear()
    for number, name in enumerate(names):
        index.put(name, EMPTY_BLOB, None, executable=bool(number % 2))
    index.write(index_of(bare))
    expected = sorted(names, key=lambda name: name.encode())
    assert git(bare, "ls-files", "-z").split("\0")[:-1] == expected
    git(bare, "update-index", f"--index-version={version}", "--force-write-index")
    assert facts(read_index(index_of(bare))) == facts(index)


def facts(index):
    """Return what is said of each path; the flags hold the length of its name."""
    return {key: (entry.blob, entry.stat) for key, entry in index.entries.items()}


def test_a_file_system_without_hard_links_will_do(vault, repo_path, git, monkeypatch):
    def refuse(*_, **__):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    vault.create_table("papers")
    assert git(repo_path, "status", "--porcelain") == ""
    (repo_path / ".git/index.lock").touch()
    with pytest.raises(GitIndexBusyError):
        read_index(repo_path / ".git/index").write(repo_path / ".git/index")
