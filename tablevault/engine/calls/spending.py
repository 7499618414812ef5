"""What calls have cost, by builder, since a version had its last instance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

SCHEMA: Final = """
CREATE TABLE spending (
    id INTEGER PRIMARY KEY, version TEXT NOT NULL, process TEXT NOT NULL, builder TEXT NOT NULL,
    calls INTEGER NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cost REAL,
    UNIQUE (version, process, builder)
);
"""
"""What executions have spent. It outlives them, and the temporary instances that they ran on."""
TOTALS: Final = (
    "SELECT builder, sum(calls), sum(input_tokens), sum(output_tokens), sum(cost)"
    " FROM spending WHERE version = ?1 AND (?2 IS NULL OR process = ?2) GROUP BY builder"
)
"""Adds up what was spent for a version; the columns are a builder and the fields of `Spent`."""
OF_EXECUTION: Final = (
    "SELECT s.builder, sum(s.calls), sum(s.input_tokens), sum(s.output_tokens), sum(s.cost)"
    " FROM spending s JOIN executions e ON e.version = s.version AND e.process = s.process"
    " WHERE e.id = ? GROUP BY s.builder"
)
"""Adds up what the process of an execution has spent; columns as those of `TOTALS`."""
_ADD: Final = (
    "INSERT INTO spending (version, process, builder, calls, input_tokens, output_tokens, cost)"
    " SELECT e.version, e.process, ?2, ?3, ?4, ?5, ?6 FROM executions e WHERE e.id = ?1"
    " ON CONFLICT (version, process, builder) DO UPDATE SET"
    " calls = calls + excluded.calls,"
    " input_tokens = coalesce(input_tokens + excluded.input_tokens, input_tokens,"
    " excluded.input_tokens),"
    " output_tokens = coalesce(output_tokens + excluded.output_tokens, output_tokens,"
    " excluded.output_tokens),"
    " cost = coalesce(cost + excluded.cost, cost, excluded.cost)"
)
_REMOVE_CLAIMED: Final = (
    "DELETE FROM spending WHERE version = ?1 AND id <="
    " (SELECT max(id) FROM spending WHERE version = ?1 AND process = ?2)"
)


class Spent(NamedTuple):
    """What calls have cost; None where nothing was reported.

    Attributes
    ----------
    calls : int
        How often functions of builders were called.
    input_tokens, output_tokens : int, optional
        Tokens.
    cost : float, optional
        In the currency of the reports.
    """

    calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What an execution is charged to.

    Attributes
    ----------
    version : str
        Names a version of a table, whatever the table is called.
    last : str
        Id of the process that made the last instance of it; "" when there is none.
    """

    version: str = ""
    last: str = ""


class Metered(Protocol):
    """The part of a record that counts here."""

    @property
    def input_tokens(self) -> int | None:
        """Tokens that were sent."""

    @property
    def output_tokens(self) -> int | None:
        """Tokens that were received."""

    @property
    def cost(self) -> float | None:
        """What it cost."""


class Spending:
    """Adds up what calls have cost."""

    __slots__ = ("calls", "cost", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.calls = 0
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cost: float | None = None

    def add(self, call: Metered, calls: int) -> None:
        """Add a record that stands for so many calls."""
        self.calls += calls
        if call.input_tokens is not None:
            self.input_tokens = (self.input_tokens or 0) + call.input_tokens
        if call.output_tokens is not None:
            self.output_tokens = (self.output_tokens or 0) + call.output_tokens
        if call.cost is not None:
            self.cost = (self.cost or 0.0) + call.cost

    def total(self) -> Spent:
        """Return the sum."""
        return Spent(self.calls, self.input_tokens, self.output_tokens, self.cost)


class _Named(Metered, Protocol):
    """A record that says who made it."""

    @property
    def builder(self) -> str:
        """Name of the builder."""


def charge_of(call: _Named) -> dict[str, Spending]:
    """Return what one call has cost, by builder."""
    spending = Spending()
    spending.add(call, 1)
    return {call.builder: spending}


def together(spent: Iterable[Spent]) -> Spent:
    """Add up what builders have spent."""
    total = Spending()
    for each in spent:
        total.add(each, each.calls)
    return total.total()


def charge(
    connection: sqlite3.Connection, execution: int | None, spending: Mapping[str, Spending]
) -> None:
    """Charge an execution, within the transaction that records its calls."""
    rows = [(execution, builder, *each.total()) for builder, each in spending.items()]
    if rows:
        connection.executemany(_ADD, rows)


def open_purse(connection: sqlite3.Connection, execution: int, purse: Purse) -> None:
    """Let an execution be charged.

    What the last instance of the version has accounted for is removed here, if the process that
    made it was killed before it could.
    """
    connection.execute("UPDATE executions SET version = ? WHERE id = ?", (purse.version, execution))
    connection.execute(_REMOVE_CLAIMED, (purse.version, purse.last))


def settle(connection: sqlite3.Connection, execution: int) -> None:
    """Forget what was spent for the version of an execution: an instance has accounted for it."""
    connection.execute(
        "DELETE FROM spending WHERE version = (SELECT version FROM executions WHERE id = ?)",
        (execution,),
    )


def totals(rows: Iterable[tuple[Any, ...]]) -> dict[str, Spent]:
    """Return what `TOTALS` has found, by builder."""
    return {builder: Spent(*spent) for builder, *spent in rows}
