"""pull: history of a remote, joined with what was done here; data now or when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.history.change import BranchChange, Change
from tablevault.history.documents import timestamp
from tablevault.history.joining import merge_commits
from tablevault.history.merge import Conflict, Merged, Side
from tablevault.history.message import Message, trailers
from tablevault.history.remotes import read_settings
from tablevault.history.renaming import renamed_branch
from tablevault.history.snapshot import Snapshot
from tablevault.history.strangers import new_commits, refuse_hostile
from tablevault.history.tags import tag_moves
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Request
from tablevault.names import MAIN, CommitId, temp_of_ref
from tablevault.remotes.fetch import bring_all
from tablevault.remotes.refs import fetch_refs, list_refs, tracking_ref
from tablevault.remotes.reports import NO_TRANSFER, PullReport
from tablevault.remotes.transport import find_remote
from tablevault.vault import Vault

Data = Literal["lazy", "all"]


def pull(vault: Vault, remote: str, *, data: str, resolve: Mapping[str, str] | None) -> PullReport:
    """Take over what a remote has.

    Raises
    ------
    TVRemoteError
        There is no such remote, it cannot be reached, holds no vault, another vault, or what no
        vault holds; or both sides changed the same. Nothing has changed here.
    """
    check_data(data)
    choices = _choices(resolve)
    find_remote(read_settings(vault.path), remote, vault.path)
    repository = vault.journal.repository
    theirs = fetch_main(vault, remote)
    ours = repository.main()
    commits = sum(1 for _ in new_commits(repository, [theirs], [ours]))
    refuse_hostile(repository, [theirs], [ours], f'Remote "{remote}"')
    _refuse_other_vault(vault, remote, theirs)
    process_id, merged, renamed = "", False, dict[str, str]()
    if not repository.is_ancestor(theirs, ours):
        process_id, merged, renamed = _join(vault, remote, theirs, choices)
    lay_tags(vault)
    objects = bring_all(vault, remote, [repository.main()]) if data == "all" else NO_TRANSFER
    return PullReport(
        remote=remote,
        commits=commits,
        merged=merged,
        process_id=process_id,
        renamed=renamed,
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


def lay_tags(vault: Vault) -> None:
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
            "clone_vault(url, folder, author) gives it a folder of its own.",
            remote=remote,
        )


def _join(
    vault: Vault, remote: str, theirs: CommitId, choices: Mapping[str, Side]
) -> tuple[str, bool, dict[str, str]]:
    """Publish what came: move ``main`` on, or merge."""
    request = Request(
        operation="pull", arguments={"remote": remote, "commit": theirs, "resolve": dict(choices)}
    )

    def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
        return ()

    with running(vault.journal, request, vault.actor(""), setup) as operation:
        joint = _Joint(vault, operation, remote, theirs, choices)
        operation.publish(joint.plan)
    return operation.process_id, joint.merged is not None, joint.renames


class _Joint:
    """What is published by a pull; planned anew on each newer tip."""

    def __init__(
        self,
        vault: Vault,
        operation: Operation,
        remote: str,
        theirs: CommitId,
        choices: Mapping[str, Side],
    ) -> None:
        self._vault = vault
        self._operation = operation
        self._remote = remote
        self._theirs = theirs
        self._choices = choices
        self.merged: Merged | None = None
        self.renames: dict[str, str] = {}

    def plan(self, ours: Snapshot, at: float) -> Change:
        """Move on when nothing was done here, else merge."""
        repository = self._vault.journal.repository
        theirs = Snapshot(repository, self._theirs)
        if repository.is_ancestor(ours.commit, self._theirs):
            self.merged = None
            self.renames = _renames(ours, theirs)
            return Change(
                message=Message(subject=f"pull {self._remote}"),
                forward=self._theirs,
                branches=self._renamed_temps(),
            )
        merged = merge_commits(repository, ours, self._theirs, self._choices)
        if merged.conflicts:
            raise _conflict_error(self._remote, merged.conflicts)
        self.merged, self.renames = merged, merged.renames
        record = self._operation.record
        pairs = [
            ("Operation", record.request.operation),
            ("Process", record.process_id),
            *(("Deactivates", instance) for instance in merged.superseded),
            ("Time", timestamp(at)),
        ]
        return Change(
            message=Message(subject=f"pull {self._remote}: merge", trailers=trailers(pairs)),
            main=tuple(merged.edits),
            merges=(self._theirs,),
            branches=self._renamed_temps(),
        )

    def _renamed_temps(self) -> tuple[BranchChange, ...]:
        """Carry the temporary instances of renamed tables over to the new names."""
        return tuple(
            renamed_branch(
                self._vault.journal.repository,
                draft.temp,
                draft.tip,
                draft.commit,
                self.renames[draft.temp.table],
            )
            for draft in self._drafts()
        )

    def _drafts(self) -> list[TempDraft]:
        """Take in what was edited by hand in temporary instances of renamed tables."""
        temps = [temp_of_ref(ref) for ref in self._vault.journal.repository.temp_refs()]
        moved = [temp for temp in temps if temp is not None and temp.table in self.renames]
        return [self._operation.drafted(temp) for temp in moved]


def _renames(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """Give the tables that have another name."""
    now = {after.table(name).id: name for name in after.table_names()}
    names = ((name, now.get(before.table(name).id, name)) for name in before.table_names())
    return {old: new for old, new in names if old != new}


def _conflict_error(remote: str, conflicts: Sequence[Conflict]) -> TVRemoteError:
    """Make the error that names every conflict and the way out of each."""
    lines = [f"  {each.path}: {each.problem}. {each.hint}".rstrip() for each in conflicts]
    return TVRemoteError(
        f'What was done here and what came from "{remote}" do not go together; nothing has '
        "changed.\n" + "\n".join(lines),
        remote=remote,
        paths=", ".join(each.path for each in conflicts),
    )
