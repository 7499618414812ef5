"""Sends objects to a remote and receives them: only missing ones, several at once, with retries."""

from __future__ import annotations

import functools
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tablevault.errors import (
    TableVaultError,
    TVCredentialsError,
    TVFileError,
    TVOutcomeUnknownError,
    TVRemoteError,
    TVTransferError,
)
from tablevault.history.git.git_config import (
    find_repository,
    read_committed_settings,
    read_settings,
)
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.progress import Progress
from tablevault.remotes.http.retry import PassingError, limits_of
from tablevault.remotes.lfs.batch_api import Offer, Operation, Refusal, refusal_error
from tablevault.remotes.lfs.endpoint import (
    BucketAddress,
    Endpoint,
    LocalAddress,
    find_endpoint,
    find_remote,
)
from tablevault.remotes.lfs.transport import Statistics, StoppedError, TransferMeter, Transport
from tablevault.remotes.reports import TransferReport

_BATCH = 100
_POLL_S = 0.1
_HINT = "Try again later: what was transferred is not transferred again."


class ObjectFiles(Protocol):
    """What a transfer needs of an object store."""

    def file(self, pointer: Pointer) -> Path:
        """Return the file of an object."""

    def partial(self, pointer: Pointer) -> Partial:
        """Return the partial file of an object."""

    def has(self, pointer: Pointer) -> bool:
        """Return whether an object is here."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep objects from coming and going meanwhile."""

    def keep(self, files: Sequence[Partial]) -> None:
        """Make objects of complete, synced files."""


def open_transport(
    folder: Path, remote: str, operation: Operation, *, ref: str = "", is_push: bool = False
) -> Transport:
    """Return the transport for the objects of a remote; only an ssh host is contacted now.

    Parameters
    ----------
    folder : Path
        The repository whose configuration counts.
    remote : str
        Name of a remote, or a URL.
    operation : str
        ``upload`` or ``download``.
    ref : str, default ""
        Full name of the ref for which objects are transferred; some servers check it.
    is_push : bool, default False
        Objects are where pushes send them, also for a download.

    Raises
    ------
    TVRemoteError
        There is no such remote, its URL cannot be used, there is no repository at its path, or
        its ssh host does not say where the objects are.
    """
    settings = read_settings(folder)
    endpoint = endpoint_of(folder, remote, "upload" if is_push else operation)
    if isinstance(endpoint.address, LocalAddress):
        from tablevault.remotes.lfs.local_transport import LocalTransport

        repository = find_repository(endpoint.address.path)
        return LocalTransport(repository, operation, limits_of(settings))
    if isinstance(endpoint.address, BucketAddress):
        from tablevault.remotes.lfs.bucket_transport import BucketTransport

        return BucketTransport(endpoint.address, operation, limits_of(settings))
    from tablevault.remotes.lfs.http_transport import HttpTransport
    from tablevault.remotes.lfs.server import open_server

    server = open_server(endpoint, operation, settings, folder)
    return HttpTransport(server, operation, limits_of(settings), ref=ref)


def endpoint_of(folder: Path, remote: str, operation: Operation) -> Endpoint:
    """Return where the objects of a remote are; errors as of :func:`open_transport`."""
    settings = read_settings(folder)
    found = find_remote(settings, remote, folder)
    return find_endpoint(found, operation, settings, read_committed_settings(folder), folder)


def send(
    transport: Transport,
    pointers: Iterable[Pointer],
    store: ObjectFiles,
    progress: Progress | None = None,
) -> TransferReport:
    """Send the objects that the other side lacks.

    It may be killed at any moment: objects that have arrived are not sent again.

    Parameters
    ----------
    transport : Transport
        Opened for ``upload``.
    pointers : iterable of Pointer
        Objects that the other side must have afterwards.
    store : ObjectFiles
        Has the objects.
    progress : Progress, optional
        Receives the task ``send`` in bytes; counts ``objects sent``, ``bytes sent``, ``retries``.

    Returns
    -------
    TransferReport
        A failure of one object does not stop the others.

    Raises
    ------
    TVRemoteError
        The other side cannot be reached, or refuses everything.
    """
    assert transport.operation == "upload"
    return _UploadTransfer(transport, store, progress or Progress()).run(pointers)


def receive(
    transport: Transport,
    pointers: Iterable[Pointer],
    store: ObjectFiles,
    progress: Progress | None = None,
) -> TransferReport:
    """Receive the objects that the store lacks; parameters as of :func:`send`.

    It may be killed at any moment: the next transfer resumes within the object.

    Raises
    ------
    TVRemoteError
        The other side cannot be reached, or refuses everything.
    TVFileError
        The store cannot be written.
    """
    assert transport.operation == "download"
    return _Download(transport, store, progress or Progress()).run(pointers)


def find_missing(
    transport: Transport, pointers: Iterable[Pointer], progress: Progress | None = None
) -> dict[Pointer, Refusal]:
    """Return the objects that the other side cannot provide, and why; nothing is transferred.

    Parameters
    ----------
    transport : Transport
        Opened for ``download``.

    Raises
    ------
    TVRemoteError
        The other side cannot be reached, or refuses to answer.
    """
    assert transport.operation == "download"
    statistics = Statistics("check", "checked", progress or Progress())

    def pause(seconds: float) -> None:
        statistics.retried()
        time.sleep(seconds)

    wanted = [pointer for pointer in dict.fromkeys(pointers) if pointer.size]
    offers = (offer for batch in _batched(wanted) for offer in _ask(transport, batch, pause))
    return {offer.pointer: offer.refusal for offer in offers if offer.refusal is not None}


_Part = TypeVar("_Part", Path, Partial)


class _Transfer(ABC, Generic[_Part]):
    """Asks in batches, moves objects in threads, and keeps the store to its own thread.

    What is known of an object on its way is its part: the file to send, or the partial file.
    """

    name: str
    done: str
    fatal: tuple[type[TableVaultError], ...] = (TVCredentialsError,)
    """A failure of one object that ends the transfer: nobody wants a hundred prompts for logins."""

    def __init__(self, transport: Transport, store: ObjectFiles, progress: Progress) -> None:
        self._transport = transport
        self._store = store
        self._progress = progress
        self._statistics = Statistics(self.name, self.done, progress)
        self._stop = threading.Event()
        self._running: dict[Future[bool], tuple[Pointer, _Part]] = {}

    def run(self, pointers: Iterable[Pointer]) -> TransferReport:
        """Transfer what is missing."""
        given = list(dict.fromkeys(pointers))
        missing = [pointer for pointer in given if not self.is_here(pointer)]
        statistics = self._statistics
        statistics.present = sum(pointer.size > 0 for pointer in given) - len(missing)
        self._progress.start(self.name, sum(pointer.size for pointer in missing))
        # The largest first, so that none is left when all others are done.
        missing.sort(key=lambda pointer: (-pointer.size, pointer.oid))
        try:
            with self._pool() as pool:
                for batch in _batched(missing):
                    for offer in _ask(self._transport, batch, self._pause):
                        self._begin(offer, pool)
                        # No more at once: a store that is down is not asked for every object.
                        self._collect(2 * self._transport.limits.threads)
                self._collect(0)
        finally:
            self._progress.finish(self.name)
        return statistics.report(given)

    @abstractmethod
    def is_here(self, pointer: Pointer) -> bool:
        """Return whether the other side need not be asked for an object."""

    @abstractmethod
    def part_of(self, pointer: Pointer) -> _Part:
        """Return the part of an object."""

    @abstractmethod
    def move(self, part: _Part, offer: Offer, meter: TransferMeter) -> None:
        """Make one attempt to transfer an object."""

    def claim(self, part: _Part) -> bool:
        """Return whether the object is still to be transferred, and nobody else does that."""
        return True

    def keep(self, parts: Sequence[_Part]) -> None:
        """Make use of what was transferred."""

    def release(self, part: _Part) -> None:
        """Let others have the part."""

    # -- in the calling thread ----------------------------------------------------------------

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """Run threads; whatever ends the transfer early ends them, too."""
        with ThreadPoolExecutor(self._transport.limits.threads, "tablevault-transfer") as pool:
            try:
                yield pool
            except BaseException:
                self._stop.set()
                self._transport.close()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            finally:
                for _, part in self._running.values():
                    self.release(part)

    def _begin(self, offer: Offer, pool: ThreadPoolExecutor) -> None:
        """Start to move an object, unless there is no need or no way."""
        pointer = offer.pointer
        if not offer.is_wanted and not offer.refusal:
            self._statistics.was_there(pointer.size)
            return
        try:
            self._refuse(offer)
            part = self.part_of(pointer)
        except (TVTransferError, TVFileError) as error:
            self._statistics.failed(pointer, error, lost=False)
        else:
            self._running[pool.submit(self._carry, part, offer)] = (pointer, part)

    def _collect(self, left: int) -> None:
        """Wait until no more than `left` objects are on their way, and keep what has arrived."""
        while len(self._running) > left:
            # An interrupt that arrives just before the wait begins does not end it.
            done, _ = wait(self._running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            arrived = [self._running[future][1] for future in done if self._result(future)]
            self.keep(arrived)
            for future in done:
                self.release(self._running.pop(future)[1])
            for _ in arrived:
                self._statistics.arrived()
            if self._statistics.lost_in_a_row >= self._transport.limits.threads:
                error = list(self._statistics.failures.values())[-1]
                raise TVRemoteError(
                    f"{self._transport.where} was given up after"
                    f" {self._statistics.lost_in_a_row} objects in a row: {error.message}",
                    _HINT,
                ) from error

    def _result(self, future: Future[bool]) -> bool:
        """Return whether an object was transferred; count it if it was not."""
        try:
            if future.result():
                return True
        except (TVRemoteError, TVOutcomeUnknownError, TVFileError) as error:
            if isinstance(error, self.fatal):
                raise
            is_lost = isinstance(error.__cause__, PassingError)
            self._statistics.failed(self._running[future][0], error, lost=is_lost)
        else:
            self._statistics.was_there(0)
        return False

    # -- in the threads of objects ------------------------------------------------------------

    def _carry(self, part: _Part, offer: Offer) -> bool:
        """Transfer an object, with retries; return False if it turned out to be there already."""
        meter = TransferMeter(self._statistics, self._stop)
        give_up = functools.partial(self._given_up, offer.pointer)
        limits = self._transport.limits
        retrying = limits.retrying(self._pause, give_up, has_progressed=meter.note_failure)
        return self.claim(part) and retrying(self._attempt, part, offer, meter)

    def _attempt(self, part: _Part, offer: Offer, meter: TransferMeter) -> bool:
        """Make one attempt, by a new offer where the old one may be wrong."""
        if meter.has_failed or not offer.is_good(time.monotonic()):
            # Its actions may have expired, or the object may have arrived after all.
            [offer] = self._transport.ask([offer.pointer])
        self._refuse(offer)
        if offer.is_wanted:
            self.move(part, offer, meter)
        return offer.is_wanted

    def _given_up(self, pointer: Pointer, error: PassingError, count: int) -> TableVaultError:
        """Return the error of an object that is given up."""
        which = f"Object {pointer.oid} ({pointer.size:,} bytes)"
        why = f"{error.reason} ({count} {'tries' if count > 1 else 'try'})"
        if error.unanswered:
            text = f"{which} was sent, but {self._transport.where} did not confirm it: {why}."
            return TVOutcomeUnknownError(text, _HINT, oid=pointer.oid)
        return TVTransferError(f"{which} was not transferred: {why}.", _HINT, oid=pointer.oid)

    def _refuse(self, offer: Offer) -> None:
        """Raise the error of a refusal."""
        if offer.refusal:
            raise refusal_error(offer.refusal, offer.pointer, self._transport.where)

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt."""
        self._statistics.retried()
        if self._stop.wait(seconds):
            raise StoppedError


class _UploadTransfer(_Transfer[Path]):
    """Objects leave the store; the part of each is its file."""

    name, done = "send", "sent"

    def is_here(self, pointer: Pointer) -> bool:
        """Return whether there is nothing to send; the rest only the other side knows."""
        return pointer.size == 0

    def part_of(self, pointer: Pointer) -> Path:
        """Return the file of an object."""
        return self._store.file(pointer)

    def move(self, part: Path, offer: Offer, meter: TransferMeter) -> None:
        """Send an object."""
        self._transport.put(offer, part, meter)


class _Download(_Transfer[Partial]):
    """Objects enter the store; the part of each is a partial file."""

    name, done = "receive", "received"
    fatal = (TVCredentialsError, TVFileError)

    def is_here(self, pointer: Pointer) -> bool:
        """Return whether the store has an object."""
        return self._store.has(pointer)

    def part_of(self, pointer: Pointer) -> Partial:
        """Return the partial file of an object, not claimed yet."""
        return self._store.partial(pointer)

    def claim(self, part: Partial) -> bool:
        """Wait until no other process writes the file; return False if one brought the object."""
        with _writing(part.pointer):
            while not part.claim():
                if self._store.has(part.pointer):
                    return False
                if self._stop.wait(_POLL_S):
                    raise StoppedError
        return not self._store.has(part.pointer)

    def move(self, part: Partial, offer: Offer, meter: TransferMeter) -> None:
        """Receive an object, or the rest of it, and check its hash."""
        with _writing(part.pointer):
            meter.start(part.size)
            self._transport.get(offer, part, meter)
            if not part.finish():
                # What an earlier transfer left may have been wrong: once more, from the start.
                raise PassingError(f"{self._transport.where} sent wrong bytes", most=2)

    def keep(self, parts: Sequence[Partial]) -> None:
        """Move objects into the store; after a crash here the next transfer finds them whole."""
        for part in parts[:1]:
            with _writing(part.pointer), self._store.locked():
                self._store.keep(parts)

    def release(self, part: Partial) -> None:
        """Let other processes continue with the file."""
        part.close()


def _ask(
    transport: Transport, pointers: Sequence[Pointer], pause: Callable[[float], None]
) -> list[Offer]:
    """Ask for a batch, with retries."""

    def give_up(error: PassingError, count: int) -> TableVaultError:
        text = f"{transport.where} does not answer: {error.reason} ({count} tries)."
        return TVRemoteError(text, _HINT)

    return transport.limits.retrying(pause, give_up)(transport.ask, pointers)


def _batched(pointers: Sequence[Pointer]) -> Iterator[Sequence[Pointer]]:
    """Return batches as large as those of git-lfs."""
    for start in range(0, len(pointers), _BATCH):
        yield pointers[start : start + _BATCH]


@contextmanager
def _writing(pointer: Pointer) -> Iterator[None]:
    """Raise the error of a store that cannot be written."""
    try:
        yield
    except OSError as error:
        raise TVFileError(
            f"Object {pointer.oid} cannot be written: {error.strerror}.",
            "Is the disk full? What has arrived is kept, and the next attempt continues from it.",
            oid=pointer.oid,
        ) from error
