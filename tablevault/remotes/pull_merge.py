"""Publishes a pull: a fast-forward of ``main``, or a merge of fetched commits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from tablevault.errors import TVLockError, TVRemoteError
from tablevault.history.commits.change import Change, RemovedBranch, renamed_branch
from tablevault.history.commits.documents import timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.repository import Repository
from tablevault.history.merge.merge_commits import merge_commits
from tablevault.history.merge.merge_vaults import Conflict, Merged, Side
from tablevault.model.view import VaultView
from tablevault.names import CommitId, TempRef, table_dir, temp_of_ref
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.resource_locks import alone, pull_hold, table_hold
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, Wording


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
        tables = [alone(table_hold(name, exclusive=True)) for name in sorted(self.touched)]
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
            *(("Deactivates", instance) for instance in found.merged.superseded),
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
    merged : Merged or None
        None where ``main`` only moves on.
    renames : mapping of str to str
        Tables here that have another name there, with that.
    gone : collection of str
        Tables here that were deleted there.
    conflicts : sequence of Conflict
        What both sides changed.
    """

    merged: Merged | None
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
    before = table_names(ours)
    renames, gone = changed_names(before, table_names(Snapshot(repository, pull.commit)))
    merged = None
    # The temporary instances of a deleted table become part of history, which takes a commit.
    if not repository.is_ancestor(ours.commit, pull.commit) or _temps(repository, gone):
        merged = merge_commits(repository, ours, pull.commit, pull.resolve)
        renames, gone = merged.renames, list(merged.gone)
    conflicts = [] if merged is None else list(merged.conflicts)
    conflicts.extend(_temps_of_deleted(repository, pull, gone))
    return _Comparison(merged=merged, renames=renames, gone=gone, conflicts=conflicts)


def _temps(repository: Repository, tables: Collection[str]) -> list[TempRef]:
    """Return the temporary instances of some tables."""
    temps = (temp_of_ref(ref) for ref in repository.temp_refs())
    return [temp for temp in temps if temp is not None and temp.table in tables]


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
    before: Mapping[str, str], now: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return renamed tables with their new names, and deleted ones."""
    both = before.keys() & now.keys()
    renames = {before[each]: now[each] for each in both if before[each] != now[each]}
    return renames, [name for each, name in before.items() if each not in now]


def table_names(snapshot: Snapshot) -> dict[str, str]:
    """Return the names of tables by id."""
    return {str(snapshot.table(name).id): name for name in snapshot.table_names()}


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
