"""Calls for many rows, one after the other or in threads, with the same result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from operator import itemgetter
from typing import TypeVar

Result = TypeVar("Result")

_LOOK_S = 0.1


def call_rows(
    call: Callable[[int], Result],
    rows: Sequence[int],
    keep: Callable[[int, Result], None],
    *,
    n_threads: int,
) -> None:
    """Call for each row and keep what comes back.

    Parameters
    ----------
    call : callable
        Makes the result of a row.
    rows : sequence of int
        The rows, begun in this order.
    keep : callable
        Receives row and result, one at a time but with several threads not in order.
    n_threads : int
        Calls at the same time, at least 1. One means the calling thread.

    Raises
    ------
    BaseException
        What `call` raised, as it is. Rows in flight are finished and kept, no others are begun;
        if several fail, the first row counts, as it would without threads.
    """
    if n_threads == 1:
        for row in rows:
            keep(row, call(row))
        return
    crew = _Crew(call, rows, keep)
    size = max(1, min(n_threads, len(rows)))
    with ThreadPoolExecutor(size, thread_name_prefix="tablevault-row") as pool:
        try:
            # In the context of the caller, which says for instance what process this is.
            working = {pool.submit(copy_context().run, crew.work) for _ in range(size)}
            while working:
                # An interrupt that arrives just before the waiting begins does not end it.
                working = wait(working, timeout=_LOOK_S).not_done
        finally:
            crew.stop.set()  # an interrupt must not wait for rows that nobody has begun
    if crew.failures:
        raise min(crew.failures, key=itemgetter(0))[1]


class _Crew:
    """Threads that take rows from one list until it ends or one of them fails."""

    def __init__(
        self,
        call: Callable[[int], Result],
        rows: Iterable[int],
        keep: Callable[[int, Result], None],
    ) -> None:
        self.failures: list[tuple[int, BaseException]] = []
        self.stop = threading.Event()
        self._call = call
        self._keep = keep
        self._waiting = iter(rows)
        self._lock = threading.Lock()

    def work(self) -> None:
        """Make results until there is no row left."""
        while (row := self._next()) is not None:
            try:
                result = self._call(row)
                with self._lock:
                    self._keep(row, result)
            except BaseException as error:  # noqa: BLE001 - it is raised again by call_rows
                self.stop.set()
                self.failures.append((row, error))

    def _next(self) -> int | None:
        """Take a row; None when there is none to begin."""
        with self._lock:
            return None if self.stop.is_set() else next(self._waiting, None)
