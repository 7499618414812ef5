"""A graph as lines of text and as a Mermaid flowchart; labels are always text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tablevault import render

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


def without_circles(
    edges: Iterable[tuple[str, str, str]],
) -> list[tuple[str, str, str]]:
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
        return [*writer.lines[:_MOST_LINES], "... and more: to_frame() has all of it"]
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
