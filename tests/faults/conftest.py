from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.scenarios import furnish, instance_ids
from tests.faults.strace import can_trace

collect_ignore = [] if can_trace() else ["test_system_calls.py"]


@pytest.fixture(scope="session")
def furnished(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a vault to copy, on which every scenario can be acted."""
    path = tmp_path_factory.mktemp("furnished") / "vault"
    furnish(path)
    return path


@pytest.fixture(scope="session")
def known(furnished: Path) -> frozenset[str]:
    """Return the ids of the instances in the furnished vault."""
    return instance_ids(furnished)


class Driver:
    """The process that runs scenarios in forks of itself; see `tests.faults.driver`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, path: Path, scenario: str, at: int, recovery_at: int = 0) -> None:
        """Start a scenario."""
        self._process.stdin.write(f"{path}\t{scenario}\t{at}\t{recovery_at}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """Wait for the next line."""
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def driver(sealed: Path) -> Iterator[Driver]:
    """Start the process that runs scenarios."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.faults.driver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield Driver(server)
        server.stdin.close()


@pytest.fixture(scope="session")
def killed(driver: Driver) -> Callable[..., str]:
    """Run a scenario in another process and kill it at a step."""

    def run(path: Path, scenario: str, at: int, recovery_at: int = 0) -> str:
        driver.ask(path, scenario, at, recovery_at)
        return driver.answer()

    return run
