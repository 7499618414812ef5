"""What one builder of a run did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderResult:
    """What one builder did: what was called, how often, for which columns and how many rows."""

    name: str
    module: str
    function: str
    is_custom: bool
    columns: tuple[str, ...]
    rows: int
    calls: int
    reused: int
    """Rows whose cells were there before; the others were made by this execution."""
    errors: int = 0
    """Rows whose calls failed, and that stay null."""
    expected_cost: float | None = None
    """What its calls since the last instance were expected to cost when this execution began to
    call it; None where nothing was known."""
    reason: str
    """Why the others were."""
