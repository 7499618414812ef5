"""``plan``: what an execution would call, and why; no column builder is called, nothing changes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError
from tablevault.model.instance import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import ProcessId, TempRef, check_process_id, check_version
from tablevault.operations.execute import ExecuteInstance
from tablevault.operations.prepare_execution import (
    Fixed,
    Prepared,
    VaultCode,
    fixed_by,
    options_of,
    prepare,
    reuse_policy,
)
from tablevault.queries.calls import call_sources
from tablevault.queries.inputs import Place
from tablevault.queries.origin import code_edits, earlier_of, find_origin
from tablevault.queries.staleness import Current
from tablevault.transactions.begin import refuse_other, refuse_used
from tablevault.transactions.records import Record
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.builders.reads import Dependency
    from tablevault.engine.calls.read_only import ReadOnlyLedger
    from tablevault.engine.execution.preview import Ahead, ExpectedTable
    from tablevault.engine.execution.run import Ready
    from tablevault.plans import ExecutionPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What is planned; see `TableVault.plan`."""

    run_index: bool = False
    force_execute: bool = False
    accept_code: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The execution that is planned."""

    vault: Vault
    view: VaultView
    temp: TempInstance
    options: PlanOptions
    process_id: str
    """The paused process that would go on; else the id of a new one, "" when it has none."""
    prepared: Prepared

    @property
    def ref(self) -> TempRef:
        """The temporary instance."""
        return self.temp.ref


def plan(
    vault: Vault, table: str, version: str, *, options: PlanOptions, process_id: str
) -> ExecutionPlan:
    """Find what the next execution of a temporary instance would call."""
    asked, waits = _asked(vault, table, version, options, process_id)
    found, _ = _previewed(asked, set())
    return found if waits else replace(found, process_id="")


def plan_anew(
    vault: Vault,
    current: Current,
    expected: Mapping[Place, ExpectedTable],
    calls: set[tuple[bytes, bytes]],
    *,
    options: PlanOptions,
) -> tuple[ExecutionPlan, ExpectedTable]:
    """Find what an execution that replaces a current instance would call, and its expected table.

    Parameters
    ----------
    vault : Vault
        The vault.
    current : Current
        The instance: its builders count, unless there is a temporary instance already.
    expected : mapping of Place to ExpectedTable
        Tables that are refreshed before, as far as they are known.
    calls : set of (bytes, bytes)
        Inputs and code of calls that will be made before; those that are planned are added.
    options : PlanOptions
        As for `plan`.
    """
    view, ref = vault.view(), TempRef(*current.place)
    temp = view.temp(ref)
    if temp is None:
        temp = TempInstance(ref=ref, tip=current.instance.commit, parts=vault.parts)
        texts: dict[str, bytes] = {name: text.encode() for name, text in current.texts().items()}
        fixed = Fixed(origin=current.instance.instance_id)
    else:
        texts, fixed = temp.builders(), Fixed()
    asked = _Asked(
        vault=vault,
        view=view,
        temp=temp,
        options=options,
        process_id="",
        prepared=prepare(view, temp, texts, fixed, forced=options.force_execute, expected=expected),
    )
    return _previewed(asked, calls)


def _ahead(prepared: Prepared, calls: set[tuple[bytes, bytes]]) -> Ahead:
    """Find what is read that is to be made before, and is not known."""
    from tablevault.engine.execution.preview import Ahead

    inputs, plan = prepared.inputs, prepared.plan

    def is_open(needed: Dependency) -> bool:
        """Return whether cells are read that are still to be made."""
        found = inputs.expected_for(needed.table, needed.selector)
        return found is not None and not found.knows(needed.columns)

    found = dict(plan.readers(is_open))
    unseen = {
        place.table
        for place, each in inputs.expected.items()
        if not (each.digest or plan.names(place.table))
    }
    if unseen:  # only the execution can tell which builder reads it
        found[plan.index.name] = tuple(sorted({*unseen, *found.get(plan.index.name, ())}))
    rows = (
        each.rows
        for place, each in inputs.expected.items()
        if place.table in found.get(plan.index.name, ())
    )
    return Ahead(tables=found, rows=max(rows, default=0), calls=calls)


def _previewed(
    asked: _Asked, calls: set[tuple[bytes, bytes]]
) -> tuple[ExecutionPlan, ExpectedTable]:
    """Count the calls of the planned execution, and return the expected table."""
    from tablevault.engine.execution.preview import ORIGIN, Preview
    from tablevault.plans import ExecutionPlan

    ledger, options, origin = _ledger(asked), asked.options, asked.prepared.origin
    if options.force_execute:  # its rows count, although none of its cells does
        origin = find_origin(asked.view, asked.temp)[0]
    with _readied(asked, ledger) as run:
        rows = run.context.earlier
        if rows is None and origin is not None and not options.run_index:
            with suppress(TableVaultError):
                rows = earlier_of(asked.view, origin).frame
        preview = Preview(run, ledger, rows, _ahead(asked.prepared, calls))
        builders = preview.builders(run_index=options.run_index)
        expected = preview.expected()
    is_of_origin = preview.rows_from == ORIGIN and origin is not None
    planned = ExecutionPlan(
        table_name=asked.ref.table,
        version=asked.ref.version,
        process_id=asked.process_id,
        rows_from=origin.instance_id if is_of_origin and origin else preview.rows_from,
        builders=builders,
    )
    return planned, expected


def _asked(
    vault: Vault, table: str, version: str, options: PlanOptions, process_id: str
) -> tuple[_Asked, bool]:
    """Find what would be executed, and whether a paused process would go on with it."""
    execution = ExecuteInstance(table_name=table, version=check_version(version))
    record = _waiting(vault, execution, process_id)
    if record is not None:  # its own arguments count
        execution = execution.resumed(record.request.arguments, process_id)
        options = replace(options, force_execute=execution.force_execute)
        process_id = record.process_id
    view = vault.view()
    found = view.table(execution.table_name).temp_with_builders(execution.version)
    fixed = fixed_by(record)
    asked = _Asked(
        vault=vault,
        view=view,
        temp=found,
        options=options,
        process_id=process_id,
        prepared=prepare(view, found, found.builders(), fixed, forced=options.force_execute),
    )
    return asked, record is not None


def _waiting(vault: Vault, execution: ExecuteInstance, process_id: str) -> Record | None:
    """Find the process that would go on: by its id, else the one that holds the instance."""
    files = vault.records
    if process_id:
        record = files.read(check_process_id(process_id))
        if record is None:
            refuse_used(vault.parts, execution.request, ProcessId(process_id))
        else:
            refuse_other(record, execution.request)
        return record
    for record in files.every():
        other = record.request
        is_same = all(
            other.arguments.get(name) == getattr(execution, name)
            for name in ("table_name", "version")
        )
        if record.named and other.operation == execution.operation_name and is_same:
            return record
    return None


def _ledger(asked: _Asked) -> ReadOnlyLedger:
    """Open the records of calls to read them."""
    from tablevault.engine.calls.read_only import ReadOnlyLedger

    table = asked.view.table(asked.ref.table)
    return ReadOnlyLedger(
        asked.vault.calls,
        temp=asked.temp.creation,
        process=asked.process_id,
        policy=reuse_policy(
            table.document,
            forced=asked.options.force_execute,
            accept_code=asked.options.accept_code,
        ),
        sources=call_sources(table, asked.prepared.origin),
    )


@contextmanager
def _readied(asked: _Asked, ledger: ReadOnlyLedger) -> Iterator[Ready]:
    """Check what can be checked before the first call, as an execution does."""
    from tablevault.engine.calls.read_only import ReadOnlyFiles
    from tablevault.engine.execution.run import ARTIFACT_FOLDER, ready

    vault, prepared = asked.vault, asked.prepared
    code = VaultCode(asked.view, code_edits(asked.view))
    with closing(code.code), ledger, _artifacts(asked) as folder:
        options = options_of(asked.view, prepared, code, ledger, folder)
        with ready(
            prepared.plan,
            inputs=prepared.inputs,
            load=code.code.load_function,
            keywords={ARTIFACT_FOLDER: str(folder), "~PROCESS_ID~": asked.process_id},
            progress=vault.progress(),
            options=replace(options, files=ReadOnlyFiles()),
        ) as run:
            yield run


@contextmanager
def _artifacts(asked: _Asked) -> Iterator[Path]:
    """Return the artifact folder; for a function that may write, a copy that goes afterwards."""
    folder = asked.vault.temp_folders.artifacts(asked.ref)
    if not asked.options.run_index:
        yield folder
        return
    scratch = None  # of a vault that may only be read: the temporary folder of the system
    if os.access(asked.vault.state, os.W_OK):
        scratch = asked.vault.state / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as copy:
        if folder.is_dir():
            shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
        yield Path(copy)
