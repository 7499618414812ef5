"""Checks of the object store: whether all needed objects are there and whole."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tablevault.errors import TVFileError
from tablevault.history.catalog.catalog import Index
from tablevault.history.checkout.worktree_status import copies_of
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.reachability import Reachability, ReachedPointer
from tablevault.history.git.repository import Repository
from tablevault.names import TABLES_DIR, ObjectId, frame_path
from tablevault.problems import Problem, Severity
from tablevault.vault import Vault

_MOST_THREADS = 8


Needed = Mapping[ObjectId, ReachedPointer]
"""Pointers that something which is not deleted needs, by object."""


def needed_objects(repository: Repository, index: Index, reach: Reachability) -> Needed:
    """Find what is needed of all that history points to.

    History keeps the pointers of deleted instances for ever; their objects are gone for good.
    What no instance ever had, as on a branch of a user's own, is needed.
    """
    deleted = index.deleted_objects()
    for temp, tip in repository.temps().items():
        # It may have started from the dataframe of an instance that was deleted since.
        try:
            pointer = Snapshot(repository, tip).pointer(frame_path(temp.table, temp.version))
        except (TVFileError, KeyError, ValueError):
            continue
        if pointer is not None:
            deleted.discard(pointer.oid)
    return {oid: found for oid, found in reach.pointers.items() if oid not in deleted}


def check_objects(vault: Vault, needed: Needed, *, data: bool) -> list[Problem]:
    """Look for every needed object; with `data` read each of them once, in several threads."""
    has_remote = vault.repository.has_remote()
    problems: list[Problem] = []
    here: list[ReachedPointer] = []
    for found in needed.values():
        status = vault.store.stat(found.pointer.oid)
        bad = vault.store.damaged(found.pointer.oid) if status is None else None
        if bad is not None:
            problem: Problem | None = _damaged(found, f"it was moved to {bad}")
        else:
            problem = _problem_of(found, status, has_remote=has_remote)
        if problem is None:
            here.append(found)
        else:
            problems.append(problem)
        if status is not None and stat.S_ISREG(status.st_mode) and status.st_mode & 0o222:
            problems.append(_problem(found, "note", "It can be written to.", ""))
    if data and here:
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            for of_one in pool.map(_ObjectReader(vault), here):
                problems.extend(of_one)
    return [_with_copies(vault, problem, needed) for problem in problems]


def places_of_copies(vault: Vault) -> tuple[Path, ...]:
    """List the folders in which a file may lie that is the same as an object."""
    return vault.path / TABLES_DIR, vault.state / "artifacts"


def _with_copies(vault: Vault, problem: Problem, needed: Needed) -> Problem:
    """Mark what is lost as repairable where an identical file lies elsewhere in the vault."""
    if problem.severity != "error" or not problem.repairable:
        return problem
    pointer = needed[ObjectId(problem.where)].pointer
    copies = (copy for place in places_of_copies(vault) for copy in copies_of(place, pointer))
    return replace(problem, repairable=next(copies, None) is not None)


@dataclass(frozen=True, slots=True)
class _ObjectReader:
    """Reads one object from its first byte to its last."""

    vault: Vault

    def __call__(self, found: ReachedPointer) -> list[Problem]:
        """Find what is wrong with the bytes of an object."""
        oid = found.pointer.oid
        try:
            digest = self.vault.store.digest(oid)
        except OSError as error:
            if self.vault.store.stat(oid) is None:
                return []  # deleted meanwhile, with all that needed it, or else it is found missing
            if error.errno == errno.EACCES:
                return [_unreadable(found, self.vault.store.path(oid))]
            return [_damaged(found, f"it cannot be read: {error.strerror}")]
        return [] if digest == oid else [_damaged(found, f"its bytes hash to {digest}")]


def _problem_of(
    found: ReachedPointer, status: os.stat_result | None, *, has_remote: bool
) -> Problem | None:
    """Return what is wrong with the file of an object, as far as its status shows."""
    pointer = found.pointer
    if status is None:
        if has_remote:
            text = f"It is not here ({pointer.size:,} bytes)."
            advice = "Fetch it: `git lfs fetch --all` brings what the remote has."
            return _problem(found, "note", text, advice, repairable=False)
        return _problem(
            found,
            "error",
            f"It is missing ({pointer.size:,} bytes), and there is no remote to have it from.",
            "Restore it from another copy of the vault.",
        )
    if not stat.S_ISREG(status.st_mode):
        return _damaged(found, "it is no regular file")
    if status.st_size != pointer.size:
        return _damaged(found, f"it has {status.st_size:,} bytes instead of {pointer.size:,}")
    return None


def _damaged(found: ReachedPointer, wrong: str) -> Problem:
    """Describe an object whose bytes are not what its name says."""
    return _problem(
        found,
        "error",
        f"It is damaged: {wrong}.",
        "Restore it from another copy of the vault, or from a remote.",
    )


def _unreadable(found: ReachedPointer, path: Path) -> Problem:
    """Describe an object that only another user may read."""
    text = "It cannot be checked: you have no permission to read it."
    advice = f"Its owner can give it: chmod a+r {shlex.quote(str(path))}"
    return _problem(found, "error", text, advice, repairable=False)


def _problem(
    found: ReachedPointer, severity: Severity, text: str, advice: str, *, repairable: bool = True
) -> Problem:
    """Make a problem of an object."""
    return Problem(
        kind="object",
        severity=severity,
        where=found.pointer.oid,
        text=f"{text} It is {found.path} of commit {found.commit[:12]}.",
        advice=advice,
        repairable=repairable,
    )
