"""verify of a vault with large frames against ``git lfs fsck``; the cost of many packs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
from pairs import Row, from_times, timed

from tablevault import TableVault

TABLES, ROWS = 12, 1_000_000
GIGABYTE = 10**9


def _fill(path: Path) -> tuple[TableVault, int]:
    """Make a vault whose frames cannot be compressed; give it with the bytes of its objects."""
    vault = TableVault(path, "ana", create=True)
    for table in range(TABLES):
        random = np.random.default_rng(table)
        frame = pd.DataFrame({f"c{n}": random.random(ROWS) for n in range(10)})
        vault.create_table(f"t{table}")
        vault.create_instance(f"t{table}", external_edit=True)
        vault.write_instance(frame, f"t{table}")
    objects = (path / ".git/lfs/objects").rglob("*")
    return vault, sum(file.stat().st_size for file in objects if file.is_file())


def verify_a_gigabyte(folder: Path, pairs: int) -> list[Row]:
    """Measure both by turns, scaled to one gigabyte of objects; the file cache is warm."""
    vault, size_bytes = _fill(folder / "vault")

    def fsck() -> None:
        subprocess.run(
            ["git", "-C", folder / "vault", "lfs", "fsck"], check=True, capture_output=True
        )

    def verify(*, data: bool = True) -> None:
        assert vault.verify(data=data) == []

    whole, quick, theirs = [], [], []
    for _ in range(max(3, pairs // 5) + 1):
        whole.append(timed(lambda _: verify(), 0))
        quick.append(timed(lambda _: verify(data=False), 0))
        theirs.append(timed(lambda _: fsck(), 0))
    scale = GIGABYTE / size_bytes
    whole, quick, theirs = (
        [second * scale for second in side[1:]] for side in (whole, quick, theirs)
    )
    return [
        from_times("verify, 1 GB", whole, theirs, aim="1"),
        from_times("verify(data=False), 1 GB", quick, theirs, aim="-"),
    ]
