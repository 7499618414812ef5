"""What a pull publishes: ``main`` moves on, or fetched commits are merged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from tablevault.errors import TVLockError, TVRemoteError
from tablevault.history.change import Change, RemovedBranch
from tablevault.history.joining import merge_commits
from tablevault.history.merge import Conflict, Merged, Side
from tablevault.history.message import Message, trailers
from tablevault.history.renaming import renamed_branch
from tablevault.history.snapshot import Snapshot
from tablevault.journal.locks import alone, pull_hold, table_hold
from tablevault.journal.operation import NOT_RECORDED, Operation, Tip, operation
from tablevault.journal.record import Hold, Record
from tablevault.journal.transaction import EditedBranch, Transaction
from tablevault.names import CommitId, TempRef, table_dir, temp_of_ref
from tablevault.vault import Vault
from tablevault.wording import Call, Wording


@operation("pull", restarts=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class Pull(Operation[Vault, None]):
    """Move ``main`` on to what was fetched, or merge that with what was done here.

    Tables that are renamed or deleted are claimed, each with both names, as ``rename_table`` and
    ``delete_table`` claim them: what runs on them ends first, what is paused stands in the way.
    Everything else may go on.

    Raises
    ------
    TVRemoteError
        Both sides changed the same. Nothing has changed.
    TVLockError
        A process holds a table that is to be renamed or deleted.
    """

    remote: str
    """Where the commit came from, for messages."""
    commit: CommitId
    """Is in the object database, and was validated."""
    resolve: Mapping[str, Side]
    """How conflicts are to be resolved: "ours" or "theirs" by path."""
    touched: frozenset[str] = field(default=frozenset(), metadata=NOT_RECORDED)
    """Tables that get another name, or none."""

    def gathered(self, vault: Vault) -> Self:
        """Find the tables to claim."""
        return replace(self, touched=_compare(vault, self, vault.snapshot()).touched)

    def claims(self, vault: Vault, record: Record, snapshot: Snapshot) -> Sequence[Hold]:
        """Claim the right to pull, and these tables."""
        tables = [alone(table_hold(name, exclusive=True)) for name in sorted(self.touched)]
        return [pull_hold(), *tables]

    def plan(self, vault: Vault, tx: Transaction, prepared: None, tip: Tip) -> Change:
        """Plan the merge anew: somebody may have committed meanwhile."""
        found = _compare(vault, self, tip.snapshot)
        if found.conflicts:
            raise _conflict_error(self.remote, found.conflicts)
        if not found.touched <= self.touched:
            raise TVLockError(
                "Tables were renamed or deleted here while the pull waited for others.",
                "Pull again.",
            )
        branches = tuple(
            renamed_branch(
                vault.journal.repository,
                each.temp,
                each.tip,
                each.commit,
                found.renames[each.temp.table],
            )
            for each in _edited_branches(vault, tx, found.renames)
        )
        if found.merged is None:
            message = Message(subject=f"pull {self.remote}")
            return Change(message=message, forward=self.commit, branches=branches)
        pairs = [
            ("Operation", self.operation_name),
            ("Process", tx.process_id),
            *(("Deactivates", instance) for instance in found.merged.superseded),
            tip.time,
        ]
        return Change(
            message=Message(subject=f"pull {self.remote}: merge", trailers=trailers(pairs)),
            main=tuple(found.merged.edits),
            merges=(self.commit,),
            branches=branches,
            removed=tuple(
                RemovedBranch(temp=each.temp, tip=each.tip, onto=each.commit)
                for each in _edited_branches(vault, tx, found.gone)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """What a pull comes to.

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
        """Tables that get another name, or none."""
        return frozenset((*self.renames, *self.renames.values(), *self.gone))


def _compare(vault: Vault, pull: Pull, ours: Snapshot) -> _Comparison:
    """Compare what is here with what was fetched."""
    repository = vault.journal.repository
    before = table_names(ours)
    renames, gone = changed_names(before, table_names(Snapshot(repository, pull.commit)))
    merged = None
    # The temporary instances of a deleted table become part of history, which takes a commit.
    if not repository.is_ancestor(ours.commit, pull.commit) or _temps(vault, gone):
        merged = merge_commits(repository, ours, pull.commit, pull.resolve)
        renames, gone = merged.renames, list(merged.gone)
    conflicts = [] if merged is None else list(merged.conflicts)
    conflicts.extend(_temps_of_deleted(vault, pull, gone))
    return _Comparison(merged=merged, renames=renames, gone=gone, conflicts=conflicts)


def _temps(vault: Vault, tables: Collection[str]) -> list[TempRef]:
    """List the temporary instances of some tables."""
    temps = (temp_of_ref(ref) for ref in vault.journal.repository.temp_refs())
    return [temp for temp in temps if temp is not None and temp.table in tables]


def _temps_of_deleted(vault: Vault, pull: Pull, gone: Collection[str]) -> Iterator[Conflict]:
    """Find tables that are deleted there, and have a temporary instance here."""
    for temp in _temps(vault, gone):
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


def _edited_branches(vault: Vault, tx: Transaction, tables: Collection[str]) -> list[EditedBranch]:
    """Take in what was edited by hand in the temporary instances of some tables."""
    return [tx.edited_branch(temp) for temp in _temps(vault, tables)]


def changed_names(
    before: Mapping[str, str], now: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the tables that have another name, with that, and those that are gone."""
    both = before.keys() & now.keys()
    renames = {before[each]: now[each] for each in both if before[each] != now[each]}
    return renames, [name for each, name in before.items() if each not in now]


def table_names(snapshot: Snapshot) -> dict[str, str]:
    """Return the names of tables by their ids."""
    return {str(snapshot.table(name).id): name for name in snapshot.table_names()}


def _conflict_error(remote: str, conflicts: Sequence[Conflict]) -> TVRemoteError:
    """Make the error that names every conflict and the way out of each."""
    lines: list[str] = []
    for each in conflicts:
        lines += [f"\n  {each.path}: {each.problem}.", " " if each.hint else "", each.hint]
    return TVRemoteError(
        Wording(
            f'What was done here and what came from "{remote}" do not go together; nothing has '
            "changed.",
            *lines,
        ),
        remote=remote,
        paths=", ".join(each.path for each in conflicts),
    )
