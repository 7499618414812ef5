"""The command on calls: what functions were asked for an instance, and at what cost."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tablevault.cli.command import VERSION, Command, option, positional
from tablevault.cli.context import Place
from tablevault.cli.output import Listing
from tablevault.wording import Call

if TYPE_CHECKING:
    import pandas as pd

_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
_HEADINGS = ("builder", "row", "outcome", "started", "seconds", "model", "tokens", "cost", "error")


def _calls(place: Place, given: argparse.Namespace) -> object:
    """List the calls of an instance."""
    from tablevault.queries import calls

    found = calls.get_calls(
        place.read(), given.table_name, given.instance_id, given.version, outcome=given.outcome
    )
    instance = found.attrs["instance_id"]
    records = _records(found)
    return Listing(
        columns=_HEADINGS,
        rows=[_row(record) for record in records],
        value=records,
        if_empty=f'No calls of instance {instance} of table "{given.table_name}" are known here.',
        footer=f"{instance}: {_total(found)}" if records else "",
    )


def _records(found: pd.DataFrame) -> list[dict[str, Any]]:
    """Return calls for a program: null is None, a time is RFC 3339."""
    columns: dict[str, list[Any]] = {
        str(name): [None if null is True else cell for cell, null in _cells(series)]
        for name, series in found.items()
    }
    times = columns["started_at"]
    columns["started_at"] = [None if at is None else at.isoformat() for at in times]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _cells(series: pd.Series) -> list[tuple[Any, Any]]:
    """Return the cells of a column, and whether they are null."""
    return list(zip(series.tolist(), series.isna().tolist(), strict=True))


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    """Return a call for a person."""
    tokens = [record[name] for name in _TOKENS]
    reported = any(each is not None for each in tokens)
    return (
        record["builder"],
        _text(record["row"]),
        record["outcome"],
        (record["started_at"] or "")[:19].replace("T", " "),
        "" if record["duration_s"] is None else f"{record['duration_s']:.3f}",
        record["gen_ai.request.model"] or "",
        " + ".join(_text(each or 0) for each in tokens) if reported else "",
        "" if record["cost"] is None else f"{record['cost']:.6g}",
        record["error"] or "",
    )


def _text(value: int | None) -> str:
    """Format a whole number; "" for none."""
    return "" if value is None else str(value)


def _total(found: pd.DataFrame) -> str:
    """Add up what calls have used."""
    failed = int((found["outcome"] != "ok").sum())
    parts = [f"{len(found):,} call{'' if len(found) == 1 else 's'}"]
    parts += [f"{failed:,} failed"] if failed else []
    tokens = [found[name] for name in _TOKENS]
    if any(each.notna().any() for each in tokens):
        parts.append(f"{' + '.join(f'{int(each.sum()):,}' for each in tokens)} tokens")
    if found["cost"].notna().any():
        parts.append(f"cost {float(found['cost'].sum()):.6g}")
    return ", ".join(parts)


COMMANDS = (
    Command(
        name="calls",
        summary="list the calls of an instance: when, how long, at what cost",
        details="Tokens are those that were sent and those that were received. JSON has all "
        "that is known of each call. Times are UTC.",
        run=_calls,
        arguments=(
            positional("table_name", "the table", "table"),
            positional(
                "instance_id",
                "the instance, by default the latest; TEMP_VERSION for an execution that has not "
                "ended",
                "instance",
                default="",
            ),
            VERSION,
            option("outcome", "only calls with this outcome: ok or error", choices=("ok", "error")),
        ),
        calls=(Call("get_calls"),),
    ),
)
