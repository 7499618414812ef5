"""What an import and a command cost, against an interpreter that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from pairs import Row, median_of_pairs

PROBE = (
    "import sys, {module};"
    "print([name for name in ('pandas', 'pyarrow', 'numpy', 'pygit2') if name in sys.modules])"
)
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONPATH": str(Path(__file__).parents[1]),
}
"""What stands here is measured, installed or not, and compiled, as what pip installs is."""


def starting(folder: Path, pairs: int) -> list[Row]:
    """Time what a person waits for before anything happens."""
    return imports(folder, pairs) + commands(folder, pairs)


def commands(folder: Path, pairs: int) -> list[Row]:
    """Time short commands in a vault with a hundred instances, all that is printed included."""
    from tablevault import TableVault

    vault = TableVault(folder / "vault", "A", create=True)
    vault.create_table("t")
    for number in range(100):
        vault.create_instance("t", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [number]}), "t")
    rows = []
    for words in (["--help"], ["log"], ["get-table-instances", "t"]):
        command = [sys.executable, "-m", "tablevault", *words]
        rows.append(
            median_of_pairs(
                f"tablevault {' '.join(words)}",
                lambda _, command=command: subprocess.run(
                    command, check=True, capture_output=True, cwd=folder / "vault", env=_ENVIRONMENT
                ),
                lambda _: subprocess.run([sys.executable, "-c", "pass"], check=True),
                pairs=max(5, pairs),
                aim="10",
            )
        )
    return rows


def imports(_: Path, pairs: int) -> list[Row]:
    """Time imports in fresh interpreters, and say which heavy modules they brought."""
    rows = []
    for module in ("tablevault", "tablevault.core"):
        command = [sys.executable, "-c", PROBE.format(module=module)]
        brought = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        rows.append(
            median_of_pairs(
                f"import {module}, brings {brought}",
                lambda _, command=command: subprocess.run(
                    command, check=True, capture_output=True, env=_ENVIRONMENT
                ),
                lambda _: subprocess.run([sys.executable, "-c", "pass"], check=True),
                pairs=max(5, pairs // 2),
                aim="no pandas, pyarrow",
            )
        )
    return rows
