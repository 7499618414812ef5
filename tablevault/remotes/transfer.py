"""Sends objects to a remote and receives them: only what is missing, many at once, to the end."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from tablevault.errors import (
    TableVaultError,
    TVCredentialsError,
    TVFileError,
    TVOutcomeUnknownError,
    TVRemoteError,
    TVTransferError,
)
from tablevault.objects.pointer import Pointer
from tablevault.objects.store import ObjectStore
from tablevault.progress import Progress, Silent
from tablevault.remotes.attempt import HaltError, Meter, PassingError, StoppedError
from tablevault.remotes.directions import Direction, Job, Receiving, Sending
from tablevault.remotes.lfs import Offer, Refusal, refusal_error
from tablevault.remotes.tally import Tally, TransferReport
from tablevault.remotes.transport import Transport

_BATCH = 100
_LOOK_S = 0.1
_KEPT_PARTIALS_S = 14 * 86_400.0


def send(
    transport: Transport,
    pointers: Iterable[Pointer],
    store: ObjectStore,
    progress: Progress | None = None,
) -> TransferReport:
    """Send objects to where they are not yet.

    It may be killed at any moment: what arrived is there, and is not sent again.

    Parameters
    ----------
    transport : Transport
        Opened for ``upload``.
    pointers : iterable of Pointer
        What the other side has to have afterwards.
    store : ObjectStore
        Has the objects.
    progress : Progress, optional
        Told of the task ``send`` in bytes; counts ``objects sent``, ``bytes sent``, ``retries``.

    Returns
    -------
    TransferReport
        Failures of single objects stop no others.

    Raises
    ------
    TVRemoteError
        The other side cannot be reached, or refuses all.
    """
    assert transport.operation == "upload"
    sending = Sending(transport, store)
    return _Transfer(transport, sending, progress or Silent()).run(pointers)


def receive(
    transport: Transport,
    pointers: Iterable[Pointer],
    store: ObjectStore,
    progress: Progress | None = None,
) -> TransferReport:
    """Receive the objects that are not in the store yet; parameters as of :func:`send`.

    It may be killed at any moment: the next one goes on within the object.

    Raises
    ------
    TVRemoteError
        The other side cannot be reached, or refuses all.
    TVFileError
        The store cannot be written.
    """
    assert transport.operation == "download"
    store.sweep_partials(_KEPT_PARTIALS_S)
    receiving = Receiving(transport, store)
    return _Transfer(transport, receiving, progress or Silent()).run(pointers)


def find_missing(
    transport: Transport, pointers: Iterable[Pointer], progress: Progress | None = None
) -> dict[Pointer, Refusal]:
    """Ask which objects the other side cannot give, and why; nothing is transferred.

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
    tally = Tally("check", "checked", progress or Silent())

    def pause(failures: int, error: PassingError) -> None:
        tally.retried()
        time.sleep(transport.limits.wait_s(failures, error))

    wanted = [pointer for pointer in dict.fromkeys(pointers) if pointer.size]
    offers = (offer for batch in _batched(wanted) for offer in _answers(transport, batch, pause))
    return {offer.pointer: offer.refusal for offer in offers if offer.refusal is not None}


class _Transfer:
    """Asks in batches, moves objects in threads, and keeps the store to its own thread."""

    def __init__(self, transport: Transport, direction: Direction, progress: Progress) -> None:
        self._transport = transport
        self._direction = direction
        self._progress = progress
        self._tally = Tally(direction.name, direction.done, progress)
        self._stop = threading.Event()
        self._running: dict[Future[bool], tuple[Pointer, Job]] = {}

    def run(self, pointers: Iterable[Pointer]) -> TransferReport:
        """Transfer what is missing."""
        given = list(dict.fromkeys(pointers))
        missing = [pointer for pointer in given if not self._direction.is_here(pointer)]
        tally = self._tally
        tally.present = sum(pointer.size > 0 for pointer in given) - len(missing)
        self._progress.start(self._direction.name, sum(pointer.size for pointer in missing))
        # The largest first, so that none is left over when all others are done.
        missing.sort(key=lambda pointer: (-pointer.size, pointer.oid))
        try:
            with self._pool() as pool:
                for batch in _batched(missing):
                    for offer in _answers(self._transport, batch, self._pause):
                        self._begin(offer, pool)
                        # No more than that: a store that is away is not asked for all of them.
                        self._settle(2 * self._transport.limits.threads)
                self._settle(0)
        finally:
            self._progress.finish(self._direction.name)
        return tally.report(given)

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
                for _, job in self._running.values():
                    job.close()

    # -- in the thread that was called --------------------------------------------------------

    def _begin(self, offer: Offer, pool: ThreadPoolExecutor) -> None:
        """Start to move an object, unless there is no need or no way."""
        pointer = offer.pointer
        if offer.refusal:
            error = refusal_error(offer.refusal, pointer, self._transport.where)
            self._tally.failed(pointer, error, lost=False)
            return
        if not offer.is_wanted:
            self._tally.was_there(pointer.size)
            return
        try:
            job = self._direction.job(pointer)
        except TVFileError as error:
            self._tally.failed(pointer, error, lost=False)
            return
        self._running[pool.submit(self._carry, job, offer)] = (pointer, job)

    def _settle(self, left: int) -> None:
        """Wait until no more than `left` objects are on their way, and keep what has come."""
        while len(self._running) > left:
            # An interrupt that arrives just before the waiting begins does not end it.
            done, _ = wait(self._running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            come = [self._running[future] for future in done if self._result(future)]
            self._direction.finish([job for _, job in come])
            for future in done:
                _, job = self._running.pop(future)
                job.close()
            for _ in come:
                self._tally.arrived()
            if self._tally.lost_in_a_row >= self._transport.limits.threads:
                error = list(self._tally.failures.values())[-1]
                raise TVRemoteError(
                    f"{self._transport.where} was given up, after"
                    f" {self._tally.lost_in_a_row} objects in a row: {error.message}",
                    "Try again later: what was transferred is not transferred again.",
                ) from error

    def _result(self, future: Future[bool]) -> bool:
        """Tell whether an object was transferred; note what became of it else."""
        pointer, _ = self._running[future]
        try:
            if future.result():
                return True
        except HaltError as halt:
            raise halt.error from halt.__cause__
        except TVCredentialsError:
            # What one object may not, no other may; and nobody wants to be asked for each of them.
            raise
        except (TVRemoteError, TVOutcomeUnknownError, TVFileError) as error:
            self._tally.failed(pointer, error, lost=isinstance(error.__cause__, PassingError))
        else:
            self._tally.was_there(0)
        return False

    # -- in the threads of objects ------------------------------------------------------------

    def _carry(self, job: Job, offer: Offer) -> bool:
        """Move one object, again and again as long as there is hope."""
        tally = self._tally
        meter = Meter(tally.moved, tally.gained, self._stop)
        failures, furthest = 0, 0
        while True:
            try:
                if failures or not offer.is_good(time.monotonic()):
                    # What it was told before may have run out, or it may have arrived after all.
                    [offer] = self._transport.ask([offer.pointer])
                if offer.refusal:
                    raise refusal_error(offer.refusal, offer.pointer, self._transport.where)
                return offer.is_wanted and job.move(offer, meter, self._stop)
            except PassingError as error:
                # As long as there is progress there is hope.
                failures = 1 if meter.furthest > furthest else failures + 1
                furthest = meter.furthest
                if self._transport.limits.is_over(failures, error):
                    raise self._given_up(offer.pointer, error, failures) from error
                self._pause(failures, error)

    def _pause(self, failures: int, error: PassingError) -> None:
        """Wait before the next try."""
        self._tally.retried()
        if self._stop.wait(self._transport.limits.wait_s(failures, error)):
            raise StoppedError

    def _given_up(self, pointer: Pointer, error: PassingError, failures: int) -> TableVaultError:
        """Make the error of an object for which there is no hope."""
        which = f"Object {pointer.oid} ({pointer.size:,} bytes)"
        tries = f"{failures} tries" if failures > 1 else "1 try"
        hint = "Try again later: what was transferred is not transferred again."
        if error.unanswered:
            return TVOutcomeUnknownError(
                f"{which} was sent, but {self._transport.where} did not say that it has it:"
                f" {error.reason} ({tries}).",
                hint,
                oid=pointer.oid,
            )
        return TVTransferError(
            f"{which} was not transferred: {error.reason} ({tries}).", hint, oid=pointer.oid
        )


def _answers(
    transport: Transport, pointers: Sequence[Pointer], pause: Callable[[int, PassingError], None]
) -> list[Offer]:
    """Ask for a batch, again and again."""
    for failures in itertools.count(1):
        try:
            return transport.ask(pointers)
        except PassingError as error:
            if transport.limits.is_over(failures, error):
                raise TVRemoteError(
                    f"{transport.where} gives no answer: {error.reason} ({failures} tries).",
                    "Try again later: what was transferred is not transferred again.",
                ) from error
            pause(failures, error)
    raise AssertionError


def _batched(pointers: Sequence[Pointer]) -> Iterator[Sequence[Pointer]]:
    """Cut into batches as large as git-lfs makes them."""
    for start in range(0, len(pointers), _BATCH):
        yield pointers[start : start + _BATCH]
