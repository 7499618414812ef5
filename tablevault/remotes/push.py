"""push: objects first, then ``main`` together with what is derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

from tablevault.errors import TVFileError, TVOutcomeUnknownError, TVRemoteError
from tablevault.history.pointers import pointers_of
from tablevault.history.remotes import find_repository, read_settings
from tablevault.history.repository import RefMove
from tablevault.history.snapshot import Snapshot
from tablevault.history.strangers import new_commits, refuse_unfit
from tablevault.history.tags import expected_tags
from tablevault.names import MAIN, CommitId, temp_of_ref
from tablevault.objects.pointer import Pointer
from tablevault.remotes.endpoint import LocalPlace, classify
from tablevault.remotes.moves import push_refs
from tablevault.remotes.refs import (
    fetch_refs,
    is_name,
    list_refs,
    point_head_to_main,
    tracking_ref,
)
from tablevault.remotes.reports import NO_TRANSFER, PushReport
from tablevault.remotes.tally import TransferReport
from tablevault.remotes.transfer import send
from tablevault.remotes.transport import find_remote, open_transport
from tablevault.vault import Vault

_HEADS = "refs/heads/"
_TAGS = "refs/tags/"


def push(vault: Vault, remote: str, *, temp: bool) -> PushReport:
    """Bring a remote up to date with this vault.

    Objects go first, then all refs together, each only if it still is where it was seen. Killed at
    any moment, the remote is as it was before, but may have objects that nothing names yet.

    Raises
    ------
    TVRemoteError
        There is no such remote, it cannot be reached, holds something else, or has news.
    TVOutcomeUnknownError
        The connection was lost at the last step, and the remote cannot be asked what it did.
    """
    address = find_remote(read_settings(vault.path), remote, vault.path).push_url
    repository = vault.journal.repository
    main = repository.main()
    there = list_refs(vault.path, remote)
    known = _known(vault, remote, there, main)
    wanted = _wanted(vault, main, temp=temp)
    _refuse_other_temps(vault, remote, there, wanted)
    moves = [
        RefMove(ref=ref, old=there.get(ref), new=commit)
        for ref, commit in wanted.items()
        if there.get(ref) != commit
    ]
    # Only what is derived is removed there, and only what this vault has seen there.
    moves += [
        RefMove(ref=ref, old=commit, new=None)
        for ref, commit in there.items()
        if ref not in wanted and _is_stale(vault, ref, commit, main)
    ]
    if not moves:
        return PushReport(remote=remote, commits=0, refs=(), objects=NO_TRANSFER)
    branches = [move.new for move in moves if move.new and not move.ref.startswith(_TAGS)]
    refuse_unfit(repository, branches, known, remote)
    commits = sum(1 for _ in new_commits(repository, branches, known)) if branches else 0
    objects = send_objects(vault, remote, branches, known) if branches else NO_TRANSFER
    kept = _move_there(vault, remote, moves)
    place = classify(address, vault.path)
    if isinstance(place, LocalPlace) and not any(ref.startswith(_HEADS) for ref in there):
        point_head_to_main(find_repository(place.path).git_dir)
    refs = tuple(move.ref for move in moves if move.ref not in kept)
    return PushReport(remote=remote, commits=commits, refs=refs, objects=objects, kept=kept)


def _move_there(vault: Vault, remote: str, moves: Sequence[RefMove]) -> tuple[str, ...]:
    """Move refs of the remote; ask what it did when the connection is lost meanwhile.

    Returns the refs that it lets nobody remove.
    """
    try:
        return push_refs(vault.path, remote, moves)
    except TVOutcomeUnknownError as unknown:
        try:
            there = list_refs(vault.path, remote)
        except TVRemoteError:
            raise unknown from None
        if any(there.get(move.ref) != move.new for move in moves):
            raise TVRemoteError(
                f"{unknown.message} The remote has not taken everything.",
                "Push again.",
                remote=remote,
            ) from unknown
        return ()


def _known(vault: Vault, remote: str, there: dict[str, CommitId], main: CommitId) -> list[CommitId]:
    """Give the commits that the remote has and we do, too; refuse a remote that has news."""
    repository = vault.journal.repository
    tip = there.get(MAIN)
    if tip is None:
        others = [ref for ref in there if ref.startswith(_HEADS)]
        if others:
            raise TVRemoteError(
                f'Remote "{remote}" holds something, but no vault: it has '
                f'{", ".join(others[:3])} and no branch "main".',
                "Push to an empty repository, or to one that holds this vault.",
                remote=remote,
            )
        return []
    if not repository.has(tip) and is_name(remote):
        fetch_refs(vault.path, remote, [f"+{MAIN}:{tracking_ref(remote, MAIN)}"])
    if repository.has(tip):
        _refuse_other_vault(vault, remote, tip)
    if not repository.has(tip) or not repository.is_ancestor(tip, main):
        raise TVRemoteError(
            f'Remote "{remote}" has what this vault has not: nothing was pushed.',
            f'Pull first: vault.pull("{remote}").',
            remote=remote,
        )
    return [commit for commit in set(there.values()) if repository.has(commit)]


def _refuse_other_vault(vault: Vault, remote: str, tip: CommitId) -> None:
    """Refuse a remote that holds something else."""
    try:
        found = Snapshot(vault.journal.repository, tip).vault().id
    except TVFileError:
        found = ""
    if found != vault.snapshot().vault().id:
        what = "another vault" if found else "something else than a vault"
        raise TVRemoteError(
            f'Remote "{remote}" holds {what}: nothing was pushed.',
            "Push to an empty repository, or to one that holds this vault.",
            remote=remote,
        )


def _wanted(vault: Vault, main: CommitId, *, temp: bool) -> dict[str, CommitId]:
    """Give the refs that the remote should have."""
    repository = vault.journal.repository
    wanted = {MAIN: main}
    if temp:
        wanted |= {
            ref: tip for ref, tip in repository.temp_refs().items() if temp_of_ref(ref) is not None
        }
    return wanted | expected_tags(vault.journal.index, Snapshot(repository, main))


def _refuse_other_temps(
    vault: Vault, remote: str, there: Mapping[str, CommitId], wanted: Mapping[str, CommitId]
) -> None:
    """Refuse to put a temporary instance in the place of one that somebody else works on."""
    repository = vault.journal.repository
    for ref, commit in wanted.items():
        temp, tip = temp_of_ref(ref), there.get(ref)
        if temp is None or tip is None:
            continue
        if not any(repository.is_ancestor(tip, ours) for ours in (commit, wanted[MAIN])):
            raise TVRemoteError(
                f'Remote "{remote}" has another temporary instance of table "{temp.table}", '
                f'version "{temp.version}", that does not go on from yours: nothing was pushed.',
                "Leave yours out: push(temp=False). Or ask who made it, and remove it there: "
                f"git push {remote} :{ref}",
                remote=remote,
                table=temp.table,
                version=temp.version,
            )


def _is_stale(vault: Vault, ref: str, commit: CommitId, main: CommitId) -> bool:
    """Tell whether a ref of the remote is a leftover.

    That is the tag of an instance that is deleted or renamed, or a temporary instance that is
    materialised or deleted, so that its branch is part of ``main``.
    """
    repository = vault.journal.repository
    if temp_of_ref(ref) is not None:
        return repository.is_ancestor(commit, main) and repository.tip(ref) is None
    instance_id = unquote(ref.rpartition("/")[2])
    if not ref.startswith(_TAGS):
        return False
    found = vault.journal.index.instance(instance_id)
    return found is not None and found.commit == commit


def send_objects(
    vault: Vault, remote: str, tips: Iterable[CommitId], known: Iterable[CommitId]
) -> TransferReport:
    """Send the objects that the commits name which the remote does not have.

    Objects of deleted instances are gone for good, and nobody expects them.
    """
    named = pointers_of(vault.journal.repository, tips, known)
    deleted = _deleted(vault, named)
    pointers = [pointer for pointer in named if pointer not in deleted]
    if not pointers:
        return NO_TRANSFER
    transport = open_transport(vault.path, remote, "upload", ref=MAIN)
    try:
        report = send(transport, pointers, vault.store, vault.progress())
    finally:
        transport.close()
    report.check()
    return report


def _deleted(vault: Vault, named: Iterable[Pointer]) -> set[Pointer]:
    """Find the pointers whose objects are not here since no instance that stands needs them."""
    missing = [pointer for pointer in named if not vault.store.has(pointer)]
    needed = vault.journal.index.still_needed(pointer.oid for pointer in missing)
    return {pointer for pointer in missing if pointer.oid not in needed}
