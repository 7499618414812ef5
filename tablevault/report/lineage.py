"""The lineage: a card for each table that is linked to another one, and the names of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.queries.graph_svg import Card, DrawnInstance, draw
from tablevault.queries.lineage import LineageNode
from tablevault.queries.vault_summary import VaultSummary
from tablevault.report.format import anchor, cut, second, short

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
        nodes = sorted(
            by_table[name], key=lambda node: (node.materialized_at, node.instance_id), reverse=True
        )
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
