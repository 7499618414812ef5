"""What long work tells of itself: a protocol, a silent listener, and one that counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Told by long work how far it is; the door decides what a person sees."""

    def start(self, task: str, total: int | None, unit: str = "rows") -> None:
        """Begin `task` with `total` units of work, None when unknown."""

    def advance(self, task: str, units: int = 1) -> None:
        """Count `units` more of `task` as done."""

    def skip(self, task: str, units: int = 1) -> None:
        """Count `units` more of `task` that need not be done, because there is a result."""

    def finish(self, task: str) -> None:
        """End `task`."""

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter of the task that began last.

        An execution counts ``calls``, ``errors`` (rows that failed), and ``cost``. Calls that wait
        for a rate limit, ``waiting``, and those that will be made again, ``retrying``, are taken
        off when they go on.
        """


@contextmanager
def counted_within(progress: Progress, name: str) -> Iterator[None]:
    """Count one more of `name` as long as the body runs."""
    progress.count(name)
    try:
        yield
    finally:
        progress.count(name, -1)


class Silent:
    """Hear everything, say nothing."""

    def start(self, task: str, total: int | None, unit: str = "rows") -> None:
        """Begin `task`."""

    def advance(self, task: str, units: int = 1) -> None:
        """Count `units` of `task`."""

    def skip(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` that need not be done."""

    def finish(self, task: str) -> None:
        """End `task`."""

    def count(self, name: str, amount: float = 1) -> None:
        """Add to the counter `name`."""


class Collected(Silent):
    """Keep the counters, so that a caller or a test can ask how much work was done."""

    def __init__(self) -> None:
        self.counters: dict[str, float] = defaultdict(int)

    def advance(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` under its name."""
        self.counters[task] += units

    def skip(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` under its name, and under that with "reused"."""
        self.counters[task] += units
        self.counters[f"{task} reused"] += units

    def count(self, name: str, amount: float = 1) -> None:
        """Add `amount` to the counter `name`."""
        self.counters[name] += amount
