"""The parts of a vault that processes need: repository, store, working tree, catalog, records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tablevault.argument_types import LOCK_TIMEOUT_S
from tablevault.errors import TVLockError
from tablevault.files.disk import replace_file
from tablevault.files.locks import is_held, take_lock
from tablevault.history.catalog.catalog import Index
from tablevault.history.checkout.temp_folders import TempFolders
from tablevault.history.checkout.worktree import WorkTree
from tablevault.history.git.refs import RefMove, break_locks, move_refs
from tablevault.history.git.repository import Repository
from tablevault.lfs.store import ObjectStore
from tablevault.names import ProcessId, record_file
from tablevault.transactions.records import RecordStore


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
    lock_timeout_s: float
    needed_by_calls: Callable[[], Collection[str]] = tuple
    """Returns the ids of the objects that records of calls name."""

    @contextmanager
    def commit_lock(self) -> Iterator[None]:
        """Hold the one lock of the whole vault, for milliseconds, after the mutex of the records.

        Under it: read the tip, build trees, write commits, move refs, refresh the working tree.
        """
        try:
            lock = take_lock(self._commit_lock, max(self.lock_timeout_s, LOCK_TIMEOUT_S))
        except TimeoutError as error:
            raise TVLockError(
                "Another process commits to the vault for an unusually long time.",
                "Try again. If nobody works in the vault: a network file system may keep locks.",
            ) from error
        try:
            self._break_locks()
            yield
        finally:
            lock.release()

    def is_committing(self) -> bool:
        """Return whether a process holds the commit lock just now."""
        return is_held(self._commit_lock)

    def move(self, moves: Sequence[RefMove], reason: str) -> None:
        """Move refs; take the commit lock before.

        Which ones is noted meanwhile: git's lock files on them outlive a process that is killed.
        """
        lines = [f"{move.ref} {move.new or ''}\n" for move in moves]
        replace_file(self._moving, "".join(lines).encode())
        try:
            move_refs(self.repository, moves, reason)
        finally:
            # A note too many does no harm.
            with suppress(OSError):
                self._moving.unlink()

    def _break_locks(self) -> None:
        """Remove git's lock files of a crash while refs moved; take the commit lock before."""
        try:
            noted = self._moving.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return
        # Releases before this one left lines of older notes behind an empty one.
        lines = [line.partition(" ") for line in takewhile(bool, noted.splitlines())]
        if break_locks(self.repository.git_dir, {ref: new for ref, _, new in lines}):
            self._moving.unlink()

    @property
    def _commit_lock(self) -> Path:
        """File of the lock."""
        return self.state / "commit.lock"

    @property
    def _moving(self) -> Path:
        """File that names the refs that are being moved just now."""
        return self.state / "moving"

    def log_file(self, process_id: ProcessId) -> Path:
        """File for what a process prints that runs in the background."""
        return self.state / "logs" / f"{record_file(process_id)}.log"
