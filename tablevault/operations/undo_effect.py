"""What an operation did, and what was changed after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tablevault.errors import TVArgumentError, TVProcessError
from tablevault.history.catalog.catalog import IndexedProcess
from tablevault.history.catalog.fold import DEACTIVATION, cause_in
from tablevault.history.commits.change import BY_HAND
from tablevault.history.commits.snapshot import Difference, Snapshot, differences, entry_at
from tablevault.history.git.repository import Commit
from tablevault.model.view import VaultView
from tablevault.names import CommitId, TempRef, table_document
from tablevault.wording import Call, OperationName, Wording

UNDO = "undo"
_ON_BRANCH = frozenset({"create_instance", "create_builder_file", "delete_builder_file"})
_MAKES_INSTANCE = frozenset({"execute_instance", "write_instance", "stop_process"})
_KNOWN = (
    _ON_BRANCH
    | _MAKES_INSTANCE
    | {
        "create_table",
        "rename_table",
        "delete_table",
        "delete_instance",
        "create_code_module",
        "delete_code_module",
        "set_config",
        "add_remote",
        DEACTIVATION,
        UNDO,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TempEffect:
    """The change of a temporary instance."""

    ref: TempRef
    old: CommitId | None
    """A commit that holds it as it was; None when there was none."""
    new: CommitId | None
    is_whole: bool = True
    """It came or went as a whole; else files of it were changed."""

    @property
    def reversed(self) -> TempEffect:
        """What takes it back."""
        return replace(self, old=self.new, new=self.old)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoEffect:
    """The effect of one operation.

    Attributes
    ----------
    view : VaultView
        The vault in which it is to be undone.
    """

    view: VaultView
    process: IndexedProcess
    commit: Commit
    paths: tuple[Difference, ...] = ()
    """Its changes on ``main``."""
    temps: tuple[TempEffect, ...] = ()
    made: tuple[str, ...] = ()
    """Instances and tables that it made, by id."""
    ended: tuple[str, ...] = ()
    """Instances and tables that it ended, by id."""
    deactivated: tuple[str, ...] = ()
    reactivated: tuple[str, ...] = ()
    renamed: tuple[str, str] | None = None
    """Old and new name of a table."""
    cause: str
    """The process that counts as the one that made instances inactive."""

    @property
    def before(self) -> Snapshot:
        """The files before it."""
        return Snapshot(self.view.repository, self.commit.parents[0])

    @property
    def after(self) -> Snapshot:
        """The files that it left."""
        return Snapshot(self.view.repository, self.commit.id)

    @property
    def table(self) -> str:
        """Name of the table that it was about, "" for code."""
        return self.commit.message.first("Vault-Table")

    @property
    def table_id(self) -> str:
        """Id of that table, "" where the commit does not say."""
        return self.commit.message.first("Vault-Table-Id")

    @property
    def is_of_table(self) -> bool:
        """Return whether a whole table came, went, or was renamed."""
        return self.renamed is not None or self.table_id in (*self.made, *self.ended)


def find_operation(view: VaultView, process_id: str) -> IndexedProcess:
    """Find an operation that left a commit.

    Raises
    ------
    TVArgumentError
        No process has that id.
    TVProcessError
        It has not ended, or it failed.
    """
    found = view.catalog.process(process_id) if process_id else None
    if found is not None:
        return found
    if process_id in {record.process_id for record in view.parts.files.every()}:
        raise TVProcessError(
            f'Process "{process_id}" has not ended, so there is nothing to undo.',
            Wording("Give it up: ", Call("stop_process", to_stop_process_id=process_id), "."),
            process=process_id,
        )
    if process_id and view.parts.files.remembers(process_id):
        raise TVProcessError(
            f'Process "{process_id}" left no commit: it failed, or had nothing to change.',
            "There is nothing to undo.",
            process=process_id,
        )
    raise TVArgumentError(
        f'There is no process "{process_id}".',
        Wording(Call("log"), " lists them."),
        process=process_id,
    )


def effect_of(view: VaultView, process: IndexedProcess) -> UndoEffect:
    """Read what an operation did.

    Raises
    ------
    TVProcessError
        It is of a kind that cannot be undone.
    """
    if process.operation not in _KNOWN:
        raise TVProcessError(
            Wording(
                OperationName(process.operation),
                f' "{process.process_id}" is of a kind that cannot be undone.',
            ),
            f"See what it did: `git show {process.commit[:12]}`.",
            process=process.process_id,
            operation=process.operation,
        )
    repository = view.repository
    commit = repository.commit(process.commit)
    message = commit.message
    made, ended = _came_and_went(commit)
    old_name = message.first("Vault-Renames")
    cause = cause_in(message)
    paths: Sequence[Difference] = ()
    if process.operation not in _ON_BRANCH and not old_name:
        paths = differences(
            Snapshot(repository, commit.parents[0]), Snapshot(repository, commit.id)
        )
    return UndoEffect(
        view=view,
        process=process,
        commit=commit,
        paths=tuple(paths),
        temps=tuple(_temps(view, process, commit)),
        made=made,
        ended=ended,
        deactivated=tuple(view.catalog.still_deactivated_by(cause)),
        reactivated=message.every("Vault-Reactivates") if process.operation == UNDO else (),
        renamed=(old_name, message.first("Vault-Table")) if old_name else None,
        cause=cause,
    )


def _came_and_went(commit: Commit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the instances and tables that came to be, and those that ended."""
    message = commit.message
    made = (*message.every("Vault-Instance"), *message.every("Vault-Restores"))
    if message.first("Vault-Operation") == "create_table":
        made = message.every("Vault-Table-Id")
    return made, (*message.every("Vault-Deletes"), *message.every("Vault-Withdraws"))


def _temps(view: VaultView, process: IndexedProcess, commit: Commit) -> list[TempEffect]:
    """Return the changes of temporary instances."""
    repository, message = view.repository, commit.message
    table, version = message.first("Vault-Table"), message.first("Vault-Version")
    if process.operation == UNDO:
        undone = view.catalog.process(message.first("Vault-Undoes"))
        assert undone is not None
        known = _temps(view, undone, repository.commit(undone.commit))
        return [temp.reversed for temp in known]
    merged = commit.parents[1:]
    if process.operation == "delete_table":
        versions = message.every("Vault-Temp")
        return [
            TempEffect(ref=TempRef(table=table, version=each), old=old, new=None)
            for each, old in zip(versions, merged, strict=True)
        ]
    if not version:
        return []
    old, new = _old_and_new(view, process, commit)
    if old is None and new is None:
        return []
    is_edit = process.operation in _ON_BRANCH and process.operation != "create_instance"
    ref = TempRef(table=table, version=version)
    return [TempEffect(ref=ref, old=old, new=new, is_whole=not is_edit)]


def _old_and_new(
    view: VaultView, process: IndexedProcess, commit: Commit
) -> tuple[CommitId | None, CommitId | None]:
    """Return the commits that hold the temporary instance of an operation before and after it."""
    merged = commit.parents[1:]
    if process.operation == "create_instance":
        return (merged[0] if merged else None), commit.id
    if process.operation in _ON_BRANCH:
        return commit.parents[0], commit.id
    if process.operation in _MAKES_INSTANCE:
        return view.repository.commit(merged[0]).parents[0], None
    return (merged[0] if merged else None), None


# -- what was changed since ---------------------------------------------------------------------


def refusal(effect: UndoEffect, reason: str, hint: str, **facts: str) -> TVProcessError:
    """Make the error for an operation that cannot be undone."""
    process = effect.process
    return TVProcessError(
        Wording(
            OperationName(process.operation),
            f' "{process.process_id}" cannot be undone: ',
            reason,
            ".",
        ),
        hint,
        process=process.process_id,
        **facts,
    )


def changed_since(effect: UndoEffect, what: str, commit: Commit | None) -> TVProcessError:
    """Make the error that names the operation that changed something since."""
    if commit is None:
        return refusal(effect, f"{what} is not as it was left", "`git log` says what happened.")
    message = commit.message
    blocking, operation = message.first("Vault-Process"), message.first("Vault-Operation")
    at = message.first("Vault-Time")
    shown = f"{message.subject!r}, {commit.author}" + (f", {at}" if at else "")
    by: str
    hint: str
    if blocking:
        by = Wording(OperationName(operation), f' "{blocking}"')
        hint = Wording("Undo that first: ", Call("undo", process_id=blocking), ".")
    elif operation == BY_HAND:
        by = "an edit by hand"
        hint = f"Put it back as it was: `git show {effect.commit.id[:12]}`."
    else:
        by = f"commit {commit.id[:12]}"
        hint = f"Take that back first: `git revert {commit.id[:12]}`."
    return refusal(
        effect,
        Wording(f"{what} was changed since by ", by, f" ({shown})"),
        hint,
        blocking=blocking,
        operation=operation,
        author=commit.author,
        at=at,
        commit=commit.id,
    )


def path_changed(effect: UndoEffect, path: str) -> TVProcessError:
    """Make the error for a path on ``main`` that is not as the operation left it."""

    def differs(before: Snapshot, after: Snapshot) -> bool:
        return entry_at(before, path) != entry_at(after, path)

    return changed_since(effect, f'"{path}"', _last_change(effect.view, differs))


def table_changed(effect: UndoEffect, table: str) -> TVProcessError:
    """Make the error for a table that is not there any more, or has another name."""
    path = table_document(table)

    def differs(before: Snapshot, after: Snapshot) -> bool:
        return (before.blob_id(path) is None) != (after.blob_id(path) is None)

    return changed_since(effect, f'table "{table}"', _last_change(effect.view, differs))


def temp_changed(effect: UndoEffect, temp: TempRef, draft: CommitId | None) -> TVProcessError:
    """Make the error for a temporary instance that is not as the operation left it.

    `draft` is the tip of its branch, or a commit on top of it with what was edited by hand; None
    when there is no branch.
    """
    what = f'{temp.instance_id} of table "{temp.table}"'
    repository = effect.view.repository
    if draft is not None:
        commit = repository.commit(draft)
        if commit.message.first("Vault-Operation") == BY_HAND and draft != repository.tip(temp.ref):
            return refusal(
                effect,
                f"{what} was edited by hand since",
                f"Put the files in {temp.folder} back as they were, or keep them elsewhere: "
                f"`git show {temp.ref.removeprefix('refs/heads/')}`.",
            )
        return changed_since(effect, what, commit)

    def ends(commit: Commit) -> bool:
        message = commit.message
        if message.first("Vault-Renames") == temp.table:
            return True
        if message.first("Vault-Table") != temp.table:
            return False
        return message.first("Vault-Version") == temp.version or bool(
            {temp.version} & set(message.every("Vault-Temp"))
        )

    return changed_since(effect, what, _last(effect.view, ends))


def deactivated_since(effect: UndoEffect, instance_id: str) -> TVProcessError | None:
    """Make the error for an instance that a later operation made inactive; None if none did."""
    index, repository = effect.view.catalog, effect.view.repository
    for cause in index.deactivations(instance_id):
        found = index.process(cause) or next(
            (each for each in index.children(cause) if each.operation == DEACTIVATION), None
        )
        if found is None or found.commit == effect.commit.id:
            continue
        if repository.is_ancestor(effect.commit.id, found.commit):
            return changed_since(
                effect, f'instance "{instance_id}"', repository.commit(found.commit)
            )
    return None


def _last_change(view: VaultView, differs: Callable[[Snapshot, Snapshot], bool]) -> Commit | None:
    """Find the newest commit on ``main`` with another content than the one before it."""

    def changes(commit: Commit) -> bool:
        before, after = (Snapshot(view.repository, each) for each in (commit.parents[0], commit.id))
        return differs(before, after)

    return _last(view, changes)


def _last(view: VaultView, condition: Callable[[Commit], bool]) -> Commit | None:
    """Find the newest commit on ``main`` for which something holds."""
    at = view.repository.commit(view.commit)
    while at.parents:
        if condition(at):
            return at
        at = view.repository.commit(at.parents[0])
    return None
