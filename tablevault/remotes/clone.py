"""Clones a vault into a new folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.files.vault_folders import building, is_free, put_in_place, target_of
from tablevault.history.catalog.catalog import expected_tags
from tablevault.history.commits.setup import begin_clone, configure
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.refs import RefMove, move_refs, write_packed_refs
from tablevault.history.merge.validate_commits import validate_incoming
from tablevault.names import MAIN, VAULT_DOCUMENT
from tablevault.progress import Progress
from tablevault.remotes.fetch import fetch_objects
from tablevault.remotes.pull import check_data, fetch_main
from tablevault.remotes.remote_settings import address
from tablevault.vault import Vault, absolute

ORIGIN = "origin"


def clone(
    url: str | os.PathLike[str],
    db_dir: str | os.PathLike[str],
    author: str,
    progress: Callable[[], Progress],
    *,
    data: str,
) -> Path:
    """Clone the vault at `url`; return the path of the clone.

    It is built beside its folder and renamed into place: a crash before leaves only a folder whose
    name begins with a dot. A path that is a symbolic link stands for its target. Configuration and
    hooks are not cloned.

    Raises
    ------
    TVArgumentError
        The folder exists and is not empty.
    TVRemoteError
        There is no vault at `url`, it cannot be reached, or its history is not valid.
    """
    check_data(data)
    path = absolute(db_dir)
    vault = Vault(path=path, author=author, progress=progress)
    target = target_of(path)
    if not is_free(target):
        raise TVArgumentError(
            f'"{path}" exists, and is not an empty folder.',
            "Choose another folder for the clone.",
            path=str(path),
        )
    source = address(url)
    with building(target) as beside:
        _build(_at(vault, beside), source)
        put_in_place(beside, target)
    if data == "all":
        try:
            fetch_objects(vault, ORIGIN, [vault.repository.main()])
        except TVRemoteError as error:
            text = f'{error.message} The clone at "{path}" is whole but for data.'
            raise type(error)(text, error.hint, **error.facts) from error
    return path


def _at(vault: Vault, path: Path) -> Vault:
    """Return the vault at another path."""
    return Vault(
        path=path,
        author=vault.author,
        lock_timeout_s=vault.lock_timeout_s,
        progress=vault.progress,
    )


def _build(vault: Vault, url: str) -> None:
    """Create the repository, fetch its history, and check out its files."""
    begin_clone(vault.path, ORIGIN, url)
    theirs = fetch_main(vault, ORIGIN)
    repository = vault.repository
    snapshot = Snapshot(repository, theirs)
    if snapshot.blob(VAULT_DOCUMENT) is None:
        raise TVRemoteError(
            f'There is a git repository at "{url}", but no vault: its branch "main" holds no '
            f"{VAULT_DOCUMENT}.",
            "Check the address.",
        )
    validate_incoming(repository, [theirs], [], f'The vault at "{url}"')
    snapshot.vault()
    configure(vault.path)
    move_refs(repository, [RefMove(ref=MAIN, old=None, new=theirs)], f"clone: from {url}")
    write_packed_refs(vault.path / ".git", expected_tags(vault.index, vault.snapshot()))
    with vault.parts.commit_lock():
        vault.worktree.refresh(theirs)
