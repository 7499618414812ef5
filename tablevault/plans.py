"""Plans of executions, and reports of refreshes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from tablevault.render import counted, duration, table_html

Number = TypeVar("Number", int, float)

_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBuilder:
    """What an execution would do for one builder.

    Attributes
    ----------
    name : str
        The builder.
    rows : int or None
        Rows of the table; None where only the index builder can tell.
    calls : int or None
        Calls of its function; the most that are possible unless `is_exact`. None where nothing is
        known of the rows.
    is_exact : bool
        False where the arguments of some calls are made by the same execution.
    reused : int
        Rows whose results are there.
    reason : str
        Why the function is called, or "unchanged".
    seconds : float or None
        How long the calls take together, by the mean of earlier ones; None when there are none.
    cost : float or None
        What they cost, likewise, in the currency that :func:`tablevault.report_usage` is given.
    """

    name: str
    rows: int | None
    calls: int | None
    is_exact: bool
    reused: int
    reason: str
    seconds: float | None
    cost: float | None

    def __str__(self) -> str:
        """Describe it in a line."""
        calls = shown_calls(self.calls, is_exact=self.is_exact)
        noun = "" if self.calls is None else " call" if self.calls == 1 else " calls"
        return f"{self.name}: {calls}{noun}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """What ``execute_instance`` would call; :meth:`tablevault.TableVault.plan` makes it.

    Attributes
    ----------
    table_name, version : str
        The temporary instance.
    process_id : str
        The paused process that would go on, "" for a new one.
    rows_from : str
        Whose rows the plan is for: "index builder" when it was called for the plan, or need not
        be called again; the id of an instance; "last attempt", the rows that it made; or "" when
        they are not known.
    builders : tuple of PlannedBuilder
        In the order of execution, the index builder first.
    """

    table_name: str
    version: str
    process_id: str
    rows_from: str
    builders: tuple[PlannedBuilder, ...]

    @property
    def calls(self) -> int | None:
        """All calls, the most that are possible unless `is_exact`; None where it is unknown."""
        return total(each.calls for each in self.builders)

    @property
    def is_exact(self) -> bool:
        """Whether an execution now makes exactly these calls, if none of them fails."""
        return self.rows_from == "index builder" and self.has_exact_calls

    @property
    def seconds(self) -> float | None:
        """How long all calls take; None where it is unknown for one builder."""
        return total(each.seconds for each in self.builders)

    @property
    def cost(self) -> float | None:
        """What all calls cost; None where it is unknown for one builder.

        An index builder that has never reported what it costs counts as free.
        """
        index, *others = self.builders
        counting = others if others and index.cost is None else self.builders
        return total(each.cost for each in counting)

    @property
    def note(self) -> str:
        """Describe whose rows the plan is for, unless they are certain."""
        match self.rows_from:
            case "index builder":
                return ""
            case "":
                return "The rows are not known before the index builder has run."
            case "last attempt":
                whose = "that the last attempt made"
            case instance:
                whose = f"of {instance}"
        return f"For the rows {whose}: the index builder was not called."

    @property
    def has_exact_calls(self) -> bool:
        """Whether `calls` is a number for the rows of `rows_from`, not the most possible."""
        return all(each.is_exact for each in self.builders)

    def __str__(self) -> str:
        """Show builders as lines, with totals and whose rows they are for."""
        calls = shown_calls(self.calls, is_exact=self.has_exact_calls)
        needs = f"time {shown_seconds(self.seconds)}, cost {shown_cost(self.cost)}"
        lines = [f"{self.table_name}/{self.version}: calls {calls}, {needs}"]
        lines += [f"  {each}" for each in self.builders]
        return "\n".join([*lines, self.note] if self.note else lines)


def shown_calls(calls: int | None, *, is_exact: bool) -> str:
    """Write a number of calls."""
    if calls is None:
        return _UNKNOWN
    return f"{calls:,}" if is_exact else f"at most {calls:,}"


def shown_seconds(seconds: float | None) -> str:
    """Write a predicted time."""
    return _UNKNOWN if seconds is None else duration(seconds)


def shown_cost(cost: float | None) -> str:
    """Write a predicted cost."""
    return _UNKNOWN if cost is None else f"{cost:,.4g}"


def total(values: Iterable[Number | None]) -> Number | None:
    """Add numbers; None when one is unknown."""
    found: Any = 0
    for value in values:
        if value is None:
            return None
        found += value
    return cast("Number", found)


State = Literal["planned", "made", "failed", "left"]

COLUMNS = ("table", "state", "calls", "rows there", "time", "cost", "reason")
"""Columns of a report."""


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
        Why it is executed again; the error of one that failed; for one that was left, what is in
        the way.
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

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of `COLUMNS`."""
        return (
            self.place,
            self.state,
            ", ".join(filter(None, (self.shown_calls, self.shown_retries))),
            f"{self.reused:,}",
            shown_seconds(self.seconds),
            shown_cost(self.cost),
            self.reason,
        )

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
    """What was executed again, or would be; :meth:`tablevault.TableVault.refresh` makes it.

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
        text = f"{counted(len(made), 'instance')} {verb} anew: calls {calls}"
        text += f", time {shown_seconds(self.seconds)}"
        # Who has not reported a cost has none, as far as anybody knows.
        is_known = self.dry_run or self.cost is not None
        return f"{text}, cost {shown_cost(self.cost)}" if is_known else text

    def __str__(self) -> str:
        """Show the sums, and each table as a line."""
        return "\n".join([self.note, *(f"  {each}" for each in self.tables)])

    def __repr__(self) -> str:
        """Show the same."""
        return str(self)

    def _repr_html_(self) -> str:
        """Show a table in a notebook; what stands in it is no markup."""
        return table_html(self.note, COLUMNS, [each.cells for each in self.tables])
