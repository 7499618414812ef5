from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.scenarios import furnish, instance_ids


@pytest.fixture(scope="session")
def furnished(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a vault to copy, on which every scenario can be acted."""
    path = tmp_path_factory.mktemp("furnished") / "vault"
    furnish(path)
    return path


@pytest.fixture(scope="session")
def known(furnished: Path) -> frozenset[str]:
    """Give the ids of the instances in the furnished vault."""
    return instance_ids(furnished)


@pytest.fixture(scope="session")
def killed(sealed: Path) -> Iterator[Callable[..., str]]:
    """Run a scenario in another process and kill it at a step."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.faults.driver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:

        def run(path: Path, scenario: str, at: int, recovery_at: int = 0) -> str:
            server.stdin.write(f"{path}\t{scenario}\t{at}\t{recovery_at}\n")
            server.stdin.flush()
            return server.stdout.readline().strip()

        yield run
        server.stdin.close()
