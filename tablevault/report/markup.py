"""HTML that is safe by its type: whatever is not `Markup` is text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

from tablevault import render

_LONGEST_TEXT = 2_000
_EMPTY = frozenset({"input", "meta", "rect", "path", "br"})


class Markup(str):
    """Text that is HTML already; made by this module alone."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def text(value: str, most: int = _LONGEST_TEXT) -> Markup:
    """Escape text; what would hide or reorder characters is spelled, what is very long is cut."""
    some = value if len(value) <= most else f"{value[:most]}…"
    lines = some.replace("\r\n", "\n").split("\n")
    return Markup(html.escape("\n".join(render.visible(line, most + 1) for line in lines)))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """Write an element.

    Parameters
    ----------
    name : str
        Of the element.
    *children : str, Markup, None or iterable of these
        What is in it; plain text is escaped, None is nothing.
    **attributes : str, int, float, bool or None
        ``class_`` stands for ``class``, ``_`` in a name for ``-``. True is written without a
        value, False and None are left out.
    """
    written = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Markup(
            f"<{name}{written}>" if name not in {"rect", "path"} else f"<{name}{written}/>"
        )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """Put children one after the other."""
    return Markup("".join(map(_child, children)))


def raw(trusted: str) -> Markup:
    """Take text of this package itself, such as its style sheet, as it is."""
    return Markup(trusted)


def _child(child: Child) -> str:
    """Write one child."""
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return text(child) if isinstance(child, str) else joined(child)


def _attribute(name: str, value: Attribute) -> str:
    """Write one attribute, with a blank before it."""
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'
