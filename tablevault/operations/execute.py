"""``execute_instance``: builders of a temporary instance are run, and the result materialised."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from tablevault.errors import TVArgumentError, TVProcessError, TVTableError
from tablevault.history.snapshot import Snapshot
from tablevault.journal.background import Handed, check_interpreter, launch
from tablevault.journal.beginning import Actor, Setup, begin, refusing, taken_up
from tablevault.journal.locks import alone, code_hold, instance_hold, temp_hold
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Json, Request
from tablevault.names import ProcessId, TempRef, check_version
from tablevault.operations.activity import before_first_call, deactivate_instances
from tablevault.operations.attempt import Attempt, fixed_by
from tablevault.operations.call_artifacts import ArtifactFolder
from tablevault.operations.materialize import Result, materialize, named_origin, result_holds
from tablevault.operations.preparing import (
    Prepared,
    VaultCode,
    find_with_builders,
    is_custom,
    past_of,
    prepare,
    terms_of,
)
from tablevault.operations.spending import purse_of, run_of, total_of
from tablevault.queries.call_files import call_sources
from tablevault.queries.describe import temp_builders, tracked_builders
from tablevault.queries.origin import table_of_origin
from tablevault.queries.read import instance_document
from tablevault.render import counted
from tablevault.vault import Vault
from tablevault.wording import Call, Parameter, Wording

if TYPE_CHECKING:
    from tablevault.engine.calls.ledger import Ledger
    from tablevault.engine.policy import RunLimits
    from tablevault.engine.ready import Load, Ready
    from tablevault.engine.run import RunResult


_OF_ATTEMPT = ("sample", "max_calls", "max_cost")
"""Arguments that hold for one attempt, and not when it is gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteOptions:
    """How an instance is to be executed; see `TableVault.execute_instance`."""

    force_execute: bool = False
    background: bool = False
    accept_code: bool | None = None
    sample: int | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    allow_secret: bool = False


def execute_instance(
    vault: Vault,
    table: str,
    version: str,
    *,
    options: ExecuteOptions,
    process_id: str,
) -> ProcessId:
    """Run the builders of a temporary instance and materialise what they make."""
    sample = _checked_sample(options.sample)
    most = checked_most("execute_instance", options.max_calls, options.max_cost)
    with refusing(
        vault.journal,
        vault.actor(process_id),
        "execute_instance",
        table_name=table,
        version=version,
    ):
        first = Request(
            operation="execute_instance",
            arguments={
                "table_name": table,
                "version": check_version(version),
                "force_execute": options.force_execute,
                "background": options.background,
            },
        )
        request = taken_up(vault.journal, first, process_id)
        if sample is not None and request is not first and "sample" not in request.arguments:
            raise _not_a_trial(request, process_id, sample)
        # These are the business of each attempt.
        arguments = {key: each for key, each in request.arguments.items() if key not in _OF_ATTEMPT}
        arguments["accept_code"] = options.accept_code
        if options.background:
            arguments["background"] = True
        if options.allow_secret:
            arguments["allow_secret"] = True
        if sample is not None:
            arguments["sample"] = sample
        arguments |= most
        return perform(vault, replace(request, arguments=arguments), process_id)


def _checked_sample(sample: int | None) -> int | None:
    """Return the number of rows of a trial as an int of Python's; refuse one that is not any."""
    if sample is not None and sample < 1:
        raise TVArgumentError(
            Wording("Argument ", Parameter("execute_instance", "sample"), f" is {sample}."),
            "It has to be at least 1; without it all rows are made.",
            argument="sample",
        )
    return None if sample is None else operator.index(sample)


def checked_most(operation: str, max_calls: int | None, max_cost: float | None) -> dict[str, Json]:
    """Return what an operation may spend now, by argument; refuse what no budget can be."""
    found: dict[str, Json] = {}
    for name, value in (("max_calls", max_calls), ("max_cost", max_cost)):
        if value is None:
            continue
        if not value >= 0 or (name == "max_calls" and int(value) != value):
            raise TVArgumentError(
                Wording("Argument ", Parameter(operation, name), f" is {value}."),
                "It has to be 0 or more; without it there is no such limit.",
                argument=name,
            )
        found[name] = int(value) if name == "max_calls" else float(value)
    return found


def _not_a_trial(request: Request, process_id: str, sample: int) -> TVArgumentError:
    """Make the error for a trial under the id of an execution that waits to make all rows."""
    return TVArgumentError(
        f'Process "{process_id}" is a paused execution of all rows, no trial of '
        f"{counted(sample, 'row')}.",
        Wording(
            "Go on with all rows: ",
            Call(
                "execute_instance",
                table_name=request.text("table_name"),
                version=request.text("version"),
                process_id=process_id,
            ),
            ".",
        ),
        process=process_id,
        sample=sample,
    )


def perform(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Execute the instance that is asked for, from where an earlier attempt stopped."""
    actor = vault.actor(process_id)
    if request.arguments.get("background"):
        return _start(vault, request, actor)
    return _perform(vault, request, actor, lambda: None, nullcontext())


def perform_handed(vault: Vault, handed: Handed, told: AbstractContextManager[None]) -> None:
    """Execute the instance for which this interpreter was started, the work within `told`."""
    record = vault.journal.files.read(handed.process_id)
    if record is None:
        raise TVProcessError(
            f'The record of process "{handed.process_id}" is gone.', process=handed.process_id
        )
    actor = replace(vault.actor(handed.process_id), lock=handed.lock)
    _perform(vault, record.request, actor, handed.ready, told)


def _start(vault: Vault, request: Request, actor: Actor) -> ProcessId:
    """Begin here, where mistakes are raised, and let another interpreter go on."""
    check_interpreter()
    record, lock = begin(vault.journal, request, actor, _setup(vault, request, actor))
    order: dict[str, Json] = {
        "path": str(vault.path),
        "author": vault.author,
        "lock_timeout_s": vault.lock_timeout_s,
    }
    record = replace(record, request=request)
    launch(vault.journal, record, lock, "tablevault.operations.detached", order)
    return record.process_id


def _setup(vault: Vault, request: Request, actor: Actor) -> Setup:
    """Give what checks the request and says what is to be held."""
    temp = TempRef(table=request.text("table_name"), version=request.text("version"))
    table, fixed = temp.table, fixed_by(vault, actor.process_id)

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        found = find_with_builders(vault, snapshot, temp)
        texts = temp_builders(vault, found)
        prepared = prepare(vault, snapshot, found, (texts, fixed), request.flag("force_execute"))
        mine = [
            temp_hold(table, temp.version),
            *(
                instance_hold(each.table, each.instance_id, exclusive=False)
                for each in prepared.sources
            ),
        ]
        if prepared.origin is not None:
            origin_table = table_of_origin(snapshot, prepared.origin)
            mine.append(instance_hold(origin_table, prepared.origin.instance_id, exclusive=False))
        holds = [*map(alone, mine), *result_holds(snapshot.table(table), temp)]
        if is_custom(prepared.plan):
            holds.append(code_hold(exclusive=False))
        return holds

    return setup


def _perform(
    vault: Vault,
    request: Request,
    actor: Actor,
    ready: Callable[[], None],
    told: AbstractContextManager[None],
) -> ProcessId:
    """Execute in this interpreter; `ready` is called before the first function is."""
    temp = TempRef(table=request.text("table_name"), version=request.text("version"))
    table, fixed = temp.table, fixed_by(vault, actor.process_id)
    forced = request.flag("force_execute")
    setup = _setup(vault, request, actor)
    with running(vault.journal, request, actor, setup) as operation, told:
        operation.ask_anew(request)
        draft = operation.drafted(temp)
        main = operation.snapshot()
        branch = Snapshot(vault.journal.repository, draft.commit)
        texts = tracked_builders(branch, table, temp.version)
        found = find_with_builders(vault, main, temp)
        prepared = prepare(vault, main, found, (texts, fixed), forced)
        attempt = _Attempt(
            vault=vault,
            operation=operation,
            draft=draft,
            main=main,
            prepared=prepared,
            code=VaultCode(vault, main),
            ready=ready,
            request=request,
        )
        sample = request.arguments.get("sample")
        if sample is not None:
            _try(attempt, cast("int", sample))
            return operation.process_id
        result = _run(attempt)
        if not len(result.frame.columns):
            raise TVTableError(
                f'The builders of table "{table}" make no column.',
                "Name at least one column in changed_columns.",
                table=table,
            )
        made = _result(attempt, branch, result)
        made = replace(
            made,
            kept=attempt.files.pointers,
            calls=lambda sink, digest: attempt.ledger.write_calls(sink, digest, result.rows),
        )
        instance_id = materialize(vault, operation, draft, result.frame, made)
        operation.follow_up(lambda: attempt.ledger.claim(instance_id))
    return operation.process_id


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One attempt at an execution, with all that it needs."""

    vault: Vault
    operation: Operation
    draft: TempDraft
    main: Snapshot
    prepared: Prepared
    code: VaultCode
    ready: Callable[[], None]
    request: Request
    ledger: Ledger = field(init=False)
    files: ArtifactFolder = field(init=False)

    def __post_init__(self) -> None:
        """Open the records of calls, say which of them count, and find the artifacts."""
        from tablevault.engine.calls.ledger import Ledger

        vault, origin = self.vault, self.prepared.origin
        self.ledger = Ledger(
            vault.calls,
            temp=vault.journal.checkpoints.made_by(self.draft.tip),
            left=vault.journal.checkpoints.folder(self.draft.tip),
            process=self.operation.process_id,
            terms=terms_of(
                self.main.table(self.draft.temp.table),
                forced=self.request.flag("force_execute"),
                accept_code=cast("bool | None", self.request.arguments.get("accept_code")),
            ),
            sources=call_sources(vault, self.main.table(self.draft.temp.table).id, origin),
        )
        self.ledger.purse = purse_of(vault, self.draft.temp)
        start = named_origin(vault, self.draft) or ("" if origin is None else origin.instance_id)
        self.files = ArtifactFolder(vault, self.operation, self.draft, start)

    def decided(self) -> Mapping[str, Json]:
        """Return to what the process holds on from its first call on."""
        self.ready()
        origin = self.prepared.origin
        return {
            "sources": [list(each) for each in self.prepared.inputs.fixed],
            "origin": "" if origin is None else origin.instance_id,
            "code": dict(self.code.used()),
            "shipped": dict(self.code.shipped()),
        }


def _run(attempt: _Attempt) -> RunResult:
    """Call the functions; what they raise passes."""
    from tablevault.engine.run import run_all

    with _readied(attempt) as run:
        return run_all(run)


def _try(attempt: _Attempt, rows: int) -> None:
    """Call the functions for the first rows; no instance is made of what they return."""
    from tablevault.engine.run import run_first

    with _readied(attempt) as run:
        run_first(run, rows)


@contextmanager
def _readied(attempt: _Attempt) -> Iterator[Ready]:
    """Check what can be checked before the first call."""
    from tablevault.engine.ready import ARTIFACT_FOLDER, ready

    vault, operation, temp = attempt.vault, attempt.operation, attempt.draft.temp
    main, prepared, code = attempt.main, attempt.prepared, attempt.code
    load: Load = code.code.load_function
    if main.table(temp.table).side_effects:
        load = before_first_call(load, lambda: deactivate_instances(vault, operation, temp.table))
    folder = vault.journal.faces.artifacts(temp)
    folder.mkdir(parents=True, exist_ok=True)
    with closing(code.code), attempt.ledger as ledger:
        past = past_of(vault, main, temp, (prepared, code, ledger), folder)
        with ready(
            prepared.plan,
            inputs=prepared.inputs,
            load=load,
            keywords={ARTIFACT_FOLDER: str(folder), "~PROCESS_ID~": operation.process_id},
            progress=vault.progress(),
            past=replace(
                past,
                control=Attempt(operation, attempt.decided),
                files=attempt.files,
                limits=_limits(attempt),
                batches=vault.state / "batches",
            ),
        ) as run:
            yield run


def _limits(attempt: _Attempt) -> RunLimits:
    """Return what limits the calls of an attempt."""
    from tablevault.engine.policy import RunLimits

    arguments = attempt.request.arguments
    settings = attempt.main.vault()
    return RunLimits(
        vault=settings.limits,
        prices=settings.prices,
        max_calls=cast("int | None", arguments.get("max_calls")),
        max_cost=cast("float | None", arguments.get("max_cost")),
        rates=attempt.vault.state / "rates.sqlite",
        begun=attempt.vault.state / "begun",
    )


def _result(attempt: _Attempt, branch: Snapshot, result: RunResult) -> Result:
    """Note what the instance was made from: texts by their git ids, instances that were read."""
    prepared, code, origin = attempt.prepared, attempt.code, attempt.prepared.origin
    main, vault = attempt.main, attempt.vault
    spent = attempt.ledger.spent()
    sources = dict.fromkeys((*prepared.sources, *result.sources))
    plan = result.plan
    blobs = branch.builders(plan.table, prepared.version)
    return Result(
        dependencies=tuple((source.table, source.instance_id) for source in sources),
        primary_key=result.primary_key,
        builders={builder.name: blobs[builder.name] for builder in plan.order},
        code=code.used(),
        shipped=code.shipped(),
        execution={each.name: run_of(each, spent.get(each.name)) for each in result.builders},
        spent=total_of(spent),
        origin=("", "") if origin is None else (origin.instance_id, table_of_origin(main, origin)),
        reuses=instance_document(vault, origin).digest if origin and result.is_same else "",
    )
