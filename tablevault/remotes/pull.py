"""Pulls from a remote: fetch its history, merge, and fetch objects now or when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.history.catalog.tags import tag_moves
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.git_config import read_settings
from tablevault.history.git.reachability import new_commits
from tablevault.history.merge.merge_vaults import Side
from tablevault.history.merge.validate_incoming import refuse_hostile
from tablevault.names import MAIN, CommitId
from tablevault.remotes.fetch import fetch_objects
from tablevault.remotes.git_refs import fetch_refs, list_refs, tracking_ref
from tablevault.remotes.lfs.transport import find_remote
from tablevault.remotes.pull_merge import Pull, changed_names, table_names
from tablevault.remotes.remote_state import refuse_other_vault
from tablevault.remotes.reports import NO_TRANSFER, PullReport
from tablevault.transactions.git_merges import complete_merge
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording

Data = Literal["lazy", "all"]


def pull(vault: Vault, remote: str, *, data: str, resolve: Mapping[str, str] | None) -> PullReport:
    """Fetch the history of a remote and merge it.

    Raises
    ------
    TVRemoteError
        There is no such remote, it cannot be reached, holds no vault or another one, its history
        is not valid, or there are conflicts. Nothing has changed here.
    TVLockError
        A table that was renamed or deleted there is in use by a running or paused process.
    """
    check_data(data)
    choices = _choices(resolve)
    find_remote(read_settings(vault.path), remote, vault.path)
    repository = vault.repository
    theirs = fetch_main(vault, remote)
    ours = repository.main()
    commits = sum(1 for _ in new_commits(repository, [theirs], [ours]))
    index = vault.index

    def commit_of(instance_id: str) -> CommitId | None:
        found = index.instance(instance_id)
        return None if found is None else found.commit

    refuse_hostile(repository, [theirs], [ours], f'Remote "{remote}"', commit_of)
    clone = Call("clone_vault", url=remote, db_dir=BLANK)
    hint = Wording("Clone it into its own folder: ", clone, ".")
    refuse_other_vault(vault, remote, theirs, "nothing was pulled", hint)
    process_id, before = "", table_names(Snapshot(repository, ours))
    if not repository.is_ancestor(theirs, ours):
        process_id = Pull(remote=remote, commit=theirs, resolve=choices).run(vault)
        # The remote may contain a merge by plain git, which knows nothing of instances.
        complete_merge(vault)
    update_tags(vault)
    objects = fetch_objects(vault, remote, [repository.main()]) if data == "all" else NO_TRANSFER
    return PullReport(
        remote=remote,
        commits=commits,
        merged=bool(process_id) and index.process(process_id) is not None,
        process_id=process_id,
        renamed=changed_names(before, table_names(vault.snapshot()))[0],
        objects=objects,
    )


def fetch_main(vault: Vault, remote: str) -> CommitId:
    """Fetch the history of a remote; return the tip of its ``main``.

    Raises
    ------
    TVRemoteError
        It has no ``main``.
    """
    there = list_refs(vault.path, remote)
    if MAIN not in there:
        raise TVRemoteError(
            f'Remote "{remote}" holds no vault: it has no branch "main".',
            "Push to it first, from the vault that it is to hold.",
            remote=remote,
        )
    heads = (MAIN, "refs/heads/temp/*")
    fetch_refs(vault.path, remote, [f"+{ref}:{tracking_ref(remote, ref)}" for ref in heads])
    found = vault.repository.tip(tracking_ref(remote, MAIN))
    assert found is not None
    return found


def update_tags(vault: Vault) -> None:
    """Move the tags of instances to where history says."""
    parts = vault.parts
    with parts.commit_lock():
        moves = tag_moves(parts.repository, parts.index, vault.snapshot())
        if moves:
            parts.move(moves, "tags of instances")


def check_data(data: str) -> None:
    """Raise TVArgumentError unless `data` is "lazy" or "all"."""
    if data not in {"lazy", "all"}:
        raise TVArgumentError(
            f"data is {data!r}.",
            'Pass "lazy" to fetch dataframes when they are first read, "all" to fetch all now.',
        )


def _choices(resolve: Mapping[str, str] | None) -> Mapping[str, Side]:
    """Return how to resolve conflicts, checked."""
    for path, side in (resolve or {}).items():
        if side not in {"ours", "theirs"}:
            raise TVArgumentError(
                f'resolve["{path}"] is {side!r}.', 'Write "ours" or "theirs".', path=path
            )
    return cast("Mapping[str, Side]", resolve or {})
