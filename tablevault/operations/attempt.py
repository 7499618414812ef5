"""One attempt at an execution: what it holds on to, and what this one notes for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tablevault.journal.operation import Operation
from tablevault.journal.record import Json
from tablevault.names import ProcessId
from tablevault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What a paused execution holds on to, so that it goes on as it began.

    Attributes
    ----------
    sources : sequence of (str, str, str)
        Table, selector and instance id of references.
    origin : str, optional
        Id of the instance that it started from, "" when there was none; None for an execution
        that has not begun.
    """

    sources: Sequence[tuple[str, str, str]] = ()
    origin: str | None = None


def fixed_by(vault: Vault, process_id: str) -> Fixed:
    """Give what a paused execution holds on to; nothing for a new one."""
    record = vault.journal.files.read(ProcessId(process_id)) if process_id else None
    if record is None or "sources" not in record.plan:
        return Fixed()
    return Fixed(
        sources=cast("Sequence[tuple[str, str, str]]", record.plan["sources"]),
        origin=cast("str", record.plan.get("origin", "")),
    )


class Attempt:
    """Lets an execution be stopped between two rows, and keeps its record up to date.

    Implements :class:`tablevault.engine.control.Control`.

    Parameters
    ----------
    operation : Operation
        The execution.
    decided : callable
        Says, when the first function is about to be called, to what the process holds on.
    """

    def __init__(self, operation: Operation, decided: Callable[[], Mapping[str, Json]]) -> None:
        self._operation = operation
        self._decided = decided
        # What was paused stays paused, whatever is wrong now.
        operation.pauses = bool(operation.record.plan)

    def begin(self) -> None:
        """Note what was decided; from now on a named process that fails is paused."""
        self._operation.note(self._decided())
        self._operation.pauses = True

    def check(self) -> None:
        """Raise TVProcessError when somebody wants the process to stop."""
        self._operation.check()

    def ended(self, builder: str) -> None:
        """Note a step of the process."""
        self._operation.step(builder)
        self._operation.check()
