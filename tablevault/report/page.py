"""The page as a whole: head, summary, lineage, tables, texts, what was done."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources

from tablevault.queries.chronicle import Chronicle
from tablevault.queries.logged import Entry
from tablevault.queries.making import SourceText
from tablevault.queries.preparation import Attempt
from tablevault.render import counted
from tablevault.report import lineage, tables
from tablevault.report.around import around
from tablevault.report.grid import grid, scrolling
from tablevault.report.markup import Markup, joined, raw, tag, text
from tablevault.report.words import anchor, clamped, moment, person

MARK = "<!DOCTYPE html>\n<!-- A report of TableVault -->\n"
"""How each report begins."""

_LONGEST_LINE, _LONGEST_TEXT = 1_000, 2_000
_LONGEST_ERROR = 1_000
_MOST_LINKS = 40


def page(found: Chronicle) -> str:
    """Write the page about a vault, or about one table of it.

    It is one file that asks for nothing else: its style and its script stand in it, and it forbids
    the browser everything but these two.
    """
    style, script = _packaged("page.css"), _packaged("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = f"{found.table} in {found.name}" if found.table else found.name
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="TableVault"),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"{title} · TableVault"),
        tag("style", raw(style)),
    )
    body = tag(
        "body",
        tag("a", "To the tables", href="#main", class_="skip"),
        _summary(found, title),
        tag("main", _sections(found), id="main"),
        _footer(found),
        tag("script", raw(script)),
    )
    return f"{MARK}{tag('html', head, raw(chr(10)), body, lang='en')}\n"


def _packaged(name: str) -> str:
    """Read a file of the package."""
    return (resources.files("tablevault.report") / name).read_text("utf-8")


def _digest(content: str) -> str:
    """Name a text as a browser names what it may use."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _sections(found: Chronicle) -> list[Markup | None]:
    """Put the sections in order."""
    near = around(found)
    many = len(found.tables) > 1
    return [
        _unfinished(found.unfinished),
        tables.overview(found.tables, found.more_tables) if many or not found.tables else None,
        lineage.section(found) if found.nodes else None,
        *(tables.section(table, near) for table in found.tables),
        _texts(found.texts.values()),
        _operations(found.operations, is_cut=found.more_operations),
    ]


def _summary(found: Chronicle, title: str) -> Markup:
    """Show what the page is about, with links into it."""
    count = sum(len(table.instances) + table.more for table in found.tables)
    facts = [
        counted(len(found.tables) + found.more_tables, "table"),
        counted(count, "instance"),
    ]
    links = [tag("a", table.name, href=f"#{anchor('table', table.name)}") for table in found.tables]
    navigation = tag("nav", links, aria_label="Tables") if 1 < len(links) <= _MOST_LINKS else None
    find = tag(
        "label",
        tag("span", "Filter", class_="hidden"),
        tag("input", type="search", id="filter", placeholder="Filter tables and instances"),
        class_="filter needs-script",
    )
    return tag(
        "header",
        tag("p", "TableVault", class_="kicker"),
        tag("h1", title),
        clamped(found.description, _LONGEST_TEXT, "description") if found.description else None,
        tag("p", " · ".join(facts), " · as of ", moment(found.at), class_="muted"),
        navigation,
        find if found.tables else None,
        tag("p", role="status", id="found", class_="muted needs-script"),
    )


def _footer(found: Chronicle) -> Markup:
    """Name the state of the vault that the page shows."""
    return tag(
        "footer",
        tag(
            "p",
            "State of commit ",
            tag("code", found.commit[:12]),
            ", vault created by ",
            person(found.created_by),
            " ",
            moment(found.created_at),
            ". Times are UTC. Made by tablevault report; nothing here comes from elsewhere.",
        ),
        class_="muted",
    )


def _unfinished(attempts: Sequence[Attempt]) -> Markup | None:
    """Show the processes that have not ended and have no place at a table."""
    if not attempts:
        return None
    items = [
        tag(
            "li",
            tag("span", each.state, class_=f"badge {each.state}"),
            " ",
            tag("b", each.table) if each.table else None,
            tables.since(each),
            tables.error(each),
            class_="preparing",
        )
        for each in attempts
    ]
    return tag(
        "section",
        tag("h2", "Not finished"),
        tag("ul", items, class_="now"),
        id="unfinished",
        aria_label="Not finished",
        class_="card",
    )


def _texts(texts: Iterable[SourceText]) -> Markup | None:
    """Show each builder and each code module once, in the versions that ran."""
    ordered = sorted(texts, key=lambda each: (each.kind, each.name))
    if not ordered:
        return None
    return tag(
        "section",
        tag("h2", "Builders and code"),
        tag("p", "Each text as it ran; instances link to theirs.", class_="muted"),
        [_text(each) for each in ordered],
        id="texts",
        aria_label="Builders and code",
        class_="card",
    )


def _text(source: SourceText) -> Markup:
    """Show one text, folded."""
    name = f"{source.name}.yaml" if source.kind == "builder" else f"{source.name}.py"
    lines = "\n".join(text(line, _LONGEST_LINE) for line in source.lines)
    return tag(
        "details",
        tag(
            "summary",
            tag("code", name),
            tag("small", f" {counted(len(source.lines) + source.more, 'line')} "),
            tag("span", source.id[:8], class_="id"),
        ),
        scrolling(tag("pre", tag("code", raw(lines))), name),
        tag("p", f"… {source.more:,} more lines.", class_="more") if source.more else None,
        id=anchor("text", source.id),
        class_="text",
    )


def _operations(operations: Sequence[Entry], *, is_cut: bool) -> Markup | None:
    """Show what was done last."""
    if not operations:
        return None
    body = [
        tag(
            "tr",
            tag("td", moment(each.ended)),
            tag(
                "td",
                each.subject,
                None
                if each.success
                else clamped(each.error or "partial", _LONGEST_ERROR, "problem"),
                class_="wide",
            ),
            tag("td", person(each.author)),
            tag("td", tag("code", each.commit[:10])),
        )
        for each in operations
    ]
    names = ("when", "what", "who", "commit")
    more = tag("p", "… earlier ones: tablevault log", class_="more") if is_cut else None
    return tag(
        "section",
        tag("h2", "Latest operations"),
        joined([grid("Latest operations", names, body, class_="full"), more]),
        id="operations",
        aria_label="Latest operations",
        class_="card",
    )
