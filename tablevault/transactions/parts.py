"""The parts of a vault that processes need: repository, store, working tree, catalog, records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVLockError
from tablevault.history.catalog.catalog import Index
from tablevault.history.checkout.checkpoints import Checkpoints
from tablevault.history.checkout.temp_folders import TempFolders
from tablevault.history.checkout.worktree import WorkTree
from tablevault.history.git.repository import RefMove, Repository
from tablevault.lfs.os_lock import OsLock, is_held
from tablevault.lfs.small_files import read_note, write_note
from tablevault.lfs.store import ObjectStore
from tablevault.names import ProcessId, record_file
from tablevault.transactions.record_store import RecordStore


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultParts:
    """The parts of a vault that processes need; `state` is ``.git/tablevault``."""

    state: Path
    repository: Repository
    store: ObjectStore
    worktree: WorkTree
    temp_folders: TempFolders
    index: Index
    files: RecordStore
    lock_timeout_s: float = 10.0
    needed_by_calls: Callable[[], Collection[str]] = tuple
    """Returns the ids of the objects that records of calls name."""

    @contextmanager
    def commit_lock(self) -> Iterator[None]:
        """Hold the one lock of the whole vault, for milliseconds, after the mutex of the records.

        Under it: read the tip, build trees, write commits, move refs, refresh the working tree.
        """
        lock = OsLock(f"{self.state}/commit.lock")
        try:
            lock.acquire(timeout_s=max(self.lock_timeout_s, 10.0))
        except TimeoutError as error:
            raise TVLockError(
                "Another process commits to the vault for an unusually long time.",
                "Try again. If nobody works in the vault: a network file system may keep locks.",
            ) from error
        with lock:
            self._break_locks()
            yield

    def is_committing(self) -> bool:
        """Return whether somebody holds the commit lock just now."""
        return is_held(f"{self.state}/commit.lock")

    def move(self, moves: Sequence[RefMove], reason: str, needs: Sequence[str] = ()) -> None:
        """Move refs; take the commit lock before. The files `needs` are made durable first.

        Which ones is noted meanwhile: git's lock files on them outlive a process that dies.
        """
        lines = [f"{move.ref} {move.new or ''}\n" for move in moves]
        self._note_moving("".join(lines))
        try:
            self.repository.move(moves, reason, needs)
        finally:
            # A note too many does no harm.
            with suppress(OSError):
                self._note_moving("")

    def _break_locks(self) -> None:
        """Remove the lock files of whoever died while it moved refs: nobody else is moving any."""
        try:
            noted = read_note(self._moving).decode("utf-8", "replace")
        except FileNotFoundError:
            return
        if noted.startswith("\n") or not noted:
            return
        # What follows the empty line is left of a longer note.
        lines = [line.partition(" ") for line in noted.partition("\n\n")[0].splitlines()]
        if self.repository.break_locks({ref: new for ref, _, new in lines}):
            self._note_moving("")

    def _note_moving(self, lines: str) -> None:
        """Note `lines` over what was noted before; an empty one ends what counts."""
        write_note(self._moving, f"{lines}\n".encode())

    @property
    def _moving(self) -> str:
        """File that names the refs that are being moved just now."""
        return f"{self.state}/moving"

    @property
    def checkpoints(self) -> Checkpoints:
        """Folders in which executions keep what they have finished."""
        return Checkpoints(self.repository, self.state)

    def log_file(self, process_id: ProcessId) -> Path:
        """File for what a process prints that runs in the background."""
        return self.state / "logs" / f"{record_file(process_id)}.log"

    def owner(self, process_id: ProcessId) -> str:
        """Name under which a process keeps temporary files."""
        return record_file(process_id)
