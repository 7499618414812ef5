"""What an operation costs in a vault with 10,000 instances against one with 10."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd
from pairs import Row, median_of_pairs

from tablevault import TableVault

AIM = "1.2"
MANY, FEW = 10_000, 10
INODES_FREED_S = 65.0


def fill(path: Path, instances: int) -> TableVault:
    """Make a vault with `instances` instances in five tables; not durably, to save time."""
    vault = TableVault(path, "ana", create=True)
    synced, os.fsync = os.fsync, lambda _: None
    for table in range(5):
        vault.create_table(f"t{table}")
    for number in range(instances):
        table = f"t{number % 5}"
        vault.create_instance(table, external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [number]}), table)
    os.fsync = synced
    return vault


def after_many(folder: Path, pairs: int) -> list[Row]:
    """Measure operations and reads in both vaults by turns."""
    instances = MANY if pairs > 5 else MANY // 10
    many, few = fill(folder / "many", instances), fill(folder / "few", FEW)
    # What is measured does not pay for the filling: for what was not synced yet, and for the
    # inodes of packed objects, which ext4 without a journal passes over one by one for a minute.
    os.sync()
    time.sleep(INODES_FREED_S)

    def row(name: str, step) -> Row:
        return median_of_pairs(
            f"{name}, {instances:,} instances",
            lambda i: step(many, i),
            lambda i: step(few, i),
            pairs=pairs,
            aim=AIM,
        )

    def write(vault: TableVault, number: int) -> None:
        vault.create_instance("t0", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [-number]}), "t0")

    return [
        row("create_table", lambda vault, i: vault.create_table(f"x{i}")),
        row("create_instance and write_instance", write),
        row("get_dataframe", lambda vault, _: vault.get_dataframe("t0")),
        row("open", lambda vault, _: TableVault(vault._vault.path, "ana")),  # noqa: SLF001 - its path
    ]
