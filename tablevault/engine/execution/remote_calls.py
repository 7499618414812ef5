"""Calls of one builder on an executor of `concurrent.futures`: what stays here, what is sent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.claims import AbandonedError
from tablevault.engine.calls.usage import Usage
from tablevault.engine.code import ModuleSet
from tablevault.engine.execution.executors import (
    forget_task,
    has_workers,
    is_dask,
    is_there,
    run_at,
    slots_of,
    submit,
    take_from_all,
    why_stuck,
)
from tablevault.engine.execution.file_transfer import (
    Links,
    VaultHome,
    fetch,
    files_below,
    remove_folder,
    send,
)
from tablevault.engine.execution.live_items import Item, ItemFile, take_items
from tablevault.engine.execution.parcels import Parcel, VaultFile, packed
from tablevault.engine.execution.remote_outcomes import (
    POLL_S,
    LiveItems,
    RemoteItems,
    RemoteOutcome,
    open_value,
)
from tablevault.engine.execution.worker import (
    OWNERS,
    Answer,
    FunctionRef,
    Owner,
    WorkerTask,
    release,
    run_task,
)
from tablevault.errors import TVBuilderError, TVExecutorError, message_of
from tablevault.names import CODE_DIR
from tablevault.render import counted

_LOOK_S: Final = 0.1
_LOOKS: Final = 50
"""After so many looks at a task, the workers of a Dask scheduler are counted."""
_RESTART_S: Final = 30.0
"""So long there may be none: they may be starting again."""
_SENDS: Final = 3
"""So often a file is sent for one task: a worker may have no room for it, or die meanwhile."""

Call = partial[Any]
_log = logging.getLogger("tablevault")


class LostCallsError(Exception):
    """A worker died while it made calls; other workers can make them again."""


class RemoteCalls:
    """Calls the function of one builder in the workers of an executor.

    Implements `tablevault.engine.execution.concurrency.CallExecutor`. Which calls are made, limits,
    retries and records stay in this process.

    Parameters
    ----------
    executor : Executor
        Any of `concurrent.futures`.
    builder : ResolvedBuilder
        The builder.
    function : callable
        Its function in this process, which workers that are threads of it call.
    modules : ModuleSet, optional
        Where it was found; None for a function of this package.
    most_items : callable
        Returns how many items are taken at most of what a generator function returns.
    home : VaultHome, optional
        The vault, whose files are sent to workers of Dask that do not see them.

    Attributes
    ----------
    slots : int
        How many tasks the executor makes at the same time.
    """

    def __init__(
        self,
        executor: Executor,
        builder: ResolvedBuilder,
        function: Callable[..., Any],
        *,
        modules: ModuleSet | None,
        most_items: Callable[[], int],
        home: VaultHome | None = None,
    ) -> None:
        self.slots = slots_of(executor)
        self.constants = ""
        self._executor = executor
        self._builder = builder
        self._most_items = most_items
        self._home = home = home if is_dask(executor) else None
        self._link = None if home is None else Links(home)
        self._sending = threading.Lock()
        self._supplies: dict[str, bytes] = {}
        self._owner = uuid.uuid4().hex
        self._function = FunctionRef(
            module=builder.module,
            name=builder.function,
            key="" if modules is None else modules.key,
            sources="" if modules is None else self._supply(_sources(modules, home)),
        )
        self._is_cancelled = threading.Event()
        self._had_workers = not is_dask(executor) or has_workers(executor)
        self._stuck_since = math.inf
        self._futures: set[Future[object]] = set()
        self._lock = threading.Lock()
        self._live = ThreadPoolExecutor(1, thread_name_prefix="tablevault-live")
        self._closing = contextlib.ExitStack()
        OWNERS[self._owner] = Owner(function, copy_context())

    def close(self) -> None:
        """Let the tasks that are still made find nothing here any more."""
        self.cancel()
        self._live.shutdown(wait=False)
        self._closing.close()
        OWNERS.pop(self._owner, None)

    def keep(self, constants: Mapping[str, Any]) -> None:
        """Send arguments once to each worker; each call gets a copy of them besides its own."""
        self.constants = self._supply(packed(Parcel(dict(constants), self._link)))

    # -- calls ----------------------------------------------------------------------------------

    def call(self, usage: Usage, call: Call, timeout_s: float | None, *, is_async: bool) -> Any:  # noqa: ANN401 - functions return anything
        """Make a call; see `CallExecutor`."""
        task = self._task([call], timeout_s, is_async=is_async)
        if task.items is not None:
            task, take = self._live_task(task)
            made = self._live.submit(self._outcome, task)
            first: Sequence[Item] = ()
            is_made = False
            while not (first or is_made):
                is_made = bool(wait([made], timeout=POLL_S).done)
                first = take()
            if first:
                return LiveItems(first, take, made, self._opened)
            outcome = made.result()
        else:
            outcome = self._outcome(task)
        for used in outcome.used:
            usage.add(used)
        return outcome.value()

    def _live_task(self, task: WorkerTask) -> tuple[WorkerTask, Callable[[], Sequence[Item]]]:
        """Return the task of a generator, and what takes the items that it has yielded."""
        if task.once:
            return task, partial(take_from_all, self._executor, take_items, task.once)
        file = self._closing.enter_context(contextlib.closing(ItemFile()))
        return replace(task, item_file=file.path), file.take

    def _outcome(self, task: WorkerTask) -> RemoteOutcome:
        """Have a task of one call made."""
        try:
            (outcome,) = self._outcomes(task, lambda: False)
        except LostCallsError as error:
            raise TVBuilderError(
                f'Builder "{self._builder.name}": the worker that called '
                f'"{self._builder.function}" died.',
                "The log of the worker says why, for example that it had too little memory. If "
                "the function is not to blame, let retry call it again.",
                builder=self._builder.name,
            ) from error
        return outcome

    def _opened(self, value: object) -> Any:  # noqa: ANN401 - functions return anything
        """Return an item that was sent before its worker is known."""
        return open_value(value, self._builder, f"of {type(self._executor).__name__}")

    def call_all(
        self,
        calls: Sequence[Call],
        timeout_s: float | None,
        *,
        is_async: bool,
        is_stopped: Callable[[], bool],
    ) -> Sequence[RemoteOutcome]:
        """Make calls in one worker, and return what came of them.

        Parameters
        ----------
        calls : sequence of partial
            The function with its arguments, once for each call.
        timeout_s : float, optional
            Seconds that each may take.
        is_async : bool
            Whether the function is a coroutine function; then some are made at the same time.
        is_stopped : callable
            Returns whether calls that have not begun need not be made.

        Returns
        -------
        sequence of RemoteOutcome
            Fewer than calls where one was interrupted: the last ones are missing.

        Raises
        ------
        AbandonedError
            They were not made.
        LostCallsError
            The worker died.
        TVExecutorError
            The executor makes no calls, or lost these.
        """
        task = self._task(calls, timeout_s, is_async=is_async)
        return self._outcomes(replace(task, at_once=self.at_once if is_async else 1), is_stopped)

    @property
    def at_once(self) -> int:
        """Calls of a coroutine function that one worker makes at the same time."""
        return max(1, self._builder.n_threads // self.slots)

    def items(self, usage: Usage, iterable: Iterable[Any]) -> Iterator[Any]:
        """Iterate over what a function returned; its items have come with it."""
        return iterable.charged(usage) if isinstance(iterable, RemoteItems) else iter(iterable)

    def cancel(self) -> None:
        """Cancel the tasks that have not begun, and wait for no other any more."""
        self._is_cancelled.set()
        with self._lock:
            futures = list(self._futures)
        for future in futures:
            future.cancel()

    # -- tasks ----------------------------------------------------------------------------------

    def _task(
        self, calls: Sequence[Call], timeout_s: float | None, *, is_async: bool
    ) -> WorkerTask:
        """Return the task of some calls."""
        return WorkerTask(
            owner=self._owner,
            builder=self._builder.name,
            function=self._function,
            calls=Parcel([each.keywords for each in calls], self._link),
            constants=self.constants,
            home=self._home,
            timeout_s=timeout_s,
            is_async=is_async,
            items=self._most_items() if self._builder.return_type == "generator" else None,
            once=f"tablevault-{uuid.uuid4().hex}" if is_dask(self._executor) else "",
        )

    def _outcomes(self, task: WorkerTask, is_stopped: Callable[[], bool]) -> list[RemoteOutcome]:
        """Have a task made, with all that the worker lacks."""
        address, sent = "", Counter[VaultFile]()
        while True:
            answer = self._answer(task, is_stopped, address)
            if answer.is_lost:
                raise self._died(task)
            if answer.missing:
                lacking = {digest: self._supplies[digest] for digest in answer.missing}
                task = replace(task, supplies={**task.supplies, **lacking})
            elif answer.lacking:
                sent.update(answer.lacking)
                if max(sent.values()) > _SENDS:
                    raise self._lost(task, f"has no room for files in worker {answer.worker}")
                address = self._send_files(task, answer)
            else:
                break
        if answer.problem:
            raise self._unusable(f"worker {answer.worker} cannot call it: {answer.problem}")
        if task.once:
            forget_task(self._executor, task.once)
        if answer.written:
            assert self._home is not None, "else nothing is written elsewhere"
            run = partial(self._run_at, task, answer)
            fetch(answer.folder, answer.written, Path(self._home.artifacts), run)
            with contextlib.suppress(Exception):  # the worker has died; its folder goes with it
                run_at(self._executor, answer.address, remove_folder, answer.folder)
        outcomes = dict(answer.outcomes)
        return [
            RemoteOutcome(outcomes[each], answer.worker, self._builder) for each in sorted(outcomes)
        ]

    def _send_files(self, task: WorkerTask, answer: Answer) -> str:
        """Send what a worker lacks, and return its address; "" if it has died, uncalled."""
        assert self._home is not None, "else nothing is lacking"
        try:
            with self._sending:  # other tasks may lack the same files
                send(self._home, answer.lacking, partial(self._run_at, task, answer))
        except LostCallsError:
            return ""
        return answer.address

    def _run_at(
        self, task: WorkerTask, answer: Answer, function: Callable[..., Any], *args: object
    ) -> Any:  # noqa: ANN401 - functions return anything
        """Run a function in the worker that gave an answer."""
        try:
            return run_at(self._executor, answer.address, function, *args)
        except Exception as error:
            is_cut = type(error).__name__ == "CommClosedError"  # before the scheduler knows
            if is_cut or not is_there(self._executor, answer.address):
                raise self._died(task) from error
            why = f"could not exchange files with worker {answer.worker}: {_described(error)}"
            raise self._lost(task, why) from error

    def _answer(
        self, task: WorkerTask, is_stopped: Callable[[], bool], address: str = ""
    ) -> Answer:
        """Send a task, and wait for what a worker says."""
        if self._is_cancelled.is_set():
            raise AbandonedError
        try:
            future: Future[object] = submit(
                self._executor, address, run_task, release(), Parcel(task)
            )
        except Exception as error:
            raise self._unusable(f"it takes no calls: {_described(error)}") from error
        with self._lock:
            self._futures.add(future)
        try:
            answer = self._waited(future, is_stopped)
        except CancelledError as error:
            if self._is_cancelled.is_set():
                raise AbandonedError from None
            raise self._lost(task, "cancelled them") from error
        except Exception as error:
            if type(error).__name__ == "KilledWorker":  # of Dask
                raise self._died(task) from error
            raise self._lost(task, f"failed with {_described(error)}") from error
        finally:
            future.cancel()  # an interrupt; does nothing to what has ended
            with self._lock:
                self._futures.discard(future)
        self._had_workers = True
        if isinstance(answer, Answer):
            return answer
        raise self._other_release(answer)

    def _waited(self, future: Future[object], is_stopped: Callable[[], bool]) -> object:
        """Wait for what a worker returns.

        Raises
        ------
        AbandonedError
            It is not needed any more.
        """
        looks = 0
        while not wait([future], timeout=_LOOK_S).done:
            looks += 1
            if looks % _LOOKS == 0 and (why := self._why_stuck()):
                raise RuntimeError(why)
            if self._is_cancelled.is_set() or (is_stopped() and self._takes_back(future)):
                raise AbandonedError
        return future.result()

    def _takes_back(self, future: Future[object]) -> bool:
        """Cancel a task that has not begun; Dask would cancel one that a worker makes, too."""
        return not is_dask(self._executor) and future.cancel()

    def _why_stuck(self) -> str:
        """Return why no worker of Dask has taken tasks for some time, "" if one may."""
        is_watched = is_dask(self._executor) and self._had_workers
        why = why_stuck(self._executor) if is_watched else ""
        now = time.monotonic()
        self._stuck_since = min(self._stuck_since, now) if why else math.inf
        return why if now - self._stuck_since >= _RESTART_S else ""

    def _supply(self, data: bytes) -> str:
        """Keep what workers may ask for, and return its digest."""
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        self._supplies[digest] = data
        return digest

    # -- errors ---------------------------------------------------------------------------------

    def _unusable(self, why: str) -> TVExecutorError:
        """Return the error of an executor that makes no calls."""
        builder = self._builder
        return TVExecutorError(
            f'Builder "{builder.name}": function "{builder.function}" was not called on the '
            f"executor {type(self._executor).__name__}; {why}.".replace("..", "."),
            "Finished calls are kept. Execute again with an executor that works.",
            builder=builder.name,
        )

    def _lost(self, task: WorkerTask, why: str) -> TVExecutorError:
        """Return the error of calls that an executor has lost."""
        builder = self._builder
        return TVExecutorError(
            f'Builder "{builder.name}": the executor {type(self._executor).__name__} lost '
            f"{counted(len(task.calls.open()), 'call')} in flight; it {why}.".replace("..", "."),
            "Finished calls are kept. Execute again with an executor that works: what was lost is "
            "called again.",
            builder=builder.name,
        )

    def _died(self, task: WorkerTask) -> LostCallsError:
        """Return what tells that a worker died, and warn."""
        calls = len(task.calls.open())
        _log.warning(
            'Builder "%s": a worker died; %s in flight %s lost.',
            self._builder.name,
            counted(calls, "call"),
            "is" if calls == 1 else "are",
        )
        return LostCallsError()

    def _other_release(self, answer: object) -> TVExecutorError:
        """Return the error of a worker that runs other versions."""
        match answer:
            case (worker, (package, python)):
                theirs = f"worker {worker} runs tablevault {package} on Python {python}"
            case _:
                theirs = "a worker runs an unknown release"
        package, python = release()
        return self._unusable(f"{theirs}, here runs {package} on Python {python}")


def _described(error: BaseException) -> str:
    """Format the error of an executor."""
    return f"{type(error).__name__}: {' '.join(message_of(error).split())}".removesuffix(".")


def _sources(modules: ModuleSet, home: VaultHome | None) -> bytes:
    """Return the texts of modules and the files beside them, as workers read them."""
    folder = None if home is None else Path(home.root, CODE_DIR)
    sent = {
        "sources": dict(modules.sources),
        "paths": dict(modules.paths),
        "beside": {
            name: file
            for name, file in (files_below(folder) if folder else {}).items()
            if name.removesuffix(".py") not in modules.sources
        },
    }
    return json.dumps(sent, sort_keys=True).encode("utf-8", "surrogatepass")
