"""What a transport of objects is, and what all kinds of transports share."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tablevault.errors import TableVaultError, TVFileError
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.names import ObjectId
from tablevault.progress import Progress
from tablevault.remotes.http.retry import TransferLimits
from tablevault.remotes.lfs.batch_api import Offer, Operation
from tablevault.remotes.reports import Failure, TransferReport

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object of a remote, by the name of its file."""

    oid: ObjectId
    size: int
    modified_at: float
    """Seconds since 1970, by the clock of the remote."""
    upload_id: str = ""
    """If it is not an object, but an interrupted upload of one: the id of the upload."""


class Transport(Protocol):
    """Moves objects to or from one remote, one by one; threads may share it.

    Attributes
    ----------
    operation : str
        ``upload`` or ``download``.
    where : str
        The other side, as the subject of a sentence, without secrets.
    limits : TransferLimits
        How many objects may be on their way at once, and how often a failure is retried.
    """

    @property
    def operation(self) -> Operation:
        """Either ``upload`` or ``download``."""

    @property
    def where(self) -> str:
        """The other side, as the subject of a sentence."""

    @property
    def limits(self) -> TransferLimits:
        """Threads and retries."""

    def ask(self, pointers: Sequence[Pointer]) -> list[Offer]:
        """Return for each object, in this order, whether it can and must be transferred."""

    def put(self, offer: Offer, source: Path, meter: TransferMeter) -> None:
        """Send the object of an offer from the file `source`."""

    def get(self, offer: Offer, partial: Partial, meter: TransferMeter) -> None:
        """Append the object of an offer to `partial`; its hash is not checked."""

    def damaged(self, pointer: Pointer) -> str:
        """Return the place of an object that has other bytes than its name says, or ""."""

    def every(self) -> Iterator[StoredObject]:
        """List all objects of the remote; raise TVRemoteError where they cannot be listed."""

    def delete(self, stored: StoredObject) -> None:
        """Delete an object; ignore it if it is already gone."""

    def close(self) -> None:
        """Cut all connections; threads that wait for one see a PassingError."""


def blocks_of(file: BinaryIO, pointer: Pointer, size: int = _BLOCK) -> Iterator[bytes]:
    """Return the bytes of an object in blocks of `size`; the last one only if the hash is right."""
    found, left = hashlib.sha256(), pointer.size
    file.seek(0)
    while left:
        block = file.read(min(size, left))
        left -= len(block)
        found.update(block)
        if not block or (not left and found.hexdigest() != pointer.oid):
            raise TVFileError(
                f"Object {pointer.oid} changed during the upload.",
                "Try again; `git lfs fsck` names objects that are damaged.",
                oid=pointer.oid,
            )
        yield block


def counted_blocks(file: BinaryIO, pointer: Pointer, meter: TransferMeter) -> Iterator[bytes]:
    """Return the bytes of an object as :func:`blocks_of`, and count them as they leave."""
    meter.start(0)
    for block in blocks_of(file, pointer):
        yield block
        meter.add(len(block))


@contextlib.contextmanager
def opened(source: Path, pointer: Pointer) -> Iterator[BinaryIO]:
    """Open an object; failures of our own disk are not the server's."""
    try:
        file = source.open("rb")
    except OSError as error:
        raise TVFileError(
            f"Object {pointer.oid} cannot be read: {error.strerror}.", oid=pointer.oid
        ) from error
    with file:
        yield file


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


class TransferMeter:
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

    def skip(self, count: int) -> None:
        """Pass bytes that the other side has."""
        self._at += count
        self._move(0)

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
