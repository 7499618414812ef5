"""The drawing of a lineage as SVG: cards with a row for each instance, curves between the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.markup import environment
from tablevault.queries.graph import Graph
from tablevault.queries.graph_layout import WIDTH, Place, arrange

if TYPE_CHECKING:
    from markupsafe import Markup

_HEADER, _ROW, _BOTTOM = 30, 24, 6
_MOST_CURVES, _MOST_BOXES = 2_000, 200
_LONGEST_TITLE, _LONGEST_LABEL = 36, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnInstance:
    """A row of a card."""

    instance_id: str
    label: str
    tooltip: str
    details: Sequence[str] = ()
    """At most two short texts at the right."""
    marks: Sequence[str] = ()
    """How it looks: ``current`` (a full dot), ``gone`` (struck through), ``partial`` (dashed)."""
    link: str = ""
    """Id of the element that it leads to, "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A table, or one instance of it."""

    key: str
    title: str
    tooltip: str
    rows: Sequence[DrawnInstance]
    others: Sequence[str] = ()
    """Ids of instances that share one more row."""
    link: str = ""
    """Id of the element that the title leads to, "" for none."""

    @property
    def height(self) -> int:
        """Height in pixels."""
        return _HEADER + _ROW * (len(self.rows) + bool(self.others)) + _BOTTOM


def draw(cards: Sequence[Card], edges: Iterable[tuple[str, str, str]]) -> Markup:
    """Return a drawing as SVG that needs nothing else, for light and dark pages.

    Parameters
    ----------
    cards : sequence of Card
        Cards; one that comes from another one is placed to the right of it.
    edges : iterable of tuple[str, str, str]
        Source, target and label; one with a label is dashed. Those within a card and those of
        instances without a row are left out.
    """
    from markupsafe import Markup

    places: dict[str, Place] = {}
    for card in cards:
        rows = [*([each.instance_id] for each in card.rows), card.others]
        for number, ids in enumerate(rows):
            middle = _HEADER + _ROW * number + _ROW // 2 - 1
            places.update((each, (card.key, middle)) for each in ids)
    curves: dict[tuple[Place, Place], tuple[str, str, str]] = {}
    for edge in edges:
        source, target = places.get(edge[0]), places.get(edge[1])
        if source is not None and target is not None and source[0] != target[0]:
            curves.setdefault((source, target), edge)
    links = dict.fromkeys((source[0], target[0]) for source, target in curves)
    layout = arrange({card.key: card.height for card in cards}, links)
    drawn = (
        environment("tablevault.queries")
        .get_template("graph.svg.j2")
        .render(
            cards=[(card, *layout.corners[card.key]) for card in cards],
            curves=[
                (layout.curve(*ends), *edge) for ends, edge in list(curves.items())[:_MOST_CURVES]
            ],
            layout=layout,
            card_width=WIDTH,
            header=_HEADER,
            row_height=_ROW,
        )
    )
    return Markup(drawn)  # noqa: S704 - the template escapes


def draw_graph(graph: Graph) -> str:
    """Return a graph as SVG with a card for each box, and the number of those that are left out."""
    cards = [
        Card(
            key=name,
            title=_cut(box.title, _LONGEST_TITLE),
            tooltip=str(box),
            rows=[
                DrawnInstance(
                    instance_id=name,
                    label=_cut(box.name, _LONGEST_LABEL),
                    tooltip=str(box),
                    marks=[*["current"] * box.is_root, *["gone"] * box.is_gone],
                )
            ],
        )
        for name, box in list(graph.boxes.items())[:_MOST_BOXES]
    ]
    more = len(graph.boxes) - len(cards)
    note = f"<p>{more:,} more instances: to_frame() has all of them.</p>" if more else ""
    return f"{draw(cards, graph.edges)}{note}"


def _cut(text: str, most: int) -> str:
    """Return text cut to a length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
