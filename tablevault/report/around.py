"""What is around an instance: what it was made from and what was made from it, as links."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tablevault.queries.chronicle import Chronicle, Node
from tablevault.report.markup import Child, Markup, tag
from tablevault.report.words import anchor

Neighbours = Mapping[str, tuple[Node, str]]
"""Instances by their ids, and the kind of edge that leads there."""


@dataclass(frozen=True, slots=True)
class Around:
    """The neighbours of each instance, and which instances have a place in the page."""

    above: Mapping[str, Neighbours]
    """By id what an instance was made from."""
    below: Mapping[str, Neighbours]
    placed: Collection[str]
    """Ids of the instances that links can lead to."""
    texts: Collection[str]
    """Ids of the texts that links can lead to."""

    def link(self, instance_id: str, *children: Child, class_: str | None = None) -> Markup:
        """Link to an instance; one that has no place is only named."""
        if instance_id not in self.placed:
            return tag("span", children, title=instance_id, class_=class_)
        href = f"#{anchor('i', instance_id)}"
        return tag("a", children, href=href, title=instance_id, class_=class_)

    def text(self, text_id: str, *children: Child) -> Markup:
        """Link to the text of a builder or module; one that has no place is only named."""
        if text_id not in self.texts:
            return tag("span", children)
        return tag("a", children, href=f"#{anchor('text', text_id)}")


def around(found: Chronicle) -> Around:
    """Look up what is around each instance."""
    above: dict[str, dict[str, tuple[Node, str]]] = defaultdict(dict)
    below: dict[str, dict[str, tuple[Node, str]]] = defaultdict(dict)
    # What was read says more than what was taken up.
    for edge in sorted(found.edges, key=lambda edge: edge.kind):
        above[edge.target].setdefault(edge.source, (found.nodes[edge.source], edge.kind))
        below[edge.source].setdefault(edge.target, (found.nodes[edge.target], edge.kind))
    placed = {each.instance_id for table in found.tables for each in table.instances}
    return Around(above, below, placed, found.texts)
