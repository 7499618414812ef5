"""Runs operations that are to be killed, each in a fork of a process that has imported it all.

Reads lines ``<folder> <scenario> <step> <step of the recovery>`` and answers each with
``killed``, ``failed`` or ``done``. It is a process of its own because it must run no threads.
With step `TRACED`, the fork stops before the operation, and its process id is written first:
whoever reads it attaches a tracer, and lets it go on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq  # noqa: F401 - imported once, not in each fork

from tablevault import TableVault
from tests.faults.injection import instrumented, kill
from tests.faults.scenarios import AUTHOR, SCENARIOS
from tests.faults.upkeep import UPKEEP

TRACED = -1


def run(path: Path, scenario: str, at: int, recovery_at: int) -> None:
    """Run an operation that is killed at step `at`, or the opening of a vault."""
    if at == TRACED:
        vault = TableVault(path, AUTHOR)
        os.kill(os.getpid(), signal.SIGSTOP)
        SCENARIOS[scenario].act(vault)
        return
    with instrumented(path) as steps:
        if recovery_at:
            with steps.counting(recovery_at, kill):
                TableVault(path, AUTHOR)
            return
        if scenario in UPKEEP:
            with steps.counting(at, kill):
                UPKEEP[scenario].act(path)
            return
        vault = TableVault(path, AUTHOR)
        with steps.counting(at, kill):
            SCENARIOS[scenario].act(vault)


def main() -> None:
    """Serve."""
    pd.DataFrame({"a": [1]})
    for line in sys.stdin:
        path, scenario, at, recovery_at = line.rstrip("\n").split("\t")
        child = os.fork()
        if not child:
            status = 1
            try:
                run(Path(path), scenario, int(at), int(recovery_at))
                status = 0
            finally:
                os._exit(status)
        _, how = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(how):
            sys.stdout.write(f"{child}\n")
            sys.stdout.flush()
            _, how = os.waitpid(child, 0)
        if os.WIFSIGNALED(how):
            sys.stdout.write("killed\n")
        else:
            sys.stdout.write("done\n" if os.waitstatus_to_exitcode(how) == 0 else "failed\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
