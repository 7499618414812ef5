"""``execute_instance``: builders of a temporary instance are run, and the result materialised."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.snapshot import Snapshot
from tablevault.journal.beginning import taken_up
from tablevault.journal.locks import alone, code_hold, instance_hold, temp_hold
from tablevault.journal.operation import Operation, TempDraft, running
from tablevault.journal.record import Hold, Json, Request
from tablevault.names import ProcessId, TempRef, check_version, code_path
from tablevault.operations.activity import before_first_call, deactivate_instances
from tablevault.operations.attempt import Attempt, FixedSources, fixed_sources
from tablevault.operations.materialize import Result, materialize, result_holds
from tablevault.queries.describe import temp_builders, tracked_builders
from tablevault.queries.read import VaultInputs
from tablevault.queries.resolve import Temp, find_temp
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.inputs import Source
    from tablevault.engine.plan import Plan
    from tablevault.engine.run import Load, RunResult


_log = logging.getLogger("tablevault")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What is known before the first function is called."""

    plan: Plan
    inputs: VaultInputs
    sources: tuple[Source, ...]


def execute_instance(
    vault: Vault, table: str, version: str, *, force_execute: bool, process_id: str
) -> ProcessId:
    """Run the builders of a temporary instance and materialise what they make."""
    request = Request(
        operation="execute_instance",
        arguments={
            "table_name": table,
            "version": check_version(version),
            "force_execute": force_execute,
        },
    )
    return perform(vault, taken_up(vault.journal, request, process_id), process_id)


def perform(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Execute the instance that is asked for, from where an earlier attempt stopped."""
    temp = TempRef(table=request.text("table_name"), version=request.text("version"))
    table, fixed = temp.table, fixed_sources(vault, process_id)

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        found = _find_with_builders(vault, snapshot, temp)
        prepared = _prepare(vault, snapshot, temp, (temp_builders(vault, found), fixed))
        mine = [
            temp_hold(table, temp.version),
            *(
                instance_hold(each.table, each.instance_id, exclusive=False)
                for each in prepared.sources
            ),
        ]
        holds = [*map(alone, mine), *result_holds(snapshot.table(table), temp)]
        if _is_custom(prepared.plan):
            holds.append(code_hold(exclusive=False))
        return holds

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        draft = operation.drafted(temp)
        main = operation.snapshot()
        branch = Snapshot(vault.journal.repository, draft.commit)
        texts = tracked_builders(branch, table, temp.version)
        prepared = _prepare(vault, main, temp, (texts, fixed))
        result, modules = _run(vault, operation, draft, (main, prepared))
        if not len(result.frame.columns):
            raise TVTableError(
                f'The builders of table "{table}" make no column.',
                "Name at least one column in changed_columns.",
                table=table,
            )
        if result.keep_old:
            _log.warning('Table "%s": keep_old is not applied; no old row is kept.', table)
        made = _result((main, branch), temp, prepared, (result, modules))
        materialize(vault, operation, draft, result.frame, made)
    return operation.process_id


def _find_with_builders(vault: Vault, snapshot: Snapshot, temp: TempRef) -> Temp:
    """Find a temporary instance that can be executed."""
    found = find_temp(vault, snapshot, temp.table, temp.version)
    if found.document.external_edit:
        raise TVArgumentError(
            f'{found.ref.instance_id} of table "{temp.table}" is an external edit.',
            "Fill it with write_instance, or create the instance without external_edit.",
            table=temp.table,
            version=temp.version,
        )
    return found


def _prepare(
    vault: Vault, snapshot: Snapshot, temp: TempRef, given: tuple[dict[str, bytes], FixedSources]
) -> _Prepared:
    """Parse builders, order them, and fix the instances that they read, if they are not yet."""
    from tablevault.engine.builder import parse_builder
    from tablevault.engine.plan import make_plan
    from tablevault.history.snapshot import decode_text

    texts, fixed = given
    builders = [
        parse_builder(name, decode_text(data, f"{name}.yaml"), table=temp.table)
        for name, data in texts.items()
    ]
    plan = make_plan(builders, table=temp.table)
    inputs = VaultInputs(vault=vault, snapshot=snapshot, own_table=temp.table)
    inputs.hold_on_to(fixed)
    sources = tuple(inputs.resolve(needed.table, needed.selector) for needed in plan.external)
    return _Prepared(plan=plan, inputs=inputs, sources=tuple(dict.fromkeys(sources)))


def _run(
    vault: Vault, operation: Operation, draft: TempDraft, parts: tuple[Snapshot, _Prepared]
) -> tuple[RunResult, set[str]]:
    """Call the functions, and name the code modules they needed; what they raise passes."""
    from tablevault.engine.code import Code
    from tablevault.engine.run import ARTIFACT_FOLDER, run

    main, prepared = parts
    temp = draft.temp
    blobs = main.code_modules()
    code = Code(
        {name: main.text_of(blob, code_path(name)) for name, blob in blobs.items()},
        {name: str(vault.path / code_path(name)) for name in blobs},
    )
    load: Load = code.load_function
    if main.table(temp.table).side_effects:
        load = before_first_call(load, lambda: deactivate_instances(vault, operation, temp.table))
    folder = vault.journal.faces.artifacts(temp)
    folder.mkdir(parents=True, exist_ok=True)

    def decided() -> Mapping[str, Json]:
        used: dict[str, Json] = {name: blob for name, blob in blobs.items() if name in code.used}
        return {"sources": [list(each) for each in prepared.inputs.fixed], "code": used}

    with Attempt(vault, operation, draft, decided) as attempt:
        result = run(
            prepared.plan,
            inputs=prepared.inputs,
            load=load,
            keywords={
                ARTIFACT_FOLDER: str(folder),
                "~PROCESS_ID~": operation.process_id,
            },
            progress=vault.progress(),
            checkpoint=attempt,
        )
    return result, code.used


def _result(
    snapshots: tuple[Snapshot, Snapshot],
    temp: TempRef,
    prepared: _Prepared,
    ran: tuple[RunResult, set[str]],
) -> Result:
    """Note what the instance was made from: texts by their git ids, instances that were read."""
    main, branch = snapshots
    result, modules = ran
    sources = dict.fromkeys((*prepared.sources, *result.sources))
    blobs = branch.builders(temp.table, temp.version)
    return Result(
        dependencies=tuple((source.table, source.instance_id) for source in sources),
        primary_key=result.primary_key,
        builders={builder.name: blobs[builder.name] for builder in result.plan.order},
        code={name: blob for name, blob in main.code_modules().items() if name in modules},
    )


def _is_custom(plan: Plan) -> bool:
    """Tell whether a builder calls, or by a reference may call, a module of the vault."""
    return any(builder.is_custom is not False for builder in plan.order)
