"""Graph layout: cards in columns, each to the right of all that it comes from, and the curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tablevault.queries.graph import without_circles

WIDTH = 330
"""Width of a card; this and all other lengths are pixels."""
_GAP_X, _GAP_Y, _MARGIN = 84, 22, 10
_LANE = 4
_MOST_LANES = 400
_SWEEPS = 4
_LEAST_BEND, _HEAD = 34, 5

Link = tuple[str, str]
"""Source and target of an edge."""
Point = tuple[int, int]
Place = tuple[str, int]
"""A card, and a height below its upper left corner."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of cards, and the lanes by which curves pass those in between."""

    corners: Mapping[str, Point]
    """Upper left corners of the cards."""
    lanes: Mapping[Link, Sequence[Point]]
    """Left ends of the lanes between two cards, from left to right."""
    width: int
    height: int

    def curve(self, source: Place, target: Place) -> str:
        """Return the path of an arrow between two cards."""
        (left, top), (x_end, top_end) = self.corners[source[0]], self.corners[target[0]]
        x, y = left + WIDTH, top + source[1]
        x_end, y_end = x_end - 1, top_end + target[1]
        parts = [f"M{x},{y}"]
        for lane_x, lane_y in self.lanes.get((source[0], target[0]), ()):
            parts.append(f"{_bend((x, y), (lane_x, lane_y))} H{lane_x + WIDTH}")
            x, y = lane_x + WIDTH, lane_y
        parts.append(f"{_bend((x, y), (x_end - _HEAD, y_end))} L{x_end},{y_end}")
        parts.append(f"M{x_end - _HEAD},{y_end - 4} L{x_end},{y_end} L{x_end - _HEAD},{y_end + 4}")
        return " ".join(parts)


def arrange(heights: Mapping[str, int], links: Iterable[Link]) -> Layout:
    """Return the places of cards, given their heights and which comes from which.

    Two tables may have been made from each other: then one of the curves leads back.
    """
    forward = [
        (source, target) for source, target, _ in without_circles((*link, "") for link in links)
    ]
    routes = _routes(list(heights), forward)
    lanes = dict.fromkeys(stop for route in routes.values() for stop in route[1:-1])
    columns = _columns(
        [*heights, *lanes], [step for route in routes.values() for step in pairwise(route)]
    )
    tall = {**dict.fromkeys(lanes, _LANE), **heights}
    totals = [sum(tall[each] + _GAP_Y for each in column) - _GAP_Y for column in columns]
    highest = max(totals, default=0)
    corners: dict[str, Point] = {}
    for number, (column, total) in enumerate(zip(columns, totals, strict=True)):
        y = _MARGIN + (highest - total) // 2
        for each in column:
            corners[each] = (_MARGIN + number * (WIDTH + _GAP_X), y)
            y += tall[each] + _GAP_Y
    return Layout(
        corners=corners,
        lanes={link: [corners[stop] for stop in route[1:-1]] for link, route in routes.items()},
        width=2 * _MARGIN + len(columns) * (WIDTH + _GAP_X) - _GAP_X,
        height=highest + 2 * _MARGIN,
    )


def _bend(start: Point, end: Point) -> str:
    """Return a curve from one point to another that is level at both ends."""
    bend = max(_LEAST_BEND, (end[0] - start[0]) // 2)
    return f"C{start[0] + bend},{start[1]} {end[0] - bend},{end[1]} {end[0]},{end[1]}"


def _routes(names: Sequence[str], links: Sequence[Link]) -> dict[Link, list[str]]:
    """Return for each edge its ends and the lanes between, one in each column that it passes.

    Edges from one name share their lanes. They have none where there would be too many.
    """
    depth = _depths(names, links)
    found = {
        (source, target): [
            source,
            *(_lane(source, column) for column in range(depth[source] + 1, depth[target])),
            target,
        ]
        for source, target in links
    }
    if len({stop for route in found.values() for stop in route[1:-1]}) > _MOST_LANES:
        return {link: list(link) for link in found}
    return found


def _lane(source: str, column: int) -> str:
    """Return the name of the lane of edges from a name through a column; no name has a NUL."""
    return f"{source}\0{column}"


def _columns(names: Sequence[str], links: Sequence[Link]) -> list[list[str]]:
    """Put names into columns so that edges lead to the right and seldom cross."""
    depth = _depths(names, links)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        found[depth[name]].append(name)
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in links:
        before[target].append(source)
        after[source].append(target)
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 == 0 else after
        for column in found if sweep % 2 == 0 else reversed(found):
            _sort(column, near, _heights(found))
    return found


def _depths(names: Sequence[str], links: Sequence[Link]) -> dict[str, int]:
    """Return the length of the longest path that leads to each name."""
    waiting = dict.fromkeys(names, 0)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in links:
        after[source].append(target)
        waiting[target] += 1
    depth = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting[name]]
    for name in ready:
        for target in after[name]:
            depth[target] = max(depth[target], depth[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)  # the loop continues with it
    return depth


def _heights(columns: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the height of each name, from 0 to 1 within its column."""
    return {
        name: (place + 0.5) / len(column) for column in columns for place, name in enumerate(column)
    }


def _sort(
    column: list[str], near: Mapping[str, Sequence[str]], heights: Mapping[str, float]
) -> None:
    """Sort a column so that each name is next to its neighbours."""

    def middle(name: str) -> float:
        others = near.get(name, ())
        return sum(heights[each] for each in others) / len(others) if others else heights[name]

    column.sort(key=middle)
