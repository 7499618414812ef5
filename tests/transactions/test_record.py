"""The record of a process as a value and as a file, and what excludes what."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.history.git.repository import RefMove
from tablevault.names import CommitId, ObjectId, ProcessId
from tablevault.transactions.record import Hold, Record, Request, decode_record

ANYTHING = "."  # json words its errors itself

texts = st.text(max_size=20)
times = st.floats(0, 4e9, allow_nan=False)
commits = st.one_of(st.none(), st.just(CommitId("ab" * 20)))
oids = st.lists(st.just(ObjectId("cd" * 32)), max_size=2).map(tuple)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), texts)
records = st.builds(
    Record,
    process_id=texts.map(ProcessId),
    named=st.booleans(),
    request=st.builds(
        Request,
        operation=texts,
        arguments=st.dictionaries(texts, st.one_of(scalars, st.lists(scalars)), max_size=3),
    ),
    author=texts,
    parent=texts,
    holds=st.lists(
        st.builds(Hold, resource=texts, exclusive=st.booleans(), alone=st.booleans()), max_size=3
    ).map(tuple),
    started_at=times,
    updated_at=times,
    pid=st.integers(1, 1 << 22),
    steps=st.lists(st.tuples(texts, times), max_size=3).map(tuple),
    pins=oids,
    made=oids,
    moves=st.lists(st.builds(RefMove, ref=texts, old=commits, new=commits), max_size=3).map(tuple),
    error=st.tuples(texts, texts),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record):
    assert decode_record(record.encode()) == record


def test_a_path_that_is_no_utf8_can_be_an_argument():
    record = sample(request=Request(operation="op", arguments={"copy_dir": "/tmp/\udcff"}))
    assert decode_record(record.encode()) == record


def sample(**changes):
    facts = {
        "process_id": ProcessId("p"),
        "named": False,
        "request": Request(operation="op", arguments={"a": 1}),
        "author": "Ana",
        "holds": (Hold(resource="tables/t", exclusive=True),),
        "started_at": 1.0,
        "updated_at": 2.0,
        "pid": 1,
        "moves": (RefMove(ref="r", old=None, new=CommitId("ab" * 20)),),
    }
    return Record(**(facts | changes))


def test_a_record_that_is_cut_off_anywhere_is_none():
    whole = sample().encode()
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=ANYTHING):
            decode_record(whole[:length])


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b'"x"', b"\xff", b"{}", b"\0" * 100])
def test_what_is_no_record_is_an_error(data):
    with pytest.raises(ValueError, match=ANYTHING):
        decode_record(data)


@pytest.mark.parametrize("key", sorted(json.loads(sample().encode())))
def test_a_record_that_lacks_a_fact_is_an_error(key):
    fields = json.loads(sample().encode())
    del fields[key]
    with pytest.raises(ValueError, match="no process record"):
        decode_record(json.dumps(fields).encode())


def test_a_failure_that_gives_no_text_is_noted_all_the_same():
    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert sample().failed(SilentError(), 1.0).error == ("SilentError", "it gives no text")


def test_a_failure_is_noted_beside_everything_else():
    failed = sample().failed(KeyError("x"), 9.0)
    assert failed.error == ("KeyError", "'x'")
    assert failed.updated_at == 9.0
    assert failed.holds == sample().holds


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("tables/t", "tables/t", True),
        ("tables/t", "tables/t/TEMP_base", True),
        ("tables/t/TEMP_base", "tables/t", True),
        ("tables/t", "tables/t2", False),
        ("tables/t/TEMP_a", "tables/t/TEMP_ab", False),
        ("tables/t/TEMP_a", "tables/t/artifacts", False),
        ("code", "tables/code", False),
        ("code", "code", True),
    ],
)
@pytest.mark.parametrize("exclusive", [(True, True), (True, False), (False, True), (False, False)])
def test_an_exclusive_claim_excludes_what_lies_above_and_below(one, other, related, exclusive):
    mine = Hold(resource=one, exclusive=exclusive[0])
    its = Hold(resource=other, exclusive=exclusive[1])
    assert mine.excludes(its) == its.excludes(mine) == (related and any(exclusive))
