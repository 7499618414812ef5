"""Refs move together or not at all, ``main`` first, and no commit is lost."""

from __future__ import annotations

import subprocess
import threading

import pytest

from tablevault.errors import TVLockError
from tablevault.history.git import refs
from tablevault.history.git.refs import (
    PartlyMovedError,
    RefBusyError,
    RefMove,
    RefMovedError,
    move_refs,
)
from tablevault.names import MAIN, TempRef
from tests.history.git.writing import commit

TEMP = TempRef(table="t", version="base").ref
TAG = "refs/tags/t/base_1"


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


def test_a_ref_that_may_not_survive_has_moved_and_is_told(repository, monkeypatch, caplog):
    def full(path):
        raise OSError(28, "No space left on device")

    new = commit(repository)
    monkeypatch.setattr(refs, "sync_file", full)
    move_refs(repository, [RefMove(ref=MAIN, old=repository.main(), new=new)], "r")
    assert repository.main() == new
    assert f"Ref {MAIN} has moved, but may not survive" in caplog.text
