"""pull: history of a remote, joined with what was done here; data now or when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.history.merge import Side
from tablevault.history.remotes import read_settings
from tablevault.history.snapshot import Snapshot
from tablevault.history.strangers import new_commits, refuse_hostile
from tablevault.history.tags import tag_moves
from tablevault.journal.merges import complete_merge
from tablevault.names import MAIN, CommitId
from tablevault.remotes.fetch import fetch_objects
from tablevault.remotes.git_refs import fetch_refs, list_refs, tracking_ref
from tablevault.remotes.lfs.transport import find_remote
from tablevault.remotes.pull_merge import Pull, changed_names, table_names
from tablevault.remotes.reports import NO_TRANSFER, PullReport
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording

Data = Literal["lazy", "all"]


def pull(vault: Vault, remote: str, *, data: str, resolve: Mapping[str, str] | None) -> PullReport:
    """Take over what a remote has.

    Raises
    ------
    TVRemoteError
        There is no such remote, it cannot be reached, holds no vault, another vault, or what no
        vault holds; or both sides changed the same. Nothing has changed here.
    TVLockError
        A process works on a table that is renamed or deleted there, or is paused on it.
    """
    check_data(data)
    choices = _choices(resolve)
    find_remote(read_settings(vault.path), remote, vault.path)
    repository = vault.journal.repository
    theirs = fetch_main(vault, remote)
    ours = repository.main()
    commits = sum(1 for _ in new_commits(repository, [theirs], [ours]))
    index = vault.journal.index

    def made(instance_id: str) -> CommitId | None:
        found = index.instance(instance_id)
        return None if found is None else found.commit

    refuse_hostile(repository, [theirs], [ours], f'Remote "{remote}"', made)
    _refuse_other_vault(vault, remote, theirs)
    process_id, before = "", table_names(Snapshot(repository, ours))
    if not repository.is_ancestor(theirs, ours):
        process_id = Pull(remote=remote, commit=theirs, resolve=choices).run(vault)
        # A merge that was made at a host knows nothing of instances.
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
    """Bring the history of a remote; give the tip of its ``main``.

    Raises
    ------
    TVRemoteError
        It has none.
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
    found = vault.journal.repository.tip(tracking_ref(remote, MAIN))
    assert found is not None
    return found


def update_tags(vault: Vault) -> None:
    """Make the tags of instances what history says."""
    journal = vault.journal
    with journal.commit_lock():
        moves = tag_moves(journal.repository, journal.index, vault.snapshot())
        if moves:
            journal.move(moves, "tags of instances")


def check_data(data: str) -> None:
    """Refuse what is neither "lazy" nor "all"."""
    if data not in {"lazy", "all"}:
        raise TVArgumentError(
            f"data is {data!r}.",
            'Pass "lazy" to bring a frame when it is first read, "all" to bring all of them now.',
        )


def _choices(resolve: Mapping[str, str] | None) -> Mapping[str, Side]:
    """Check how conflicts are to be resolved."""
    for path, side in (resolve or {}).items():
        if side not in {"ours", "theirs"}:
            raise TVArgumentError(
                f'resolve["{path}"] is {side!r}.', 'Write "ours" or "theirs".', path=path
            )
    return cast("Mapping[str, Side]", resolve or {})


def _refuse_other_vault(vault: Vault, remote: str, theirs: CommitId) -> None:
    """Refuse history of something else."""
    snapshot = Snapshot(vault.journal.repository, theirs)
    if snapshot.blob("vault.yaml") is None or snapshot.vault().id != vault.snapshot().vault().id:
        raise TVRemoteError(
            f'Remote "{remote}" holds another vault than this one: nothing was taken over.',
            Wording(
                "Give it a folder of its own: ", Call("clone_vault", url=remote, db_dir=BLANK), "."
            ),
            remote=remote,
        )
