"""A finished frame into the change that makes an instance: what write and execute share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tablevault.errors import TVTableError
from tablevault.history.change import BranchChange, Change
from tablevault.history.documents import InstanceDocument, TableDocument, timestamp
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Edit, Put, Remove
from tablevault.journal.locks import artifacts_hold, table_hold, temp_hold
from tablevault.journal.operation import Operation, TempDraft
from tablevault.journal.record import Hold
from tablevault.names import (
    BlobId,
    CommitId,
    InstanceId,
    TempRef,
    artifacts_dir,
    frame_path,
    instance_document,
    new_instance_id,
    table_document,
    tag_ref,
)
from tablevault.objects.pointer import Pointer
from tablevault.objects.store import Draft
from tablevault.operations.activity import activity_trailers
from tablevault.operations.messages import operation_message
from tablevault.queries.read import has_artifacts
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.frames.parquet import FrameFile

_HIDDEN_FILES = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an operation made, apart from the frame itself."""

    dependencies: tuple[tuple[str, InstanceId], ...] = ()
    primary_key: tuple[str, ...] = ()
    builders: Mapping[str, str] | None = None
    """Builder to git blob id, in the order of execution; None leaves them out."""
    code: Mapping[str, str] | None = None
    """Code module to git blob id."""
    reuses: str = ""
    """Digest of the instance from which everything was taken that functions would have made;
    empty when one was called to fill a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Artifact:
    """A file that a value names."""

    pointer: Pointer
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What went into the object store."""

    file: FrameFile
    frame: Pointer
    artifacts: Mapping[str, _Artifact]


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
    kept = _keep(vault, operation, draft, frame)

    def plan(snapshot: Snapshot, at: float) -> Change:
        at = max(at, _last(vault, snapshot, draft.temp) + 1e-6)
        document = _document(vault, operation, draft, kept, result)
        document = replace(document, id=instance_id, materialized_at=timestamp(at))
        return _plan(vault, operation, draft, (snapshot, document, kept, result))

    operation.publish(plan)
    return instance_id


def _keep(vault: Vault, operation: Operation, draft: TempDraft, frame: pd.DataFrame) -> _Kept:
    """Write dataframe and artifacts, and move them into the object store."""
    from tablevault.frames.artifacts import artifact_values
    from tablevault.frames.parquet import write_frame

    folder = vault.journal.faces.artifacts(draft.temp)
    named = artifact_values(frame)
    files = dict(visible_files(folder))
    found = _locate(vault, draft, named, files)
    with operation.new_draft() as sink:
        file = write_frame(frame, sink)
    drafts: dict[str, Draft] = {}
    for name in named:
        if name in files:
            drafts[name] = operation.draft_of(files[name])
    operation.keep([sink, *drafts.values()])
    made = {
        name: _Artifact(pointer=draft.pointer, executable=os.access(files[name], os.X_OK))
        for name, draft in drafts.items()
    }
    artifacts = {**found, **made}
    return _Kept(file=file, frame=sink.pointer, artifacts=artifacts)


def visible_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Walk the files below an artifact folder, by relative name; hidden ones are passed over.

    Raises
    ------
    TVTableError
        A file or folder is a symbolic link: it may lead anywhere, now or later.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*names, *folders]):
            path = Path(parent) / name
            if name.startswith(".") or name.lower() in _HIDDEN_FILES:
                continue
            if path.is_symlink():
                raise TVTableError(
                    f'The artifact folder holds the symbolic link "{path}".',
                    "Put the file itself there.",
                    artifact=name,
                )
            if name not in folders:
                yield path.relative_to(folder).as_posix(), path


def _locate(
    vault: Vault, draft: TempDraft, named: Sequence[str], files: Mapping[str, Path]
) -> dict[str, _Artifact]:
    """Find the artifacts that are not in the folder of the instance; refuse what is wrong.

    They may come from the origin, or from the folder that the instances of the table share.
    """
    for name in named:
        _refuse_outside(name)
    unnamed = sorted(files.keys() - set(named))
    if unnamed:
        raise TVTableError(
            f'The artifact folder holds "{unnamed[0]}"'
            + (f" and {len(unnamed) - 1} more files" if len(unnamed) > 1 else "")
            + ", which no value of an artifact_string column names.",
            "Name each file in the table, or remove it from "
            f"{vault.journal.faces.artifacts(draft.temp)}.",
            table=draft.temp.table,
        )
    wanted = [name for name in named if name not in files]
    if not wanted:
        return {}
    known = _earlier_artifacts(vault, draft)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise TVTableError(
            f'Artifact "{missing[0]}" is named by the table but is not there.',
            f"Put the file into {vault.journal.faces.artifacts(draft.temp)}.",
            table=draft.temp.table,
            artifact=missing[0],
        )
    return {name: known[name] for name in wanted}


def _refuse_outside(name: str) -> None:
    """Refuse an artifact name that leaves its folder."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or str(path) != name
    ):
        raise TVTableError(
            f'Artifact name "{name}" cannot be used.',
            "Name a file within the artifact folder, with a plain relative path.",
            artifact=name,
        )


def _earlier_artifacts(vault: Vault, draft: TempDraft) -> dict[str, _Artifact]:
    """Give the artifacts of the table's shared folder and of the origin, the latter first."""
    repository = vault.journal.repository
    table = draft.temp.table
    places = [(repository.main(), artifacts_dir(table, draft.temp.version, multiple=False))]
    origin_id = _temp_document(vault, draft).origin[0]
    origin = vault.journal.index.instance(origin_id) if origin_id else None
    if origin is not None and not origin.deleted_at:
        for multiple in (False, True):
            folder = artifacts_dir(origin.table_name, origin.version, multiple=multiple)
            places.append((origin.commit, folder))
    found: dict[str, _Artifact] = {}
    for commit, folder in places:
        snapshot = Snapshot(repository, CommitId(commit))
        for entry in snapshot.files(folder):
            path = f"{folder}/{entry.name}"
            pointer = snapshot.pointer_of(BlobId(entry.id), path)
            found[entry.name] = _Artifact(pointer=pointer, executable=entry.executable)
    return found


def _temp_document(vault: Vault, draft: TempDraft) -> InstanceDocument:
    """Read the document of the temporary instance."""
    snapshot = Snapshot(vault.journal.repository, draft.commit)
    document = snapshot.instance(draft.temp.table, draft.temp.version)
    if document is None:
        return InstanceDocument(description="", version=draft.temp.version, external_edit=False)
    return document


def _document(
    vault: Vault, operation: Operation, draft: TempDraft, kept: _Kept, result: Result
) -> InstanceDocument:
    """Describe the new instance."""
    table = vault.snapshot().table(draft.temp.table)
    record = operation.record
    return replace(
        _temp_document(vault, draft),
        table_id=table.id,
        operation=record.request.operation,
        success=True,
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
    )


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
    ]
    own = artifacts_dir(table, version, multiple=True)
    branch_edits: list[Edit] = [Remove(path=own), *branch]
    main: list[Edit] = []
    if settings.multiple_artifacts:
        branch_edits.extend(_artifact_edits(own, kept))
    elif has_artifacts(document):
        shared = artifacts_dir(table, version, multiple=False)
        main.append(Remove(path=shared))
        main.extend(_artifact_edits(shared, kept))
        owned = replace(settings, artifact_instance=document.id)
        main.append(Put(path=table_document(table), data=owned.encode()))
    subject = f"{table}/{version}: {document.operation.split('_')[0]}, {document.rows:,} rows"
    pairs = [
        ("Table", table),
        ("Table-Id", settings.id),
        ("Version", version),
        ("Instance", document.id),
        ("Time", document.materialized_at),
        ("Origin", document.origin[0]),
        *(("Depends-On", f"{name}/{instance}") for name, instance in document.dependencies),
        *activity_trailers(
            vault, operation, (settings, document), kept=document.digest == result.reuses
        ),
    ]
    return Change(
        message=operation_message(operation, subject, pairs),
        main=tuple(main),
        branches=(
            BranchChange(
                temp=draft.temp,
                tip=draft.tip,
                onto=draft.commit,
                edits=tuple(branch_edits),
                message=operation_message(
                    operation, f"{subject}, result", [("Table", table), ("Version", version)]
                ),
                merged=True,
            ),
        ),
        tag=tag_ref(table, document.id),
        needs=(kept.frame, *(artifact.pointer for artifact in kept.artifacts.values())),
    )


def _artifact_edits(folder: str, kept: _Kept) -> list[Edit]:
    """Put the pointers of artifacts into a folder."""
    return [
        Put(
            path=f"{folder}/{name}",
            data=artifact.pointer.encode(),
            executable=artifact.executable,
        )
        for name, artifact in kept.artifacts.items()
    ]


def _last(vault: Vault, snapshot: Snapshot, temp: TempRef) -> float:
    """Time of the last materialisation in the table: the next is later, whatever the clock says."""
    from datetime import datetime

    table_id = snapshot.table(temp.table).id
    latest = vault.journal.index.latest(table_id, active=False, successful=False)
    if latest is None:
        return 0.0
    return datetime.fromisoformat(latest.materialized_at).timestamp()
