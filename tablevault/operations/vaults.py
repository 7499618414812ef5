"""Create, open and delete a vault as a whole."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError, TVArgumentError, TVLockError
from tablevault.history.commits import Signing
from tablevault.history.documents import VaultDocument, timestamp
from tablevault.history.layout import configure, init_repository, refuse_partial
from tablevault.journal.files import JournalFiles
from tablevault.journal.recovery import recover
from tablevault.journal.unfinished import may_be_unfinished
from tablevault.progress import Progress, Silent
from tablevault.vault import Vault, absolute, is_vault, refuse_unless_vault, remove_tree

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
        _log_to_stderr()
    vault = Vault(
        path=absolute(path),
        author=author or "",
        parent=options.parent,
        lock_timeout_s=options.lock_timeout_s,
        progress=options.progress,
        bring=options.bring,
    )
    if create:
        create_vault(vault, options.description)
    else:
        open_vault(vault)
    if restart:
        from tablevault.operations.restart import restart_processes

        restart_processes(vault)
    return vault


def _log_to_stderr() -> None:
    """Show what the package logs; the root logger belongs to the application."""
    logger = logging.getLogger("tablevault")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


def create_vault(vault: Vault, description: str) -> None:
    """Make an empty vault; a vault that is there is replaced, anything else refused.

    It is built beside and renamed into place. Dies before: nothing has changed, but for a
    folder beside with a name that begins with a dot.

    Raises
    ------
    TVArgumentError
        The path is a file, or a folder that is neither empty nor a vault.
    TVLockError
        The vault that is there is in use.
    """
    path = vault.path
    _refuse_foreign(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4()}.new")
    beside.mkdir()
    old: Path | None = None
    try:
        now = time.time()
        document = VaultDocument(
            id=str(uuid.uuid4()),
            description=description,
            created_by=vault.author,
            created_at=timestamp(now),
        )
        init_repository(beside, document, Signing(author=vault.author, at=now))
        old = _move_aside(path)
        beside.rename(path)
    except BaseException:
        if old is not None and not path.exists():
            old.rename(path)
        if beside.exists():
            remove_tree(beside)
        raise
    if old is not None:
        remove_tree(old)
    recover(vault.journal)


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
    recover(vault.journal)
    if not may_be_unfinished(vault.journal):
        return ""
    from tablevault.journal.merges import complete_merge

    try:
        return complete_merge(vault.journal, vault.actor(""))
    except TableVaultError as error:
        _log.warning("A merge by git is finished when the vault is next opened: %s", error)
        return ""


def delete_vault(where: str | os.PathLike[str]) -> None:
    """Remove a vault with everything in it.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault.
    TVLockError
        A process runs in it.
    """
    path = absolute(where)
    refuse_unless_vault(path)
    _refuse_in_use(path)
    aside = _move_aside(path)
    if aside is not None:
        remove_tree(aside)


def _refuse_foreign(path: Path) -> None:
    """Refuse to replace what is no vault."""
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise TVArgumentError(
            f'"{path}" is a file, not a folder.',
            "Choose another path for the vault.",
            path=str(path),
        )
    if is_vault(path):
        _refuse_in_use(path)
    elif any(path.iterdir()):
        raise TVArgumentError(
            f'The folder "{path}" is no vault and is not empty; nothing in it was touched.',
            "Choose an empty or a new folder.",
            path=str(path),
        )


def _refuse_in_use(path: Path) -> None:
    """Refuse while a process runs in the vault."""
    files = JournalFiles(path / ".git" / "tablevault")
    for record in files.every():
        if files.is_alive(record.process_id):
            raise TVLockError(
                f'The vault "{path}" is in use: process {record.process_id} '
                f"({record.request.operation}, {record.author}) runs.",
                "Wait until it ends.",
                holder=record.process_id,
            )


def _move_aside(path: Path) -> Path | None:
    """Take a folder out of the way in one step; give its new name."""
    if not path.exists():
        return None
    aside = path.with_name(f".{path.name}.{uuid.uuid4()}.old")
    path.rename(aside)
    return aside
