"""One scenario on copies of a vault: what a user sees before and after, and whether it is whole."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tablevault import TableVault
from tests.faults.scenarios import AUTHOR, SCENARIOS, Scenario, view
from tests.looking import check_clean, git

THOROUGH = bool(os.environ.get("TABLEVAULT_THOROUGH"))
"""Whether all steps are tried, not a sample."""

EVERY_RUN = (
    "write_instance_own_artifacts",
    "execute_instance_side_effects",
    "undo_rename_table",
)
"""What is tried each time: data, functions, and refs that move together."""
EVERY_KIND = (
    "create_table",
    "create_instance_replacing",
    "write_instance_own_artifacts",
    "execute_instance",
    "execute_instance_side_effects",
    "delete_instance_owner",
    "stop_process_keeping_rows",
    "undo_rename_table",
)
"""One scenario of each kind of operation."""


def spread(count: int, size: int, seed: str) -> list[int]:
    """Return numbers from 1 to `count`: one from each of `size` parts, or all."""
    if THOROUGH or size >= count:
        return list(range(1, count + 1))
    chance = random.Random(seed)
    bounds = [count * part // size for part in range(size + 1)]
    return [chance.randint(low + 1, high) for low, high in itertools.pairwise(bounds)]


@dataclass(kw_only=True)
class Trial:
    """One scenario on copies of the furnished vault.

    Attributes
    ----------
    before, middle, after : dict
        What a user sees: before the operation, after its first step where it has one that stays,
        and after the operation.
    """

    name: str
    path: Path
    template: Path
    known: frozenset[str]
    before: dict[str, object] = field(default_factory=dict)
    middle: dict[str, object] | None = None
    after: dict[str, object] = field(default_factory=dict)

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.name]

    def renew(self) -> None:
        """Put a fresh copy of the vault in place."""
        shutil.rmtree(self.path, ignore_errors=True)
        subprocess.run(["cp", "-a", self.template, self.path], check=True)
        self.scenario.prepare(self.path)

    def act(self) -> None:
        self.scenario.act(TableVault(self.path, AUTHOR))

    def view(self) -> dict[str, object]:
        """Open the vault and look at it."""
        return view(TableVault(self.path, AUTHOR), self.path, self.known)

    def measure(self, during: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Run the scenario without a fault, with `during` around the operation itself."""
        if self.scenario.has_middle:
            self.renew()
            self.scenario.act_half(TableVault(self.path, AUTHOR))
            self.middle = self.view()
        self.renew()
        vault = TableVault(self.path, AUTHOR)
        self.before = view(vault, self.path, self.known)
        with during():
            self.scenario.act(vault)
        self.after = self.view()
        assert self.after != self.before
        check_clean(self.path)

    def check_whole(self, where: str, *, thoroughly: bool = False) -> bool:
        """Reopen, and see that all or nothing has happened; run it again when nothing has."""
        seen = self.view()
        happened = seen == self.after
        if not happened:
            assert seen in (self.before, self.middle), where
            self.act()
            assert self._comparable(self.view()) == self._comparable(self.after), where
        if self.name == "stop_process":  # it leaves no commit by which it could be told
            TableVault(self.path, AUTHOR, restart=True)
        # A process that was killed before its commit is rolled back by the next that needs it.
        assert list((self.path / ".git/tablevault/processes").iterdir()) == [], where
        if thoroughly:
            check_clean(self.path)
        else:
            assert git(self.path, "status", "--porcelain") == "", where
        return happened

    def _comparable(self, seen: dict[str, object]) -> dict[str, object]:
        """Leave out origins where earlier instances may be inactive since the fault."""
        if self.middle is None:
            return seen
        return {
            name: {key: fact for key, fact in what.items() if key != "origin"}
            if isinstance(what, dict)
            else what
            for name, what in seen.items()
        }
