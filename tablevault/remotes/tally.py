"""What a transfer has done so far, and its report in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from tablevault.errors import TableVaultError, TVOutcomeUnknownError
from tablevault.objects.pointer import Pointer
from tablevault.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An object that was not transferred, and why."""

    pointer: Pointer
    error: TableVaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    """What a transfer has done.

    Attributes
    ----------
    objects : int
        Objects that were transferred.
    bytes : int
        Bytes that moved, those of failed tries included; less than the objects have when earlier
        transfers left a part of them.
    present : int
        Objects that had not to be transferred, because they were there.
    failures : tuple of Failure
        Objects that were not transferred, in the order in which they were given.
    """

    objects: int
    bytes: int
    present: int
    failures: tuple[Failure, ...]

    def check(self) -> None:
        """Raise the first failure, when there is one, and say how many there are.

        Raises
        ------
        TVOutcomeUnknownError
            Of at least one object it is not known whether it was transferred.
        TableVaultError
            Else of the class of the first failure.
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


class Tally:
    """Counts what many threads do; the listener hears of it from one thread at a time.

    Parameters
    ----------
    name, done : str
        What is done, as a verb: ``send`` and ``sent``.
    progress : Progress
        The listener.
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

    def moved(self, count: int) -> None:
        """Note bytes that moved."""
        with self._lock:
            self.bytes += count
            self._progress.count(f"bytes {self._done}", count)

    def gained(self, count: int) -> None:
        """Note bytes that need not be moved any more."""
        with self._lock:
            self._progress.advance(self._name, count)

    def retried(self) -> None:
        """Note that something is tried again."""
        with self._lock:
            self._progress.count("retries")

    def arrived(self) -> None:
        """Note an object that was transferred."""
        with self._lock:
            self.objects += 1
            self.lost_in_a_row = 0
            self._progress.count(f"objects {self._done}")

    def was_there(self, size: int) -> None:
        """Note an object that had not to be transferred."""
        with self._lock:
            self.present += 1
            self._progress.advance(self._name, size)

    def failed(self, pointer: Pointer, error: TableVaultError, *, lost: bool) -> None:
        """Note an object that was not transferred; `lost` when the connection is to blame."""
        with self._lock:
            self.failures[pointer] = error
            self.lost_in_a_row += lost

    def report(self, order: Iterable[Pointer]) -> TransferReport:
        """Tell what was done; failures in the order of the pointers."""
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
