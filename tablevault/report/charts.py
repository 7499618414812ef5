"""The charts of a report: the lineage of tables, and their instances over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.model.instance import by_age
from tablevault.queries.instance_summary import InstanceSummary
from tablevault.queries.lineage import LineageNode
from tablevault.queries.lineage_drawing import Card, DrawnInstance, draw
from tablevault.queries.vault_summary import VaultSummary
from tablevault.render import counted, cut
from tablevault.report.format import anchor, second, short

if TYPE_CHECKING:
    from markupsafe import Markup


_MOST_TABLES = 80
_MOST_ROWS = 5
_LONGEST_NAME, _LONGEST_VERSION = 36, 13


@dataclass(frozen=True, slots=True)
class LineageSection:
    """What the page shows of the lineage."""

    drawing: Markup | None
    """None where no table was made from another one."""
    more: int
    """Tables that are left out of it."""
    alone: Sequence[str]
    """Tables that are not linked to another one."""


def lineage(vault: VaultSummary) -> LineageSection:
    """Return the lineage of a vault, or of one table of it."""
    tables = {each: node.table_name for each, node in vault.nodes.items()}
    pairs = {(tables[edge.source_id], tables[edge.instance_id]) for edge in vault.edges}
    linked = {table for pair in pairs if pair[0] != pair[1] for table in pair}
    described = [table.name for table in vault.tables]
    names = [name for name in dict.fromkeys([*described, *sorted(linked)]) if name in linked]
    return LineageSection(
        drawing=_drawing(vault, names[:_MOST_TABLES]) if names else None,
        more=len(names) - _MOST_TABLES,
        alone=[name for name in described if name not in linked],
    )


def _drawing(vault: VaultSummary, names: Sequence[str]) -> Markup:
    """Draw some tables."""
    by_table: dict[str, list[LineageNode]] = defaultdict(list)
    for node in vault.nodes.values():
        by_table[node.table_name].append(node)
    placed = {each.id for table in vault.tables for each in table.instances}
    described = {table.name for table in vault.tables}
    cards = []
    for name in names:
        nodes = sorted(by_table[name], key=by_age, reverse=True)
        # What readers get comes first, however old it is.
        ranked = sorted(
            nodes, key=lambda node: (node.instance_id not in vault.current, _is_gone(node))
        )
        chosen = {node.instance_id for node in ranked[:_MOST_ROWS]}
        card = Card(
            key=name,
            title=cut(name, _LONGEST_NAME),
            tooltip=name,
            rows=[_row(vault, node, placed) for node in nodes if node.instance_id in chosen],
            others=[node.instance_id for node in nodes if node.instance_id not in chosen],
            link=anchor(name, "table") if name in described else "",
        )
        cards.append(card)
    return draw(cards, [(edge.source_id, edge.instance_id, "") for edge in vault.edges])


def _is_gone(node: LineageNode) -> bool:
    """Return whether an instance was deleted, or is not in this history."""
    return bool(node.deleted_at) or not node.materialized_at


def _row(vault: VaultSummary, node: LineageNode, placed: Collection[str]) -> DrawnInstance:
    """Return the row of an instance."""
    marks = {
        "current": node.instance_id in vault.current,
        "gone": _is_gone(node),
        "partial": not node.success,
    }
    state = "" if node.success else "partial"
    if _is_gone(node):
        state = "deleted" if node.deleted_at else "not in this history"
    made_at = second(node.materialized_at)
    return DrawnInstance(
        instance_id=node.instance_id,
        label=cut(node.version, _LONGEST_VERSION),
        tooltip=", ".join(filter(None, [node.instance_id, made_at or "no time", state])),
        details=[short(node.instance_id), made_at or "?"],
        marks=[mark for mark, has_it in marks.items() if has_it],
        link=anchor(node.instance_id, "i") if node.instance_id in placed else "",
    )


_MOST_BARS = 60
_HEIGHT, _TOP, _BELOW = 64, 16, 22
_LEAST_STEP, _MOST_STEP, _WIDTH, _GAP = 14, 44, 640, 3
_LABEL = 82
"""Pixels that a date takes."""
_DATE = 10
"""Length of a date; a time of day follows after a blank."""
_KINDS = {
    "computed": "computed",
    "reused": "reused",
    "plain": "written, or made by an index builder alone",
    "unknown": "not counted",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One instance in the chart."""

    summary: InstanceSummary
    x: int
    parts: Sequence[tuple[str, int, int]]
    """What made its rows, upper end and height."""
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The chart of a table; lengths are pixels."""

    label: str
    tallest: int
    """Rows of the highest bar."""
    bars: Sequence[Bar]
    bar_width: int
    ticks: Sequence[tuple[int, str]]
    """Where dates stand, and times of day within one day."""
    width: int
    top: int = _TOP
    foot: int = _TOP + _HEIGHT
    height: int = _TOP + _HEIGHT + _BELOW

    @property
    def kinds(self) -> Sequence[tuple[str, str]]:
        """Kinds of parts that the chart has, with their descriptions."""
        found = {kind for bar in self.bars for kind, _, _ in bar.parts}
        return [each for each in _KINDS.items() if each[0] in found]


def timeline(instances: Sequence[InstanceSummary]) -> Timeline | None:
    """Return the chart of the latest instances, oldest first; None for fewer than two."""
    shown = [each for each in instances if not each.instance.deleted_at][:_MOST_BARS][::-1]
    if len(shown) < 2:  # noqa: PLR2004 - one bar compares nothing
        return None
    tallest = max(each.rows or 0 for each in shown)
    step = max(_LEAST_STEP, min(_MOST_STEP, _WIDTH // len(shown)))
    first, last = (second(shown[place].instance.materialized_at) for place in (0, -1))
    return Timeline(
        label=f"Rows of the latest {counted(len(shown), 'instance')}, oldest first, "
        f"from {first} to {last}; at most {tallest:,}",
        tallest=tallest,
        bars=[_bar(each, place * step, tallest) for place, each in enumerate(shown)],
        bar_width=step - _GAP,
        ticks=list(_ticks(shown, step)),
        width=(len(shown) - 1) * step + max(step, _LABEL),
    )


def _bar(summary: InstanceSummary, x: int, tallest: int) -> Bar:
    """Return the bar of an instance."""
    rows = summary.rows or 0
    height = max(3, round(_HEIGHT * rows / (tallest or 1)))
    y = _TOP + _HEIGHT - height
    made_at, version = second(summary.instance.materialized_at), summary.instance.version
    title = f"{made_at}, {cut(version, 40)}: {counted(rows, 'row')}"
    if summary.results is not None:
        computed, reused = summary.results
        title += f", {computed:,} computed, {reused:,} reused"
    parts = []
    for kind, part in _parts(summary, height):
        if part:
            parts.append((kind, y, part))
        y += part
    return Bar(summary, x, parts, title)


def _parts(summary: InstanceSummary, height: int) -> list[tuple[str, int]]:
    """Divide the height of a bar among what computed its rows, from the top."""
    counts = summary.results
    if counts is None or not sum(counts):
        is_plain = summary.rows == 0 or _has_no_calls(summary)
        return [("plain" if is_plain else "unknown", height)]
    foot = round(height * counts[1] / sum(counts))
    # A single call is visible, too.
    foot = min(max(foot, int(counts[1] > 0)), height - int(counts[0] > 0))
    return [("computed", height - foot), ("reused", foot)]


def _has_no_calls(summary: InstanceSummary) -> bool:
    """Return whether it is known that no column builder made the rows."""
    details = summary.details
    return details is not None and all(each.is_index for each in details.builders)


def _ticks(shown: Sequence[InstanceSummary], step: int) -> Iterator[tuple[int, str]]:
    """Return dates, and times of day within one day, as far as there is room."""
    free, day, last = 0, "", ""
    for place, each in enumerate(shown):
        x, at = place * step, second(each.instance.materialized_at)
        words = at[:_DATE] if at[:_DATE] != day else at[_DATE + 1 : -3]
        if x >= free and words not in ("", last):
            yield x, words
            free, day, last = x + _LABEL, at[:_DATE], words
