"""Instances: a line for each, and for the latest how they were made."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tablevault.queries.chronicle import Instance
from tablevault.queries.making import BuilderRun, Making
from tablevault.render import counted
from tablevault.report.around import Around, Neighbours
from tablevault.report.difference import badges, block, cell_of
from tablevault.report.grid import grid
from tablevault.report.markup import Markup, joined, raw, tag
from tablevault.report.timeline import reused_part
from tablevault.report.words import (
    anchor,
    cut,
    difference,
    duration,
    minute,
    moment,
    person,
    short,
)

_MOST_LINKS = 40
_LONGEST_LINE = 140
_BAR = 80
_NUMBER = re.compile(r"u?int|float|u?Int|Float|UInt|decimal")


def card(instance: Instance, making: Making, near: Around) -> Markup:
    """Show an instance, folded to a line."""
    change = making.change
    body: list[Markup | None] = [
        tag("p", making.description, class_="description") if _is_cut(making.description) else None,
        _became(instance),
        _head(making),
        block(change, near) if change is not None else None,
        _builders(making),
        _links("Made from", near.above.get(instance.instance_id, {}), "taken up", near),
        _links("Used by", near.below.get(instance.instance_id, {}), "took it up", near),
        _columns(making),
        _identity(instance, making),
    ]
    return tag(
        "details",
        tag(
            "summary",
            _line(instance),
            badges(change) if change is not None else None,
            tag("span", _first_line(making.description), class_="told")
            if making.description
            else None,
        ),
        tag("div", body, class_="body"),
        id=anchor("i", instance.instance_id),
        class_="instance",
    )


def _first_line(description: str) -> str:
    """Give what of a description fits in a line."""
    return cut(description.partition("\n")[0], _LONGEST_LINE)


def _is_cut(description: str) -> bool:
    """Tell whether a description goes on after that line."""
    return _first_line(description) != description


def _line(instance: Instance) -> Markup:
    """Tell of an instance in a line."""
    return joined(
        [
            tag("span", moment(instance.at), class_="when"),
            tag("span", instance.version, class_="version"),
            tag("span", _rows(instance), class_="rows"),
            tag("span", _reuse(instance), class_="reuse"),
            tag("span", person(instance.author), class_="who"),
            tag("span", duration(instance.duration_s), class_="took"),
            tag("span", _state(instance), class_="state"),
        ]
    )


def _rows(instance: Instance) -> Markup:
    """Count the rows, and say how many more that are than before."""
    if instance.rows is None:
        return tag("span", "rows not known", class_="muted")
    more = None
    if instance.rows_before is not None and instance.rows != instance.rows_before:
        more = tag("small", f" {difference(instance.rows - instance.rows_before)}")
    return joined(
        [tag("b", f"{instance.rows:,}"), f" {'row' if instance.rows == 1 else 'rows'}", more]
    )


def _reuse(instance: Instance) -> Markup | None:
    """Say which part was taken over."""
    part = reused_part(instance)
    if not part:
        return None
    return joined([_bar(part), f" {part:.0%} reused"])


def _bar(part: float) -> Markup:
    """Draw a part of a whole."""
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=_BAR // 2, height=8, rx=4, class_="computed"),
        tag("rect", x=0, y=0, width=round(_BAR // 2 * part), height=8, rx=4, class_="reused"),
        width=_BAR // 2,
        height=8,
        viewBox=f"0 0 {_BAR // 2} 8",
        aria_hidden="true",
        class_="part",
    )


def _state(instance: Instance) -> list[Markup]:
    """Say whether readers get it."""
    found = []
    if instance.deleted_at:
        found.append(("gone", "undone" if instance.undone else "deleted"))
    elif instance.current:
        found.append(("current", "current"))
    elif not instance.active:
        found.append(("inactive", "inactive"))
    if not instance.success:
        found.append(("partial", "partial"))
    return [tag("span", words, class_=f"badge {kind}") for kind, words in found]


def _became(instance: Instance) -> Markup | None:
    """Say what became of an instance that is gone."""
    if not instance.deleted_at:
        return None
    what = "Its making was undone" if instance.undone else "Deleted"
    return tag("p", f"{what} ", moment(instance.deleted_at), f" by {person(instance.deleted_by)}.")


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


def _builders(making: Making) -> Markup | None:
    """Show what each builder did, with links to its text and to the code that ran."""
    if not (making.builders or making.code or making.shipped):
        words = "Written as a dataframe, by no builder." if making.external_edit else None
        return tag("p", words, class_="muted") if words else None
    drawn = grid(
        "Builders in the order in which they ran",
        ("builder", ("computed", "number"), ("reused", "number"), "", "why"),
        map(_run, making.builders),
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
        ]
    )


def _run(run: BuilderRun) -> Markup:
    """Show what one builder did."""
    name = tag("code", run.name)
    done, kept = run.computed or 0, run.reused or 0
    return tag(
        "tr",
        tag(
            "th",
            tag("a", name, href=f"#{anchor('text', run.text_id)}") if run.text_id else name,
            scope="row",
        ),
        tag("td", "" if run.computed is None else f"{run.computed:,}", class_="number"),
        tag("td", "" if run.reused is None else f"{run.reused:,}", class_="number"),
        tag("td", _bar(kept / (done + kept)) if done + kept else None),
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
                tag("span", minute(node.at).removesuffix(" UTC") or "not in this history"),
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
        ("Made by", making.author or instance.author),
        ("Operation", instance.operation.replace("_", " ")),
        ("Process", tag("code", making.process)),
    ]
    return tag(
        "dl",
        [joined([tag("dt", name), tag("dd", fact)]) for name, fact in facts if fact],
        class_="facts",
    )


def listing(instances: Sequence[Instance]) -> Markup:
    """List instances in a table, a line for each."""
    body = [
        tag(
            "tr",
            tag("td", moment(each.at)),
            tag("td", each.version),
            tag("td", _rows(each), class_="number"),
            tag("td", person(each.author)),
            tag("td", duration(each.duration_s), class_="number"),
            tag("td", _state(each)),
            tag("td", tag("code", short(each.instance_id), title=each.instance_id)),
            id=anchor("i", each.instance_id),
        )
        for each in instances
    ]
    names = ("made", "version", "rows", "by", "took", "state", "id")
    return tag(
        "details",
        tag("summary", f"{counted(len(instances), 'earlier instance')}"),
        grid("Earlier instances", names, body),
        class_="earlier",
    )
