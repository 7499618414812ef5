"""What git's own merge leaves to do: instances whole, and temporary instances under new names."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault.history.change import BranchChange, Change
from tablevault.history.documents import timestamp
from tablevault.history.joining import Joined, folders_in, in_tree, join, tree_of
from tablevault.history.message import Message, trailers
from tablevault.history.renaming import renamed_branch
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit, Graft, Remove
from tablevault.journal.operation import Operation, running
from tablevault.journal.record import Hold, Request
from tablevault.names import TABLES_DIR, VAULT_DOCUMENT, CommitId, TempRef, temp_of_ref
from tablevault.vault import Vault

_OURS = (TABLES_DIR, VAULT_DOCUMENT)


def complete_merge(vault: Vault) -> str:
    """Make of ``main``, whose tip is a merge by git, what :func:`pull` would have made of it.

    Git merges file by file: where both sides have a new instance of a version, a file that only
    one of them changed comes from there, whichever is the later. A commit on top of the merge puts
    that right. A folder that somebody settled by hand is left alone.

    Returns
    -------
    str
        The process that did it, "" when there was nothing to do.
    """
    repository = vault.journal.repository
    tip = repository.main()
    edits, ended = _edits(vault, tip)
    if not edits and not ended and not _moved(vault, Snapshot(repository, tip)):
        return ""

    def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
        return ()

    request = Request(operation="merge", arguments={"commit": tip})
    with running(vault.journal, request, vault.actor(""), setup) as operation:

        def plan(snapshot: Snapshot, at: float) -> Change:
            record = operation.record
            edits, ended = _edits(vault, repository.main())
            pairs = [
                ("Operation", record.request.operation),
                ("Process", record.process_id),
                *(("Deactivates", instance) for instance in ended),
                ("Time", timestamp(at)),
            ]
            subject = "merge: instances of one side, whole"
            return Change(
                message=Message(subject=subject, trailers=trailers(pairs)),
                main=tuple(edits) if edits or ended else None,
                branches=_renamed(vault, operation, snapshot),
            )

        operation.publish(plan)
    return operation.process_id


def _edits(vault: Vault, tip: CommitId) -> tuple[list[Edit], Sequence[str]]:
    """Give what differs from the merge as a vault does it, and the instances that it ends."""
    repository = vault.journal.repository
    commit = repository.commit(tip)
    if len(commit.parents) != 2 or commit.message.first("Vault-Operation"):  # noqa: PLR2004 - of a merge
        return [], ()
    joined = join(repository, *commit.parents)
    is_tree = tree_of(repository, tip)
    edits: list[Edit] = []
    for path in _paths(vault, joined, is_tree):
        wanted, found = (in_tree(repository, tree, path) for tree in (joined.tree, is_tree))
        if wanted is None and found is not None:
            edits.append(Remove(path=path))
        elif wanted is not None and wanted != found:
            edits.append(Graft(path=path, source=wanted, is_tree=path != VAULT_DOCUMENT))
    return edits, joined.merged.superseded


def _paths(vault: Vault, joined: Joined, tree: str) -> list[str]:
    """List the folders of tables, and ``vault.yaml``, but for what was in conflict."""
    repository = vault.journal.repository
    names = folders_in(repository, joined.tree) | folders_in(repository, tree)
    paths = [*sorted(names), VAULT_DOCUMENT]
    settled = {conflict.path for conflict in joined.conflicts_in(_OURS)}
    return [
        path
        for path in paths
        if not any(each == path or each.startswith(f"{path}/") for each in settled)
    ]


def _moved(vault: Vault, main: Snapshot) -> dict[TempRef, str]:
    """Give the temporary instances whose table has another name on ``main``, with that."""
    repository = vault.journal.repository
    names = {main.table(name).id: name for name in main.table_names()}
    found = {}
    for ref, tip in repository.temp_refs().items():
        temp = temp_of_ref(ref)
        if temp is None or main.has_table(temp.table):
            continue
        drafted = Snapshot(repository, tip)
        if drafted.has_table(temp.table) and drafted.table(temp.table).id in names:
            found[temp] = names[drafted.table(temp.table).id]
    return found


def _renamed(vault: Vault, operation: Operation, main: Snapshot) -> tuple[BranchChange, ...]:
    """Carry them over."""
    repository = vault.journal.repository
    changes = []
    for temp, name in _moved(vault, main).items():
        draft = operation.drafted(temp)
        changes.append(renamed_branch(repository, temp, draft.tip, draft.commit, name))
    return tuple(changes)
