"""``stop_process``: a process is ended from outside, and what it made so far is kept if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, cast

from tablevault.errors import TVArgumentError, TVFileError, TVProcessError
from tablevault.history.snapshot import Snapshot
from tablevault.journal.admission import allows_edits
from tablevault.journal.beginning import is_finished, taken_up
from tablevault.journal.locks import descendants
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Record, Request
from tablevault.journal.stopping import halt, take_down
from tablevault.names import InstanceId, ProcessId, TempRef, is_process_id
from tablevault.operations.materialize import Result, materialize
from tablevault.operations.spending import spent_for
from tablevault.queries.origin import table_of_origin
from tablevault.queries.partial import run_of_process, run_of_temp
from tablevault.queries.resolve import temp_or_none
from tablevault.vault import Vault
from tablevault.wording import Call, Parameter, Wording

if TYPE_CHECKING:
    from tablevault.engine.partial import PartialRun

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

    Dies or fails before the instance is committed, or before the process is taken down when none
    is made: the process is paused, with all its rows. Dies later: who comes next takes it down.
    Nobody can take the process up meanwhile, since what it holds is held here.
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
        if not (operation.record.plan and vault.journal.files.read(target) is None):
            _stop(vault, operation, _find(vault, target, force=request.flag("force")))
    return operation.process_id


def _stop(vault: Vault, operation: Operation, record: Record) -> None:
    """End a process that was found; an instance of its rows is made before, as that can fail."""
    request, target = operation.record.request, record.process_id
    halt(vault.journal, record, vault.lock_timeout_s)
    temp = _kept(vault, record) if request.flag("materialize") else None
    operation.allows_edits = allows_edits(record.request)
    draft = None if temp is None else operation.drafted(temp)
    operation.note({"stops": target})
    if draft is not None:
        _materialize(vault, operation, record, draft)
        operation.follow_up(lambda: _take_down(vault, target))
    elif not _take_down(vault, target) and _has_happened(vault, target):
        raise _unknown(vault, target)


def _take_down(vault: Vault, target: ProcessId) -> bool:
    """Take a process back that was stopped; False when it came to its end before."""
    was_there = take_down(vault.journal, target)
    if was_there and vault.journal.files.read(target) is not None:
        raise TVFileError(
            f'The record of process "{target}" cannot be removed.',
            f'Look who may write to "{vault.journal.files.path_of(target)}", and stop it again.',
            process=target,
        )
    return was_there


def _find(vault: Vault, target: ProcessId, *, force: bool) -> Record:
    """Find the process that is to be stopped; refuse what cannot be."""
    files = vault.journal.files
    record = files.read(target) if is_process_id(target) else None
    if record is None:
        raise _unknown(vault, target)
    if record.request.operation == _OPERATION:
        raise TVArgumentError(
            f'Process "{target}" stops another one.',
            Wording(
                "Let it end: ",
                Call(
                    "stop_process",
                    to_stop_process_id=record.request.text("to_stop_process_id"),
                    process_id=target,
                ),
                ".",
            ),
            process=target,
        )
    if record.parent and files.read(ProcessId(record.parent)) is not None:
        raise TVArgumentError(
            f'Process "{target}" runs within process "{record.parent}".',
            Wording("Stop that one: ", Call("stop_process", to_stop_process_id=record.parent), "."),
            process=target,
        )
    for each in () if force else (record, *descendants(files, target)):
        if files.is_alive(each.process_id):
            within = "" if each is record else f', which was started within "{target}",'
            raise TVProcessError(
                f'Process "{each.process_id}"{within} runs just now, in operating system process '
                f"{each.pid}.",
                Wording(
                    "Wait until it ends, or end it: ",
                    Call("stop_process", to_stop_process_id=target, force=True),
                    ".",
                ),
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
        text,
        Wording("Those that there are: ", Call("get_active_processes"), "."),
        process=target,
    )


def _kept(vault: Vault, record: Record) -> TempRef | None:
    """Find the temporary instance whose rows can be made an instance; None when there are none."""
    if _has_happened(vault, record.process_id):
        return None
    run = run_of_process(vault, record)
    if run is None or not any(part.columns for part in run.parts):
        return None
    return TempRef(table=record.request.text("table_name"), version=record.request.text("version"))


def _materialize(vault: Vault, operation: Operation, record: Record, draft: TempDraft) -> None:
    """Make an instance of the rows that are there, null where none was computed."""
    temp = temp_or_none(vault.journal.repository, draft.temp)
    run = None if temp is None else run_of_temp(vault, temp)
    if run is None:
        raise TVProcessError(
            f'The rows of process "{record.process_id}" are gone that were to be kept.',
            Wording(
                "Stop it without ",
                Parameter(_OPERATION, "materialize"),
                ", and execute the instance anew.",
            ),
            process=record.process_id,
            table=draft.temp.table,
            version=draft.temp.version,
        )
    plan = record.plan
    names = {part.name for part in run.parts}
    sources = cast("list[tuple[str, str, str]]", plan.get("sources", []))
    result = Result(
        dependencies=tuple(
            dict.fromkeys((name, InstanceId(instance)) for name, _, instance in sources)
        ),
        primary_key=run.parts[0].primary_key,
        builders={name: blob for name, blob in _builders(vault, draft).items() if name in names},
        code=cast("dict[str, str]", plan.get("code", {})),
        shipped=cast("dict[str, str]", plan.get("shipped", {})),
        calls=lambda sink, digest: _write_calls(vault, run, sink, digest),
        origin=_origin(vault, str(plan.get("origin", ""))),
        spent=spent_for(vault, draft.temp),
        success=False,
    )
    instance_id = materialize(vault, operation, draft, run.frame(), result)
    operation.follow_up(lambda: vault.calls.claim(run.number, instance_id, {}))


def _write_calls(vault: Vault, run: PartialRun, sink: IO[bytes], digest: str) -> bool:
    """Write the calls that made the rows, with their values."""
    from tablevault.engine.calls.call_file import write_calls
    from tablevault.engine.calls.held import held_calls

    builders = {
        part.name: {"code": "", "is_exact": False, "columns": list(part.columns)}
        for part in run.parts
    }
    vault.calls.place_failures(run.number)
    table = held_calls(vault.calls, run.number, builders, range(len(run.frame())), run.kept())
    return write_calls(table, sink, digest, builders)


def _origin(vault: Vault, instance_id: str) -> tuple[str, str]:
    """Return id and table of the instance that an execution started from, empty for none."""
    origin = vault.journal.index.instance(instance_id) if instance_id else None
    if origin is None or origin.deleted_at:
        return "", ""
    return origin.instance_id, table_of_origin(vault.snapshot(), origin)


def _builders(vault: Vault, draft: TempDraft) -> dict[str, str]:
    """Give the builders of a temporary instance by their git ids."""
    snapshot = Snapshot(vault.journal.repository, draft.commit)
    return dict(snapshot.builders(draft.temp.table, draft.temp.version))
