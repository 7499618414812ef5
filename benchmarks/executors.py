"""Rows on executors: how much faster two workers of Dask are than one, and what a row costs.

``python benchmarks/executors.py`` prints a Markdown table: 240 rows of 100 ms on one and on two
workers, without the start of the workers, and what a trivial row costs beside ``map`` of the same
pool with the same function.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from distributed import Client, LocalCluster

from tablevault import TableVault

CODE = """
import time
import pandas as pd

def rows(n):
    return pd.DataFrame({"id": range(n)})

def slow(id):
    time.sleep(0.1)
    return id

def trivial(id):
    return id + 1
"""
INDEX = """
builder_type: IndexBuilder
changed_columns: [id]
primary_key: [id]
python_function: rows
code_module: work
is_custom: true
executor: threads
arguments: {n: N}
"""
COLUMN = """
builder_type: ColumnBuilder
changed_columns: [x]
python_function: FUNCTION
code_module: work
is_custom: true
return_type: row-wise
arguments: {id: "<<self.id[index]>>"}
"""
SLOW_ROWS = 240
TRIVIAL_ROWS = 20_000


def trivial(number: int) -> int:
    return number + 1


def executed(function: str, rows: int, executor: Executor | None) -> float:
    """Return the seconds that an execution takes in a new vault."""
    with tempfile.TemporaryDirectory() as folder:
        vault = TableVault(Path(folder) / "v", "Bench <bench@example.org>", create=True)
        vault.create_code_module("work", text=CODE)
        vault.create_table("t")
        builders = {
            "t_index": INDEX.replace("N", str(rows)),
            "x": COLUMN.replace("FUNCTION", function),
        }
        vault.create_instance("t", builders=builders)
        began = time.perf_counter()
        vault.execute_instance("t", executor=executor)
        return time.perf_counter() - began


def on_dask(workers: int) -> float:
    """Return the seconds that rows of 100 ms take."""
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        executor = client.get_executor()
        executed("slow", 2 * workers, executor)  # the workers have imported all
        return executed("slow", SLOW_ROWS, executor)


def main() -> None:
    one, two = on_dask(1), on_dask(2)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        executed("trivial", 100, pool)
        sum(pool.map(trivial, range(100)))
        there = executed("trivial", TRIVIAL_ROWS, pool)
        here = executed("trivial", TRIVIAL_ROWS, None)
        began = time.perf_counter()
        sum(pool.map(trivial, range(TRIVIAL_ROWS)))
        raw = time.perf_counter() - began
    print("| measure | found | aim |\n| --- | --- | --- |")
    print(f"| {SLOW_ROWS} rows of 100 ms, one worker of Dask | {one:.2f} s | |")
    print(f"| the same, two workers | {two:.2f} s, {one / two:.2f} times as fast | 1.9 |")
    each = 1000 / TRIVIAL_ROWS
    print(f"| a trivial row in two processes | {there * each:.3f} ms | 1 |")
    print(f"| the same in this process | {here * each:.3f} ms | |")
    print(f"| `map` of the pool | {raw * each:.3f} ms | |")


if __name__ == "__main__":
    main()
