"""Pushes to a remote: objects first, then ``main`` with the tags and branches derived from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from tablevault.errors import TVOutcomeUnknownError, TVRemoteError
from tablevault.history.catalog.catalog import expected_tags
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.git_config import find_repository, read_settings
from tablevault.history.git.reachability import new_commits
from tablevault.history.git.refs import RefMove
from tablevault.history.merge.validate_commits import validate_outgoing
from tablevault.names import MAIN, CommitId, temp_of_ref
from tablevault.remotes.git_refs import (
    fetch_refs,
    list_refs,
    point_head_to_main,
    push_refs,
    tracking_ref,
)
from tablevault.remotes.lfs.endpoint import LocalAddress, classify, find_remote
from tablevault.remotes.remote_objects import (
    RemoteState,
    commits_of,
    push_address,
    push_targets,
    read_state,
    refuse_other_vault,
    send_removed,
    upload_missing,
    write_state,
)
from tablevault.remotes.reports import PushReport, joined_reports
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

_HEADS = "refs/heads/"
_TAGS = "refs/tags/"


def push(vault: Vault, remote: str, *, temp: bool) -> PushReport:
    """Push to a remote, to each of its addresses in turn.

    Objects go first, then all refs together, each only if it still is where it was seen. A crash
    leaves the remote as it was, except for objects that nothing refers to yet.

    Raises
    ------
    TVRemoteError
        There is no such remote, it cannot be reached, holds something else, or has new commits.
    TVOutcomeUnknownError
        The connection was lost at the last step, and the remote cannot be asked for the result.
    """
    reports: list[PushReport] = []
    for target in push_targets(vault, remote):
        try:
            reports.append(_push_to(vault, target, temp=temp))
        except (TVRemoteError, TVOutcomeUnknownError) as error:
            if not reports:
                raise
            done = f'{len(reports)} of the addresses of remote "{remote}" have everything.'
            raise type(error)(f"{error.message} {done}", error.hint, **error.facts) from error
    return joined_reports(remote, reports)


def _push_to(vault: Vault, remote: str, *, temp: bool) -> PushReport:
    """Push to one address."""
    at = push_address(vault, remote)
    repository = vault.repository
    main = repository.main()
    there = list_refs(vault.path, at)
    _refuse_new_commits(vault, remote, at, there, main)
    wanted = _wanted(vault, main, temp=temp)
    _refuse_other_temps(vault, remote, there, wanted)
    moves = [
        RefMove(ref=ref, old=there.get(ref), new=commit)
        for ref, commit in wanted.items()
        if there.get(ref) != commit
    ]
    # Only derived refs are removed there, and only those that this vault has seen.
    moves += [
        RefMove(ref=ref, old=commit, new=None)
        for ref, commit in there.items()
        if ref not in wanted and _is_stale(vault, ref, commit, main)
    ]
    others = {ref: name for ref, name in there.items() if wanted.get(ref) != name}
    branches = {commit for ref, commit in wanted.items() if not ref.startswith(_TAGS)}
    served = commits_of(repository, [*others.values(), *(branches & set(there.values()))])
    new = branches - served
    validate_outgoing(repository, new, served, remote)
    state = read_state(vault, remote).at(repository, there.get(MAIN))
    found = upload_missing(vault, remote, served=served, new=new, state=state)
    kept = _move_there(vault, remote, moves)
    send_removed(vault, remote, found.asked)
    state = RemoteState(main=main, tips=(*branches, *served), missing=found.missing)
    write_state(vault, remote, state)
    address = classify(find_remote(read_settings(vault.path), at, vault.path).url, vault.path)
    if (
        moves
        and isinstance(address, LocalAddress)
        and not any(ref.startswith(_HEADS) for ref in there)
    ):
        point_head_to_main(find_repository(address.path).git_dir)
    return PushReport(
        remote=remote,
        commits=sum(1 for _ in new_commits(repository, new, served)) if new else 0,
        refs=tuple(move.ref for move in moves if move.ref not in kept),
        objects=found.objects,
        kept=kept,
        missing=tuple(f"{path} ({each.oid})" for each, path in found.missing.items()),
    )


def _move_there(vault: Vault, remote: str, moves: Sequence[RefMove]) -> tuple[str, ...]:
    """Move refs of the remote; if the connection is lost meanwhile, ask for the result.

    Returns the refs that the remote does not let us remove.
    """
    try:
        return push_refs(vault.path, remote, moves)
    except TVOutcomeUnknownError as unknown:
        try:
            there = list_refs(vault.path, push_address(vault, remote))
        except TVRemoteError:
            raise unknown from None
        if any(there.get(move.ref) != move.new for move in moves):
            raise TVRemoteError(
                f"{unknown.message} The remote has not accepted everything.",
                "Push again.",
                remote=remote,
            ) from unknown
        return ()


def _refuse_new_commits(
    vault: Vault, remote: str, at: str, there: Mapping[str, CommitId], main: CommitId
) -> None:
    """Raise TVRemoteError if a remote has new commits, or holds something else."""
    repository = vault.repository
    tip = there.get(MAIN)
    if tip is None:
        others = [ref for ref in there if ref.startswith(_HEADS)]
        if others:
            raise TVRemoteError(
                f'Remote "{remote}" holds no vault: it has '
                f'{", ".join(others[:3])} and no branch "main".',
                "Push to an empty repository, or to one that holds this vault.",
                remote=remote,
            )
        return
    if not repository.has(tip):
        fetch_refs(vault.path, at, [f"+{MAIN}:{tracking_ref(at, MAIN)}"])
    if repository.has(tip):
        hint = "Push to an empty repository, or to one that holds this vault."
        refuse_other_vault(vault, remote, tip, "nothing was pushed", hint)
    if not repository.has(tip) or not repository.is_ancestor(tip, main):
        raise TVRemoteError(
            f'Remote "{remote}" has commits that this vault lacks; nothing was pushed.',
            Wording("Pull first: ", Call("pull", remote=remote), "."),
            remote=remote,
        )


def _wanted(vault: Vault, main: CommitId, *, temp: bool) -> dict[str, CommitId]:
    """Return the refs that the remote should have."""
    repository = vault.repository
    wanted = {MAIN: main}
    if temp:
        wanted |= {temp.ref: tip for temp, tip in repository.temps().items()}
    return wanted | expected_tags(vault.index, Snapshot(repository, main))


def _refuse_other_temps(
    vault: Vault, remote: str, there: Mapping[str, CommitId], wanted: Mapping[str, CommitId]
) -> None:
    """Raise TVRemoteError if a push would overwrite somebody else's temporary instance."""
    repository = vault.repository
    for ref, commit in wanted.items():
        temp, tip = temp_of_ref(ref), there.get(ref)
        if temp is None or tip is None:
            continue
        if not any(repository.is_ancestor(tip, ours) for ours in (commit, wanted[MAIN])):
            raise TVRemoteError(
                f'Remote "{remote}" has another temporary instance of table "{temp.table}", '
                f'version "{temp.version}", that does not descend from yours; nothing was pushed.',
                Wording(
                    "Leave yours out: ",
                    Call("push", remote=remote),
                    f". Or ask who made it, and remove it there: `git push {remote} :{ref}`.",
                ),
                remote=remote,
                table=temp.table,
                version=temp.version,
            )


def _is_stale(vault: Vault, ref: str, commit: CommitId, main: CommitId) -> bool:
    """Return whether a ref of the remote is a leftover.

    That is the tag of a deleted or renamed instance, or the branch of a temporary instance that is
    materialised or deleted: ``main`` contains it.
    """
    repository = vault.repository
    if temp_of_ref(ref) is not None:
        # To find that main does not contain an old branch takes a walk over all history since.
        return repository.tip(ref) is None and repository.is_ancestor(commit, main)
    instance_id = unquote(ref.rpartition("/")[2])
    if not ref.startswith(_TAGS):
        return False
    found = vault.index.instance(instance_id)
    return found is not None and found.commit == commit
