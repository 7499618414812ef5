"""``stop_process``: a process is ended from outside, and what it made so far is kept if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from tablevault.errors import TVArgumentError, TVProcessError
from tablevault.history.snapshot import Snapshot
from tablevault.journal.beginning import is_finished, taken_up
from tablevault.journal.locks import descendants
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Json, Record, Request
from tablevault.journal.stopping import halt, take_down
from tablevault.names import InstanceId, ProcessId, TempRef, is_process_id
from tablevault.operations.materialize import Result, materialize
from tablevault.queries.partial import run_of_process, run_of_temp
from tablevault.queries.resolve import temp_or_none
from tablevault.vault import Vault

_OPERATION = "stop_process"


def stop_process(
    vault: Vault, target: str, *, force: bool, keep: bool, process_id: str
) -> ProcessId:
    """End a process that runs or is paused; `keep` makes an instance of the rows it has made."""
    request = Request(
        operation=_OPERATION,
        arguments={"to_stop_process_id": target, "force": force, "materialize": keep},
    )
    return perform(vault, taken_up(vault.journal, request, process_id), process_id)


def perform(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Stop what is asked for.

    Dies before its plan is noted: the process is paused, or still runs. Dies later: who takes it
    up ends the process, if that is not done, and makes the instance.
    """
    target = ProcessId(request.text("to_stop_process_id"))
    # What is no text is nobody's id, and refused below.
    actor = replace(vault.actor(process_id), takes_over=target if is_process_id(target) else "")

    def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
        known = vault.journal.files.read(ProcessId(process_id)) if process_id else None
        if known is not None and known.plan:
            return known.holds
        record = _find(vault, target, force=request.flag("force"))
        family = (record, *descendants(vault.journal.files, target))
        return [hold for each in family for hold in each.holds]

    with running(vault.journal, request, actor, setup) as operation:
        if not operation.record.plan:
            record = _find(vault, target, force=request.flag("force"))
            halt(vault.journal, record, vault.lock_timeout_s)
            temp = _kept(vault, record) if request.flag("materialize") else None
            if temp is not None:
                operation.drafted(temp)  # what is wrong in its folder is told before it is late
            operation.note(_plan(record, temp))
        # False also when this was done by an attempt that died since.
        if not take_down(vault.journal, target) and _has_happened(vault, target):
            raise _unknown(vault, target)
        if "temp" in operation.record.plan:
            _materialize(vault, operation)
    return operation.process_id


def _find(vault: Vault, target: ProcessId, *, force: bool) -> Record:
    """Find the process that is to be stopped; refuse what cannot be."""
    files = vault.journal.files
    record = files.read(target) if is_process_id(target) else None
    if record is None:
        raise _unknown(vault, target)
    if record.request.operation == _OPERATION:
        raise TVArgumentError(
            f'Process "{target}" stops another one.',
            f"Let it end: stop_process(..., process_id={target!r}).",
            process=target,
        )
    if record.parent and files.read(ProcessId(record.parent)) is not None:
        raise TVArgumentError(
            f'Process "{target}" runs within process "{record.parent}".',
            f"Stop that one: stop_process({record.parent!r}).",
            process=target,
        )
    for each in () if force else (record, *descendants(files, target)):
        if files.is_alive(each.process_id):
            within = "" if each is record else f', which was started within "{target}",'
            raise TVProcessError(
                f'Process "{each.process_id}"{within} runs just now, in operating system process '
                f"{each.pid}.",
                "Wait until it ends, or pass force=True.",
                process=each.process_id,
                pid=each.pid,
            )
    return record


def _has_happened(vault: Vault, target: ProcessId) -> bool:
    """Tell whether a process came to its end before it could be stopped."""
    return vault.journal.index.process(target) is not None


def _unknown(vault: Vault, target: ProcessId) -> TVProcessError:
    """Make the error for a process that is not there to be stopped."""
    if is_process_id(target) and is_finished(vault.journal, target):
        text = f'Process "{target}" has ended.'
    else:
        shown = target if is_process_id(target) else ascii(target)
        text = f'There is no process "{shown}".'
    return TVProcessError(
        text, "get_active_processes() gives those that there are.", process=target
    )


def _kept(vault: Vault, record: Record) -> TempRef | None:
    """Find the temporary instance whose rows can be made an instance; None when there are none."""
    run = run_of_process(vault, record)
    if run is None or not any(part.columns for part in run.parts):
        return None
    return TempRef(table=record.request.text("table_name"), version=record.request.text("version"))


def _plan(record: Record, temp: TempRef | None) -> dict[str, Json]:
    """Say what is to be done, so that it can be done when this process is gone as well."""
    plan: dict[str, Json] = {"stops": record.process_id}
    if temp is not None:
        plan["temp"] = [temp.table, temp.version]
        plan["sources"] = record.plan.get("sources", [])
        plan["code"] = record.plan.get("code", {})
        plan["shipped"] = record.plan.get("shipped", {})
    return plan


def _materialize(vault: Vault, operation: Operation) -> None:
    """Make an instance of the rows that are there, null where none was computed."""
    plan = operation.record.plan
    table, version = cast("list[str]", plan["temp"])
    draft = operation.drafted(TempRef(table=table, version=version))
    temp = temp_or_none(vault.journal.repository, draft.temp)
    run = None if temp is None else run_of_temp(vault, temp)
    if run is None:
        raise TVProcessError(
            f'The rows of table "{table}" are gone that were to be kept.',
            "Execute the instance anew.",
            table=table,
            version=version,
        )
    names = {part.name for part in run.parts}
    sources = cast("list[tuple[str, str, str]]", plan["sources"])
    result = Result(
        dependencies=tuple(
            dict.fromkeys((name, InstanceId(instance)) for name, _, instance in sources)
        ),
        primary_key=run.parts[0].primary_key,
        builders={name: blob for name, blob in _builders(vault, draft).items() if name in names},
        code=cast("dict[str, str]", plan["code"]),
        shipped=cast("dict[str, str]", plan["shipped"]),
        success=False,
    )
    materialize(vault, operation, draft, run.frame(), result)


def _builders(vault: Vault, draft: TempDraft) -> dict[str, str]:
    """Give the builders of a temporary instance by their git ids."""
    snapshot = Snapshot(vault.journal.repository, draft.commit)
    return dict(snapshot.builders(draft.temp.table, draft.temp.version))
