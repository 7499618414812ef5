"""A table of HTML with its caption and head, in a box that scrolls by itself."""

from __future__ import annotations

from collections.abc import Iterable

from tablevault.report.markup import Markup, tag


def grid(
    caption: str,
    head: Iterable[str | tuple[str, str]],
    body: Iterable[Markup],
    *,
    label: str = "",
    class_: str | None = None,
) -> Markup:
    """Draw a table.

    Parameters
    ----------
    caption : str
        What it shows.
    head : iterable of str or tuple[str, str]
        Names of the columns; the second of two is the class of the column.
    body : iterable of Markup
        Its rows.
    label : str, default ""
        Name of the box for who hears the page; the caption when empty.
    class_ : str, default None
        Class of the table.
    """
    columns = [(each, "") if isinstance(each, str) else each for each in head]
    drawn = tag(
        "table",
        tag("caption", caption),
        tag(
            "thead",
            tag(
                "tr", [tag("th", name, scope="col", class_=kind or None) for name, kind in columns]
            ),
        ),
        tag("tbody", body),
        class_=class_,
    )
    return scrolling(drawn, label or caption)


def scrolling(inner: Markup, label: str) -> Markup:
    """Put something wide into a box that scrolls by itself.

    The script of the page lets the keyboard reach it, under this label, where it does scroll.
    """
    return tag("div", inner, class_="scroll", data_label=label)
