"""Records of processes: values, files with a lock beside them, and the local history.

========  ==========  =========  ===========================================================
state     its lock    its error  goes on to
========  ==========  =========  ===========================================================
running   held        none       paused, ended
paused    free        any        running (the same call again, a restart), ended (a stop)
crashed   free        none       running (a restart), ended (rolled back by who needs it)
ended     no file     in history nothing: the id is never used again,
                                 except that of an execution that failed before its first call
========  ==========  =========  ===========================================================

*paused* has a process id that the caller gave, *crashed* one that was generated. No other file
says anything about states.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import BinaryIO

from tablevault.files.disk import replace_file
from tablevault.files.locks import is_held, locked
from tablevault.history.git.refs import RefMove
from tablevault.names import CommitId, ObjectId, ProcessId, record_file
from tablevault.secrets import text_to_keep
from tablevault.wording import Call, OperationName, Parameter, Wording, decoded, encoded

_LONGEST_BEGIN_S = 10.0
_LOOK_S = 0.005
STOPPED = "User Stopped"
"""Error in the record of a process that was stopped."""
DIED = "The program that ran it ended first"
"""Error in the record of a process that was killed or interrupted."""
Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for: enough to do it again."""

    operation: str
    arguments: Mapping[str, Json]

    @property
    def id_parameter(self) -> Parameter:
        """The parameter in which the operation takes a process id."""
        is_undo = self.operation == "undo"  # whose process_id is what it undoes
        return Parameter(self.operation, "undo_process_id" if is_undo else "process_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A claim on a resource, such as ``tables/stories`` or ``tables/stories/TEMP_base``."""

    resource: str
    exclusive: bool
    alone: bool = False
    """It excludes also what is started within the process, which else may use what that holds.
    See :func:`tablevault.transactions.claims.alone`."""

    def excludes(self, other: Hold) -> bool:
        """Return whether both cannot be had at once: a resource covers everything below it."""
        if not (self.exclusive or other.exclusive):
            return False
        mine, its = f"{self.resource}/", f"{other.resource}/"
        return mine.startswith(its) or its.startswith(mine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything a process needs to be understood, continued or taken back by another one."""

    process_id: ProcessId
    named: bool
    """The caller gave the id: on an error that is not TableVault's own the process pauses."""
    request: Request
    author: str
    parent: str = ""
    holds: tuple[Hold, ...] = ()
    started_at: float
    updated_at: float
    pid: int
    steps: tuple[tuple[str, float], ...] = ()
    """Finished steps and when they ended (Unix s)."""
    pins: tuple[ObjectId, ...] = ()
    """Objects in the store that the process is about to need."""
    made: tuple[ObjectId, ...] = ()
    """Those of them that were not in the store before: taken back when the process fails."""
    moves: tuple[RefMove, ...] = ()
    """Ref moves that are being made, the first one is the commit point; noted when there are
    several. History says whether an operation has happened: it names its process."""
    error: tuple[str, str] = ("", "")
    """Class name and text."""
    plan: Mapping[str, Json] = field(default_factory=dict)
    """What the operation decided when it began to work, and keeps when it is resumed."""

    def encode(self) -> bytes:
        """Encode the record as JSON."""
        found = {**_fields(self), "error": [self.error[0], encoded(self.error[1])]}
        # ASCII: an argument may be a path, and a path may be no UTF-8.
        return json.dumps(found, default=_fields).encode("ascii")

    @property
    def frees_id(self) -> bool:
        """Whether the id can be used again once the process has ended.

        What is wrong with an execution before its first call is corrected, and the same call made
        again. One that was stopped was given up.
        """
        has_failed = bool(self.error[0]) and self.error[1] not in (STOPPED, DIED)
        return has_failed and self.request.operation == "execute_instance" and not self.plan

    @property
    def resumption(self) -> Wording:
        """What runs a paused operation again; of an execution with its arguments."""
        operation = self.request.operation
        if operation == "execute_instance":
            arguments = {name: self.request.arguments[name] for name in ("table_name", "version")}
            return Wording("Run ", Call(operation, **arguments, process_id=self.process_id))
        named = Parameter(operation, self.request.id_parameter.name, self.process_id)
        return Wording("Run ", OperationName(operation), " again with ", named)

    def failed(self, error: BaseException, at: float) -> Record:
        """Return the record with the error that ended or paused it."""
        return replace(self, error=(type(error).__name__, text_to_keep(error)), updated_at=at)


def _fields(value: Record | Request | Hold | RefMove) -> dict[str, object]:
    """Return the fields of a value by name: these are what a record has on disk."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def decode_record(data: bytes) -> Record:
    """Read a record.

    Raises
    ------
    ValueError
        The bytes are no record, for instance cut off by a power failure.
    """
    try:
        found = json.loads(data)
        return Record(
            process_id=ProcessId(found["process_id"]),
            named=bool(found["named"]),
            request=Request(**found["request"]),
            author=str(found["author"]),
            parent=str(found["parent"]),
            holds=tuple(Hold(**hold) for hold in found["holds"]),
            started_at=float(found["started_at"]),
            updated_at=float(found["updated_at"]),
            pid=int(found["pid"]),
            steps=tuple((str(name), float(at)) for name, at in found["steps"]),
            pins=tuple(ObjectId(oid) for oid in found["pins"]),
            made=tuple(ObjectId(oid) for oid in found["made"]),
            moves=tuple(
                RefMove(
                    ref=move["ref"],
                    old=None if move["old"] is None else CommitId(move["old"]),
                    new=None if move["new"] is None else CommitId(move["new"]),
                )
                for move in found["moves"]
            ),
            error=(str(found["error"][0]), decoded(found["error"][1])),
            plan=dict(found["plan"]),
        )
    except (KeyError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"no process record: {error}") from error


_HISTORY_LIMIT_BYTES = 4 << 20
_RECORD, _LOCK, _HANDOVER = ".json", ".lock", ".handover"
_OLD = ".next"
"""Releases before this one appended to a record, and went on in this file when it was long."""
_FILE = re.compile(r"\.(.+)\.json\.tmp|(.+)\.(?:json|lock|handover|next|tmp)")


class RecordStore:
    """Records below ``.git/tablevault/processes``.

    ``<name>.json`` is the record of a process. Whoever runs the process holds the lock
    ``<name>.lock``. While another interpreter takes that over, the first one holds
    ``<name>.handover``. *Alive* means that one of the two is held, and nothing else.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self._folder = records_folder(state)
        self._history = history_file(state)
        self._mutex = state / "journal.lock"

    def mutex(self) -> AbstractContextManager[None]:
        """Hold the lock under which processes begin; for milliseconds, before all other locks."""
        return locked(self._mutex)

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
        """Return whether the process runs just now.

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
        """Read the record of a process that does not run; None if it runs or has ended.

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
        stopped = {name for name in unknown if not self._is_alive(name)}
        # One that has ended meanwhile removed its files before it released its lock.
        return stopped & {_process_of(name) for name in self._listed()}

    def lasting_strays(self) -> set[str]:
        """Name the same without those that begin at this moment, and without taking the mutex.

        A process begins under the mutex. What was a stray before the mutex was free, and still is,
        does not begin. If the mutex is never free, nothing is known.
        """
        found = self.strays()
        deadline = time.monotonic() + _LONGEST_BEGIN_S
        while found and is_held(self._mutex):
            if time.monotonic() > deadline:
                return set()
            time.sleep(_LOOK_S)
        return found & self.strays() if found else found

    def sweep(self) -> None:
        """Remove strays; take the mutex before, so that no process is beginning."""
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
                "error": [record.error[0], encoded(record.error[1])],
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

    def remembers(self, process_id: str, since: float = 0.0) -> bool:
        """Return whether the local history knows of the end of a process, `since` then (Unix s)."""
        return any(
            entry.get("process_id") == process_id
            and (not since or (isinstance(at := entry.get("ended_at"), float) and at >= since))
            for entry in self.history()
        )

    def has_used(self, process_id: str) -> bool:
        """Return whether the local history has a process with this id, which is used up."""
        return any(
            entry.get("process_id") == process_id and not entry.get("frees_id")
            for entry in self.history()
        )

    def history(self) -> Iterator[dict[str, object]]:
        """Read the local history, oldest first; a line cut off by a crash is passed over."""
        return read_history(self.state)

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
        """Return whether the process with files of this name runs, or is handed over."""
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


def records_folder(state: Path) -> Path:
    """Name the folder with a record of each process that has not ended."""
    return state / "processes"


def history_file(state: Path) -> Path:
    """Name the file of what ended."""
    return state / "history.jsonl"


def read_history(state: Path) -> Iterator[dict[str, object]]:
    """Read the local history, oldest first; a line cut off by a crash is passed over."""
    try:
        lines = history_file(state).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
