"""Clones a vault into a new folder, and manages remotes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.files.vault_folders import building, is_free, put_in_place, target_of
from tablevault.history.commits.setup import begin_clone, configure
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.git_config import read_settings
from tablevault.history.git.git_program import run_git
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.merge.validate_commits import validate_incoming
from tablevault.names import MAIN, VAULT_DOCUMENT
from tablevault.progress import Progress
from tablevault.remotes.fetch import fetch_objects
from tablevault.remotes.git_refs import is_name
from tablevault.remotes.pull import check_data, fetch_main, update_tags
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
        fetch_objects(vault, ORIGIN, [vault.repository.main()])
    return path


def add_remote(vault: Vault, name: str, url: str | os.PathLike[str]) -> None:
    """Add a remote to the git configuration of the vault.

    Raises
    ------
    TVArgumentError
        The name has another address already, or git does not accept it.
    """
    wanted = address(url)
    known = read_settings(vault.path).get(f"remote.{name}.url")
    if known == wanted:
        return
    if known:
        raise TVArgumentError(
            f'Remote "{name}" exists: {known}.',
            f"Choose another name, or change it: git remote set-url {name} {wanted}.",
            remote=name,
        )
    if not is_name(name):
        raise TVArgumentError(
            f'"{name}" cannot be the name of a remote.',
            "Use letters, digits, - and _.",
            remote=name,
        )
    run_git(["remote", "add", "--", name, wanted], vault.path)


def list_remotes(vault: Vault) -> dict[str, str]:
    """Return the addresses of the remotes by name."""
    settings = read_settings(vault.path)
    return {
        name: settings.get(f"remote.{name}.url") for name in sorted(settings.names("remote", "url"))
    }


def address(url: str | os.PathLike[str]) -> str:
    """Return an address as an absolute path if it is a path, unchanged if it is a URL."""
    text = os.fspath(url)
    if not text or text.startswith("-"):
        raise TVArgumentError(
            f"{text!r} is not the address of a repository.", "Give a path or a URL."
        )
    if Path(text).expanduser().exists():
        return str(absolute(Path(text).expanduser()))
    return text


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
    update_tags(vault)
    with vault.parts.commit_lock():
        vault.worktree.refresh(theirs)
