"""What one execution knows of the calls of others."""

from __future__ import annotations

import pytest

from tablevault.engine.calls.ledger import Ledger, OwnCalls, ReusePolicy
from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.engine.fingerprints.fingerprint import Fingerprint

CODE, OTHER = b"c" * 16, b"o" * 16
KEY = b"arguments-row-----"
CALL = CallRecord(0, "b", 0, KEY, CODE, "ok", "[1]", 1.0, 0.5, None)


@pytest.fixture
def store(tmp_path):
    made = CallStore(tmp_path / "calls.sqlite")
    yield made
    made.close()


def begun(store: CallStore, **policy: bool) -> Ledger:
    code = Fingerprint(
        module="m", function="f", digest=CODE, parts=(), texts=(), outside=(), dynamic=()
    )
    made = Ledger(store, temp="t", process="p", policy=ReusePolicy(**policy))
    made.begin([], [code])
    return made


def test_of_new_code_nothing_is_looked_for(store, monkeypatch):
    with begun(store) as ledger:
        monkeypatch.setattr(store, "find", lambda *_: pytest.fail("looked for"))
        monkeypatch.setattr(store, "find_alike", lambda *_: pytest.fail("looked for"))
        assert ledger.find([KEY], CODE) == {}
        assert ledger.find_alike(KEY[:10], CODE) is None


def test_calls_by_code_that_nobody_described_are_found(store):
    # Those of other code, accepted from the file of an instance, bring no description of it.
    store.load("base_1_x", [CALL], {})
    assert store.code_record(CODE) is None
    with begun(store) as ledger:
        assert ledger.find([KEY], CODE)[KEY].value == "[1]"
        assert ledger.find_alike(KEY[:10], CODE).value == "[1]"


@pytest.mark.parametrize("policy", [{"forced": True}, {"private": True}])
def test_forced_and_private_executions_find_nothing_of_others(store, policy):
    store.load("base_1_x", [CALL], {})
    with begun(store, **policy) as ledger:
        assert ledger.find([KEY], CODE) == {}
        assert ledger.find_alike(KEY[:10], CODE) is None


def call(row: int) -> CallRecord:
    return CALL._replace(row=row, inputs=f"arguments-row{row:05}".encode())


def test_own_calls_are_those_recorded_at_one_moment(store):
    execution = store.begin("t", "p", forget=False)
    none = OwnCalls.recorded(store, execution, "b")
    store.write(
        execution,
        [call(0), call(1)._replace(builder="other"), call(2)._replace(value=None, outcome="error")],
    )
    store.write(execution, [call(NO_ROW)._replace(value="[7]", code=OTHER)])
    other = store.begin("u", "q", forget=False)
    store.write(other, [call(3)])
    own = OwnCalls.recorded(store, execution, "b")
    store.write(execution, [call(0)._replace(value="[9]"), call(4)])
    keys = [call(row).inputs for row in (0, 1, 2, 3, 4, NO_ROW)]
    assert none.find(keys) == {}
    assert sorted(found.value for found in own.find(keys).values()) == ["[1]", "[7]"]
    assert own.has_whole()
    assert own.codes() == {CODE: 2, OTHER: 1}
    assert not OwnCalls.recorded(store, other, "b").has_whole()


def test_calls_without_a_row_in_their_key_are_noticed(store):
    with begun(store) as ledger:
        ledger.add(CALL)
        ledger.add(CALL._replace(builder="@m.f", inputs=KEY[:10]))
        ledger.flush()
        assert not ledger.has_by_arguments()
        ledger.add(CALL._replace(inputs=KEY[:10]))
        ledger.flush()
        assert ledger.has_by_arguments()
