"""One attempt at an execution: what it holds on to, and what this one notes for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tablevault.transactions.record import Json, Record
from tablevault.transactions.transaction import Transaction


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


def fixed_by(record: Record | None) -> Fixed:
    """Return what a paused execution holds on to; nothing for a new one."""
    if record is None or "sources" not in record.plan:
        return Fixed()
    return Fixed(
        sources=cast("Sequence[tuple[str, str, str]]", record.plan["sources"]),
        origin=cast("str", record.plan.get("origin", "")),
    )


class Attempt:
    """Lets an execution be stopped between two rows, and keeps its record up to date.

    Implements :class:`tablevault.engine.execution.executor.Control`.

    Parameters
    ----------
    tx : Transaction
        The execution.
    decided : callable
        Returns, when the first function is about to be called, to what the process holds on.
    before_first_call : callable
        Is called before each call of a function, such as a `BeforeFirstCall`.
    """

    def __init__(
        self,
        tx: Transaction,
        decided: Callable[[], Mapping[str, Json]],
        before_first_call: Callable[[], object] | None = None,
    ) -> None:
        self._tx = tx
        self._decided = decided
        self._before_first_call = before_first_call
        # What was paused stays paused, whatever is wrong now.
        tx.pauses = bool(tx.record.plan)

    def begin(self) -> None:
        """Note what was decided; from now on a named process that fails is paused."""
        self._tx.note(self._decided())
        self._tx.pauses = True

    def calling(self) -> None:
        """Do what comes before the first call."""
        if self._before_first_call is not None:
            self._before_first_call()

    def check(self) -> None:
        """Raise TVProcessError when somebody wants the process to stop."""
        self._tx.check()

    def ended(self, builder: str) -> None:
        """Note a step of the process."""
        self._tx.step(builder)
        self._tx.check()
