"""Undo one operation by a new commit; undoing that commit repeats the operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tablevault.history.catalog.fold import DEACTIVATION
from tablevault.history.commits.change import Change
from tablevault.history.git.commit_message import Message
from tablevault.model.view import VaultView
from tablevault.names import CODE_DIR, VAULT_DOCUMENT, table_document
from tablevault.operations.tables import edited_branches, rename_pairs, renaming
from tablevault.operations.undo_changes import Main, plan_main, plan_temps
from tablevault.operations.undo_effect import (
    UNDO,
    UndoEffect,
    effect_of,
    find_operation,
    path_changed,
    refusal,
    table_changed,
)
from tablevault.transactions.claims import (
    alone,
    artifacts_hold,
    code_hold,
    config_hold,
    instance_hold,
    table_hold,
    temp_hold,
)
from tablevault.transactions.operation import Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, Named, OperationName, Wording


@operation(UNDO)
@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Operation[Vault, VaultView, None]):
    """Undo what a process did."""

    process_id: str
    """The process to undo."""

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim all that changes."""
        return _holds(_find(view, self.process_id))

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Plan the commit on top of what was done since."""
        effect = _find(view, self.process_id)
        if effect.renamed is not None:
            return _plan_renaming(tx, effect, at)
        _refuse_other_table(effect)
        main = plan_main(tx, effect)
        message = _message(tx, effect, main, at)
        step = tx.message(
            message.subject, [("Table", effect.table), ("Step", "temporary instance")]
        )
        temps = plan_temps(tx, effect, step)
        return Change(
            message=message,
            main=main.edits,
            branches=tuple(temps.branches),
            removed=tuple(temps.removed),
            tagged=main.tagged,
            untagged=main.untagged,
            needs=(*main.needs, *temps.needs),
        )


def _find(view: VaultView, target: str) -> UndoEffect:
    """Find what an operation did; refuse what is undone, or part of something that is not.

    Raises
    ------
    TVArgumentError
        No process has that id.
    TVProcessError
        It cannot be undone.
    """
    index = view.catalog
    process = find_operation(view, target)
    effect = effect_of(view, process)
    if by := index.undone_by(process.process_id):
        raise refusal(
            effect,
            f'undo "{by}" has done that',
            Wording("To have it again: ", Call("undo", process_id=by), "."),
            blocking=by,
        )
    parent = index.process(process.parent) if process.operation == DEACTIVATION else None
    if parent is not None and not index.undone_by(parent.process_id):
        raise refusal(
            effect,
            Wording(
                "it is the beginning of ",
                OperationName(parent.operation),
                f' "{parent.process_id}"',
            ),
            Wording("Undo that: ", Call("undo", process_id=parent.process_id), "."),
            blocking=parent.process_id,
        )
    within = [
        child
        for child in index.children(process.process_id)
        if child.operation != DEACTIVATION and not index.undone_by(child.process_id)
    ]
    if within:
        listed: list[str | Named] = []
        for child in within[::-1]:
            listed += [", ", OperationName(child.operation), f' "{child.process_id}"']
        raise refusal(
            effect,
            Wording("functions that it called have used the vault: ", *listed[1:]),
            "Undo these first, in this order.",
            blocking=within[-1].process_id,
        )
    return effect


def _holds(effect: UndoEffect) -> list[Hold]:
    """Claim all that changes."""
    table = effect.table
    if effect.renamed is not None:
        return [alone(table_hold(name)) for name in effect.renamed]
    if effect.is_of_table or effect.deactivated or effect.reactivated:
        return [alone(table_hold(table))]
    holds = [temp_hold(temp.ref.table, temp.ref.version) for temp in effect.temps]
    subjects = (*effect.made, *effect.ended)
    holds.extend(instance_hold(table, each, exclusive=True) for each in subjects)
    paths = [each.path for each in effect.paths]
    if any(path.startswith(f"{CODE_DIR}/") for path in paths):
        holds.append(code_hold(exclusive=True))
    if VAULT_DOCUMENT in paths:
        holds.append(config_hold())
    if table and table_document(table) in paths:
        holds.append(artifacts_hold(table))
    return holds


def _plan_renaming(tx: Transaction, effect: UndoEffect, at: float) -> Change:
    """Rename a table back, with all that was made in it since."""
    assert effect.renamed is not None
    old, new = effect.renamed
    snapshot = effect.view.snapshot
    if not snapshot.has_table(new) or snapshot.table(new).id != effect.table_id:
        raise table_changed(effect, new)
    if snapshot.has_table(old):
        raise path_changed(effect, table_document(old))
    pairs = rename_pairs(snapshot.table(new), new, old)
    pairs.append(("Undoes", effect.process.process_id))
    message = tx.message(_subject(effect), pairs, at=at)
    return renaming(effect.view, edited_branches(effect.view, tx, new), new, old, message)


def _refuse_other_table(effect: UndoEffect) -> None:
    """Refuse when the table was renamed or deleted since; another one may carry its name."""
    table = effect.table
    if not table or effect.is_of_table:
        return
    then = effect.after.table(table)
    if not effect.view.is_table(table, then.id):
        raise table_changed(effect, table)


def _message(tx: Transaction, effect: UndoEffect, main: Main, at: float) -> Message:
    """Write the message of the commit."""
    undone = effect.commit.message
    return tx.message(
        _subject(effect),
        [
            ("Undoes", effect.process.process_id),
            ("Cause", effect.cause if effect.deactivated else ""),
            ("Table", effect.table),
            ("Table-Id", main.table_id),
            ("Version", undone.first("Vault-Version")),
            *(("Withdraws", subject) for subject in effect.made),
            *(("Restores", subject) for subject in effect.ended),
            *(("Deactivates", each) for each in effect.reactivated),
            *(("Reactivates", each) for each in effect.deactivated),
        ],
        at=at,
    )


def _subject(effect: UndoEffect) -> str:
    """Return what is taken back; an undo that is undone is a redo."""
    subject = effect.commit.message.subject
    if subject.startswith("undo: "):
        return f"redo: {subject.removeprefix('undo: ')}"
    return f"undo: {subject.removeprefix('redo: ')}"
