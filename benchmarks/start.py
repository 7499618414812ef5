"""What an import costs, against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pairs import Row, median_of_pairs

PROBE = (
    "import sys, {module};"
    "print([name for name in ('pandas', 'pyarrow', 'numpy', 'pygit2') if name in sys.modules])"
)


def imports(_: Path, pairs: int) -> list[Row]:
    """Time imports in fresh interpreters, and say which heavy modules they brought."""
    rows = []
    for module in ("tablevault", "tablevault.core"):
        command = [sys.executable, "-c", PROBE.format(module=module)]
        brought = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        rows.append(
            median_of_pairs(
                f"import {module}, brings {brought}",
                lambda _, command=command: subprocess.run(command, check=True, capture_output=True),
                lambda _: subprocess.run([sys.executable, "-c", "pass"], check=True),
                pairs=max(5, pairs // 2),
                aim="no pandas, pyarrow",
            )
        )
    return rows
