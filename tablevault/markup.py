"""Templates for HTML and SVG: every value they write is escaped, and shown as it is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tablevault import render

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_LONGEST_TEXT = 2_000


def text(value: str, most: int = _LONGEST_TEXT) -> Markup:
    """Escape text, with characters that hide or reorder others spelled out, cut to a length."""
    from markupsafe import escape

    return escape(_visible(value, most))


@cache
def environment(package: str) -> Environment:
    """Return the templates of a package, with autoescape.

    Parameters
    ----------
    package : str
        Name of a package with a folder ``templates``. One environment is made for each.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _finalize(value: object) -> object:
    """Prepare a value for escaping: None is nothing, text is visible."""
    if value is None:
        return ""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return _visible(str(value), _LONGEST_TEXT) if is_text else value


def _visible(value: str, most: int) -> str:
    """Return text whose lines stay lines, cut to a length."""
    some = value if len(value) <= most else f"{value[:most]}…"
    if some.isascii() and some.isprintable():
        return some
    lines = some.replace("\r\n", "\n").split("\n")
    return "\n".join(render.visible(line, most + 1) for line in lines)
