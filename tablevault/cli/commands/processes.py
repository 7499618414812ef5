"""Commands on processes: list, stop, undo, restart."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import cast

from tablevault.cli.command import PROCESS_ID, Command, option, positional, switch
from tablevault.cli.context import CommandContext
from tablevault.cli.output import Listing
from tablevault.wording import BLANK, Call

_PROCESS = positional("to_stop_process_id", "the process", "process")


def _generate(context: CommandContext, given: argparse.Namespace) -> object:
    """Make a random process id."""
    from tablevault.names import new_process_id

    del context, given
    return new_process_id()


def _stop(context: CommandContext, given: argparse.Namespace) -> object:
    """End a process."""
    from tablevault.operations.processes import StopProcess

    return StopProcess(
        to_stop_process_id=given.to_stop_process_id,
        force=given.force,
        materialize=given.materialize,
    ).run(context.vault(), given.process_id)


def _undo(context: CommandContext, given: argparse.Namespace) -> object:
    """Take an operation back."""
    from tablevault.operations.undo import Undo

    asked = Undo(process_id=given.process_id)
    return asked.run(context.vault(), given.undo_process_id)


def _is_complete(context: CommandContext, given: argparse.Namespace) -> object:
    """Return whether a process has ended."""
    from tablevault.queries import processes

    return processes.is_complete(context.read(), given.process_id)


def _active(context: CommandContext, given: argparse.Namespace) -> object:
    """List what has not ended."""
    from tablevault.queries import processes

    del given
    found = processes.active(context.read())
    rows = [
        (
            process_id,
            str(process["operation"]).replace("_", "-"),
            str(process["author"]),
            "running" if process["is_running"] else "paused",
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(str(process["start_time"])))),
            _rows_done(process),
        )
        for process_id, process in found.items()
    ]
    return Listing(
        columns=("process", "operation", "author", "state", "since", "rows done"),
        rows=rows,
        value={process_id: dict(process) for process_id, process in found.items()},
        if_empty="No process runs or is paused.",
    )


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
    """Run what crashed to its end."""
    del given
    context.restart()
    return None


COMMANDS = (
    Command(
        name="generate-process-id",
        summary="generate a random process id",
        run=_generate,
    ),
    Command(
        name="stop-process",
        summary="stop a running or paused process",
        run=_stop,
        arguments=(
            _PROCESS,
            switch("force", "stop it even if it runs"),
            switch("materialize", "create an instance from the rows that it has computed"),
            PROCESS_ID,
        ),
    ),
    Command(
        name="undo",
        summary="undo one operation, by a new commit",
        run=_undo,
        arguments=(
            positional("process_id", "the operation", "process"),
            option("undo-process-id", "id of this process, by which it can be resumed"),
        ),
    ),
    Command(
        name="get-process-completion",
        summary="print whether a process has ended: True or False",
        run=_is_complete,
        arguments=(positional("process_id", "the process", "process"),),
    ),
    Command(
        name="get-active-processes",
        summary="list running and paused processes",
        run=_active,
    ),
    Command(
        name="restart",
        summary="run every crashed or paused process to its end",
        run=_restart,
        calls=(Call("TableVault", db_dir=BLANK, restart=True),),
    ),
)
