"""Values for people: by rich in a terminal, by templates of jinja2 in HTML and SVG."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol, TextIO, TypeAlias

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

_LONGEST_TEXT = 2_000
_BARS = (24, 12)  # characters
_NO_WIDTH = 1 << 20  # more than any line has
_MINUTE, _HOUR = 60.0, 3600.0
_SIZES = ("bytes", "kB", "MB", "GB", "TB")

ProgressLine: TypeAlias = tuple[str, float | None, str]
"""Name of a task, the part that is done, None when that is not known, and the text beside it."""


class Labelled(Protocol):
    """A label with further ones below it."""

    @property
    def label(self) -> str:
        """Text of this node."""

    @property
    def children(self) -> Sequence[Labelled]:
        """What is below it."""


class Printer(Protocol):
    """What IPython hands to what it prints."""

    def text(self, text: str) -> None:
        """Print text as it is."""


def tree(node: Labelled) -> Tree:
    """Draw nested labels as a tree that prints in a terminal and in a notebook."""
    from rich.text import Text
    from rich.tree import Tree

    # Text, not str: a label such as "score[0]" is no markup.
    drawn = Tree(Text(harmless(node.label)))
    _grow(drawn, node)
    return drawn


def _grow(drawn: Tree, node: Labelled) -> None:
    """Draw what is below a node."""
    from rich.text import Text

    for child in node.children:
        _grow(drawn.add(Text(harmless(child.label))), child)


def listing(columns: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> str:
    """Return rows of text below headings, as wide as the terminal `stream`.

    Text wraps between words. Where the longest words do not fit beside each other, each row is a
    paragraph with a line for each column: no id is ever broken over lines.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[harmless(cell) for cell in row] for row in rows]
    by_column = list(zip(columns, *cells, strict=True))
    least = [_longest(chain.from_iterable(map(str.split, texts))) for texts in by_column]
    room = terminal_width(stream) - 3 * len(columns) + 1  # three spaces between, one at each end
    if sum(least) > room:
        return _paragraphs(columns, cells)
    lines = [chain.from_iterable(map(str.splitlines, texts)) for texts in by_column]
    widths = [min(room, _longest(each)) for each in lines]
    while sum(widths) > room:  # rich would make the widest column less wide, whatever is in it
        at = max(range(len(widths)), key=lambda at: (widths[at] > least[at], widths[at]))
        widths[at] -= 1
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, width in zip(columns, widths, strict=True):
        drawn.add_column(name, width=width)
    for row in cells:
        drawn.add_row(*map(Text, row))
    return printed(drawn, stream, wraps=True)


def _longest(texts: Iterable[str]) -> int:
    """Return the width of the longest text."""
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)


def _paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return each row as lines of one column each, and an empty line."""
    width = max(map(len, columns))
    return "".join(
        "".join(
            f"{name:{width}}  {cell}\n" for name, cell in zip(columns, row, strict=True) if cell
        )
        + "\n"
        for row in rows
    )


def terminal_width(stream: TextIO) -> int:
    """Return how many characters a line of the terminal `stream` has."""
    from rich.console import Console

    return Console(file=stream).width


def printed(drawn: object, stream: TextIO, *, wraps: bool = False) -> str:
    """Return what rich draws as the text to write to `stream`: colours only for a terminal.

    Lines end where they end, however narrow a terminal is, unless `wraps`.
    """
    from rich.console import Console

    console = Console(
        file=stream,
        # A tree cuts its lines at the width, whatever soft_wrap says.
        width=None if wraps else _NO_WIDTH,
        soft_wrap=not wraps,
        color_system=_color_system(),
    )
    with console.capture() as captured:
        console.print(drawn)
    return captured.get()


def _color_system() -> Literal["auto"] | None:
    """Return what rich is to find out; nothing for NO_COLOR, where it would write bold text."""
    return None if os.environ.get("NO_COLOR") else "auto"


def progress_line(stream: TextIO, name: str, fraction: float | None, text: str) -> str:
    """Draw how far something is as one line that fits the terminal `stream`.

    `fraction` is the part that is done, None when that is not known.
    """
    from rich.cells import cell_len
    from rich.console import Console

    console = Console(file=stream, force_terminal=True, color_system=_color_system())
    with console.capture() as captured:
        # A full line would make some terminals go to the next one.
        width = console.width - 1
        room = width - cell_len(name) - cell_len(text) - 2  # the text is worth more
        bar = next((bar for bar in _BARS if bar <= room), 0)
        drawn = _progress([(name, fraction, text)], bar)
        console.print(drawn, width=width, no_wrap=True, crop=True)
    return captured.get().partition("\n")[0].rstrip()


def progress_bundle(lines: Sequence[ProgressLine]) -> Mapping[str, str]:
    """Draw how far things are for a notebook: by media type, as HTML and as plain text."""
    return _progress(lines)._repr_mimebundle_(include=(), exclude=())


def _progress(lines: Sequence[ProgressLine], width: int = _BARS[0]) -> Table:
    """Put name, bar and text beside each other; a bar without width is left out."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    has_bar = width > 0
    for _ in range(2 + has_bar):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for name, fraction, text in lines:
        total = None if fraction is None else 1.0
        bar = ProgressBar(total=total, completed=fraction or 0.0, width=width)
        grid.add_row(Text(harmless(name)), *[bar] * has_bar, Text(harmless(text)))
    return grid


@dataclass(frozen=True, slots=True)
class Marked:
    """A line of a comparison: its mark, such as ``+``, and what it says."""

    mark: str
    text: str


_COLOURS = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}
# On a page, light or dark: as far from white as from black.
_HTML_COLOURS = {"+": "#238c3e", "-": "#e0333c", "~": "#bd6500", "@": "#11859a"}
_LONGEST_LINE = 500
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


_STEERING = re.compile(f"(?![\n\t]){_UNPRINTABLE.pattern}")


def harmless(text: str) -> str:
    """Escape characters that would steer a terminal or hide others; lines stay what they are."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def visible(text: str, most: int = _LONGEST_LINE) -> str:
    """Escape characters that would move a cursor or hide others, and cut what is very long."""
    shown = text if len(text) <= most else f"{text[:most]}…"
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], shown.replace("\t", "    "))


def lines(texts: Iterable[str]) -> Text:
    """Draw lines of text; what is in them is no markup."""
    from rich.text import Text

    return Text("\n".join(map(visible, texts)))


def marked(lines: Iterable[Marked]) -> Text:
    """Draw the lines of a comparison in colours; what is in them is no markup."""
    from rich.text import Text

    drawn = Text()
    for line in lines:
        text = f"{line.mark:1} {visible(line.text)}\n"
        drawn.append(text, style=_COLOURS.get(line.mark.strip(), ""))
    drawn.rstrip()
    return drawn


def marked_html(lines: Iterable[Marked]) -> str:
    """Write the lines of a comparison as HTML that needs nothing else."""
    import html

    rows = []
    for line in lines:
        colour = _HTML_COLOURS.get(line.mark.strip(), "inherit")
        text = html.escape(f"{line.mark:1} {visible(line.text)}")
        rows.append(f'<span style="color: {colour}">{text}</span>')
    body = "\n".join(rows)
    return f'<pre style="font-family: monospace; line-height: 1.25; overflow-x: auto">{body}</pre>'


def table_html(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw rows of text as an HTML table with a caption."""
    from html import escape

    def cells(kind: str, texts: Sequence[str]) -> str:
        inner = "".join(
            f'<{kind} style="text-align: left">{escape(text)}</{kind}>' for text in texts
        )
        return f"<tr>{inner}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead>{cells('th', columns)}</thead><tbody>{body}</tbody></table>"
    )


def cut(text: str, most: int) -> str:
    """Return text cut to a length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(number: int, one: str, many: str = "") -> str:
    """Count things."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(amount: float) -> str:
    """Return a number of bytes."""
    step = min(int(math.log10(max(amount, 1))) // 3, len(_SIZES) - 1)
    return f"{amount / 1000**step:,.{min(step, 1)}f} {_SIZES[step]}"


def duration(seconds: float) -> str:
    """Return how long something takes."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600):,} h {int(seconds % 3600 // 60)} min"


def escaped(value: str, most: int = _LONGEST_TEXT) -> Markup:
    """Escape text, with characters that hide or reorder others spelled out, cut to a length."""
    from markupsafe import escape

    return escape(_visible_lines(value, most))


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
    return _visible_lines(str(value), _LONGEST_TEXT) if is_text else value


def _visible_lines(value: str, most: int) -> str:
    """Return text whose lines stay lines, cut to a length."""
    some = value if len(value) <= most else f"{value[:most]}…"
    if some.isascii() and some.isprintable():
        return some
    lines = some.replace("\r\n", "\n").split("\n")
    return "\n".join(visible(line, most + 1) for line in lines)
