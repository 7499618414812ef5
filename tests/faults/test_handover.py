"""A process is handed to another interpreter, and whoever hands it over is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import TVProcessError
from tablevault.files.locks import is_held, take_lock
from tablevault.names import ProcessId
from tablevault.transactions.recovery import roll_back
from tests.looking import check_clean, until

pytestmark = pytest.mark.faults
THOROUGH = bool(os.environ.get("TABLEVAULT_THOROUGH"))
P = ProcessId("p")
INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: made
arguments: {}
is_custom: true
"""
CODE = """\
import pandas as pd


def make():
    return pd.DataFrame({"n": range(3)})
"""
HAND_OVER = """
import os, signal, sys
from tablevault import TableVault
from tablevault.transactions import background

real = background._spawn


def spawn(*arguments):
    print("handing over", flush=True)
    sys.stdin.readline()
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


background._spawn = spawn
TableVault(sys.argv[1], "Ana").execute_instance("t", process_id="p", background=True)
"""
AT_STEP = """
import sys
from pathlib import Path
from tablevault import TableVault
from tests.faults.injection import instrumented, kill

path, at = Path(sys.argv[1]), int(sys.argv[2])
with instrumented(path) as steps:
    vault = TableVault(path, "Ana")
    with steps.counting(at or None, kill):
        vault.execute_instance("t", process_id="p", background=True)
print(*steps.names, sep="\\n")
"""


@pytest.fixture
def vault(tmp_path: Path) -> TableVault:
    vault = TableVault(tmp_path / "vault", "Ana", create=True)
    vault.create_code_module("made", text=CODE)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": INDEX})
    return vault


@pytest.fixture
def killed(vault: TableVault, python: Callable[..., object]) -> Callable[[], None]:
    """Kill whoever hands the process over as soon as the other interpreter is started."""
    child = python(HAND_OVER, vault._vault.path)
    assert child.stdout.readline() == "handing over\n"

    def kill() -> None:
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.wait() == -signal.SIGKILL

    return kill


def printed(vault: TableVault) -> str:
    """Return what the other interpreter has printed."""
    log = vault._vault.parts.log_file(P)
    return log.read_text() if log.exists() else ""


def check_done(vault: TableVault) -> None:
    """Check that the execution has happened once."""
    assert vault.get_dataframe("t")[0]["n"].tolist() == [0, 1, 2]
    assert len(vault.get_table_instances("t")) == 1
    until(lambda: not vault.get_active_processes())
    check_clean(vault._vault.path)


def test_whoever_hands_over_may_be_killed_before_the_other_one_has_the_lock(vault, killed) -> None:
    files = vault._vault.records
    assert not is_held(files.lock_file(P))
    assert files.is_alive(P), "the second lock is held"
    with pytest.raises(TVProcessError, match="runs just now"):
        vault.execute_instance("t", process_id="p")
    killed()
    until(lambda: vault.get_process_completion("p"))
    check_done(vault)


def test_a_process_that_was_taken_back_meanwhile_does_not_come_back(vault, killed) -> None:
    parts = vault._vault.parts
    with parts.files.mutex():
        killed()
        assert not parts.files.is_alive(P)
        roll_back(parts, parts.files.read(P))
    until(lambda: "no longer what was handed over" in printed(vault))
    assert not parts.files.is_alive(P)
    assert vault.get_active_processes() == {}
    assert vault.get_table_instances("t") == []
    until(lambda: not list((parts.state / "processes").iterdir()))


def test_a_process_that_was_taken_up_meanwhile_is_run_by_one_alone(vault, killed) -> None:
    files = vault._vault.records
    with files.mutex():
        killed()
        lock = take_lock(files.lock_file(P))
    until(lambda: "runs just now" in printed(vault))
    assert files.is_alive(P)
    assert files.read(P) is not None
    lock.release()
    vault.execute_instance("t", process_id="p")
    until(lambda: vault.get_process_completion("p"))
    check_done(vault)


@pytest.mark.sweep
def test_a_kill_at_any_step_of_a_handover_loses_nothing(tmp_path, python, finish) -> None:
    def hand_over(path: Path, at: int) -> list[str]:
        child = python(AT_STEP, path, at)
        told = child.communicate()[0].splitlines()
        assert child.returncode == (-signal.SIGKILL if at and not told else 0)
        return told

    made = 0
    steps: list[str] = []
    chosen = [0]
    while chosen:
        made += 1
        vault = TableVault(tmp_path / str(made), "Ana", create=True)
        vault.create_code_module("made", text=CODE)
        vault.create_table("t")
        vault.create_instance("t", builders={"t_index": INDEX})
        told = hand_over(vault._vault.path, chosen.pop())
        if not steps:
            steps = told
            numbers = [n for n, name in enumerate(steps, 1) if "/processes/" in name]
            chosen = numbers if THOROUGH else random.Random("steps").sample(numbers, 3)
        while not vault.get_process_completion("p"):
            try:
                vault.execute_instance("t", process_id="p")
            except TVProcessError:  # the other interpreter was faster
                time.sleep(0.01)
        check_done(vault)
