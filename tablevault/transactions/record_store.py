"""Records on disk: a file for each process, with a lock beside it; a bounded local history."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from tablevault.lfs.files import replace_file
from tablevault.lfs.locks import is_held, locked
from tablevault.names import ProcessId, record_file
from tablevault.transactions.process_history import history_file, read_past, records_folder
from tablevault.transactions.record import Record, decode_record

_HISTORY_LIMIT_BYTES = 4 << 20
_RECORD, _LOCK, _HANDOVER = ".json", ".lock", ".handover"
_OLD = ".next"
"""Releases before this one appended to a record, and went on in this file when it was long."""
_FILE = re.compile(r"\.(.+)\.json\.tmp|(.+)\.(?:json|lock|handover|next|tmp)")


class RecordStore:
    """Records below ``.git/tablevault/processes``.

    ``<name>.json`` is the record of a process. Whoever runs the process holds the lock
    ``<name>.lock``; while another interpreter is to take that over, whoever hands it over holds
    ``<name>.handover``. *Alive* means that one of the two is held, and nothing else.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self._folder = records_folder(state)
        self._history = history_file(state)

    def mutex(self) -> AbstractContextManager[None]:
        """Hold the lock under which processes begin; for milliseconds, before all other locks."""
        return locked(self.state / "journal.lock")

    def lock_file(self, process_id: ProcessId) -> Path:
        """File that is locked as long as the process runs."""
        return self._folder / f"{record_file(process_id)}{_LOCK}"

    def handover_file(self, process_id: ProcessId) -> Path:
        """File that is locked while another interpreter takes over the lock of the process."""
        return self._folder / f"{record_file(process_id)}{_HANDOVER}"

    def path_of(self, process_id: ProcessId) -> Path:
        """File of the record."""
        return self._folder / f"{record_file(process_id)}{_RECORD}"

    def is_alive(self, process_id: ProcessId) -> bool:
        """Return whether somebody runs the process just now.

        Raises
        ------
        OSError
            That cannot be found out.
        """
        return self._is_alive(record_file(process_id))

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
        records = [_read(self._folder / name) for name in self.names()]
        yield from sorted(
            (record for record in records if record is not None),
            key=lambda record: (record.started_at, record.process_id),
        )

    def names(self) -> frozenset[str]:
        """Name the files of all processes that have not ended."""
        return frozenset(name for name in self._listed() if name.endswith(_RECORD))

    def write(self, record: Record, *, durable: bool = False) -> None:
        """Write a record in the place of what it was before; synced when that must last."""
        replace_file(self.path_of(record.process_id), record.encode(), durable=durable)

    def remove(self, process_id: ProcessId) -> None:
        """Remove the record of a process that ended."""
        self._remove(record_file(process_id))

    def strays(self) -> set[str]:
        """Name what has no record and is not locked: left by a crash as a process began or ended.

        One that begins at this moment may be among them: take the mutex to know.
        """
        listed = self._listed()
        known = {
            name.removesuffix(_RECORD)
            for name in listed
            if name.endswith(_RECORD) and _read(self._folder / name) is not None
        }
        unknown = {_process_of(name) for name in listed} - known - {""}
        return {name for name in unknown if not self._is_alive(name)}

    def sweep(self) -> None:
        """Remove strays; take the mutex before, so that nobody is beginning."""
        for name in self.strays():
            with (
                contextlib.suppress(TimeoutError),
                locked(self._folder / f"{name}{_LOCK}", timeout_s=0),
            ):
                self._remove(name)

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
        return read_past(self.state)

    def _shorten(self) -> None:
        """Keep the newer half of the history."""
        lines = self._history.read_bytes().splitlines(keepends=True)
        replace_file(self._history, b"".join(lines[len(lines) // 2 :]))

    def _listed(self) -> list[str]:
        """List the names in the folder."""
        try:
            return [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []

    def _is_alive(self, name: str) -> bool:
        """Return whether somebody runs, or hands over, the process with files of this name."""
        lock = self._folder / f"{name}{_LOCK}"
        # The third look sees a hand-over that has ended between the first two.
        return any(map(is_held, (lock, self._folder / f"{name}{_HANDOVER}", lock)))

    def _remove(self, name: str) -> None:
        """Remove the files of a process; its lock comes last, so that it runs until it is gone."""
        files = (f"{name}{_RECORD}", *_others(name), f"{name}{_HANDOVER}", f"{name}{_LOCK}")
        with contextlib.suppress(OSError):
            for file in files:
                (self._folder / file).unlink(missing_ok=True)


def _read(path: Path) -> Record | None:
    """Read one record; None when it is gone or was cut off before it meant anything."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if data.startswith(b"\n"):
        return _read_old(path, data)
    with contextlib.suppress(ValueError):
        return decode_record(data)
    return None


def _read_old(path: Path, data: bytes) -> Record | None:
    """Read the record of a process that was paused by a release before this one."""
    longer = path.with_name(f"{path.name.removesuffix(_RECORD)}{_OLD}")
    with contextlib.suppress(FileNotFoundError, ValueError):
        return decode_record(longer.read_bytes())
    for line in reversed(data.split(b"\n")):
        with contextlib.suppress(ValueError):
            return decode_record(line)
    return None


def _others(name: str) -> tuple[str, ...]:
    """Name what a crash, or an earlier release, may have left beside a record."""
    return (f".{name}{_RECORD}.tmp", f"{name}{_OLD}", f"{name}.tmp")


def _process_of(file: str) -> str:
    """Return the name, without ending, of the files to which one belongs; "" for another file."""
    found = _FILE.fullmatch(file)
    return "" if found is None else found[1] or found[2]


def _argument(record: Record, key: str) -> str:
    """Return an argument that names something; what the user gave instead is no name."""
    value = record.request.arguments.get(key)
    return value if isinstance(value, str) else ""


def _ends_a_line(file: BinaryIO) -> bool:
    """Return whether the last byte of a file is a line break."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
