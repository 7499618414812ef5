"""Commands that run and stop processes: plan, execute, status, refresh, stop, undo, restart."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tablevault.cli.command import (
    ALLOW_SECRET,
    PROCESS_ID,
    TABLE,
    VERSION,
    Argument,
    Command,
    number,
    option,
    positional,
    switch,
)
from tablevault.cli.context import CommandContext, refuse_blank_part
from tablevault.cli.errors import Tell, in_shell
from tablevault.cli.output import Listing, utc_time
from tablevault.errors import TVProcessError
from tablevault.render import counted
from tablevault.wording import BLANK, Call, Wording

if TYPE_CHECKING:
    from tablevault.plans import RefreshReport
    from tablevault.queries.status import Status

_PLANNED = (
    "table_name",
    "version",
    "process_id",
    "rows_from",
    "calls",
    "is_exact",
    "seconds",
    "cost",
)
"""What JSON has of a plan, beside its builders."""
_FORCE = switch(
    "force", "compute every cell, also those that are unchanged", parameter="force_execute"
)
_ACCEPT_CODE = Argument(
    ("--accept-code",),
    {
        "help": "whether results of other code are kept (yes) or computed again (no)",
        "choices": ("yes", "no"),
        "metavar": "CODE",
    },
    read={"yes": True, "no": False}.get,
)
_ANY_INT = number(int, least=-math.inf)
"""The operation refuses what is too small, for every way to call it."""
_LIMITS = (
    option("max-calls", "make at most this many calls", default=None, type=_ANY_INT),
    option(
        "max-cost",
        "stop before a call once this much is spent",
        default=None,
        type=number(float, least=-math.inf),
    ),
)


def _plan(context: CommandContext, given: argparse.Namespace) -> object:
    """Plan an execution, and print what it would call."""
    from tablevault import plans
    from tablevault.operations import plan

    found = plan.plan(
        context.read(),
        given.table_name,
        given.version,
        options=plan.PlanOptions(
            run_index=given.run_index,
            force_execute=given.force,
            accept_code=_ACCEPT_CODE.value(given),
        ),
        process_id=given.process_id,
    )
    rows = [
        (
            each.name,
            plans.shown_calls(each.calls, is_exact=each.is_exact),
            str(each.reused),
            plans.shown_seconds(each.seconds),
            plans.shown_cost(each.cost),
            each.reason,
        )
        for each in found.builders
    ]
    total = (
        "total",
        plans.shown_calls(found.calls, is_exact=found.has_exact_calls),
        "",
        plans.shown_seconds(found.seconds),
        plans.shown_cost(found.cost),
        found.note,
    )
    facts = {name: getattr(found, name) for name in _PLANNED}
    return Listing(
        columns=("builder", "calls", "rows there", "time", "cost", "reason"),
        rows=[*rows, total],
        value={**facts, "builders": [dataclasses.asdict(each) for each in found.builders]},
    )


def _refresh(context: CommandContext, given: argparse.Namespace) -> object:
    """Execute stale tables again."""
    from tablevault import plans
    from tablevault.operations import refresh

    for each in given.tables:
        refuse_blank_part(each, "TABLE/VERSION")
    found = refresh.refresh(
        context.read() if given.dry_run else context.vault(),
        given.tables or None,
        options=refresh.RefreshOptions(
            dry_run=given.dry_run,
            accept_code=_ACCEPT_CODE.value(given),
            max_calls=given.max_calls,
            max_cost=given.max_cost,
        ),
    )
    facts = {name: getattr(found, name) for name in ("calls", "is_exact", "seconds", "cost")}
    return _tables(found, plans.COLUMNS, {**facts, "tables": _facts(found)})


def _status(context: CommandContext, given: argparse.Namespace) -> object:
    """List the tables, and what is stale."""
    from tablevault.queries import status

    del given
    found = status.status(context.read())
    return _tables(found, status.COLUMNS, _facts(found))


def _tables(found: Status | RefreshReport, columns: Sequence[str], value: object) -> Listing:
    """List tables, with a note below."""
    rows = [each.cells for each in found.tables]
    return Listing(columns=columns, rows=rows, value=value, if_empty=found.note, footer=found.note)


def _facts(found: Status | RefreshReport) -> list[dict[str, object]]:
    """Return tables for a program: the name of one is a ``table_name`` in all JSON."""
    tables = map(dataclasses.asdict, found.tables)
    return [{"table_name": facts.pop("name"), **facts} for facts in tables]


def _names(tables: object) -> list[object]:
    """Return what is typed for tables."""
    return [tables] if isinstance(tables, str) else [*tables] if isinstance(tables, list) else []


def _generate(context: CommandContext, given: argparse.Namespace) -> object:
    """Make a random process id."""
    from tablevault.names import new_process_id

    del context, given
    return new_process_id()


def _active(context: CommandContext, given: argparse.Namespace) -> object:
    """List what has not ended."""
    from tablevault.queries import processes

    del given
    found = processes.active(context.read())
    tell = in_shell(context)
    rows = [
        (
            process_id,
            str(process["operation"]).replace("_", "-"),
            str(process["author"]),
            "running" if process["is_running"] else "paused",
            utc_time(float(str(process["start_time"]))),
            _rows_done(process),
        )
        for process_id, process in found.items()
    ]
    return Listing(
        columns=("process", "operation", "author", "state", "since", "rows done"),
        rows=rows,
        value={process_id: _as_json(process, tell) for process_id, process in found.items()},
        if_empty="No process runs or is paused.",
    )


def _as_json(process: Mapping[str, Any], tell: Tell) -> dict[str, object]:
    """Return a process for a program."""
    return {**process, "error": [tell(text) for text in process["error"]]}


def _rows_done(process: Mapping[str, object]) -> str:
    """Return how far each builder is, how many rows failed, and what it has cost."""
    errors = cast("Mapping[str, int]", process["errors"])
    cost = cast("Mapping[str, float]", process["cost"])
    shown = []
    for builder, count in cast("Mapping[str, int]", process["rows"]).items():
        facts = [f"{errors[builder]:,} failed"] if builder in errors else []
        facts += [f"cost {cost[builder]:.6g}"] if builder in cost else []
        shown.append(f"{builder} {count:,}" + (f" ({', '.join(facts)})" if facts else ""))
    return ", ".join(shown)


def _restart(context: CommandContext, given: argparse.Namespace) -> object:
    """Run what crashed to its end; why it could not be is in a warning."""
    from tablevault.queries import processes

    del given
    found = processes.active(context.restart())
    left = [process_id for process_id, process in found.items() if not process["is_running"]]
    if left:
        raise TVProcessError(
            f"{counted(len(left), 'process', 'processes')} could not be restarted: "
            + ", ".join(f'"{each}"' for each in left)
            + ".",
            Wording("See them: ", Call("get_active_processes"), "."),
        )
    return None


COMMANDS = (
    Command(
        name="plan",
        summary="show what execute-instance would call, and why; nothing is changed",
        details="For each builder the calls, the rows whose results are there, time and cost as "
        "predicted from earlier calls, and the reason. Where a builder reads what another one "
        "would make, its calls are at most so many.",
        run=_plan,
        arguments=(
            TABLE,
            VERSION,
            switch("run-index", "call the index builder; by default plan for the existing rows"),
            _FORCE,
            _ACCEPT_CODE,
            PROCESS_ID,
        ),
    ),
    Command(
        name="execute-instance",
        summary="run the builders of an instance",
        run="operations.execute:ExecuteInstance",
        arguments=(
            TABLE,
            VERSION,
            _FORCE,
            _ACCEPT_CODE,
            switch("background", "return at once; get-active-processes shows the progress"),
            option(
                "sample",
                "trial run: call row-wise builders for this many rows only, and create no instance",
                default=None,
                type=_ANY_INT,
            ),
            *_LIMITS,
            option(
                "executor",
                "where functions are called: threads:8, processes:8 or dask://host:port; "
                "by default in this process",
                metavar="NAME",
            ),
            PROCESS_ID,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="status",
        summary="show which tables are stale, and why; nothing is called or changed",
        details="A table is stale when what it read holds something else now, when code or "
        "builders have changed, or when rows of it failed. What an index builder reads outside "
        "of the vault cannot be seen. Times are UTC.",
        run=_status,
    ),
    Command(
        name="refresh",
        summary="execute stale tables again, in the order of their dependencies",
        details="Builders are copied from the current instance; a temporary instance that is "
        "there is executed as it is. A table that fails stops those that read it, not the rest: "
        "the same command goes on.",
        run=_refresh,
        arguments=(
            Argument(
                ("tables",),
                {
                    "nargs": "*",
                    "metavar": "TABLE",
                    "help": "table, or one version of it as TABLE/VERSION, with all that it "
                    "reads; by default all tables",
                },
                "table",
                typed=_names,
            ),
            switch("dry-run", "only report what would be executed, with calls, time and cost"),
            _ACCEPT_CODE,
            *_LIMITS,
        ),
    ),
    Command(name="generate-process-id", summary="generate a random process id", run=_generate),
    Command(
        name="stop-process",
        summary="stop a running or paused process",
        run="operations.processes:StopProcess",
        arguments=(
            positional("to_stop_process_id", "the process", "process"),
            switch("force", "stop it even if it runs"),
            switch("materialize", "create an instance from the rows that it has computed"),
            PROCESS_ID,
        ),
    ),
    Command(
        name="undo",
        summary="undo one operation, by a new commit",
        run="operations.undo:Undo",
        arguments=(
            positional("process_id", "the operation", "process"),
            option("undo-process-id", "id of this process, by which it can be resumed"),
        ),
    ),
    Command(
        name="get-process-completion",
        summary="print whether a process has ended: True or False",
        run="queries.processes:is_complete",
        arguments=(positional("process_id", "the process", "process"),),
    ),
    Command(
        name="get-active-processes",
        summary="list running and paused processes",
        details="Times are UTC.",
        run=_active,
    ),
    Command(
        name="restart",
        summary="run every crashed or paused process to its end",
        run=_restart,
        calls=(Call("TableVault", db_dir=BLANK, restart=True),),
    ),
)
