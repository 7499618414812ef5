"""The difference of two large frames, against reading both: seconds, and the peak of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
from frames import ROWS, make_frame
from pairs import Row, from_times, timed

from tablevault import TableVault

AIM = "-"
_PEAK = """
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "ana")
table, step = sys.argv[2:]
ids = vault.get_table_instances(table)
if step == "diff":
    diff = vault.diff(table, ids[-1])
    assert len(diff.changed) == 1000, len(diff.changed)
else:
    frames = [vault.get_dataframe(table, each, active_only=False)[0] for each in ids]
# Not getrusage, which begins with what the parent had when it started this process.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


def against_read(folder: Path, pairs: int) -> list[Row]:
    """Change 1,000 cells, remove 100 rows, append 1,000; both have no key."""
    vault = TableVault(folder / "vault", "ana", create=True)
    frame = make_frame(ROWS, 1)
    edited = frame.copy()
    edited.loc[::1000, "float0"] = 0.5
    edited = pd.concat([edited.drop(index=range(501, 601)), make_frame(1000, 2)])
    rows = []
    vault.create_table("big")
    for each in (frame, edited.reset_index(drop=True)):
        vault.create_instance("big", external_edit=True)
        vault.write_instance(each, "big")
    ids = vault.get_table_instances("big")

    def read(_: int) -> None:
        for each in ids:
            vault.get_dataframe("big", each, active_only=False)

    times = max(3, pairs // 5)
    ours = [timed(lambda _: vault.diff("big", ids[-1]), 0) for _ in range(times)]
    theirs = [timed(read, 0) for _ in range(times)]
    rows.append(from_times("diff, by position and content", ours, theirs, aim=AIM))
    peaks = [[peak(folder / "vault", "big", step)] for step in ("diff", "read")]
    rows.append(from_times("peak of the process", *peaks, aim=AIM, unit="MB"))
    return rows


def peak(vault: Path, table: str, step: str) -> float:
    """Peak of a process that does one thing, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(vault), table, step],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
