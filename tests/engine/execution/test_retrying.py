"""Which errors are worth another call, and how long a server has asked to wait."""

from __future__ import annotations

import datetime as dt
import time
import types
import urllib.error
from email.message import Message

import pytest

from tablevault.engine.builders.field_values import Retry
from tablevault.engine.execution import retrying
from tablevault.engine.execution.retrying import RetryRules, asked_wait, is_about_content, status_of
from tablevault.errors import TVBuilderError

NOW = dt.datetime(2030, 5, 1, 12, 0, 0, tzinfo=dt.UTC)


class StatusError(Exception):
    """An exception with the attributes that it is made with."""

    def __init__(self, **attributes):
        super().__init__("failed")
        vars(self).update(attributes)


class UnreadableError(Exception):
    """An exception whose attributes raise, as those of an unfinished request do."""

    @property
    def response(self):
        raise RuntimeError("there is no response yet")

    status_code = status = headers = response


def answer(**headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return StatusError(response=types.SimpleNamespace(headers=names, status_code=429))


def rules(function=None, **fields):
    builder = types.SimpleNamespace(name="b", retry=Retry(**fields))
    return RetryRules(builder, function or (lambda: None))


@pytest.fixture
def clock(monkeypatch):
    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW.astimezone(tz)

    monkeypatch.setattr(retrying, "datetime", Clock)


# -- what a server asks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("1e300", 1e300),
        ("inf", float("inf")),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Wed, 01 May 2030 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2030 11:00:00 GMT", 0.0),
        ("Wednesday, 01-May-30 12:00:30 GMT", 30.0),
        ("Wed, 31 Feb 2030 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(clock, text, seconds):
    assert asked_wait(answer(Retry_After=text)) == seconds


@pytest.mark.parametrize("text", ["Wed May  1 12:00:30 2030", "Wed, 01 May 2030 12:00:30 -0000"])
def test_a_date_without_a_zone_is_in_utc(clock, monkeypatch, text):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert asked_wait(answer(retry_after=text)) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_milliseconds_count_before_seconds():
    assert asked_wait(answer(retry_after_ms="250", retry_after="1")) == 0.25
    assert asked_wait(answer(retry_after_ms="many", retry_after="1")) == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("2d", 172_800.0),
        ("1s500ms", 1.5),
        (".5s", 0.5),
        ("12", 12.0),
        ("1.2.3s", None),
        ("..s", None),
        ("s", None),
        ("", None),
    ],
)
def test_a_limit_that_is_used_up_says_when_it_is_not(text, seconds):
    error = answer(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests=text)
    assert asked_wait(error) == seconds


def test_of_two_limits_that_are_used_up_the_later_one_counts():
    headers = {f"x_ratelimit_remaining_{kind}": "0" for kind in ("requests", "tokens")}
    error = answer(**headers, x_ratelimit_reset_requests="1s", x_ratelimit_reset_tokens="9s")
    assert asked_wait(error) == 9.0


def test_a_limit_of_which_something_remains_asks_for_nothing():
    error = answer(x_ratelimit_remaining_requests="1", x_ratelimit_reset_requests="6m")
    assert asked_wait(error) is None


@pytest.mark.parametrize("headers", [None, [], "retry-after: 5", 5, {"retry-after": None}])
def test_headers_that_are_no_headers_ask_for_nothing(headers):
    assert asked_wait(StatusError(headers=headers)) is None


# -- what an exception is about -----------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        StatusError(status_code=503),  # openai, anthropic
        StatusError(response=types.SimpleNamespace(status_code=503)),  # httpx, requests
        StatusError(status=503),  # aiohttp
        StatusError(response=types.SimpleNamespace(status=503)),
        urllib.error.HTTPError("http://x", 503, "Busy", Message(), None),
    ],
)
def test_the_status_is_found_where_clients_have_it(error):
    assert status_of(error) == 503


@pytest.mark.parametrize("status", [True, "503", None, 5.0])
def test_what_is_no_whole_number_is_no_status(status):
    assert status_of(StatusError(status_code=status, status=status)) is None


def test_attributes_that_raise_are_not_there():
    error = UnreadableError()
    assert (status_of(error), asked_wait(error)) == (None, None)
    assert rules().is_passing(error)


@pytest.mark.parametrize(
    ("error", "is_passing"),
    [
        (ValueError(), True),
        (TimeoutError(), True),
        (StatusError(status_code=429), True),
        (StatusError(status_code=500), True),
        (StatusError(status_code=401), False),
        (NameError(), False),
        (KeyboardInterrupt(), False),
        (answer(retry_after="3600"), True),
        (answer(retry_after="3601"), False),
        (answer(retry_after="inf"), False),
    ],
)
def test_errors_that_may_pass(error, is_passing):
    assert rules().is_passing(error) == is_passing


@pytest.mark.parametrize(("status", "is_content"), [(400, True), (422, True), (401, False)])
def test_errors_about_the_content(status, is_content):
    assert is_about_content(StatusError(status_code=status)) == is_content


@pytest.mark.parametrize("name", ["OSError", "json.JSONDecodeError", "Own"])
def test_an_exception_class_is_found_by_its_name(name):
    own = type("Own", (Exception,), {})
    function = types.FunctionType((lambda: None).__code__, {"Own": own})
    assert len(rules(function, on=(name,))._on) == 1


@pytest.mark.parametrize(
    "name",
    ["Nothing", "json", "json.loads", "json.", ".x", "..", "no_module.X", "KeyboardInterrupt"],
)
def test_what_is_no_exception_class_is_refused(name):
    with pytest.raises(TVBuilderError, match="no exception class"):
        rules(on=(name,))


# -- calls again --------------------------------------------------------------------------------


def test_waits_grow_to_the_longest_and_obey_the_server():
    waits = []
    errors = [ValueError()] * 3 + [answer(retry_after="100"), ValueError()]

    def attempt():
        if errors:
            raise errors.pop(0)
        return "done"

    calling = rules(times=5, wait_s=1.0, max_wait_s=3.0).calling(waits.append, lambda error: False)
    assert calling(attempt) == "done"
    assert waits.pop(3) == 100.0
    assert all(least <= wait <= least + 1 for least, wait in zip((1, 2, 3, 3), waits, strict=True))


def test_an_error_about_no_call_is_not_asked_again():
    def attempt():
        raise OSError("full")

    calling = rules(times=5).calling(pytest.fail, lambda error: isinstance(error, OSError))
    with pytest.raises(OSError, match="full"):
        calling(attempt)
