"""What an instance changed against the one before it, as a part of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tablevault.queries.change import Cell, Change, RowChange, RowsState, TextChange
from tablevault.render import counted
from tablevault.report.around import Around
from tablevault.report.grid import grid, scrolling
from tablevault.report.markup import Markup, joined, tag, text
from tablevault.report.words import clamped, short

_LONGEST_CELL, _LONGEST_NAME = 600, 160
_LONGEST_LINE = 400
_MOST_COLUMNS = 40
_MARKS = {"+": "add", "-": "del", "@": "at"}
_WHY: dict[RowsState, str] = {
    "same": "The rows are the same.",
    "compared": "",
    "absent": "The rows of both are not in this copy of the vault, so they were not compared.",
    "large": "The dataframes are too large to be compared here: tablevault diff does it.",
    "later": "Rows are compared for the latest instances only.",
    "damaged": "A dataframe cannot be read: see tablevault verify.",
}


def badges(change: Change) -> list[Markup]:
    """Name in a few words what changed."""
    found: list[tuple[str, str]] = []
    rows = change.rows
    if rows is not None:
        found += [("add", f"+{counted(rows.added, 'row')}")] if rows.added else []
        found += [("del", f"\N{MINUS SIGN}{counted(rows.removed, 'row')}")] if rows.removed else []
        found += [("mod", f"{counted(rows.cells, 'cell')} changed")] if rows.cells else []
        found += [("mod", "other order")] if rows.is_reordered else []
    columns = len(change.columns_added) + len(change.columns_removed) + len(change.columns_changed)
    found += [("mod", counted(columns, "column"))] if columns else []
    for kind, many in (("builder", "builders"), ("code", "code")):
        names = [each.name for each in change.texts if each.kind == kind]
        if names:
            found.append(
                ("mod", f"{kind} {names[0]}" if len(names) == 1 else f"{len(names)} {many}")
            )
    files = len(change.artifacts) + change.more_artifacts
    found += [("mod", counted(files, "artifact"))] if files else []
    if not found and change.is_empty:
        found.append(("same", "no difference"))
    return [joined([tag("span", words, class_=f"badge {kind}"), " "]) for kind, words in found]


def block(change: Change, near: Around) -> Markup:
    """Show what changed: columns, rows, builders and code, what was read, files."""
    parts: list[Markup | None] = [
        _description(change),
        _columns(change),
        _rows(change),
        *(_text(each) for each in change.texts),
        _sources(change, near),
        _artifacts(change),
    ]
    before = near.link(change.before_id, short(change.before_id), class_="id")
    return tag(
        "section",
        tag("h3", "Since the one before (", before, ")"),
        parts,
        class_="difference",
    )


def _description(change: Change) -> Markup | None:
    """Show another description."""
    before, after = change.description
    if before == after:
        return None
    return tag(
        "div",
        "Description:",
        tag("del", cell_of(before or "none")),
        tag("ins", cell_of(after or "none")),
        class_="changed",
    )


def _columns(change: Change) -> Markup | None:
    """Show other columns."""
    items = [
        *(_chip("add", f"+ {name}", dtype) for name, dtype in change.columns_added),
        *(_chip("del", f"\N{MINUS SIGN} {name}", dtype) for name, dtype in change.columns_removed),
        *(
            _chip("mod", name, f"{before} to {after}")
            for name, before, after in change.columns_changed
        ),
    ]
    if not items:
        return None
    more = len(items) - _MOST_COLUMNS
    return joined(
        [
            tag("ul", tag("li", "Columns:"), items[:_MOST_COLUMNS], class_="inline"),
            tag("p", f"… {counted(more, 'more column')}.", class_="more") if more > 0 else None,
        ]
    )


def _chip(kind: str, name: str, dtype: str) -> Markup:
    """Show a column that came, went or changed."""
    shown = text(name, _LONGEST_NAME)
    return tag("li", tag("span", shown, class_=f"badge {kind}"), tag("small", f" {dtype}"))


def _rows(change: Change) -> Markup:
    """Show what became of the rows."""
    rows = change.rows
    if rows is None:
        return tag("p", _WHY[change.rows_state], class_="muted")
    counts = [
        *([f"{counted(rows.added, 'row')} added"] if rows.added else []),
        *([f"{counted(rows.removed, 'row')} removed"] if rows.removed else []),
        *([f"{counted(rows.cells, 'cell')} changed"] if rows.cells else []),
        *(["rows in another order"] if rows.is_reordered else []),
    ]
    key = f"; compared by {', '.join(rows.key)}" if rows.key else ""
    return joined(
        [
            tag("p", f"{', '.join(counts) or 'No row changed'}{key}."),
            _cells(rows),
            _whole_rows("Removed", "del", rows.removed_rows, rows.removed),
            _whole_rows("Added", "add", rows.added_rows, rows.added),
        ]
    )


def _cells(rows: RowChange) -> Markup | None:
    """Show the first cells that changed."""
    if not rows.changed_cells:
        return None
    head = [", ".join(rows.key) or "row", "column", "before", "after"]
    body = [
        tag(
            "tr",
            tag("th", text(key, _LONGEST_NAME), scope="row"),
            tag("td", column),
            tag("td", tag("del", cell_of(before))),
            tag("td", tag("ins", cell_of(after))),
        )
        for key, column, before, after in rows.changed_cells
    ]
    return _table("Cells that changed", head, body, rows.cells - len(body))


def _whole_rows(
    what: str, kind: str, shown: Sequence[Sequence[tuple[str, Cell]]], total: int
) -> Markup | None:
    """Show the first rows that came or went."""
    if not shown:
        return None
    head = [name for name, _ in shown[0]]
    body = [
        tag("tr", [tag("td", cell_of(value)) for _, value in row], class_=kind) for row in shown
    ]
    return _table(f"{what} rows", head, body, total - len(shown))


def _table(caption: str, head: Iterable[str], body: Sequence[Markup], more: int) -> Markup:
    """Put rows into a box that scrolls by itself."""
    note = tag("p", f"… {more:,} more.", class_="more") if more > 0 else None
    return joined([grid(caption, head, body), note])


def cell_of(cell: Cell) -> Markup:
    """Show a cell."""
    return tag("i", "null", class_="null") if cell is None else clamped(cell, _LONGEST_CELL)


def _text(change: TextChange) -> Markup:
    """Show a unified diff."""
    title = tag("p", f"{change.kind} ", tag("code", change.name))
    if not change.lines:
        return joined([title, tag("p", "Too long to be compared here.", class_="muted")])
    lines = [
        tag("span", text(line, _LONGEST_LINE), class_=_MARKS.get(line[:1], ""))
        for line in change.lines
    ]
    more = tag("p", f"… {change.more:,} more lines.", class_="more") if change.more else None
    label = f"Difference of {change.name}"
    return joined([title, scrolling(tag("pre", lines, class_="diff"), label), more])


def _sources(change: Change, near: Around) -> Markup | None:
    """Show what was read, or was not any more."""
    both = (("del", change.sources_removed), ("add", change.sources_added))
    links = [
        tag(
            "li",
            near.link(
                each,
                f"{'+' if kind == 'add' else chr(0x2212)} {table} ",
                tag("span", short(each), class_="id"),
                class_=f"badge {kind}",
            ),
        )
        for kind, pairs in both
        for table, each in pairs
    ]
    return tag("ul", tag("li", "Made from:"), links, class_="inline") if links else None


def _artifacts(change: Change) -> Markup | None:
    """Show other files."""
    if not change.artifacts:
        return None
    kinds = {"added": "add", "removed": "del"}
    items = [
        tag("li", tag("span", f"{how} {name}", class_=f"badge {kinds.get(how, 'mod')}"))
        for name, how in change.artifacts
    ]
    more = f"… {change.more_artifacts:,} more." if change.more_artifacts else ""
    return tag(
        "div",
        tag("ul", tag("li", "Artifacts:"), items, class_="inline"),
        tag("p", more, class_="more") if more else None,
    )
