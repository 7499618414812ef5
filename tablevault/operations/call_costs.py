"""The cost of calls since the last instance of a version was made, charged to its next one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError
from tablevault.history.commits.documents import BuilderRun, InstanceDocument
from tablevault.model.view import Table
from tablevault.names import TableId
from tablevault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tablevault.engine.calls.spending import Account, Spent
    from tablevault.engine.execution.step import BuilderResult

_DIGITS = 12
"""Digits of a cost: sums of binary fractions end in digits that no function reported."""


def account_of(table: Table, version: str) -> Account:
    """Return what an execution of a version of a table is charged to."""
    from tablevault.engine.calls.spending import Account

    last, process = table.latest_or_none(version, active=False), ""
    if last is not None:
        # Whoever needs the document reports that it is broken.
        with contextlib.suppress(TableVaultError):
            process = last.document.process
    return Account(version=_account_key(table.id, version), last=process)


def spent_by_builders(vault: Vault, table_id: TableId, version: str) -> Mapping[str, Spent]:
    """Return what was spent since the last instance of a version was made, by builder."""
    return vault.calls.spent(_account_key(table_id, version))


def spent_since(
    before: Mapping[str, Spent], after: Mapping[str, Spent], index: str
) -> tuple[int, float | None]:
    """Return calls and cost of one execution, without its index builder.

    Parameters
    ----------
    before, after : mapping of str to Spent
        What was spent since the version had its last instance, by builder: when the execution
        began, and when it ended.
    index : str
        Name of the index builder.
    """
    now = total_of({name: each for name, each in after.items() if name != index})
    then = total_of({name: each for name, each in before.items() if name != index})
    calls = max(0, now.calls - then.calls)
    cost = None if now.cost is None else max(0.0, now.cost - (then.cost or 0.0))
    return calls, cost if calls else 0.0


def runs_of(document: InstanceDocument) -> Mapping[str, Spent]:
    """Return what an instance accounts for: what was spent since the one before it, by builder."""
    from tablevault.engine.calls.spending import Spent

    return {
        name: Spent(calls=run.calls or 0, cost=run.cost) for name, run in document.execution.items()
    }


def total_of(spent: Mapping[str, Spent]) -> Spent:
    """Add up what builders have spent."""
    from tablevault.engine.calls.spending import sum_of

    return sum_of(spent.values())


def run_of(result: BuilderResult, spent: Spent | None) -> BuilderRun:
    """Describe the work of one builder, and its cost."""
    from tablevault.engine.calls.spending import Spent

    spent = spent or Spent()
    # An expected cost means something beside a real one only.
    expected_cost = None if spent.cost is None else result.expected_cost
    return BuilderRun(
        computed=result.rows - result.reused,
        reused=result.reused,
        reason=result.reason,
        calls=spent.calls,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cost=None if spent.cost is None else float(_rounded(spent.cost)),
        expected_cost=None if expected_cost is None else float(_rounded(expected_cost)),
        errors=result.errors or None,
    )


def spending_trailers(spent: Spent | None) -> list[tuple[str, str]]:
    """Return the trailers of a commit that makes an instance by calls."""
    if spent is None:
        return []
    cost = "" if spent.cost is None else _rounded(spent.cost)
    known = [each for each in (spent.input_tokens, spent.output_tokens) if each is not None]
    tokens = str(sum(known)) if known else ""
    return [("Calls", str(spent.calls)), ("Tokens", tokens), ("Cost", cost)]


def _account_key(table_id: TableId, version: str) -> str:
    """Name a version of a table, by the id of the table."""
    return f"{table_id}/{version}"


def _rounded(cost: float) -> str:
    """Format a cost."""
    return f"{cost:.{_DIGITS}g}"
