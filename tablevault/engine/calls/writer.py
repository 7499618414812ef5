"""A write-behind buffer for records of calls: one transaction for those of some milliseconds."""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from tablevault.engine.calls.records import CallRecord
from tablevault.engine.calls.spending import Spent
from tablevault.engine.calls.store import CallStore

_EVERY_S: Final = 0.02
_SLOW_S: Final = 0.001
_NOTHING: Final = Spent()


class CallWriter:
    """Records the calls of one execution.

    A call that took a millisecond is written at once, others within 20 ms: a transaction for each
    call of a microsecond would cost more than the calls. May be used from several threads.

    Parameters
    ----------
    store : CallStore
        Where records go.
    execution : int
        Number of the execution.
    """

    def __init__(self, store: CallStore, execution: int) -> None:
        self._store = store
        self._execution = execution
        self._pending: list[CallRecord] = []
        self._spent: dict[str, Spent] = {}
        self._lock = threading.Lock()
        self._written_at = 0.0
        self._has_pending = threading.Event()
        self._is_closed = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, call: CallRecord, *, calls: int = 0, builder: str = "") -> None:
        """Record a call; do nothing in a forked copy of the process.

        Parameters are those of `tablevault.engine.calls.ledger.Ledger.add`.

        Raises
        ------
        OSError
            Records cannot be written, for instance because the disk is full.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._raise_failure()
            self._pending.append(call)
            if not call.id:
                name = builder or call.builder
                self._spent[name] = self._spent.get(name, _NOTHING).plus(call, calls)
            is_due = time.monotonic() - self._written_at >= _EVERY_S
            if is_due or call.duration_s >= _SLOW_S:
                self._write()
            elif len(self._pending) == 1:
                self._wake()

    def flush(self) -> None:
        """Write all pending records."""
        with self._lock:
            self._raise_failure()
            self._write()

    def close(self) -> None:
        """Write all pending records, and end; do nothing in a forked copy of the process."""
        if os.getpid() != self._pid:
            return
        self._is_closed = True
        self._has_pending.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _write(self) -> None:
        """Write all pending records; the caller holds the lock."""
        if not self._pending:
            return
        # Dropped even if the write fails: a later success must not hide the failure.
        calls, self._pending = self._pending, []
        spent, self._spent = self._spent, {}
        try:
            self._store.write(self._execution, calls, spent, longest_unindexed_s=_SLOW_S)
        except OSError as error:
            first = calls[0]
            raise OSError(
                error.errno,
                f'Builder "{first.builder}": row {first.row} was computed but cannot be kept '
                f"({error.strerror}); the rows before it are",
                error.filename,
            ) from error
        self._written_at = time.monotonic()

    def _raise_failure(self) -> None:
        """Raise the error that the thread has caught."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _wake(self) -> None:
        """Let the thread write the last calls, which no other call follows."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tablevault-calls", daemon=True)
            self._thread.start()
        self._has_pending.set()

    def _run(self) -> None:
        """Write pending records 20 ms after the first was added, until closed."""
        while True:
            self._has_pending.wait()
            if self._is_closed:
                return
            self._has_pending.clear()
            time.sleep(_EVERY_S)
            with self._lock:
                try:
                    self._write()
                except BaseException as error:  # noqa: BLE001 - raised by the next `add` or `close`
                    self._failure = error
