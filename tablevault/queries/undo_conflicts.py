"""Who changed something after an operation, and the error that says so."""

from __future__ import annotations

from collections.abc import Callable

from tablevault.errors import TVProcessError
from tablevault.history.catalog.fold import DEACTIVATION
from tablevault.history.commits.differences import entry_at
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.commits.write_change import BY_HAND
from tablevault.history.git.repository import Commit
from tablevault.model.view import VaultView
from tablevault.names import CommitId, TempRef, table_document
from tablevault.queries.undo_effect import Effect
from tablevault.wording import Call, OperationName, Wording


def refusal(effect: Effect, reason: str, hint: str, **facts: str) -> TVProcessError:
    """Make the error for an operation that cannot be undone."""
    process = effect.process
    return TVProcessError(
        Wording(
            OperationName(process.operation), f' "{process.process_id}" cannot be undone: {reason}.'
        ),
        hint,
        process=process.process_id,
        **facts,
    )


def changed_since(effect: Effect, what: str, commit: Commit | None) -> TVProcessError:
    """Make the error that names the operation that changed something since."""
    if commit is None:
        return refusal(effect, f"{what} is not as it was left", "See git log for what happened.")
    message = commit.message
    blocking, operation = message.first("Vault-Process"), message.first("Vault-Operation")
    at = message.first("Vault-Time")
    told = f"{message.subject!r}, {commit.author}" + (f", {at}" if at else "")
    hint: str
    if blocking:
        by, hint = (
            f'{operation} "{blocking}"',
            Wording("Undo that first: ", Call("undo", process_id=blocking), "."),
        )
    elif operation == BY_HAND:
        by = "an edit by hand"
        hint = f"Put it back as it was: git show {effect.commit.id[:12]}"
    else:
        by = f"commit {commit.id[:12]}"
        hint = f"Take that back first: git revert {commit.id[:12]}"
    return refusal(
        effect,
        f"{what} was changed since by {by} ({told})",
        hint,
        blocking=blocking,
        operation=operation,
        author=commit.author,
        at=at,
        commit=commit.id,
    )


def path_changed(view: VaultView, effect: Effect, path: str) -> TVProcessError:
    """Make the error for a path on ``main`` that is not as the operation left it."""

    def differs(before: Snapshot, after: Snapshot) -> bool:
        return entry_at(before, path) != entry_at(after, path)

    return changed_since(effect, f'"{path}"', _last_change(view, differs))


def table_changed(view: VaultView, effect: Effect, table: str) -> TVProcessError:
    """Make the error for a table that is not there any more, or has another name."""
    path = table_document(table)

    def differs(before: Snapshot, after: Snapshot) -> bool:
        return (before.blob_id(path) is None) != (after.blob_id(path) is None)

    return changed_since(effect, f'table "{table}"', _last_change(view, differs))


def temp_changed(
    view: VaultView, effect: Effect, temp: TempRef, draft: CommitId | None
) -> TVProcessError:
    """Make the error for a temporary instance that is not as the operation left it.

    `draft` is the tip of its branch, or a commit on top of it with what was edited by hand; None
    when there is no branch.
    """
    what = f'{temp.instance_id} of table "{temp.table}"'
    repository = view.repository
    if draft is not None:
        commit = repository.commit(draft)
        if commit.message.first("Vault-Operation") == BY_HAND and draft != repository.tip(temp.ref):
            return refusal(
                effect,
                f"{what} was edited by hand since",
                f"Put the files in {temp.face} back as they were, or keep them elsewhere: "
                f"git show {temp.ref.removeprefix('refs/heads/')}",
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

    return changed_since(effect, what, _last(view, ends))


def deactivated_since(view: VaultView, effect: Effect, instance_id: str) -> TVProcessError | None:
    """Make the error for an instance that a later operation made inactive; None if none did."""
    index, repository = view.catalog, view.repository
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
