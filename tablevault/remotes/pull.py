"""Pulls from a remote: fetches its history, merges it, and fetches objects now or when read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, cast

from tablevault.errors import TVArgumentError, TVLockError, TVRemoteError
from tablevault.history.catalog.catalog import tag_moves
from tablevault.history.commits.change import Change, RemovedBranch, renamed_branch
from tablevault.history.commits.documents import timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.git_config import read_settings
from tablevault.history.git.reachability import new_commits
from tablevault.history.git.repository import Repository
from tablevault.history.merge.merge_commits import merge_commits
from tablevault.history.merge.merge_result import Conflict, MergeResult, Side
from tablevault.history.merge.validate_commits import validate_incoming
from tablevault.model.view import VaultView
from tablevault.names import MAIN, CommitId, TableId, TempRef, table_dir
from tablevault.remotes.fetch import fetch_objects
from tablevault.remotes.git_refs import fetch_refs, list_branches, tracking_ref
from tablevault.remotes.lfs.endpoint import find_remote
from tablevault.remotes.remote_objects import refuse_other_vault
from tablevault.remotes.reports import NO_TRANSFER, PullReport
from tablevault.transactions.claims import alone, pull_hold, table_hold
from tablevault.transactions.git_merges import complete_merge
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import EditedBranch, Transaction
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

    validate_incoming(repository, [theirs], [ours], f'Remote "{remote}"', commit_of)
    clone = Call("clone_vault", url=remote, db_dir=BLANK)
    hint = Wording("Clone it into its own folder: ", clone, ".")
    refuse_other_vault(vault, remote, theirs, "nothing was pulled", hint)
    process_id, before = "", Snapshot(repository, ours).names_by_id()
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
        renamed=changed_names(before, vault.snapshot().names_by_id())[0],
        objects=objects,
    )


def fetch_main(vault: Vault, remote: str) -> CommitId:
    """Fetch the history of a remote; return the tip of its ``main``.

    Raises
    ------
    TVRemoteError
        It has no ``main``.
    """
    there = list_branches(vault.path, remote)
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
        if side not in ("ours", "theirs"):  # a tuple: a value may have no hash
            raise TVArgumentError(
                f'resolve["{path}"] is {side!r}.', 'Write "ours" or "theirs".', path=path
            )
    return cast("Mapping[str, Side]", resolve or {})


@operation("pull", restarts=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class Pull(Operation[Vault, VaultView, None]):
    """Fast-forward ``main`` to a fetched commit, or merge the commit.

    It claims tables that are renamed or deleted, by both names, as ``rename_table`` and
    ``delete_table`` do: it waits for processes that run on them, and fails if one is paused. All
    others continue.

    Raises
    ------
    TVRemoteError
        There are conflicts. Nothing has changed.
    TVLockError
        A process claims a table that is to be renamed or deleted.
    """

    remote: str
    """The remote, for messages."""
    commit: CommitId
    """Fetched and validated commit."""
    resolve: Mapping[str, Side]
    """How to resolve conflicts: "ours" or "theirs" by path."""
    touched: frozenset[str] = field(default=frozenset(), metadata=NOT_RECORDED)
    """Names of tables that are renamed or deleted."""

    def gathered(self, vault: Vault) -> Self:
        """Return the operation with the tables to claim."""
        return replace(self, touched=_compare(self, vault.snapshot()).touched)

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Return the claims to pull, and to these tables."""
        tables = [alone(table_hold(name)) for name in sorted(self.touched)]
        return [pull_hold(), *tables]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Return the change, merged again: another process may have committed meanwhile."""
        repository = view.snapshot.repository
        found = _compare(self, view.snapshot)
        if found.conflicts:
            raise _conflict_error(self.remote, found.conflicts)
        if not found.touched <= self.touched:
            raise TVLockError(
                "Tables were renamed or deleted here while the pull waited for others.",
                "Pull again.",
            )
        branches = tuple(
            renamed_branch(
                repository,
                each.temp,
                each.tip,
                each.commit,
                found.renames[each.temp.table],
            )
            for each in _edited_branches(repository, tx, found.renames)
        )
        if found.merged is None:
            message = Message(subject=f"pull {self.remote}")
            return Change(message=message, forward=self.commit, branches=branches)
        pairs = [
            ("Operation", self.operation_name),
            ("Process", tx.process_id),
            *(("Deactivates", instance) for instance in found.merged.deactivated),
            ("Time", timestamp(at)),
        ]
        return Change(
            message=Message(subject=f"pull {self.remote}: merge", trailers=trailers(pairs)),
            main=tuple(found.merged.edits),
            merges=(self.commit,),
            branches=branches,
            removed=tuple(
                RemovedBranch(temp=each.temp, tip=each.tip, onto=each.commit)
                for each in _edited_branches(repository, tx, found.gone)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """The outcome of a merge.

    Attributes
    ----------
    merged : MergeResult or None
        None where ``main`` only moves on.
    renames : mapping of str to str
        Tables here that have another name there, with that.
    gone : collection of str
        Tables here that were deleted there.
    conflicts : sequence of Conflict
        What both sides changed.
    """

    merged: MergeResult | None
    renames: Mapping[str, str]
    gone: Collection[str]
    conflicts: Sequence[Conflict]

    @property
    def touched(self) -> frozenset[str]:
        """Names of tables that are renamed or deleted."""
        return frozenset((*self.renames, *self.renames.values(), *self.gone))


def _compare(pull: Pull, ours: Snapshot) -> _Comparison:
    """Merge the fetched commit with what is here."""
    repository = ours.repository
    before = ours.names_by_id()
    renames, gone = changed_names(before, Snapshot(repository, pull.commit).names_by_id())
    merged = None
    # The temporary instances of a deleted table become part of history, which takes a commit.
    if not repository.is_ancestor(ours.commit, pull.commit) or _temps(repository, gone):
        merged = merge_commits(repository, ours, pull.commit, pull.resolve)
        renames, gone = merged.renamed, merged.deleted
    conflicts = [] if merged is None else list(merged.conflicts)
    conflicts.extend(_temps_of_deleted(repository, pull, gone))
    return _Comparison(merged=merged, renames=renames, gone=gone, conflicts=conflicts)


def _temps(repository: Repository, tables: Collection[str]) -> list[TempRef]:
    """Return the temporary instances of some tables."""
    return [temp for temp in repository.temps() if temp.table in tables]


def _temps_of_deleted(
    repository: Repository, pull: Pull, gone: Collection[str]
) -> Iterator[Conflict]:
    """Return a conflict for each temporary instance of a table that is deleted there."""
    for temp in _temps(repository, gone):
        path = table_dir(temp.table)
        if pull.resolve.get(path) != "theirs":
            yield Conflict(
                path=path,
                problem=f'it was deleted there, and has temporary instance "{temp.version}" here',
                hint=Wording(
                    "A deletion cannot be taken back: ",
                    Call("pull", resolve={path: "theirs"}),
                    " accepts it. Save what you need of the instance before.",
                ),
            )


def _edited_branches(
    repository: Repository, tx: Transaction, tables: Collection[str]
) -> list[EditedBranch]:
    """Commit edits by hand in temporary instances of some tables; return these instances."""
    return [tx.edited_branch(temp) for temp in _temps(repository, tables)]


def changed_names(
    before: Mapping[TableId, str], now: Mapping[TableId, str]
) -> tuple[dict[str, str], list[str]]:
    """Return renamed tables with their new names, and deleted ones."""
    both = before.keys() & now.keys()
    renames = {before[each]: now[each] for each in both if before[each] != now[each]}
    return renames, [name for each, name in before.items() if each not in now]


def _conflict_error(remote: str, conflicts: Sequence[Conflict]) -> TVRemoteError:
    """Return the error that names every conflict and how to resolve it."""
    lines: list[str] = []
    for each in conflicts:
        lines += [f"\n  {each.path}: {each.problem}.", " " if each.hint else "", each.hint]
    return TVRemoteError(
        Wording(
            f'This vault and remote "{remote}" have conflicting changes; nothing has changed.',
            *lines,
        ),
        remote=remote,
        paths=", ".join(each.path for each in conflicts),
    )
