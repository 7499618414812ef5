"""One value as text for a terminal, for a pipe, or as JSON."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows below headings: a table in a terminal, one row a line with tabs in a pipe.

    Attributes
    ----------
    value : object
        Printed for ``--json``.
    if_empty, footer : str
        Printed in a terminal: in place of headings without rows, and below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    value: object
    if_empty: str = ""
    footer: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What rich draws in a terminal; with `rows`, lines with tabs in a pipe."""

    draw: Callable[[], object]
    value: object
    """Printed for ``--json``."""
    rows: Sequence[Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class TextOutput:
    """Text for a person, and the value that is printed for ``--json``."""

    text: str
    value: object


@dataclass(frozen=True, slots=True)
class Document:
    """Text in a format of its own, with and without ``--json``."""

    text: str


@dataclass(frozen=True, slots=True)
class FileOutput:
    """What is printed about a file that the command has written itself."""

    value: object


_IN_ASCII = str.maketrans(
    {"├": "+", "│": "|", "└": "`", "─": "-", "→": "->", "—": "-", "…": "...", "±": "+-"}
)
"""How signs of trees and sentences look where the encoding of a terminal lacks one of them."""


def show(value: object, stream: TextIO, *, as_json: bool) -> None:
    """Print `value` as its kind, the stream and the wish for JSON ask for."""
    if value is None:
        if as_json:
            _print("null", stream)
    elif isinstance(value, Document):
        _show_document(value, stream)
    elif isinstance(value, Listing):
        _show_listing(value, stream, as_json=as_json)
    elif isinstance(value, Drawing):
        if as_json:
            _print(_json(value.value, stream), stream)
        elif value.rows is not None and not stream.isatty():
            _show_rows(value.rows, stream)
        else:
            from tablevault import render

            _write(render.printed(value.draw(), stream), stream)
    elif isinstance(value, TextOutput):
        _print(_json(value.value, stream) if as_json else value.text, stream)
    elif as_json or isinstance(value, Mapping | list | tuple):
        _print(_json(value, stream), stream)
    else:
        _print(str(value), stream)


def _show_document(document: Document, stream: TextIO) -> None:
    """Print a document; in a pipe it is UTF-8 in any locale, as in a file."""
    if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
        stream.reconfigure(encoding="utf-8")
    _print(document.text, stream)


def _show_listing(listing: Listing, stream: TextIO, *, as_json: bool) -> None:
    """Print rows: JSON, a table for a person, or lines with tabs."""
    if as_json:
        _print(_json(listing.value, stream), stream)
        return
    if not stream.isatty():
        _show_rows(listing.rows, stream)
        return
    if listing.rows:
        from tablevault import render

        _write(render.listing(listing.columns, listing.rows, stream), stream)
        if listing.footer:
            _print(listing.footer, stream)
    elif listing.if_empty:
        _print(listing.if_empty, stream)


def utc_time(at: float) -> str:
    """Format a time (Unix s) in UTC, as all commands and the report do."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def iso_time(at: float) -> str:
    """Format a time (Unix s) for JSON, as documents of the vault have it: ISO 8601, UTC."""
    seconds, fraction = divmod(round(at * 1e6), 1_000_000)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{fraction:06}Z", time.gmtime(seconds))


def _show_rows(rows: Iterable[Sequence[str]], stream: TextIO) -> None:
    """Print one row a line, with tabs between."""
    for row in rows:
        _print("\t".join(map(plain, row)), stream)


def plain(text: str) -> str:
    """Return `text` on one line, without what would steer a terminal or look like a column."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}"
        for character in text.replace("\t", " ").replace("\n", " ")
    )


def _json(value: object, stream: TextIO) -> str:
    """Write JSON as the first release did: indented, keys in their order.

    Characters that steer a terminal are escaped, which means the same to a program, and all that
    are not ASCII where `stream` may have no others.
    """
    import json
    import re

    has_all = (stream.encoding or "utf-8").lower() in {"utf-8", "utf8"}
    text = json.dumps(_strict(value), indent=2, ensure_ascii=not has_all, allow_nan=False)
    steering = "[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
    return re.sub(steering, lambda found: f"\\u{ord(found[0]):04x}", text)


def _strict(value: object) -> object:
    """Return a value of what JSON knows: others as a file of a dataframe has them."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else _key(key): _strict(each) for key, each in value.items()
        }
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_strict(each) for each in value]
    from tablevault.queries.dataframe import plain

    return plain(value)


def _key(key: object) -> str:
    """Return a key of a dict as `json.dumps` writes those it knows: ``true``, ``null``, ``1``."""
    import json

    return json.dumps(key) if key is None or isinstance(key, bool | int) else str(key)


def _print(text: str, stream: TextIO) -> None:
    """Write `text`: as it is for a program, without what would steer a terminal for a person."""
    if stream.isatty():
        from tablevault import render

        text = render.harmless(text)
    _write(text, stream)


def _write(text: str, stream: TextIO) -> None:
    """Write `text` and end the line, in whatever encoding the terminal has."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        shown = text.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        plainer = text.translate(_IN_ASCII)
        shown = plainer.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(shown if shown.endswith("\n") else shown + "\n")
