"""The instances of a table over time: a bar for each, as high as it has rows."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault.queries.chronicle import Instance
from tablevault.render import counted
from tablevault.report.markup import Markup, tag
from tablevault.report.words import anchor, day, minute

_MOST_BARS = 60
_HEIGHT, _WIDTH, _GAP = 48, 11, 3


def timeline(instances: Sequence[Instance]) -> Markup | None:
    """Draw the latest instances, oldest first; None when there is nothing to compare."""
    shown = [each for each in instances if not each.deleted_at][:_MOST_BARS][::-1]
    if len(shown) < 2:  # noqa: PLR2004 - one bar compares nothing
        return None
    tallest = max((each.rows or 0 for each in shown), default=0) or 1
    width = len(shown) * (_WIDTH + _GAP) - _GAP
    drawn = tag(
        "svg",
        [_bar(each, number, tallest) for number, each in enumerate(shown)],
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=_HEIGHT,
        viewBox=f"0 0 {width} {_HEIGHT}",
        role="group",
        aria_label="Rows of each instance, oldest first",
    )
    first, last = day(shown[0].at), day(shown[-1].at)
    days = first if first == last else f"{first} to {last}"
    return tag(
        "figure",
        tag("div", drawn, class_="scroll", tabindex=0, role="region", aria_label="Rows over time"),
        tag(
            "figcaption",
            f"Rows of each instance, {days}; at most {tallest:,}. ",
            [tag("span", kind, class_=f"key {kind}") for kind in ("computed", "reused")]
            if any(map(reused_part, shown))
            else None,
        ),
        class_="timeline",
    )


def reused_part(instance: Instance) -> float:
    """Give which part of its cells an instance took over from the one before, from 0 to 1.

    Index builders say which rows there are and always run, so they do not count beside others.
    """
    builders = [] if instance.making is None else instance.making.builders
    others = [each for each in builders if not each.is_index] or builders
    computed = sum(each.computed or 0 for each in others)
    reused = sum(each.reused or 0 for each in others)
    return reused / (computed + reused) if reused else 0.0


def _bar(instance: Instance, number: int, tallest: int) -> Markup:
    """Draw one instance; what it took over is at the foot of its bar."""
    rows = instance.rows or 0
    height = max(3, round(_HEIGHT * rows / tallest))
    foot = round(height * reused_part(instance))
    x = number * (_WIDTH + _GAP)
    whole = f"{minute(instance.at)}, {instance.version}: {counted(rows, 'row')}"
    if foot:
        whole += f", {reused_part(instance):.0%} reused"
    kind = "bar" if instance.success else "bar partial"
    return tag(
        "a",
        tag("title", whole),
        tag("rect", x=x, y=0, width=_WIDTH, height=_HEIGHT, class_="space"),
        tag("rect", x=x, y=_HEIGHT - height, width=_WIDTH, height=height - foot, class_="computed"),
        tag("rect", x=x, y=_HEIGHT - foot, width=_WIDTH, height=foot, class_="reused")
        if foot
        else None,
        href=f"#{anchor('i', instance.instance_id)}",
        class_=kind,
    )
