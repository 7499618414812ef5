"""Find what is wrong with git, objects, and what is derived from them; nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tablevault.errors import TVFileError, reason_of
from tablevault.history.catalog.in_memory import FreshIndex
from tablevault.history.git import object_files
from tablevault.history.git.object_files import Refs
from tablevault.history.git.reachability import Reachability
from tablevault.names import MAIN
from tablevault.problems import Problem, in_order
from tablevault.queries.checks import git, instances, local, objects
from tablevault.vault import Vault

_PATIENCE_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _CommitState:
    """What a commit changes."""

    is_committing: bool
    main: str | None
    temps: tuple[tuple[str, str], ...]


def observe_until_stable(vault: Vault, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """Look until nothing is found, or until it was found while no commit was made.

    No lock is taken. A commit holds one, and is followed under it by tags, working tree, folders
    and index; so what is found while the lock was free before and after, and no ref has moved,
    was not being made. In a vault that is never quiet for so long, what every look of half a
    minute finds is a problem.
    """
    deadline = time.monotonic() + _PATIENCE_S
    wait = _FIRST_WAIT_S
    lasting: list[Problem] | None = None
    while True:
        is_last = time.monotonic() > deadline
        before = _commit_state(vault)
        found = list(look())
        if lasting is not None:
            keys = {problem.key for problem in lasting}
            found = [problem for problem in found if problem.key in keys]
        lasting = found
        is_quiet = not before.is_committing and before == _commit_state(vault)
        if not lasting or is_quiet or is_last:
            return lasting
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT_S)


def _commit_state(vault: Vault) -> _CommitState:
    """Read what a commit changes."""
    parts = vault.parts
    return _CommitState(
        is_committing=parts.is_committing(),
        main=parts.repository.tip("refs/heads/main"),
        temps=tuple(sorted(parts.repository.temp_refs().items())),
    )


def find_problems(vault: Vault, *, data: bool = True) -> list[Problem]:
    """Check everything; the worst problem comes first.

    No lock is taken, nothing is written, nothing that the vault contains is run, and whatever
    is damaged, no exception is raised.
    """
    return in_order(_Look(vault, data=data).everything())


class _Look:
    """One look at a vault."""

    def __init__(self, vault: Vault, *, data: bool) -> None:
        # Parts of its own: what is open already may not notice the damage.
        self._vault = Vault(path=vault.path, author=vault.author)
        self._data = data

    def everything(self) -> Iterator[Problem]:
        """Check one part after the other; one that cannot be checked is a problem itself."""
        vault = self._vault
        yield from _guarded(".git/tablevault", lambda: local.check_state(vault))
        yield from _guarded(".git/tablevault", lambda: local.check_calls(vault))
        damaged = _guarded(".git/objects", lambda: object_files.check_loose(vault.path / ".git"))
        yield from damaged
        unusable = _guarded(".git", lambda: git.check_opening(vault.path, read=not damaged))
        yield from unusable
        if any(problem.kind == "repository" for problem in unusable):
            return
        packs = _guarded(".git/objects/pack", lambda: object_files.check_packs(vault.path / ".git"))
        yield from packs
        refs = Refs()
        try:
            wrong, refs = git.check_refs(vault.path)
        except (OSError, TVFileError) as error:
            wrong = [_unknown(".git/refs", error)]
        yield from wrong
        yield from _guarded(".git/config", lambda: local.check_settings(vault))
        if damaged or packs:
            return  # what libgit2 must not read
        reach = Reachability(vault.path / ".git")
        yield from _guarded(".git/objects", lambda: self._history(reach, refs))
        yield from _guarded(".git/HEAD", lambda: git.check_branch(vault.path, refs))
        # What is wrong below says little as long as refs and history are not whole.
        if MAIN in refs.targets and not (reach.broken or wrong):
            yield from self._derived(reach)

    def _history(self, reach: Reachability, refs: Refs) -> Iterator[Problem]:
        """Walk all that refs reach."""
        reach.extend((target, ref) for ref, target in refs.targets.items())
        yield from git.broken(self._vault, reach, refs)

    def _derived(self, reach: Reachability) -> Iterator[Problem]:
        """Look at what follows from a history that is whole."""
        vault = self._vault
        yield from self._stable("main", lambda: git.check_tracked(vault))
        yield from self._stable("vault.yaml", lambda: git.check_config(vault))
        index = FreshIndex(vault.repository)
        yield from self._stable(".gitattributes", lambda: local.check_attributes(vault))
        yield from _guarded(".git/lfs", lambda: self._objects(reach, index))
        yield from self._stable("refs/tags", lambda: instances.check_tags(vault, index))
        yield from self._stable("instances", lambda: instances.check_altered(vault, index))
        yield from _guarded("index", lambda: local.check_index(vault, index))
        yield from self._stable(
            "working tree", lambda: local.check_worktree(vault, data=self._data)
        )
        yield from self._stable("temp", lambda: local.check_temp_folders(vault))
        yield from self._stable("temp", lambda: local.check_builders(vault))
        yield from self._stable("processes", lambda: local.check_processes(vault, index))
        yield from self._stable("leftovers", lambda: local.check_leftovers(vault))

    def _stable(self, what: str, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
        """Look at what others may be changing."""
        return observe_until_stable(self._vault, lambda: _guarded(what, look))

    def _objects(self, reach: Reachability, index: FreshIndex) -> list[Problem]:
        """Look at objects, and then at the dataframes in those that are sound."""
        repository = self._vault.repository
        needed = objects.needed_objects(repository, index, reach)
        found = objects.check_objects(self._vault, needed, data=self._data)
        if self._data:
            bad = {problem.where for problem in found if problem.severity == "error"}
            sound = {
                oid for oid in needed if oid not in bad and self._vault.store.stat(oid) is not None
            }
            found.extend(instances.check_frames(self._vault, index, sound))
        # Objects of instances that were deleted meanwhile are not needed any more.
        still: dict[str, set[str]] = {
            "object": set(objects.needed_objects(repository, index, reach)),
            "dataframe": {instance.instance_id for instance in index.existing()},
        }
        return [
            problem
            for problem in found
            if problem.kind not in still or problem.where in still[problem.kind]
        ]


def _guarded(what: str, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """Collect what a look finds; one that fails is a problem, and the others go on."""
    found: list[Problem] = []
    try:
        found.extend(look())
    except Exception as error:  # noqa: BLE001 - damage takes any form, and none may end verify
        found.append(_unknown(what, error))
    return found


def _unknown(what: str, error: Exception) -> Problem:
    """Describe what could not be checked."""
    return Problem(
        kind="repository",
        severity="error",
        where=what,
        text=f"It could not be checked: {type(error).__name__}: {reason_of(error)}.",
        advice="Compare with `git fsck --full`, and restore from another clone.",
    )
