"""Several at work in one vault: processes and threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from tablevault import TableVault
from tests.looking import check_clean, git
from tests.scripts import Script

AUTHOR = "Ana Lund <ana@example.org>"
ROUNDS = 6
HAMMER = """\
import sys, warnings
warnings.simplefilter("error")
import pandas as pd
from tablevault import TableVault
path, table, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
vault = TableVault(path, table, lock_timeout=60)
vault.create_table(table)
sys.stdin.readline()
for n in range(rounds):
    vault.create_code_module(table, text=f"n = {n}\\n")
    vault.create_instance(table, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [n]}), table)
vault.rename_table(table + "-done", table)
"""


def work(path: Path, table: str, version: str, author: str) -> list[str]:
    vault = TableVault(path, author, lock_timeout=60)
    processes = []
    for n in range(ROUNDS):
        processes.append(vault.create_instance(table, version=version, external_edit=True))
        frame = pd.DataFrame({"n": [n], "by": [author]})
        processes.append(vault.write_instance(frame, table, version=version))
    return processes


def recorded(path: Path) -> list[str]:
    """Return the process ids in history, in every branch."""
    trailers = git(path, "log", "--all", "--format=%(trailers:key=Vault-Process,valueonly)")
    return [line for line in trailers.splitlines() if line]


def test_processes_on_different_tables_lose_nothing(
    path: Path, python: Callable[..., Script]
) -> None:
    TableVault(path, AUTHOR, create=True)
    tables = ["red", "green"]
    workers = [python(HAMMER, path, table, ROUNDS) for table in tables]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.communicate(timeout=110)[1] == ""
        assert worker.returncode == 0
    vault = TableVault(path, AUTHOR)
    assert sorted(vault.get_table_instances()) == ["green-done", "red-done"]
    for table in tables:
        instances = vault.get_table_instances(f"{table}-done")
        frames = [vault.get_dataframe(f"{table}-done", item)[0] for item in instances]
        assert [frame["n"].tolist() for frame in frames] == [[n] for n in range(ROUNDS)]
        assert vault.get_code_module_str(table) == f"n = {ROUNDS - 1}\n"
    # One for the vault; a table, and its rename, a module and an instance for each round.
    count = int(git(path, "rev-list", "--count", "--first-parent", "main"))
    assert count == 1 + len(tables) * (2 + 2 * ROUNDS)
    check_clean(path)


def test_threads_on_the_same_and_on_different_tables_lose_nothing(path: Path) -> None:
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_table("shared")
    vault.create_table("other")
    jobs = [("shared", "one"), ("shared", "two"), ("other", "one")]
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [
            pool.submit(work, path, table, version, f"{table} {version}") for table, version in jobs
        ]
        processes = [process for future in futures for process in future.result()]
    assert len(set(processes)) == 2 * ROUNDS * len(jobs)
    assert set(processes) <= set(recorded(path))
    for table, version in jobs:
        instances = vault.get_table_instances(table, version)
        values = [vault.get_dataframe(table, item)[0]["n"].tolist() for item in instances]
        assert values == [[n] for n in range(ROUNDS)]
    assert len(vault.get_table_instances("shared", "")) == 2 * ROUNDS
    check_clean(path)


def test_threads_that_share_one_vault_object_lose_nothing(path: Path) -> None:
    vault = TableVault(path, AUTHOR, create=True, lock_timeout=60)

    def make(name: str) -> str:
        vault.create_table(name)
        vault.create_instance(name, external_edit=True)
        vault.write_instance(pd.DataFrame({"name": [name]}), name)
        return vault.get_dataframe(name)[0]["name"][0]

    names = [f"table-{n}" for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, names)) == names
    assert sorted(vault.get_table_instances()) == names
    assert len(recorded(path)) >= 3 * len(names)
    check_clean(path)


def test_readers_see_whole_instances_while_others_write(path: Path) -> None:
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_table("pairs")
    vault.create_instance("pairs", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [0] * 1000}), "pairs")

    def write() -> None:
        writer = TableVault(path, "writer")
        for n in range(1, ROUNDS):
            writer.create_instance("pairs", external_edit=True)
            writer.write_instance(pd.DataFrame({"n": [n] * 1000}), "pairs")

    reader = TableVault(path, "reader")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = []
        while not writing.done():
            frame, _ = reader.get_dataframe("pairs")
            assert len(frame) == 1000
            assert (frame["n"] == frame["n"][0]).all()
            seen.append(int(frame["n"][0]))
        writing.result()
    assert seen == sorted(seen)
    assert reader.get_dataframe("pairs")[0]["n"][0] == ROUNDS - 1
