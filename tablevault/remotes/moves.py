"""Moves refs of another repository by stock git: together where its host can, ``main`` last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TableVaultError
from tablevault.history.repository import RefMove
from tablevault.names import MAIN
from tablevault.remotes.failures import Failure, explain, lacks_atomic, listed, read_failure
from tablevault.remotes.refs import is_name, run_remote

_MOST_REFS = 500
_STATUS = re.compile(r"([ +*=!-])\t[^\t]*:(refs/[^\t]+)\t(?:[^\t]*\((.*)\)|[^\t]*)")
# These refs were refused since another one was.
_ALONG = ("atomic push failure", "atomic push failed", "atomic transaction failed")


def push_refs(folder: Path, remote: str, moves: Sequence[RefMove]) -> tuple[str, ...]:
    """Move refs of a remote, if they still are where they were seen.

    All move together, or none. At a host that cannot do that, and where there are hundreds,
    ``main`` moves last: whoever clones meanwhile finds a history that is whole.

    Returns
    -------
    tuple of str
        Refs that were to be removed and that the remote keeps. All others have moved.

    Raises
    ------
    TVRemoteError
        Somebody else was faster, or the remote refuses, or is not reached. The text names the
        refs that have moved nevertheless.
    TVOutcomeUnknownError
        The connection was lost before the remote said whether it has moved them.
    """
    pushing = _Pushing(folder, remote)
    ordered = sorted(moves, key=lambda move: move.ref == MAIN)
    for start in range(0, len(ordered), _MOST_REFS):
        some = ordered[start : start + _MOST_REFS]
        failure = pushing.together(some)
        if failure is not None and lacks_atomic(failure):
            pushing.one_by_one(ordered[start:])
            break
        if failure is not None and _only_removals(failure, some):
            pushing.kept += failure.reasons.keys() & {move.ref for move in some if not move.new}
            failure = pushing.together([move for move in some if move.new])
        if failure is not None:
            raise pushing.error(failure)
    return tuple(sorted(pushing.kept))


class _Pushing:
    """What became of the refs so far."""

    def __init__(self, folder: Path, remote: str) -> None:
        self._folder = folder
        self._remote = remote
        self._moved: list[str] = []
        self.kept: list[str] = []

    def together(self, moves: Sequence[RefMove]) -> Failure | None:
        """Move all of them or none; return why it failed."""
        return self._push(moves, "--atomic")

    def one_by_one(self, moves: Sequence[RefMove]) -> None:
        """Move ``main`` when all others have moved, and remove refs in the end."""
        new = [move for move in moves if move.new]
        last = [move for move in new if move.ref == MAIN]
        for some in ([move for move in new if move.ref != MAIN], last):
            for start in range(0, len(some), _MOST_REFS):
                failure = self._push(some[start : start + _MOST_REFS])
                if failure is not None:
                    raise self.error(failure)
        removals = [move for move in moves if not move.new]
        failure = self._push(removals)
        if failure is not None and not failure.reasons:
            raise self.error(failure)
        self.kept += failure.reasons if failure is not None else ()

    def error(self, failure: Failure) -> TableVaultError:
        """Make the error, with what has moved all the same."""
        error = explain(failure, self._remote, self._folder, is_push=True)
        if not self._moved:
            return error
        main = "" if MAIN in self._moved else ", and main is where it was"
        text = f"{error.message} It has taken {listed(self._moved)} already{main}."
        return type(error)(text, error.hint, **error.facts)

    def _push(self, moves: Sequence[RefMove], *options: str) -> Failure | None:
        """Push once; return why it failed."""
        if not moves:
            return None
        command = ["push", "--quiet", "--porcelain", "--no-verify", "--no-follow-tags", *options]
        command += [f"--force-with-lease={move.ref}:{move.old or ''}" for move in moves]
        specs = [f"{move.new or ''}:{move.ref}" for move in moves]
        # A remote that mirrors takes no refs by name.
        single = ["-c", f"remote.{self._remote}.mirror=false"] if is_name(self._remote) else []
        said = run_remote(self._folder, [*single, *command, "--", self._remote, *specs])
        statuses = list(_statuses(said.out.decode("utf-8", "replace")))
        if said.code == 0:
            self._moved += [move.ref for move in moves]
            return None
        self._moved += [status.ref for status in statuses if status.has_moved]
        refused = {status.ref: status.reason for status in statuses if not status.has_moved}
        own = {ref: why for ref, why in refused.items() if why not in _ALONG}
        return read_failure(said.err, own or refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    """What git says of one ref."""

    ref: str
    has_moved: bool
    reason: str


def _statuses(printed: str) -> Iterable[_Status]:
    """Read what ``git push --porcelain`` prints."""
    for line in printed.splitlines():
        if found := _STATUS.fullmatch(line):
            yield _Status(ref=found[2], has_moved=found[1] != "!", reason=found[3] or "")


def _only_removals(failure: Failure, moves: Sequence[RefMove]) -> bool:
    """Return whether the remote refused nothing but the removal of refs."""
    removals = {move.ref for move in moves if not move.new}
    return bool(failure.reasons) and failure.reasons.keys() <= removals
