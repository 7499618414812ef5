"""System calls of a process and its children, listed and injected by strace.

What Python's layer cannot see is seen here: the calls of libgit2, SQLite, Arrow and the git
program. A call is named by its name and its number among the calls of that name in one process.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

WRITING = (
    "write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,link,linkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir"
)
NEEDS_ROOM = frozenset({"write", "pwrite64", "mkdir", "mkdirat", "link", "linkat"})
_CALL = re.compile(r"^(\d+) +(\w+)\(")


@dataclass(frozen=True, kw_only=True)
class SystemCall:
    """The n-th call of its name in one process."""

    name: str
    number: int


def can_trace() -> bool:
    """Return whether strace is installed and may trace here."""
    program = shutil.which("strace")
    return (
        program is not None
        and not subprocess.run(
            [program, "-qq", "-e", "trace=none", "true"], capture_output=True, check=False
        ).returncode
    )


def attach(pid: int, log: Path, inject: str = "") -> subprocess.Popen[str]:
    """Trace a stopped process and let it go on; the tracer ends with it and its children."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-o", log, "-e", f"trace={WRITING}"]
        + (["-e", f"inject={inject}"] if inject else []),
        stderr=subprocess.PIPE,
        text=True,
    )
    attached = tracer.stderr.readline()
    assert "attached" in attached, attached
    os.kill(pid, signal.SIGCONT)
    return tracer


def calls_of(log: Path, pid: int) -> list[SystemCall]:
    """List the calls of one process in their order."""
    counts: Counter[str] = Counter()
    calls = []
    for line in log.read_text("utf-8", "replace").splitlines():
        if (match := _CALL.match(line)) and int(match[1]) == pid:
            counts[match[2]] += 1
            calls.append(SystemCall(name=match[2], number=counts[match[2]]))
    return calls
