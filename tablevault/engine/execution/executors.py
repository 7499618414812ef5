"""The executors of one execution: the one that its caller gave, and those that builders name."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar

from tablevault.engine.builders.field_values import ExecutorName, parse_executor
from tablevault.errors import TVExecutorError, message_of, reason_of

T = TypeVar("T")


class CallPlace(NamedTuple):
    """Where a builder's function is called.

    Attributes
    ----------
    executor : Executor, optional
        What calls it; None for this process.
    threads : int
        How many calls are made at the same time where the builder does not say; 0 for the default.
    """

    executor: Executor | None = None
    threads: int = 0


class Executors:
    """Finds executors, and makes those that have a name.

    Parameters
    ----------
    given : Executor or str, optional
        For builders that name none; by default they are called in this process.
    """

    def __init__(self, given: Executor | str | None = None) -> None:
        self._given = given
        self._made: dict[ExecutorName, Executor] = {}
        self._closing = ExitStack()

    def place(self, named: str) -> CallPlace:
        """Return where the function of a builder is called.

        Parameters
        ----------
        named : str
            What the builder says; "" for nothing.

        Raises
        ------
        TVExecutorError
            A package is missing, or the scheduler does not answer.
        """
        wanted = named or self._given or ""
        if not isinstance(wanted, str):
            return CallPlace(wanted)
        if not wanted:
            return CallPlace()
        name = parse_executor(wanted)
        if name.kind == "threads":
            return CallPlace(threads=name.workers)
        if name not in self._made:
            self._made[name] = self._make(name)
        return CallPlace(self._made[name])

    def close(self) -> None:
        """End the executors that were made here; tasks that have not begun are cancelled."""
        self._closing.close()

    def _make(self, name: ExecutorName) -> Executor:
        """Make an executor."""
        if name.kind == "dask":
            return self._connect(name.address)
        # A fork would copy locks that threads of this process hold.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(name.workers, mp_context=context, initializer=_follow_parent)
        self._closing.callback(_end, pool)
        return pool

    def _connect(self, address: str) -> Executor:
        """Connect to a Dask scheduler."""
        if importlib.util.find_spec("distributed") is None:
            raise TVExecutorError(
                f'Executor "dask://{address}" needs the package distributed, which is not '
                "installed.",
                "Run: pip install 'tablevault[dask]'",
            )
        from distributed import Client

        try:
            connect: Any = Client
            client = connect(f"tcp://{address}", set_as_default=False)
        except (OSError, ValueError) as error:
            raise TVExecutorError(
                f'The Dask scheduler "dask://{address}" cannot be reached: {reason_of(error)}.',
                "Start it with `dask scheduler`, and check host and port.",
            ) from error
        self._closing.callback(client.close)
        executor: Executor = client.get_executor()
        return executor


def _follow_parent() -> None:
    """End this worker, even during a call, when the process that has made it is killed.

    It would go on to the calls that were sent ahead, and wait for more without end.
    """

    def follow() -> None:
        """Wait for the parent."""
        parent = multiprocessing.parent_process()
        assert parent is not None, "a pool has made this process"
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="tablevault-parent", daemon=True).start()


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, whatever they do: nobody waits for it any more."""
    processes = list((vars(pool)["_processes"] or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def is_dask(executor: Executor) -> bool:
    """Return whether an executor is one of `distributed`."""
    return type(executor).__module__.partition(".")[0] == "distributed"


def has_workers(executor: Executor) -> bool:
    """Return whether a Dask scheduler has workers."""
    return bool(vars(executor)["_client"].nthreads())


def why_stuck(executor: Executor) -> str:
    """Return why a Dask scheduler gives no task to any worker; "" if it does, or one is made."""
    client: Any = vars(executor)["_client"]
    workers = client.sync(client.scheduler.identity)["workers"].values()
    if any(
        each["status"] == "running" or each["metrics"].get("task_counts", {}).get("executing")
        for each in workers
    ):
        return ""
    return "its workers have paused, their memory is full" if workers else "no worker was left"


def run_at(executor: Executor, address: str, function: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - functions return anything
    """Run a function in the process of one worker of Dask, beside its tasks."""
    client: Any = vars(executor)["_client"]
    return client.run(function, *args, workers=[address])[address]


def take_from_all(
    executor: Executor, function: Callable[..., Sequence[T]], *args: object
) -> Sequence[T]:
    """Return what a function returns in all workers of Dask together; none while it is gone."""
    client: Any = vars(executor)["_client"]
    with contextlib.suppress(Exception):
        found = client.run(function, *args, on_error="ignore")
        return [each for taken in found.values() for each in taken]
    return []


def is_there(executor: Executor, address: str) -> bool:
    """Return whether a Dask scheduler, if there is one, has a worker."""
    with contextlib.suppress(Exception):
        return address in vars(executor)["_client"].nthreads()
    return False


def submit(executor: Executor, address: str, task: Callable[..., object], *args: object) -> Any:  # noqa: ANN401 - a future
    """Submit a task, to one worker of Dask as long as it is there if an address is given."""
    if not address:
        return executor.submit(task, *args)
    of_dask: Any = executor.submit
    return of_dask(task, *args, workers=[address], allow_other_workers=True)


def forget_task(executor: Executor, name: str) -> None:
    """Remove from a Dask scheduler the note that a task has begun."""
    from distributed import Event

    make: Any = Event
    with contextlib.suppress(Exception):  # the scheduler is gone, or the client is closed
        make(name, client=vars(executor)["_client"]).clear()


def slots_of(executor: Executor) -> int:
    """Return how many tasks an executor makes at the same time; that of the machine if unknown."""
    if is_dask(executor):
        client: Any = vars(executor)["_client"]
        try:
            return max(1, sum(map(int, client.nthreads().values())))
        except Exception as error:
            raise TVExecutorError(
                f"The Dask scheduler of the executor does not answer: {type(error).__name__}: "
                f"{message_of(error)}.",
                "Execute again with a client that is connected.",
            ) from error
    known = getattr(executor, "_max_workers", None)  # of all in the standard library, and loky
    return known if isinstance(known, int) and known > 0 else os.cpu_count() or 1
