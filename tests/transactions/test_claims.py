"""Who may begin, who waits, and what those hear who waited in vain."""

from __future__ import annotations

import fcntl
import itertools
import os
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
from tablevault.transactions.records import Hold, Record, RecordStore, Request
from tablevault.transactions.transaction import running

TABLE = claims.table_hold("t", exclusive=True)
OPERATIONS = {
    "rename": [TABLE],
    "create_instance": [
        claims.temp_hold("t", "a"),
        claims.instance_hold("t", "a_1", exclusive=False),
    ],
    "builder": [claims.temp_hold("t", "b")],
    "execute_single": [claims.temp_hold("t", "c"), claims.artifacts_hold("t")],
    "execute_multiple": [claims.temp_hold("t", "d")],
    "execute_effects": [TABLE, claims.temp_hold("t", "e")],
    "write_single": [claims.temp_hold("t", "f"), claims.artifacts_hold("t")],
    "delete_instance": [claims.instance_hold("t", "x_1", exclusive=True)],
    "delete_origin": [claims.instance_hold("t", "a_1", exclusive=True)],
    "read_by_other": [claims.instance_hold("t", "x_1", exclusive=False)],
    "other_table": [claims.table_hold("t2", exclusive=True)],
    "code": [claims.code_hold(exclusive=True)],
    "custom": [claims.code_hold(exclusive=False), claims.temp_hold("t2", "a")],
}
EXCLUDING = {
    *(
        frozenset({whole, other})
        for whole in ("rename", "execute_effects")
        for other in OPERATIONS
        if other not in {"other_table", "code", "custom"}
    ),
    frozenset({"execute_single", "write_single"}),
    frozenset({"delete_instance", "read_by_other"}),
    frozenset({"create_instance", "delete_origin"}),
    frozenset({"code", "custom"}),
    frozenset({"other_table", "custom"}),
}
# Each excludes itself, but what only shares.
EXCLUDING |= {frozenset({name}) for name in OPERATIONS if name != "read_by_other"}


@pytest.mark.parametrize("pair", list(itertools.combinations_with_replacement(OPERATIONS, 2)))
def test_operations_exclude_each_other_as_the_matrix_says(pair):
    one, other = (OPERATIONS[name] for name in pair)
    excluded = any(hold.excludes(held) for hold in one for held in other)
    assert excluded == (frozenset(pair) in EXCLUDING)


def test_what_is_excluded_is_told_who_holds_it(begin, refused):
    with begin(process_id="holder"):
        error = refused(begin(process_id="second"))
    assert (error.holder, error.author, error.operation) == ("holder", "Ana", "op")
    assert error.resource == "tables/t"
    assert error.since[:4] == time.strftime("%Y")
    assert 'Table "t" is held by process "holder" (op, Ana, since ' in error.message
    assert "lock_timeout" in error.hint


@pytest.mark.parametrize(
    ("resource", "spoken"),
    [
        ("tables/t", 'Table "t" is held'),
        ("tables/t/TEMP_a", 'Instance "TEMP_a" of table "t" is held'),
        ("tables/t/artifacts", 'The artifact folder of table "t" is held'),
        ("code", "The code folder is held"),
    ],
)
def test_a_resource_is_named_as_people_speak(begin, refused, resource, spoken):
    with begin(resource):
        assert refused(begin(resource)).message.startswith(spoken)


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


def test_shared_claims_are_had_together(begin):
    with begin(exclusive=False), begin(exclusive=False):
        pass


def test_ids_that_begin_alike_are_not_related(begin, refused):
    with begin(process_id="job1"):
        refused(begin(process_id="job10"))


def test_ancestors_are_followed_up_and_circles_end(parts):
    for process_id, parent in (("a", "b"), ("b", "c"), ("c", "a"), ("x", "")):
        parts.files.write(
            Record(
                process_id=ProcessId(process_id),
                named=True,
                request=Request(operation="op", arguments={}),
                author="Ana",
                parent=parent,
                holds=(Hold(resource="tables/t", exclusive=True),),
                started_at=1.0,
                updated_at=1.0,
                pid=os.getpid(),
            )
        )
    assert set(claims.ancestors(parts.files, "a")) == {"a", "b", "c"}
    assert set(claims.ancestors(parts.files, "x")) == {"x"}
    assert set(claims.ancestors(parts.files, "unknown")) == {"unknown"}
    assert set(claims.ancestors(parts.files, "")) == set()


def test_what_is_held_alone_is_refused_at_once_to_a_child(begin, refused):
    mine = "tables/t/TEMP_base"
    with begin(mine, alone=True), begin("tables/u"):
        for resource, options in (
            (mine, {}),
            (mine, {"exclusive": False}),
            (f"{mine}/x", {}),
            ("tables/t", {"alone": True}),
        ):
            with pytest.raises(TVLockError, match="within a function"):
                begin(resource, lock_timeout_s=60, **options).__enter__()
        with begin("tables/t"), begin("tables/t/TEMP_other", alone=True):
            pass
    with begin(mine, alone=True, exclusive=False), begin(mine, exclusive=False):
        pass


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


@pytest.mark.parametrize(
    ("operation", "alive", "hint"),
    [
        ("create_table", True, "or end it: "),
        ("stop_process", True, "Wait until it ends, open the vault with a longer lock_timeout."),
        ("create_table", False, "or give it up: "),
        ("stop_process", False, "it ends itself and what it was to stop."),
        ("execute_instance", False, "after editing files of its builders"),
    ],
)
@pytest.mark.parametrize(
    ("hold", "what"),
    [
        (TABLE, 'Table "t"'),
        (claims.code_hold(exclusive=True), "The code folder"),
        (claims.config_hold(), "The configuration of the vault"),
        (claims.pull_hold(), "What comes from remotes"),
        (claims.artifacts_hold("t"), 'The artifact folder of table "t"'),
    ],
)
def test_the_error_says_what_is_held_and_what_to_do(operation, alive, hint, hold, what):
    arguments = {"table_name": "t", "version": "base", "to_stop_process_id": "q"}
    holder = Record(
        process_id=ProcessId("p"),
        named=True,
        request=Request(operation=operation, arguments=arguments),
        author="Ana",
        started_at=1.0,
        updated_at=1.0,
        pid=1,
    )
    error = claims.lock_error(holder, hold, alive=alive, waited_s=1.0)
    assert error.message.startswith(f"{what} is held by ")
    assert hint in error.hint
