"""Hand a process over to an interpreter of its own, which outlives the caller's."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from tablevault import errors
from tablevault.errors import TableVaultError, TVProcessError, message_of, reason_of
from tablevault.files.locks import Lock, locked
from tablevault.names import ProcessId
from tablevault.transactions.begin import take_process
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Json, Record, RecordStore, decode_record
from tablevault.transactions.recovery import roll_back, roll_forward
from tablevault.wording import decoded, encoded

_SETUP_S = 5.0
"""How long to wait for errors that are found before the first function is called."""
_LOOK_S = 10.0
_POLL_S = 0.01
_MOST_LOGS = 100
_TOLD_BYTES = 2000
# The path comes first: what lies in the current folder must not be taken for a module of Python.
# A copy of a copy has no parent that would have to wait for its end, and begins a session: what
# is typed or closed at a terminal does not reach it.
_BOOT = """\
import os, sys
sys.path[:] = sys.argv[3:]
os.fork() and os._exit(0)
os.setsid()
import importlib
importlib.import_module(sys.argv[2]).main()
"""


def check_interpreter() -> None:
    """Raise TVProcessError where no interpreter can be started."""
    if not sys.executable or getattr(sys, "frozen", False):
        raise TVProcessError(
            "There is no Python interpreter to run a process in the background: this program "
            "embeds its own.",
            "Leave background out.",
        )


def launch(
    parts: VaultParts, record: Record, lock: Lock, entry: str, order: Mapping[str, Json]
) -> None:
    """Start an interpreter that goes on with a process, which is alive all the while.

    A second lock is held from before the first one is let go until the other interpreter has
    that. If this one is killed in between, the other one goes on with the process, unless
    it was ended or resumed by then.

    Then this waits until the first function is about to be called, a few seconds at most:
    mistakes that are found until then are raised here.

    Parameters
    ----------
    parts, record, lock : VaultParts, Record, Lock
        The process, which has begun and is run by this interpreter. The lock is released.
    entry : str
        Module whose function ``main`` goes on, by :func:`accept`.
    order : mapping
        What this needs to know.

    Raises
    ------
    TVProcessError
        The interpreter could not be started, or ended before it called a function.
    TableVaultError
        What it found wrong.
    """
    log = parts.log_file(record.process_id)
    with ExitStack() as opened:
        try:
            parts.files.write(record)
            _sweep_logs(parts, log)
            with locked(parts.files.handover_file(record.process_id)):
                lock.release()
                answer = opened.enter_context(_spawn(parts, record, log, entry, order))
                is_taken = bool(answer.readline())
        except OSError as error:
            lock.release()
            raise _give_up(
                parts, record, log, f"it could not be started, {reason_of(error)}"
            ) from error
        # Not readable in time: it is still at it, and tells no one but its log.
        waiting = select.poll()
        waiting.register(answer, select.POLLIN)
        if not is_taken or waiting.poll(_SETUP_S * 1000):
            said = answer.readline()
            if not said:
                raise _give_up(parts, record, log, "its interpreter ended before it had begun")
            _raise(json.loads(said), record.process_id, log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What was handed over to this interpreter, and how it answers, once."""

    process_id: ProcessId
    order: Mapping[str, Json]
    lock: Lock
    answer: int

    def ready(self) -> None:
        """Say that all is well so far, and functions are about to be called."""
        self._say({"is_ready": True})

    def failed(self, error: BaseException) -> None:
        """Say what went wrong, unless it was said already that all was well."""
        answer: dict[str, Json] = {"error": type(error).__name__, "message": message_of(error)}
        if isinstance(error, TableVaultError):
            answer |= {
                "message": encoded(error.message),
                "hint": encoded(error.hint),
                "facts": dict(error.facts),
            }
        self._say(answer)

    def _say(self, said: Mapping[str, Json]) -> None:
        """Answer once; after that, or if the caller has ended, this does nothing."""
        with contextlib.suppress(OSError):
            os.write(self.answer, json.dumps(dict(said)).encode("ascii") + b"\n")
            os.close(self.answer)


def accept() -> Handed:
    """Take over the process for which this interpreter was started.

    Programs that its functions start are ended with it if it is ended from outside.

    Raises
    ------
    TVProcessError
        The caller was killed, and the process was ended or resumed meanwhile.
    """
    with os.fdopen(0, "rb") as given:
        order = json.loads(given.read())
    os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free: standard input
    signal.signal(signal.SIGTERM, _end_all)
    os.set_inheritable(order["answer"], False)
    record = decode_record(order["record"].encode("ascii"))
    lock = _take_over(RecordStore(Path(order["state"])), record)
    with contextlib.suppress(BrokenPipeError):  # it goes on without its caller
        os.write(order["answer"], b"taken\n")
    return Handed(
        process_id=record.process_id, order=order["order"], lock=lock, answer=order["answer"]
    )


def _take_over(files: RecordStore, record: Record) -> Lock:
    """Return the lock of the process that was handed over, held."""
    with files.mutex():
        lock = take_process(files, record.process_id)
        found = files.read(record.process_id)
        if found != record:
            if found is None:
                files.remove(record.process_id)
            lock.release()
            raise TVProcessError(
                f'Process "{record.process_id}" is no longer what was handed over.',
                process=record.process_id,
            )
        # From here on the lock itself says that the process runs.
        files.handover_file(record.process_id).unlink(missing_ok=True)
        return lock


def _end_all(number: int, _: object) -> None:
    """End this interpreter and what it started: all that is in its session."""
    signal.signal(number, signal.SIG_DFL)
    os.killpg(os.getpgrp(), number)


def _spawn(
    parts: VaultParts,
    record: Record,
    log: Path,
    entry: str,
    order: Mapping[str, Json],
) -> FileIO:
    """Start the interpreter, give it its order, and return what it will answer through."""
    heard, written = os.pipe()
    # Where standard input or output is closed, numbers below 3 are free, but mean these.
    answer = fcntl.fcntl(written, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        given = {
            "state": str(parts.state),
            "record": record.encode().decode("ascii"),
            "answer": answer,
            "order": dict(order),
        }
        shown = f"tablevault {record.request.operation} {parts.repository.path}"
        path = list(map(str, sys.path))
        with (
            log.open("ab") as output,
            subprocess.Popen(
                [sys.executable, "-u", "-c", _BOOT, shown, entry, *path],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(answer,),
                start_new_session=True,
            ) as started,
        ):
            assert started.stdin is not None
            with contextlib.suppress(BrokenPipeError), started.stdin as pipe:
                pipe.write(json.dumps(given).encode("ascii"))
    except BaseException:
        os.close(heard)
        raise
    finally:
        for each in (written, answer):
            os.close(each)
    # Without a buffer, in which a second answer would wait unseen.
    return FileIO(heard)


def _give_up(parts: VaultParts, record: Record, log: Path, why: str) -> TVProcessError:
    """Roll back a process that was not handed over; one with rows stays paused."""
    error = TVProcessError(
        f'Process "{record.process_id}" does not run in the background: {why}. '
        f"{_last_words(log)}".strip(),
        f'What it printed is in "{log}".' if log.exists() else "",
        process=record.process_id,
        log=str(log),
    )
    deadline = time.monotonic() + _LOOK_S
    while parts.files.is_alive(record.process_id) and time.monotonic() < deadline:
        time.sleep(_POLL_S)  # its files are closed one after the other
    with parts.files.mutex():
        left = parts.files.read(record.process_id)
        if left is None or parts.files.is_alive(record.process_id):
            return error
        if left.plan:
            parts.files.write(left.failed(error, time.time()))
        elif not roll_forward(parts, left):
            roll_back(parts, left.failed(error, time.time()))
    return error


def _raise(said: Mapping[str, object], process_id: ProcessId, log: Path) -> None:
    """Raise what the other interpreter found wrong, if it found anything."""
    name = said.get("error")
    if name is None:
        return
    kind = getattr(errors, str(name), None)
    if isinstance(kind, type) and issubclass(kind, TableVaultError):
        facts = said.get("facts")
        raise kind(
            decoded(said["message"]),
            decoded(said.get("hint", "")),
            **(facts if isinstance(facts, dict) else {}),
        )
    raise TVProcessError(
        f'Process "{process_id}" failed in the background: {name}: {said["message"]}',
        f'What it printed is in "{log}".',
        process=process_id,
        log=str(log),
    )


def _last_words(log: Path) -> str:
    """Return the last line that was printed."""
    try:
        text = log.read_bytes()[-_TOLD_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = text.strip().splitlines()
    return f"It said: {lines[-1].strip()}" if lines else ""


def _sweep_logs(parts: VaultParts, log: Path) -> None:
    """Keep the newest logs, and those of processes that have not ended; make the folder."""
    folder = log.parent
    folder.mkdir(parents=True, exist_ok=True)
    logs = sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime)
    if len(logs) <= _MOST_LOGS:
        return
    needed = {parts.log_file(record.process_id) for record in parts.files.every()}
    for old in logs[:-_MOST_LOGS]:
        if old not in needed:
            old.unlink(missing_ok=True)
