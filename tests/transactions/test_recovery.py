"""Crash recovery: roll forward what reached ``main``, otherwise back."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from contextvars import Context
from dataclasses import replace

import pytest

from tablevault import TableVault
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Put
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ProcessId, TempRef
from tablevault.transactions import recovery
from tablevault.transactions.records import RecordStore
from tablevault.transactions.recovery import (
    end_stopped,
    leftovers,
    needed_elsewhere,
    recover,
    roll_forward,
)


class DiedError(BaseException):
    """What a crash looks like from within."""


CHILD = """
import os, sys
from tablevault import TableVault
from tablevault.history.checkout import worktree
from tablevault.transactions import parts, transaction

path, point, action = sys.argv[1:]
vault = TableVault(path, "Ana")

def stop(*_, **__):
    print("here", flush=True)
    sys.stdin.read()

def after(function):
    def wrapped(*arguments, **options):
        result = function(*arguments, **options)
        stop()
        return result
    return wrapped

real_move = parts.move_refs
match point:
    case "before commit":
        transaction.write_change = stop
    case "before refs":
        parts.move_refs = stop
    case "between refs":
        def move(repository, moves, reason):
            real_move(repository, moves[:1], reason)
            stop()
        parts.move_refs = move
    case "after refs":
        parts.move_refs = after(real_move)
    case "amid files":
        worktree.WorkTree._stage = stop
    case "after files":
        transaction.follow = after(transaction.follow)
    case "before the end":
        transaction.Transaction.close = stop
eval(action)
"""
POINTS = [
    "before commit",
    "before refs",
    "between refs",
    "after refs",
    "amid files",
    "after files",
    "before the end",
]
HAPPENED = set(POINTS[2:])


@pytest.fixture
def kill_at(python, repo_path):
    """Run an action in a process of its own, and kill that at a point."""

    def kill_at(point, action):
        child = python(CHILD, repo_path, point, action)
        said = child.stdout.readline()
        assert said == "here\n", child.stderr.read()
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL

    return kill_at


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_a_table_is_made_wholly_or_not_at_all(
    vault, kill_at, repo_path, check_clean, author, point
):
    kill_at(point, "vault.create_table('stories', process_id='p')")
    again = TableVault(repo_path, author)
    assert ("stories" in again.get_table_instances("")) == (point in HAPPENED)
    if point not in HAPPENED:
        again.create_table("stories", process_id="p")
    assert again.get_process_completion("p")
    check_clean(repo_path)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_a_rename_moves_every_ref_or_none(
    vault, kill_at, git, repo_path, check_clean, author, point
):
    vault.create_table("old")
    vault.create_instance("old", builders={"q": "builder_type: IndexBuilder\n"})
    (repo_path / "temp/old/base/artifacts/mine").write_text("kept")
    kill_at(point, "vault.rename_table('new', 'old')")
    name = "new" if point in HAPPENED else "old"
    again = TableVault(repo_path, author)
    branches = git(repo_path, "for-each-ref", "--format=%(refname)", "refs/heads/temp").split()
    assert branches == [TempRef(table=name, version="base").ref]
    assert (repo_path / f"temp/{name}/base/artifacts/mine").read_text() == "kept"
    assert [path.name for path in (repo_path / "temp").iterdir()] == [name]
    again.delete_table(name)
    check_clean(repo_path)


@pytest.mark.faults
def test_what_died_holds_nothing_that_somebody_needs(
    vault, kill_at, repo_path, check_clean, author
):
    kill_at("before refs", "vault.create_table('stories')")
    TableVault(repo_path, author).create_table("stories")
    check_clean(repo_path)


@pytest.mark.faults
def test_a_vault_that_is_in_use_needs_not_be_opened_again(
    vault, kill_at, repo_path, check_clean, git
):
    kill_at("after refs", "vault.create_table('stories')")
    vault.create_table("other")
    assert set(git(repo_path, "ls-files", "tables").split()) == {
        "tables/other/table.yaml",
        "tables/stories/table.yaml",
    }
    assert not git(repo_path, "status", "--porcelain")
    vault.delete_table("stories")
    check_clean(repo_path)


def keep(process, data):
    """Store `data` for a process."""
    with process.new_draft() as draft:
        draft.write(data)
    process.keep([draft])
    return draft.pointer


def test_an_object_is_needed_by_whoever_pinned_it(parts, begin):
    with begin("tables/a") as one, begin("tables/b") as other:
        pointer = keep(one, b"rows")
        assert needed_elsewhere(parts, other.process_id)(pointer.oid)
        assert not needed_elsewhere(parts, one.process_id)(pointer.oid)


def test_an_object_on_a_temporary_branch_is_needed(vault, parts, begin):
    vault.create_table("t")
    vault.create_instance("t")
    with begin() as process:
        pointer = keep(process, b"rows")
    ref = TempRef(table="t", version="base").ref
    commit_on(parts.repository, ref, pointer.encode())
    assert needed_elsewhere(parts, ProcessId("p"))(pointer.oid)


def commit_on(repository, ref, frame):
    """Commit a dataframe file on the branch of a temporary instance, as a person could."""
    tip = repository.tip(ref)
    commit = repository.write_commit(
        parents=[tip],
        base=tip,
        edits=[Put(path="tables/t/base/dataframe.parquet", data=frame)],
        message=Message(subject="by hand"),
        author="Ana",
        at=1_700_000_000.0,
    )
    move_refs(repository, [RefMove(ref=ref, old=tip, new=commit)], "by hand")


def test_a_file_committed_around_lfs_stops_no_rollback(vault, parts, begin, repo_path, check_clean):
    vault.create_table("t")
    vault.create_instance("t")
    commit_on(parts.repository, TempRef(table="t", version="base").ref, b"no pointer")
    with pytest.raises(ZeroDivisionError), begin("tables/x") as process:
        pointer = keep(process, b"rows")
        raise ZeroDivisionError
    assert not parts.store.has(pointer)
    check_clean(repo_path)


def test_an_object_that_nothing_names_is_not_needed(parts):
    assert not needed_elsewhere(parts, ProcessId("p"))(Pointer(oid="ab" * 32, size=1).oid)


def test_an_end_that_cannot_be_remembered_is_taken_back_all_the_same(begin, parts, monkeypatch):
    def remember(*_):
        raise OSError("full")

    monkeypatch.setattr(RecordStore, "remember", remember)
    with pytest.raises(ZeroDivisionError), begin() as process:
        pointer = keep(process, b"rows")
        raise ZeroDivisionError
    assert not parts.store.has(pointer)
    assert list(parts.files.every()) == []


def test_a_branch_below_temp_that_is_no_temporary_instance_needs_nothing(parts):
    main = parts.repository.main()
    move_refs(parts.repository, [RefMove(ref="refs/heads/temp/x", old=None, new=main)], "by hand")
    assert not needed_elsewhere(parts, ProcessId("p"))(Pointer(oid="ab" * 32, size=1).oid)


def test_a_stopped_process_that_has_ended_or_happened_is_not_taken_back(begin, plan, parts):
    with parts.files.mutex():
        assert not end_stopped(parts, ProcessId("none"))
    with pytest.raises(DiedError), begin(process_id="p") as process:
        process.publish(plan(process))
        raise DiedError
    with parts.files.mutex():
        assert not end_stopped(parts, ProcessId("p"))
    assert list(parts.files.every()) == []


def test_what_a_stopped_process_had_started_and_happened_stays(begin, plan, parts):
    with (
        pytest.raises(DiedError),
        begin("tables/a", process_id="p"),
        begin("tables/b") as child,
    ):
        child.publish(plan(child))
        raise DiedError
    assert len(list(parts.files.every())) == 2
    with parts.files.mutex():
        assert end_stopped(parts, ProcessId("p"))
    assert list(parts.files.every()) == []
    assert parts.index.process(child.process_id) is not None
    assert parts.files.remembers("p")


def test_a_child_that_runs_is_not_taken_back_with_what_was_stopped(begin, parts):
    with pytest.raises(DiedError), begin("tables/a", process_id="p"):
        raise DiedError
    with begin("tables/b") as child:
        parts.files.write(replace(child.record, parent="p"))
        with parts.files.mutex():
            assert end_stopped(parts, ProcessId("p"))
        assert parts.files.read(child.process_id) is not None
    assert parts.files.read(ProcessId("p")) is None


def test_old_leftovers_are_listed_and_what_is_needed_is_not(begin, parts, monkeypatch):
    state, git_dir = parts.state, parts.repository.git_dir
    names = ("tmp/gone", "incomplete/half", "artifacts/old", "artifacts/kept")
    places = [state / name for name in names]
    places += [git_dir / "lfs" / name for name in ("tmp/x", "bad/x", "incomplete/x")]
    for place in places:
        place.mkdir(parents=True)
    now = time.time()
    with begin() as process:
        process.new_draft().close()
        assert list(leftovers(parts, ["kept"], 0.0)) == [git_dir / "lfs/bad/x"]
        monkeypatch.setattr(recovery.time, "time", lambda: now + 7200)
        expected = {place for place in places if place.name != "kept"}
        assert set(leftovers(parts, ["kept"], 0.0)) == expected


def test_what_is_written_beside_a_store_elsewhere_is_a_leftover_too(parts, tmp_path, monkeypatch):
    store = ObjectStore(tmp_path / "elsewhere", parts.state / "tmp")
    (store.drafts / "gone").mkdir(parents=True)
    now = time.time()
    monkeypatch.setattr(recovery.time, "time", lambda: now + 7200)
    assert store.drafts / "gone" in set(leftovers(replace(parts, store=store), [], 0.0))


def test_a_stop_that_has_happened_stays_until_what_it_stops_has_ended(begin, plan, parts):
    running, apart = ExitStack(), Context()
    apart.run(running.enter_context, begin("tables/a", process_id="q"))
    with pytest.raises(DiedError), begin("tables/b", process_id="stop") as process:
        process.note({"stops": "q"})
        process.publish(plan(process))
        raise DiedError
    with parts.files.mutex():
        assert roll_forward(parts, parts.files.read(ProcessId("stop")))
    assert {record.process_id for record in parts.files.every()} == {"q", "stop"}
    apart.run(running.close)
    with parts.files.mutex():
        assert roll_forward(parts, parts.files.read(ProcessId("stop")))
    assert list(parts.files.every()) == []


def test_a_stop_that_was_begun_within_what_it_stops_ends_both(begin, plan, parts):
    with (
        pytest.raises(DiedError),
        begin("tables/a", process_id="q"),
        begin("tables/b", process_id="stop") as process,
    ):
        process.note({"stops": "q"})
        process.publish(plan(process))
        raise DiedError
    with parts.files.mutex():
        assert roll_forward(parts, parts.files.read(ProcessId("stop")))
    assert list(parts.files.every()) == []
    assert parts.files.remembers("q")


@pytest.mark.faults
def test_a_vault_that_may_only_be_read_stays_as_it_is(vault, kill_at, repo_path, monkeypatch):
    kill_at("after refs", "vault.create_table('stories')")
    parts = vault._vault.parts
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        recover(parts)
        assert len(list(parts.files.every())) == 1
    recover(parts)
    assert list(parts.files.every()) == []
