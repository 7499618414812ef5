"""Uploads objects to a remote: those of new commits, and missing ones of commits it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVTransferError
from tablevault.history.git.git_config import read_settings
from tablevault.history.git.reachability import pointers_of
from tablevault.history.git.repository import Repository
from tablevault.lfs.pointer import Pointer
from tablevault.names import MAIN, CommitId
from tablevault.remotes.fetch import deleted_objects
from tablevault.remotes.lfs.batch_api import Refusal
from tablevault.remotes.lfs.endpoint import find_remote
from tablevault.remotes.lfs.local_transport import LocalTransport
from tablevault.remotes.lfs.transfer import find_missing, send
from tablevault.remotes.lfs.transport import open_transport
from tablevault.remotes.remote_state import RemoteState, read_state, write_state
from tablevault.remotes.reports import NO_TRANSFER, TransferReport
from tablevault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The result of an upload.

    Attributes
    ----------
    objects : TransferReport
        Objects that were sent.
    missing : dict of Pointer to str
        Objects of commits of the remote that neither the remote nor this vault has, with a path.
    """

    objects: TransferReport
    missing: Mapping[Pointer, str]


def upload_missing(
    vault: Vault,
    remote: str,
    *,
    served: Collection[CommitId],
    new: Collection[CommitId],
    state: RemoteState,
) -> Upload:
    """Send the objects that a remote lacks.

    Objects of `served` commits may be missing there: somebody pushed without the hook, or the
    server lost them. This vault sends those that it has. Objects of `new` commits must arrive.
    Objects of deleted instances are gone for good, and nobody expects them.

    Parameters
    ----------
    served : collection of CommitId
        Commits that refs of the remote name.
    new : collection of CommitId
        Commits that they are to name.
    state : RemoteState
        Objects that need no request.

    Raises
    ------
    TVTransferError
        An object of a new commit did not arrive, or the server wrongly says that it has it.
    """
    repository, store = vault.repository, vault.store
    gone = deleted_objects(vault)
    named = pointers_of(repository, served, state.tips) | dict(state.missing)
    old = {pointer: path for pointer, path in named.items() if pointer.oid not in gone}
    fresh = {
        pointer: path
        for pointer, path in pointers_of(repository, new, [*served, *state.tips]).items()
        if pointer not in old and (pointer.oid not in gone or store.has(pointer))
    }
    lacking = missing_there(vault, remote, old)
    found = [pointer for pointer in lacking if store.has(pointer)]
    report = _send(vault, remote, [*fresh, *found])
    if report.present:
        # The server says that it has them, and may be wrong.
        denied = missing_there(vault, remote, [*fresh, *found])
        _refuse_denied({each: denied[each] for each in fresh if each in denied}, remote)
        found = [pointer for pointer in found if pointer not in denied]
    missing = {each: old[each] for each in lacking if each not in found}
    return Upload(objects=report, missing=missing)


def upload_for_git(vault: Vault, remote: str, moves: Mapping[str, tuple[str, str]]) -> Upload:
    """Send the objects of a push by plain git, before git moves the refs.

    Parameters
    ----------
    moves : dict of str to (str, str)
        By full name of each ref of the remote: its new and its present commit.
    """
    repository = vault.repository
    new = commits_of(repository, (local for local, _ in moves.values()))
    served = commits_of(repository, (there for _, there in moves.values()))
    state = read_state(vault, remote)
    main = state.main
    if MAIN in moves:
        main, there = (repository.commit_of(name) for name in moves[MAIN])
        state = state.at(repository, there)
    found = upload_missing(vault, remote, served=served, new=new - served, state=state)
    tips = (*state.tips, *served, *new)
    # If the remote refuses the push after this, main is not there, and all objects are checked
    # again.
    write_state(vault, remote, RemoteState(main=main, tips=tips, missing=found.missing))
    return found


def push_address(vault: Vault, remote: str) -> str:
    """Return the name or address by which git reads what a push changes."""
    found = find_remote(read_settings(vault.path), remote, vault.path)
    return remote if found.push_url == found.url else found.push_url


def push_targets(vault: Vault, remote: str) -> list[str]:
    """Return where a push to a remote goes: its name, or each of its addresses."""
    found = find_remote(read_settings(vault.path), remote, vault.path)
    return list(found.push_urls) or [remote]


def commits_of(repository: Repository, names: Iterable[str]) -> set[CommitId]:
    """Return the commits that ids of commits or annotated tags name, if this vault has them."""
    found = (repository.commit_of(name) for name in set(names))
    return {commit for commit in found if commit is not None}


def missing_there(vault: Vault, remote: str, pointers: Iterable[Pointer]) -> dict[Pointer, Refusal]:
    """Return the objects that a remote lacks where pushes send them."""
    wanted = list(pointers)
    if not wanted:
        return {}
    transport = open_transport(vault.path, remote, "download", is_push=True)
    try:
        return find_missing(transport, wanted, vault.progress())
    finally:
        transport.close()


def damaged_there(vault: Vault, remote: str, pointers: Iterable[Pointer]) -> dict[Pointer, Path]:
    """Return damaged objects of a repository on this machine; servers check theirs."""
    transport = open_transport(vault.path, remote, "download", is_push=True)
    try:
        if not isinstance(transport, LocalTransport):
            return {}
        found = {pointer: transport.damaged(pointer) for pointer in pointers}
    finally:
        transport.close()
    return {pointer: path for pointer, path in found.items() if path is not None}


def _send(vault: Vault, remote: str, pointers: Collection[Pointer]) -> TransferReport:
    """Send objects; all must arrive."""
    if not pointers:
        return NO_TRANSFER
    transport = open_transport(vault.path, remote, "upload", ref=MAIN)
    try:
        report = send(transport, pointers, vault.store, vault.progress())
    finally:
        transport.close()
    report.check()
    return report


def _refuse_denied(denied: Mapping[Pointer, Refusal], remote: str) -> None:
    """Raise TVTransferError for objects that a server says it has, and does not provide."""
    for pointer, refusal in denied.items():
        more = f" {len(denied):,} objects are like that." if len(denied) > 1 else ""
        words = f'{refusal.code}, "{refusal.message}"' if refusal.message else f"{refusal.code}"
        raise TVTransferError(
            f'The server of remote "{remote}" takes object {pointer.oid} for one that it has, and '
            f"does not give it ({words}): nothing was pushed.{more}",
            "Ask who runs it to remove that object there; then push again.",
            oid=pointer.oid,
            code=refusal.code,
        )
