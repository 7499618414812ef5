"""A graph as lines of text, as a Mermaid flowchart and as SVG; labels are always text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

from tablevault import render
from tablevault.render import environment

if TYPE_CHECKING:
    from markupsafe import Markup


_DEEPEST = 12
_MOST_LINES = 200
_UNSAFE_IN_MERMAID = re.compile(r"[^A-Za-z0-9 _./-]")


@dataclass(frozen=True, slots=True)
class Box:
    """One node: two lines of text, a note, and how it looks."""

    title: str
    name: str
    note: str = ""
    is_root: bool = False
    is_gone: bool = False

    def __str__(self) -> str:
        """Return all of its text in one line."""
        note = f" ({self.note})" if self.note else ""
        return render.visible(f"{self.title} {self.name}{note}")


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes by id, and edges: ``(source, target, label)``."""

    boxes: Mapping[str, Box]
    edges: Sequence[tuple[str, str, str]]

    def neighbours(self, *, down: bool) -> dict[str, list[tuple[str, str]]]:
        """Return for each box the next ones in a direction, with the label of the edge."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for source, target, label in self.edges:
            if down:
                found[source].append((target, label))
            else:
                found[target].append((source, label))
        return found


def without_circles(edges: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return the edges but for those that close a cycle; only a forged history has any."""
    edges = list(dict.fromkeys(edges))
    next_of: dict[str, list[str]] = defaultdict(list)
    for source, target, _ in edges:
        next_of[source].append(target)
    done: set[str] = set()
    on_path: set[str] = set()
    backwards: set[tuple[str, str]] = set()
    for start in list(next_of):
        # Without recursion: a chain of ten thousand instances is deeper than the stack of Python.
        stack = [(start, iter(next_of[start]))] if start not in done else []
        on_path.update(node for node, _ in stack)
        while stack:
            node, rest = stack[-1]
            target = next(rest, "")
            if not target:
                stack.pop()
                on_path.discard(node)
                done.add(node)
            elif target in on_path:
                backwards.add((node, target))
            elif target not in done:
                on_path.add(target)
                stack.append((target, iter(next_of.get(target, ()))))
    return [edge for edge in edges if edge[:2] not in backwards]


def tree_lines(graph: Graph, roots: Sequence[str]) -> list[str]:
    """Return what is above and below the roots as an indented list.

    What one root has below it is not repeated below another one.
    """
    writer = _TreeWriter(graph, [], set(), {"from": set(), "made": set()})
    directions = {"from": graph.neighbours(down=False), "made": graph.neighbours(down=True)}
    for root in roots:
        nearest = [other for near in directions.values() for other, _ in near.get(root, ())]
        edges = {writer.edge(root, other) for other in nearest}
        if len(writer.lines) > _MOST_LINES:
            break
        if edges and edges <= writer.drawn:
            continue
        writer.lines.append(str(graph.boxes[root]))
        for word, next_of in directions.items():
            writer.grow(word, next_of, root, f"  {word} ")
    if len(writer.lines) > _MOST_LINES:
        return [*writer.lines[:_MOST_LINES], "... and more: to_frame() and --json have all of it"]
    return writer.lines


@dataclass(frozen=True, slots=True)
class _TreeWriter:
    """What is drawn so far: lines, edges, and by direction the boxes that were continued."""

    graph: Graph
    lines: list[str]
    drawn: set[tuple[str, ...]]
    seen: Mapping[str, set[str]]

    def edge(self, one: str, other: str) -> tuple[str, ...]:
        """Return the name of an edge, the same from both ends."""
        return tuple(sorted((one, other)))

    def grow(
        self, word: str, next_of: Mapping[str, list[tuple[str, str]]], node: str, indent: str
    ) -> None:
        """Add the boxes that come next in a direction, with those behind them."""
        self.seen[word].add(node)
        blank = " " * len(indent)
        for other, label in next_of.get(node, ()):
            if len(self.lines) > _MOST_LINES:
                return
            self.drawn.add(self.edge(node, other))
            continues = bool(next_of.get(other))
            is_again = continues and other in self.seen[word]
            how = f" [{render.visible(label)}]" if label else ""
            hint = " (see above)" if is_again else ""
            self.lines.append(f"{indent}{self.graph.boxes[other]}{how}{hint}")
            if continues and not is_again and len(indent) > 2 * _DEEPEST:
                self.lines.append(f"{blank}  ...")
            elif continues and not is_again:
                self.grow(word, next_of, other, f"{blank}  ")


def branches(lines: Sequence[str]) -> list[str]:
    """Return an indented list with the lines of a tree before its items."""
    depths: list[int] = []
    above: list[int] = []
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        above = [each for each in above if each < indent]
        depths.append(len(above))
        above.append(indent)
    following: set[int] = set()
    """Depths at which another item follows, seen from the last line upwards."""
    drawn = []
    for line, depth in zip(reversed(lines), reversed(depths), strict=True):
        following = {each for each in following if each <= depth}
        pipes = "".join("│   " if each in following else "    " for each in range(1, depth))
        corner = ("├── " if depth in following else "└── ") if depth else ""
        drawn.append(f"{pipes}{corner}{line.lstrip(' ')}")
        following.add(depth)
    return drawn[::-1]


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart, special characters as entity codes."""
    numbers = {each: f"n{number}" for number, each in enumerate(graph.boxes)}
    lines = ["flowchart LR"]
    for each, box in graph.boxes.items():
        text = "<br/>".join(map(_in_mermaid, filter(None, (box.title, box.name, box.note))))
        look = ":::gone" if box.is_gone else ":::root" if box.is_root else ""
        lines.append(f'    {numbers[each]}["{text}"]{look}')
    for source, target, label in graph.edges:
        arrow = f'-. "{_in_mermaid(label)}" .->' if label else "-->"
        lines.append(f"    {numbers[source]} {arrow} {numbers[target]}")
    lines.append("    classDef gone stroke-dasharray: 4 3")
    lines.append("    classDef root stroke-width: 3px")
    return "\n".join(lines) + "\n"


def _in_mermaid(text: str) -> str:
    """Return text without anything that has a meaning in Mermaid."""
    return _UNSAFE_IN_MERMAID.sub(lambda found: f"#{ord(found[0])};", render.visible(text))


# -- layout -------------------------------------------------------------------------------------

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
            # Lanes of edges through a column: no name has a NUL.
            *(f"{source}\0{column}" for column in range(depth[source] + 1, depth[target])),
            target,
        ]
        for source, target in links
    }
    if len({stop for route in found.values() for stop in route[1:-1]}) > _MOST_LANES:
        return {link: list(link) for link in found}
    return found


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
    before: dict[str, list[str]] = {name: [] for name in names}
    for source, target in links:
        before[target].append(source)
    depth: dict[str, int] = {}
    for name in TopologicalSorter(before).static_order():
        depth[name] = max((depth[each] + 1 for each in before[name]), default=0)
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


# -- SVG ----------------------------------------------------------------------------------------

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
            title=render.cut(box.title, _LONGEST_TITLE),
            tooltip=str(box),
            rows=[
                DrawnInstance(
                    instance_id=name,
                    label=render.cut(box.name, _LONGEST_LABEL),
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
