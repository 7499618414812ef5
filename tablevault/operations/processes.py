"""Stop processes, restart crashed ones, and run one in an interpreter of its own."""

from __future__ import annotations

import os
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, cast

from tablevault.errors import (
    TableVaultError,
    TVArgumentError,
    TVFileError,
    TVLockError,
    TVProcessError,
)
from tablevault.history.commits.change import Change
from tablevault.history.commits.snapshot import Snapshot
from tablevault.model.view import VaultView
from tablevault.names import InstanceId, ProcessId, TempRef, is_process_id
from tablevault.operations.call_costs import spent_by_builders, total_of
from tablevault.operations.execute import ExecuteInstance, perform_handed
from tablevault.operations.materialize import (
    NewInstance,
    Result,
    plan_instance,
    prepared_document,
    store,
)
from tablevault.queries.calls import run_of_process, run_of_temp
from tablevault.render import counted
from tablevault.secrets import redact, text_to_keep
from tablevault.transactions.allowed_secrets import allows_edits
from tablevault.transactions.background import Handed, accept
from tablevault.transactions.begin import Actor, is_finished
from tablevault.transactions.claims import descendants
from tablevault.transactions.operation import Operation, decoded_operation, operation
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.recovery import end_stopped, roll_back, roll_forward
from tablevault.transactions.stopping import halt
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, Parameter, Wording

if TYPE_CHECKING:
    from tablevault.engine.execution.partial import PartialRun


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stopping:
    """The rows of a stopped process, kept or not."""

    new: NewInstance | None = None
    """The instance that is made of them."""
    run: int = 0
    """Number under which their calls are recorded."""
    is_down: bool = False
    """Whether an earlier attempt has taken the process down."""


@operation("stop_process")
@dataclass(frozen=True, slots=True, kw_only=True)
class StopProcess(Operation[Vault, VaultView, _Stopping]):
    """End a process that runs or is paused; `materialize` makes an instance of its rows.

    If it crashes or fails before the instance is committed, or before the process is taken down
    when none is made, the process is paused, with all its rows. If it crashes later, the next
    operation takes the process down. Nobody can resume it meanwhile, since its claims are held
    here.
    """

    to_stop_process_id: str
    force: bool = False
    materialize: bool = False

    @property
    def target(self) -> ProcessId:
        """The process to stop."""
        return ProcessId(self.to_stop_process_id)

    def acting(self, actor: Actor) -> Actor:
        """Return an actor whom the claims of the process do not exclude."""
        # What is no text is no id, and is refused later.
        return replace(actor, takes_over=self.target if is_process_id(self.target) else "")

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim what the process and its children hold."""
        if record.plan:
            return record.holds
        found = _find(view.parts, self.target, force=self.force)
        family = (found, *descendants(view.parts.files, self.target))
        return [hold for each in family for hold in each.holds]

    def prepare(self, vault: Vault, tx: Transaction) -> _Stopping:
        """End it, and store its rows, as that can fail."""
        if tx.record.plan and vault.records.read(self.target) is None:
            return _Stopping(is_down=True)
        record = _find(vault.parts, self.target, force=self.force)
        halt(vault.parts, record, vault.lock_timeout_s)
        temp = _kept(vault, record) if self.materialize else None
        tx.allows_edits = allows_edits(record.request)
        branch = None if temp is None else tx.edited_branch(temp)
        tx.note({"stops": self.target})
        return _Stopping() if branch is None else _store(vault, tx, record, branch)

    def publishes(self, prepared: _Stopping) -> bool:
        """Return whether there is an instance."""
        return prepared.new is not None

    def plan(self, view: VaultView, tx: Transaction, prepared: _Stopping, at: float) -> Change:
        """Publish the instance of its rows."""
        assert prepared.new is not None, "no rows are kept"
        return plan_instance(view, tx, prepared.new, at)

    def finish(self, vault: Vault, tx: Transaction, prepared: _Stopping) -> None:
        """Take it down."""
        target, new = self.target, prepared.new
        if new is not None:
            tx.follow_up(lambda: vault.calls.assign(prepared.run, new.instance_id, {}))
            tx.follow_up(lambda: _take_down(vault.parts, target))
        elif not (prepared.is_down or _take_down(vault.parts, target)) and _has_happened(
            vault.parts, target
        ):
            raise _unknown(vault.parts, target)


def _take_down(parts: VaultParts, target: ProcessId) -> bool:
    """Take a process back that was stopped; False when it came to its end before."""
    with parts.files.mutex():  # nobody resumes it meanwhile
        was_there = end_stopped(parts, target)
    if was_there and parts.files.read(target) is not None:
        raise TVFileError(
            f'The record of process "{target}" cannot be removed.',
            f'Check who may write to "{parts.files.path_of(target)}", and stop it again.',
            process=target,
        )
    return was_there


def _find(parts: VaultParts, target: ProcessId, *, force: bool) -> Record:
    """Find the process that is to be stopped; refuse what cannot be."""
    files = parts.files
    record = files.read(target) if is_process_id(target) else None
    if record is None:
        raise _unknown(parts, target)
    if record.request.operation == StopProcess.operation_name:
        raise TVArgumentError(
            f'Process "{target}" stops another one.',
            Wording(
                "Let it end: ",
                Call(
                    "stop_process",
                    to_stop_process_id=record.request.arguments["to_stop_process_id"],
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


def _has_happened(parts: VaultParts, target: ProcessId) -> bool:
    """Return whether a process came to its end before it could be stopped."""
    return parts.index.process(target) is not None


def _unknown(parts: VaultParts, target: ProcessId) -> TVProcessError:
    """Make the error for a process that is not there to be stopped."""
    if is_process_id(target) and is_finished(parts, target):
        text = f'Process "{target}" has ended.'
    else:
        shown = target if is_process_id(target) else ascii(target)[1:-1]
        text = f'There is no process "{shown}".'
    return TVProcessError(
        text, Wording("Those that there are: ", Call("get_active_processes"), "."), process=target
    )


def _kept(vault: Vault, record: Record) -> TempRef | None:
    """Find the temporary instance whose rows can be made an instance; None when there are none."""
    if _has_happened(vault.parts, record.process_id):
        return None
    run = run_of_process(vault, record)
    if run is None or not any(part.columns for part in run.parts):
        return None
    execution = decoded_operation(record.request)
    return execution.temp if isinstance(execution, ExecuteInstance) else None


def _store(vault: Vault, tx: Transaction, record: Record, branch: EditedBranch) -> _Stopping:
    """Store the rows that are there, null where none was computed."""
    temp = vault.temp(branch.temp)
    run = None if temp is None else run_of_temp(vault, temp)
    if run is None:
        raise TVProcessError(
            f'The rows of process "{record.process_id}" that were to be kept are gone.',
            Wording(
                "Stop it without ",
                Parameter("stop_process", "materialize"),
                ", and execute the instance anew.",
            ),
            process=record.process_id,
            table=branch.temp.table,
            version=branch.temp.version,
        )
    plan, view = record.plan, vault.view()
    table_id, origin_id = view.table(branch.temp.table).id, str(plan.get("origin", ""))
    origin = view.instance(origin_id) if origin_id else None
    blobs = Snapshot(vault.repository, branch.commit).builders(*branch.temp)
    names = {part.name for part in run.parts}
    sources = cast("list[tuple[str, str, str]]", plan.get("sources", []))
    document = prepared_document(vault.parts, branch)
    if not document.origin[0] and origin is not None and not origin.deleted_at:
        document = replace(document, origin=(origin.instance_id, view.name_of(origin)))
    result = Result(
        document=replace(
            document,
            dependencies=tuple(
                dict.fromkeys((name, InstanceId(instance)) for name, _, instance in sources)
            ),
            primary_key=run.parts[0].primary_key,
            builders={name: blob for name, blob in blobs.items() if name in names},
            code=cast("dict[str, str]", plan.get("code", {})),
            shipped=cast("dict[str, str]", plan.get("shipped", {})),
            success=False,
        ),
        calls=lambda sink, digest: _write_calls(vault, run, sink, digest),
        spent=total_of(spent_by_builders(vault, table_id, branch.temp.version)),
    )
    return _Stopping(new=store(vault, tx, branch, run.frame(), result), run=run.number)


def _write_calls(vault: Vault, run: PartialRun, sink: IO[bytes], digest: str) -> bool:
    """Write the calls that made the rows, with their values."""
    from tablevault.engine.calls.call_file import write_calls
    from tablevault.engine.calls.instance_calls import held_calls

    builders = {
        part.name: {"code": "", "is_exact": False, "columns": list(part.columns)}
        for part in run.parts
    }
    vault.calls.place_failures(run.number)
    tables = held_calls(vault.calls, run.number, builders, range(len(run.frame())), run.kept())
    return write_calls(tables, sink, digest, builders)


# -- processes that crashed ---------------------------------------------------------------------


def restart_processes(vault: Vault) -> None:
    """Run every process to its end that has a record and does not run.

    Each is handled for itself; what fails is reported by one warning at the end. Processes that
    stop others come first, so that these are not run instead of stopped.
    """
    files = vault.records
    failures = []
    for record in sorted(
        files.every(), key=lambda each: each.request.operation != StopProcess.operation_name
    ):
        try:
            problem = _restart(vault, record)
        except KeyboardInterrupt:
            raise
        # One bad record must not keep the vault closed, nor a function that wants to exit.
        except BaseException as error:  # noqa: BLE001
            # Another interpreter may have been faster.
            ended = isinstance(error, TVProcessError) and files.read(record.process_id) is None
            runs = ended or files.is_alive(record.process_id)
            problem = "" if runs else f"{type(error).__name__}: {text_to_keep(error)}"
        if problem:
            failures.append(f"{record.request.operation} {record.process_id}: {problem}")
    if failures:
        warnings.warn(
            f"{counted(len(failures), 'process', 'processes')} could not be restarted: "
            + "; ".join(failures),
            RuntimeWarning,
            stacklevel=5,
        )


def _restart(vault: Vault, record: Record) -> str:
    """Run one process again, with the arguments it was started with; return why not, if so.

    A child is left to its parent. When the parent has ended, only a child with an id of its own is
    run again.
    """
    files, process_id = vault.records, record.process_id
    if files.is_alive(process_id) or files.read(process_id) is None:
        return ""
    if record.parent and files.read(ProcessId(record.parent)) is not None:
        return ""
    asked = decoded_operation(record.request)
    if asked is None or (record.parent and not record.named):
        _take_back(vault, record)
        needs = "only its caller can run it again; it was taken back"
        return needs if asked is None else ""
    try:
        asked.start(vault, vault.actor(process_id))
    except TVLockError:
        raise  # another process is in the way: it goes on waiting
    except TableVaultError:
        left = files.read(process_id)
        if left is not None and not left.plan and not files.is_alive(process_id):
            _take_back(vault, left)  # it cannot begin, and has done nothing that would be lost
        raise
    return ""


def _take_back(vault: Vault, record: Record) -> None:
    """End a process that cannot be run again; unless it has happened."""
    with vault.records.mutex():
        if not roll_forward(vault.parts, record):
            roll_back(vault.parts, record)


# -- an interpreter of its own ------------------------------------------------------------------


def main() -> None:
    """Go on with the process that was handed over; its output goes to its log.

    What a function raises is printed with its traceback, as in any program, before the process
    ends or is paused. Keys are taken out of it.
    """
    handed = accept()
    outcome = _Outcome()
    try:
        _log_line(f"process {handed.process_id} runs in operating system process {os.getpid()}")
        perform_handed(_vault(handed), handed, outcome)
    except BaseException as error:
        handed.failed(error)
        if not outcome.is_logged:
            raise
        sys.exit(1)


class _Outcome:
    """Logs how the work ended."""

    is_logged = False

    def __enter__(self) -> None:
        """Begin; that is logged already."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Log that the work is done, or the error that ended it."""
        if error is not None:
            sys.stderr.write(redact("".join(traceback.format_exception(error))))
        _log_line("ended" if error is None else "failed")
        self.is_logged = True


def _vault(handed: Handed) -> Vault:
    """Open the vault as the caller had opened it."""
    order = handed.order
    return Vault(
        path=Path(cast("str", order["path"])),
        author=cast("str", order["author"]),
        lock_timeout_s=cast("float", order["lock_timeout_s"]),
    )


def _log_line(text: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stdout.flush()
