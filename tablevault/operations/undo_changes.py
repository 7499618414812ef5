"""What an undo changes: on ``main``, and in temporary instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tablevault.errors import TVFileError
from tablevault.files.disk import hash_file
from tablevault.history.catalog.fold import pointers_of
from tablevault.history.checkout.temp_folders import ARTIFACTS_OF
from tablevault.history.commits.change import BranchChange, RemovedBranch
from tablevault.history.commits.snapshot import (
    Snapshot,
    TreeEntry,
    differences,
    edits_for,
    entry_at,
)
from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Edit, Graft, Put, Remove
from tablevault.lfs.pointer import Pointer
from tablevault.model.instance import Instance, by_age
from tablevault.model.view import VaultView
from tablevault.names import (
    CommitId,
    TableId,
    artifacts_dir,
    frame_path,
    instance_dir,
    table_document,
    tag_ref,
)
from tablevault.operations.tables import removed_branch
from tablevault.operations.undo_effect import (
    TempEffect,
    UndoEffect,
    changed_since,
    deactivated_since,
    path_changed,
    refusal,
    temp_changed,
)
from tablevault.transactions.transaction import Transaction

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Main:
    """Changes of ``main`` and of tags."""

    edits: tuple[Edit, ...]
    tagged: tuple[tuple[str, CommitId], ...]
    untagged: tuple[str, ...]
    needs: tuple[Pointer, ...]
    table_id: str


def plan_main(tx: Transaction, effect: UndoEffect) -> Main:
    """Plan what changes on ``main``; refuse where something was changed since.

    Raises
    ------
    TVProcessError
        A later operation is in the way, or dataframes are deleted for good.
    """
    wanted = _paths(effect)
    going, coming = _subjects(effect)
    for instance in going:
        _refuse_changed(effect, instance)
    _refuse_superseded(effect, coming)
    ended = [effect.view.instance(each) for each in effect.ended]
    undeleted = {each.instance_id: each for each in (*coming, *ended) if each is not None}
    needs = _data_of(tx, effect, list(undeleted.values()))
    if not effect.is_of_table:
        for version in dict.fromkeys(each.version for each in (*going, *coming)):
            _stand_in(effect, coming, version, wanted)
    return Main(
        edits=(*edits_for(list(wanted.items())), *_without_owner(effect, wanted)),
        tagged=tuple((tag_ref(effect.table, each.instance_id), each.commit) for each in coming),
        untagged=tuple(tag_ref(effect.table, each.instance_id) for each in going),
        needs=tuple(needs),
        table_id=_table_id(effect.view.snapshot, effect),
    )


def _paths(effect: UndoEffect) -> dict[str, TreeEntry | None]:
    """Return what each changed path held before; it must be as the operation left it."""
    for each in effect.paths:
        if entry_at(effect.view.snapshot, each.path) != each.new:
            raise path_changed(effect, each.path)
    return {each.path: each.old for each in effect.paths}


def _table_id(snapshot: Snapshot, effect: UndoEffect) -> str:
    """Return the id of the table that it is about."""
    if effect.table_id or not effect.table or not snapshot.has_table(effect.table):
        return effect.table_id
    return snapshot.table(effect.table).id


def _subjects(effect: UndoEffect) -> tuple[list[Instance], list[Instance]]:
    """Return the instances that go, and those that come back."""
    if effect.is_of_table:
        table_id, index = TableId(effect.table_id), effect.view.catalog
        rows = index.instances(table_id) if table_id in effect.made else []
        ended = index.instances_with(table_id) if table_id in effect.ended else []
        return effect.view.instances_of(rows), effect.view.instances_of(ended)
    going, coming = (
        [found for each in subjects if (found := effect.view.instance(each)) is not None]
        for subjects in (effect.made, effect.ended)
    )
    return going, [each for each in coming if _comes_back(effect, each)]


def _comes_back(effect: UndoEffect, instance: Instance) -> bool:
    """Return whether an instance is there when the operation is undone that ended it.

    What was undone before it was deleted comes back as undone; what was deleted since does not.
    """
    index, repository = effect.view.catalog, effect.view.repository
    is_last = True
    for process_id in index.ended_by(instance.instance_id):
        other = index.process(process_id)
        if other is None or other.commit == effect.commit.id:
            continue
        if repository.is_ancestor(effect.commit.id, other.commit):
            raise changed_since(
                effect, f'instance "{instance.instance_id}"', repository.commit(other.commit)
            )
        is_last = False
    return is_last


def _refuse_changed(effect: UndoEffect, instance: Instance) -> None:
    """Refuse when an instance that was made was deleted or made inactive since."""
    if instance.deleted_at:
        commit = effect.view.catalog.end_of(instance.instance_id)
        raise changed_since(
            effect,
            f'instance "{instance.instance_id}"',
            None if commit is None else effect.view.repository.commit(commit),
        )
    if effect.is_of_table:
        return
    error = deactivated_since(effect, instance.instance_id)
    if error is not None:
        raise error


def _refuse_superseded(effect: UndoEffect, coming: Sequence[Instance]) -> None:
    """Refuse to bring back, or to make active again, what a later instance would have ended."""
    repository, table = effect.view.repository, effect.table
    if effect.is_of_table or not table:
        return
    if not (effect.deactivated and not effect.made) and not coming:
        return
    document = effect.after.table(table)
    if not document.side_effects:
        return
    for instance in effect.view.catalog.instances(document.id):
        if instance.commit != effect.commit.id and repository.is_ancestor(
            effect.commit.id, instance.commit
        ):
            raise changed_since(effect, f'table "{table}"', repository.commit(instance.commit))


def _data_of(tx: Transaction, effect: UndoEffect, coming: Sequence[Instance]) -> list[Pointer]:
    """Pin the objects of the instances that come back."""
    repository = effect.view.repository
    needed = {
        instance.instance_id: pointers_of(
            instance.snapshot, repository.commit(instance.commit), instance.instance_id
        )
        for instance in coming
    }
    pointers = [pointer for each in needed.values() for pointer in each]
    if not pointers:
        return []
    missing = set(tx.pin(pointers))
    lost = [name for name, each in needed.items() if missing.intersection(each)]
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (" ..." if len(lost) > _SHOWN else "")
        raise refusal(
            effect,
            f"dataframes or artifacts of {len(lost)} of {len(needed)} instances are not in the "
            f"vault any more ({shown})",
            "What is deleted is deleted for good. Builders and descriptions are in history: "
            f"`git show --stat {effect.commit.id[:12]}^`.",
            instance=lost[0],
        )
    return pointers


def _stand_in(
    effect: UndoEffect,
    coming: Sequence[Instance],
    version: str,
    wanted: dict[str, TreeEntry | None],
) -> None:
    """Let the folder of a version show the latest instance that will be there.

    The one from before the operation may have been deleted since.
    """
    table = effect.table
    folder = instance_dir(table, version)
    touched = [path for path in wanted if f"{path}/".startswith(f"{folder}/")]
    before = effect.before if touched else effect.view.snapshot
    shown = before.instance(table, version)
    latest = _latest(effect.view.table(table).id, effect, coming, version)
    if (shown.id if shown else None) == (latest.instance_id if latest else None):
        return
    for path in touched:
        del wanted[path]
    wanted[folder] = (
        None
        if latest is None
        else entry_at(latest.snapshot, instance_dir(latest.table_name, version))
    )


def _latest(
    table_id: TableId, effect: UndoEffect, coming: Sequence[Instance], version: str
) -> Instance | None:
    """Find the instance of a version that will be the latest one."""
    rows = effect.view.catalog.instances(table_id, version)
    there = [each for each in effect.view.instances_of(rows) if each.instance_id not in effect.made]
    there.extend(each for each in coming if each.version == version)
    return max(there, key=by_age, default=None)


def _without_owner(effect: UndoEffect, wanted: dict[str, TreeEntry | None]) -> list[Edit]:
    """Leave the shared artifact folder empty where its owner of before was deleted since."""
    path = table_document(effect.table)
    if effect.is_of_table or path not in wanted:
        return []
    before = effect.before.table(effect.table)
    owner = effect.view.catalog.instance(before.artifact_instance)
    if owner is None or not owner.deleted_at or owner.instance_id in effect.ended:
        return []
    folder = artifacts_dir(effect.table, "", multiple=False)
    without_owner = replace(effect.view.table(effect.table).document, artifact_instance="")
    return [*edits_for([(folder, None)]), Put(path=path, data=without_owner.encode())]


# -- temporary instances ------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Temps:
    """Changes of branches, and the objects that temporary instances need."""

    branches: list[BranchChange] = field(default_factory=list)
    removed: list[RemovedBranch] = field(default_factory=list)
    needs: list[Pointer] = field(default_factory=list)


def plan_temps(tx: Transaction, effect: UndoEffect, message: Message) -> Temps:
    """Plan the changes of temporary instances; each has to be as the operation left it.

    Raises
    ------
    TVProcessError
        One was changed since, by another operation or by hand.
    """
    temps = Temps()
    _refuse_others(effect)
    for each in effect.temps:
        tip = effect.view.repository.tip(each.ref.ref)
        if (tip is None) != (each.new is None):
            raise temp_changed(effect, each.ref, tip)
        if not each.is_whole:
            temps.branches.append(_with_files(tx, effect, each, message))
        elif tip is None:
            assert each.old is not None
            temps.branches.append(
                BranchChange(
                    temp=each.ref,
                    tip=None,
                    onto=each.old,
                    edits=_folder_of(effect.view, each, each.old),
                    message=_saying_whose_artifacts(effect, each, message),
                    fresh=True,
                )
            )
        else:
            _take_away(tx, effect, each, temps, message)
        if each.is_whole and each.old is not None:
            temps.needs.extend(_frame_of(tx, effect, each, each.old))
    return temps


def _saying_whose_artifacts(effect: UndoEffect, each: TempEffect, message: Message) -> Message:
    """Return where the artifacts of an instance that was written are: its author had put them."""
    made = effect.after.instance(each.ref.table, each.ref.version)
    if not effect.made or made is None or not made.external_edit:
        return message
    return replace(message, trailers=(*message.trailers, (ARTIFACTS_OF, effect.commit.id)))


def _refuse_others(effect: UndoEffect) -> None:
    """Refuse to take a table away in which temporary instances were made since."""
    if not effect.is_of_table or effect.table_id not in effect.made:
        return
    known = {each.ref for each in effect.temps}
    for temp, tip in effect.view.repository.temps().items():
        if temp.table == effect.table and temp not in known:
            raise temp_changed(effect, temp, tip)


def _with_files(
    tx: Transaction, effect: UndoEffect, each: TempEffect, message: Message
) -> BranchChange:
    """Restore the text of files of a temporary instance."""
    repository = effect.view.repository
    draft = tx.edited_branch(each.ref)
    folder = instance_dir(each.ref.table, each.ref.version)
    now = Snapshot(repository, draft.commit)
    assert each.old is not None
    assert each.new is not None
    changed = differences(Snapshot(repository, each.old), Snapshot(repository, each.new), folder)
    for one in changed:
        if entry_at(now, one.path) != one.new:
            raise temp_changed(effect, each.ref, draft.commit)
    return BranchChange(
        temp=each.ref,
        tip=draft.tip,
        onto=draft.commit,
        edits=tuple(edits_for([(one.path, one.old) for one in changed])),
        message=message,
    )


def _take_away(
    tx: Transaction, effect: UndoEffect, each: TempEffect, temps: Temps, message: Message
) -> None:
    """Remove a temporary instance, or put the one back that it had replaced."""
    draft = tx.edited_branch(each.ref)
    assert each.new is not None
    if _tree(effect.view, each, draft.commit) != _tree(effect.view, each, each.new):
        raise temp_changed(effect, each.ref, draft.commit)
    if each.old is None:
        _refuse_lost_files(effect, each)
        temps.removed.append(removed_branch(draft))
        return
    temps.branches.append(
        BranchChange(
            temp=each.ref,
            tip=draft.tip,
            onto=draft.commit,
            edits=_folder_of(effect.view, each, each.old),
            message=message,
            fresh=True,
        )
    )


def _refuse_lost_files(effect: UndoEffect, each: TempEffect) -> None:
    """Refuse to remove a folder with files that are nowhere else."""
    folder = effect.view.parts.temp_folders.artifacts(each.ref)
    # What is done again brings its instance back, whose artifacts these may be.
    known = {}
    if effect.ended:
        before = effect.before
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
    tx: Transaction, effect: UndoEffect, each: TempEffect, commit: CommitId
) -> list[Pointer]:
    """Pin the dataframe that a temporary instance was begun with."""
    path = frame_path(each.ref.table, each.ref.version)
    try:
        pointer = Snapshot(effect.view.repository, commit).pointer(path)
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
