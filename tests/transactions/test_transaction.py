"""One operation: begun, published on the newest tip, ended, or taken back."""

from __future__ import annotations

import os
import threading
from contextvars import Context, copy_context

import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVLockError, TVProcessError
from tablevault.history.commits.change import BranchChange
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, decode_message
from tablevault.history.git.refs import PartlyMovedError, RefMove, RefMovedError, move_refs
from tablevault.history.git.trees import Put
from tablevault.names import MAIN, ProcessId, TempRef
from tablevault.transactions import parts as parts_module
from tablevault.transactions import transaction
from tablevault.transactions.begin import Actor
from tablevault.transactions.records import RecordStore, Request
from tablevault.transactions.recovery import recover
from tablevault.transactions.transaction import running
from tablevault.vault import Vault


class Interrupted(BaseException):
    """What a crash looks like from within."""


@pytest.fixture
def die(begin):
    """Leave an operation as a crash would."""

    def die(*arguments, **actor):
        with pytest.raises(Interrupted), begin(*arguments, **actor):
            raise Interrupted

    return die


@pytest.fixture
def hurried(vault, repo_path, author):
    """The journal of the vault, opened by somebody who waits for nothing long."""
    return Vault(path=repo_path, author=author, lock_timeout_s=0.1).parts


def log(git, path):
    return git(path, "log", "--first-parent", "--format=%s", "main").splitlines()


def test_an_operation_is_one_commit_that_names_it(begin, plan, git, repo_path, check_clean):
    with begin() as process:
        assert process.published is None
        process.publish(plan(process))
        assert process.published == git(repo_path, "rev-parse", "main").strip()
    message = decode_message(git(repo_path, "log", "-1", "--format=%B"))
    assert message.subject == "write f"
    assert message.first("Vault-Process") == process.process_id
    assert (repo_path / "f").read_bytes() == b"1"
    assert git(repo_path, "log", "-1", "--format=%an") == "Ana\n"
    check_clean(repo_path)


def test_an_operation_has_a_record_and_lives_until_it_ends(begin, parts):
    with begin(process_id="p") as process:
        record = parts.files.read(ProcessId("p"))
        assert record == process.record
        assert (record.named, record.author, record.request.operation) == (True, "Ana", "op")
        assert parts.files.is_alive(ProcessId("p"))
    assert parts.files.read(ProcessId("p")) is None
    assert not parts.files.is_alive(ProcessId("p"))


def test_an_operation_without_an_id_gets_one(begin):
    with begin() as one, begin(None) as other:
        assert one.process_id != other.process_id
        assert not one.record.named


def test_an_operation_that_fails_leaves_everything_as_it_was(
    begin, plan, git, repo_path, parts, check_clean
):
    before = git(repo_path, "for-each-ref")
    error = ValueError("of the user")
    for after_keeping in (False, True):
        with pytest.raises(ValueError, match="of the user") as caught, begin() as process:
            if after_keeping:
                with process.new_draft() as draft:
                    draft.write(b"rows")
                process.keep([draft])
                assert parts.store.has(draft.pointer)
            raise error
        assert caught.value is error
        assert git(repo_path, "for-each-ref") == before
        assert not [path for path in (repo_path / ".git/lfs").rglob("*") if path.is_file()]
        check_clean(repo_path)
        assert parts.files.remembers(process.process_id)


def test_an_object_that_was_there_before_survives_a_failure(begin, parts):
    with begin() as process:
        with process.new_draft() as draft:
            draft.write(b"rows")
        process.keep([draft])
    with pytest.raises(ZeroDivisionError), begin() as process:
        with process.new_draft() as draft:
            draft.write(b"rows")
        process.keep([draft])
        raise ZeroDivisionError
    assert parts.store.has(draft.pointer)


def test_an_object_that_another_process_is_about_to_need_survives_a_failure(begin, parts):
    def keep(process):
        with process.new_draft() as draft:
            draft.write(b"rows")
        process.keep([draft])
        return draft.pointer

    with pytest.raises(ZeroDivisionError), begin("tables/a") as failing:
        pointer = keep(failing)
        with begin("tables/b") as other:
            keep(other)
            failing.revert(ZeroDivisionError())
            assert parts.store.has(pointer)
        raise ZeroDivisionError


def test_a_failure_of_the_setup_begins_nothing(parts, git, repo_path, check_clean):
    def setup(*_):
        raise TVArgumentError("No such table.")

    request = Request(operation="op", arguments={})
    with pytest.raises(TVArgumentError, match="No such table"):
        running(parts, request, Actor(author="Ana", process_id="p"), setup).__enter__()
    assert parts.files.remembers("p")
    check_clean(repo_path)


def test_a_failure_before_the_refs_move_changes_nothing(
    begin, plan, git, repo_path, parts, monkeypatch, check_clean
):
    before = git(repo_path, "for-each-ref")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(parts_module, "move_refs", fail)
    with pytest.raises(OSError, match="disk full"), begin() as process:
        process.publish(plan(process))
    monkeypatch.undo()
    assert git(repo_path, "for-each-ref") == before
    assert not parts.index.process(process.process_id)
    check_clean(repo_path)


def test_a_failure_after_the_refs_moved_takes_nothing_back(
    begin, plan, repo_path, parts, monkeypatch, check_clean, author
):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("tablevault.transactions.transaction.follow", fail)
    with begin() as process:
        process.publish(plan(process))
    monkeypatch.undo()
    assert parts.index.process(process.process_id)
    assert not (repo_path / "f").exists()
    TableVault(repo_path, author)
    assert (repo_path / "f").read_bytes() == b"1"
    check_clean(repo_path)


def test_an_error_of_the_caller_after_publishing_takes_nothing_back(
    begin, plan, repo_path, parts, check_clean
):
    with pytest.raises(ZeroDivisionError), begin() as process:
        process.publish(plan(process))
        raise ZeroDivisionError
    assert parts.index.process(process.process_id)
    assert not parts.files.remembers(process.process_id)
    check_clean(repo_path)


# -- the newest tip -------------------------------------------------------------------------------


def test_a_plain_commit_in_between_is_planned_upon(
    begin, plan, git, repo_path, monkeypatch, check_clean
):
    planned = []
    real = move_refs

    def move(repository, moves, reason):
        if len(planned) == 1:
            (repo_path / "by-hand").write_text("x")
            git(repo_path, "add", "by-hand")
            git(repo_path, "commit", "-q", "-m", "by hand")
        return real(repository, moves, reason)

    with begin() as process:
        make = plan(process)

        def counting(snapshot, at):
            planned.append(snapshot.commit)
            return make(snapshot, at)

        monkeypatch.setattr(parts_module, "move_refs", move)
        process.publish(counting)
    assert len(planned) == 2
    assert log(git, repo_path)[:2] == ["write f", "by hand"]
    check_clean(repo_path)


def test_a_git_that_holds_a_ref_for_a_moment_is_waited_for(begin, plan, repo_path, check_clean):
    lock = repo_path / ".git/refs/heads/main.lock"
    with begin() as process:
        lock.touch()
        timer = threading.Timer(0.1, lock.unlink)
        timer.start()
        process.publish(plan(process))
        timer.join()
    check_clean(repo_path)


def test_a_git_that_holds_a_ref_for_good_is_an_error_that_names_the_lock(
    begin, plan, git, repo_path, hurried, check_clean
):
    before = git(repo_path, "rev-parse", "main")
    lock = repo_path / ".git/refs/heads/main.lock"
    lock.touch()
    with pytest.raises(TVLockError, match=r"main\.lock"), begin(on=hurried) as process:
        process.publish(plan(process))
    lock.unlink()
    assert git(repo_path, "rev-parse", "main") == before
    check_clean(repo_path)


def test_a_ref_that_keeps_moving_is_an_error(
    begin, plan, hurried, monkeypatch, check_clean, repo_path
):
    def move(*_):
        raise RefMovedError(MAIN)

    monkeypatch.setattr(parts_module, "move_refs", move)
    with pytest.raises(TVLockError, match="moving"), begin(on=hurried) as process:
        process.publish(plan(process))
    check_clean(repo_path)


def test_code_edited_by_hand_is_a_commit_below_the_operation(
    begin, plan, git, repo_path, check_clean
):
    (repo_path / "code/m.py").write_text("x = 1\n")
    with begin() as process:
        assert process.snapshot().blob("code/m.py") == b"x = 1\n"
        (repo_path / "code/m.py").write_text("x = 2\n")
        process.publish(plan(process))
    assert log(git, repo_path)[:2] == ["write f", "code/m.py: edited by hand"]
    assert git(repo_path, "show", "main:code/m.py") == "x = 1\n", "what the operation ran with"
    assert (repo_path / "code/m.py").read_text() == "x = 2\n"
    with begin() as process:
        process.publish(plan(process, data=b"2"))
    assert git(repo_path, "show", "main:code/m.py") == "x = 2\n"
    check_clean(repo_path)


def test_an_object_that_disappeared_stops_the_commit(begin, plan, parts, git, repo_path):
    before = git(repo_path, "rev-parse", "main")

    def work():
        with begin() as process:
            with process.new_draft() as draft:
                draft.write(b"rows")
            process.keep([draft])
            parts.store.delete([draft.pointer.oid], needed=lambda _: False)
            process.publish(plan(process, needs=(draft.pointer,)))

    with pytest.raises(TVLockError, match="disappeared"):
        work()
    assert git(repo_path, "rev-parse", "main") == before


# -- several refs ---------------------------------------------------------------------------------


@pytest.fixture
def on_branch(plan):
    """Make a plan that merges a temporary instance, removes its branch, and sets a tag."""
    temp = TempRef(table="t", version="base")

    def make(process, tip):
        branch = BranchChange(
            temp=temp,
            tip=tip,
            edits=(Put(path="tables/t/base/instance.yaml", data=b"id: x\n"),),
            message=Message(subject="result"),
            merged=True,
        )
        return plan(process, branches=(branch,), tag="refs/tags/t/base_1")

    return make


@pytest.fixture
def temp_tip(vault, parts):
    """Make a temporary instance, and give the tip of its branch."""
    vault.create_table("t")
    vault.create_instance("t")
    return parts.repository.tip(TempRef(table="t", version="base").ref)


def test_packed_refs_that_git_keeps_locked_delay_but_lose_nothing(
    temp_tip, begin, on_branch, git, repo_path, parts, check_clean, author
):
    git(repo_path, "pack-refs", "--all")
    lock = repo_path / ".git/packed-refs.lock"
    lock.touch()
    with begin(process_id="p") as process:
        process.publish(on_branch(process, temp_tip))
    assert log(git, repo_path)[0] == "write f"
    assert parts.repository.temp_refs(), "cannot be removed yet"
    assert parts.files.read(ProcessId("p")) is not None
    with pytest.raises(TVLockError):
        begin().__enter__()
    lock.unlink()
    TableVault(repo_path, author)
    assert not parts.repository.temp_refs()
    assert git(repo_path, "tag", "--points-at", "main") == "t/base_1\n"
    assert log(git, repo_path).count("write f") == 1
    check_clean(repo_path)


def test_refs_left_behind_are_finished_by_whoever_comes_next(
    temp_tip, begin, on_branch, plan, git, repo_path, parts, monkeypatch, check_clean
):
    real = move_refs

    def move(repository, moves, reason):
        if len(moves) > 1:
            real(repository, moves[:1], reason)
            raise PartlyMovedError
        raise RefMovedError

    with begin() as process, monkeypatch.context() as patch:
        patch.setattr(parts_module, "move_refs", move)
        process.publish(on_branch(process, temp_tip))
    assert parts.repository.temp_refs()
    with begin() as process:
        process.publish(plan(process, data=b"2"))
    assert not parts.repository.temp_refs()
    assert git(repo_path, "tag") == "t/base_1\n"
    check_clean(repo_path)


def test_recovery_makes_the_moves_that_were_noted_last(
    temp_tip, begin, on_branch, parts, monkeypatch, check_clean, repo_path
):
    """Its record may have been read while it still ran."""
    early = []
    real = move_refs

    def move(repository, moves, reason):
        real(repository, moves[:1], reason)
        raise Interrupted

    with pytest.raises(Interrupted), begin() as process, monkeypatch.context() as patch:
        early.append(process.record)
        patch.setattr(parts_module, "move_refs", move)
        process.publish(on_branch(process, temp_tip))
    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "every", lambda _: iter(early))
        recover(parts)
    assert not parts.repository.temp_refs()
    check_clean(repo_path)


# -- ids ------------------------------------------------------------------------------------------


def test_an_id_that_has_ended_is_refused(begin, plan, refused):
    with begin(process_id="done") as process:
        process.publish(plan(process))
    with pytest.raises(TVArgumentError), begin(process_id="failed"):
        raise TVArgumentError("Wrong.")
    for process_id in ("done", "failed"):
        error = refused(begin(process_id=process_id), TVProcessError)
        assert "has ended" in error.message


def test_an_id_that_runs_is_refused(begin, refused):
    with begin(process_id="p"):
        assert "runs just now" in refused(begin("other", process_id="p"), TVProcessError).message


def test_an_id_with_blanks_within_is_known_after_it_ended(begin, plan, refused):
    with begin(process_id="a  b") as process:
        process.publish(plan(process))
    assert "has ended" in refused(begin(process_id="a  b"), TVProcessError).message


def test_an_id_that_cannot_be_noted_is_refused(begin):
    with pytest.raises(TVArgumentError):
        begin(process_id="\ud800").__enter__()


# -- the dead -------------------------------------------------------------------------------------


def test_a_dead_nameless_holder_is_taken_back_by_who_needs_what_it_held(
    begin, die, parts, repo_path, check_clean
):
    die()
    (dead,) = parts.files.every()
    with begin("tables/other"):
        assert parts.files.read(dead.process_id) is not None
    with begin():
        assert parts.files.read(dead.process_id) is None
    assert parts.files.remembers(dead.process_id)
    check_clean(repo_path)


def test_a_dead_holder_is_taken_back_with_its_last_steps(begin, die, parts, monkeypatch):
    """Its record may have been read while it still ran."""
    with pytest.raises(Interrupted), begin() as process:
        early = process.record
        with process.new_draft() as draft:
            draft.write(b"rows")
        process.keep([draft])
        raise Interrupted
    real = RecordStore.every
    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "every", lambda files: [early for _ in real(files)])
        with begin():
            pass
    assert not parts.store.has(draft.pointer)


def test_a_dead_named_holder_is_an_error_at_once(begin, die, refused, monkeypatch):
    die(process_id="paused")
    monkeypatch.setattr("tablevault.transactions.begin.time.sleep", lambda _: pytest.fail("waits"))
    error = refused(begin(lock_timeout_s=30))
    assert error.holder == "paused"
    assert 'held by paused process "paused"' in error.message
    assert "process_id='paused'" in error.hint


def test_the_same_id_again_takes_a_dead_process_up(begin, die, plan, repo_path, check_clean):
    die(process_id="p")
    with begin(process_id="p") as process:
        process.publish(plan(process))
    check_clean(repo_path)


def test_a_dead_process_is_taken_up_with_what_it_was_asked_for(begin, die):
    die("tables/first", process_id="p")
    with begin("tables/second", process_id="p") as process:
        assert process.record.request.arguments == {"resource": "tables/first"}


def test_a_dead_process_is_not_taken_up_by_another_operation(begin, die, refused):
    die(process_id="p", operation="write_instance")
    error = refused(begin(process_id="p", operation="delete_table"), TVProcessError)
    assert "is a paused write_instance" in error.message


def test_a_dead_process_that_had_happened_is_finished_not_repeated(
    begin, plan, refused, git, repo_path, check_clean
):
    with pytest.raises(Interrupted), begin(process_id="p") as process:
        process.publish(plan(process))
        raise Interrupted
    assert "has ended" in refused(begin(process_id="p"), TVProcessError).message
    assert log(git, repo_path).count("write f") == 1
    check_clean(repo_path)


def test_a_dead_process_can_be_taken_up_while_others_look_at_it(begin, die, parts):
    die(process_id="p")
    stop = threading.Event()

    def look():
        while not stop.is_set():
            parts.files.is_alive(ProcessId("p"))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            with pytest.raises(Interrupted), begin(process_id="p"):
                raise Interrupted
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_objects_of_the_dead_are_taken_back(begin, parts, repo_path, check_clean):
    with pytest.raises(Interrupted), begin() as process:
        with process.new_draft() as draft:
            draft.write(b"rows")
        process.keep([draft])
        process.new_draft().close()
        raise Interrupted
    with begin():
        pass
    assert not parts.store.has(draft.pointer)
    check_clean(repo_path)


# -- children -------------------------------------------------------------------------------------


def test_an_operation_within_another_is_its_child_and_shares_what_it_holds(begin, plan):
    with begin() as parent, begin("tables/t/TEMP_base") as child:
        assert child.record.parent == parent.process_id
        with begin("tables/t/artifacts") as grandchild:
            assert grandchild.record.parent == child.process_id
            grandchild.publish(plan(grandchild))
    with begin() as later:
        assert later.record.parent == ""


def test_a_child_may_be_named_by_its_parent(begin, refused):
    with begin(process_id="parent"):
        thread = threading.Thread(target=lambda: begin(parent="parent").__enter__())
        thread.start()
        thread.join()
        elsewhere, stranger = Context(), begin("tables/u", process_id="stranger")
        elsewhere.run(stranger.__enter__)
        refused(begin(parent="stranger"))
        elsewhere.run(stranger.__exit__, None, None, None)


def test_a_parent_that_does_not_run_has_no_children(begin, refused, plan):
    refused(begin(parent="nobody"), TVProcessError)
    with begin(process_id="ended") as process:
        process.publish(plan(process))
        remembered = copy_context()
    refused(begin(parent="ended"), TVProcessError)
    later = begin()
    assert remembered.run(later.__enter__).record.parent == ""
    remembered.run(later.__exit__, None, None, None)


def test_an_operation_of_another_vault_is_no_child(begin, tmp_path, author):
    other = TableVault(tmp_path / "other", author, create=True)
    with begin(), begin(on=other._vault.parts) as process:
        assert process.record.parent == ""


def test_a_child_stays_although_its_parent_fails(begin, plan, git, repo_path):
    with pytest.raises(ZeroDivisionError), begin():
        with begin() as child:
            child.publish(plan(child))
        raise ZeroDivisionError
    assert log(git, repo_path)[0] == "write f"


# -- at once --------------------------------------------------------------------------------------


def test_threads_and_processes_at_once_lose_no_commit(
    vault, begin, plan, git, repo_path, author, python, finish, check_clean
):
    patient = Vault(path=repo_path, author=author, lock_timeout_s=250.0).parts
    script = """
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "B", lock_timeout=250)
for number in range(5):
    vault.create_table(f"{sys.argv[2]}{number}")
"""
    errors = []

    def work(name):
        try:
            for number in range(5):
                with begin(f"tables/{name}", on=patient, lock_timeout_s=250) as process:
                    process.publish(plan(process, path=f"{name}{number}"))
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    children = [python(script, repo_path, name) for name in "pq"]
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for number in range(5):
        (repo_path / f"by-hand-{number}").write_text("x")
        git(repo_path, "add", f"by-hand-{number}", check=False)
        git(repo_path, "commit", "-q", "-m", "by hand", f"by-hand-{number}", check=False)
    for thread in threads:
        thread.join()
    for child in children:
        finish(child)
    assert errors == []
    names = set(git(repo_path, "ls-tree", "-r", "--name-only", "main").split())
    assert {f"{name}{number}" for name in "ab" for number in range(5)} <= names
    assert {f"tables/{name}{number}/table.yaml" for name in "pq" for number in range(5)} <= names
    check_clean(repo_path, status=False)


def test_a_snapshot_does_not_change_whatever_happens(begin, plan, parts):
    snapshot = Snapshot(parts.repository, parts.repository.main())
    with begin() as process:
        process.publish(plan(process))
    assert snapshot.blob("f") is None


# -- what fails after the commit, or while it is taken back ---------------------------------------


def test_what_follows_the_commit_may_fail_and_is_no_failure(begin, plan, parts, caplog):
    def fail():
        raise ZeroDivisionError

    with begin() as process:
        process.publish(plan(process))
        process.follow_up(fail)
    assert "left something to do" in caplog.text
    assert parts.files.read(process.process_id) is not None
    recover(parts)
    assert list(parts.files.every()) == []


def test_a_failure_to_take_back_hides_no_error(begin, parts, monkeypatch, caplog):
    def fail(*_):
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(transaction, "roll_back", fail)
        with pytest.raises(KeyError, match="mine"), begin():
            raise KeyError("mine")
    assert "not taken back wholly" in caplog.text
    with begin():
        pass
    assert list(parts.files.every()) == []


def test_the_branch_of_a_temporary_instance_that_is_gone_is_planned_without(begin):
    with pytest.raises(RefMovedError), begin() as process:
        process.edited_branch(TempRef(table="none", version="base"))


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_the_copy_of_a_process_in_a_fork_ends_nothing(begin, parts, error):
    with begin(process_id="p") as process:
        child = os.fork()
        if not child:
            try:
                process.close() if error is None else process.fail(error())
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert parts.files.read(ProcessId("p")) == process.record
        assert parts.files.is_alive(ProcessId("p"))


def test_code_that_main_has_changed_since_it_was_used_is_not_taken_back(
    begin, plan, git, repo_path, check_clean
):
    module = repo_path / "code/m.py"
    module.write_text("x = 1\n")
    with begin() as process:
        process.snapshot()
        git(repo_path, "add", "code/m.py")
        git(repo_path, "commit", "-q", "-m", "the same by hand")
        process.publish(plan(process))
    assert git(repo_path, "show", "main:code/m.py") == "x = 1\n"
    assert log(git, repo_path)[:2] == ["write f", "the same by hand"]
    check_clean(repo_path)


def test_what_is_done_on_a_branch_of_the_future_is_later_than_that(
    temp_tip, begin, on_branch, parts
):
    future = parts.repository.commit(temp_tip).time + 100_000.0
    tip = parts.repository.write_commit(
        parents=[temp_tip],
        base=temp_tip,
        edits=[],
        message=Message(subject="by a wrong clock"),
        author="Ana",
        at=future,
    )
    ref = TempRef(table="t", version="base").ref
    move_refs(parts.repository, [RefMove(ref=ref, old=temp_tip, new=tip)], "by hand")
    with begin() as process:
        published = process.publish(on_branch(process, tip))
    assert parts.repository.commit(published).at > future - 1


def test_code_that_was_used_stays_in_history_though_main_has_other_code_since(
    begin, plan, git, repo_path, check_clean
):
    module = repo_path / "code/m.py"
    module.write_text("x = 1\n")
    with begin() as process:
        used = process.snapshot().commit
        module.write_text("x = 2\n")
        git(repo_path, "add", "code/m.py")
        git(repo_path, "commit", "-q", "-m", "another by hand")
        process.publish(plan(process))
    assert git(repo_path, "show", "main:code/m.py") == "x = 2\n"
    git(repo_path, "merge-base", "--is-ancestor", used, "main")
    check_clean(repo_path)
