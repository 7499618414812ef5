"""The instances of a table over time: a bar for each, as high as it has rows, above their dates."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault.queries.chronicle import Instance
from tablevault.render import counted
from tablevault.report.grid import scrolling
from tablevault.report.markup import Markup, tag
from tablevault.report.words import anchor, cut, second

_MOST_BARS = 60
_HEIGHT, _TOP, _BELOW = 64, 16, 22
_LEAST_STEP, _MOST_STEP, _WIDTH, _GAP = 14, 44, 640, 3
_LABEL = 82
"""Pixels that a date takes."""
_DATE = 10
"""Length of a date; a time of day follows after a blank."""


def timeline(instances: Sequence[Instance]) -> Markup | None:
    """Draw the latest instances, oldest first; None when there is nothing to compare."""
    shown = [each for each in instances if not each.deleted_at][:_MOST_BARS][::-1]
    if len(shown) < 2:  # noqa: PLR2004 - one bar compares nothing
        return None
    tallest = max((each.rows or 0 for each in shown), default=0)
    step = max(_LEAST_STEP, min(_MOST_STEP, _WIDTH // len(shown)))
    width = (len(shown) - 1) * step + max(step, _LABEL)
    height = _TOP + _HEIGHT + _BELOW
    drawn = tag(
        "svg",
        tag("text", counted(tallest, "row"), x=0, y=11, class_="faint"),
        tag(
            "path", d=f"M0,{_TOP - 0.5} H{width} M0,{_TOP + _HEIGHT + 0.5} H{width}", class_="axis"
        ),
        [_bar(each, number * step, step - _GAP, tallest) for number, each in enumerate(shown)],
        _ticks(shown, step),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"Rows of the latest {counted(len(shown), 'instance')}, oldest first, from "
        f"{second(shown[0].at)} to {second(shown[-1].at)}; at most {tallest:,}",
    )
    kinds = {kind: None for each in shown for kind, rows in _parts(each, 100) if rows}
    return tag(
        "figure",
        scrolling(drawn, "Rows over time"),
        tag(
            "figcaption",
            "Rows of each instance. ",
            [tag("span", words, class_=f"key {kind}") for kind, words in _KINDS if kind in kinds],
        ),
        class_="timeline",
    )


_KINDS = (
    ("computed", "computed"),
    ("reused", "reused"),
    ("plain", "written, or made by an index builder alone"),
    ("unknown", "not counted"),
)


def _parts(instance: Instance, height: int) -> list[tuple[str, int]]:
    """Divide the height of a bar among what computed its rows, from the top."""
    counts = instance.results
    if counts is None or not sum(counts):
        return [("plain" if _has_no_calls(instance) else "unknown", height)]
    foot = round(height * counts[1] / sum(counts))
    # A single call is seen, too.
    foot = min(max(foot, counts[1] > 0), height - (counts[0] > 0))
    return [("computed", height - foot), ("reused", foot)]


def _has_no_calls(instance: Instance) -> bool:
    """Return whether it is known that no column builder made the rows."""
    return instance.making is not None and all(run.is_index for run in instance.making.builders)


def _bar(instance: Instance, x: int, width: int, tallest: int) -> Markup:
    """Draw one instance; the list of instances below leads keyboards there."""
    rows = instance.rows or 0
    y = _TOP + _HEIGHT - max(3, round(_HEIGHT * rows / (tallest or 1)))
    whole = f"{second(instance.at)}, {cut(instance.version, 40)}: {counted(rows, 'row')}"
    counts = instance.results
    if counts is not None:
        whole += f", {counts[0]:,} computed, {counts[1]:,} reused"
    drawn = []
    for kind, height in _parts(instance, _TOP + _HEIGHT - y):
        if height:
            drawn.append(tag("rect", x=x, y=y, width=width, height=height, class_=kind))
        y += height
    return tag(
        "a",
        tag("title", whole),
        tag("rect", x=x, y=_TOP, width=width, height=_HEIGHT, class_="space"),
        drawn,
        href=f"#{anchor('i', instance.instance_id)}",
        tabindex=-1,
        class_="bar" if instance.success else "bar partial",
    )


def _ticks(shown: Sequence[Instance], step: int) -> list[Markup]:
    """Write dates below the bars, and times of day within one day, as far as there is room."""
    drawn = []
    free, day, last = 0, "", ""
    for number, each in enumerate(shown):
        x, at = number * step, second(each.at)
        words = at[:_DATE] if at[:_DATE] != day else at[_DATE + 1 : -3]
        if x < free or words in ("", last):
            continue
        drawn.append(tag("path", d=f"M{x + 0.5},{_TOP + _HEIGHT} v5", class_="axis"))
        drawn.append(tag("text", words, x=x, y=_TOP + _HEIGHT + 18, class_="faint"))
        free, day, last = x + _LABEL, at[:_DATE], words
    return drawn
