"""A kill or a full disk at system calls, those of libgit2, SQLite and git included.

A sample of scenarios and calls is tried, with TABLEVAULT_THOROUGH=1 all of them. This file is not
collected where strace is not installed or may not trace.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Driver
from tests.faults.driver import TRACED
from tests.faults.scenarios import SCENARIOS
from tests.faults.strace import NEEDS_ROOM, SystemCall, attach, calls_of
from tests.faults.trial import EVERY_KIND, THOROUGH, Trial, spread

pytestmark = [pytest.mark.faults, pytest.mark.sweep, pytest.mark.timeout(1200)]


class TracedTrial(Trial):
    """A trial in another process, whose system calls are traced."""

    def trace(self, driver: Driver, inject: str = "") -> tuple[str, list[SystemCall]]:
        """Run the scenario; return how it ended, and its system calls."""
        log = self.path.parent / "strace.log"
        driver.ask(self.path, self.name, TRACED)
        pid = int(driver.answer())
        with attach(pid, log, inject) as tracer:
            ended = driver.answer()
            tracer.communicate()
        return ended, calls_of(log, pid)


@pytest.fixture(scope="module", params=SCENARIOS if THOROUGH else EVERY_KIND)
def trial(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    furnished: Path,
    known: frozenset[str],
) -> Iterator[TracedTrial]:
    """Run the scenario once without a fault, to know what it does."""
    path = tmp_path_factory.mktemp("traced") / "vault"
    made = TracedTrial(name=request.param, path=path, template=furnished, known=known)
    made.measure()
    yield made
    shutil.rmtree(path)


def calls_to_hit(
    trial: TracedTrial, driver: Driver, size: int, names: frozenset[str] | None = None
) -> list[SystemCall]:
    """Run the scenario, and choose some of its calls."""
    trial.renew()
    ended, calls = trial.trace(driver)
    assert ended == "done"
    calls = [call for call in calls if names is None or call.name in names]
    assert len(calls) > size
    return [calls[number - 1] for number in spread(len(calls), size, trial.name)]


def test_a_kill_at_a_system_call_leaves_all_or_nothing(trial: TracedTrial, driver: Driver) -> None:
    for call in calls_to_hit(trial, driver, 3):
        trial.renew()
        trial.trace(driver, f"{call.name}:signal=KILL:when={call.number}")
        trial.check_whole(str(call), thoroughly=True)


def test_a_full_disk_at_a_system_call_leaves_all_or_nothing(
    trial: TracedTrial, driver: Driver
) -> None:
    for call in calls_to_hit(trial, driver, 2, NEEDS_ROOM):
        trial.renew()
        ended, _ = trial.trace(driver, f"{call.name}:error=ENOSPC:when={call.number}")
        happened = trial.check_whole(str(call), thoroughly=True)
        assert happened or ended == "failed", call
