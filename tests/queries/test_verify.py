"""What is found while others commit is no problem unless it lasts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tablevault.files.locks import locked
from tablevault.problems import Problem
from tablevault.queries import verify


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock: it stands still but for what is slept."""
    made = SimpleNamespace(now=0.0)
    made.monotonic = lambda: made.now
    made.sleep = lambda seconds: setattr(made, "now", made.now + seconds)
    monkeypatch.setattr(verify, "time", made)
    return made


PROBLEM = Problem(severity="error", kind="tag", where="t", text="It is gone.")


def test_what_lasts_in_a_vault_that_is_never_quiet_is_a_problem(parts, clock):
    with locked(parts.state / "commit.lock"):
        assert verify.observe_until_stable(parts, lambda: [PROBLEM]) == [PROBLEM]
    assert clock.now >= verify._PATIENCE_S


def test_a_look_that_takes_long_while_others_commit_is_not_the_last(parts, clock):
    found = [[PROBLEM], []]

    def look():
        clock.now += 1000
        return found.pop(0)

    with locked(parts.state / "commit.lock"):
        assert verify.observe_until_stable(parts, look) == []
