"""What all builders of a run share while functions are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.engine.control import Control
from tablevault.engine.execution.invocation import Invoker
from tablevault.engine.execution.limiting import Limiting
from tablevault.engine.found import FinderContext, FoundRows
from tablevault.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext(FinderContext):
    """What all builders of a run share.

    Attributes
    ----------
    progress : Progress
        Is told of builders and rows.
    control : Control
        May stop the run.
    invoke : Invoker
        Calls their functions.
    limiting : Limiting
        Lets calls begin.
    batches : Path, optional
        Folder with what was sent to providers and is not collected yet.
    """

    progress: Progress
    control: Control
    invoke: Invoker
    limiting: Limiting
    batches: Path | None = None


@dataclass(slots=True, kw_only=True)
class Trial:
    """The part of one builder that a trial makes.

    Attributes
    ----------
    rows : int
        For so many rows, the first ones, functions are called.
    behind : frozenset of int
        Rows whose arguments read what the trial leaves out.
    missing : set of int
        Rows without a result, once the builder has run.
    """

    rows: int
    behind: frozenset[int]
    missing: set[int] = field(default_factory=set)

    def among(self, found: FoundRows) -> Sequence[int]:
        """Return the waiting rows that are called."""
        end = self.rows
        if found.in_order:
            end = min(self.rows, *self.behind) if self.behind else self.rows
        return [row for row in found.waiting if row < end]
