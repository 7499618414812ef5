"""What runs in the workers of an executor: functions of users, without a vault.

A worker needs this package and what the functions import, nothing else. It gets the sources of
functions and constant arguments once, when it says that it lacks them, and keeps them in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import closing
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from tablevault.engine.calls.cached import refusal, refusing
from tablevault.engine.calls.claims import AbandonedError
from tablevault.engine.calls.usage import Meter, Usage, UsageReport, accepting_usage
from tablevault.engine.code import SETS, ModuleSet, function_in, shipped_function
from tablevault.engine.execution.concurrency import Stop, call_rows
from tablevault.engine.execution.file_transfer import NewFile, VaultHome, WorkerFiles
from tablevault.engine.execution.invocation import Invoker
from tablevault.engine.execution.live_items import FileItems, Item, live_items, rest_of
from tablevault.engine.execution.parcels import (
    Parcel,
    Raised,
    UnsendableError,
    VaultFile,
    parcel,
    raised,
    unpacked,
)
from tablevault.errors import TableVaultError

_KEPT_BYTES: Final = 1 << 30
_KEPT_FUNCTIONS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRef:
    """A function of the vault, or of this package.

    Attributes
    ----------
    module, name : str
        As in the builder.
    key : str
        Name of its modules in the import system.
    sources : str
        Digest of their texts; "" for a function of this package.
    """

    module: str
    name: str
    key: str
    sources: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """Calls of one function that one worker makes.

    Attributes
    ----------
    owner : str
        Name of the builder's calls in the process that sends them.
    builder : str
        Its name.
    function : FunctionRef
        What is called.
    calls : Parcel
        For each call the arguments that differ between calls, by name.
    constants : str
        Digest of the others, in a parcel.
    home : VaultHome, optional
        The vault whose files arguments may name; None where workers have to see them.
    timeout_s : float, optional
        Seconds that a call may take.
    is_async : bool
        Whether the function is a coroutine function.
    at_once : int
        So many calls are made at the same time.
    items : int, optional
        At most so many items are taken of an iterable that is returned; None takes none.
    once : str
        Name of the task among those of a Dask scheduler, which gives tasks of workers that died to
        other workers; "" elsewhere.
    item_file : str
        Where another worker process writes the items that it takes; "" for Dask.
    supplies : mapping of str to bytes
        What the worker lacked when it was asked before, by digest.
    """

    owner: str
    builder: str
    function: FunctionRef
    calls: Parcel
    constants: str
    timeout_s: float | None
    is_async: bool
    home: VaultHome | None = None
    at_once: int = 1
    items: int | None = None
    once: str = ""
    item_file: str = ""
    supplies: Mapping[str, bytes] = field(default_factory=dict)


class WorkerOutcome(NamedTuple):
    """What came of one call.

    Attributes
    ----------
    value : object
        What was returned, see `tablevault.engine.execution.parcels.parcel`.
    error : Raised, optional
        What was raised instead, or after the items.
    used : sequence of UsageReport
        What was reported.
    seconds : float
        How long it took.
    items : sequence of Item, optional
        The items, where they were asked for, that were not taken before.
    """

    value: object
    error: Raised | None
    used: Sequence[UsageReport]
    seconds: float
    items: Sequence[Item] | None = None


class Answer(NamedTuple):
    """What a worker says to a task.

    Attributes
    ----------
    worker : str
        Host and process.
    outcomes : sequence of int and WorkerOutcome
        With the position of the call, in any order; some are missing if one was interrupted.
    missing : sequence of str
        Digests of what the worker lacks; then it has called nothing.
    lacking : sequence of VaultFile
        Files that it lacks; as above.
    address : str
        Its address among the workers of a Dask scheduler, where files are exchanged.
    folder, written
        Its folder with the artifacts that functions wrote, and what they wrote.
    is_lost : bool
        Whether another worker has begun the task, and died; then nothing is called again.
    problem : str
        Why the function cannot be called in this worker; "" if it can.
    """

    worker: str
    outcomes: Sequence[tuple[int, WorkerOutcome]] = ()
    missing: Sequence[str] = ()
    lacking: Sequence[VaultFile] = ()
    address: str = ""
    folder: str = ""
    written: Sequence[NewFile] = ()
    is_lost: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """What tasks find that run in the process that sends them: its own function and context."""

    function: Callable[..., Any]
    context: Context


OWNERS: Final[dict[str, Owner]] = {}
"""Those of this process."""


def release() -> tuple[str, str]:
    """Return what an execution and its workers have to agree in: this package, and Python."""
    package = str(vars(sys.modules["tablevault"])["__version__"])
    return package, ".".join(platform.python_version_tuple()[:2])


class _Supplies:
    """Data by digest; what was used longest ago goes first."""

    def __init__(self) -> None:
        self._data: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, supplies: Mapping[str, bytes]) -> None:
        """Keep data."""
        with self._lock:
            for digest, data in supplies.items():
                if digest not in self._data:
                    self._data[digest] = data
                    self._size += len(data)
            while self._size > _KEPT_BYTES and len(self._data) > len(supplies):
                self._size -= len(self._data.popitem(last=False)[1])

    def find(self, digest: str) -> bytes | None:
        """Return data; None when it is not there."""
        with self._lock:
            if digest in self._data:
                self._data.move_to_end(digest)
            return self._data.get(digest)


_supplies = _Supplies()
_functions: OrderedDict[FunctionRef, Callable[..., Any]] = OrderedDict()
_loading = threading.RLock()


def _after_fork() -> None:
    """Forget in a forked process what belongs to the one before, whose locks may be held."""
    global _supplies, _loading
    OWNERS.clear()
    _functions.clear()
    _supplies, _loading = _Supplies(), threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def run_task(expected: object, sent: Parcel) -> object:
    """Make the calls of a task.

    Parameters
    ----------
    expected : tuple of str
        `release` of the execution.
    sent : Parcel
        Of a `WorkerTask`.

    Returns
    -------
    Answer
        What came of them. In another release, whose classes may differ, a tuple: host and process,
        and `release` of the worker.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    if expected != release():
        return worker, release()
    try:
        return _answer(sent.open(), worker)
    except (TableVaultError, UnsendableError) as error:
        return Answer(worker, problem=str(error))


def _answer(task: WorkerTask, worker: str) -> Answer:
    """Make the calls of a task, or say what is missing."""
    owner = OWNERS.get(task.owner)
    needed = (task.constants, "" if owner else task.function.sources)
    found = {digest: task.supplies.get(digest) or _supplies.find(digest) for digest in needed}
    _supplies.add(task.supplies)
    missing = [digest for digest in needed if digest and found[digest] is None]
    if missing:
        return Answer(worker, missing=missing)
    data = found[task.constants]
    constants: Parcel = unpacked(data) if data else Parcel({})
    if owner is not None:
        run = owner.context.copy().run
        return Answer(worker, run(_run, task, owner.function, constants, WorkerFiles(None)))
    code = _new_code(task.function, found[task.function.sources] or b"")
    with (
        accepting_usage(),
        refusing(task.builder),
        contextlib.closing(WorkerFiles(task.home)) as files,
    ):
        address = "" if files.is_seen else _address()
        if address and (lacking := files.lacking(_wanted(task.calls, constants, code))):
            return Answer(worker, lacking=lacking, address=address)
        function = _function(task.function, code, files)
        if task.once and not _begins(task.once):
            return Answer(worker, is_lost=True)
        made = _run(task, function, constants, files)
        written = files.written()
        return Answer(worker, made, address=address, folder=files.folder, written=written)


class _CodeFiles(NamedTuple):
    """The modules of a function that is not loaded yet: texts, paths, and the files beside them."""

    sources: Mapping[str, str]
    paths: Mapping[str, str]
    beside: Mapping[str, VaultFile]


def _new_code(ref: FunctionRef, sources: bytes) -> _CodeFiles:
    """Return the modules of a function, nothing once it is loaded."""
    if not sources or ref in _functions:
        return _CodeFiles({}, {}, {})
    sent = json.loads(sources)
    beside = {name: VaultFile(*facts) for name, facts in sent["beside"].items()}
    return _CodeFiles(sent["sources"], sent["paths"], beside)


def _wanted(calls: Parcel, constants: Parcel, code: _CodeFiles) -> list[VaultFile]:
    """Return the files that a task needs, each once."""
    named = (file for linked in (*calls.links, *constants.links) for file in linked.files)
    return list(dict.fromkeys((*named, *code.beside.values())))


def _address() -> str:
    """Return the address of this worker of Dask."""
    from distributed import get_worker

    worker: Any = get_worker
    return str(worker().address)


def _begins(name: str) -> bool:
    """Note at the Dask scheduler that a task begins; return False if it has begun before."""
    from distributed import Event

    make: Any = Event
    event = make(name)
    if event.is_set():
        return False
    event.set()
    return True


def _function(ref: FunctionRef, code: _CodeFiles, files: WorkerFiles) -> Callable[..., Any]:
    """Return the function of a task, from modules that are executed once in a worker."""
    if not ref.sources:
        return shipped_function(ref.module, ref.name)
    with _loading:
        found = _functions.get(ref)
        if found is None:
            paths = code.paths
            if code.beside and not files.is_seen:
                folder = files.code(ref.sources, code.sources, code.beside)
                paths = {name: str(folder / f"{name}.py") for name in code.sources}
            modules = ModuleSet(code.sources, paths)
            SETS.adopt(modules, ref.key)
            found = _functions[ref] = function_in(modules, ref.module, ref.name)
            while len(_functions) > _KEPT_FUNCTIONS:
                _functions.popitem(last=False)
        return found


def _run(
    task: WorkerTask, function: Callable[..., Any], constants: Parcel, files: WorkerFiles
) -> list[tuple[int, WorkerOutcome]]:
    """Make the calls, and return what came of them; after an interrupt none begins."""
    made: list[tuple[int, WorkerOutcome]] = []
    texts = files.texts(constants)
    calls = task.calls.open(files.texts(task.calls))
    with closing(Invoker()) as invoker:
        stop = Stop(lambda: None, invoker.cancel)

        def call(piece: tuple[int, Mapping[str, Any]]) -> tuple[int, WorkerOutcome]:
            """Make one call."""
            if stop.is_set:
                raise AbandonedError
            position, arguments = piece
            given = constants.copy(texts)
            return position, _outcome(task, partial(function, **given, **arguments), invoker, stop)

        with contextlib.suppress(AbandonedError):
            pieces = list(enumerate(calls))
            call_rows(call, pieces, made.append, n_threads=task.at_once, stop=stop)
    return made


class _Reports:
    """Keeps what a call reports, to be metered by the execution."""

    def __init__(self) -> None:
        self.meter = Meter(self._add)
        self._used: list[UsageReport] = []

    def _add(self, used: UsageReport) -> UsageReport:
        """Keep a report."""
        self._used.append(used)
        return used

    def take(self) -> list[UsageReport]:
        """Return what was reported since this was called last."""
        used, self._used = self._used, []
        return used


def _items(task: WorkerTask) -> list[Item]:
    """Return what the items of a task are added to."""
    if task.once or task.owner in OWNERS:
        return live_items(task.once or task.item_file)
    return FileItems(task.item_file)


def _outcome(
    task: WorkerTask, call: Callable[[], Any], invoker: Invoker, stop: Stop
) -> WorkerOutcome:
    """Make one call."""
    reports = _Reports()
    usage = Usage(task.builder, reports.meter)
    value: object = None
    error: Raised | None = None
    used: list[UsageReport] = []
    items: list[Item] | None = None
    began = time.perf_counter()
    try:
        value = invoker.call(usage, call, task.timeout_s, is_async=task.is_async)
        if task.items is not None and isinstance(value, Iterable) and not isinstance(value, Sized):
            used, items = reports.take(), _items(task)
            for item in islice(invoker.items(usage, value), task.items):
                items.append(Item(parcel(item), reports.take()))
            value = None
    except BaseException as problem:  # noqa: BLE001 - it is raised where the task came from
        error, value = raised(problem), None
        if not isinstance(problem, Exception):
            stop.set()
    if (refused := refusal()) is not None:
        error, value = raised(refused), None
    seconds = time.perf_counter() - began
    if items is not None:
        items = rest_of(task.once or task.item_file, items)
    return WorkerOutcome(parcel(value), error, (*used, *reports.take()), seconds, items)
