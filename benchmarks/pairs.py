"""Two sides take turns; the median of the ratios of the pairs is what counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Step = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report: seconds or bytes of both sides, and the ratio ours / theirs."""

    name: str
    ours: float
    theirs: float
    ratio: float
    aim: str
    unit: str = "ms"


def median_of_pairs(
    name: str,
    ours: Step,
    theirs: Step,
    *,
    pairs: int,
    aim: str,
    between: Step = lambda _: None,
) -> Row:
    """Time ``ours(i)``, then ``theirs(i)``, by turns, after one pair that does not count.

    `between` runs, untimed, after each of ours.
    """
    left, right = [], []
    for number in range(pairs + 1):
        left.append(timed(ours, number))
        between(number)
        right.append(timed(theirs, number))
    return from_times(name, left[1:], right[1:], aim=aim)


def timed(step: Step, number: int) -> float:
    """Seconds that one step takes."""
    start = time.perf_counter()
    step(number)
    return time.perf_counter() - start


def from_times(
    name: str, ours: list[float], theirs: list[float], *, aim: str, unit: str = "ms"
) -> Row:
    """Make a row of times that were taken by turns, or of sizes with the unit MB."""
    return Row(
        name=name,
        ours=statistics.median(ours),
        theirs=statistics.median(theirs),
        ratio=statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        aim=aim,
        unit=unit,
    )


def print_rows(title: str, against: str, rows: list[Row]) -> None:
    """Print a group of rows."""
    print(f"\n{title}")
    print(f"  {'':48} {'ours':>13} {against:>16} {'ratio':>7}  aim")
    for row in rows:
        scale = {"ms": 1e3, "MB": 1e-6}[row.unit]
        print(
            f"  {row.name:48} {row.ours * scale:>10.2f} {row.unit} {row.theirs * scale:>13.2f}"
            f" {row.unit} {row.ratio:>7.2f}  {row.aim}",
            flush=True,
        )
