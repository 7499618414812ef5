"""Several processes in one vault, and what opening a full one costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from growth import MANY, fill
from pairs import Row, from_times, median_of_pairs, timed

from tablevault import TableVault

OPERATIONS = 24
PAUSED = 100
_WORKER = """\
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], sys.argv[2], lock_timeout=600)
vault.create_table(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    for n in range(int(line)):
        vault.create_instance(sys.argv[2], external_edit=True)
    print("done", flush=True)
"""
_FAILS = "def fail(n):\n    raise LookupError\n"
_INDEX = (
    "builder_type: IndexBuilder\nchanged_columns: [n]\npython_function: fail\n"
    "code_module: fails\nis_custom: true\narguments: {n: 1}\n"
)


def throughput(folder: Path, pairs: int) -> list[Row]:
    """Time as many small operations by 2 and by 4 processes as by one, by turns."""
    TableVault(folder / "vault", "ana", create=True)
    workers = [_start(folder / "vault", f"w{n}") for n in range(4)]
    rows = []
    try:
        for count in (2, 4):
            several, one = [], []
            for number in range(pairs // 4 + 2):
                several.append(timed(lambda _, count=count: _work(workers[:count]), number))
                one.append(timed(lambda _: _work(workers[:1]), number))
            name = f"{OPERATIONS} create_instance by {count} processes"
            rows.append(from_times(name, several[1:], one[1:], aim="1.5"))
    finally:
        for worker in workers:
            worker.communicate()
    return rows


def reopening(folder: Path, pairs: int) -> list[Row]:
    """Time opening, and a look at what is paused, against an empty vault."""
    instances = MANY if pairs > 5 else MANY // 10
    path = folder / "full"
    vault = fill(path, instances)
    vault.create_code_module("fails", text=_FAILS)
    for n in range(PAUSED):
        vault.create_table(f"paused{n}")
        vault.create_instance(f"paused{n}", builders={f"paused{n}_index": _INDEX})
        try:
            vault.execute_instance(f"paused{n}", process_id=f"p{n}")
        except LookupError:
            continue
    TableVault(folder / "empty", "ana", create=True)
    what = f"{instances:,} instances, {PAUSED} paused"

    def row(name: str, step) -> Row:
        return median_of_pairs(
            f"{name}, {what}",
            lambda _: step(path),
            lambda _: step(folder / "empty"),
            pairs=pairs,
            aim="",
        )

    return [
        row("open", lambda path: TableVault(path, "ana")),
        row("active", lambda path: TableVault(path, "ana").get_active_processes()),
    ]


def _start(path: Path, name: str) -> subprocess.Popen[str]:
    """Start a process that waits to be told how much to do."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, path, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    worker.stdout.readline()
    return worker


def _work(workers: list[subprocess.Popen[str]]) -> None:
    """Share the operations among processes, and wait for all of them."""
    for worker in workers:
        worker.stdin.write(f"{OPERATIONS // len(workers)}\n")
        worker.stdin.flush()
    for worker in workers:
        worker.stdout.readline()
