"""A graph without circles as a drawing: SVG that needs nothing else, for light and dark pages."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tablevault import render
from tablevault.queries.graph import Box, Graph
from tablevault.queries.layers import columns, ways

_MOST_BOXES, _MOST_BENDS = 200, 400
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 230, 40, 60, 14, 12
_LANE = 8  # height of a line that passes between boxes
_LONGEST_LABEL = 34


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a box is, or a line that passes by; `y` is the middle."""

    x: int
    y: int


def svg(graph: Graph) -> str:
    """Draw the graph from left to right; lines pass between the boxes, not behind them."""
    shown = list(graph.boxes)[:_MOST_BOXES]
    known = set(shown)
    edges = [edge for edge in graph.edges if edge[0] in known and edge[1] in known]
    stops = ways(shown, [(source, target) for source, target, _ in edges], _MOST_BENDS)
    places, width, height = _places(shown, list(stops.values()))
    parts = [
        _line([places[stop] for stop in stops[source, target]], label)
        for source, target, label in edges
    ]
    parts += [_box(graph.boxes[each], places[each]) for each in shown]
    more = len(graph.boxes) - len(shown)
    note = f"<p>{more:,} more instances: to_frame() has all of them.</p>" if more else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" role="img">'
        f"<title>lineage</title>{''.join(parts)}</svg>{note}"
    )


def _places(
    nodes: Sequence[str], passed: Sequence[Sequence[str]]
) -> tuple[dict[str, _Place], int, int]:
    """Put boxes and stops into columns, these in the middle; give the size of the drawing, too."""
    boxes = set(nodes)
    every = [*nodes, *dict.fromkeys(stop for way in passed for stop in way[1:-1])]
    steps = [(a, b) for way in passed for a, b in pairwise(way)]
    heights = defaultdict(lambda: _LANE, dict.fromkeys(boxes, _HEIGHT))
    found = columns(every, steps)
    tall = [sum(heights[each] + _GAP_Y for each in column) - _GAP_Y for column in found]
    highest = max(tall, default=_HEIGHT)
    places = {}
    for number, column in enumerate(found):
        y = _MARGIN + (highest - tall[number]) // 2
        for each in column:
            x = _MARGIN + number * (_WIDTH + _GAP_X)
            places[each] = _Place(x, y + heights[each] // 2)
            y += heights[each] + _GAP_Y
    width = 2 * _MARGIN + max(1, len(found)) * (_WIDTH + _GAP_X) - _GAP_X
    return places, width, 2 * _MARGIN + highest


def _box(box: Box, at: _Place) -> str:
    """Draw a node."""
    dash = ' stroke-dasharray="4 3"' if box.is_gone else ""
    wide = 2 if box.is_root else 1
    x, y = at.x, at.y - _HEIGHT // 2
    texts = "".join(
        f'<text x="{x + 8}" y="{y + 16 + 15 * line}" fill="currentColor"{weight}>'
        f"{html.escape(_cut(render.visible(text)))}</text>"
        for line, (text, weight) in enumerate(
            ((box.title, ' font-weight="bold"'), (box.name, ' opacity="0.7"'))
        )
    )
    return (
        f'<g><title>{html.escape(str(box))}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" rx="5" fill="none" stroke="currentColor" stroke-width="{wide}"{dash}/>'
        f"{texts}</g>"
    )


def _line(stops: Sequence[_Place], label: str) -> str:
    """Draw an edge; one with a label is dashed."""
    first, *others = stops
    x, y = first.x + _WIDTH, first.y
    way = [f"M{x},{y}"]
    for stop in others:
        middle = (x + stop.x) // 2
        way.append(f"C{middle},{y} {middle},{stop.y} {stop.x},{stop.y}")
        if stop is not others[-1]:
            way.append(f"H{stop.x + _WIDTH}")
        x, y = stop.x + _WIDTH, stop.y
    end = others[-1]
    head = f"M{end.x - 6},{end.y - 4} L{end.x},{end.y} L{end.x - 6},{end.y + 4}"
    dash = ' stroke-dasharray="3 3"' if label else ""
    told = f"<title>{html.escape(render.visible(label))}</title>" if label else ""
    return (
        f'<g fill="none" stroke="currentColor" opacity="0.6">{told}'
        f'<path d="{" ".join(way)}"{dash}/><path d="{head}"/></g>'
    )


def _cut(text: str) -> str:
    """Shorten what does not fit into a box."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
