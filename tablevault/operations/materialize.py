"""A finished frame into the change that makes an instance: what write and execute share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from tablevault.history.change import BranchChange, Change
from tablevault.history.documents import (
    BuilderRun,
    InstanceDocument,
    TableDocument,
    timestamp,
)
from tablevault.history.layout import ATTRIBUTES, with_calls
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit, Put, Remove
from tablevault.journal.locks import artifacts_hold, table_hold, temp_hold
from tablevault.journal.operation import Operation, TempDraft
from tablevault.journal.record import Hold
from tablevault.names import (
    InstanceId,
    TempRef,
    artifacts_dir,
    calls_path,
    frame_path,
    instance_document,
    new_instance_id,
    table_document,
    tag_ref,
)
from tablevault.objects.pointer import Pointer
from tablevault.operations.activity import activity_trailers
from tablevault.operations.artifacts import (
    Artifacts,
    find_artifacts,
    find_partial_artifacts,
    keep_artifacts,
)
from tablevault.operations.messages import operation_message
from tablevault.operations.spending import spending_trailers
from tablevault.queries.read import has_artifacts
from tablevault.render import counted
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.calls.spending import Spent
    from tablevault.frames.parquet import FrameFile
    from tablevault.objects.store import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an operation made, apart from the frame itself."""

    dependencies: tuple[tuple[str, InstanceId], ...] = ()
    primary_key: tuple[str, ...] = ()
    builders: Mapping[str, str] | None = None
    """Builder to git blob id, in the order of execution; None leaves them out."""
    code: Mapping[str, str] | None = None
    """Code module to git blob id."""
    shipped: Mapping[str, str] | None = None
    """Module that comes with the package to an id of its text."""
    execution: Mapping[str, BuilderRun] | None = None
    """What was done for each builder."""
    origin: tuple[str, str] = ("", "")
    """Id and table of the instance that it started from, if it was not named before."""
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
    success: bool = True
    """The run was complete. Else the instance keeps its artifacts for itself, as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What went into the object store."""

    file: FrameFile
    frame: Pointer
    artifacts: Artifacts
    calls: Pointer | None


def result_holds(document: TableDocument, temp: TempRef) -> list[Hold]:
    """Claim what making an instance of a table excludes others from."""
    holds = [temp_hold(temp.table, temp.version)]
    if document.side_effects:
        holds.append(table_hold(temp.table, exclusive=True))
    if not document.multiple_artifacts:
        holds.append(artifacts_hold(temp.table))
    return holds


def materialize(
    vault: Vault, operation: Operation, draft: TempDraft, frame: pd.DataFrame, result: Result
) -> InstanceId:
    """Store a frame with its artifacts and publish it as a new instance.

    Raises
    ------
    TVTableError
        The frame cannot be stored, an artifact that it names is missing, or a file in the
        artifact folder is named by no value.
    """
    instance_id = new_instance_id(draft.temp.version, operation.record.started_at)
    kept = _keep(vault, operation, draft, frame, result)

    def plan(snapshot: Snapshot, at: float) -> Change:
        at = max(at, _last(vault, snapshot, draft.temp) + 1e-6)
        document = _document(vault, operation, draft, kept, result)
        document = replace(document, id=instance_id, materialized_at=timestamp(at))
        return _plan(vault, operation, draft, (snapshot, document, kept, result))

    operation.publish(plan)
    return instance_id


def _keep(
    vault: Vault, operation: Operation, draft: TempDraft, frame: pd.DataFrame, result: Result
) -> _Kept:
    """Write dataframe and artifacts, and move them into the object store."""
    from tablevault.frames.artifacts import artifact_values
    from tablevault.frames.parquet import write_frame

    names = artifact_values(frame)
    origin_id = _origin(_temp_document(vault, draft), result)[0]
    if result.success:
        has_errors = any(run.errors for run in (result.execution or {}).values())
        found = find_artifacts(vault, draft, origin_id, names, has_errors=has_errors)
    else:
        found = find_partial_artifacts(vault, draft, origin_id, names)
    with operation.new_draft() as sink:
        file = write_frame(frame, sink)
    calls = None if result.calls is None else _write_calls(operation, result.calls, file.digest)
    beside = [sink] if calls is None else [sink, calls]
    artifacts = keep_artifacts(vault, operation, draft, (found, result.kept), beside=beside)
    return _Kept(
        file=file,
        frame=sink.pointer,
        artifacts=artifacts,
        calls=None if calls is None else calls.pointer,
    )


def _write_calls(
    operation: Operation, write: Callable[[IO[bytes], str], bool], digest: str
) -> Draft | None:
    """Write the calls of an instance; None when there are none."""
    with operation.new_draft() as sink:
        has_calls = write(sink, digest)
    return sink if has_calls else None


def _temp_document(vault: Vault, draft: TempDraft) -> InstanceDocument:
    """Read the document of the temporary instance."""
    snapshot = Snapshot(vault.journal.repository, draft.commit)
    document = snapshot.instance(draft.temp.table, draft.temp.version)
    if document is None:
        return InstanceDocument(description="", version=draft.temp.version, external_edit=False)
    return document


def named_origin(vault: Vault, draft: TempDraft) -> str:
    """Return the id of the instance that a temporary instance was made from, "" for none."""
    return _temp_document(vault, draft).origin[0]


def _document(
    vault: Vault, operation: Operation, draft: TempDraft, kept: _Kept, result: Result
) -> InstanceDocument:
    """Describe the new instance."""
    table = vault.snapshot().table(draft.temp.table)
    record = operation.record
    drafted = _temp_document(vault, draft)
    return replace(
        drafted,
        origin=_origin(drafted, result),
        table_id=table.id,
        operation=record.request.operation,
        success=result.success,
        author=record.author,
        process=record.process_id,
        started_at=timestamp(record.started_at),
        rows=kept.file.rows,
        dtypes=kept.file.dtypes,
        primary_key=result.primary_key,
        digest=kept.file.digest,
        dependencies=result.dependencies,
        builders=result.builders or {},
        code=result.code or {},
        shipped=result.shipped or {},
        execution=result.execution or {},
    )


def _origin(document: InstanceDocument, result: Result) -> tuple[str, str]:
    """Give the instance it started from: the one that was named, or the one that was found."""
    return document.origin if document.origin[0] else result.origin


def _report(document: InstanceDocument) -> str:
    """Say for each builder what was computed, what was not, and why."""
    return "\n".join(
        f"{name}: {_counted(run)}: {run.reason}" for name, run in document.execution.items()
    )


def _counted(run: BuilderRun) -> str:
    """Say how many rows were computed and reused."""
    rows = f"{run.computed:,} row{'' if run.computed == 1 else 's'} computed"
    rows += f", {run.reused:,} reused" if run.reused else ""
    rows += f", {run.errors:,} failed" if run.errors else ""
    if run.expected_cost is None or run.cost is None:
        return rows
    return f"{rows}, cost {run.cost:.6g} ({run.expected_cost:.6g} expected)"


def _plan(
    vault: Vault,
    operation: Operation,
    draft: TempDraft,
    parts: tuple[Snapshot, InstanceDocument, _Kept, Result],
) -> Change:
    """Plan the commit on the branch, its merge into main, and the tag."""
    snapshot, document, kept, result = parts
    table, version = draft.temp.table, draft.temp.version
    settings = snapshot.table(table)
    branch = [
        Put(path=frame_path(table, version), data=kept.frame.encode()),
        Put(path=instance_document(table, version), data=document.encode()),
        _calls_edit(calls_path(table, version), kept.calls),
    ]
    own = artifacts_dir(table, version, multiple=True)
    branch_edits: list[Edit] = [Remove(path=own), *branch]
    main: list[Edit] = [] if kept.calls is None else _attributes(snapshot)
    if settings.multiple_artifacts or not document.success:
        branch_edits.extend(kept.artifacts.edits(own))
    elif has_artifacts(document):
        shared = artifacts_dir(table, version, multiple=False)
        main.append(Remove(path=shared))
        main.extend(kept.artifacts.edits(shared))
        owned = replace(settings, artifact_instance=document.id)
        main.append(Put(path=table_document(table), data=owned.encode()))
    subject = (
        f"{table}/{version}: {document.operation.split('_')[0]}, {counted(document.rows, 'row')}"
        + (f", {counted(document.errors, 'error')}" if document.errors else "")
    )
    pairs = [
        ("Table", table),
        ("Table-Id", settings.id),
        ("Version", version),
        ("Instance", document.id),
        ("Time", document.materialized_at),
        ("Rows", str(document.rows)),
        ("Success", "" if document.success else "false"),
        ("Errors", str(document.errors or "")),
        *spending_trailers(result.spent),
        ("Origin", document.origin[0]),
        *(("Depends-On", f"{name}/{instance}") for name, instance in document.dependencies),
        *activity_trailers(
            vault, operation, (settings, document), kept=document.digest == result.reuses
        ),
    ]
    return Change(
        message=operation_message(operation, subject, pairs, _report(document)),
        main=tuple(main),
        branches=(
            BranchChange(
                temp=draft.temp,
                tip=draft.tip,
                onto=draft.commit,
                edits=tuple(branch_edits),
                message=operation_message(
                    operation,
                    f"{subject}, result",
                    [("Table", table), ("Version", version), ("Step", "result")],
                ),
                merged=True,
            ),
        ),
        tag=tag_ref(table, document.id),
        needs=tuple(filter(None, (kept.frame, kept.calls, *kept.artifacts.pointers))),
    )


def _calls_edit(path: str, calls: Pointer | None) -> Edit:
    """Put the calls of an instance at their place, or clear it."""
    return Remove(path=path) if calls is None else Put(path=path, data=calls.encode())


def _attributes(snapshot: Snapshot) -> list[Edit]:
    """Let git know of files of calls, of which a vault from an earlier release says nothing."""
    there = snapshot.blob(ATTRIBUTES) or b""
    wanted = with_calls(there)
    return [] if wanted == there else [Put(path=ATTRIBUTES, data=wanted)]


def _last(vault: Vault, snapshot: Snapshot, temp: TempRef) -> float:
    """Time of the last materialisation in the table: the next is later, whatever the clock says."""
    from datetime import datetime

    table_id = snapshot.table(temp.table).id
    latest = vault.journal.index.latest(table_id, active=False, successful=False)
    if latest is None:
        return 0.0
    return datetime.fromisoformat(latest.materialized_at).timestamp()
