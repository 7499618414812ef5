"""Progress that a test can ask how much work was done."""

from __future__ import annotations

from collections import defaultdict

from tablevault.progress import Progress


class CountedProgress(Progress):
    """Keep the counters, by name."""

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
