"""The SQLite file of calls: what earlier versions of it hold is kept."""

from __future__ import annotations

from tablevault.engine.calls.records import CallRecord
from tablevault.engine.calls.store import CallStore
from tests.engine.calls.old_files import make_version_2

CODE = b"c" * 16
CALL = CallRecord(0, "b", 0, b"arguments-------row00000", CODE, "ok", "[1]", 1.0, 0.5, None)
LATER = CALL._replace(row=1, inputs=b"arguments-------row00001", duration_s=1e-6)


def test_a_file_of_the_version_before_is_upgraded(tmp_path):
    path = tmp_path / "state/calls.sqlite"
    store = CallStore(path)
    execution = store.begin("t", "p", forget=False)
    store.write(execution, [CALL])
    store.close()
    make_version_2(path)
    assert store.find([CALL.inputs], CODE)
    store.write(execution, [LATER], longest_unindexed_s=0.001)
    assert store.find([LATER.inputs], CODE)
    assert store.read("PRAGMA user_version", ()) == [(3,)]
    assert not list(path.parent.glob("*.damaged-*"))
    store.close()
