"""What a refresh has made anew, or would make: tables in order, their calls, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tablevault import render
from tablevault.planned import shown_calls, shown_cost, shown_seconds, total
from tablevault.render import counted

State = Literal["planned", "made", "failed", "left"]

COLUMNS = ("table", "state", "calls", "rows there", "time", "cost", "reason")
"""What `shown` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshedTable:
    """One version of a table in a refresh.

    Attributes
    ----------
    name, version : str
        The table, and the version.
    state : str
        "planned" in a dry run, "made" where there is a new instance, "failed" where there is none
        because of an error, "left" where a table that it reads has failed.
    reason : str
        Why it is made anew; the error of one that failed; what stands in the way of one that was
        left.
    instance_id : str
        The new instance, "" when there is none.
    calls : int or None
        Calls of functions, index builder included: those that were made, or in a dry run those
        that would be, the most that are possible unless `is_exact`. None where it is unknown.
    is_exact : bool
        False in a dry run where inputs of some calls are made by the same refresh.
    retries : int
        In a dry run, rows that failed in the current instance and whose function would be called
        again, for no other reason if nothing has changed; `calls` includes their calls.
    reused : int
        Results that were there.
    seconds : float or None
        Predicted time in a dry run, else how long it took; None where it is unknown.
    cost : float or None
        Predicted cost, or what functions have reported; None where it is unknown.
    errors : int
        Rows of the new instance whose calls failed and were kept as errors: it is stale again.
    """

    name: str
    version: str
    state: State
    reason: str
    instance_id: str = ""
    calls: int | None = 0
    is_exact: bool = True
    retries: int = 0
    reused: int = 0
    seconds: float | None = 0.0
    cost: float | None = 0.0
    errors: int = 0

    @property
    def place(self) -> str:
        """Table and version as ``reviews/base``."""
        return f"{self.name}/{self.version}"

    @property
    def shown_calls(self) -> str:
        """The number of calls as text."""
        return shown_calls(self.calls, is_exact=self.is_exact)

    @property
    def shown_retries(self) -> str:
        """How many of the calls are for rows that failed, as text; "" where none is."""
        return f"{counted(self.retries, 'failed row')} again" if self.retries else ""

    def __str__(self) -> str:
        """Describe it in a line."""
        if self.state in {"failed", "left"}:
            return f"{self.place}: {self.state}: {self.reason}"
        noun = "call" if self.calls == 1 else "calls"
        what = f"{self.shown_calls} {noun}"
        what += f" ({self.shown_retries})" if self.retries else ""
        what += f", {counted(self.reused, 'result')} there"
        what += f", {counted(self.errors, 'row')} with errors" if self.errors else ""
        return f"{self.place}: {what}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReport:
    """What was made anew, or would be; :meth:`tablevault.TableVault.refresh` makes it.

    Attributes
    ----------
    tables : tuple of RefreshedTable
        What is stale, in the order in which it is made; empty when nothing is.
    dry_run : bool
        Whether nothing was done.
    """

    tables: tuple[RefreshedTable, ...]
    dry_run: bool = False

    @property
    def calls(self) -> int | None:
        """All calls, the most that are possible unless `is_exact`; None where it is unknown."""
        return total(each.calls for each in self.tables)

    @property
    def is_exact(self) -> bool:
        """Whether exactly these calls are made, if none of them fails."""
        return all(each.is_exact for each in self.tables)

    @property
    def seconds(self) -> float | None:
        """Time of all tables; None where it is unknown for one."""
        return total(each.seconds for each in self.tables)

    @property
    def cost(self) -> float | None:
        """Cost of all tables; None where it is unknown for one."""
        return total(each.cost for each in self.tables)

    @property
    def note(self) -> str:
        """The sums in a line."""
        if not self.tables:
            return "Nothing is stale."
        made = [each for each in self.tables if each.state in {"planned", "made"}]
        verb = "would be made" if self.dry_run else "made"
        calls = shown_calls(self.calls, is_exact=self.is_exact)
        told = f"{counted(len(made), 'instance')} {verb} anew: calls {calls}"
        told += f", time {shown_seconds(self.seconds)}"
        # Who has not reported a cost has none, as far as anybody knows.
        is_known = self.dry_run or self.cost is not None
        return f"{told}, cost {shown_cost(self.cost)}" if is_known else told

    def __str__(self) -> str:
        """Show the sums, and each table as a line."""
        return "\n".join([self.note, *(f"  {each}" for each in self.tables)])

    def __repr__(self) -> str:
        """Show the same."""
        return str(self)

    def _repr_html_(self) -> str:
        """Show a table in a notebook; what stands in it is no markup."""
        return render.table_html(self.note, COLUMNS, [shown(each) for each in self.tables])


def shown(table: RefreshedTable) -> tuple[str, ...]:
    """Return the cells of one line: table, state, calls, rows, time, cost, reason."""
    return (
        table.place,
        table.state,
        ", ".join(filter(None, (table.shown_calls, table.shown_retries))),
        f"{table.reused:,}",
        shown_seconds(table.seconds),
        shown_cost(table.cost),
        table.reason,
    )
