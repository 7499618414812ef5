"""An execution that is killed goes on: only the row in flight is paid for twice.

A generator can only be begun anew: its items are paid for again unless it had ended.

In the default profile a sample of the steps is tried, with TABLEVAULT_THOROUGH=1 all of them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.faults.injection import instrumented, kill
from tests.faults.scenarios import AUTHOR
from tests.looking import check_clean

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
THOROUGH = bool(os.environ.get("TABLEVAULT_THOROUGH"))
ROWS = 12
CODE = """\
import os
import time

import pandas as pd


def pay(what):
    time.sleep(0.002)  # what takes no time may be recorded 10 ms later
    with open(os.environ["TABLEVAULT_TEST_PAID"], "a") as file:
        file.write(what + "\\n")


def make(count):
    pay("make")
    return pd.DataFrame({"n": range(count)})


def square(n):
    pay(f"square {n}")
    return n * n


def items(frame):
    for n in frame["n"]:
        pay(f"item {n}")
        yield f"item {n}"
"""
BUILDERS = {
    "t_index": (
        "builder_type: IndexBuilder\nchanged_columns: [n]\npython_function: make\n"
        f"code_module: paid\nis_custom: true\narguments: {{count: {ROWS}}}\n"
    ),
    "items": (
        "builder_type: ColumnBuilder\nchanged_columns: [item]\npython_function: items\n"
        "code_module: paid\nis_custom: true\nreturn_type: generator\n"
        'arguments: {frame: "<<self.n>>"}\n'
    ),
    "square": (
        "builder_type: ColumnBuilder\nchanged_columns: [square]\npython_function: square\n"
        "code_module: paid\nis_custom: true\nreturn_type: row-wise\ndtypes: {square: Int64}\n"
        'arguments: {n: "<<self.n[index]>>"}\n'
    ),
}
RUN = """\
import sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "bob")
print("ready", flush=True)
vault.execute_instance("t", process_id="job")
"""


@pytest.fixture(scope="module")
def template(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paid") / "vault"
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_code_module("paid", text=CODE)
    vault.create_table("t")
    vault.create_instance("t", builders=BUILDERS)
    return path


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TABLEVAULT_TEST_PAID", str(tmp_path / "paid"))
    return tmp_path / "paid"


def renew(template: Path, path: Path, paid: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    subprocess.run(["cp", "-a", template, path], check=True)
    paid.unlink(missing_ok=True)


def executed(path: Path, at: int | None) -> tuple[int, list[str]]:
    """Execute in a fork that is killed at a step; give its status and all steps when it ends."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with instrumented(path) as steps:
            vault = TableVault(path, "bob")
            with steps.counting(at, kill):
                vault.execute_instance("t", process_id="job")
            os.write(writing, "\n".join(steps.names).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        names = told.read().splitlines()
    return os.waitpid(child, 0)[1], names


def check_paid(path: Path, paid: Path, *, kills: int, where: str) -> None:
    """Take the execution up, and see what was paid for."""
    before = Counter(paid.read_text().splitlines()) if paid.exists() else Counter()
    vault = TableVault(path, AUTHOR)
    if not vault.get_process_completion("job"):
        vault.execute_instance("t", process_id="job")
    frame, _ = vault.get_dataframe("t")
    assert frame["n"].tolist() == list(range(ROWS)), where
    assert frame["square"].tolist() == [n * n for n in range(ROWS)], where
    assert frame["item"].tolist() == [f"item {n}" for n in range(ROWS)], where
    counted = Counter(paid.read_text().splitlines())
    has_ended = any(what.startswith("square") for what in before)
    again = {
        what: count - 1
        for what, count in counted.items()
        if count > 1 and (has_ended or "item" not in what)
    }
    assert len(counted) == 1 + 2 * ROWS, where
    assert sum(again.values()) <= kills, (where, again)
    assert vault.get_table_instances("t") == [vault.get_dataframe("t")[1]]
    assert not vault.get_active_processes()
    check_clean(path)


@pytest.mark.sweep
def test_a_kill_at_any_step_costs_the_row_in_flight_alone(
    template: Path, tmp_path: Path, paid: Path
) -> None:
    path = tmp_path / "vault"
    renew(template, path, paid)
    status, names = executed(path, None)
    assert status == 0
    assert len(names) > ROWS
    chance = random.Random("paid")
    every = range(1, len(names) + 1)
    for at in every if THOROUGH else sorted(chance.sample(every, 12)):
        renew(template, path, paid)
        executed(path, at)
        check_paid(path, paid, kills=1, where=f"step {at} {names[at - 1]}")


def test_kill_after_kill_every_row_gets_done(template: Path, tmp_path: Path, paid: Path) -> None:
    """Each attempt dies some steps after it began; rows of all of them add up."""
    path = tmp_path / "vault"
    renew(template, path, paid)
    chance = random.Random("again and again")
    kills = 0
    for _ in range(200 if THOROUGH else 8):
        status, _names = executed(path, chance.randint(15, 45))
        if status == 0:
            break
        kills += 1
    items = sum("item" in line for line in paid.read_text().splitlines()) - ROWS
    check_paid(path, paid, kills=kills + max(items, 0), where=f"{kills} kills")


@pytest.mark.sweep
def test_a_kill_at_any_moment_costs_the_row_in_flight_alone(
    template: Path, tmp_path: Path, paid: Path
) -> None:
    """Another interpreter is killed when some rows are paid for, wherever it is then."""
    path = tmp_path / "vault"
    for rows in range(1, 2 * ROWS, 1 if THOROUGH else 9):
        renew(template, path, paid)
        with subprocess.Popen([sys.executable, "-c", RUN, path]) as process:
            while process.poll() is None:
                if paid.exists() and paid.read_text().count("\n") >= rows:
                    process.send_signal(signal.SIGKILL)
                    break
        check_paid(path, paid, kills=1, where=f"{rows} rows")
