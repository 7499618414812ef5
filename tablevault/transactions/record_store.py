"""Records on disk: a file for each process, locked while it runs; a bounded local history."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tablevault.lfs.os_lock import OsLock, is_held
from tablevault.lfs.small_files import read_note
from tablevault.lfs.store import sync_folder
from tablevault.names import ProcessId, record_file
from tablevault.transactions.process_history import history_file, read_past, records_folder
from tablevault.transactions.record import Record, decode_record

_HISTORY_LIMIT_BYTES = 4 << 20
_LONGEST_BYTES = 1 << 16
_ENDINGS = (".json", ".next", ".tmp")


class RecordStore:
    """Records below ``.git/tablevault/processes``.

    ``<name>.json`` is the record, the last whole line of it; when it has grown long, the record is
    the file ``<name>.next`` instead. The operating system process that runs it holds a lock on
    ``<name>.json``: *alive* means that this lock is held, and nothing else.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._folder = records_folder(state)
        self._history = history_file(state)
        self._mutex = state / "journal.lock"

    def mutex(self) -> OsLock:
        """Lock under which processes begin; held for milliseconds, before all other locks."""
        return OsLock(self._mutex)

    def lock_of(self, process_id: ProcessId) -> OsLock:
        """Lock that a process holds as long as it lives."""
        return OsLock(self.path_of(process_id))

    def path_of(self, process_id: ProcessId) -> str:
        """File of the record, for who has to make it durable."""
        return f"{self._folder}/{record_file(process_id)}.json"

    def is_alive(self, process_id: ProcessId) -> bool:
        """Return whether somebody runs the process just now."""
        try:
            descriptor = os.open(self.path_of(process_id), os.O_RDONLY)
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

    def is_alive_file(self, name: str) -> bool:
        """Return whether somebody holds the record in the file `name`, given without ending."""
        return is_held(f"{self._folder}/{name}.json")

    def read(self, process_id: ProcessId) -> Record | None:
        """Read the record of a process that has not ended."""
        return _read(self.path_of(process_id))

    def left(self, process_id: ProcessId) -> Record | None:
        """Read the record of a process that nobody runs; None when somebody does, or it has ended.

        In this order: a record that was read while the process ran may miss its last steps.
        """
        return None if self.is_alive(process_id) else self.read(process_id)

    def every(self) -> Iterator[Record]:
        """Read the records of all processes that have not ended, oldest first."""
        records = [_read(f"{self._folder}/{name}") for name in self.names()]
        yield from sorted(
            (record for record in records if record is not None),
            key=lambda record: (record.started_at, record.process_id),
        )

    def names(self) -> frozenset[str]:
        """Name the files of all processes that have not ended."""
        try:
            return frozenset(name for name in os.listdir(self._folder) if _is_record(name))  # noqa: PTH208 - as above
        except FileNotFoundError:
            return frozenset()

    def write(self, record: Record, *, durable: bool = False) -> None:
        """Write what the record is now after what it was before; synced when that must last."""
        path = self.path_of(record.process_id)
        with open(path, "ab") as file:  # noqa: PTH123 - pathlib doubles the cost of this
            is_long = file.tell() > _LONGEST_BYTES
            if not is_long:
                # The break ends a line that was cut off when somebody died, or the disk was full.
                file.write(b"\n" + record.encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if is_long:
            self._write_next(_stem(path), record, durable=durable)
        if durable:
            sync_folder(self._folder)

    def remove(self, process_id: ProcessId) -> None:
        """Remove the record of a process that ended; its lock goes with it."""
        path = self.path_of(process_id)
        with contextlib.suppress(OSError):
            is_long = os.stat(path).st_size > _LONGEST_BYTES  # noqa: PTH116 - as above
            os.unlink(path)  # noqa: PTH108 - as above
            if is_long:
                _remove_others(_stem(path))

    def strays(self) -> list[str]:
        """Name what has no record: left by who died while it began or ended, or is beginning."""
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return []
        known = {
            _stem(name)
            for name in names
            if _is_record(name) and _read(f"{self._folder}/{name}") is not None
        }
        return sorted({_stem(name) for name in names if name.endswith(_ENDINGS)} - known)

    def sweep(self) -> None:
        """Remove strays; take the mutex before, so that nobody is beginning."""
        for name in self.strays():
            path = self._folder / f"{name}.json"
            lock = OsLock(path)
            with contextlib.suppress(TimeoutError), lock.acquire(timeout_s=0):
                _remove_others(_stem(str(path)))
                path.unlink(missing_ok=True)

    def remember(self, record: Record) -> None:
        """Append the last record of a process that left no commit to the local history."""
        sample = record.request.arguments.get("sample")
        line = json.dumps(
            {
                "process_id": record.process_id,
                "operation": record.request.operation,
                "author": record.author,
                "started_at": record.started_at,
                "ended_at": record.updated_at,
                "error": list(record.error),
                "frees_id": record.frees_id,
                "parent": record.parent,
                "table_name": _argument(record, "table_name"),
                "version": _argument(record, "version"),
                "instance_id": _argument(record, "instance_id"),
                **({"sample": sample} if sample is not None else {}),
            }
        )
        with self._history.open("ab+") as file:
            # A line that a crash cut off must not take this one with it.
            end = b"\n" if file.tell() and not _ends_a_line(file) else b""
            file.write(end + line.encode("ascii") + b"\n")
        if self._history.stat().st_size > _HISTORY_LIMIT_BYTES:
            self._shorten()

    def remembers(self, process_id: str) -> bool:
        """Return whether the local history knows of the end of a process."""
        return any(entry.get("process_id") == process_id for entry in self.past())

    def has_used(self, process_id: str) -> bool:
        """Return whether the local history knows of a process that has used up its id."""
        return any(
            entry.get("process_id") == process_id and not entry.get("frees_id")
            for entry in self.past()
        )

    def past(self) -> Iterator[dict[str, object]]:
        """Read the local history, oldest first; a line cut off by a crash is passed over."""
        return read_past(self._state)

    def _shorten(self) -> None:
        """Keep the newer half of the history."""
        lines = self._history.read_bytes().splitlines(keepends=True)
        beside = self._history.with_suffix(".tmp")
        beside.write_bytes(b"".join(lines[len(lines) // 2 :]))
        beside.replace(self._history)

    def _write_next(self, stem: str, record: Record, *, durable: bool) -> None:
        """Write a record whose file is long already: beside it, in one step."""
        beside = Path(f"{stem}.tmp")
        with beside.open("wb") as file:
            file.write(record.encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(f"{stem}.next")


def _read(path: str) -> Record | None:
    """Read one record; None when it is gone or was cut off before it meant anything."""
    try:
        data = read_note(path)
    except FileNotFoundError:
        return None
    if len(data) > _LONGEST_BYTES:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return decode_record(Path(f"{_stem(path)}.next").read_bytes())
    for line in reversed(data.split(b"\n")):
        with contextlib.suppress(ValueError):
            return decode_record(line)
    return None


def _argument(record: Record, key: str) -> str:
    """Return an argument that names something; what the user gave instead is no name."""
    value = record.request.arguments.get(key)
    return value if isinstance(value, str) else ""


def _stem(path: str) -> str:
    """Return a name without its ending."""
    return path.rpartition(".")[0]


def _remove_others(stem: str) -> None:
    """Remove what may stand beside a record."""
    for ending in ("next", "tmp"):
        Path(f"{stem}.{ending}").unlink(missing_ok=True)


def _ends_a_line(file: BinaryIO) -> bool:
    """Return whether the last byte of a file is a line break."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _is_record(name: str) -> bool:
    """Tell records from what is none of ours."""
    return name.endswith(".json")
