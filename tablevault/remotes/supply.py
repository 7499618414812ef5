"""Objects go to a remote: those of new commits, and those that it lacks of what it serves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVTransferError
from tablevault.history.pointers import pointers_of
from tablevault.history.remotes import read_settings
from tablevault.history.repository import Repository
from tablevault.names import MAIN, CommitId, ObjectId
from tablevault.objects.pointer import Pointer
from tablevault.remotes.checked import Checked, read_checked, write_checked
from tablevault.remotes.lfs import Refusal
from tablevault.remotes.local import LocalTransport
from tablevault.remotes.reports import NO_TRANSFER
from tablevault.remotes.tally import TransferReport
from tablevault.remotes.transfer import find_missing, send
from tablevault.remotes.transport import find_remote, open_transport
from tablevault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What became of the objects of a remote.

    Attributes
    ----------
    objects : TransferReport
        What was sent.
    missing : dict of Pointer to str
        What commits name that the remote serves, and what neither it nor this vault has, by path.
    """

    objects: TransferReport
    missing: Mapping[Pointer, str]


def supply(
    vault: Vault,
    remote: str,
    *,
    served: Collection[CommitId],
    new: Collection[CommitId],
    checked: Checked,
) -> Supply:
    """Send the objects that a remote lacks.

    Objects of `served` commits may be missing there: somebody pushed where no hook ran, or the
    server lost them. What this vault has of them is sent. Those of `new` commits have to arrive.
    Objects of deleted instances are gone for good, and nobody expects them.

    Parameters
    ----------
    served : collection of CommitId
        What refs of the remote name.
    new : collection of CommitId
        What they are to name.
    checked : Checked
        What need not be asked for.

    Raises
    ------
    TVTransferError
        An object of a new commit did not arrive, or the server only says that it has it.
    """
    repository, store = vault.journal.repository, vault.store
    gone = deleted_objects(vault)
    named = pointers_of(repository, served, checked.tips) | dict(checked.missing)
    old = {pointer: path for pointer, path in named.items() if pointer.oid not in gone}
    fresh = {
        pointer: path
        for pointer, path in pointers_of(repository, new, [*served, *checked.tips]).items()
        if pointer not in old and (pointer.oid not in gone or store.has(pointer))
    }
    lacking = missing_there(vault, remote, old)
    found = [pointer for pointer in lacking if store.has(pointer)]
    report = _send(vault, remote, [*fresh, *found])
    if report.present:
        # An answer without an action is a claim, and a claim can be wrong.
        denied = missing_there(vault, remote, [*fresh, *found])
        _refuse_denied({each: denied[each] for each in fresh if each in denied}, remote)
        found = [pointer for pointer in found if pointer not in denied]
    missing = {each: old[each] for each in lacking if each not in found}
    return Supply(objects=report, missing=missing)


def supply_pushed(vault: Vault, remote: str, moves: Mapping[str, tuple[str, str]]) -> Supply:
    """Send the objects of a push by plain git, before git moves refs.

    Parameters
    ----------
    moves : dict of str to (str, str)
        By full name of each ref there: what it is to name, and what it names now.
    """
    repository = vault.journal.repository
    new = commits_of(repository, (local for local, _ in moves.values()))
    served = commits_of(repository, (there for _, there in moves.values()))
    checked = read_checked(vault, remote)
    main = checked.main
    if MAIN in moves:
        main, there = (repository.commit_of(name) for name in moves[MAIN])
        checked = checked.at(repository, there)
    found = supply(vault, remote, served=served, new=new - served, checked=checked)
    tips = (*checked.tips, *served, *new)
    # If git is refused after this, main is not there, and all is asked for again.
    write_checked(vault, remote, Checked(main=main, tips=tips, missing=found.missing))
    return found


def deleted_objects(vault: Vault) -> set[ObjectId]:
    """Return the objects that only instances had which are deleted for good."""
    return vault.journal.index.known() - vault.journal.index.needed()


def push_address(vault: Vault, remote: str) -> str:
    """Return by which name or address git reads what a push changes."""
    found = find_remote(read_settings(vault.path), remote, vault.path)
    return remote if found.push_url == found.url else found.push_url


def push_targets(vault: Vault, remote: str) -> list[str]:
    """Return what a push to a remote goes to: its name, or each of its addresses."""
    found = find_remote(read_settings(vault.path), remote, vault.path)
    return list(found.push_urls) or [remote]


def commits_of(repository: Repository, names: Iterable[str]) -> set[CommitId]:
    """Return the commits that ids name, of commits or annotated tags, as far as they are here."""
    found = (repository.commit_of(name) for name in set(names))
    return {commit for commit in found if commit is not None}


def missing_there(vault: Vault, remote: str, pointers: Iterable[Pointer]) -> dict[Pointer, Refusal]:
    """Ask a remote which objects it does not have, at the place that pushes send them to."""
    wanted = list(pointers)
    if not wanted:
        return {}
    transport = open_transport(vault.path, remote, "download", is_push=True)
    try:
        return find_missing(transport, wanted, vault.progress())
    finally:
        transport.close()


def damaged_there(vault: Vault, remote: str, pointers: Iterable[Pointer]) -> dict[Pointer, Path]:
    """Read the objects of a repository on this machine; a server is trusted to do that itself."""
    transport = open_transport(vault.path, remote, "download", is_push=True)
    try:
        if not isinstance(transport, LocalTransport):
            return {}
        found = {pointer: transport.damaged(pointer) for pointer in pointers}
    finally:
        transport.close()
    return {pointer: path for pointer, path in found.items() if path is not None}


def _send(vault: Vault, remote: str, pointers: Collection[Pointer]) -> TransferReport:
    """Send objects; all of them have to arrive."""
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
    """Refuse to push what a server says that it has and does not give."""
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
