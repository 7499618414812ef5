"""Who begins, who waits, and what is looked at again meanwhile."""

from __future__ import annotations

import fcntl
import re
import time
from contextlib import ExitStack
from contextvars import Context

import pytest

from tablevault.errors import TVArgumentError, TVLockError
from tablevault.files.locks import take_lock
from tablevault.names import ProcessId
from tablevault.transactions import begin as beginning
from tablevault.transactions import claims
from tablevault.transactions.begin import Actor
from tablevault.transactions.records import Hold, RecordStore, Request
from tablevault.transactions.transaction import running


@pytest.fixture
def waiting(monkeypatch):
    """Replace the clock of those who wait: it stands still but for what they wait."""

    class Clock:
        time = staticmethod(time.time)

        def __init__(self):
            self.now = 0.0
            self.meanwhile = lambda: None

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds
            self.meanwhile()

    clock = Clock()
    monkeypatch.setattr("tablevault.transactions.begin.time", clock)
    return clock


def test_one_waits_as_long_as_the_timeout_says(begin, refused, waiting):
    with begin():
        message = refused(begin(lock_timeout_s=0.2)).message
    assert re.search(r"; waited 0\.[23] s", message)
    assert 0.2 <= waiting.now <= 0.3


def test_who_waits_begins_as_soon_as_the_holder_ends(begin, waiting):
    holder, apart = begin(), Context()
    apart.run(holder.__enter__)
    waiting.meanwhile = lambda: apart.run(holder.__exit__, None, None, None)
    with begin(lock_timeout_s=60):
        assert waiting.now < 0.1


def test_who_waits_keeps_nobody_else_from_beginning(begin, refused, waiting):
    begun = []

    def begin_other():
        with begin("tables/b"):
            begun.append("tables/b")

    waiting.meanwhile = lambda: Context().run(begin_other)
    with begin("tables/a"):
        refused(begin("tables/a", lock_timeout_s=0.01))
    assert begun


def test_who_gets_no_turn_until_the_timeout_looks_once_more(begin, waiting):
    holder, apart = begin(), Context()
    apart.run(holder.__enter__)

    def end_late():
        waiting.now += 1000
        apart.run(holder.__exit__, None, None, None)

    waiting.meanwhile = end_late
    with begin(lock_timeout_s=10):
        pass


@pytest.mark.parametrize("process_id", ["", "p"])
@pytest.mark.parametrize("after", ["claims.blocking", "_blocking"])
def test_who_fails_just_when_it_is_found_is_waited_for(
    begin, parts, monkeypatch, process_id, after
):
    """It is neither paused nor dead: it has ended by itself, and holds nothing any more."""
    holder, apart = begin(process_id=process_id), Context()
    process_id = apart.run(holder.__enter__).process_id
    module = "tablevault.transactions.begin"
    known = {"claims.blocking": claims.blocking, "_blocking": beginning._blocking}
    real = known[after]
    seen = []

    def blocking(*arguments):
        found = real(*arguments)
        if found is not None and not seen:
            seen.append(found)
            with pytest.raises(TVArgumentError):
                apart.run(holder.__exit__, TVArgumentError, TVArgumentError("Wrong."), None)
                raise TVArgumentError("Wrong.")
        return found

    monkeypatch.setattr(f"{module}.{after}", blocking)
    with begin(lock_timeout_s=60):
        assert seen
    ends = [entry["error"] for entry in parts.files.history() if entry["process_id"] == process_id]
    assert ends == [["TVArgumentError", "Wrong."]]


def test_who_dies_just_when_it_is_found_is_taken_back(begin, parts, monkeypatch):
    class Died(BaseException):
        pass

    holder, apart = begin(), Context()
    process_id = apart.run(holder.__enter__).process_id
    real, seen = beginning._blocking, []

    def blocking(*arguments):
        found = real(*arguments)
        if found is not None and not seen:
            seen.append(found)
            with pytest.raises(Died):
                apart.run(holder.__exit__, Died, Died(), None)
                raise Died
        return found

    monkeypatch.setattr(beginning, "_blocking", blocking)
    with begin(lock_timeout_s=60):
        assert seen
    assert parts.files.remembers(process_id)


def test_who_looks_at_a_lock_for_long_keeps_nobody_from_taking_it(begin, parts, monkeypatch):
    """To look takes the lock, too, but shares it; and who looks may get no turn to let go."""
    path = parts.files.lock_file(ProcessId("p"))
    path.touch()
    with path.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)

        def take(path, timeout_s):
            try:
                return take_lock(path, 0)
            except TimeoutError:
                fcntl.flock(looking, fcntl.LOCK_UN)
                raise

        monkeypatch.setattr(beginning, "take_lock", take)
        with begin(process_id="p"):
            assert parts.files.is_alive(ProcessId("p"))


def test_who_waits_holds_nothing_meanwhile(begin, refused, parts):
    with begin("tables/a"):
        refused(begin("tables/a", process_id="waiting"))
        assert parts.files.read(ProcessId("waiting")) is None


def test_who_ends_between_two_looks_has_both_looked_again(begin, parts):
    """What was seen while another one worked may have gone with it."""
    other, apart = ExitStack(), Context()
    apart.run(other.enter_context, begin("tables/t"))
    looks = []

    def setup(*_):
        looks.append(len(list(parts.files.every())))
        apart.run(other.close)
        return [Hold(resource="tables/t", exclusive=True)]

    request = Request(operation="op", arguments={})
    with running(parts, request, Actor(author="Ana"), setup):
        assert looks == [1, 0]


def test_a_child_that_is_refused_at_once_is_remembered_under_its_id(begin, parts):
    mine = "tables/t/TEMP_base"
    with begin(mine, alone=True), pytest.raises(TVLockError, match="within a function"):
        begin(mine, process_id="child").__enter__()
    assert parts.files.remembers("child")


@pytest.mark.parametrize("is_known", [False, True])
def test_a_record_that_cannot_be_written_leaves_what_was_there(begin, parts, monkeypatch, is_known):
    if is_known:
        with pytest.raises(ZeroDivisionError), begin(process_id="p"):
            raise ZeroDivisionError
    before = sorted(path.name for path in (parts.state / "processes").iterdir())

    def write(*_, **__):
        raise OSError("full")

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "write", write)
        with pytest.raises(OSError, match="full"):
            begin(process_id="p").__enter__()
    assert sorted(path.name for path in (parts.state / "processes").iterdir()) == before
    with begin(process_id="p"):
        pass
