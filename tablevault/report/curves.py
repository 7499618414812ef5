"""The curves of the lineage: from one row to another, by lanes past the tables in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tablevault.queries.chronicle import Edge
from tablevault.report.markup import Markup, tag
from tablevault.report.words import anchor

_MOST_CURVES = 1_000
_LEAST_BEND = 34
_HEAD = 5

Place = tuple[int, int]
Row = tuple[str, int]
"""A table, and the number of a row of it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where rows and lanes are: the corner of each spot, and the measures of a card."""

    places: Mapping[str, Place]
    ways: Mapping[tuple[str, str], Sequence[str]]
    """What is passed from one table to another: the lanes between the two."""
    width: int
    first_row: int
    """From the upper side of a card to the middle of its first row."""
    row: int

    def middle(self, row: Row) -> int:
        """Return the height of a row."""
        return self.places[row[0]][1] + self.first_row + self.row * row[1]

    def lanes(self, source: str, target: str) -> list[Place]:
        """Return the lanes that lead from one table to another, from left to right."""
        return [self.places[lane] for lane in self.ways.get((source, target), ())[1:-1]]


def draw_curves(edges: Iterable[Edge], rows: Mapping[str, Row], grid: Grid) -> list[Markup]:
    """Draw what leads from one table to another; within a table the order of rows tells it.

    Instances without a row of their own share one, and so the curves that lead there.
    """
    drawn: dict[tuple[Row, Row], tuple[str, str]] = {}
    for edge in edges:
        source, target = rows.get(edge.source), rows.get(edge.target)
        if source is not None and target is not None and source[0] != target[0]:
            drawn.setdefault((source, target), (edge.source, edge.target))
    return [_curve(*ends, ids, grid) for ends, ids in list(drawn.items())[:_MOST_CURVES]]


def _curve(source: Row, target: Row, ids: tuple[str, str], grid: Grid) -> Markup:
    """Draw one curve, with a head."""
    x, y = grid.places[source[0]][0] + grid.width, grid.middle(source)
    line = [f"M{x},{y}"]
    for left, lane in grid.lanes(source[0], target[0]):
        line.append(f"{_bent((x, y), (left, lane))} H{left + grid.width}")
        x, y = left + grid.width, lane
    x2, y2 = grid.places[target[0]][0] - 1, grid.middle(target)
    line.append(f"{_bent((x, y), (x2 - _HEAD, y2))} L{x2},{y2}")
    line.append(f"M{x2 - _HEAD},{y2 - 4} L{x2},{y2} L{x2 - _HEAD},{y2 + 4}")
    return tag(
        "path",
        d=" ".join(line),
        data_from=anchor("i", ids[0]),
        data_to=anchor("i", ids[1]),
    )


def _bent(start: Place, end: Place) -> str:
    """Lead from one point to another, level at both ends."""
    bend = max(_LEAST_BEND, (end[0] - start[0]) // 2)
    return f"C{start[0] + bend},{start[1]} {end[0] - bend},{end[1]} {end[0]},{end[1]}"
