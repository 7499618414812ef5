"""Find and repair damage, and remove what nothing needs."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TableVaultError, TVArgumentError, TVFileError, reason_of
from tablevault.files.disk import Quarantine, remove, size_of
from tablevault.history.catalog.catalog import expected_tags
from tablevault.history.catalog.in_memory import FreshIndex
from tablevault.history.checkout.worktree_status import Inspection, copies_of, restore_blobs
from tablevault.history.commits.setup import configure, put_on_main, reset_config
from tablevault.history.git import repack
from tablevault.history.git.object_files import damaged_loose, logged, read_refs, sound_packed_refs
from tablevault.history.git.reachability import Reachability, extend, whole_reach
from tablevault.history.git.refs import RefMove
from tablevault.names import TEMP_DIR, CommitId, ObjectId, ProcessId, temp_of_folder
from tablevault.problems import Problem, in_order
from tablevault.queries.checks.instances import check_tags
from tablevault.queries.checks.objects import needed_objects, places_of_copies
from tablevault.queries.verify import find_problems
from tablevault.render import size
from tablevault.transactions.recovery import leftovers, needed_elsewhere, recover
from tablevault.vault import Vault

_log = logging.getLogger("tablevault")
_ROUNDS = 4
_OWNER = "repair"


def verify(vault: Vault, *, data: bool = True, repair: bool = False) -> list[Problem]:
    """Find what is wrong with a vault, and repair what can be repaired, if wanted.

    A problem counts as repaired when a second look does not find it.
    """
    found = find_problems(vault, data=data)
    repaired: list[Problem] = []
    # More than once: what keeps git from working hides everything else.
    for _ in range(_ROUNDS if repair else 0):
        wanted = [problem for problem in found if problem.repairable]
        if not wanted:
            break
        _repair_all(Vault(path=vault.path, author=vault.author), wanted)
        found = find_problems(vault, data=data)
        left = {problem.key for problem in found}
        gone = [problem.as_repaired() for problem in wanted if problem.key not in left]
        repaired.extend(gone)
        if not gone:
            break
    if repair:
        # Of this one, or of one that was killed.
        shutil.rmtree(vault.state / "tmp" / _OWNER, ignore_errors=True)
    return in_order([*repaired, *found])


def can_be_opened(path: Path) -> bool:
    """Return whether libgit2 may read a vault: not where a loose object is damaged."""
    return not any(True for _ in damaged_loose(path / ".git"))


def _repair_all(vault: Vault, problems: Sequence[Problem]) -> None:
    """Repair one kind after the other, first those that others rest on."""
    repairs: dict[str, Callable[[Vault, Sequence[Problem]], None]] = {
        "state": _repair_state,
        "repository": _repair_repository,
        "settings": _repair_settings,
        "git object": _repair_git_objects,
        "ref": _repair_refs,
        "object": _repair_objects,
        "index": _repair_index,
        "tag": _repair_tags,
        "working tree": _repair_worktree,
        "temporary folder": _repair_temp_folders,
        "process": _repair_processes,
        "leftover": _repair_leftovers,
    }
    for kind, repair in repairs.items():
        concerned = [problem for problem in problems if problem.kind == kind]
        if not concerned:
            continue
        try:
            repair(vault, concerned)
        except Exception as error:  # noqa: BLE001 - damage takes any form, and none may keep the rest unrepaired
            # The next look finds what is left.
            is_clear = isinstance(error, OSError | TableVaultError)
            text = "Not everything of kind %s was repaired: %s"
            _log.warning(text, kind, reason_of(error), exc_info=not is_clear)


def _repair_state(vault: Vault, problems: Sequence[Problem]) -> None:
    """Move away what is no file or no folder, and make folders that are missing."""
    for problem in problems:
        Quarantine(vault.state).take(vault.path / problem.where)
    configure(vault.path)


def _repair_repository(vault: Vault, problems: Sequence[Problem]) -> None:
    """Make HEAD and the settings again."""
    for problem in problems:
        Quarantine(vault.state).take(vault.path / problem.where)
        if problem.where.endswith("HEAD"):
            put_on_main(vault.path)
        else:
            reset_config(vault.path)
            configure(vault.path)


def _repair_settings(vault: Vault, problems: Sequence[Problem]) -> None:
    """Set what stock git needs."""
    for problem in problems:
        if (vault.path / problem.where).is_dir():
            Quarantine(vault.state).take(vault.path / problem.where)
    configure(vault.path)


def _repair_git_objects(vault: Vault, problems: Sequence[Problem]) -> None:
    """Move damaged loose objects away; find the content of files elsewhere in the vault."""
    repository = vault.repository
    for problem in problems:
        # One that is in a pack is not damaged itself: then there is no such file.
        path = repository.git_dir / "objects" / problem.where[:2] / problem.where[2:]
        if path.exists():
            Quarantine(vault.state).take(path)
    restore_blobs(repository, vault.store, {problem.where for problem in problems})


def _repair_refs(vault: Vault, problems: Sequence[Problem]) -> None:
    """Restore branches by their reflogs; tags are made again later. Takes the commit lock."""
    repository, quarantine = vault.repository, Quarantine(vault.state)
    packed = repository.git_dir / "packed-refs"
    with vault.parts.commit_lock():
        if any(problem.where == ".git/packed-refs" for problem in problems):
            sound = sound_packed_refs(packed)
            quarantine.take(packed)
            packed.write_bytes(sound)
        for problem in problems:
            ref, last = problem.where, logged(repository.git_dir, problem.where)
            if ref.startswith("refs/"):
                quarantine.take(repository.git_dir / ref)
            if last and repository.has(CommitId(last)):
                move = RefMove(ref=ref, old=repository.tip(ref), new=CommitId(last))
                vault.parts.move([move], f"repair {ref}")


def _repair_objects(vault: Vault, problems: Sequence[Problem]) -> None:
    """Bring objects back from identical files; move damaged ones to where git-lfs moves them."""
    reach = Reachability(vault.repository.git_dir)
    refs = read_refs(vault.repository.git_dir)
    reach.extend((target, ref) for ref, target in refs.targets.items())
    for problem in problems:
        oid = ObjectId(problem.where)
        if problem.severity == "note":
            vault.store.make_read_only(oid)
        elif oid in reach.pointers:
            pointer = reach.pointers[oid].pointer
            places = places_of_copies(vault)
            copies = (copy for place in places for copy in copies_of(place, pointer))
            drafts = vault.store.drafts_of([copy for copy in [next(copies, None)] if copy], _OWNER)
            with vault.store.locked():
                vault.store.set_aside(oid)
                vault.store.keep(drafts)


def _repair_index(vault: Vault, problems: Sequence[Problem]) -> None:
    """Fold history again from nothing."""
    del problems
    vault.index.discard()
    vault.index.catch_up()


def _repair_tags(vault: Vault, problems: Sequence[Problem]) -> None:
    """Set and remove tags, as far as they are still wrong; takes the commit lock."""
    repository = vault.repository
    wanted = {problem.where for problem in problems}
    with vault.parts.commit_lock():
        index = FreshIndex(repository)
        expected = expected_tags(index, vault.snapshot())
        moves = [
            RefMove(
                ref=problem.where,
                old=repository.tip(problem.where),
                new=expected.get(problem.where),
            )
            for problem in check_tags(vault, index)
            if problem.repairable and problem.where in wanted
        ]
        if moves:
            vault.parts.move(moves, "repair tags")


def _repair_worktree(vault: Vault, problems: Sequence[Problem]) -> None:
    """Write files again, and make git's index anew; takes the commit lock."""
    parts, quarantine = vault.parts, Quarantine(vault.state)
    wanted = {problem.where: problem for problem in problems}
    with parts.commit_lock():
        main = parts.repository.main()
        if wanted.pop(".git/tablevault/checked-out", None):
            parts.worktree.refresh(main)
        tracked = Inspection(parts.repository, vault.store, main).tracked()
        files = {file.path: (str(file.blob), file.executable) for file in tracked}
        if wanted.pop(".git/index", None):
            quarantine.take(parts.repository.git_dir / "index")
            parts.worktree.restage(files)
        for path in wanted.keys() & files.keys():
            _make_way(vault, quarantine, path)
            with contextlib.suppress(TVFileError):
                # Its object is missing, which is a problem of its own.
                parts.worktree.check_out_files({path: files[path]})


def _make_way(vault: Vault, quarantine: Quarantine, path: str) -> None:
    """Move away what blocks the path of a file: at the path itself, or in place of a folder."""
    file = vault.path / path
    for folder in reversed(file.relative_to(vault.path).parents[:-1]):
        place = vault.path / folder
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            quarantine.take(place)
    quarantine.take(file)


def _repair_temp_folders(vault: Vault, problems: Sequence[Problem]) -> None:
    """Write temporary folders again; takes the commit lock."""
    quarantine = Quarantine(vault.state)
    with vault.parts.commit_lock():
        for problem in problems:
            temp = temp_of_folder(problem.where)
            if temp is None:
                continue
            folder = vault.path / problem.where
            inner = (folder / "builders", folder / "artifacts")
            for place in (vault.path / TEMP_DIR, folder.parent, folder, *inner):
                if place.is_symlink() or (place.exists() and not place.is_dir()):
                    quarantine.take(place)
            vault.temp_folders.repair(temp)


def _repair_processes(vault: Vault, problems: Sequence[Problem]) -> None:
    """Remove records that cannot be read, and finish interrupted operations."""
    del problems
    recover(vault.parts)


def _repair_leftovers(vault: Vault, problems: Sequence[Problem]) -> None:
    """Remove leftovers."""
    with vault.parts.commit_lock():
        vault.worktree.free()
    for problem in problems:
        if problem.where.startswith(".git/tablevault/tmp/"):
            shutil.rmtree(vault.path / problem.where, ignore_errors=True)


# -- garbage ------------------------------------------------------------------------------------

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
        Temporary files and folders of crashed processes, and old files in quarantine.
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
            f"{self.objects:,} objects {verb}, {size(self.object_bytes)}",
            f"{self.leftovers:,} leftovers {verb}, {size(self.leftover_bytes)}",
            f"{self.calls:,} results of calls {verb}",
            f"{self.git_objects:,} git objects {verb}",
        ]
        if not self.dry_run:
            lines.append(
                f"packs {self.packs_before:,} → {self.packs_after:,}, loose git objects "
                f"{self.loose_before:,} → {self.loose_after:,}, "
                f"{size(self.git_bytes_before)} → {size(self.git_bytes_after)}"
            )
        return "\n".join(lines)


def collect(
    vault: Vault, *, grace_s: float, calls_older_than_days: float, dry_run: bool
) -> GcReport:
    """Remove what nothing needs.

    It takes, one after the other and for milliseconds each, the lock of the object store, and the
    mutex of the records to prune git objects. If it crashes, what is gone was not needed, and the
    next call removes the rest.
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
    standing = {instance.instance_id for instance in index.existing()}
    left = {path: size_of(path) for path in leftovers(vault.parts, standing, grace_s)}
    swept = vault.calls.sweep(
        (temp.creation for temp in vault.live_view().temps()),
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
        garbage = {oid: garbage[oid] for oid in garbage if vault.store.stat(oid) is None}
        for path in left:
            remove(path)
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


def _still_needed(
    vault: Vault, reach: Reachability, index: FreshIndex
) -> Callable[[ObjectId], bool]:
    """Return a test that looks once more, under the lock that pins objects."""
    pinned = needed_elsewhere(vault.parts, ProcessId(""))
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
    """Return which git objects may be pruned: none while a process runs or is paused."""

    @contextmanager
    def alone() -> Iterator[bool]:
        with vault.records.mutex():
            yield not any(True for _ in vault.records.every())

    return repack.Prune(
        older_than_s=grace_s,
        alone=alone,
        extend=lambda reach: extend(reach, vault.repository.git_dir, vault.state),
    )
