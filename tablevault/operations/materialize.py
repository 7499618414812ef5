"""Make an instance of a dataframe: what write, execute and stop share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import IO, TYPE_CHECKING

from tablevault.history.commits.change import BranchChange, Change
from tablevault.history.commits.documents import (
    BuilderRun,
    InstanceDocument,
    TableDocument,
    timestamp,
)
from tablevault.history.commits.setup import ATTRIBUTES, with_calls
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.lfs.pointer import Pointer
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import Table, VaultView
from tablevault.names import (
    InstanceId,
    ProcessId,
    TempRef,
    artifacts_dir,
    calls_path,
    frame_path,
    instance_document,
    new_instance_id,
    table_document,
    tag_ref,
)
from tablevault.operations.artifacts import (
    Artifacts,
    find_artifacts,
    find_partial_artifacts,
    keep_artifacts,
)
from tablevault.operations.call_costs import spending_trailers
from tablevault.render import counted
from tablevault.transactions.claims import artifacts_hold, table_hold, temp_hold
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Hold
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.calls.spending import Spent
    from tablevault.frames.parquet import FrameFile
    from tablevault.lfs.drafts import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an operation made, apart from the frame itself."""

    document: InstanceDocument
    """That of the temporary instance, with what the instance was made from. Of one that is not
    successful the run was not complete: it keeps its artifacts for itself, as they are."""
    reuses: str = ""
    """Digest of the instance from which everything was taken that functions would have made;
    empty when one was called to fill a column."""
    calls: Callable[[IO[bytes], str], bool] | None = None
    """Writes the calls that made the rows, given the digest of the dataframe; returns whether
    there are any."""
    kept: Mapping[str, Pointer] = field(default_factory=dict)
    """Artifacts that are in the object store already, by the names that they went by then."""
    spent: Spent | None = None
    """What calls have cost since the version had its last instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """An instance whose bytes are in the object store, and which no commit names yet."""

    instance_id: InstanceId
    branch: EditedBranch
    result: Result
    file: FrameFile
    frame: Pointer
    artifacts: Artifacts
    calls: Pointer | None


def result_holds(document: TableDocument, temp: TempRef) -> list[Hold]:
    """Claim what making an instance of a table excludes others from."""
    holds = [temp_hold(temp.table, temp.version)]
    if document.side_effects:
        holds.append(table_hold(temp.table))
    if not document.multiple_artifacts:
        holds.append(artifacts_hold(temp.table))
    return holds


def store(
    vault: Vault, tx: Transaction, branch: EditedBranch, frame: pd.DataFrame, result: Result
) -> NewInstance:
    """Move a dataframe, its artifacts and its calls into the object store.

    Raises
    ------
    TVTableError
        The frame cannot be stored, an artifact that it names is missing, or a file in the
        artifact folder is named by no value.
    """
    from tablevault.frames.artifact_string import artifact_values
    from tablevault.frames.parquet import write_frame

    names = artifact_values(frame)
    document = result.document
    origin_id, has_errors = document.origin[0], document.errors > 0
    if document.success:
        found = find_artifacts(vault, branch, origin_id, names, has_errors=has_errors)
    else:
        found = find_partial_artifacts(vault, branch, origin_id, names)
    with tx.new_draft() as sink:
        file = write_frame(frame, sink)
    calls = None if result.calls is None else _write_calls(tx, result.calls, file.digest)
    beside = [sink] if calls is None else [sink, calls]
    artifacts = keep_artifacts(vault, tx, branch, found, kept=result.kept, beside=beside)
    return NewInstance(
        instance_id=new_instance_id(branch.temp.version, tx.record.started_at),
        branch=branch,
        result=result,
        file=file,
        frame=sink.pointer,
        artifacts=artifacts,
        calls=None if calls is None else calls.pointer,
    )


def _write_calls(
    tx: Transaction, write: Callable[[IO[bytes], str], bool], digest: str
) -> Draft | None:
    """Write the calls of an instance; None when there are none."""
    with tx.new_draft() as sink:
        has_calls = write(sink, digest)
    return sink if has_calls else None


def prepared_document(parts: VaultParts, branch: EditedBranch) -> InstanceDocument:
    """Read the document of a temporary instance."""
    return TempInstance(ref=branch.temp, tip=branch.commit, parts=parts).document


def _document(table: Table, tx: Transaction, new: NewInstance, at: float) -> InstanceDocument:
    """Describe a new instance."""
    record = tx.record
    # The next instance of a table is later, even if the clock went back.
    last = table.latest_or_none(active=False)
    if last is not None:
        at = max(at, datetime.fromisoformat(last.materialized_at).timestamp() + 1e-6)
    return replace(
        new.result.document,
        id=new.instance_id,
        materialized_at=timestamp(at),
        table_id=table.id,
        operation=record.request.operation,
        author=record.author,
        process=record.process_id,
        started_at=timestamp(record.started_at),
        rows=new.file.rows,
        dtypes=new.file.dtypes,
        digest=new.file.digest,
    )


def _report(document: InstanceDocument) -> str:
    """Return for each builder what was computed, what was not, and why."""
    return "\n".join(
        f"{name}: {_counted(run)}: {run.reason}" for name, run in document.execution.items()
    )


def _counted(run: BuilderRun) -> str:
    """Return how many rows were computed and reused."""
    rows = f"{run.computed:,} row{'' if run.computed == 1 else 's'} computed"
    rows += f", {run.reused:,} reused" if run.reused else ""
    rows += f", {run.errors:,} failed" if run.errors else ""
    if run.expected_cost is None or run.cost is None:
        return rows
    return f"{rows}, cost {run.cost:.6g} ({run.expected_cost:.6g} expected)"


def plan_instance(view: VaultView, tx: Transaction, new: NewInstance, at: float) -> Change:
    """Plan the commit on the branch, its merge into ``main``, and the tag."""
    temp, result = new.branch.temp, new.result
    table = view.table(temp.table)
    document, settings = _document(table, tx, new, at), table.document
    own = artifacts_dir(temp.table, temp.version, multiple=True)
    branch: list[Edit] = [
        Remove(path=own),
        Put(path=frame_path(temp.table, temp.version), data=new.frame.encode()),
        Put(path=instance_document(temp.table, temp.version), data=document.encode()),
        _calls_edit(calls_path(temp.table, temp.version), new.calls),
    ]
    main: list[Edit] = [] if new.calls is None else _attributes(view.snapshot)
    if settings.multiple_artifacts or not document.success:
        branch.extend(new.artifacts.edits(own))
    elif document.has_artifacts:
        shared = artifacts_dir(temp.table, temp.version, multiple=False)
        main.append(Remove(path=shared))
        main.extend(new.artifacts.edits(shared))
        owned = replace(settings, artifact_instance=document.id)
        main.append(Put(path=table_document(temp.table), data=owned.encode()))
    is_same = document.digest == result.reuses
    of_others = activity_trailers(table, tx.process_id, document, kept=is_same)
    subject = instance_subject(temp.table, document)
    step = [("Table", temp.table), ("Version", temp.version), ("Step", "result")]
    return Change(
        message=tx.message(
            subject,
            [*instance_trailers(temp.table, document, result.spent), *of_others],
            _report(document),
        ),
        main=tuple(main),
        branches=(
            BranchChange(
                temp=temp,
                tip=new.branch.tip,
                onto=new.branch.commit,
                edits=tuple(branch),
                message=tx.message(f"{subject}, result", step),
                merged=True,
            ),
        ),
        tag=tag_ref(temp.table, document.id),
        needs=tuple(filter(None, (new.frame, new.calls, *new.artifacts.pointers))),
    )


def instance_subject(table: str, document: InstanceDocument) -> str:
    """Return the first line of the commit that makes an instance."""
    verb = document.operation.split("_")[0]
    failed = f", {counted(document.errors, 'error')}" if document.errors else ""
    return f"{table}/{document.version}: {verb}, {counted(document.rows, 'row')}{failed}"


def instance_trailers(
    table: str, document: InstanceDocument, spent: Spent | None = None
) -> list[tuple[str, str]]:
    """Return the trailers that describe an instance."""
    return [
        ("Table", table),
        ("Table-Id", document.table_id),
        ("Version", document.version),
        ("Instance", document.id),
        ("Time", document.materialized_at),
        ("Rows", str(document.rows)),
        ("Success", "" if document.success else "false"),
        ("Errors", str(document.errors or "")),
        *spending_trailers(spent),
        ("Origin", document.origin[0]),
        *(("Depends-On", f"{name}/{instance}") for name, instance in document.dependencies),
    ]


def _calls_edit(path: str, calls: Pointer | None) -> Edit:
    """Put the calls of an instance at their place, or clear it."""
    return Remove(path=path) if calls is None else Put(path=path, data=calls.encode())


def _attributes(snapshot: Snapshot) -> list[Edit]:
    """Let git know of files of calls, of which a vault from an earlier release says nothing."""
    there = snapshot.blob(ATTRIBUTES) or b""
    wanted = with_calls(there)
    return [] if wanted == there else [Put(path=ATTRIBUTES, data=wanted)]


def activity_trailers(
    table: Table, process_id: ProcessId, document: InstanceDocument, *, kept: bool
) -> list[tuple[str, str]]:
    """Return the trailers that say what a new instance does to the earlier ones of its table.

    On a table with side effects all of them become inactive, unless nothing was computed anew
    (`kept`): then those that the execution deactivated become active again. Where the shared
    artifact folder is replaced, those that have artifacts in it become inactive in any case.
    """
    settings = table.document
    replaces_folder = (
        document.success and not settings.multiple_artifacts and document.has_artifacts
    )

    def loses_files(each: Instance) -> bool:
        return replaces_folder and each.shares_folder(settings) and each.document.has_artifacts

    ends_all = settings.side_effects and not kept
    if not ends_all and not replaces_folder and not settings.side_effects:
        return []
    found: list[tuple[str, str]] = [
        ("Deactivates", each.instance_id)
        for each in table.active_instances()
        if ends_all or loses_files(each)
    ]
    if kept:
        ended = set(table.view.catalog.deactivated_by(process_id))
        found.extend(
            ("Reactivates", each.instance_id)
            for each in table.instances()
            if each.instance_id in ended and not loses_files(each)
        )
    return found
