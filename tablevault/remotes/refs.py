"""Branches of another repository, by stock git: what is there, fetch."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from tablevault.errors import TVRemoteError
from tablevault.history.program import run_git
from tablevault.names import MAIN, CommitId
from tablevault.remotes.asking import Said, run
from tablevault.remotes.failures import explain, read_failure, sha256_error

# Nothing that stands in the vault is run, and what comes is checked as it is unpacked.
_SAFE = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "transfer.fsckObjects=true",
    "-c",
    "fetch.fsckObjects=true",
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
    "-c",
    "push.recurseSubmodules=no",
)
_LISTED = re.compile(r"([0-9a-f]{40})\t(\S+)")
_SHA256 = re.compile(r"[0-9a-f]{64}\t")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


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
    if _SHA256.match(printed):
        raise sha256_error(remote)
    found = (_LISTED.fullmatch(line) for line in printed.splitlines())
    return {match[2]: CommitId(match[1]) for match in found if match}


def fetch_refs(folder: Path, remote: str, specs: Sequence[str]) -> None:
    """Bring what `specs` name, with all history; no tags, those are derived."""
    # Without a map what is configured for the remote counts too, and may name branches of ours.
    command = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--prune", "--refmap="]
    _git(folder, [*command, "--", remote, *specs], remote)


def point_head_to_main(git_dir: Path) -> None:
    """Let a clone of a bare repository on this machine, which was empty, check out ``main``.

    ``git init --bare`` names the branch that its user's configuration says, mostly ``master``.
    """
    with contextlib.suppress(TVRemoteError):  # it may belong to somebody else
        place = ["--git-dir", str(git_dir)]
        if run_git([*place, "rev-parse", "--is-bare-repository"]).strip() == b"true":
            run_git([*place, "symbolic-ref", "HEAD", MAIN])


def run_remote(folder: Path, command: Sequence[str]) -> Said:
    """Run git for a remote: nothing that the vault contains is run."""
    return run(["git", *_SAFE, *command], folder, is_transfer=True)


def _git(folder: Path, command: Sequence[str], remote: str) -> str:
    """Run git for a remote that is only read."""
    said = run_remote(folder, command)
    # Git leaves out refs of a shallow clone, and succeeds.
    if said.code != 0 or b"shallow roots are not allowed" in said.err:
        raise explain(read_failure(said.err, {}), remote, folder, is_push=False)
    return said.out.decode("utf-8", "replace")
