"""What becomes of a process that fails: paused, taken back, or left to who stops it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tablevault.errors import TVArgumentError, TVLockError, TVProcessError
from tablevault.history.git.refs import RefMovedError
from tablevault.names import ProcessId
from tablevault.transactions import parts as parts_module
from tablevault.transactions.begin import Actor
from tablevault.transactions.records import Hold, RecordStore, Request
from tablevault.transactions.stopping import Cancel, cancel_of, halt
from tablevault.transactions.transaction import Transaction, running
from tablevault.vault import Vault


class Interrupted(BaseException):
    """What a crash looks like from within."""


@pytest.fixture
def fail(begin):
    """Let the body of an operation raise."""

    def fail(error, *arguments, plan=None, **actor):
        with pytest.raises(type(error)) as caught, begin(*arguments, **actor) as process:
            if plan is not None:
                process.note(plan)
            raise error
        assert caught.value is error
        return process.process_id

    return fail


def test_an_ordinary_error_pauses_a_process_with_an_id(fail, begin, parts, refused):
    fail(ZeroDivisionError("by nought"), process_id="p")
    record = parts.files.read(ProcessId("p"))
    assert record.error == ("ZeroDivisionError", "by nought")
    assert not parts.files.is_alive(ProcessId("p"))
    assert not parts.files.remembers("p")
    error = refused(begin())
    assert 'paused process "p"' in error.message
    assert "stop_process('p')" in error.hint
    with begin("tables/other"):
        pass


def test_a_paused_process_is_taken_up_with_its_steps_and_without_its_error(
    begin, plan, parts, check_clean, repo_path
):
    with pytest.raises(ZeroDivisionError), begin(process_id="p") as process:
        process.step("one")
        process.note({"a": 1})
        process.note({"b": [2]})
        process.step("one")
        raise ZeroDivisionError
    with begin(process_id="p") as process:
        assert [name for name, _ in process.record.steps] == ["one"]
        assert process.record.plan == {"a": 1, "b": [2]}
        assert parts.files.read(ProcessId("p")).error == ("", "")
        process.publish(plan(process))
    check_clean(repo_path)


def test_an_error_of_tablevault_takes_back_a_process_with_an_id(
    fail, begin, refused, parts, check_clean, repo_path
):
    fail(TVArgumentError("Wrong."), process_id="p", plan={"some": "work"})
    check_clean(repo_path)
    assert parts.files.remembers("p")
    assert "has ended" in refused(begin(process_id="p"), TVProcessError).message


def test_an_ordinary_error_takes_back_a_process_without_an_id(fail, parts, check_clean, repo_path):
    process_id = fail(ZeroDivisionError())
    check_clean(repo_path)
    assert parts.files.remembers(process_id)


def test_what_a_paused_process_stored_is_there_when_it_goes_on(begin, plan, parts):
    with pytest.raises(ZeroDivisionError), begin(process_id="p") as process:
        with process.new_draft() as draft:
            draft.write(b"rows")
        process.keep([draft])
        process.new_draft().close()
        raise ZeroDivisionError
    assert parts.store.has(draft.pointer)
    assert not list((parts.state / "tmp").iterdir())
    with pytest.raises(TVArgumentError), begin(process_id="p") as process:
        raise TVArgumentError("Wrong.")
    assert not parts.store.has(draft.pointer)


def test_refs_that_others_keep_locked_pause_a_process_with_an_id(
    begin, plan, repo_path, author, monkeypatch, check_clean
):
    hurried = Vault(path=repo_path, author=author, lock_timeout_s=0.1).parts

    def move(*_):
        raise RefMovedError("main")

    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "move_refs", move)
        for process_id in ("", "p"):
            with (
                pytest.raises(TVLockError, match="moving"),
                begin(on=hurried, process_id=process_id) as process,
            ):
                process.publish(plan(process))
    (record,) = hurried.files.every()
    assert record.process_id == "p"
    with begin(process_id="p") as process:
        process.publish(plan(process))
    check_clean(repo_path)


def test_a_full_disk_leaves_a_process_with_an_id_paused(fail, begin, parts, monkeypatch):
    real = RecordStore.write

    def write(self, record, *, durable=False):
        if record.error[0]:
            raise OSError(28, "No space left on device")
        real(self, record, durable=durable)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "write", write)
        fail(ZeroDivisionError(), process_id="p")
    assert parts.files.read(ProcessId("p")) is not None
    with begin(process_id="p"):
        pass


def test_a_record_survives_that_it_cannot_be_taken_up(fail, begin, parts, monkeypatch):
    fail(ZeroDivisionError(), process_id="p")

    def write(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "write", write)
        with pytest.raises(OSError, match="No space"):
            begin(process_id="p").__enter__()
    with begin(process_id="p"):
        pass


def test_an_operation_without_a_commit_is_remembered(begin, refused):
    with begin(process_id="p"):
        pass
    assert "has ended" in refused(begin(process_id="p"), TVProcessError).message


# -- when it is taken up --------------------------------------------------------------------------


@pytest.mark.parametrize("work", [None, {"some": "work"}])
def test_a_mistake_found_when_a_process_is_taken_up_ends_it_unless_it_has_done_work(
    fail, parts, work, begin
):
    fail(ZeroDivisionError(), process_id="p", plan=work)

    def setup(*_):
        raise TVArgumentError("No such builder.")

    request = Request(operation="op", arguments={})
    with pytest.raises(TVArgumentError):
        running(parts, request, Actor(author="Ana", process_id="p"), setup).__enter__()
    record = parts.files.read(ProcessId("p"))
    if work is None:
        assert record is None
        assert parts.files.remembers("p")
    else:
        assert record.error == ("TVArgumentError", "No such builder.")
        with begin(process_id="p") as process:
            assert process.record.plan == work


def test_nameless_children_end_when_their_parent_is_taken_up(begin, parts, check_clean):
    with (
        pytest.raises(Interrupted),
        begin(process_id="p"),
        begin("tables/t/TEMP_base") as child,
        begin() as grandchild,
    ):
        assert grandchild.record.parent == child.process_id
        raise Interrupted
    assert len(list(parts.files.every())) == 3
    with begin(process_id="p"):
        assert [record.process_id for record in parts.files.every()] == ["p"]
    assert parts.files.remembers(child.process_id)


def test_a_child_that_had_happened_stays_when_its_parent_is_taken_up(
    begin, plan, git, repo_path, check_clean
):
    with pytest.raises(Interrupted), begin(process_id="p"), begin() as child:
        child.publish(plan(child))
        raise Interrupted
    with begin(process_id="p"):
        pass
    assert git(repo_path, "log", "--format=%s", "-1") == "write f\n"
    check_clean(repo_path)


def test_a_named_child_waits_until_it_is_called_again_and_excludes_no_parent(begin, parts):
    with pytest.raises(Interrupted), begin(process_id="p"), begin(process_id="child"):
        raise Interrupted
    with begin(process_id="p"):
        assert parts.files.read(ProcessId("child")) is not None
        with begin(process_id="child") as child:
            assert child.record.parent == "p"
    assert list(parts.files.every()) == []


def test_a_process_may_hold_what_the_one_holds_that_it_takes_over(fail, begin, refused):
    fail(ZeroDivisionError(), process_id="p")
    refused(begin(takes_over="other"))
    with begin(takes_over="p"):
        refused(begin())


# -- asked to stop --------------------------------------------------------------------------------


def test_a_process_that_is_asked_to_stop_goes_no_further(begin, plan, parts, git, repo_path):
    before = git(repo_path, "rev-parse", "main")
    with pytest.raises(TVProcessError, match="was stopped"), begin(process_id="p") as process:
        process.check()
        cancel = cancel_of(parts.state, ProcessId("p"))
        cancel.ask()
        with pytest.raises(TVProcessError, match="was stopped"):
            process.check()
        process.publish(plan(process))
    assert git(repo_path, "rev-parse", "main") == before
    assert parts.files.read(ProcessId("p")) is not None, "left to who asked"
    assert cancel_of(parts.state, ProcessId("p")) is None


def test_a_stopped_process_takes_itself_back_when_nobody_waits_for_it(begin, parts, check_clean):
    with pytest.raises(ZeroDivisionError), begin(process_id="p"):
        cancel = cancel_of(parts.state, ProcessId("p"))
        cancel.ask()
        assert cancel.withdraw()
        raise ZeroDivisionError
    assert parts.files.read(ProcessId("p")) is None
    (end,) = parts.files.history()
    assert end["error"] == ["TVProcessError", "User Stopped"]


def test_who_has_left_its_end_to_the_asker_is_waited_for_beyond_the_timeout(
    begin, parts, monkeypatch
):
    """It cannot take itself back any more; its lock is free some moments later."""
    asked, decided, may_end = (threading.Event() for _ in range(3))
    real = Cancel.withdraw

    def withdraw(self):
        asked.set()
        assert decided.wait(100)
        try:
            return real(self)
        finally:
            may_end.set()

    monkeypatch.setattr(Cancel, "withdraw", withdraw)

    def work():
        with begin(process_id="p"):
            begun.set()
            assert asked.wait(100)
            raise ZeroDivisionError

    def fail(self, error):
        real_fail(self, error)
        decided.set()
        assert may_end.wait(100)

    real_fail = Transaction.fail
    monkeypatch.setattr(Transaction, "fail", fail)
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(work)
        assert begun.wait(100)
        halt(parts, parts.files.read(ProcessId("p")), 0.0)
        assert isinstance(ending.exception(), ZeroDivisionError)
    assert parts.files.read(ProcessId("p")) is not None, "left to who asked"


def test_every_hold_counts_of_who_is_taken_over(begin, parts):
    request = Request(operation="op", arguments={})
    holds = [Hold(resource="tables/t", exclusive=True), Hold(resource="code", exclusive=False)]
    with (
        pytest.raises(ZeroDivisionError),
        running(parts, request, Actor(author="A", process_id="p"), lambda *_: holds),
    ):
        raise ZeroDivisionError
    with begin("code", takes_over="p"), begin("tables/t/x", takes_over="p"):
        pass
