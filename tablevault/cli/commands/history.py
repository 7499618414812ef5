"""Commands on what was done: log, diff, lineage, calls."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from tablevault.cli.command import (
    TABLE,
    VERSION,
    Command,
    number,
    option,
    positional,
    refuse_both,
    switch,
)
from tablevault.cli.context import CommandContext
from tablevault.cli.errors import Tell, in_shell
from tablevault.cli.output import Drawing, Listing, iso_time, utc_time
from tablevault.wording import Call, Wording

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.queries.diff import InstanceDiff
    from tablevault.queries.log import Entry


def _log(context: CommandContext, given: argparse.Namespace) -> object:
    """List what was done, newest first."""
    from tablevault.queries import log

    entries = log.entries(context.read(), given.table_name, given.instance_id, given.limit)
    tell = in_shell(context)
    return Listing(
        columns=("time", "commit", "author", "what", "process"),
        rows=[
            (
                utc_time(entry.ended),
                entry.commit[:10],
                entry.author,
                tell(_subject(entry)),
                entry.process_id,
            )
            for entry in entries
        ],
        value=[_facts(entry, tell) for entry in entries],
        if_empty="Nothing was done.",
    )


def _facts(entry: Entry, tell: Tell) -> dict[str, object]:
    """Return an operation for a program, by the names of columns of `TableVault.log`."""
    ended, started = entry.ended, entry.started
    return {
        "time": iso_time(ended),
        "operation": entry.operation,
        "table_name": entry.table,
        "version": entry.version,
        "instance_id": entry.instance_id,
        "rows": entry.rows,
        "success": entry.success,
        "error": tell(entry.error),
        "author": entry.author,
        "duration_s": None if started is None else round(ended - started, 6),
        "subject": entry.subject,
        "process_id": entry.process_id,
        "parent_id": entry.parent_id,
        "commit": entry.commit,
    }


def _subject(entry: Entry) -> str:
    """Return what was done, and how it ended if not well; a commit was made of what is partial."""
    if entry.success:
        return entry.subject
    end = Wording("failed: ", entry.error) if entry.error else "partial"
    return Wording(entry.subject, " — ", end)


def _diff(context: CommandContext, given: argparse.Namespace) -> object:
    """Return what changed between two instances."""
    from tablevault.queries import diff

    vault = context.read()
    instance = given.instance_id or vault.view().table(given.table_name).latest().instance_id
    found = diff.diff(vault, given.table_name, instance, given.other_instance_id)
    return Drawing(draw=lambda: found, value=_as_json(found) if given.json else None)


def _as_json(found: InstanceDiff) -> dict[str, object]:
    """Return a difference for a program."""
    facts = {
        each.name: getattr(found, each.name) for each in dataclasses.fields(found) if each.repr
    }
    frames = {name: getattr(found, name) for name in ("added", "removed", "changed")}
    return facts | {name: _records(_with_index(frame)) for name, frame in frames.items()}


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the index into columns, named by an underscore more than a column of its name."""
    taken = {str(name) for name in frame.columns}
    names = [str(name) for name in frame.index.names]
    return frame.reset_index(names=[f"_{name}" if name in taken else name for name in names])


def _records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return rows for a program: null is None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _lineage(context: CommandContext, given: argparse.Namespace) -> object:
    """Return what instances were made from, and what was made from them."""
    from tablevault.queries import lineage

    refuse_both(given, "mermaid", "openlineage")
    found = lineage.lineage(context.read(), given.table_name, given.instance_id)
    if given.mermaid:
        return found.to_mermaid()
    if given.openlineage:
        return found.to_openlineage()
    value = {
        "nodes": [dataclasses.asdict(node) for node in found.nodes],
        "edges": [dataclasses.asdict(edge) for edge in found.edges],
    }
    tables = {node.instance_id: node.table_name for node in found.nodes}
    rows = [
        (tables[one], one, each.kind, tables[other], other)
        for each in found.edges
        for one, other in [(each.instance_id, each.source_id)]
    ]
    return Drawing(draw=lambda: found, value=value, rows=rows)


_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
_HEADINGS = ("builder", "row", "outcome", "started", "seconds", "model", "tokens", "cost", "error")


def _calls(context: CommandContext, given: argparse.Namespace) -> object:
    """List the calls of an instance."""
    from tablevault.queries import calls

    found = calls.get_calls(
        context.read(), given.table_name, given.instance_id, given.version, outcome=given.outcome
    )
    instance = found.attrs["instance_id"]
    times = found["started_at"].map(lambda at: iso_time(at.timestamp()), na_action="ignore")
    records = _records(found.assign(started_at=times))
    return Listing(
        columns=_HEADINGS,
        rows=[_row(record) for record in records],
        value=records,
        if_empty=f'No calls of instance {instance} of table "{given.table_name}" are known here.',
        footer=f"{instance}: {_total(found)}" if records else "",
    )


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
    """Return the sums of calls as text."""
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
        name="log",
        summary="list operations, newest first",
        details="Times are UTC.",
        run=_log,
        arguments=(
            positional("table_name", "operations on this table only", "table", default=""),
            option("instance-id", "operations that made this instance", "instance"),
            option("limit", "at most this many", default=None, type=number(int)),
        ),
    ),
    Command(
        name="diff",
        summary="show what changed from one instance of a table to another",
        run=_diff,
        arguments=(
            TABLE,
            positional(
                "instance_id", "the instance, by default the latest", "instance", default=""
            ),
            positional(
                "other_instance_id",
                "the one before, by default of its version",
                "instance",
                default="",
            ),
        ),
    ),
    Command(
        name="lineage",
        summary="show what instances were made from, and what was made from them",
        details="A tree in a terminal; in a pipe a line for each source: table, instance, kind, "
        "table and id of the source.",
        run=_lineage,
        arguments=(
            TABLE,
            positional("instance_id", "the instance, by default all", "instance", default=""),
            switch("mermaid", "print a Mermaid flowchart"),
            switch("openlineage", "print OpenLineage events"),
        ),
    ),
    Command(
        name="calls",
        summary="list the calls of an instance: when, how long, at what cost",
        details="Tokens are those that were sent and those that were received. JSON has all "
        "that is known of each call. Times are UTC.",
        run=_calls,
        arguments=(
            TABLE,
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
