"""clone_vault: a vault from elsewhere, in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.history.layout import begin_clone, configure
from tablevault.history.program import run_git
from tablevault.history.remotes import read_settings
from tablevault.history.repository import RefMove
from tablevault.history.snapshot import Snapshot
from tablevault.history.strangers import refuse_hostile
from tablevault.names import MAIN, VAULT_DOCUMENT
from tablevault.objects.folders import building, is_free, put_in_place, target_of
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
    """Make the vault at `url` into a folder; give its path.

    Built beside and renamed into place: killed before, nothing is there but a folder whose name
    begins with a dot. A path that is a symbolic link stands for its target. No configuration and no
    hook comes along.

    Raises
    ------
    TVArgumentError
        The folder is there and not empty.
    TVRemoteError
        There is no vault at `url`, it cannot be reached, or it holds what no vault holds.
    """
    check_data(data)
    path = absolute(db_dir)
    vault = Vault(path=path, author=author, progress=progress)
    target = target_of(path)
    if not is_free(target):
        raise TVArgumentError(
            f'"{path}" is there already, and is not an empty folder.',
            "Choose another folder for the clone.",
            path=str(path),
        )
    source = address(url)
    with building(target) as beside:
        _build(_at(vault, beside), source)
        put_in_place(beside, target)
    if data == "all":
        fetch_objects(vault, ORIGIN, [vault.journal.repository.main()])
    return path


def add_remote(vault: Vault, name: str, url: str | os.PathLike[str]) -> None:
    """Return the address of another repository a name, in git's configuration of the vault.

    Raises
    ------
    TVArgumentError
        The name is taken by another address, or git does not accept it.
    """
    wanted = address(url)
    known = read_settings(vault.path).get(f"remote.{name}.url")
    if known == wanted:
        return
    if known:
        raise TVArgumentError(
            f'There is a remote "{name}" already: {known}.',
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
    """Return the addresses of the remotes by their names."""
    settings = read_settings(vault.path)
    return {
        name: settings.get(f"remote.{name}.url") for name in sorted(settings.names("remote", "url"))
    }


def address(url: str | os.PathLike[str]) -> str:
    """Make the path of a folder absolute, so that it is found from anywhere; a URL stays."""
    text = os.fspath(url)
    if not text or text.startswith("-"):
        raise TVArgumentError(f"{text!r} is no address of a repository.", "Give a path or a URL.")
    if Path(text).expanduser().exists():
        return str(absolute(Path(text).expanduser()))
    return text


def _at(vault: Vault, path: Path) -> Vault:
    """Return the parts list of a vault at another place."""
    return Vault(
        path=path,
        author=vault.author,
        lock_timeout_s=vault.lock_timeout_s,
        progress=vault.progress,
    )


def _build(vault: Vault, url: str) -> None:
    """Make the repository, bring its history, lay out its files."""
    begin_clone(vault.path, ORIGIN, url)
    theirs = fetch_main(vault, ORIGIN)
    repository = vault.journal.repository
    snapshot = Snapshot(repository, theirs)
    if snapshot.blob(VAULT_DOCUMENT) is None:
        raise TVRemoteError(
            f'There is a git repository at "{url}", but no vault: its branch "main" holds no '
            f"{VAULT_DOCUMENT}.",
            "Check the address.",
        )
    refuse_hostile(repository, [theirs], [], f'The vault at "{url}"')
    snapshot.vault()
    configure(vault.path)
    repository.move([RefMove(ref=MAIN, old=None, new=theirs)], f"clone: from {url}")
    update_tags(vault)
    with vault.journal.commit_lock():
        vault.journal.worktree.refresh(theirs)
