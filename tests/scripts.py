"""Python processes that run a script, forked from one that has imported what scripts need.

An interpreter that imports pandas takes half a second, a fork some milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

import tablevault

CONTEXT = multiprocessing.get_context("forkserver")
MODULES = [name for _, name, _ in pkgutil.walk_packages(tablevault.__path__, "tablevault.")]
CONTEXT.set_forkserver_preload([name for name in MODULES if not name.endswith("__main__")])


class Script:
    """A process that runs a script, its input, output and errors piped, like that of a `Popen`."""

    def __init__(self, script: str, *arguments: object) -> None:
        reader, stdin = CONTEXT.Pipe(duplex=False)
        stdout, writer = CONTEXT.Pipe(duplex=False)
        stderr, errors = CONTEXT.Pipe(duplex=False)
        self.stdin = os.fdopen(os.dup(stdin.fileno()), "w")
        self.stdout = os.fdopen(os.dup(stdout.fileno()))
        self.stderr = os.fdopen(os.dup(stderr.fileno()))
        theirs = (reader, writer, errors)
        given = (script, [str(each) for each in arguments], dict(os.environ), theirs)
        self._process = CONTEXT.Process(target=_run, args=given)
        self._process.start()
        for connection in (*theirs, stdin, stdout, stderr):
            connection.close()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("script", timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Close the input, read output and errors to their ends, and wait."""
        errors: list[str] = []
        reading = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        reading.start()
        self.stdin.close()
        out = self.stdout.read()
        reading.join()
        self.wait(timeout)
        return out, errors[0]

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Kill the process if it still runs, and close what is open."""
        self.kill()
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()


def _run(
    script: str, arguments: list[str], environment: dict[str, str], streams: tuple[Connection, ...]
) -> None:
    """Run a script as the main program of this process."""
    for number, connection in enumerate(streams):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
