"""The calls of a row-wise builder in the workers of an executor: several rows in one task."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from tablevault.engine.calls.recorder import CallResult, RunningCall
from tablevault.engine.execution.caller import PassedArguments
from tablevault.engine.execution.concurrency import call_rows
from tablevault.engine.execution.remote_calls import LostCallsError, RemoteCalls
from tablevault.engine.execution.remote_outcomes import RemoteOutcome
from tablevault.engine.execution.row_wise import Batch, RowCalls, RowWork, names_by_row

AHEAD: Final = 2
"""Tasks for each worker: one that is made, and one that waits for it."""
_WORK_S: Final = 0.05
"""A task has as many rows as take so long."""
_MOST_ROWS: Final = 1000
_GROWTH: Final = 8
"""A task has at most so many times the rows of the largest before it."""


class Batches:
    """Rows in batches that take a worker so long that sending them does not matter.

    Parameters
    ----------
    rows : sequence of int
        The rows.
    slots : int
        How many tasks are made at the same time.
    at_once : int
        How many calls of one task are.
    """

    def __init__(self, rows: Sequence[int], slots: int, at_once: int) -> None:
        self._rows = rows
        self._slots = slots
        self._at_once = at_once
        self._size = at_once
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many there are at most."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Sequence[int]]:
        """Yield batches, each as large as those before it allow."""
        first = 0
        while first < len(self._rows):
            share = math.ceil((len(self._rows) - first) / (AHEAD * self._slots))
            size = max(self._at_once, min(self._size, share))
            yield self._rows[first : first + size]
            first += size

    def took(self, rows: int, seconds: float) -> None:
        """Note how long the calls of a batch have taken, all together."""
        with self._lock:
            each = seconds / rows / self._at_once
            fits = _MOST_ROWS if each * _MOST_ROWS <= _WORK_S else math.ceil(_WORK_S / each)
            self._size = max(self._at_once, min(fits, rows * _GROWTH))


class RemoteRowCalls(RowCalls):
    """Makes the rows of one builder in workers; the counterpart of `RowCalls`.

    Rows whose calls are counted beforehand, by rates or budgets, and those that see the rows
    before them, are sent one by one.

    Parameters
    ----------
    work : RowWork
        What is called.
    remote : RemoteCalls
        Where.
    """

    def __init__(self, work: RowWork, remote: RemoteCalls) -> None:
        super().__init__(work)
        self._remote = remote

    def _call(self, waiting: Sequence[int]) -> None:
        """Call for rows."""
        if self._shows_rows or self._found.in_order:
            super()._call(waiting)
            return
        self._send_constants(waiting)
        if self._builder.batch_size > 1 or not self._caller.is_free:
            super()._call(waiting)
            return
        at_once = self._remote.at_once
        self._tasks = Batches(waiting, self._remote.slots, at_once)
        call_rows(
            self._make_task,
            self._tasks,
            self._keep_batch,
            n_threads=max(1, self._builder.n_threads // at_once),
            stop=self._caller.stop,
        )

    def _send_constants(self, waiting: Sequence[int]) -> None:
        """Send the arguments that are the same in all rows once to each worker."""
        by_row = names_by_row(self._builder, self._draft.names)
        if by_row is not None and waiting and isinstance(self._arguments, PassedArguments):
            self._arguments, constant = self._arguments.split(by_row)
            self._remote.keep(constant(waiting[0]))

    def _make_task(self, rows: Sequence[int]) -> Batch:
        """Make the values of some rows, each by a call of its own."""
        batch = Batch()
        records = {row: self._record(row, self._found.inputs.get(row)) for row in rows}
        arguments = []
        for row in rows:
            try:
                arguments.append(self._arguments(row))
            except Exception as error:  # noqa: BLE001 - it is raised when what is made is kept
                self._caller.failed(records[row], error, row)
                batch.error = error
                break
        if not arguments:
            return batch
        outcomes: Sequence[RemoteOutcome | None]
        try:
            outcomes = self._caller.call_all(list(records.values()), arguments)
        except LostCallsError:  # one by one, so that a row that ends its worker costs no others
            outcomes = [None] * len(arguments)
        for (row, record), outcome in zip(records.items(), outcomes, strict=False):
            try:
                batch.made.append((row, self._made_there(row, record, outcome)))
            except BaseException as error:  # noqa: BLE001 - as above
                batch.error = batch.error or error
        seconds = [each.seconds for each in outcomes if each is not None]
        if seconds:
            self._tasks.took(len(seconds), sum(seconds))
        return batch

    def _made_there(
        self, row: int, record: RunningCall, outcome: RemoteOutcome | None
    ) -> CallResult:
        """Make the values of a row of what came of its call; further calls are made one by one."""
        first = iter(() if outcome is None else (outcome.value,))

        def call() -> object:
            """Take what came of the first call; call again after that."""
            return next(first, partial(self._call_row, row, record))()

        return self._made(row, record, call)
