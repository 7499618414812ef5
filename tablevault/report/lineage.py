"""The lineage as a drawing: a card for each table, a row for each instance, curves between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tablevault.queries.chronicle import Chronicle, Node
from tablevault.queries.graph import without_circles
from tablevault.queries.layers import columns, ways
from tablevault.report.curves import Grid, Place, draw_curves
from tablevault.report.grid import scrolling
from tablevault.report.markup import Markup, joined, raw, tag
from tablevault.report.words import anchor, cut, second, short

_MOST_TABLES = 80
_MOST_ROWS = 5
_MOST_ALONE = 60
_WIDTH, _HEADER, _ROW, _GAP_X, _GAP_Y, _MARGIN = 330, 30, 24, 84, 22, 10
_BOTTOM = 6
_LANE = 4
_MOST_LANES = 400
_LONGEST_NAME, _LONGEST_VERSION = 36, 13


@dataclass(frozen=True, slots=True)
class _Known:
    """What has a place in the page."""

    tables: Collection[str]
    instances: Collection[str]


@dataclass(frozen=True, slots=True)
class _Card:
    """A table in the drawing."""

    table: str
    nodes: Sequence[Node]
    """Those that have a row, newest first."""
    earlier: int
    """Instances that share the last row."""

    @property
    def height(self) -> int:
        """Height in pixels."""
        return _HEADER + _ROW * (len(self.nodes) + bool(self.earlier)) + _BOTTOM


def section(found: Chronicle) -> Markup:
    """Draw what was made from what."""
    links = _between_tables(found)
    linked = [name for name in _names(found) if name in {each for pair in links for each in pair}]
    instances = [each for table in found.tables for each in table.instances]
    known = _Known(
        tables={table.name for table in found.tables},
        instances={each.instance_id for each in instances},
    )
    alone = [table.name for table in found.tables if table.name not in linked]
    parts: list[Markup] = []
    if linked:
        parts.append(_drawing(found, linked[:_MOST_TABLES], links, known))
    if len(linked) > _MOST_TABLES:
        parts.append(tag("p", f"… {len(linked) - _MOST_TABLES:,} more tables.", class_="more"))
    if alone and linked:
        parts.append(
            tag(
                "p",
                "Not linked to another table: ",
                _listed(alone),
                class_="muted",
            )
        )
    if not linked:
        parts.append(tag("p", "No table was made from another one.", class_="muted"))
    return tag(
        "section", tag("h2", "Lineage"), parts, id="lineage", aria_label="Lineage", class_="card"
    )


def _listed(names: Sequence[str]) -> Markup:
    """List tables with links."""
    shown = [tag("a", name, href=f"#{anchor('table', name)}") for name in names[:_MOST_ALONE]]
    more = len(names) - len(shown)
    commas = raw(", ").join(shown)
    return joined([raw(commas), f" and {more:,} more" if more else None, "."])


def _names(found: Chronicle) -> list[str]:
    """Name the tables: those that are told of first."""
    return list(
        dict.fromkeys(
            [
                *(table.name for table in found.tables),
                *sorted({node.table for node in found.nodes.values()}),
            ]
        )
    )


def _between_tables(found: Chronicle) -> list[tuple[str, str]]:
    """Return the pairs of tables of which one was made from the other."""
    pairs = {
        (found.nodes[edge.source].table, found.nodes[edge.target].table): None
        for edge in found.edges
    }
    return [pair for pair in pairs if pair[0] != pair[1]]


def _cards(found: Chronicle, names: Collection[str]) -> dict[str, _Card]:
    """Choose the instances of each table that get a row: the latest."""
    by_table: dict[str, list[Node]] = defaultdict(list)
    for node in found.nodes.values():
        by_table[node.table].append(node)
    cards = {}
    for name in names:
        nodes = sorted(by_table[name], key=lambda node: (node.at, node.instance_id), reverse=True)
        # What readers get comes first, however old it is.
        ranked = sorted(nodes, key=lambda node: (not node.current, node.gone))
        chosen = {node.instance_id for node in ranked[:_MOST_ROWS]}
        shown = [node for node in nodes if node.instance_id in chosen]
        cards[name] = _Card(name, shown, len(nodes) - len(shown))
    return cards


def _drawing(
    found: Chronicle,
    names: Sequence[str],
    links: Sequence[tuple[str, str]],
    known: _Known,
) -> Markup:
    """Draw the tables that are linked to each other."""
    cards = _cards(found, names)
    known_links = [
        (source, target, "") for source, target in links if source in cards and target in cards
    ]
    # Two tables may have been made from each other: then one of the curves goes back.
    forward = [(source, target) for source, target, _ in without_circles(known_links)]
    passed = ways(names, forward, _MOST_LANES)
    stops = dict.fromkeys(stop for way in passed.values() for stop in way)
    steps = [step for way in passed.values() for step in pairwise(way)]
    placed = columns([*names, *(stop for stop in stops if stop not in cards)], steps)
    places, width, height = _places(placed, cards)
    rows = {
        node.instance_id: (node.table, number)
        for card in cards.values()
        for number, node in enumerate(card.nodes)
    }
    for node in found.nodes.values():
        if node.table in cards:
            rows.setdefault(node.instance_id, (node.table, len(cards[node.table].nodes)))
    curves = draw_curves(
        found.edges, rows, Grid(places, passed, _WIDTH, _HEADER + _ROW // 2 - 1, _ROW)
    )
    drawn = tag(
        "svg",
        tag("g", curves, class_="curves"),
        [_card(cards[name], places[name], known) for name in names],
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="group",
        aria_label="Which instance was made from which, from left to right",
    )
    hint = (
        "From left to right: each row is an instance, each curve leads to what was made from it; "
        "a full dot is the current instance of its version. "
        "Click a row to read how it was made."
    )
    return tag(
        "figure",
        scrolling(drawn, "Drawing of the lineage"),
        tag("figcaption", hint, class_="muted"),
    )


def _places(
    placed: Sequence[Sequence[str]], cards: Mapping[str, _Card]
) -> tuple[dict[str, Place], int, int]:
    """Return the upper left corner of each card and lane, and the size of the drawing."""

    def height_of(spot: str) -> int:
        return cards[spot].height if spot in cards else _LANE

    heights = [sum(map(height_of, column)) + _GAP_Y * (len(column) - 1) for column in placed]
    tallest = max(heights, default=0)
    places: dict[str, Place] = {}
    for number, (column, height) in enumerate(zip(placed, heights, strict=True)):
        y = _MARGIN + (tallest - height) // 2
        for spot in column:
            places[spot] = (_MARGIN + number * (_WIDTH + _GAP_X), y)
            y += height_of(spot) + _GAP_Y
    width = 2 * _MARGIN + len(placed) * (_WIDTH + _GAP_X) - _GAP_X
    return places, width, tallest + 2 * _MARGIN


def _card(card: _Card, place: Place, known: _Known) -> Markup:
    """Draw a table."""
    x, y = place
    name = cut(card.table, _LONGEST_NAME)
    title = tag("text", name, x=x + 12, y=y + 20, class_="name")
    whole = tag("title", card.table)
    if card.table in known.tables:
        header = tag("a", whole, title, href=f"#{anchor('table', card.table)}")
    else:
        header = tag("g", whole, title)
    rows = [
        _row(node, x, y + _HEADER + _ROW * number, known) for number, node in enumerate(card.nodes)
    ]
    if card.earlier:
        at = y + _HEADER + _ROW * len(card.nodes)
        rows.append(tag("text", f"… {card.earlier:,} more", x=x + 26, y=at + 16, class_="faint"))
    box = tag("rect", x=x, y=y, width=_WIDTH, height=card.height, rx=8, class_="box")
    return tag("g", box, header, rows)


def _row(node: Node, x: int, y: int, known: _Known) -> Markup:
    """Draw an instance."""
    marks = ["row"]
    marks += ["current"] if node.current else []
    marks += ["gone"] if node.gone else []
    marks += ["partial"] if not node.success else []
    state = "not in this history" if not node.at else "deleted" if node.gone else ""
    state = state or ("partial" if not node.success else "")
    whole = f"{node.instance_id}, {second(node.at) or 'no time'}" + (f", {state}" if state else "")
    inner = [
        tag("title", whole),
        tag("rect", x=x + 6, y=y, width=_WIDTH - 12, height=_ROW - 2, rx=5, class_="back"),
        tag("rect", x=x + 13, y=y + 7, width=8, height=8, rx=4, class_="dot"),
        tag("text", cut(node.version, _LONGEST_VERSION), x=x + 27, y=y + 16),
        tag("text", short(node.instance_id), x=x + _WIDTH - 142, y=y + 16, class_="faint id end"),
        tag(
            "text",
            second(node.at) or "?",
            x=x + _WIDTH - 14,
            y=y + 16,
            class_="faint end",
        ),
    ]
    key = anchor("i", node.instance_id)
    if node.instance_id in known.instances:
        return tag("a", inner, href=f"#{key}", class_=" ".join(marks), data_node=key)
    return tag("g", inner, class_=" ".join(marks), data_node=key)
