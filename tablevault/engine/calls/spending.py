"""The cost of calls by builder, charged to a version of a table until its next instance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from tablevault.engine.calls.records import CallRecord

TOTALS: Final = (
    "SELECT builder, sum(calls), sum(input_tokens), sum(output_tokens), sum(cost)"
    " FROM spending WHERE version = ?1 AND (?2 IS NULL OR process = ?2) GROUP BY builder"
)
"""Adds up the cost charged to a version, of all processes or of one, by builder."""
OF_EXECUTION: Final = (
    "SELECT s.builder, sum(s.calls), sum(s.input_tokens), sum(s.output_tokens), sum(s.cost)"
    " FROM spending s JOIN executions e ON e.version = s.version AND e.process = s.process"
    " WHERE e.id = ? GROUP BY s.builder"
)
"""Adds up the cost of the process of an execution; columns as those of `TOTALS`."""
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
_REMOVE_UP_TO: Final = (
    "DELETE FROM spending WHERE version = ?1 AND id <="
    " (SELECT max(id) FROM spending WHERE version = ?1 AND process = ?2)"
)
Number = TypeVar("Number", int, float)


class Spent(NamedTuple):
    """The cost of calls; None where nothing was reported.

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

    def plus(self, other: CallRecord | Spent, calls: int) -> Spent:
        """Return the sum with a record, or with another sum, of so many calls."""
        if other.input_tokens is other.output_tokens is other.cost is None:
            return Spent(self.calls + calls, *self[1:])
        return Spent(
            self.calls + calls,
            add_known(self.input_tokens, other.input_tokens),
            add_known(self.output_tokens, other.output_tokens),
            add_known(self.cost, other.cost),
        )


def add_known(one: Number | None, other: Number | None) -> Number | None:
    """Add two numbers; None stands for an unknown one, and is the sum of two."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


def sum_of(spent: Iterable[Spent]) -> Spent:
    """Add up the costs of builders."""
    total = Spent()
    for each in spent:
        total = total.plus(each, each.calls)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account that an execution is charged to: one for each version of a table.

    Attributes
    ----------
    version : str
        Identifies the version, whatever its table is called.
    last : str
        Id of the process that made its last instance; "" when there is none.
    """

    version: str = ""
    last: str = ""


def open_account(connection: sqlite3.Connection, execution: int, account: Account) -> None:
    """Charge an execution to an account.

    If the process that made the last instance was killed before `close_account`, its costs are
    removed here: that instance records them.
    """
    connection.execute(
        "UPDATE executions SET version = ? WHERE id = ?", (account.version, execution)
    )
    connection.execute(_REMOVE_UP_TO, (account.version, account.last))


def charge(
    connection: sqlite3.Connection, execution: int | None, spent: Mapping[str, Spent]
) -> None:
    """Charge an execution, within the transaction that records its calls."""
    connection.executemany(_ADD, [(execution, name, *each) for name, each in spent.items()])


def close_account(connection: sqlite3.Connection, execution: int) -> None:
    """Remove all costs charged to the version of an execution: its new instance records them."""
    connection.execute(
        "DELETE FROM spending WHERE version = (SELECT version FROM executions WHERE id = ?)",
        (execution,),
    )


def totals(rows: Iterable[tuple[Any, ...]]) -> dict[str, Spent]:
    """Return the result of `TOTALS`, by builder."""
    return {builder: Spent(*spent) for builder, *spent in rows}
