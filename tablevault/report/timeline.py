"""The instances of a table over time: a bar for each, as high as it has rows, above their dates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tablevault.queries.instance_summary import InstanceSummary
from tablevault.render import counted
from tablevault.report.format import cut, second

_MOST_BARS = 60
_HEIGHT, _TOP, _BELOW = 64, 16, 22
_LEAST_STEP, _MOST_STEP, _WIDTH, _GAP = 14, 44, 640, 3
_LABEL = 82
"""Pixels that a date takes."""
_DATE = 10
"""Length of a date; a time of day follows after a blank."""
_KINDS = {
    "computed": "computed",
    "reused": "reused",
    "plain": "written, or made by an index builder alone",
    "unknown": "not counted",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One instance in the chart."""

    summary: InstanceSummary
    x: int
    parts: Sequence[tuple[str, int, int]]
    """What made its rows, upper end and height."""
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The chart of a table; lengths are pixels."""

    label: str
    tallest: int
    """Rows of the highest bar."""
    bars: Sequence[Bar]
    bar_width: int
    ticks: Sequence[tuple[int, str]]
    """Where dates stand, and times of day within one day."""
    width: int
    top: int = _TOP
    foot: int = _TOP + _HEIGHT
    height: int = _TOP + _HEIGHT + _BELOW

    @property
    def kinds(self) -> Sequence[tuple[str, str]]:
        """Kinds of parts that the chart has, with their descriptions."""
        found = {kind for bar in self.bars for kind, _, _ in bar.parts}
        return [each for each in _KINDS.items() if each[0] in found]


def timeline(instances: Sequence[InstanceSummary]) -> Timeline | None:
    """Return the chart of the latest instances, oldest first; None for fewer than two."""
    shown = [each for each in instances if not each.instance.deleted_at][:_MOST_BARS][::-1]
    if len(shown) < 2:  # noqa: PLR2004 - one bar compares nothing
        return None
    tallest = max(each.rows or 0 for each in shown)
    step = max(_LEAST_STEP, min(_MOST_STEP, _WIDTH // len(shown)))
    first, last = (second(shown[place].instance.materialized_at) for place in (0, -1))
    return Timeline(
        label=f"Rows of the latest {counted(len(shown), 'instance')}, oldest first, "
        f"from {first} to {last}; at most {tallest:,}",
        tallest=tallest,
        bars=[_bar(each, place * step, tallest) for place, each in enumerate(shown)],
        bar_width=step - _GAP,
        ticks=list(_ticks(shown, step)),
        width=(len(shown) - 1) * step + max(step, _LABEL),
    )


def _bar(summary: InstanceSummary, x: int, tallest: int) -> Bar:
    """Return the bar of an instance."""
    rows = summary.rows or 0
    height = max(3, round(_HEIGHT * rows / (tallest or 1)))
    y = _TOP + _HEIGHT - height
    made_at, version = second(summary.instance.materialized_at), summary.instance.version
    title = f"{made_at}, {cut(version, 40)}: {counted(rows, 'row')}"
    if summary.results is not None:
        computed, reused = summary.results
        title += f", {computed:,} computed, {reused:,} reused"
    parts = []
    for kind, part in _parts(summary, height):
        if part:
            parts.append((kind, y, part))
        y += part
    return Bar(summary, x, parts, title)


def _parts(summary: InstanceSummary, height: int) -> list[tuple[str, int]]:
    """Divide the height of a bar among what computed its rows, from the top."""
    counts = summary.results
    if counts is None or not sum(counts):
        return [("plain" if _has_no_calls(summary) else "unknown", height)]
    foot = round(height * counts[1] / sum(counts))
    # A single call is visible, too.
    foot = min(max(foot, int(counts[1] > 0)), height - int(counts[0] > 0))
    return [("computed", height - foot), ("reused", foot)]


def _has_no_calls(summary: InstanceSummary) -> bool:
    """Return whether it is known that no column builder made the rows."""
    details = summary.details
    return details is not None and all(each.is_index for each in details.builders)


def _ticks(shown: Sequence[InstanceSummary], step: int) -> Iterator[tuple[int, str]]:
    """Return dates, and times of day within one day, as far as there is room."""
    free, day, last = 0, "", ""
    for place, each in enumerate(shown):
        x, at = place * step, second(each.instance.materialized_at)
        words = at[:_DATE] if at[:_DATE] != day else at[_DATE + 1 : -3]
        if x >= free and words not in ("", last):
            yield x, words
            free, day, last = x + _LABEL, at[:_DATE], words
