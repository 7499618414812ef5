"""Commands on stale tables: status, refresh."""

from __future__ import annotations

import argparse

from tablevault.cli.command import (
    ACCEPT_CODE,
    MAX_CALLS,
    MAX_COST,
    Argument,
    Command,
    accepted_code,
    switch,
)
from tablevault.cli.context import CommandContext
from tablevault.cli.output import Listing

_COLUMNS = ("table", "state", "rows", "made", "reason", "temporary instance")


def _status(context: CommandContext, given: argparse.Namespace) -> object:
    """List the tables, and what is stale."""
    import dataclasses

    from tablevault.queries import status

    del given
    found = status.status(context.read())
    return Listing(
        columns=_COLUMNS,
        rows=[status.shown(each) for each in found.tables],
        value=[dataclasses.asdict(each) for each in found.tables],
        if_empty=found.note,
        footer=found.note,
    )


def _refresh(context: CommandContext, given: argparse.Namespace) -> object:
    """Make anew what is stale."""
    import dataclasses

    from tablevault import plans
    from tablevault.operations import refresh

    found = refresh.refresh(
        context.read() if given.dry_run else context.vault(),
        given.tables or None,
        options=refresh.RefreshOptions(
            dry_run=given.dry_run,
            accept_code=accepted_code(given),
            max_calls=given.max_calls,
            max_cost=given.max_cost,
        ),
    )
    facts = {name: getattr(found, name) for name in ("calls", "is_exact", "seconds", "cost")}
    return Listing(
        columns=plans.COLUMNS,
        rows=[plans.shown_table(each) for each in found.tables],
        value={**facts, "tables": [dataclasses.asdict(each) for each in found.tables]},
        if_empty=found.note,
        footer=found.note,
    )


def _names(tables: object) -> list[object]:
    """Return what is typed for tables."""
    return [tables] if isinstance(tables, str) else [*tables] if isinstance(tables, list) else []


COMMANDS = (
    Command(
        name="status",
        summary="show which tables are stale, and why; nothing is called or changed",
        details="A table is stale when what it read holds something else now, when code or "
        "builders have changed, or when rows of it failed. What an index builder reads outside "
        "of the vault cannot be seen.",
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
            ACCEPT_CODE,
            MAX_CALLS,
            MAX_COST,
        ),
    ),
)
