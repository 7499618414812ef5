"""The journal on disk: a file and an OS lock for each process, and a bounded local history."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tablevault.journal.record import Record, decode_record
from tablevault.names import ProcessId, record_file
from tablevault.objects.oslock import OsLock
from tablevault.objects.store import sync_folder

_HISTORY_LIMIT_BYTES = 4 << 20


class JournalFiles:
    """Records below ``.git/tablevault/processes``.

    ``<name>.json`` is the record, ``<name>.lock`` is held by the operating system process that
    runs it: *alive* means that this lock is held, and nothing else.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / "processes"
        self._history = state / "history.jsonl"
        self._mutex = state / "journal.lock"

    def mutex(self) -> OsLock:
        """Lock under which processes begin; held for milliseconds, before all other locks."""
        return OsLock(self._mutex)

    def lock_of(self, process_id: ProcessId) -> OsLock:
        """Lock that a process holds as long as it lives."""
        return OsLock(f"{self._folder}/{record_file(process_id)}.lock")

    def is_alive(self, process_id: ProcessId) -> bool:
        """Tell whether somebody runs the process just now."""
        try:
            descriptor = os.open(f"{self._folder}/{record_file(process_id)}.lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # Shared: to look at the lock must not look like holding it to somebody else who looks.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def read(self, process_id: ProcessId) -> Record | None:
        """Read the record of a process that has not ended."""
        return self._read(self._folder / f"{record_file(process_id)}.json")

    def every(self) -> Iterator[Record]:
        """Read the records of all processes that have not ended, oldest first."""
        try:
            names = [entry.name for entry in os.scandir(self._folder) if _is_record(entry.name)]
        except FileNotFoundError:
            return
        records = [self._read(self._folder / name) for name in names]
        yield from sorted(
            (record for record in records if record is not None),
            key=lambda record: (record.started_at, record.process_id),
        )

    def write(self, record: Record, *, durable: bool = False) -> None:
        """Write the record in one step; synced when what follows must not outlive it."""
        path = f"{self._folder}/{record_file(record.process_id)}"
        beside = f"{path}.tmp"
        with open(beside, "wb") as file:  # noqa: PTH123 - pathlib doubles the cost of this
            file.write(record.encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, f"{path}.json")  # noqa: PTH105 - as above
        if durable:
            sync_folder(self._folder)

    def remove(self, process_id: ProcessId) -> None:
        """Remove record and lock file of a process that ended."""
        path = f"{self._folder}/{record_file(process_id)}"
        for ending in (".json", ".tmp", ".lock"):
            with contextlib.suppress(OSError):
                os.unlink(path + ending)  # noqa: PTH108 - pathlib doubles the cost of this

    def strays(self) -> list[str]:
        """Name what has no record: left by who died while it began or ended, or is beginning."""
        try:
            names = [Path(entry.name) for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return []
        known = {name.stem for name in names if _is_record(name.name)}
        return sorted({name.stem for name in names} - known)

    def sweep(self) -> None:
        """Remove strays; take the mutex before, so that nobody is beginning."""
        for name in self.strays():
            lock = OsLock(f"{self._folder}/{name}.lock")
            with contextlib.suppress(TimeoutError), lock.acquire(timeout_s=0):
                for ending in (".tmp", ".lock"):
                    (self._folder / f"{name}{ending}").unlink(missing_ok=True)

    def remember(self, record: Record) -> None:
        """Append the last record of a process that left no commit to the local history."""
        line = json.dumps(
            {
                "process_id": record.process_id,
                "operation": record.request.operation,
                "author": record.author,
                "started_at": record.started_at,
                "ended_at": record.updated_at,
                "error": list(record.error),
            }
        )
        with self._history.open("ab+") as file:
            # A line that a crash cut off must not take this one with it.
            end = b"\n" if file.tell() and not _ends_a_line(file) else b""
            file.write(end + line.encode("ascii") + b"\n")
        if self._history.stat().st_size > _HISTORY_LIMIT_BYTES:
            self._shorten()

    def remembers(self, process_id: str) -> bool:
        """Tell whether the local history knows of the end of a process."""
        return any(entry.get("process_id") == process_id for entry in self.past())

    def past(self) -> Iterator[dict[str, object]]:
        """Read the local history, oldest first; a line cut off by a crash is passed over."""
        try:
            lines = self._history.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry

    def _shorten(self) -> None:
        """Keep the newer half of the history."""
        lines = self._history.read_bytes().splitlines(keepends=True)
        beside = self._history.with_suffix(".tmp")
        beside.write_bytes(b"".join(lines[len(lines) // 2 :]))
        beside.replace(self._history)

    def _read(self, path: Path) -> Record | None:
        """Read one record; None when it is gone or was cut off before it meant anything."""
        try:
            return decode_record(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None


def _ends_a_line(file: BinaryIO) -> bool:
    """Tell whether the last byte of a file is a line break."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _is_record(name: str) -> bool:
    """Tell records from lock files and from files being written."""
    return name.endswith(".json")
