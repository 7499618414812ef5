"""What is known of a remote: which vault it holds, and which objects."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.errors import TVFileError, TVRemoteError
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.git_config import (
    find_repository,
    read_committed_settings,
    read_settings,
)
from tablevault.history.git.repository import Repository
from tablevault.lfs.pointer import Pointer
from tablevault.names import CommitId, ObjectId
from tablevault.remotes.lfs.endpoint import LocalAddress, find_endpoint, find_remote
from tablevault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """Commits whose objects a remote is known to have.

    Attributes
    ----------
    main : CommitId, optional
        Tip of ``main`` of the remote at that time.
    tips : tuple of CommitId
        The remote has the objects that these commits and their ancestors name.
    missing : dict of Pointer to str
        Except for these, with a path of each.
    """

    main: CommitId | None = None
    tips: tuple[CommitId, ...] = ()
    missing: Mapping[Pointer, str] = field(default_factory=dict)

    def at(self, repository: Repository, main: CommitId | None) -> RemoteState:
        """Return what is known while ``main`` of the remote is at `main`.

        If ``main`` was set back, nothing is known: it may be another repository.
        """
        if main is None or self.main is None or not repository.is_ancestor(self.main, main):
            return RemoteState()
        return self


def refuse_other_vault(vault: Vault, remote: str, tip: CommitId, done: str, hint: str) -> None:
    """Raise TVRemoteError if a commit of a remote does not belong to this vault.

    Parameters
    ----------
    done : str
        What has not happened, at the end of the message.
    hint : str
        What to do with another vault.
    """
    try:
        found = Snapshot(vault.repository, tip).vault().id
    except TVFileError:
        found = ""
    if found != vault.snapshot().vault().id:
        what = "another vault" if found else "something other than a vault"
        advice = hint if found else "Check its address: `git remote -v`."
        raise TVRemoteError(f'Remote "{remote}" holds {what}: {done}.', advice, remote=remote)


def read_state(vault: Vault, remote: str) -> RemoteState:
    """Return the known objects of a remote; none if their file cannot be read."""
    try:
        raw = json.loads(_path(vault, remote).read_bytes())
        tips = (CommitId(tip) for tip in raw["tips"])
        return RemoteState(
            main=CommitId(raw["main"]),
            tips=tuple(tip for tip in tips if vault.repository.has(tip)),
            missing={
                Pointer(oid=ObjectId(oid), size=size): path for oid, size, path in raw["missing"]
            },
        )
    except (OSError, ValueError, KeyError, TypeError):
        return RemoteState()


def write_state(vault: Vault, remote: str, state: RemoteState) -> None:
    """Write the known objects of a remote; without their file, a push checks all objects again."""
    value = {
        "main": state.main,
        "tips": sorted(set(state.tips)),
        "missing": [[each.oid, each.size, path] for each, path in state.missing.items()],
    }
    path = _path(vault, remote)
    beside = vault.state / "tmp" / f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        try:
            beside.write_text(json.dumps(value), "ascii")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _path(vault: Vault, remote: str) -> Path:
    """Return the file of a remote, named by its address and by the endpoint of its objects."""
    settings = read_settings(vault.path)
    found = find_remote(settings, remote, vault.path)
    committed = read_committed_settings(vault.path)
    endpoint = find_endpoint(found, "upload", settings, committed, vault.path)
    name = f"{endpoint.remote}\n{endpoint.address}"
    if isinstance(endpoint.address, LocalAddress):
        # A new repository at the same path has no objects of the old one.
        name += f"\n{find_repository(endpoint.address.path).git_dir.stat().st_ino}"
    return vault.state / "remotes" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
