"""Branches of another repository, by stock git: what is there, fetch, push."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tablevault.errors import TVRemoteError
from tablevault.history.program import run_git
from tablevault.names import CommitId

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


def push_refs(folder: Path, remote: str, specs: Sequence[str]) -> None:
    """Move refs of a remote; those of one call all together, or none of them.

    Raises
    ------
    TVRemoteError
        Somebody else was faster, or the remote refuses.
    """
    for start in range(0, len(specs), _MOST_REFS):
        some = specs[start : start + _MOST_REFS]
        command = ["push", "--quiet", "--atomic", "--no-verify", "--no-follow-tags", "--", remote]
        _git(folder, [*command, *some], remote)


def _git(folder: Path, command: Sequence[str], remote: str) -> str:
    """Run git for a remote; what it says of a failure is told in our words where we know them."""
    try:
        return run_git([*_SAFE, *command], folder).decode("utf-8", "replace")
    except TVRemoteError as error:
        said = str(error.message)
        raise TVRemoteError(*_explained(said, command[0], remote), remote=remote) from error


def _explained(said: str, verb: str, remote: str) -> tuple[str, str]:
    """Say what went wrong, and what to do."""
    told = said.partition("failed: ")[2] or said
    lines = [
        line.strip()
        for line in told.splitlines()
        if line.strip() and not line.startswith(("hint:", "To ", "remote: "))
    ]
    reason = " ".join(lines)[:1000]
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
    if "rejected" in told:
        return f'Remote "{remote}" refuses: {reason}', "Ask who runs it."
    if verb == "push" and ("hung up" in told or "unexpected disconnect" in told):
        return (
            f'The connection to remote "{remote}" was lost: {reason}',
            "It may have taken what was sent, or not: push again to be sure.",
        )
    return (
        f'Remote "{remote}" cannot be reached: {reason}',
        "Check the address with `git remote -v`, the network, and whether you may read it.",
    )
