"""Fetches objects from remotes: one when it is first read, or all of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from tablevault.errors import TableVaultError, TVFileError, TVTransferError
from tablevault.history.git.git_config import read_settings
from tablevault.history.git.reachability import pointers_of
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ARRIVED, CommitId
from tablevault.progress import Progress
from tablevault.remotes.reports import NO_TRANSFER, TransferReport
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording


def fetch_object(folder: Path, store: ObjectStore, pointer: Pointer, progress: Progress) -> None:
    """Fetch an object from the first remote that has it.

    Parameters
    ----------
    folder : Path
        The vault.

    Raises
    ------
    TVFileError
        No remote has it, none can be reached, or the vault may only be read.
    """
    settings = read_settings(folder)
    names = sorted(settings.names("remote", "url"), key=lambda name: (name != "origin", name))
    if names and not os.access(folder / ".git", os.W_OK):
        raise TVFileError(
            f"Object {pointer.oid} ({pointer.size:,} bytes) is not in this vault, which may only "
            "be read: nothing is fetched into it.",
            Wording("Read it in a clone: ", Call("clone_vault", url=BLANK, db_dir=BLANK), "."),
            oid=pointer.oid,
            is_reached=False,
        )
    reasons, is_missing, advice = [], True, ""
    for name in names:
        try:
            _receive(folder, name, [pointer], store, progress).check()
        except TableVaultError as error:
            reasons.append(f"{name}: {error.message}")
            is_missing &= isinstance(error, TVTransferError)
            if "bucket" in error.facts:  # nobody has confirmed it
                advice = error.hint
        if store.has(pointer):
            # A reader does not change the working tree: the next opening checks the file out.
            with contextlib.suppress(OSError):
                (folder / ".git/tablevault" / ARRIVED).touch()
            return
    if reasons:
        network = "" if is_missing else "Check the network. "
        raise TVFileError(
            f"Object {pointer.oid} ({pointer.size:,} bytes) is missing, and no remote has it. "
            + " ".join(reasons),
            advice
            or Wording(
                f"{network}Ask its author to push it, or fetch it from there: ",
                Call("pull", remote=BLANK, data="all"),
                ".",
            ),
            oid=pointer.oid,
            is_reached=is_missing,
        )


def fetch_objects(vault: Vault, remote: str, tips: Sequence[CommitId]) -> TransferReport:
    """Fetch the objects of all instances that are not deleted.

    Raises
    ------
    TableVaultError
        Some objects did not arrive; the others are kept.
    """
    named = [
        pointer for pointer in pointers_of(vault.repository, tips) if not vault.store.has(pointer)
    ]
    gone = vault.index.deleted_objects()
    wanted = [pointer for pointer in named if pointer.oid not in gone]
    if not wanted:
        return NO_TRANSFER
    report = _receive(vault.path, remote, wanted, vault.store, vault.progress())
    with vault.parts.commit_lock():
        vault.worktree.check_out_objects(vault.repository.main())
    try:
        report.check()
    except TableVaultError as error:
        text = f"{error.message} History and the other objects are here."
        raise type(error)(text, error.hint, **error.facts) from error
    return report


def _receive(
    folder: Path,
    remote: str,
    pointers: Sequence[Pointer],
    store: ObjectStore,
    progress: Progress,
) -> TransferReport:
    """Receive objects from a remote."""
    # Opening a vault loads this module, and seldom fetches.
    from tablevault.remotes.lfs.transfer import open_transport, receive

    with contextlib.closing(open_transport(folder, remote, "download")) as transport:
        return receive(transport, pointers, store, progress)
