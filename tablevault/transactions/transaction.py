"""A running operation: store objects, publish, close. Only here does ``main`` move."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tablevault.errors import TableVaultError, TVLockError, TVProcessError
from tablevault.history.commits.change import Change, Signing, write_by_hand, write_change
from tablevault.history.commits.documents import timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.refs import PartlyMovedError, RefBusyError, RefMovedError
from tablevault.history.git.repack import pack_if_many
from tablevault.history.git.trees import Edit
from tablevault.lfs.drafts import Draft
from tablevault.lfs.pointer import Pointer
from tablevault.names import CODE_DIR, CommitId, ProcessId, TempRef, record_file
from tablevault.secrets import Finding, text_to_keep
from tablevault.transactions.allowed_secrets import (
    Admitted,
    allows_edits,
    builder_error,
    code_error,
    found_in_edits,
)
from tablevault.transactions.begin import Actor, Setup, begin, enclosing
from tablevault.transactions.misplaced_edits import minding_misplaced
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import STOPPED, Json, Record, Request
from tablevault.transactions.recovery import finish_moves, follow, roll_back
from tablevault.transactions.stopping import Cancel, cancellable

_log = logging.getLogger("tablevault")
_told = logging.getLogger("tablevault.operations")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.005, 0.1
_TICK_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedBranch:
    """The branch of a temporary instance with what was edited by hand in its folder."""

    temp: TempRef
    tip: CommitId
    commit: CommitId


@dataclass(frozen=True, slots=True, kw_only=True)
class _CodeInUse:
    """The code that an operation runs: ``main``, and on top of it what was edited by hand."""

    main: CommitId
    commit: CommitId
    edits: list[Edit]


Plan = Callable[[Snapshot, float], Change]
"""Pure: the snapshot to change and the time of the change in, the change out."""


class Transaction:
    """A process that has begun: it has a record, an OS lock, and its resources."""

    def __init__(self, parts: VaultParts, record: Record, cancel: Cancel) -> None:
        self._parts = parts
        self._cancel = cancel
        self.record = record
        self._pid = os.getpid()
        self.published: CommitId | None = None
        self._has_drafts = False
        self._is_complete = True
        self._is_kept_out = False
        self.pauses = False
        """Whether any error pauses it from now on, if it has an id that the caller chose."""
        self.allows_edits = allows_edits(record.request)
        """Whether files that were edited by hand are taken in, whatever looks like a key there."""
        self.allowed: list[Finding] = []
        """What looks like a key, and is allowed; the commit names it."""
        self._admitted = ""
        self._used: _CodeInUse | None = None

    @property
    def process_id(self) -> ProcessId:
        """Id of the process."""
        return self.record.process_id

    @property
    def _is_copy(self) -> bool:
        """Return whether a function has forked, and this is the child: all is the parent's."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raise TVProcessError if the process was asked to stop."""
        self._cancel.check(self.process_id)

    def note(self, plan: Mapping[str, Json]) -> None:
        """Note what was decided: the process keeps it when it is resumed."""
        self._update(replace(self.record, plan={**self.record.plan, **plan}), durable=True)

    def ask_anew(self, request: Request) -> None:
        """Note what this attempt asks for, if the first one asked for something else."""
        if request != self.record.request:
            self._update(replace(self.record, request=request), durable=True)

    def admit(self, admitted: Admitted) -> None:
        """Let texts count that were handed in and are allowed; the commit names what is in them."""
        self.allowed.extend(admitted.found)
        self._admitted += admitted.text

    def message(
        self,
        subject: str,
        pairs: Iterable[tuple[str, str]] = (),
        body: str = "",
        *,
        at: float | None = None,
    ) -> Message:
        """Return the message of the commit that represents the operation.

        Parameters
        ----------
        subject, body : str
            Its text.
        pairs : iterable of (str, str)
            Further trailers, without their prefix ``Vault-``; empty ones are left out. What looks
            like a key and was allowed becomes a trailer, too.
        at : float, optional
            The time of the change, if the pairs do not tell it.
        """
        record = self.record
        return Message(
            subject=subject,
            body=body,
            trailers=trailers(
                [
                    ("Operation", record.request.operation),
                    ("Process", record.process_id),
                    ("Parent-Process", record.parent),
                    *pairs,
                    ("Time", "" if at is None else timestamp(at)),
                    *(("Allowed-Secret", str(found)) for found in dict.fromkeys(self.allowed)),
                    ("Started", timestamp(record.started_at)),
                ]
            ),
        )

    def step(self, name: str) -> None:
        """Note a finished step, once."""
        if all(name != known for known, _ in self.record.steps):
            steps = (*self.record.steps, (name, time.time()))
            self._update(replace(self.record, steps=steps))

    def new_draft(self) -> Draft:
        """Open a temporary file to write an object into; it is gone when the operation ends."""
        self._has_drafts = True
        return self._parts.store.draft(record_file(self.process_id))

    def drafts_of(self, sources: Iterable[Path]) -> list[Draft]:
        """Copy files into drafts, closed; OSError when one cannot be read."""
        self._has_drafts = True
        return self._parts.store.drafts_of(sources, record_file(self.process_id))

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Move closed drafts into the object store, where they are taken back on failure."""
        store = self._parts.store
        with store.locked():
            pins = (*self.record.pins, *(draft.pointer.oid for draft in drafts))
            made = (*self.record.made, *store.missing(drafts))
            self._update(replace(self.record, pins=pins, made=made))
            store.keep(drafts)

    def pin(self, pointers: Sequence[Pointer]) -> list[Pointer]:
        """Keep objects from being deleted until the operation ends; give those that are missing."""
        store = self._parts.store
        with store.locked():
            pins = (*self.record.pins, *(pointer.oid for pointer in pointers))
            self._update(replace(self.record, pins=tuple(dict.fromkeys(pins))))
            return [pointer for pointer in pointers if not store.has(pointer)]

    def edited_branch(self, temp: TempRef) -> EditedBranch:
        """Take what was edited by hand in the folder of `temp` into a commit on its branch.

        The branch itself moves only when the operation is published. Raises TVSecretError where
        something looks like a key.
        """
        repository = self._parts.repository
        tip = repository.tip(temp.ref)
        if tip is None:
            raise RefMovedError(temp.ref)
        edits = self._parts.temp_folders.edits(temp, tip)
        if not edits:
            return EditedBranch(temp=temp, tip=tip, commit=tip)
        folder = f"{temp.folder}/builders"
        found = found_in_edits(edits, Snapshot(repository, tip), folder, self._admitted)
        if found and not self.allows_edits:
            raise builder_error(found, repository.path, temp)
        self.allowed.extend(found)
        commit = write_by_hand(repository, tip, edits, self._signing())
        self._parts.temp_folders.note_adopted(temp, commit)
        return EditedBranch(temp=temp, tip=tip, commit=commit)

    def snapshot(self) -> Snapshot:
        """Return ``main`` as it is now, with the code modules as the user left them.

        What they are now is what the operation commits, even if they are edited meanwhile.
        Raises TVSecretError where something looks like a key.
        """
        repository = self._parts.repository
        main = repository.main()
        edits = self._find_code_edits(main)
        self._used = _CodeInUse(main=main, commit=main, edits=edits)
        if edits:
            commit = write_by_hand(repository, main, edits, self._signing())
            self._used = _CodeInUse(main=main, commit=commit, edits=edits)
        return Snapshot(repository, self._used.commit)

    def publish(self, plan: Plan) -> CommitId:
        """Commit what `plan` wants on the newest tip of ``main``.

        Takes the commit lock for milliseconds. `plan` is called again when a plain ``git
        commit`` moved ``main`` meanwhile. When this returns, the operation has happened,
        even if the working tree cannot follow: the next operation or opening repairs that.
        """
        assert not self._is_copy, "the copy of a process would do the work of the original"
        try:
            with self._parts.commit_lock():
                self.check()
                change, commit = self._retry(plan)
                self.published = commit
                _told.info("%s (commit %s)", change.message.subject, commit[:10])
                self._follow(change)
        except TVLockError:
            self._is_kept_out = True
            raise
        return commit

    def _retry(self, plan: Plan) -> tuple[Change, CommitId]:
        """Publish, again and again while other programs move or lock refs."""
        deadline = time.monotonic() + self._parts.lock_timeout_s
        wait = _FIRST_WAIT_S
        while True:
            is_last = time.monotonic() > deadline
            try:
                return self._try_to_publish(plan)
            except (RefMovedError, RefBusyError) as error:
                if is_last:
                    raise TVLockError(
                        f"Another program keeps git's refs locked or moving: {error}.",
                        "If no git command runs, delete the .lock file that is named.",
                    ) from error
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _try_to_publish(self, plan: Plan) -> tuple[Change, CommitId]:
        """Plan on the newest tip, write the commits, move the refs."""
        parts = self._parts
        main = parts.repository.main()
        parts.worktree.refresh(main)
        base = self._base(main)
        at = max(time.time(), self._after([main]))
        change = plan(Snapshot(parts.repository, base), at)
        tips = [each.onto or each.tip for each in change.branches]
        tips.extend(each.onto for each in change.removed)
        later = self._after(tip for tip in tips if tip is not None)
        if later > at:
            at = later
            change = plan(Snapshot(parts.repository, base), at)
        for branch in change.branches:
            parts.temp_folders.folder(branch.temp)  # raises where none can be checked out
        for pointer in change.needs:
            if not parts.store.has(pointer):
                raise TVLockError(
                    f"Object {pointer.oid} disappeared from the store during the operation.",
                    "Run it again.",
                )
        signing = Signing(author=self.record.author, at=at)
        draft = write_change(parts.repository, change, main=main, base=base, signing=signing)
        # Crash here: nothing has moved.
        if len(draft.moves) > 1:
            self._update(replace(self.record, moves=draft.moves), durable=True)
        try:
            parts.move(draft.moves, change.message.subject)
        except PartlyMovedError:
            # Crash here: the operation has happened, `roll_forward` makes the other moves.
            self.published, self._is_complete = draft.commit, False
            self._is_complete = finish_moves(parts, self.record)
        return change, draft.commit

    def _after(self, commits: Iterable[CommitId]) -> float:
        """Return a time after that of commits: history goes forward, whatever the clock says."""
        times = (self._parts.repository.commit(commit).time for commit in commits)
        return max(times, default=0.0) + _TICK_S

    def _base(self, main: CommitId) -> CommitId:
        """Return `main`, or a commit on top of it with the code that was edited by hand.

        What was used by the operation but has changed on `main` meanwhile, by a commit of the
        user's or of a child, is older than that and does not take it back.
        """
        repository = self._parts.repository
        used = self._used
        if used is None or used.main == main:
            edits = self._find_code_edits(main) if used is None else used.edits
            return write_by_hand(repository, main, edits, self._signing()) if edits else main
        then, mine, now = (Snapshot(repository, each) for each in (used.main, used.commit, main))
        open_edits = [
            edit for edit in used.edits if now.blob_id(edit.path) != mine.blob_id(edit.path)
        ]
        edits = [edit for edit in open_edits if now.blob_id(edit.path) == then.blob_id(edit.path)]
        superseded = used.commit if len(edits) < len(open_edits) else None
        if not edits and superseded is None:
            return main
        return write_by_hand(repository, main, edits, self._signing(), superseded=superseded)

    def _find_code_edits(self, main: CommitId) -> list[Edit]:
        """Find code modules that differ from `main` in the working tree."""
        repository = self._parts.repository
        before = Snapshot(repository, main)
        edits = self._parts.worktree.code_edits(before)
        found = found_in_edits(edits, before, CODE_DIR, self._admitted)
        if found and not self.allows_edits:
            raise code_error(found, repository.path)
        self.allowed.extend(found)
        return edits

    def _follow(self, change: Change) -> None:
        """Bring working tree, folders and index up to the commit; a failure is repaired later.

        The record stays then: it alone tells which folder was renamed.
        """
        try:
            follow(self._parts, change)
            self._parts.index.catch_up()
        except Exception:  # noqa: BLE001 - the operation has happened: the next opening does this
            _log.warning("The working tree could not follow the commit.", exc_info=True)
            self._is_complete = False

    def follow_up(self, rest: Callable[[], object]) -> None:
        """Do what follows from what was published; a failure is repaired later.

        `rest` must be something that :func:`~tablevault.transactions.recovery.roll_forward` does.
        """
        try:
            rest()
        except Exception:  # noqa: BLE001 - as above
            _log.warning("Process %s left something to do.", self.process_id, exc_info=True)
            self._is_complete = False

    def _signing(self) -> Signing:
        """Return author and time of commits."""
        return Signing(author=self.record.author, at=time.time())

    def _update(self, record: Record, *, durable: bool = False) -> None:
        """Change the record, in memory and on disk."""
        assert not self._is_copy, "the copy of a process would do the work of the original"
        self.record = replace(record, updated_at=time.time())
        self._parts.files.write(self.record, durable=durable)

    def close(self) -> None:
        """End a process that succeeded; what left no commit is remembered here alone."""
        if self._is_copy:
            return
        self._discard_drafts()
        if self.published is None:
            self._parts.files.remember(replace(self.record, updated_at=time.time()))
        if self._is_complete:
            self._parts.files.remove(self.process_id)

    def fail(self, error: Exception) -> None:
        """End, pause or take back a process whose body raised.

        With an id that the caller chose, an error of TableVault's own takes it back, unless work
        is done already (`pauses`), or another program keeps git's refs locked.
        """
        if self._is_copy:
            return
        if self.published is not None:
            self.close()
        elif self._cancel.is_asked:
            if not self._cancel.decide():
                self.revert(TVProcessError(STOPPED))
        elif self.record.named and (
            self.pauses or self._is_kept_out or not isinstance(error, TableVaultError)
        ):
            self._pause(error)
        else:
            self.revert(error)

    def _pause(self, error: Exception) -> None:
        """Leave the record with what it holds, so that the process can be resumed."""
        try:
            self._discard_drafts()
            self._update(self.record.failed(error, time.time()), durable=True)
        except OSError:
            # The disk is full: the record stands as it was, which means the same.
            _log.warning("The error of process %s was not noted.", self.process_id, exc_info=True)

    def _discard_drafts(self) -> None:
        """Remove temporary files."""
        if self._has_drafts:
            self._parts.store.discard(record_file(self.process_id))

    def revert(self, error: BaseException) -> None:
        """Take back everything that the process left, and remember that it failed."""
        try:
            roll_back(self._parts, self.record.failed(error, time.time()))
        except Exception:  # noqa: BLE001 - must not hide the error that the caller is to see
            _log.warning("Process %s was not taken back wholly.", self.process_id, exc_info=True)


@contextmanager
def running(
    parts: VaultParts, request: Request, actor: Actor, setup: Setup
) -> Iterator[Transaction]:
    """Run the body as a process; end it, pause it, or take it back when the body raises.

    An interrupt (KeyboardInterrupt, SystemExit) leaves the record as a crash would.

    Raises
    ------
    TVProcessError
        The process id was used before, or runs just now.
    TVLockError
        A resource is held by another process for too long.
    """
    record, lock = begin(parts, request, actor, setup)
    with ExitStack() as stack:
        stack.callback(lock.release)
        cancel = stack.enter_context(cancellable(parts.state, record.process_id))
        stack.enter_context(enclosing(parts, record.process_id))
        operation = Transaction(parts, record, cancel)
        what = f"{request.operation} of process {record.process_id}"
        _told.info("%s begins", what)
        if not record.parent:
            stack.enter_context(minding_misplaced(parts, record.request))
        try:
            yield operation
        except Exception as error:
            _told.info("%s failed: %s: %s", what, type(error).__name__, text_to_keep(error))
            operation.fail(error)
            raise
        operation.close()
        _told.info("%s is done", what)
    pack_if_many(parts.repository, parts.state)
