"""Values for people, by rich: the only import of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.tree import Tree


class Labelled(Protocol):
    """A label with further ones below it."""

    @property
    def label(self) -> str:
        """Text of this node."""

    @property
    def children(self) -> Sequence[Labelled]:
        """What is below it."""


def tree(node: Labelled) -> Tree:
    """Draw nested labels as a tree that prints in a terminal and in a notebook."""
    from rich.text import Text
    from rich.tree import Tree

    # Text, not str: a label such as "score[0]" is no markup.
    drawn = Tree(Text(node.label))
    _grow(drawn, node)
    return drawn


def _grow(drawn: Tree, node: Labelled) -> None:
    """Draw what is below a node."""
    from rich.text import Text

    for child in node.children:
        _grow(drawn.add(Text(child.label)), child)
