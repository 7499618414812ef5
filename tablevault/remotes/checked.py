"""What a remote was found to have: a file for each remote in ``.git/tablevault/remotes``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.history.remotes import find_repository, read_committed_settings, read_settings
from tablevault.history.repository import Repository
from tablevault.names import CommitId, ObjectId
from tablevault.objects.pointer import Pointer
from tablevault.remotes.endpoint import LocalPlace, find_endpoint
from tablevault.remotes.transport import find_remote
from tablevault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Commits whose objects a remote was found to have.

    Attributes
    ----------
    main : CommitId, optional
        Where ``main`` of the remote was then.
    tips : tuple of CommitId
        The remote has the objects that these commits and their ancestors name.
    missing : dict of Pointer to str
        But for these, by the path at which each was found.
    """

    main: CommitId | None = None
    tips: tuple[CommitId, ...] = ()
    missing: Mapping[Pointer, str] = field(default_factory=dict)

    def at(self, repository: Repository, main: CommitId | None) -> Checked:
        """Return what is known while ``main`` of the remote is at `main`.

        That is nothing where it was set back: another repository may be there.
        """
        if main is None or self.main is None or not repository.is_ancestor(self.main, main):
            return Checked()
        return self


def read_checked(vault: Vault, remote: str) -> Checked:
    """Read what is known of a remote; where the file cannot be read, all is asked for again."""
    try:
        raw = json.loads(_path(vault, remote).read_bytes())
        tips = (CommitId(tip) for tip in raw["tips"])
        return Checked(
            main=CommitId(raw["main"]),
            tips=tuple(tip for tip in tips if vault.journal.repository.has(tip)),
            missing={
                Pointer(oid=ObjectId(oid), size=size): path for oid, size, path in raw["missing"]
            },
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Checked()


def write_checked(vault: Vault, remote: str, checked: Checked) -> None:
    """Write what is known of a remote; a vault that cannot be written asks again."""
    value = {
        "main": checked.main,
        "tips": sorted(set(checked.tips)),
        "missing": [[each.oid, each.size, path] for each, path in checked.missing.items()],
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
    """Return the file of a remote: of its address, and of the place where its objects are."""
    settings = read_settings(vault.path)
    found = find_remote(settings, remote, vault.path)
    committed = read_committed_settings(vault.path)
    endpoint = find_endpoint(found, "upload", settings, committed, vault.path)
    what = f"{endpoint.remote}\n{endpoint.place}"
    if isinstance(endpoint.place, LocalPlace):
        # A repository that was made anew at the same path has nothing of the old one.
        what += f"\n{find_repository(endpoint.place.path).git_dir.stat().st_ino}"
    return vault.state / "remotes" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"
