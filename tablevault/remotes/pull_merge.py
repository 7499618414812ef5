"""What a pull publishes: ``main`` moves on, or two sides are joined; planned on each newer tip."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from tablevault.errors import TVLockError, TVRemoteError
from tablevault.history.change import BranchChange, Change, RemovedBranch
from tablevault.history.documents import timestamp
from tablevault.history.joining import merge_commits
from tablevault.history.merge import Conflict, Merged, Side
from tablevault.history.message import Message, trailers
from tablevault.history.renaming import renamed_branch
from tablevault.history.snapshot import Snapshot
from tablevault.journal.locks import alone, pull_hold, table_hold
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Json, Request
from tablevault.names import CommitId, TempRef, table_dir, temp_of_ref
from tablevault.vault import Vault
from tablevault.wording import Call, Wording


class Joint:
    """What came from a remote, joined with what is here.

    Parameters
    ----------
    vault : Vault
        Ours.
    remote : str
        Where `theirs` came from, for messages.
    theirs : CommitId
        Is in the object database, and was looked through.
    choices : dict of path to "ours" or "theirs"
        How conflicts are to be resolved.
    """

    def __init__(
        self, vault: Vault, remote: str, theirs: CommitId, choices: Mapping[str, Side]
    ) -> None:
        self._vault = vault
        self._remote = remote
        self._theirs = theirs
        self._choices = choices
        self.merged: Merged | None = None
        """None when ``main`` only moved on."""
        self.renames: dict[str, str] = {}
        self._gone: Collection[str] = ()

    def publish(self) -> str:
        """Publish; give the id of the process.

        Tables that are renamed or deleted are held meanwhile, each with both names, as
        ``rename_table`` and ``delete_table`` hold them: what runs on them ends first, what is
        paused stands in the way. Everything else may go on.

        Raises
        ------
        TVRemoteError
            Both sides changed the same. Nothing has changed.
        TVLockError
            A process holds a table that is to be renamed or deleted.
        """
        self._compare(self._vault.snapshot(), heeds_conflicts=False)
        touched = self._touched()
        arguments: dict[str, Json] = {
            "remote": self._remote,
            "commit": self._theirs,
            "resolve": dict(self._choices),
        }

        def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
            tables = [alone(table_hold(name, exclusive=True)) for name in sorted(touched)]
            return [pull_hold(), *tables]

        request = Request(operation="pull", arguments=arguments)
        with running(self._vault.journal, request, self._vault.actor(""), setup) as operation:

            def plan(ours: Snapshot, at: float) -> Change:
                self._compare(ours, heeds_conflicts=True)
                if not self._touched() <= touched:
                    raise TVLockError(
                        "Tables were renamed or deleted here while the pull waited for others.",
                        "Pull again.",
                    )
                return self._change(operation, at)

            operation.publish(plan)
        return operation.process_id

    def _compare(self, ours: Snapshot, *, heeds_conflicts: bool) -> None:
        """Find out what it comes to."""
        repository = self._vault.journal.repository
        names, now = (_names(each) for each in (ours, Snapshot(repository, self._theirs)))
        both = names.keys() & now.keys()
        self.merged = None
        self.renames = {names[each]: now[each] for each in both if names[each] != now[each]}
        self._gone = [name for each, name in names.items() if each not in now]
        # What is drafted for a deleted table becomes part of history, which takes a commit.
        if not repository.is_ancestor(ours.commit, self._theirs) or self._temps(self._gone):
            self.merged = merge_commits(repository, ours, self._theirs, self._choices)
            self.renames, self._gone = self.merged.renames, self.merged.gone
        conflicts = [] if self.merged is None else list(self.merged.conflicts)
        conflicts.extend(self._drafts_of_deleted())
        if conflicts and heeds_conflicts:
            raise _conflict_error(self._remote, conflicts)

    def _touched(self) -> set[str]:
        """Return the names of tables that get another name, or none."""
        return {*self.renames, *self.renames.values(), *self._gone}

    def _temps(self, tables: Collection[str]) -> list[TempRef]:
        """List the temporary instances of some tables."""
        temps = (temp_of_ref(ref) for ref in self._vault.journal.repository.temp_refs())
        return [temp for temp in temps if temp is not None and temp.table in tables]

    def _drafts_of_deleted(self) -> Iterator[Conflict]:
        """Find tables that are deleted there, while something is drafted for them here."""
        for temp in self._temps(self._gone):
            path = table_dir(temp.table)
            if self._choices.get(path) != "theirs":
                yield Conflict(
                    path=path,
                    problem=f'it was deleted there, and has temporary instance "{temp.version}"'
                    " here",
                    hint=Wording(
                        "A deletion cannot be taken back: ",
                        Call("pull", resolve={path: "theirs"}),
                        " accepts it. Save what you need of the instance before.",
                    ),
                )

    def _change(self, operation: Operation, at: float) -> Change:
        """Make the change."""
        branches = self._renamed(operation)
        if self.merged is None:
            message = Message(subject=f"pull {self._remote}")
            return Change(message=message, forward=self._theirs, branches=branches)
        record = operation.record
        pairs = [
            ("Operation", record.request.operation),
            ("Process", record.process_id),
            *(("Deactivates", instance) for instance in self.merged.superseded),
            ("Time", timestamp(at)),
        ]
        return Change(
            message=Message(subject=f"pull {self._remote}: merge", trailers=trailers(pairs)),
            main=tuple(self.merged.edits),
            merges=(self._theirs,),
            branches=branches,
            removed=tuple(
                RemovedBranch(temp=draft.temp, tip=draft.tip, onto=draft.commit)
                for draft in self._drafts(operation, self._gone)
            ),
        )

    def _renamed(self, operation: Operation) -> tuple[BranchChange, ...]:
        """Carry the temporary instances of renamed tables over to the new names."""
        repository = self._vault.journal.repository
        return tuple(
            renamed_branch(
                repository, draft.temp, draft.tip, draft.commit, self.renames[draft.temp.table]
            )
            for draft in self._drafts(operation, self.renames)
        )

    def _drafts(self, operation: Operation, tables: Collection[str]) -> list[TempDraft]:
        """Take in what was edited by hand in the temporary instances of some tables."""
        return [operation.drafted(temp) for temp in self._temps(tables)]


def _names(snapshot: Snapshot) -> dict[str, str]:
    """Return the names of tables by their ids."""
    return {str(snapshot.table(name).id): name for name in snapshot.table_names()}


def _conflict_error(remote: str, conflicts: Sequence[Conflict]) -> TVRemoteError:
    """Return the error that names every conflict and the way out of each."""
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
