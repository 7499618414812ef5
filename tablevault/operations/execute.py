"""``execute_instance``: builders of a temporary instance are run, and the result materialised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from tablevault.errors import (
    TableReferenceError,
    TableVaultError,
    TVArgumentError,
    TVProcessError,
    TVTableError,
)
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.journal.background import Handed, check_interpreter, launch
from tablevault.journal.beginning import Actor, Setup, begin, refusing, taken_up
from tablevault.journal.locks import alone, code_hold, instance_hold, temp_hold
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Json, Request
from tablevault.names import CODE_DIR, InstanceId, ProcessId, TempRef, check_version, code_path
from tablevault.operations.activity import before_first_call, deactivate_instances
from tablevault.operations.attempt import Attempt, Fixed, fixed_by
from tablevault.operations.call_artifacts import ArtifactFolder
from tablevault.operations.materialize import Result, materialize, named_origin, result_holds
from tablevault.operations.spending import purse_of, run_of, total_of
from tablevault.queries.call_files import call_sources
from tablevault.queries.describe import temp_builders, tracked_builders
from tablevault.queries.origin import (
    code_ids,
    content_of_temp,
    earlier_of,
    file_texts,
    files_beside_modules,
    find_origin,
    fingerprints,
    table_of_origin,
)
from tablevault.queries.read import VaultInputs, instance_document
from tablevault.queries.resolve import Temp, find_temp
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Parameter, Wording

if TYPE_CHECKING:
    from tablevault.engine.calls.ledger import Ledger
    from tablevault.engine.code import Code
    from tablevault.engine.inputs import Source
    from tablevault.engine.plan import Plan
    from tablevault.engine.reuse import Past
    from tablevault.engine.run import Load, RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What is known before the first function is called."""

    plan: Plan
    version: str
    inputs: VaultInputs
    sources: tuple[Source, ...]
    origin: IndexedInstance | None
    """The instance that is started from."""
    why_not: str
    """Why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteOptions:
    """How an instance is to be executed; see `TableVault.execute_instance`."""

    force_execute: bool = False
    background: bool = False
    accept_code: bool | None = None


def execute_instance(
    vault: Vault,
    table: str,
    version: str,
    *,
    options: ExecuteOptions,
    process_id: str,
) -> ProcessId:
    """Run the builders of a temporary instance and materialise what they make."""
    with refusing(
        vault.journal,
        vault.actor(process_id),
        "execute_instance",
        table_name=table,
        version=version,
    ):
        request = Request(
            operation="execute_instance",
            arguments={
                "table_name": table,
                "version": check_version(version),
                "force_execute": options.force_execute,
                "background": options.background,
            },
        )
        request = taken_up(vault.journal, request, process_id)
        # These two are the business of each attempt.
        again: dict[str, Json] = {"accept_code": options.accept_code}
        if options.background:
            again["background"] = True
        request = replace(request, arguments={**request.arguments, **again})
        return perform(vault, request, process_id)


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
        found = _find_with_builders(vault, snapshot, temp)
        texts = temp_builders(vault, found)
        prepared = _prepare(vault, snapshot, found, (texts, fixed), request.flag("force_execute"))
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
        if _is_custom(prepared.plan):
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
        draft = operation.drafted(temp)
        main = operation.snapshot()
        branch = Snapshot(vault.journal.repository, draft.commit)
        texts = tracked_builders(branch, table, temp.version)
        found = _find_with_builders(vault, main, temp)
        prepared = _prepare(vault, main, found, (texts, fixed), forced)
        origin = named_origin(vault, draft) or (
            "" if prepared.origin is None else prepared.origin.instance_id
        )
        files = ArtifactFolder(vault, operation, draft, origin)
        result, code, ledger = _run(
            vault, operation, draft, (main, prepared, ready, request), files
        )
        if not len(result.frame.columns):
            raise TVTableError(
                f'The builders of table "{table}" make no column.',
                "Name at least one column in changed_columns.",
                table=table,
            )
        made = _result(vault, (main, branch), prepared, (result, code, ledger))
        made = replace(
            made,
            kept=files.pointers,
            calls=lambda sink, digest: ledger.write_calls(sink, digest, result.rows),
        )
        instance_id = materialize(vault, operation, draft, result.frame, made)
        operation.follow_up(lambda: ledger.claim(instance_id))
    return operation.process_id


def _find_with_builders(vault: Vault, snapshot: Snapshot, temp: TempRef) -> Temp:
    """Find a temporary instance that can be executed."""
    found = find_temp(vault, snapshot, temp.table, temp.version)
    if found.document.external_edit:
        raise TVArgumentError(
            f'{found.ref.instance_id} of table "{temp.table}" is an external edit.',
            Wording(
                "Fill it: ",
                Call("write_instance", table_df=BLANK, table_name=temp.table, version=temp.version),
                ". Or delete it, and create it without ",
                Parameter("create_instance", "external_edit"),
                ".",
            ),
            table=temp.table,
            version=temp.version,
        )
    return found


def _prepare(
    vault: Vault,
    snapshot: Snapshot,
    found: Temp,
    given: tuple[dict[str, bytes], Fixed],
    forced: bool,
) -> _Prepared:
    """Parse builders, order them, and fix the instances that they read, if they are not yet."""
    from tablevault.engine.builder import parse_builder
    from tablevault.engine.plan import make_plan
    from tablevault.history.snapshot import decode_text

    texts, fixed = given
    temp = found.ref
    builders = [
        parse_builder(name, decode_text(data, f"{name}.yaml"), table=temp.table)
        for name, data in texts.items()
    ]
    plan = make_plan(builders, table=temp.table)
    inputs = VaultInputs(vault=vault, snapshot=snapshot, own_table=temp.table)
    inputs.hold_on_to(fixed.sources)
    sources = _sources(inputs, plan)
    if forced:
        origin, why_not = None, "forced"
    elif fixed.origin is not None:
        origin = vault.journal.index.instance(InstanceId(fixed.origin)) if fixed.origin else None
        why_not = "first run"
    else:
        origin, why_not = find_origin(vault, snapshot, temp, found.document)
    return _Prepared(
        plan=plan,
        version=temp.version,
        inputs=inputs,
        sources=tuple(dict.fromkeys(sources)),
        origin=origin,
        why_not=why_not,
    )


def _sources(inputs: VaultInputs, plan: Plan) -> tuple[Source, ...]:
    """Fix the instances that builders read; who names one that is not there is told where."""
    from tablevault.engine.blame import blamed

    found = []
    for needed in plan.external:
        try:
            found.append(inputs.resolve(needed.table, needed.selector))
        except TableReferenceError as error:
            raise blamed(error, plan.order, needed) from error
    return tuple(found)


def _run(
    vault: Vault,
    operation: Operation,
    draft: TempDraft,
    parts: tuple[Snapshot, _Prepared, Callable[[], None], Request],
    files: ArtifactFolder,
) -> tuple[RunResult, _Code, Ledger]:
    """Call the functions, and name the code that they needed; what they raise passes."""
    from tablevault.engine.run import ARTIFACT_FOLDER, run

    main, prepared, ready, request = parts
    temp = draft.temp
    code = _Code(vault, main)
    load: Load = code.code.load_function
    if main.table(temp.table).side_effects:
        load = before_first_call(load, lambda: deactivate_instances(vault, operation, temp.table))
    folder = vault.journal.faces.artifacts(temp)
    folder.mkdir(parents=True, exist_ok=True)

    def decided() -> Mapping[str, Json]:
        ready()
        return {
            "sources": [list(each) for each in prepared.inputs.fixed],
            "origin": "" if prepared.origin is None else prepared.origin.instance_id,
            "code": dict(code.used()),
            "shipped": dict(code.shipped()),
        }

    with (
        closing(code.code),
        _ledger(vault, operation, draft, (main, prepared, request)) as ledger,
    ):
        result = run(
            prepared.plan,
            inputs=prepared.inputs,
            load=load,
            keywords={
                ARTIFACT_FOLDER: str(folder),
                "~PROCESS_ID~": operation.process_id,
            },
            progress=vault.progress(),
            past=replace(
                _past(vault, main, temp, (prepared, code, ledger)),
                control=Attempt(operation, decided),
                files=files,
            ),
        )
    return result, code, ledger


def _ledger(
    vault: Vault, operation: Operation, draft: TempDraft, parts: tuple[Snapshot, _Prepared, Request]
) -> Ledger:
    """Open the records of calls, and say which of them count for this execution."""
    from tablevault.engine.calls.ledger import Ledger, Terms

    main, prepared, request = parts
    ledger = Ledger(
        vault.calls,
        temp=vault.journal.checkpoints.made_by(draft.tip),
        left=vault.journal.checkpoints.folder(draft.tip),
        process=operation.process_id,
        terms=Terms(
            forced=request.flag("force_execute"),
            private=main.table(draft.temp.table).side_effects,
            accept_code=cast("bool | None", request.arguments.get("accept_code")),
        ),
        sources=call_sources(vault, main.table(draft.temp.table).id, prepared.origin),
    )
    ledger.purse = purse_of(vault, draft.temp)
    return ledger


def _past(
    vault: Vault, main: Snapshot, temp: TempRef, parts: tuple[_Prepared, _Code, Ledger]
) -> Past:
    """Say what may be taken over."""
    from tablevault.engine.reuse import Past

    prepared, code, ledger = parts
    earlier, why_not = None, prepared.why_not
    if prepared.origin is not None:
        try:
            earlier = earlier_of(vault, main, prepared.origin)
        except TableVaultError as error:
            why_not = f"{prepared.origin.instance_id} cannot be read: {error.message}"
    return Past(
        earlier=earlier,
        why_not=why_not,
        fingerprint=code.fingerprint,
        content=content_of_temp(vault, main, temp, prepared.origin),
        ledger=ledger,
        file_text=file_texts(vault, temp),
    )


class _Code:
    """The code modules as they are when an execution begins, and which of them it needed."""

    def __init__(self, vault: Vault, main: Snapshot) -> None:
        from tablevault.engine.code import Code
        from tablevault.engine.module_sets import home_of

        self._blobs = main.code_modules()
        self._texts = {
            name: main.text_of(blob, code_path(name)) for name, blob in self._blobs.items()
        }
        paths = {name: str(vault.path / code_path(name)) for name in self._blobs}
        home = home_of(str(vault.path), main.tree_id(CODE_DIR) or "")
        self.code: Code = Code(self._texts, paths, home)
        self.code_of = code_ids(self._texts, self._blobs)
        self.fingerprint = fingerprints(
            {
                f"{name}.py": text.encode("utf-8", "surrogatepass")
                for name, text in self._texts.items()
            },
            files_beside_modules(vault.path / CODE_DIR),
        )

    def used(self) -> dict[str, str]:
        """Give the git blob ids of the modules that ran or that these may import."""
        names = {name for each in self.code.used for name in self.code_of(each, True)}
        return {name: blob for name, blob in self._blobs.items() if name in names}

    def shipped(self) -> dict[str, str]:
        """Give ids of the modules of the package that were needed."""
        return {
            name: found
            for each in sorted(self.code.shipped)
            for name, found in self.code_of(each, False).items()
        }


def _result(
    vault: Vault,
    snapshots: tuple[Snapshot, Snapshot],
    prepared: _Prepared,
    ran: tuple[RunResult, _Code, Ledger],
) -> Result:
    """Note what the instance was made from: texts by their git ids, instances that were read."""
    main, branch = snapshots
    result, code, ledger = ran
    spent = ledger.spent()
    origin = prepared.origin
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


def _is_custom(plan: Plan) -> bool:
    """Tell whether a builder calls, or by a reference may call, a module of the vault."""
    return any(builder.is_custom is not False for builder in plan.order)
