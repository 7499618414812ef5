"""Waits between the tries of a transfer."""

from __future__ import annotations

import pytest
import tenacity

from tablevault.remotes.http.retry import PassingError, TransferLimits
from tablevault.remotes.lfs.http_transport import _after_s


def test_waits_grow_and_differ():
    limits = TransferLimits(tries=8)
    for failures, most in ((1, 0.25), (2, 0.5), (4, 2.0), (9, 10.0), (1000, 10.0)):
        waits = {limits.wait_s(after(failures)) for _ in range(20)}
        assert len(waits) > 10
        assert all(most / 2 <= wait <= most for wait in waits)
    assert limits.wait_s(after(1, after_s=5)) == 5
    assert limits.is_over(after(8))
    assert not limits.is_over(after(7))
    assert limits.is_over(after(2, most=2))
    assert limits.is_over(after(1, after_s=301))


def after(failures, **more):
    """Return what tenacity knows after so many failures."""
    state = tenacity.RetryCallState(None, None, (), {})
    state.attempt_number = failures
    state.outcome = tenacity.Future.construct(failures, PassingError("x", **more), True)
    return state


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("120", 120, 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 1e9, 1e10),
        ("Wed, 21 Oct 2099 07:28:00 -0000", 1e9, 1e10),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_date(text, least, most):
    assert least <= _after_s(text) <= most


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "Wed, 99 Oct 2099"])
def test_a_wait_that_makes_no_sense_is_none(text):
    assert _after_s(text) is None
