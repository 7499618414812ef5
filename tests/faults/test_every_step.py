"""A fault at every step of every operation: it has happened wholly, or not at all.

In the default profile a sample of the steps is tried, with TABLEVAULT_THOROUGH=1 all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.faults.injection import Steps, instrumented, interrupt, no_space
from tests.faults.scenarios import AUTHOR, SCENARIOS
from tests.faults.trial import EVERY_RUN, THOROUGH, Trial, spread
from tests.looking import check_clean

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
_NO_STATE = (
    "calls.sqlite",  # what functions have returned stays, whatever becomes of the execution
    "index.sqlite",
    "objects.sqlite",
    "commit.lock",
    "journal.lock",
    "objects.lock",
    "moving",
    "checking-out",
)


@dataclass(kw_only=True)
class SteppedTrial(Trial):
    """A trial whose steps are counted in this process."""

    steps: Steps
    count: int = 0

    def sample(self, size: int) -> list[int]:
        """Return numbers of steps to fail at: one in each of `size` parts, or all."""
        return spread(self.count, size, self.name)

    def check_step(self, at: int) -> bool:
        """Reopen after a fault at a step; return whether the operation has happened."""
        where = f"step {at} of {self.count}: {self.steps.names[at - 1 : at]}"
        return self.check_whole(where, thoroughly=THOROUGH and at % 4 == 0)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[] if name in EVERY_RUN else [pytest.mark.sweep])
        for name in SCENARIOS
    ],
)
def measured(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    furnished: Path,
    known: frozenset[str],
) -> Iterator[SteppedTrial]:
    """Run the scenario once without a fault, which counts its steps."""
    path = tmp_path_factory.mktemp("trial") / "vault"
    with instrumented(path) as steps:
        made = SteppedTrial(
            name=request.param, path=path, template=furnished, known=known, steps=steps
        )
        made.measure(steps.counting)
        made.count = len(steps.names)
        yield made
        shutil.rmtree(path)


@pytest.fixture
def trial(measured: SteppedTrial) -> SteppedTrial:
    """Return the scenario with a fresh copy of the vault."""
    measured.renew()
    return measured


def state(path: Path) -> dict[str, object]:
    """Take down all but what is derived: refs, working files, objects, records, locks."""
    found: dict[str, object] = {}
    for folder, folders, names in os.walk(path):
        inside = Path(folder).relative_to(path).as_posix()
        if inside == ".git":
            folders[:] = [name for name in folders if name not in ("objects", "logs", "hooks")]
        elif not inside.startswith(".git"):
            found[inside] = "folder"
        for name in names:
            if not name.startswith(_NO_STATE) and name != "history.jsonl":
                file = Path(folder, name)
                found[f"{inside}/{name}"] = (file.stat().st_mode, _content(inside, file))
    return found


def _content(inside: str, file: Path) -> bytes:
    """Return the bytes; of the note of an editable folder its first line alone."""
    data = file.read_bytes()
    return data.split(b"\n")[0] if inside.startswith(".git/tablevault/temp-folders") else data


def refs(seen: dict[str, object]) -> dict[str, object]:
    return {
        name: what for name, what in seen.items() if name.startswith((".git/refs", ".git/packed"))
    }


def fail(
    trial: SteppedTrial, at: int, fire: Callable[[str], None], *, for_good: bool = False
) -> bool:
    """Run the scenario with a fault, and tell whether the caller got an exception."""
    vault = TableVault(trial.path, AUTHOR, lock_timeout=0.5)
    try:
        with trial.steps.counting(at, fire, for_good=for_good):
            trial.scenario.act(vault)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - any will do
        return True
    return False


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_a_full_disk_leaves_all_or_nothing(trial: SteppedTrial, for_good: bool) -> None:
    before = state(trial.path)
    for at in trial.sample(2 if for_good else 4):
        raised = fail(trial, at, no_space, for_good=for_good)
        if trial.middle is not None or trial.name == "stop_process":
            # What stays, and what leaves no commit, cannot be told by the refs.
            trial.check_step(at)
            trial.renew()
            continue
        where = f"step {at} of {trial.count}: {trial.steps.names[at - 1 :][:1]}"
        seen = state(trial.path)
        happened = refs(seen) != refs(before)
        assert raised is not happened, where
        if not happened:
            assert seen == before, where
        if happened or at % 8 == 0:
            assert trial.check_step(at) is happened
            trial.renew()
            before = state(trial.path)


def test_an_interrupt_leaves_all_or_nothing(trial: SteppedTrial) -> None:
    for at in trial.sample(1):
        fail(trial, at, interrupt)
        trial.check_step(at)
        trial.renew()


def test_a_kill_leaves_all_or_nothing(trial: SteppedTrial, killed: Callable[..., str]) -> None:
    for at in trial.sample(2):
        # In another process there may be some steps less.
        assert killed(trial.path, trial.name, at) == "killed" or at > trial.count - 10
        trial.check_step(at)
        trial.renew()


def test_a_kill_while_a_kill_is_recovered_leaves_all_or_nothing(
    trial: SteppedTrial, killed: Callable[..., str]
) -> None:
    for at in trial.sample(1)[:: 1 if not THOROUGH else 5]:
        for recovery_at in range(1, 100):
            trial.renew()
            if killed(trial.path, trial.name, at) == "done":
                assert at > trial.count - 10  # in another process there may be some steps less
                break
            if killed(trial.path, trial.name, at, recovery_at) == "done":
                break
            trial.check_step(at)
            if not THOROUGH:
                break


@pytest.mark.sweep
def test_what_a_process_had_started_dies_with_it(
    tmp_path: Path, furnished: Path, killed: Callable[..., str]
) -> None:
    """Killed while its child makes instances inactive, which holds nothing anybody comes for."""
    name, path = "execute_instance_side_effects", tmp_path / "vault"
    shutil.copytree(furnished, path, symlinks=True)
    with instrumented(path) as steps, steps.counting():
        SCENARIOS[name].act(TableVault(path, AUTHOR))
    first = steps.names.index("git commit") + 1
    shutil.rmtree(path)
    shutil.copytree(furnished, path, symlinks=True)
    for at in range(first - 3, first + 3):
        killed(path, name, at)
    assert len(list((path / ".git/tablevault/processes").iterdir())) > 1
    SCENARIOS[name].act(TableVault(path, AUTHOR))
    check_clean(path)
