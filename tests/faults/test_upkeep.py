"""A fault while a vault is mended or cleaned: it loses nothing, and the next try ends the work.

In the default profile a sample of the steps is tried, with TABLEVAULT_THOROUGH=1 all of them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.faults.injection import Steps, instrumented, interrupt, no_space
from tests.faults.scenarios import AUTHOR, view
from tests.faults.upkeep import UPKEEP, Upkeep
from tests.looking import check_clean, git

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
THOROUGH = bool(os.environ.get("TABLEVAULT_THOROUGH"))
REPAIRS = [name for name in UPKEEP if name != "gc"]


@dataclass(kw_only=True)
class Trial:
    """One way to look after copies of the furnished vault."""

    name: str
    path: Path
    template: Path
    known: frozenset[str]
    steps: Steps
    sound: dict[str, object]
    count: int = 0

    @property
    def upkeep(self) -> Upkeep:
        return UPKEEP[self.name]

    def renew(self) -> None:
        """Put a fresh copy of the vault in place, in which there is something to do."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.template, self.path, symlinks=True)
        self.upkeep.prepare(self.path)

    def view(self) -> dict[str, object]:
        return view(TableVault(self.path, AUTHOR), self.path, self.known)

    def sample(self, size: int) -> list[int]:
        numbers = range(1, self.count + 1)
        return list(numbers) if THOROUGH else random.Random(self.name).sample(numbers, size)

    def check_whole(self, at: int) -> None:
        """See that nothing was lost, do the work again, and see that nothing is left to do."""
        where = f"step {at} {self.steps.names[at - 1 : at]}"
        if self.name == "gc":
            assert self.view() == self.sound, where
        elif self.upkeep.can_open:
            TableVault(self.path, AUTHOR)
        self.upkeep.act(self.path)
        assert self.view() == self.sound, where
        assert TableVault(self.path, AUTHOR).verify() == [], where
        if self.name == "gc":
            assert git(self.path, "fsck", "--unreachable") == "", where
            assert TableVault(self.path, AUTHOR).gc(grace_s=0, dry_run=True).objects == 0, where
        check_clean(self.path)


@pytest.fixture(
    scope="module",
    params=["gc", *(pytest.param(name, marks=pytest.mark.sweep) for name in REPAIRS)],
)
def trial(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    furnished: Path,
    known: frozenset[str],
) -> Iterator[Trial]:
    """Do the work once without a fault, which counts its steps."""
    path = tmp_path_factory.mktemp("trial") / "vault"
    shutil.copytree(furnished, path, symlinks=True)
    sound = view(TableVault(path, AUTHOR), path, known)
    with instrumented(path) as steps:
        made = Trial(
            name=request.param,
            path=path,
            template=furnished,
            known=known,
            steps=steps,
            sound=sound,
        )
        made.renew()
        with steps.counting():
            made.upkeep.act(path)
        made.count = len(steps.names)
        made.check_whole(0)
        yield made


def fail(trial: Trial, at: int, fire: Callable[[str], None], *, for_good: bool = False) -> None:
    """Do the work with a fault; it may tell of it or not."""
    trial.renew()
    try:
        with trial.steps.counting(at, fire, for_good=for_good):
            trial.upkeep.act(trial.path)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - any will do
        return


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_a_full_disk_loses_nothing(trial: Trial, for_good: bool) -> None:
    for at in trial.sample(2):
        fail(trial, at, no_space, for_good=for_good)
        trial.check_whole(at)


def test_an_interrupt_loses_nothing(trial: Trial) -> None:
    for at in trial.sample(1):
        fail(trial, at, interrupt)
        trial.check_whole(at)


def test_a_kill_loses_nothing(trial: Trial, killed: Callable[..., str]) -> None:
    for at in trial.sample(2):
        trial.renew()
        # In another process there may be some steps less.
        assert killed(trial.path, trial.name, at) == "killed" or at > trial.count - 10
        trial.check_whole(at)
