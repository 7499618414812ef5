"""Removes what nothing needs any more, and makes one pack of many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tablevault.errors import TVArgumentError
from tablevault.history.catalog.rebuild import FreshIndex
from tablevault.history.git import repack
from tablevault.history.git.gc_roots import extend, whole_reach
from tablevault.history.git.reachability import Reach
from tablevault.names import ObjectId, ProcessId
from tablevault.queries.checks.objects import needed_objects
from tablevault.transactions import leftovers
from tablevault.transactions.recovery import NeededElsewhere, recover, sweep_checkpoints
from tablevault.vault import Vault

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_THOUSAND = 1000
_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """What ``gc`` removed, or would remove.

    Attributes
    ----------
    objects : int
        Files of the object store: dataframes and artifacts that nothing needs.
    object_bytes : int
        Their size.
    leftovers : int
        Temporary files and folders of who died, and what was set aside long ago.
    leftover_bytes : int
        Their size.
    calls : int
        Results of functions that no instance holds.
    git_objects : int
        Commits, folders and texts that nothing reaches.
    packs_before : int
        Packs of git.
    packs_after : int
        The same when all was done.
    loose_before : int
        Git objects that are in no pack.
    loose_after : int
        The same when all was done.
    git_bytes_before : int
        Bytes of packs and loose objects.
    git_bytes_after : int
        The same when all was done.
    dry_run : bool
        Whether nothing was done.
    """

    objects: int
    object_bytes: int
    leftovers: int
    leftover_bytes: int
    calls: int
    git_objects: int
    packs_before: int
    packs_after: int
    loose_before: int
    loose_after: int
    git_bytes_before: int
    git_bytes_after: int
    dry_run: bool = False

    def __repr__(self) -> str:
        """Return a few lines for people."""
        verb = "would be removed" if self.dry_run else "removed"
        lines = [
            f"{self.objects:,} objects {verb}, {_size(self.object_bytes)}",
            f"{self.leftovers:,} leftovers {verb}, {_size(self.leftover_bytes)}",
            f"{self.calls:,} results of calls {verb}",
            f"{self.git_objects:,} git objects {verb}",
        ]
        if not self.dry_run:
            lines.append(
                f"packs {self.packs_before:,} → {self.packs_after:,}, loose git objects "
                f"{self.loose_before:,} → {self.loose_after:,}, "
                f"{_size(self.git_bytes_before)} → {_size(self.git_bytes_after)}"
            )
        return "\n".join(lines)


def collect(
    vault: Vault, *, grace_s: float, calls_older_than_days: float, dry_run: bool
) -> GcReport:
    """Remove what nothing needs.

    Takes, one after the other and for milliseconds each: the commit lock for checkpoints, the
    lock of the object store, and the mutex of the records to prune git objects. Dies anywhere: what
    is gone was not needed, and what is left is removed by the next one.
    """
    if not grace_s >= 0:
        raise TVArgumentError(f"grace_s is {grace_s!r}.", "Give seconds, 0 or more.")
    if not calls_older_than_days >= 0:
        raise TVArgumentError(
            f"calls_older_than_days is {calls_older_than_days!r}.", "Give days, 0 or more."
        )
    if not dry_run:
        recover(vault.parts)
    git_dir = vault.repository.git_dir
    before = repack.count(git_dir)
    reach = whole_reach(git_dir, vault.state)
    index = FreshIndex(vault.repository)
    standing = {instance.instance_id for instance in index.standing()}
    left = {
        path: leftovers.size_of(path) for path in leftovers.stale(vault.parts, standing, grace_s)
    }
    tips = vault.repository.temp_refs().values()
    swept = vault.calls.sweep(
        map(vault.checkpoints.made_by, tips),
        standing,
        calls_older_than_days * _DAY_S,
        dry_run=dry_run,
    )
    needed = {*needed_objects(vault.repository, index, reach), *swept.objects}
    garbage = _garbage(vault, needed, grace_s)
    if dry_run:
        pruned = len(repack.old_unreachable(git_dir, reach, grace_s))
    else:
        vault.store.delete(garbage, needed=_still_needed(vault, reach, index))
        garbage = {oid: size for oid, size in garbage.items() if vault.store.stat(oid) is None}
        for path in left:
            if path.parent.name != "checkpoints":
                leftovers.remove(path)
        sweep_checkpoints(vault.parts)
        pruned = repack.prune(git_dir, vault.state, reach, _prune(vault, grace_s))
    after = before if dry_run else repack.count(git_dir)
    return GcReport(
        objects=len(garbage),
        object_bytes=sum(garbage.values()),
        leftovers=len(left),
        leftover_bytes=sum(left.values()),
        calls=swept.calls,
        git_objects=pruned,
        packs_before=before.packs,
        packs_after=after.packs,
        loose_before=before.loose,
        loose_after=after.loose,
        git_bytes_before=before.size_bytes,
        git_bytes_after=after.size_bytes,
        dry_run=dry_run,
    )


def _garbage(vault: Vault, needed: Collection[str], grace_s: float) -> dict[ObjectId, int]:
    """Find objects that nothing needs and that have lain there for so long, with their sizes."""
    import time

    if vault.store.is_shared:
        return {}
    now = time.time()
    return {
        oid: status.st_size
        for oid, status in vault.store.every()
        if oid not in needed and now - status.st_mtime >= grace_s
    }


def _still_needed(vault: Vault, reach: Reach, index: FreshIndex) -> Callable[[ObjectId], bool]:
    """Return a test that looks once more, under the lock that whoever pins an object holds."""
    pinned = NeededElsewhere(vault.parts, ProcessId(""))
    needed: set[ObjectId] | None = None

    def is_needed(oid: ObjectId) -> bool:
        nonlocal needed
        if needed is None:
            extend(reach, vault.repository.git_dir, vault.state)
            needed = set(needed_objects(vault.repository, index, reach))
        # A process that ended between the two looks has left its commit: pins come first.
        return pinned(oid) or oid in needed

    return is_needed


def _prune(vault: Vault, grace_s: float) -> repack.Prune:
    """Return what git objects may go: as long as a process runs or waits, none."""

    @contextmanager
    def alone() -> Iterator[bool]:
        with vault.records.mutex():
            yield not any(True for _ in vault.records.every())

    return repack.Prune(
        older_than_s=grace_s,
        alone=alone,
        extend=lambda reach: extend(reach, vault.repository.git_dir, vault.state),
    )


def _size(size_bytes: float) -> str:
    """Return a number of bytes."""
    for unit in _UNITS:
        if size_bytes < _THOUSAND or unit == _UNITS[-1]:
            return f"{size_bytes:,.0f} {unit}" if unit == "bytes" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= _THOUSAND
    return ""
