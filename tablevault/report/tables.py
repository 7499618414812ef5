"""Tables: all of them at a glance, and a section for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tablevault.queries.chronicle import Instance, Table
from tablevault.queries.preparation import Attempt, Preparation, Progress
from tablevault.queries.settings import Settings
from tablevault.render import counted
from tablevault.report.around import Around
from tablevault.report.grid import grid
from tablevault.report.instances import card, heading, listing
from tablevault.report.markup import Markup, joined, tag
from tablevault.report.timeline import timeline
from tablevault.report.words import anchor, clamped, duration, moment, person, short

_LONGEST_TEXT, _LONGEST_ARGUMENT = 2_000, 8_000


def overview(tables: Sequence[Table], more: int) -> Markup:
    """Show all tables, a line for each."""
    numbers = [(name, "number") for name in ("rows", "columns", "instances")]
    head: list[str | tuple[str, str]] = ["table", "state", *numbers, "last made", "by"]
    head.append(("what it is", "wide"))
    return tag(
        "section",
        tag("h2", "Tables"),
        grid("Tables", head, map(_overview_row, tables), class_="full"),
        tag("p", f"… {counted(more, 'more table')}.", class_="more") if more else None,
        id="tables",
        aria_label="Tables",
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
        tag("td", _states(table), class_="states"),
        tag("td", rows, class_="number"),
        tag("td", columns, class_="number"),
        tag("td", f"{_kept(table):,}", class_="number"),
        tag("td", moment(latest.at) if latest is not None else ""),
        tag("td", person(latest.author) if latest is not None else "", class_="person"),
        tag("td", clamped(table.description, _LONGEST_TEXT), class_="wide"),
    )


def _states(table: Table) -> list[Markup]:
    """Name the states of a table: what readers get, and what is prepared."""
    latest = table.latest
    names = [] if latest is None else ["current" if latest.success else "partial"]
    names += [_state(each) for each in table.preparations]
    return [_badge(name) for name in dict.fromkeys(names)]


def _state(preparation: Preparation) -> str:
    """Name the state of a temporary instance."""
    attempt = preparation.attempt
    return "in preparation" if attempt is None else attempt.state


def _badge(state: str) -> Markup:
    """Draw a state."""
    return joined([tag("span", state, class_=f"badge {state.partition(' ')[0]}"), " "])


def _kept(table: Table) -> int:
    """Count the instances that are not deleted."""
    return sum(not each.deleted_at for each in table.instances) + table.more


def section(table: Table, near: Around) -> Markup:
    """Show a table and its instances."""
    key, name = anchor("table", table.name), anchor("name", table.name)
    detailed = [
        card(each, each.making, near) for each in table.instances if each.making is not None
    ]
    rest = [each for each in table.instances if each.making is None]
    return tag(
        "section",
        tag("h2", table.name, id=name),
        clamped(table.description, _LONGEST_TEXT, "description") if table.description else None,
        _made(table),
        tag("p", table.problem, class_="problem") if table.problem else None,
        _now(table, near),
        _settings(table.settings, near),
        timeline(table.instances),
        tag("div", heading(), detailed, listing(rest) if rest else None, class_="instances")
        if table.instances
        else None,
        tag("p", f"… {table.more:,} still earlier instances.", class_="more")
        if table.more
        else None,
        id=key,
        class_="card table",
        aria_labelledby=name,
    )


def _made(table: Table) -> Markup | None:
    """Name who made the table, and what is special about it."""
    if table.problem:
        return None
    return tag(
        "p",
        "Created ",
        moment(table.created_at),
        " by ",
        person(table.created_by),
        ", each instance keeps its own artifacts" if table.multiple_artifacts else None,
        ", running its builders has side effects" if table.side_effects else None,
        f"; {counted(_kept(table), 'instance')}.",
        class_="muted",
    )


# -- the state of a table -----------------------------------------------------------------------


def _now(table: Table, near: Around) -> Markup | None:
    """Show what readers get, and what is prepared, has failed or runs."""
    if table.problem:
        return None
    items = [] if table.latest is None else [_current(table.latest, near)]
    items += [_prepared(each) for each in table.preparations]
    none = "No instance that readers get." if table.instances else "No instance yet."
    return tag("ul", items or tag("li", none, class_="muted"), class_="now")


def _current(latest: Instance, near: Around) -> Markup:
    """Show what readers get unless they name an instance."""
    rows = "" if latest.rows is None else f", {counted(latest.rows, 'row')}"
    took = f", took {duration(latest.duration_s)}" if latest.duration_s is not None else ""
    return tag(
        "li",
        _badge("current"),
        None if latest.success else _badge("partial"),
        tag("b", latest.version),
        " ",
        near.link(latest.instance_id, short(latest.instance_id), class_="id"),
        f"{rows}, ",
        moment(latest.at),
        took,
        ", by ",
        person(latest.author),
    )


def _prepared(preparation: Preparation) -> Markup:
    """Show a temporary instance."""
    attempt = preparation.attempt
    return tag(
        "li",
        _badge(_state(preparation)),
        tag("b", preparation.version),
        (" changed ", moment(preparation.at), " by ", person(preparation.author))
        if attempt is None
        else since(attempt),
        clamped(preparation.description, _LONGEST_TEXT, "description")
        if preparation.description
        else None,
        error(attempt),
        _progress(preparation),
        class_="preparing",
    )


def since(attempt: Attempt) -> Markup:
    """Show when a process began, and how long it ran."""
    lasted = None if attempt.stopped is None else duration(attempt.stopped - attempt.started)
    return joined(
        [
            f" {attempt.operation.replace('_', ' ')}",
            " since " if attempt.stopped is None else " started ",
            moment(attempt.started),
            f", ran {lasted}" if lasted else None,
            ", by ",
            person(attempt.author),
            (", process ", tag("code", attempt.process_id)) if attempt.state != "failed" else None,
        ]
    )


def error(attempt: Attempt | None) -> Markup | None:
    """Show why a process stopped."""
    return clamped(attempt.error, _LONGEST_TEXT, "problem") if attempt and attempt.error else None


def _progress(preparation: Preparation) -> Markup:
    """Show what is made so far, or what is still to come."""
    if preparation.progress:
        return tag("ul", map(_filled, preparation.progress), class_="progress")
    if preparation.external_edit:
        return tag("p", "It waits for its dataframe.")
    return tag("p", f"Builders: {', '.join(preparation.builders) or 'none yet'}.")


def _filled(progress: Progress) -> Markup:
    """Show how many rows a builder has filled."""
    of = "" if progress.total is None else f" of {progress.total:,}"
    return tag("li", tag("code", progress.builder), f" {progress.rows:,}{of} rows")


# -- builders -----------------------------------------------------------------------------------


def _settings(builders: Iterable[Settings], near: Around) -> Markup | None:
    """Show what the builders are set to."""
    shown = [_builder(each, near) for each in builders]
    return joined([tag("h3", "Builders"), shown]) if shown else None


def _builder(builder: Settings, near: Around) -> Markup:
    """Show the function, the columns and the main arguments of a builder."""
    columns = ", ".join(builder.columns)
    more = builder.more_arguments
    return tag(
        "div",
        tag(
            "p",
            near.text(builder.text_id, tag("code", builder.name)),
            tag("small", f" {builder.function}" if builder.function else None),
            tag("small", f" fills {columns}" if columns else None),
        ),
        tag(
            "dl",
            [
                (tag("dt", name), tag("dd", clamped(value, _LONGEST_ARGUMENT)))
                for name, value in builder.arguments
            ],
            class_="facts",
        )
        if builder.arguments
        else None,
        tag("p", f"… {counted(more, 'more argument')}.", class_="more") if more else None,
        class_="builder",
    )
