"""What travels between an execution and its workers: what cannot is told where it arrives."""

from __future__ import annotations

import pickle
import threading

import pytest

from tablevault.engine.execution.parcels import Parcel, UnsendableError, opened, parcel, raised
from tablevault.errors import TVBudgetError


def sent(value):
    return pickle.loads(pickle.dumps(value))


class BusyError(Exception):
    def __init__(self, text, *, status_code):
        super().__init__(text)
        self.status_code = status_code


@pytest.mark.parametrize("value", [None, 1, "a", [1, {"b": 2.5}], (1, 2)])
def test_a_value_arrives_as_it_was(value):
    assert opened(sent(parcel(value))) == value


def test_a_value_that_is_not_sent_is_the_same_object():
    lock = threading.Lock()
    assert opened(parcel(lock)) is lock


def test_what_cannot_be_pickled_is_told_where_it_is_opened():
    arrived = sent(Parcel(threading.Lock()))
    with pytest.raises(UnsendableError, match="cannot pickle"):
        arrived.open()
    with pytest.raises(UnsendableError, match="cannot pickle"):  # after another way, too
        sent(arrived).open()


def test_an_error_keeps_class_facts_and_notes():
    error = TVBudgetError("nothing left", "Raise it.", builder="b")
    error.add_note("here")
    arrived = sent(raised(error)).error("host:1")
    assert type(arrived) is TVBudgetError
    assert (arrived.builder, arrived.__notes__) == ("b", ["here"])


def test_an_error_that_cannot_be_read_back_keeps_what_retry_asks_for():
    arrived = sent(raised(BusyError("busy", status_code=503))).error("host:1")
    assert (type(arrived), str(arrived), arrived.status_code) == (BusyError, "busy", 503)


def test_an_error_of_an_unknown_class_keeps_name_and_text():
    kind = type("Odd", (Exception,), {"__module__": "nowhere"})
    arrived = sent(raised(kind("strange"))).error("host:1")
    assert (type(arrived).__name__, str(arrived)) == ("Odd", "strange")


def test_the_cause_is_the_traceback_in_the_worker():
    try:
        {}["missing"]
    except KeyError as error:
        arrived = sent(raised(error)).error("host:1")
    assert "in worker host:1" in str(arrived.__cause__)
    assert '{}["missing"]' in str(arrived.__cause__)
