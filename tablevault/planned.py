"""What an execution would call: for each builder how many calls, why, and what they take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from tablevault.render import duration

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
        What they cost, likewise, in the currency that :func:`tablevault.report_usage` was told.
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
        nobody knows them.
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
