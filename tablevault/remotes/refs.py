"""Branches of another repository, by stock git: what is there, fetch, push."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from tablevault.errors import TVOutcomeUnknownError, TVRemoteError
from tablevault.history.program import run_git
from tablevault.history.repository import RefMove
from tablevault.names import MAIN, CommitId
from tablevault.remotes.asking import run

# Nothing that stands in the vault is run, and what comes is checked as it is unpacked.
_SAFE = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "transfer.fsckObjects=true",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "submodule.recurse=false",
    "-c",
    "fetch.recurseSubmodules=false",
)
_LISTED = re.compile(r"([0-9a-f]{40})\t(\S+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_REFS = 500
# What git says when it was refused, or got no further than asking which refs there are.
_BEFORE = (
    "rejected",
    "Could not read from remote repository",
    "does not appear to be a git repository",
    "unable to access",
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "does not support --atomic push",
    "not found",
)


def is_name(remote: str) -> bool:
    """Tell whether `remote` may be the name of one, and is no address."""
    return _NAME.fullmatch(remote) is not None


def tracking_ref(remote: str, branch: str) -> str:
    """Give the ref that remembers where a branch of a remote was seen."""
    name = remote if is_name(remote) else "-"
    return f"refs/remotes/{name}/{branch.removeprefix('refs/heads/')}"


def list_refs(folder: Path, remote: str) -> dict[str, CommitId]:
    """Give branches and tags of a remote, by full name; of an annotated tag, the tag itself."""
    printed = _git(folder, ["ls-remote", "--refs", "--", remote], remote)
    found = (_LISTED.fullmatch(line) for line in printed.splitlines())
    return {match[2]: CommitId(match[1]) for match in found if match}


def fetch_refs(folder: Path, remote: str, specs: Sequence[str]) -> None:
    """Bring what `specs` name, with all history; no tags, those are derived."""
    command = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--prune", "--", remote]
    _git(folder, [*command, *specs], remote)


def push_refs(folder: Path, remote: str, moves: Sequence[RefMove]) -> None:
    """Move refs of a remote, if they still are where they were seen: all together, or none.

    Where there are hundreds, the first ones go first.

    Raises
    ------
    TVRemoteError
        Somebody else was faster, or the remote refuses, or is not reached. Nothing has moved.
    TVOutcomeUnknownError
        The connection was lost before the remote said whether it has moved them.
    """
    for start in range(0, len(moves), _MOST_REFS):
        some = moves[start : start + _MOST_REFS]
        command = ["push", "--quiet", "--atomic", "--no-verify", "--no-follow-tags"]
        command += [f"--force-with-lease={move.ref}:{move.old or ''}" for move in some]
        specs = [f"{move.new or ''}:{move.ref}" for move in some]
        _git(folder, [*command, "--", remote, *specs], remote)


def point_head_to_main(git_dir: Path) -> None:
    """Let a clone of a bare repository on this machine, which was empty, check out ``main``.

    ``git init --bare`` names the branch that its user's configuration says, mostly ``master``.
    """
    with contextlib.suppress(TVRemoteError):  # it may belong to somebody else
        place = ["--git-dir", str(git_dir)]
        if run_git([*place, "rev-parse", "--is-bare-repository"]).strip() == b"true":
            run_git([*place, "symbolic-ref", "HEAD", MAIN])


def _git(folder: Path, command: Sequence[str], remote: str) -> str:
    """Run git for a remote; what it says of a failure is told in our words where we know them."""
    said = run(["git", *_SAFE, *command], folder, is_transfer=True)
    if said.code == 0:
        return said.out.decode("utf-8", "replace")
    lines = said.err.decode("utf-8", "replace").splitlines()
    # What hooks over there say is not git's word.
    told = "\n".join(line for line in lines if not line.startswith("remote: ")) or "\n".join(lines)
    if command[0] == "push" and not any(each in told for each in _BEFORE):
        raise TVOutcomeUnknownError(
            f'The connection to remote "{remote}" was lost: {_reason(told)}',
            "It may have taken what was sent, or not: push again to be sure.",
            remote=remote,
        )
    raise TVRemoteError(*_explained(told, remote), remote=remote)


_ADVICE = ("hint:", "To ", "remote: ", "Please make sure", "and the repository exists")


def _reason(told: str) -> str:
    """Give what git said, in one line, without its advice."""
    lines = [
        line.strip().removeprefix("fatal: ")
        for line in told.splitlines()
        if line.strip() and not line.startswith(_ADVICE)
    ]
    return (" ".join(lines)[:1000] or "it said nothing").rstrip(".") + "."


def _explained(told: str, remote: str) -> tuple[str, str]:
    """Say what went wrong, and what to do."""
    if "non-fast-forward" in told or "fetch first" in told or "stale info" in told:
        return (
            f'Remote "{remote}" has what this vault has not: nothing was pushed.',
            f'Pull first: vault.pull("{remote}").',
        )
    if "checked out" in told or "denyCurrentBranch" in told:
        return (
            f'Remote "{remote}" is somebody\'s working vault, and git does not push into these.',
            "Push to a bare repository (`git init --bare`), or pull from over there.",
        )
    if "fsck error" in told:
        return (
            f'Remote "{remote}" holds what git refuses: {_reason(told)}',
            "Nothing was taken over. Ask who pushed it.",
        )
    if "rejected" in told:
        return f'Remote "{remote}" refuses: {_reason(told)}', "Ask who runs it."
    return (
        f'Remote "{remote}" cannot be reached: {_reason(told)}',
        "Check the address (`git remote -v` shows it), the network, and whether you may read it.",
    )
