"""What one operation did, read from the commit that stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tablevault.errors import TVArgumentError, TVProcessError
from tablevault.history.catalog.catalog import IndexedProcess
from tablevault.history.catalog.fold import DEACTIVATION, cause_in
from tablevault.history.commits.differences import Difference, differences
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.repository import Commit
from tablevault.model.view import VaultView
from tablevault.names import CommitId, TempRef
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
        DEACTIVATION,
        UNDO,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TempEffect:
    """What became of a temporary instance."""

    ref: TempRef
    old: CommitId | None
    """A commit that holds it as it was; None when there was none."""
    new: CommitId | None
    is_whole: bool = True
    """It came or went as a whole; else files of it were changed."""

    @property
    def turned(self) -> TempEffect:
        """What takes it back."""
        return replace(self, old=self.new, new=self.old)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one operation did."""

    process: IndexedProcess
    commit: Commit
    paths: tuple[Difference, ...] = ()
    """What it changed on ``main``."""
    temps: tuple[TempEffect, ...] = ()
    made: tuple[str, ...] = ()
    """Instances and tables, by id, that are there since."""
    ended: tuple[str, ...] = ()
    """Those that are not there any more."""
    deactivated: tuple[str, ...] = ()
    reactivated: tuple[str, ...] = ()
    renamed: tuple[str, str] | None = None
    """Old and new name of a table."""
    cause: str
    """The process that counts as the one that made instances inactive."""

    @property
    def table(self) -> str:
        """Name of the table that it was about, "" for code."""
        return self.commit.message.first("Vault-Table")

    @property
    def table_id(self) -> str:
        """Id of that table, "" where the commit does not tell."""
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


def effect_of(view: VaultView, process: IndexedProcess) -> Effect:
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
            f"See what it did: git show {process.commit[:12]}",
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
    return Effect(
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
    """Return what became of temporary instances."""
    repository, message = view.repository, commit.message
    table, version = message.first("Vault-Table"), message.first("Vault-Version")
    if process.operation == UNDO:
        undone = view.catalog.process(message.first("Vault-Undoes"))
        assert undone is not None
        known = _temps(view, undone, repository.commit(undone.commit))
        return [temp.turned for temp in known]
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
