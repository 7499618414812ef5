"""Tables: all of them at a glance, and a section for each."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault.queries.chronicle import Draft, Table
from tablevault.render import counted
from tablevault.report.around import Around
from tablevault.report.grid import grid
from tablevault.report.instances import card, listing
from tablevault.report.markup import Markup, joined, tag
from tablevault.report.timeline import timeline
from tablevault.report.words import anchor, moment, person


def overview(tables: Sequence[Table], more: int) -> Markup:
    """Show all tables, a line for each."""
    numbers = [(name, "number") for name in ("rows", "columns", "instances")]
    head: list[str | tuple[str, str]] = ["table", *numbers, "last made", "by"]
    head.append(("what it is", "wide"))
    return tag(
        "section",
        tag("h2", "Tables"),
        grid("Tables", head, map(_overview_row, tables), class_="full"),
        tag("p", f"… {counted(more, 'more table')}.", class_="more") if more else None,
        id="tables",
        class_="card",
    )


def _overview_row(table: Table) -> Markup:
    """Show one table in a line."""
    latest = table.latest
    rows = "" if latest is None or latest.rows is None else f"{latest.rows:,}"
    columns = ""
    if latest is not None and latest.making is not None:
        columns = f"{len(latest.making.dtypes) + latest.making.more_columns:,}"
    return tag(
        "tr",
        tag("th", tag("a", table.name, href=f"#{anchor('table', table.name)}"), scope="row"),
        tag("td", rows, class_="number"),
        tag("td", columns, class_="number"),
        tag("td", f"{_standing(table):,}", class_="number"),
        tag("td", moment(latest.at) if latest is not None else "not yet"),
        tag("td", person(latest.author) if latest is not None else ""),
        tag("td", table.description, class_="wide"),
    )


def _standing(table: Table) -> int:
    """Count the instances that are not deleted."""
    return sum(not each.deleted_at for each in table.instances) + table.more


def section(table: Table, near: Around) -> Markup:
    """Tell of a table and of its instances."""
    key, name = anchor("table", table.name), anchor("name", table.name)
    detailed = [
        card(each, each.making, near) for each in table.instances if each.making is not None
    ]
    rest = [each for each in table.instances if each.making is None]
    return tag(
        "section",
        tag("h2", table.name, id=name),
        tag("p", table.description, class_="description") if table.description else None,
        _made(table),
        tag("p", table.problem, class_="problem") if table.problem else None,
        timeline(table.instances),
        [_draft(draft) for draft in table.drafts],
        detailed
        or (None if rest or table.problem else tag("p", "No instance yet.", class_="muted")),
        listing(rest) if rest else None,
        tag("p", f"… {table.more:,} still earlier instances.", class_="more")
        if table.more
        else None,
        id=key,
        class_="card table",
        aria_labelledby=name,
    )


def _made(table: Table) -> Markup | None:
    """Say who made the table, and what is special about it."""
    if table.problem:
        return None
    return tag(
        "p",
        "Created ",
        moment(table.created_at),
        f" by {person(table.created_by)}",
        ", each instance keeps its own artifacts" if table.multiple_artifacts else None,
        ", running its builders has side effects" if table.side_effects else None,
        f"; {counted(_standing(table), 'instance')}.",
        class_="muted",
    )


def _draft(draft: Draft) -> Markup:
    """Show a temporary instance."""
    counts = [f"{name} {counted(rows, 'row')}" for name, rows in draft.progress]
    if draft.progress:
        what = f"Rows made so far: {', '.join(counts)}."
    elif draft.external_edit:
        what = "It waits for its dataframe."
    else:
        what = f"Builders: {', '.join(draft.builders) or 'none yet'}."
    return tag(
        "div",
        tag("span", "in preparation", class_="badge draft"),
        " ",
        tag("b", draft.version),
        " ",
        tag("span", moment(draft.at), f" {person(draft.author)}", class_="muted"),
        joined([tag("p", draft.description)]) if draft.description else None,
        tag("p", what),
        class_="preparing",
    )
