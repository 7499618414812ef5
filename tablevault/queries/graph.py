"""A graph without circles as a drawing: text, Mermaid, SVG; whatever its labels hold is text."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tablevault import render

_DEEPEST = 12
_MOST_LINES = 200
_MOST_BOXES = 200
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 230, 40, 60, 14, 12
_LONGEST_LABEL = 34
_UNSAFE_IN_MERMAID = re.compile(r"[^A-Za-z0-9 _./-]")


@dataclass(frozen=True, slots=True)
class Box:
    """One node: two lines of text, what is told besides, and how it looks."""

    title: str
    name: str
    note: str = ""
    is_root: bool = False
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes by id, and which one comes from which: ``(from, to, label)``."""

    boxes: Mapping[str, Box]
    edges: Sequence[tuple[str, str, str]]

    def neighbours(self, *, down: bool) -> dict[str, list[tuple[str, str]]]:
        """Give for each box the next ones in a direction, with the label of the edge."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for source, target, label in self.edges:
            if down:
                found[source].append((target, label))
            else:
                found[target].append((source, label))
        return found


def without_circles(
    edges: Iterable[tuple[str, str, str]],
) -> list[tuple[str, str, str]]:
    """Leave out edges that close a circle; only a forged history has any."""
    edges = list(dict.fromkeys(edges))
    next_of: dict[str, list[str]] = defaultdict(list)
    for source, target, _ in edges:
        next_of[source].append(target)
    done: set[str] = set()
    on_path: set[str] = set()
    backwards: set[tuple[str, str]] = set()
    for start in list(next_of):
        # By hand: a chain of ten thousand instances is deeper than Python's stack.
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
    """Draw what is above and below the roots as an indented list.

    What stands under one root is not drawn again under another: it is named, with a hint.
    """
    pen = _Pen(graph, [], set(), {"from": set(), "made": set()})
    ways = {"from": graph.neighbours(down=False), "made": graph.neighbours(down=True)}
    for root in roots:
        edges = {pen.edge(root, other) for way in ways.values() for other, _ in way.get(root, ())}
        if len(pen.lines) > _MOST_LINES:
            break
        if edges and edges <= pen.drawn:
            continue
        pen.lines.append(_label(graph.boxes[root]))
        for word, next_of in ways.items():
            pen.grow(word, next_of, root, f"  {word} ")
    if len(pen.lines) > _MOST_LINES:
        return [*pen.lines[:_MOST_LINES], "... and more: to_frame() has all of it"]
    return pen.lines


@dataclass(frozen=True, slots=True)
class _Pen:
    """What is drawn so far: lines, edges, and by direction the boxes that were gone on from."""

    graph: Graph
    lines: list[str]
    drawn: set[tuple[str, ...]]
    seen: Mapping[str, set[str]]

    def edge(self, one: str, other: str) -> tuple[str, ...]:
        """Name an edge from whichever end."""
        return tuple(sorted((one, other)))

    def grow(
        self, word: str, next_of: Mapping[str, list[tuple[str, str]]], node: str, indent: str
    ) -> None:
        """Add what comes next in a direction."""
        self.seen[word].add(node)
        blank = " " * len(indent)
        for other, label in next_of.get(node, ()):
            if len(self.lines) > _MOST_LINES:
                return
            self.drawn.add(self.edge(node, other))
            goes_on = bool(next_of.get(other))
            is_again = goes_on and other in self.seen[word]
            how = f" [{render.visible(label)}]" if label else ""
            hint = " (see above)" if is_again else ""
            self.lines.append(f"{indent}{_label(self.graph.boxes[other])}{how}{hint}")
            if goes_on and not is_again and len(indent) > 2 * _DEEPEST:
                self.lines.append(f"{blank}  ...")
            elif goes_on and not is_again:
                self.grow(word, next_of, other, f"{blank}  ")


def _label(box: Box) -> str:
    """Name a box in one line."""
    note = f" ({box.note})" if box.note else ""
    return render.visible(f"{box.title} {box.name}{note}")


def mermaid(graph: Graph) -> str:
    """Write the graph as a Mermaid flowchart; special characters as entity codes."""
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
    """Spell text so that Mermaid takes nothing in it for its own."""
    return _UNSAFE_IN_MERMAID.sub(lambda found: f"#{ord(found[0])};", render.visible(text))


def svg(graph: Graph) -> str:
    """Draw the graph from left to right as SVG that needs nothing else."""
    shown = list(graph.boxes)[:_MOST_BOXES]
    known = set(shown)
    edges = [edge for edge in graph.edges if edge[0] in known and edge[1] in known]
    places, width, height = _layout(shown, edges)
    parts = [_edge(places[source], places[target], label) for source, target, label in edges]
    parts += [_box(graph.boxes[each], *places[each]) for each in shown]
    more = len(graph.boxes) - len(shown)
    note = f"<p>{more:,} more instances: to_frame() has all of them.</p>" if more else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" role="img">'
        f"<title>lineage</title>{''.join(parts)}</svg>{note}"
    )


def _layout(
    nodes: Sequence[str], edges: Sequence[tuple[str, str, str]]
) -> tuple[dict[str, tuple[int, int]], int, int]:
    """Put each node to the right of all it comes from."""
    waiting = dict.fromkeys(nodes, 0)
    next_of: dict[str, list[str]] = defaultdict(list)
    for source, target, _ in edges:
        next_of[source].append(target)
        waiting[target] += 1
    ready = [node for node in nodes if not waiting[node]]
    layer = dict.fromkeys(nodes, 0)
    for node in ready:
        for target in next_of[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)  # the loop goes on with it
    rows: dict[int, int] = defaultdict(int)
    places = {}
    for node in ready:
        x = _MARGIN + layer[node] * (_WIDTH + _GAP_X)
        places[node] = (x, _MARGIN + rows[layer[node]] * (_HEIGHT + _GAP_Y))
        rows[layer[node]] += 1
    columns = max(layer.values(), default=0) + 1
    deepest = max(rows.values(), default=0)
    width = 2 * _MARGIN + columns * (_WIDTH + _GAP_X) - _GAP_X
    return places, width, 2 * _MARGIN + max(1, deepest) * (_HEIGHT + _GAP_Y) - _GAP_Y


def _box(box: Box, x: int, y: int) -> str:
    """Draw a node."""
    dash = ' stroke-dasharray="4 3"' if box.is_gone else ""
    wide = 2 if box.is_root else 1
    told = html.escape(_label(box))
    texts = "".join(
        f'<text x="{x + 8}" y="{y + 16 + 15 * line}" fill="currentColor"{weight}>'
        f"{html.escape(_cut(render.visible(text)))}</text>"
        for line, (text, weight) in enumerate(
            ((box.title, ' font-weight="bold"'), (box.name, ' opacity="0.7"'))
        )
    )
    return (
        f'<g><title>{told}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'rx="5" fill="none" stroke="currentColor" stroke-width="{wide}"{dash}/>{texts}</g>'
    )


def _edge(source: tuple[int, int], target: tuple[int, int], label: str) -> str:
    """Draw an edge; one with a label is dashed."""
    x1, y1 = source[0] + _WIDTH, source[1] + _HEIGHT // 2
    x2, y2 = target[0], target[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    dash = ' stroke-dasharray="3 3"' if label else ""
    head = f"M{x2 - 6},{y2 - 4} L{x2},{y2} L{x2 - 6},{y2 + 4}"
    told = f"<title>{html.escape(render.visible(label))}</title>" if label else ""
    return (
        f'<g fill="none" stroke="currentColor" opacity="0.6">{told}'
        f'<path d="M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}"{dash}/><path d="{head}"/></g>'
    )


def _cut(text: str) -> str:
    """Shorten what does not fit into a box."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
