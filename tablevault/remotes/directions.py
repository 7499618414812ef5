"""Sending and receiving, each in its own way: one object in a thread, the store in one only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tablevault.errors import TVFileError
from tablevault.objects.pointer import Pointer
from tablevault.objects.store import ObjectStore
from tablevault.remotes.attempt import HaltError, Meter, PassingError, StoppedError
from tablevault.remotes.lfs import Offer
from tablevault.remotes.transport import Transport

_LOOK_AGAIN_S = 0.1


class Job(Protocol):
    """One object on its way, in a thread of its own."""

    def move(self, offer: Offer, meter: Meter, stop: threading.Event) -> bool:
        """Try once to transfer it; False when it turned out to be there."""

    def close(self) -> None:
        """Let go of what it holds."""


class Direction(Protocol):
    """What sending and receiving do each in their own way."""

    name: str
    done: str

    def is_here(self, pointer: Pointer) -> bool:
        """Tell whether nothing has to be asked for an object."""

    def job(self, pointer: Pointer) -> Job:
        """Begin with an object."""

    def finish(self, jobs: Sequence[Job]) -> None:
        """Make use of what was transferred."""


class Sending:
    """Objects go out of the store."""

    name, done = "send", "sent"

    def __init__(self, transport: Transport, store: ObjectStore) -> None:
        self._transport = transport
        self._store = store

    def is_here(self, pointer: Pointer) -> bool:
        """Only the other side knows."""
        return pointer.size == 0

    def job(self, pointer: Pointer) -> Job:
        """Look for the object here."""
        return _Send(self._transport, self._store.file(pointer))

    def finish(self, jobs: Sequence[Job]) -> None:
        """Nothing is left to be done."""


class Receiving:
    """Objects come into the store."""

    name, done = "receive", "received"

    def __init__(self, transport: Transport, store: ObjectStore) -> None:
        self._transport = transport
        self._store = store

    def is_here(self, pointer: Pointer) -> bool:
        """Tell whether the store has it."""
        return self._store.has(pointer)

    def job(self, pointer: Pointer) -> Job:
        """Prepare a place where it comes together."""
        return _Receive(self._transport, self._store, pointer)

    def finish(self, jobs: Sequence[Job]) -> None:
        """Put into the store what has come; dies here: the next one finds it whole."""
        partials = [job.partial for job in jobs if isinstance(job, _Receive)]
        try:
            with self._store.locked():
                self._store.keep(partials)
        except OSError as error:
            raise _unwritable(partials[0].pointer, error) from error


class _Send:
    """One object that goes out."""

    def __init__(self, transport: Transport, source: Path) -> None:
        self._transport = transport
        self._source = source

    def move(self, offer: Offer, meter: Meter, stop: threading.Event) -> bool:  # noqa: ARG002 - as of Job
        """Send it."""
        self._transport.put(offer, self._source, meter)
        return True

    def close(self) -> None:
        """Nothing is held."""


class _Receive:
    """One object that comes in."""

    def __init__(self, transport: Transport, store: ObjectStore, pointer: Pointer) -> None:
        self._transport = transport
        self._store = store
        self.partial = store.partial(pointer)
        self._is_claimed = False

    def move(self, offer: Offer, meter: Meter, stop: threading.Event) -> bool:
        """Fetch it, or the rest of it, and check it."""
        try:
            if not self._claim(stop):
                return False
            meter.start(self.partial.size)
            self._transport.get(offer, self.partial, meter)
            if not self.partial.finish():
                # What an earlier transfer left may have been wrong: once more, from the start.
                raise PassingError(f"{self._transport.where} gave other bytes", most=2)
        except OSError as error:
            raise HaltError(_unwritable(offer.pointer, error)) from error
        return True

    def close(self) -> None:
        """Let others go on with it."""
        self.partial.close()
        self._is_claimed = False

    def _claim(self, stop: threading.Event) -> bool:
        """Become the only one who writes it; False when somebody else has brought it meanwhile."""
        while not self._is_claimed:
            if self.partial.claim():
                self._is_claimed = True
            elif self._store.has(self.partial.pointer):
                return False
            elif stop.wait(_LOOK_AGAIN_S):
                raise StoppedError
        return not self._store.has(self.partial.pointer)


def _unwritable(pointer: Pointer, error: OSError) -> TVFileError:
    """Make the error of a store that takes nothing any more."""
    return TVFileError(
        f"Object {pointer.oid} cannot be written: {error.strerror}.",
        "Is the disk full? What has come so far is kept, and the next try goes on from it.",
        oid=pointer.oid,
    )
