"""What one execution knows of the calls of others."""

from __future__ import annotations

import pytest

from tablevault.engine.calls.ledger import Ledger, Terms
from tablevault.engine.calls.records import CallRecord
from tablevault.engine.calls.store import CallStore
from tablevault.engine.fingerprints.fingerprint import Fingerprint

CODE = b"c" * 16
KEY = b"arguments-row-----"
CALL = CallRecord(0, "b", 0, KEY, CODE, "ok", "[1]", 1.0, 0.5, None)


@pytest.fixture
def store(tmp_path):
    made = CallStore(tmp_path / "calls.sqlite")
    yield made
    made.close()


def begun(store: CallStore, **terms: bool) -> Ledger:
    code = Fingerprint(
        module="m", function="f", digest=CODE, parts=(), texts=(), outside=(), dynamic=()
    )
    made = Ledger(store, temp="t", process="p", terms=Terms(**terms))
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


@pytest.mark.parametrize("terms", [{"forced": True}, {"private": True}])
def test_forced_and_private_executions_find_nothing_of_others(store, terms):
    store.load("base_1_x", [CALL], {})
    with begun(store, **terms) as ledger:
        assert ledger.find([KEY], CODE) == {}
        assert ledger.find_alike(KEY[:10], CODE) is None
