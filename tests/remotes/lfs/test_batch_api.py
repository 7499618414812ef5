"""The Batch API as values: what is written, and what is made of whatever comes back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.remotes.lfs.batch_api import (
    Action,
    AnswerError,
    Moment,
    decode_batch,
    decode_login,
    decode_message,
    encode_batch,
    encode_verify,
)
from tests.remotes.conftest import pointer_of

A, B = pointer_of(b"a"), pointer_of(b"bb")
NOW = Moment(monotonic=1000.0, wall=1_700_000_000.0)

NAMES = ("objects", "oid", "size", "actions", "download", "upload", "verify", "href", "header")
NAMES += ("error", "code", "message", "expires_in", "expires_at", "transfer", "authenticated")
KEYS = st.sampled_from(NAMES) | st.text(max_size=3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def answer(*objects, **more):
    return json.dumps({"objects": objects, **more}).encode()


def action_of(value):
    """Read one download action."""
    item = {"oid": A.oid, "size": A.size, "actions": {"download": value}}
    [offer] = decode_batch(answer(item), "download", [A], NOW)
    return offer.actions["download"]


def test_a_request_names_objects_and_ref():
    assert json.loads(encode_batch("download", [A, B])) == {
        "operation": "download",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": [{"oid": A.oid, "size": 1}, {"oid": B.oid, "size": 2}],
    }
    assert json.loads(encode_batch("upload", [], "refs/heads/x"))["ref"] == {"name": "refs/heads/x"}
    assert json.loads(encode_verify(A)) == {"oid": A.oid, "size": 1}


def test_an_answer_may_come_in_any_order():
    href = {"href": "https://h/x"}
    items = [
        {"oid": B.oid, "size": 2, "actions": {"upload": href}, "authenticated": True},
        {"oid": A.oid, "size": 1},
    ]
    first, second = decode_batch(answer(*items, transfer="basic"), "upload", [A, B], NOW)
    assert (first.pointer, first.is_wanted, first.refusal) == (A, False, None)
    assert (second.pointer, second.is_wanted, second.is_authenticated) == (B, True, True)
    assert second.actions == {"upload": Action(href="https://h/x")}


@pytest.mark.parametrize(
    ("expiry", "until"),
    [
        ({}, math.inf),
        ({"expires_in": 60}, 1060.0),
        ({"expires_in": 0}, math.inf),
        ({"expires_in": -5}, 995.0),
        ({"expires_at": "2023-11-14T22:14:20Z"}, 1060.0),
        ({"expires_at": "2023-11-14T22:14:20"}, 1060.0),
        ({"expires_at": "2023-11-14T23:14:20+01:00"}, 1060.0),
        ({"expires_in": 30, "expires_at": "2023-11-14T22:14:20Z"}, 1030.0),
        ({"expires_at": "0001-01-01T00:00:00Z"}, math.inf),
        ({"expires_at": "tomorrow"}, math.inf),
        ({"expires_at": ""}, math.inf),
        ({"expires_at": 5}, math.inf),
    ],
)
def test_an_action_holds_for_a_while(expiry, until):
    action = action_of({"href": "https://h/x", **expiry})
    assert action.good_until == until
    assert action.is_good(min(until, 1e9) - 6)
    assert not action.is_good(until - 4) or until == math.inf


def test_what_gives_permission_is_in_no_repr():
    action = action_of({"href": "https://h/x?sig=s3cret", "header": {"A": "s3cret"}})
    assert "s3cret" not in repr(action)


@given(body=st.binary(max_size=50) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_back_is_an_answer_or_an_error_of_ours(body):
    for operation in ("upload", "download"):
        try:
            offers = decode_batch(body, operation, [A, B], NOW)
        except AnswerError as error:
            assert str(error)  # noqa: PT017 - either outcome is right
        else:
            assert [offer.pointer for offer in offers] == [A, B]
            for offer in offers:
                assert offer.is_wanted == (operation in offer.actions)
                assert not (offer.is_wanted and offer.refusal)


@given(item=ANYTHING, action=ANYTHING)
def test_whatever_stands_in_an_answer_is_read_or_refused(item, action):
    body = answer(item, {"oid": A.oid, "size": 1, "actions": {"download": action}})
    try:
        [offer] = decode_batch(body, "download", [A], NOW)
    except AnswerError:
        return
    assert offer.refusal or offer.actions["download"].href.startswith("http")


@given(body=st.binary(max_size=50) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_a_message_is_one_line_of_plain_text(body):
    text = decode_message(body)
    assert text.isprintable()
    assert len(text) <= 503


def test_ssh_may_leave_the_address_to_us():
    assert decode_login(b"{}", NOW) == Action(href="")
    told = decode_login(b'{"href": "http://h/", "header": {"A": "b"}, "expires_in": 9}', NOW)
    assert told == Action(href="http://h/", header={"A": "b"}, good_until=1009.0)
