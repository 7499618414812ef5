"""What an undo does to temporary instances: they go, come back, or get files back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tablevault.errors import TVFileError
from tablevault.history.checkout.temp_folders import ARTIFACTS_OF
from tablevault.history.commits.change import BranchChange, RemovedBranch
from tablevault.history.commits.differences import differences, edits_for, entry_at
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Edit, Graft, Remove
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import hash_file
from tablevault.model.view import VaultView
from tablevault.names import CommitId, frame_path, instance_dir, temp_of_ref
from tablevault.operations.tables import removed_branch
from tablevault.queries.undo_conflicts import refusal, temp_changed
from tablevault.queries.undo_effect import Effect, TempEffect
from tablevault.transactions.transaction import Transaction


@dataclass(slots=True, kw_only=True)
class Temps:
    """What becomes of branches."""

    made: list[BranchChange] = field(default_factory=list)
    gone: list[RemovedBranch] = field(default_factory=list)
    needed: list[Pointer] = field(default_factory=list)

    @property
    def branches(self) -> tuple[BranchChange, ...]:
        """Branches that get a commit."""
        return tuple(self.made)

    @property
    def removed(self) -> tuple[RemovedBranch, ...]:
        """Branches that are removed."""
        return tuple(self.gone)

    @property
    def needs(self) -> tuple[Pointer, ...]:
        """Objects that temporary instances need."""
        return tuple(self.needed)


def plan_temps(view: VaultView, tx: Transaction, effect: Effect, message: Message) -> Temps:
    """Plan what becomes of temporary instances; each has to be as the operation left it.

    Raises
    ------
    TVProcessError
        One was changed since, by another operation or by hand.
    """
    temps = Temps()
    _refuse_others(view, effect)
    for each in effect.temps:
        tip = view.repository.tip(each.ref.ref)
        if (tip is None) != (each.new is None):
            raise temp_changed(view, effect, each.ref, tip)
        if not each.is_whole:
            temps.made.append(_with_files(view, tx, effect, each, message))
        elif tip is None:
            assert each.old is not None
            temps.made.append(
                BranchChange(
                    temp=each.ref,
                    tip=None,
                    onto=each.old,
                    edits=_folder_of(view, each, each.old),
                    message=_saying_whose_artifacts(view, effect, each, message),
                    fresh=True,
                )
            )
        else:
            _take_away(view, tx, effect, each, temps, message)
        if each.is_whole and each.old is not None:
            temps.needed.extend(_frame_of(view, tx, effect, each, each.old))
    return temps


def _saying_whose_artifacts(
    view: VaultView, effect: Effect, each: TempEffect, message: Message
) -> Message:
    """Return where the artifacts of an instance that was written are: its author had put them."""
    made = Snapshot(view.repository, effect.commit.id).instance(each.ref.table, each.ref.version)
    if not effect.made or made is None or not made.external_edit:
        return message
    return replace(message, trailers=(*message.trailers, (ARTIFACTS_OF, effect.commit.id)))


def _refuse_others(view: VaultView, effect: Effect) -> None:
    """Refuse to take a table away in which temporary instances were made since."""
    if not effect.is_of_table or effect.table_id not in effect.made:
        return
    known = {each.ref for each in effect.temps}
    for ref, tip in view.repository.temp_refs().items():
        temp = temp_of_ref(ref)
        if temp is not None and temp.table == effect.table and temp not in known:
            raise temp_changed(view, effect, temp, tip)


def _with_files(
    view: VaultView, tx: Transaction, effect: Effect, each: TempEffect, message: Message
) -> BranchChange:
    """Give files of a temporary instance back the text that they had."""
    repository = view.repository
    draft = tx.edited_branch(each.ref)
    folder = instance_dir(each.ref.table, each.ref.version)
    now = Snapshot(repository, draft.commit)
    assert each.old is not None
    assert each.new is not None
    changed = differences(Snapshot(repository, each.old), Snapshot(repository, each.new), folder)
    for one in changed:
        if entry_at(now, one.path) != one.new:
            raise temp_changed(view, effect, each.ref, draft.commit)
    return BranchChange(
        temp=each.ref,
        tip=draft.tip,
        onto=draft.commit,
        edits=tuple(edits_for([(one.path, one.old) for one in changed])),
        message=message,
    )


def _take_away(
    view: VaultView,
    tx: Transaction,
    effect: Effect,
    each: TempEffect,
    temps: Temps,
    message: Message,
) -> None:
    """Remove a temporary instance, or put the one back that it had replaced."""
    draft = tx.edited_branch(each.ref)
    assert each.new is not None
    if _tree(view, each, draft.commit) != _tree(view, each, each.new):
        raise temp_changed(view, effect, each.ref, draft.commit)
    if each.old is None:
        _refuse_lost_files(view, effect, each)
        temps.gone.append(removed_branch(draft))
        return
    temps.made.append(
        BranchChange(
            temp=each.ref,
            tip=draft.tip,
            onto=draft.commit,
            edits=_folder_of(view, each, each.old),
            message=message,
            fresh=True,
        )
    )


def _refuse_lost_files(view: VaultView, effect: Effect, each: TempEffect) -> None:
    """Refuse to remove a folder with files that are nowhere else."""
    folder = view.parts.temp_folders.artifacts(each.ref)
    # What is done again brings its instance back, whose artifacts these may be.
    known = {}
    if effect.ended:
        before = Snapshot(view.repository, effect.commit.parents[0])
        known = before.artifacts(each.ref.table, each.ref.version)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    lost = [
        name
        for name, path in names.items()
        if name not in known or known[name].oid != hash_file(path)
    ]
    if lost:
        raise refusal(
            effect,
            f'files were put into {folder} since, "{lost[0]}" for one',
            "Move them elsewhere, and undo then.",
        )


def _tree(view: VaultView, each: TempEffect, commit: CommitId) -> str | None:
    """Return the folder of a temporary instance at a commit."""
    folder = instance_dir(each.ref.table, each.ref.version)
    return Snapshot(view.repository, commit).tree_id(folder)


def _folder_of(view: VaultView, each: TempEffect, commit: CommitId) -> tuple[Edit, ...]:
    """Put the folder of a temporary instance as it was at a commit."""
    folder = instance_dir(each.ref.table, each.ref.version)
    tree = _tree(view, each, commit)
    kept = () if tree is None else (Graft(path=folder, source=tree),)
    return (Remove(path=folder), *kept)


def _frame_of(
    view: VaultView, tx: Transaction, effect: Effect, each: TempEffect, commit: CommitId
) -> list[Pointer]:
    """Hold on to the dataframe that a temporary instance was begun with."""
    path = frame_path(each.ref.table, each.ref.version)
    try:
        pointer = Snapshot(view.repository, commit).pointer(path)
    except TVFileError:
        return []  # committed around LFS: git has it
    if pointer is None:
        return []
    if tx.pin([pointer]):
        raise refusal(
            effect,
            f'the dataframe that {each.ref.instance_id} of table "{each.ref.table}" began with '
            "was deleted for good",
            f"Its builders are in history: git show --stat {commit[:12]}",
        )
    return [pointer]
