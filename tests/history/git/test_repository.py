"""Refs move together or not at all, ``main`` first, and no commit is lost."""

from __future__ import annotations

import os
import subprocess
import threading

import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tablevault.errors import TVFileError, TVLockError
from tablevault.history.git import refs
from tablevault.history.git import repository as repository_module
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import (
    PartlyMovedError,
    RefBusyError,
    RefMove,
    RefMovedError,
    move_refs,
)
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Put, write_tree
from tablevault.names import MAIN, TempRef

TEMP = TempRef(table="t", version="base").ref
TAG = "refs/tags/t/base_1"


@pytest.fixture
def repository(new_repository):
    return new_repository()


@pytest.fixture(scope="session")
def shared(new_repository):
    return new_repository()


def commit(repository, parent=None, *, path="f", data=b"1", author="Ana", at=1_700_000_000.0):
    """Write a commit on `parent`, the tip of ``main`` when None."""
    parent = parent or repository.main()
    return repository.write_commit(
        parents=[parent],
        base=parent,
        edits=[Put(path=path, data=data)],
        message=Message(subject="s", trailers=(("Vault-Process", "p"),)),
        author=author,
        at=at,
    )


def all_refs(repository):
    return {**repository.refs("refs/heads/"), **repository.refs("refs/tags/")}


def no_locks(repository):
    return not list(repository.git_dir.rglob("*.lock"))


def test_refs_move_together(repository, git):
    main = repository.main()
    new = commit(repository)
    move_refs(
        repository,
        [
            RefMove(ref=TEMP, old=None, new=new),
            RefMove(ref=MAIN, old=main, new=new),
            RefMove(ref=TAG, old=None, new=main),
        ],
        "reason",
    )
    assert all_refs(repository) == {MAIN: new, TEMP: new, TAG: main}
    assert git(repository.path, "rev-parse", "main").strip() == new
    assert "reason" in git(repository.path, "reflog", "-1", "main")


def test_a_ref_can_be_removed(repository):
    main = repository.main()
    move_refs(repository, [RefMove(ref=TEMP, old=None, new=main)], "r")
    move_refs(repository, [RefMove(ref=TEMP, old=main, new=None)], "r")
    assert all_refs(repository) == {MAIN: main}


def test_a_packed_ref_can_be_moved_and_removed(repository, git):
    main = repository.main()
    new = commit(repository)
    move_refs(repository, [RefMove(ref=TEMP, old=None, new=main)], "r")
    git(repository.path, "pack-refs", "--all")
    move_refs(
        repository,
        [RefMove(ref=MAIN, old=main, new=new), RefMove(ref=TEMP, old=main, new=None)],
        "r",
    )
    assert all_refs(repository) == {MAIN: new}


def test_a_tip_is_found_however_git_keeps_the_ref(repository, git):
    main = repository.main()
    new = commit(repository)
    git(repository.path, "update-ref", TEMP, new)
    git(repository.path, "symbolic-ref", "refs/heads/alias", TEMP)
    assert [repository.tip(ref) for ref in (MAIN, TEMP, "refs/heads/alias")] == [main, new, new]
    git(repository.path, "pack-refs", "--all")
    assert [repository.tip(ref) for ref in (MAIN, TEMP, "refs/heads/alias")] == [main, new, new]
    git(repository.path, "update-ref", MAIN, new)
    assert repository.main() == new
    assert repository.tip("refs/heads/temp") is None
    assert repository.tip("refs/heads/none") is None


@pytest.mark.parametrize("wrong", [MAIN, TEMP, TAG])
def test_a_ref_that_is_elsewhere_stops_all_moves(repository, wrong):
    main = repository.main()
    new, other = commit(repository), commit(repository, data=b"2")
    before = all_refs(repository)
    moves = [
        RefMove(ref=ref, old=main if ref == MAIN else None, new=new) for ref in (TEMP, MAIN, TAG)
    ]
    moves = [
        RefMove(ref=move.ref, old=other, new=new) if move.ref == wrong else move for move in moves
    ]
    with pytest.raises(RefMovedError, match=wrong):
        move_refs(repository, moves, "r")
    assert all_refs(repository) == before
    assert no_locks(repository)


def test_a_ref_that_is_there_is_not_made_anew(repository):
    main = repository.main()
    move_refs(repository, [RefMove(ref=TEMP, old=None, new=main)], "r")
    with pytest.raises(RefMovedError):
        move_refs(repository, [RefMove(ref=TEMP, old=None, new=commit(repository))], "r")
    assert repository.tip(TEMP) == main


@pytest.mark.parametrize("locked", [MAIN, TEMP, TAG])
def test_a_lock_of_stock_git_stops_all_moves_and_is_respected(repository, locked):
    main = repository.main()
    new = commit(repository)
    before = all_refs(repository)
    lock = repository.git_dir / f"{locked}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    with pytest.raises(RefBusyError):
        move_refs(
            repository,
            [
                RefMove(ref=TEMP, old=None, new=new),
                RefMove(ref=MAIN, old=main, new=new),
                RefMove(ref=TAG, old=None, new=new),
            ],
            "r",
        )
    assert all_refs(repository) == before
    assert [path.name for path in repository.git_dir.rglob("*.lock")] == [lock.name]


def test_git_cannot_move_main_while_the_vault_holds_it(repository, git, monkeypatch):
    main, new = repository.main(), commit(repository)
    answers = []

    def compare(_, moves):
        command = ["git", "-C", str(repository.path), "update-ref", MAIN, new, main]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        answers.append(done.stderr)

    monkeypatch.setattr(refs, "_compare", compare)
    move_refs(repository, [RefMove(ref=MAIN, old=main, new=new)], "r")
    assert "Unable to create" in answers[0]
    assert repository.main() == new


def test_main_moves_before_all_others(repository, git):
    main, new = repository.main(), commit(repository)
    move_refs(repository, [RefMove(ref=TEMP, old=None, new=main)], "r")
    git(repository.path, "pack-refs", "--all")
    # As `git pack-refs` or `git gc` do, which run by themselves now and then.
    (repository.git_dir / "packed-refs.lock").touch()
    with pytest.raises(PartlyMovedError):
        move_refs(
            repository,
            [RefMove(ref=TEMP, old=main, new=None), RefMove(ref=MAIN, old=main, new=new)],
            "r",
        )
    assert repository.main() == new
    assert repository.tip(TEMP) == main


def test_a_branch_in_the_way_is_an_error_that_says_so(repository, git):
    git(repository.path, "branch", "temp")
    with pytest.raises(TVLockError, match="temp"):
        move_refs(repository, [RefMove(ref=TEMP, old=None, new=repository.main())], "r")
    assert no_locks(repository)


def test_threads_that_race_lose_no_commit(repository, git):
    def work(name):
        for number in range(12):
            while True:
                tip = repository.main()
                new = commit(repository, tip, path=f"{name}{number}")
                try:
                    move_refs(repository, [RefMove(ref=MAIN, old=tip, new=new)], "r")
                except (RefMovedError, RefBusyError):
                    continue
                break

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = git(repository.path, "ls-tree", "--name-only", "main").split()
    assert {f"{name}{number}" for name in "abc" for number in range(12)} <= set(listed)
    assert git(repository.path, "rev-list", "--count", "main").strip() == "37"


def test_processes_that_race_stock_git_lose_no_commit(repository, git, python, finish):
    script = """
import sys
from pathlib import Path
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import *
from tablevault.history.git.repository import *
from tablevault.history.git.trees import Put
from tablevault.names import MAIN
repository = Repository(Path(sys.argv[1]))
for number in range(5):
    while True:
        tip = repository.main()
        new = repository.write_commit(parents=[tip], base=tip, message=Message(subject="s"),
            edits=[Put(path=f"{sys.argv[2]}{number}", data=b"")], author="A", at=1.7e9)
        try:
            move_refs(repository, [RefMove(ref=MAIN, old=tip, new=new)], "r")
        except (RefMovedError, RefBusyError):
            continue
        break
"""
    path = repository.path
    children = [python(script, path, name) for name in "ab"]
    made = 0
    while any(child.poll() is None for child in children):
        tip = repository.main()
        new = git(path, "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", "by hand").strip()
        command = ["git", "-C", str(path), "update-ref", MAIN, new, tip]
        made += subprocess.run(command, capture_output=True, check=False).returncode == 0
    for child in children:
        finish(child)
    assert git(path, "rev-list", "--count", "main").strip() == str(11 + made)
    assert len(git(path, "ls-tree", "--name-only", "main").split()) == 10 + 3


def test_a_vault_without_main_is_an_error_with_a_remedy(repository, git):
    git(repository.path, "checkout", "-q", "-b", "other")
    git(repository.path, "branch", "-q", "-D", "main")
    with pytest.raises(TVFileError, match="git branch main"):
        repository.main()


def test_a_folder_without_a_repository_is_an_error(tmp_path):
    with pytest.raises(TVFileError, match="cannot be opened"):
        Repository(tmp_path).main()


@pytest.mark.parametrize("pack", [False, True])
def test_temporary_branches_are_found_loose_and_packed(repository, git, pack):
    main = repository.main()
    refs = [TempRef(table="t", version=version).ref for version in ("base", "x.lock", "a b", "é")]
    move_refs(repository, [RefMove(ref=ref, old=None, new=main) for ref in refs], "r")
    git(repository.path, "branch", "other")
    git(repository.path, "branch", "temporary")
    git(repository.path, "tag", "temp/t/base")
    if pack:
        git(repository.path, "pack-refs", "--all")
        new = commit(repository)
        move_refs(repository, [RefMove(ref=refs[0], old=main, new=new)], "r")
        move_refs(repository, [RefMove(ref=refs[1], old=main, new=None)], "r")
        assert repository.temp_refs() == {refs[0]: new, refs[2]: main, refs[3]: main}
    else:
        assert repository.temp_refs() == dict.fromkeys(refs, main)


def test_a_lock_is_no_temporary_branch(repository):
    main = repository.main()
    move_refs(repository, [RefMove(ref=TEMP, old=None, new=main)], "r")
    (repository.git_dir / f"{TEMP}.lock").touch()
    assert repository.temp_refs() == {TEMP: main}


def test_the_working_tree_belongs_to_main_unless_head_is_elsewhere(repository, git):
    assert repository.head_is_main()
    git(repository.path, "checkout", "-q", "--detach")
    assert not repository.head_is_main()
    git(repository.path, "checkout", "-q", "-b", "main2")
    assert not repository.head_is_main()
    git(repository.path, "checkout", "-q", "main")
    assert repository.head_is_main()


def test_refs_are_seen_after_git_moved_them(repository, git):
    new = commit(repository)
    git(repository.path, "update-ref", MAIN, new)
    assert repository.main() == new
    git(repository.path, "pack-refs", "--all")
    assert repository.main() == new
    git(repository.path, "gc", "-q", "--prune=now")
    assert repository.commit(new).message.first("Vault-Process") == "p"


@pytest.mark.parametrize(
    ("author", "name", "email"),
    [
        ("Ana Lund <ana@example.org>", "Ana Lund", "ana@example.org"),
        ("ana", "ana", "ana@localhost"),
        ("Ana Lund", "Ana Lund", "ana-lund@localhost"),
        ("", "unknown", "unknown@localhost"),
        (" ", "unknown", "unknown@localhost"),
        ("<ana@example.org>", "ana@example.org", "ana@example.org"),
        ("Ana <>", "Ana", "ana@localhost"),
        ("...", "unknown", "unknown@localhost"),
        ("\\", "unknown", "unknown@localhost"),
        ("A <.>", "A", "a@localhost"),
        ("A\nB <a\nb@c>", "A B", "ab@c"),
        ("A\0B", "A B", "a-b@localhost"),
        ("Ána", "Ána", "-na@localhost"),
    ],
)
def test_any_author_becomes_a_name_and_an_address(shared, git, author, name, email):
    new = commit(shared, author=author)
    assert git(shared.path, "log", "-1", "--format=%an|%ae|%cn|%ce", new) == (
        f"{name}|{email}|{name}|{email}\n"
    )
    assert shared.commit(new).author == name


@given(st.text(max_size=30))
def test_no_author_makes_a_commit_that_git_finds_faulty(shared, git, author):
    new = commit(shared, author=author)
    assert not git(shared.path, "fsck", "--strict", "--no-dangling", "--no-progress", new)
    assert git(shared.path, "rev-parse", f"{new}^") == f"{shared.main()}\n"


def test_a_commit_is_read_as_it_was_written(shared):
    parent = shared.main()
    new = commit(shared, parent, at=1_700_000_123.9)
    found = shared.commit(new)
    assert (found.id, found.parents, found.author) == (new, (parent,), "Ana")
    assert found.at == 1_700_000_123.0
    assert found.message == Message(subject="s", trailers=(("Vault-Process", "p"),))


def test_ancestry_is_told(shared):
    old = shared.main()
    new = commit(shared, old)
    assert shared.is_ancestor(old, old)
    assert shared.is_ancestor(old, new)
    assert not shared.is_ancestor(new, old)
    assert shared.has(new)
    assert not shared.has("ab" * 20)


def test_a_child_of_a_fork_uses_a_handle_of_its_own(shared):
    tip = shared.main()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            commit(shared, tip, data=b"child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert shared.main() == tip


parts = st.text(st.sampled_from("ab.-0é\n"), min_size=1, max_size=3).filter(
    lambda part: part not in (".", "..")
)
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


def without_clashes(found):
    """Leave out files whose path is the folder of another one."""
    folders = {path[:at] for path in found for at, sign in enumerate(path) if sign == "/"}
    return {path: value for path, value in found.items() if path not in folders}


folders = st.dictionaries(
    paths, st.tuples(st.binary(max_size=300), st.booleans()), min_size=1, max_size=40
).map(without_clashes)


def pack_sizes(repository):
    """Return the sizes of the packs, smallest first."""
    return sorted(each.stat().st_size for each in repository.git_dir.glob("objects/pack/*.pack"))


@settings(max_examples=15)
@given(folders)
def test_many_files_make_the_tree_that_few_make(new_repository, files):
    repository = new_repository()
    puts = [Put(path=path, data=data, executable=run) for path, (data, run) in files.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository_module, "_MANY_FILES", 1)
        tree = repository.write_folder(puts, known=set())
    fresh = pygit2.Repository(str(repository.git_dir))
    for path, (data, _) in files.items():
        assert fresh[tree][path].data == data
    assert write_tree(repository.handle, None, puts)[-1] == tree


def test_many_files_become_one_pack_in_which_git_finds_nothing_wrong(repository, git):
    files = [Put(path=f"d{n % 7}/f{n}", data=b"%d" % n * n) for n in range(3000)]
    tree = repository.write_folder(files, known=set())
    (index,) = (repository.git_dir / "objects/pack").glob("*.idx")
    said = git(repository.path, "verify-pack", "--verbose", index)
    assert said.endswith(".pack: ok\n")
    assert len(git(repository.path, "ls-tree", "-r", tree).splitlines()) == 3000
    assert not git(repository.path, "fsck", "--strict", "--no-dangling", "--no-progress")
    assert {path.suffix for path in index.parent.iterdir()} == {".idx", ".pack"}


def test_a_few_files_stay_loose(repository):
    repository.write_folder([Put(path="f", data=b"x")], known=set())
    assert pack_sizes(repository) == []


def test_blobs_that_are_known_are_not_written_again(repository):
    files = [Put(path=f"f{n}", data=b"%d" % n * 20) for n in range(500)]
    tree = repository.write_folder(files, known=set())
    known = {str(entry.id) for entry in repository.handle[tree]}
    before = pack_sizes(repository)
    assert repository.write_folder(files, known=known) == tree
    assert pack_sizes(repository) == before
    repository.write_folder([*files, Put(path="one more", data=b"x")], known=known)
    assert pack_sizes(repository)[0] < 100


def test_many_files_need_the_program(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    files = [Put(path=f"f{n}", data=b"%d" % n) for n in range(500)]
    with pytest.raises(TVFileError, match="git cannot be run"):
        repository.write_folder(files, known=set())
