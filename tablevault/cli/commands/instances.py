"""Commands on instances: create, write, plan, execute, delete."""

from __future__ import annotations

import argparse

from tablevault.cli.command import (
    ACCEPT_CODE,
    ALLOW_SECRET,
    DESCRIPTION,
    MAX_CALLS,
    MAX_COST,
    PROCESS_ID,
    VERSION,
    Argument,
    Command,
    accepted_code,
    option,
    positional,
    switch,
)
from tablevault.cli.context import CommandContext, UsageError, existing_file
from tablevault.cli.output import Listing

_TABLE = positional("table_name", "the table", "table")
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
"""What is told of a plan as JSON, beside its builders."""
_FORCE = switch(
    "force",
    "compute every cell, also those that are unchanged",
    parameter="force_execute",
)


def _create(context: CommandContext, given: argparse.Namespace) -> object:
    """Make a temporary instance."""
    from tablevault.operations.instances import CreateInstance

    return CreateInstance(
        table_name=given.table_name,
        # The option of the first release is empty by default, and means the same.
        version=given.version or "base",
        origin_id=given.origin_id,
        origin_table=given.origin_table,
        external_edit=given.external_edit,
        copy=given.copy,
        builders=given.builder or None,
        description=given.description,
        allow_secret=given.allow_secret,
    ).run(context.vault(), given.process_id)


def _write(context: CommandContext, given: argparse.Namespace) -> object:
    """Fill an instance from a CSV file."""
    from tablevault.operations import instances

    dependencies = [_pair(text) for text in given.dependency or ()]
    dtypes = dict(_dtype(text) for text in given.dtype or ())
    vault = context.vault()
    return instances.WriteInstance(
        table_df=instances.read_table(existing_file(given.csv), dtypes),
        table_name=given.table_name,
        version=given.version,
        dependencies=dependencies,
        dtypes=dtypes,
    ).run(vault, given.process_id)


def _execute(context: CommandContext, given: argparse.Namespace) -> object:
    """Run the builders of an instance."""
    from tablevault.operations.execute import ExecuteInstance

    return ExecuteInstance(
        table_name=given.table_name,
        version=given.version,
        force_execute=given.force,
        background=given.background,
        accept_code=accepted_code(given),
        sample=given.sample,
        max_calls=given.max_calls,
        max_cost=given.max_cost,
        allow_secret=given.allow_secret,
    ).run(context.vault(), given.process_id)


def _plan(context: CommandContext, given: argparse.Namespace) -> object:
    """Plan an execution, and print what it would call."""
    import dataclasses

    from tablevault import plans
    from tablevault.operations import plan

    found = plan.plan(
        context.read(),
        given.table_name,
        given.version,
        options=plan.PlanOptions(
            run_index=given.run_index,
            force_execute=given.force,
            accept_code=accepted_code(given),
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


def _delete(context: CommandContext, given: argparse.Namespace) -> object:
    """Remove an instance."""
    from tablevault.operations.instances import DeleteInstance

    return DeleteInstance(instance_id=given.instance_id, table_name=given.table_name).run(
        context.vault(), given.process_id
    )


def _pair(text: str) -> tuple[str, str | None]:
    """Read ``TABLE`` or ``TABLE/INSTANCE``."""
    table, _, instance = text.partition("/")
    return table, instance or None


def _dtype(text: str) -> tuple[str, str]:
    """Read ``COLUMN=DTYPE``."""
    column, separator, dtype = text.rpartition("=")
    if not separator:
        raise UsageError(f'--dtype "{text}" is not COLUMN=DTYPE')
    return column, dtype


COMMANDS = (
    Command(
        name="create-instance",
        summary="create a temporary instance, with a folder to edit",
        run=_create,
        arguments=(
            _TABLE,
            option("version", 'version of the table (default: "base")'),
            option("origin-id", "instance to start from", "instance"),
            option("origin-table", "table of the origin, by default this table", "table"),
            switch("external-edit", "no builders: the frame is written by write-instance"),
            switch("copy", "start from the latest instance"),
            Argument(
                ("--builder",),
                {
                    "action": "append",
                    "metavar": "NAME",
                    "help": "name of a builder, which gets a template, or path of a .yaml file; "
                    "may be repeated",
                },
                parameter="builders",
                typed=list,
            ),
            DESCRIPTION,
            PROCESS_ID,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="write-instance",
        summary="fill an instance made with --external-edit from a CSV file",
        run=_write,
        arguments=(
            _TABLE,
            Argument(
                ("--csv",),
                {
                    "help": "the file; --dtype decides how a column is read, others are inferred",
                    "required": True,
                    "metavar": "FILE",
                },
                "path",
                parameter="table_df",
            ),
            VERSION,
            Argument(
                ("--dependency",),
                {
                    "action": "append",
                    "metavar": "TABLE[/INSTANCE]",
                    "help": "what the frame was made from; may be repeated",
                },
                "table",
                parameter="dependencies",
                typed=lambda pairs: ["/".join(filter(None, pair)) for pair in pairs],
            ),
            Argument(
                ("--dtype",),
                {
                    "action": "append",
                    "metavar": "COLUMN=DTYPE",
                    "help": "dtype of a column, by which its text is read; may be repeated",
                },
                parameter="dtypes",
                typed=lambda dtypes: [f"{name}={dtype}" for name, dtype in dtypes.items()],
            ),
            PROCESS_ID,
        ),
    ),
    Command(
        name="plan",
        summary="show what execute-instance would call, and why; nothing is changed",
        details="For each builder the calls, the rows whose results are there, time and cost as "
        "predicted from earlier calls, and the reason. Where a builder reads what another one "
        "would make, its calls are at most so many.",
        run=_plan,
        arguments=(
            _TABLE,
            VERSION,
            switch("run-index", "call the index builder; by default plan for the existing rows"),
            _FORCE,
            ACCEPT_CODE,
            PROCESS_ID,
        ),
    ),
    Command(
        name="execute-instance",
        summary="run the builders of an instance",
        run=_execute,
        arguments=(
            _TABLE,
            VERSION,
            _FORCE,
            ACCEPT_CODE,
            switch("background", "return at once; get-active-processes shows the progress"),
            option(
                "sample",
                "trial run: call row-wise builders for this many rows only, and create no instance",
                default=None,
                type=int,
            ),
            MAX_CALLS,
            MAX_COST,
            PROCESS_ID,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="delete-instance",
        summary="delete an instance; its description, builders and code stay in history",
        run=_delete,
        arguments=(
            _TABLE,
            positional("instance_id", "the instance", "instance"),
            PROCESS_ID,
        ),
    ),
)
