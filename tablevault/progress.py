"""What long work tells of itself: a protocol, a silent listener, and one that counts."""

from __future__ import annotations

from collections import Counter
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

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter such as ``calls`` or ``objects written``."""


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

    def count(self, name: str, amount: int = 1) -> None:
        """Add to the counter `name`."""


class Collected(Silent):
    """Keep the counters, so that a caller or a test can ask how much work was done."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()

    def advance(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` under its name."""
        self.counters[task] += units

    def skip(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` under its name, and under that with "reused"."""
        self.counters[task] += units
        self.counters[f"{task} reused"] += units

    def count(self, name: str, amount: int = 1) -> None:
        """Add `amount` to the counter `name`."""
        self.counters[name] += amount
