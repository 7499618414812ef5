"""Transfers single objects, each by itself, as an agent of git-lfs is asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tablevault.errors import TableVaultError, TVFileError, TVTransferError
from tablevault.history.git.git_config import storage_settings
from tablevault.history.git.git_program import run_git
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.progress import Progress
from tablevault.remotes.http.retry import PassingError
from tablevault.remotes.lfs.batch_api import Offer, Operation, refusal_error
from tablevault.remotes.lfs.transfer import open_transport
from tablevault.remotes.lfs.transport import Statistics, TransferMeter


class SingleTransfers:
    """Transfers objects to or from one remote, one after the other.

    Parameters
    ----------
    folder : Path
        The repository.
    remote : str
        Name of a remote, or a URL.
    operation : str
        ``upload`` or ``download``.

    Raises
    ------
    TVRemoteError
        As of :func:`open_transport`.
    """

    def __init__(self, folder: Path, remote: str, operation: Operation) -> None:
        self._folder = folder
        self._transport = open_transport(folder, remote, operation)

    def close(self) -> None:
        """Cut the connections."""
        self._transport.close()

    def upload(self, pointer: Pointer, source: Path, progress: Progress) -> None:
        """Send an object from the file `source`, unless the remote has it."""

        def attempt(meter: TransferMeter, offer: Offer) -> None:
            if offer.is_wanted:
                self._transport.put(offer, source, meter)

        self._retried(pointer, attempt, progress)

    def download(self, pointer: Pointer, progress: Progress) -> Path:
        """Receive an object into a file, from which git-lfs moves it away."""
        common = run_git(["rev-parse", "--path-format=absolute", "--git-common-dir"], self._folder)
        git_dir = Path(common.decode("utf-8", "surrogateescape").rstrip("\n"))
        path = storage_settings(git_dir).lfs / "incomplete" / f"{pointer.oid}.tablevault"
        with Partial(path, pointer) as partial:
            if not partial.claim():
                raise TVFileError(f"Another process receives object {pointer.oid}.", "Try again.")

            def attempt(meter: TransferMeter, offer: Offer) -> None:
                meter.start(partial.size)
                self._transport.get(offer, partial, meter)
                if not partial.finish():
                    raise PassingError("it sent wrong bytes", most=2)

            self._retried(pointer, attempt, progress)
        return path

    def _retried(
        self,
        pointer: Pointer,
        attempt: Callable[[TransferMeter, Offer], None],
        progress: Progress,
    ) -> None:
        """Ask for an offer and carry it out, again while it fails in passing."""
        transport = self._transport
        statistics = Statistics("transfer", "transferred", progress)
        meter = TransferMeter(statistics, threading.Event())

        def give_up(error: PassingError, count: int) -> TableVaultError:
            return TVTransferError(
                f"Object {pointer.oid} was not transferred: {error.reason} ({count} tries)."
            )

        def once() -> None:
            [offer] = transport.ask([pointer])
            if offer.refusal:
                raise refusal_error(offer.refusal, pointer, transport.where)
            attempt(meter, offer)

        transport.limits.retrying(time.sleep, give_up, has_progressed=meter.note_failure)(once)
