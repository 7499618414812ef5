"""Lists, fetches and pushes refs of another repository, by the git program."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TableVaultError, TVRemoteError
from tablevault.history.git.git_program import run_git
from tablevault.history.git.refs import RefMove
from tablevault.names import MAIN, CommitId
from tablevault.remotes.git_errors import GitFailure, explain, lacks_atomic, listed, read_failure
from tablevault.remotes.programs import ProgramResult, run

# Git runs nothing from the vault, and checks objects as it unpacks them.
_SAFE = (
    "core.hooksPath=/dev/null",
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
)
_LISTED = re.compile(r"([0-9a-f]{40})\t(\S+)")
_SHA256 = re.compile(r"[0-9a-f]{64}\t")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_REFS = 500
_STATUS = re.compile(r"([ +*=!-])\t[^\t]*:(refs/[^\t]+)\t(?:[^\t]*\((.*)\)|[^\t]*)")
# The remote refused these refs because it refused another one.
_ALONG = ("atomic push failure", "atomic push failed", "atomic transaction failed")


def is_name(remote: str) -> bool:
    """Return whether `remote` can be the name of a remote, and is not an address."""
    return _NAME.fullmatch(remote) is not None


def tracking_ref(remote: str, branch: str) -> str:
    """Return the remote-tracking ref of a branch."""
    name = remote if is_name(remote) else "-"
    return f"refs/remotes/{name}/{branch.removeprefix('refs/heads/')}"


def list_branches(folder: Path, remote: str) -> dict[str, CommitId]:
    """Return the branches of a remote by full name; tags, one for each instance, are not sent."""
    return list_refs(folder, remote, "--heads")


def list_refs(folder: Path, remote: str, *options: str) -> dict[str, CommitId]:
    """Return branches and tags of a remote by full name; for an annotated tag, the tag itself."""
    printed = _git(folder, ["ls-remote", "--refs", *options, "--", remote], remote)
    if _SHA256.match(printed):
        failure = GitFailure(text="mismatched algorithms")
        raise explain(failure, remote, folder, is_push=False)
    found = (_LISTED.fullmatch(line) for line in printed.splitlines())
    return {match[2]: CommitId(match[1]) for match in found if match}


def fetch_refs(folder: Path, remote: str, specs: Sequence[str]) -> None:
    """Fetch refspecs, with all history; without tags, which are derived."""
    # An empty map: the refspecs that are configured for the remote may name our branches.
    command = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--prune", "--refmap="]
    _git(folder, [*command, "--", remote, *specs], remote)


def point_head_to_main(git_dir: Path) -> None:
    """Point HEAD of a bare repository to ``main``, so that a clone checks it out.

    ``git init --bare`` points it where the user's configuration says, mostly to ``master``.
    """
    with contextlib.suppress(TVRemoteError):  # another user may own it
        place = ["--git-dir", str(git_dir)]
        if run_git([*place, "rev-parse", "--is-bare-repository"]).strip() == b"true":
            run_git([*place, "symbolic-ref", "HEAD", MAIN])


def push_refs(folder: Path, remote: str, moves: Sequence[RefMove]) -> tuple[str, ...]:
    """Move refs of a remote, if they still are where they were seen.

    All move together, or none. Where the host cannot do that, and where there are hundreds,
    ``main`` moves last: a clone made meanwhile has a complete history.

    Returns
    -------
    tuple of str
        Refs that the remote does not let us remove. All others have moved.

    Raises
    ------
    TVRemoteError
        Another push came first, or the remote refuses or cannot be reached. The text names the
        refs that have moved.
    TVOutcomeUnknownError
        The connection was lost before the remote reported the result.
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
    """A push in progress: refs that have moved, and refs that the remote keeps."""

    def __init__(self, folder: Path, remote: str) -> None:
        self._folder = folder
        self._remote = remote
        self._moved: list[str] = []
        self.kept: list[str] = []

    def together(self, moves: Sequence[RefMove]) -> GitFailure | None:
        """Move all refs or none; return the failure, if any."""
        return self._push(moves, "--atomic")

    def one_by_one(self, moves: Sequence[RefMove]) -> None:
        """Move ``main`` after all others, and remove refs in the end."""
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

    def error(self, failure: GitFailure) -> TableVaultError:
        """Return the error of a failure, with the refs that have moved."""
        error = explain(failure, self._remote, self._folder, is_push=True)
        if not self._moved:
            return error
        main = "" if MAIN in self._moved else ", and main is where it was"
        text = f"{error.message} It has accepted {listed(self._moved)}{main}."
        return type(error)(text, error.hint, **error.facts)

    def _push(self, moves: Sequence[RefMove], *options: str) -> GitFailure | None:
        """Run git push once; return the failure, if any."""
        if not moves:
            return None
        command = ["push", "--quiet", "--porcelain", "--no-verify", "--no-follow-tags", *options]
        command += [f"--force-with-lease={move.ref}:{move.old or ''}" for move in moves]
        specs = [f"{move.new or ''}:{move.ref}" for move in moves]
        # Git refuses refspecs for a remote that mirrors.
        single = ["-c", f"remote.{self._remote}.mirror=false"] if is_name(self._remote) else []
        done = _run(self._folder, [*single, *command, "--", self._remote, *specs])
        statuses = list(_statuses(done.out.decode("utf-8", "replace")))
        if done.code == 0:
            self._moved += [move.ref for move in moves]
            return None
        self._moved += [status.ref for status in statuses if status.has_moved]
        refused = {status.ref: status.reason for status in statuses if not status.has_moved}
        own = {ref: why for ref, why in refused.items() if why not in _ALONG}
        return read_failure(done.err, own or refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RefStatus:
    """The result of a push for one ref."""

    ref: str
    has_moved: bool
    reason: str


def _statuses(printed: str) -> Iterable[_RefStatus]:
    """Parse the output of ``git push --porcelain``."""
    for line in printed.splitlines():
        if found := _STATUS.fullmatch(line):
            yield _RefStatus(ref=found[2], has_moved=found[1] != "!", reason=found[3] or "")


def _only_removals(failure: GitFailure, moves: Sequence[RefMove]) -> bool:
    """Return whether the remote refused only removals of refs."""
    removals = {move.ref for move in moves if not move.new}
    return bool(failure.reasons) and failure.reasons.keys() <= removals


def _run(folder: Path, command: Sequence[str]) -> ProgramResult:
    """Run git for a remote; it runs nothing that the vault contains."""
    settings = (word for setting in _SAFE for word in ("-c", setting))
    return run(["git", *settings, *command], folder, is_transfer=True)


def _git(folder: Path, command: Sequence[str], remote: str) -> str:
    """Run git for a remote without changing it."""
    done = _run(folder, command)
    # Git omits refs of a shallow clone, and succeeds.
    if done.code != 0 or b"shallow roots are not allowed" in done.err:
        raise explain(read_failure(done.err, {}), remote, folder, is_push=False)
    return done.out.decode("utf-8", "replace")
