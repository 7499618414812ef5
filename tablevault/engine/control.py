"""Whoever watches an execution, and may stop it between two calls."""

from __future__ import annotations

from typing import Protocol


class Control(Protocol):
    """Whoever watches a run. Called by one thread at a time."""

    def begin(self) -> None:
        """Note that all is checked, and that the first function is called next."""

    def calling(self) -> None:
        """Note that a function is called now; by any thread, and before each call."""

    def check(self) -> None:
        """Raise when the run is to stop."""

    def ended(self, builder: str) -> None:
        """Note that a builder has ended; raise when the run is to stop."""


class NoControl:
    """A run that nobody watches."""

    def begin(self) -> None:
        """Go on."""

    def calling(self) -> None:
        """Go on."""

    def check(self) -> None:
        """Go on."""

    def ended(self, builder: str) -> None:
        """Go on."""
