"""Counts what a transfer does, and reports it in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from tablevault.errors import TableVaultError, TVOutcomeUnknownError
from tablevault.lfs.pointer import Pointer
from tablevault.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An object that was not transferred, and the error."""

    pointer: Pointer
    error: TableVaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    """The result of a transfer.

    Attributes
    ----------
    objects : int
        Objects that were transferred.
    bytes : int
        Bytes that moved, also in failed attempts; fewer than the objects have where an earlier
        transfer left a part.
    present : int
        Objects that needed no transfer, because they were there.
    failures : tuple of Failure
        Objects that were not transferred, in the order in which they were given.
    """

    objects: int
    bytes: int
    present: int
    failures: tuple[Failure, ...]

    def check(self) -> None:
        """Raise the first failure, with the number of failures.

        Raises
        ------
        TVOutcomeUnknownError
            It is not known whether some object was transferred.
        TableVaultError
            Of the class of the first failure otherwise.
        """
        if not self.failures:
            return
        errors = [failure.error for failure in self.failures]
        first = next((e for e in errors if isinstance(e, TVOutcomeUnknownError)), errors[0])
        if len(self.failures) == 1:
            raise first
        total = self.objects + self.present + len(self.failures)
        message = f"{first.message} {len(self.failures):,} of {total:,} objects are missing."
        raise type(first)(message, first.hint, **first.facts) from first


class StoppedError(Exception):
    """Another thread has given up the whole transfer."""


class Statistics:
    """Counts what many threads do, and reports their progress from one thread at a time.

    Parameters
    ----------
    name, done : str
        What happens, as a verb: ``send`` and ``sent``.
    progress : Progress
        Receives the counts.
    """

    def __init__(self, name: str, done: str, progress: Progress) -> None:
        self._name = name
        self._done = done
        self._progress = progress
        self._lock = threading.Lock()
        self.objects = 0
        self.bytes = 0
        self.present = 0
        self.failures: dict[Pointer, TableVaultError] = {}
        self.lost_in_a_row = 0

    def moved(self, count: int, gained: int) -> None:
        """Count bytes that moved, and those of them that moved for the first time."""
        with self._lock:
            self.bytes += count
            self._progress.count(f"bytes {self._done}", count)
            self._progress.advance(self._name, gained)

    def retried(self) -> None:
        """Count a retry."""
        with self._lock:
            self._progress.count("retries")

    def arrived(self) -> None:
        """Count an object that was transferred."""
        with self._lock:
            self.objects += 1
            self.lost_in_a_row = 0
            self._progress.count(f"objects {self._done}")

    def was_there(self, size: int) -> None:
        """Count an object that needed no transfer."""
        with self._lock:
            self.present += 1
            self._progress.advance(self._name, size)

    def failed(self, pointer: Pointer, error: TableVaultError, *, lost: bool) -> None:
        """Record an object that was not transferred; `lost` if the connection is to blame."""
        with self._lock:
            self.failures[pointer] = error
            self.lost_in_a_row += lost

    def report(self, order: Iterable[Pointer]) -> TransferReport:
        """Return the report; failures are in the order of the pointers."""
        return TransferReport(
            objects=self.objects,
            bytes=self.bytes,
            present=self.present,
            failures=tuple(
                Failure(pointer=each, error=self.failures[each])
                for each in order
                if each in self.failures
            ),
        )


class Meter:
    """Counts the bytes of one object as they move; stops its thread when the transfer is stopped.

    Parameters
    ----------
    statistics : Statistics
        Counts the bytes of all objects.
    stop : threading.Event
        Set when the transfer is given up.
    """

    def __init__(self, statistics: Statistics, stop: threading.Event) -> None:
        self._statistics = statistics
        self._stop = stop
        self._at = 0
        self._furthest = 0
        self._furthest_before = 0
        self.has_failed = False

    def start(self, at: int) -> None:
        """Begin at byte `at`: 0, or where an earlier attempt stopped."""
        self._at = at
        self._move(0)

    def add(self, count: int) -> None:
        """Count bytes.

        Raises
        ------
        StoppedError
            The transfer was given up meanwhile.
        """
        self._at += count
        self._move(count)
        if self._stop.is_set():
            raise StoppedError

    def note_failure(self) -> bool:
        """Note that an attempt failed; return whether it moved bytes for the first time."""
        self.has_failed = True
        before, self._furthest_before = self._furthest_before, self._furthest
        return self._furthest > before

    def _move(self, count: int) -> None:
        """Report bytes, and which of them were never reached before."""
        gained = max(0, self._at - self._furthest)
        self._furthest += gained
        if count or gained:
            self._statistics.moved(count, gained)
