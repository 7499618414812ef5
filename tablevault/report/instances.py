"""Instances: a line for each, and for the latest how they were made."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tablevault.queries.chronicle import Instance
from tablevault.queries.making import BuilderRun, Making
from tablevault.render import counted
from tablevault.report.around import Around, Neighbours
from tablevault.report.difference import badges, block, cell_of
from tablevault.report.grid import grid
from tablevault.report.markup import Child, Markup, joined, raw, tag
from tablevault.report.words import (
    anchor,
    clamped,
    cut,
    difference,
    duration,
    moment,
    person,
    second,
    short,
)

_MOST_LINKS = 40
_MOST_SOURCES = 3
_LONGEST_LINE = 140
_BAR = 40
_LONGEST_TEXT = 2_000
_NUMBER = re.compile(r"u?int|float|u?Int|Float|UInt|decimal")


def card(instance: Instance, making: Making, near: Around) -> Markup:
    """Show an instance, folded to a line."""
    change = making.change
    body: list[Markup | None] = [
        clamped(making.description, _LONGEST_TEXT, "description")
        if _is_cut(making.description)
        else None,
        _became(instance),
        _head(making),
        block(change, near) if change is not None else None,
        _builders(making, near),
        _links("Made from", near.above.get(instance.instance_id, {}), "taken up", near),
        _links("Used by", near.below.get(instance.instance_id, {}), "took it up", near),
        _columns(making),
        _identity(instance, making),
    ]
    told = [
        badges(change) if change is not None else None,
        tag("span", _first_line(making.description), dir="auto") if making.description else None,
    ]
    return tag(
        "details",
        tag(
            "summary",
            _line(instance),
            tag("span", told, class_="told") if any(told) else None,
        ),
        tag("div", body, class_="body"),
        id=anchor("i", instance.instance_id),
        class_="instance",
    )


def _first_line(description: str) -> str:
    """Return what of a description fits in a line."""
    return cut(description.partition("\n")[0], _LONGEST_LINE)


def _is_cut(description: str) -> bool:
    """Return whether a description goes on after that line."""
    return _first_line(description) != description


_FIELDS = ("made", "id", "version", "rows", "results", "by", "took", "state")


def heading() -> Markup:
    """Name the fields of the lines below; a screen reader reads the name in each line."""
    return tag(
        "div",
        [tag("span", name, class_=f"field {name}") for name in _FIELDS],
        class_="line heading",
        aria_hidden="true",
    )


def _line(instance: Instance) -> Markup:
    """Show an instance in a line, whose fields stand below each other."""
    fields: tuple[Child, ...] = (
        moment(instance.at),
        tag("span", short(instance.instance_id), class_="id", title=instance.instance_id),
        instance.version,
        _rows(instance),
        _results(instance),
        person(instance.author),
        duration(instance.duration_s),
        _state(instance),
    )
    # The style sheet writes the name of a field before it.
    drawn = [
        tag("span", field, class_=f"field {name}")
        for name, field in zip(_FIELDS, fields, strict=True)
        if field
    ]
    return tag("span", drawn, class_="line")


def _rows(instance: Instance) -> Markup:
    """Count the rows, and how many more that are than before."""
    if instance.rows is None:
        return tag("span", "not known", class_="muted")
    more = None
    if instance.rows_before is not None and instance.rows != instance.rows_before:
        more = tag("small", f" {difference(instance.rows - instance.rows_before)}")
    return joined([tag("b", f"{instance.rows:,}"), more])


def _results(instance: Instance) -> str:
    """Count what column builders computed and what they reused."""
    counts = instance.results
    if counts is None:
        return ""
    return f"{counts[0]:,} computed" + (f", {counts[1]:,} reused" if counts[1] else "")


def _bar(run: BuilderRun) -> Markup | None:
    """Draw which part of its rows a builder computed."""
    done, kept = run.computed or 0, run.reused or 0
    if not done + kept:
        return None
    width = min(round(_BAR * kept / (done + kept)), _BAR - (done > 0))  # one row is seen, too
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=_BAR, height=8, class_="plain" if run.is_index else "computed"),
        tag("rect", x=0, y=0, width=width, height=8, class_="reused") if width else None,
        width=_BAR,
        height=8,
        viewBox=f"0 0 {_BAR} 8",
        aria_hidden="true",
        class_="part",
    )


def _state(instance: Instance) -> list[Markup]:
    """Name the state of an instance: whether readers get it."""
    found = []
    if instance.deleted_at:
        found.append(("gone", "undone" if instance.undone else "deleted"))
    elif instance.current:
        found.append(("current", "current"))
    elif not instance.active:
        found.append(("inactive", "inactive"))
    if not instance.success:
        found.append(("partial", "partial"))
    return [joined([tag("span", words, class_=f"badge {kind}"), " "]) for kind, words in found]


def _became(instance: Instance) -> Markup | None:
    """Show how an instance was deleted."""
    if not instance.deleted_at:
        return None
    what = "Its making was undone" if instance.undone else "Deleted"
    by = person(instance.deleted_by)
    return tag("p", f"{what} ", moment(instance.deleted_at), " by ", by, ".")


def _head(making: Making) -> Markup | None:
    """Show the first rows."""
    head = making.head
    if head is None or not head.rows:
        return None
    dtypes = dict(making.dtypes)
    kinds = ["number" if _NUMBER.match(dtypes.get(name, "")) else "" for name in head.columns]
    body = [
        tag(
            "tr",
            [
                tag("td", cell_of(cell), class_=kind or None)
                for cell, kind in zip(row, kinds, strict=True)
            ],
        )
        for row in head.rows
    ]
    more = [counted(head.more_rows, "more row")] if head.more_rows else []
    more += [counted(head.more_columns, "more column")] if head.more_columns else []
    drawn = grid("First rows", zip(head.columns, kinds, strict=True), body)
    note = tag("p", f"… {' and '.join(more)}.", class_="more") if more else None
    return joined([tag("h3", "First rows"), drawn, note])


def _builders(making: Making, near: Around) -> Markup | None:
    """Show what each builder did, with links to its text and to the code that ran."""
    if not (making.builders or making.code or making.shipped):
        words = "Written as a dataframe, by no builder." if making.external_edit else None
        return tag("p", words, class_="muted") if words else None
    spent = _spent(making.builders)
    has_sources = any(run.reused_from for run in making.builders)
    drawn = grid(
        "Builders in the order in which they ran",
        (
            "builder",
            ("computed", "number"),
            ("reused", "number"),
            *(["from"] if has_sources else []),
            *((name, "number") for name in spent),
            "part",
            "why",
        ),
        [
            _run(
                run,
                _sources(run, near) if has_sources else None,
                [cell(run) for cell in spent.values()],
            )
            for run in making.builders
        ],
        label="Builders",
    )
    code = [
        tag("a", tag("code", f"{name}.py"), href=f"#{anchor('text', key)}")
        if key
        else tag("code", f"{name}.py")
        for name, key in making.code
    ]
    code += [tag("code", f"{name} (comes with TableVault)") for name in making.shipped]
    return joined(
        [
            tag("h3", "Builders"),
            drawn if making.builders else None,
            tag("p", "Code that ran: ", raw(", ".join(code))) if code else None,
            _failures(making),
        ]
    )


def _failures(making: Making) -> Markup | None:
    """Show the calls that failed, whose rows stayed null."""
    if not making.failures:
        return None
    drawn = grid(
        "Calls that failed, and whose rows are null",
        ("builder", ("row", "number"), "error"),
        [
            tag(
                "tr",
                tag("td", tag("code", call.builder)),
                tag("td", f"{call.row:,}", class_="number"),
                tag("td", clamped(call.error, _LONGEST_TEXT)),
            )
            for call in making.failures
        ],
        label="Errors",
    )
    more = counted(making.more_failures, "more error")
    note = tag("p", f"… {more}.", class_="more") if making.more_failures else None
    return joined([tag("h3", "Errors"), drawn, note])


def _spent(runs: Sequence[BuilderRun]) -> dict[str, Callable[[BuilderRun], str]]:
    """Return what is known of the cost of calls: the name of a column, and what makes its cells."""
    found: dict[str, Callable[[BuilderRun], str]] = {}
    if any(run.calls is not None for run in runs):
        found["calls"] = lambda run: "" if run.calls is None else f"{run.calls:,}"
    if any(run.duration_s is not None for run in runs):
        found["took"] = lambda run: duration(run.duration_s)
    if any((run.input_tokens, run.output_tokens) != (None, None) for run in runs):
        found["tokens"] = _tokens
    if any(run.errors for run in runs):
        found["errors"] = lambda run: f"{run.errors or 0:,}"
    if any(run.cost is not None for run in runs):
        found["cost"] = lambda run: "" if run.cost is None else f"{run.cost:,.6g}"
    return found


def _tokens(run: BuilderRun) -> str:
    """Count the tokens that were sent and received."""
    counts = (run.input_tokens, run.output_tokens)
    return "" if counts == (None, None) else " + ".join(f"{each or 0:,}" for each in counts)


def _sources(run: BuilderRun, near: Around) -> Markup:
    """Show in which instances calls were made that this one holds."""
    links = [
        near.link(instance_id, short(instance_id), class_="id")
        for instance_id, _ in run.reused_from[:_MOST_SOURCES]
    ]
    more = len(run.reused_from) - len(links)
    return tag("td", raw(", ".join(links)), f" and {more:,} more" if more else None)


def _run(run: BuilderRun, sources: Markup | None, spent: Sequence[str]) -> Markup:
    """Show what one builder did, and what its calls have cost."""
    name = tag("code", run.name)
    return tag(
        "tr",
        tag(
            "th",
            tag("a", name, href=f"#{anchor('text', run.text_id)}") if run.text_id else name,
            scope="row",
        ),
        tag("td", "" if run.computed is None else f"{run.computed:,}", class_="number"),
        tag("td", "" if run.reused is None else f"{run.reused:,}", class_="number"),
        sources,
        *(tag("td", cell, class_="number") for cell in spent),
        tag("td", _bar(run)),
        tag("td", run.reason),
    )


def _links(words: str, found: Neighbours, taken_up: str, near: Around) -> Markup | None:
    """Show what an instance was made from, or what was made from it."""
    if not found:
        return None
    items = [
        tag(
            "li",
            near.link(
                node.instance_id,
                tag("b", node.table),
                f" {node.version} ",
                tag("span", second(node.at) or "not in this history"),
                tag("span", f" {short(node.instance_id)}", class_="id"),
                " (deleted)" if node.gone and node.at else None,
                tag("span", f" {taken_up}") if kind == "origin" else None,
                class_="neighbour",
            ),
        )
        for node, kind in list(found.values())[:_MOST_LINKS]
    ]
    more = len(found) - len(items)
    return joined(
        [
            tag("h3", words),
            tag("ul", items, class_="links"),
            tag("p", f"… {more:,} more.", class_="more") if more else None,
        ]
    )


def _columns(making: Making) -> Markup | None:
    """Show the columns with their dtypes; those of the primary key are marked."""
    if not making.dtypes:
        return None
    items = [
        tag(
            "li",
            tag("b", name),
            tag("small", f" {dtype}"),
            tag("small", " key", class_="keymark") if name in making.primary_key else None,
        )
        for name, dtype in making.dtypes
    ]
    more = making.more_columns
    return joined(
        [
            tag("h3", "Columns"),
            tag("ul", items, class_="columns"),
            tag("p", f"… {more:,} more.", class_="more") if more else None,
        ]
    )


def _identity(instance: Instance, making: Making) -> Markup:
    """Show under which names the instance is known elsewhere."""
    facts = [
        ("Instance", tag("code", instance.instance_id)),
        ("Made by", clamped(making.author or instance.author, _LONGEST_TEXT)),
        ("Operation", instance.operation.replace("_", " ")),
        ("Process", tag("code", making.process)),
    ]
    return tag(
        "dl",
        [joined([tag("dt", name), tag("dd", fact)]) for name, fact in facts if fact],
        class_="facts",
    )


def listing(instances: Sequence[Instance]) -> Markup:
    """List instances, a line for each."""
    lines = [
        tag("li", _line(each), id=anchor("i", each.instance_id), class_="instance")
        for each in instances
    ]
    return tag(
        "details",
        tag("summary", counted(len(instances), "earlier instance")),
        tag("ul", lines, class_="lines"),
        class_="earlier",
    )
