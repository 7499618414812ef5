"""Create, open and delete a vault as a whole."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError, TVArgumentError, TVFileError, TVLockError
from tablevault.history.commits.documents import VaultDocument, timestamp
from tablevault.history.commits.setup import configure, init_repository, refuse_partial
from tablevault.history.commits.write_change import Signing
from tablevault.history.git.repository import Repository
from tablevault.lfs.vault_folders import (
    building,
    is_free,
    move_folder,
    put_in_place,
    remove_tree,
    target_of,
)
from tablevault.progress import Progress, Silent
from tablevault.queries.work import holds_work
from tablevault.secrets import IN_DESCRIPTION
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.open_merges import may_be_unfinished
from tablevault.transactions.record import Request
from tablevault.transactions.record_store import RecordStore
from tablevault.transactions.recovery import recover
from tablevault.vault import (
    Vault,
    absolute,
    is_vault,
    log_to_stderr,
    refuse_git_elsewhere,
    refuse_unless_vault,
)
from tablevault.wording import OperationName, Wording

if TYPE_CHECKING:
    from tablevault.vault import Bring

_log = logging.getLogger("tablevault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a vault is opened, beside where and by whom."""

    description: str = ""
    verbose: bool = False
    parent: str = ""
    lock_timeout_s: float = 10.0
    progress: Callable[[], Progress] = Silent
    bring: Bring | None = None
    allow_secret: bool = False


def attach(
    path: str | os.PathLike[str],
    author: str | None,
    options: Options,
    *,
    create: bool,
    restart: bool,
) -> Vault:
    """Open a vault, or make one; what :class:`tablevault.core.TableVault` does at first."""
    if options.verbose:
        log_to_stderr()
    if "pandas" in sys.modules:
        import tablevault.frames.artifacts  # noqa: F401 - pandas learns the dtype artifact_string
    vault = Vault(
        path=absolute(path),
        author=author or "",
        parent=options.parent,
        lock_timeout_s=options.lock_timeout_s,
        verbose=options.verbose,
        progress=options.progress,
        bring=options.bring,
    )
    if create:
        create_vault(vault, options.description, allow_secret=options.allow_secret)
    else:
        open_vault(vault)
    if restart:
        from tablevault.operations.restart import restart_processes

        restart_processes(vault)
    return vault


def create_vault(vault: Vault, description: str, *, allow_secret: bool = False) -> None:
    """Make an empty vault; a vault that is there is moved aside, anything else refused.

    A path that is a symbolic link stands for its target. The new vault is built before the old
    one moves. If it crashes before, nothing has changed; if it crashes after, the old vault has
    its new name, and the path is free.

    Raises
    ------
    TVArgumentError
        The path is a file, or a folder that is neither empty nor a vault.
    TVSecretError
        Something in the description looks like a key, and that is not allowed.
    TVLockError
        The vault that is there is in use.
    TVFileError
        The vault that is there cannot be moved.
    """
    path = target_of(vault.path)
    _refuse_foreign(path)
    request = Request(operation="TableVault", arguments={"allow_secret": allow_secret})
    admitted = admit(request, {"description": description}, IN_DESCRIPTION)
    with building(path) as beside:
        now = time.time()
        document = VaultDocument(
            id=str(uuid.uuid4()),
            description=description,
            created_by=vault.author,
            created_at=timestamp(now),
        )
        signing = Signing(author=vault.author, at=now)
        init_repository(beside, document, signing, allowed=[str(each) for each in admitted.found])
        if is_free(path):
            put_in_place(beside, path)
        else:
            _replace(path, beside)
    recover(vault.parts)


def _replace(path: Path, new: Path) -> None:
    """Put `new` in the place of the vault at `path`, which is kept if there is work in it."""
    files = RecordStore(path / ".git" / "tablevault")
    with files.mutex():
        _refuse_in_use(path)
        is_kept = holds_work(path)
        old = _name_for_replaced(path) if is_kept else path.with_name(f".{uuid.uuid4()}.old")
        move_folder(path, old)
        if is_kept:
            _log.warning('The vault that was at "%s" is at "%s" now.', path, old)
    try:
        put_in_place(new, path)
    except BaseException:
        if not path.exists():
            old.rename(path)
        raise
    if not is_kept:
        remove_tree(old)


def _name_for_replaced(path: Path) -> Path:
    """Return a free name beside `path` for the vault that is moved away."""
    name = f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path.with_name(each) for each in names if not os.path.lexists(path.with_name(each)))


def open_vault(vault: Vault) -> str:
    """Check that the folder is a vault, set up what a plain clone lacks, finish what died.

    Returns
    -------
    str
        The process that finished a merge by git, "" when none was left unfinished.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault. It is not touched.
    TVFormatError
        The vault was written by a newer release.
    TVFileError
        It is a partial clone.
    """
    refuse_unless_vault(vault.path)
    refuse_partial(vault.path)
    vault.snapshot().vault()
    configure(vault.path)
    recover(vault.parts)
    if not may_be_unfinished(vault.parts):
        return ""
    from tablevault.transactions.git_merges import complete_merge

    try:
        return complete_merge(vault)
    except TableVaultError as error:
        _log.warning("A merge by git is finished when the vault is next opened: %s", error)
        return ""


def delete_vault(where: str | os.PathLike[str]) -> None:
    """Remove a vault with everything in it; of a symbolic link, its target.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault.
    TVLockError
        A process runs in it.
    TVFileError
        The folder cannot be moved or removed; the error says where what is left of it is.
    """
    path = absolute(where)
    refuse_unless_vault(path)
    path = target_of(path)
    _refuse_linked_data(path)
    storage = Repository(path).storage().lfs
    old = path.with_name(f".{uuid.uuid4()}.old")
    with RecordStore(path / ".git" / "tablevault").mutex():
        _refuse_in_use(path)
        move_folder(path, old)
    try:
        remove_tree(old)
    except OSError as error:
        raise TVFileError(
            f'The vault "{path}" is not wholly deleted: {error.strerror}: "{error.filename}".',
            f'What is left of it is in "{old}".',
            path=str(old),
        ) from error
    if storage.is_dir():
        _log.warning(
            'The objects in "%s" are still there: other repositories may use them.', storage
        )


def refuse_content(path: Path) -> None:
    """Refuse a folder with anything in it, a vault or not."""
    if path.is_dir() and not is_free(path):
        raise TVArgumentError(
            f'The folder "{path}" is there and is not empty; nothing in it was touched.',
            "Choose a new folder, or delete that one first.",
            path=str(path),
        )


def _refuse_linked_data(path: Path) -> None:
    """Refuse to delete a link and leave the data that it leads to."""
    for name in (".git", ".git/objects", ".git/lfs", ".git/lfs/objects"):
        link = path / name
        if link.is_symlink():
            raise TVArgumentError(
                f'"{link}" is a symbolic link to "{os.path.realpath(link)}"; nothing was deleted.',
                "Move that folder into the place of the link, or delete both by hand.",
                path=str(path),
            )


def _refuse_foreign(path: Path) -> None:
    """Refuse to replace what is no vault."""
    if is_free(path):
        return
    if not path.is_dir():
        raise TVArgumentError(
            f'"{path}" is a file, not a folder.',
            "Choose another path for the vault.",
            path=str(path),
        )
    refuse_git_elsewhere(path)
    if is_vault(path):
        _refuse_in_use(path)
    else:
        raise TVArgumentError(
            f'The folder "{path}" is no vault and is not empty; nothing in it was touched.',
            "Choose an empty or a new folder.",
            path=str(path),
        )


def _refuse_in_use(path: Path) -> None:
    """Refuse while a process runs in the vault."""
    files = RecordStore(path / ".git" / "tablevault")
    for record in files.every():
        if files.is_alive(record.process_id):
            raise TVLockError(
                Wording(
                    f'The vault "{path}" is in use: process {record.process_id} (',
                    OperationName(record.request.operation),
                    f", {record.author}) runs.",
                ),
                "Wait until it ends.",
                holder=record.process_id,
            )
