"""What calls have cost since a version had its last instance, for its next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError
from tablevault.history.documents import BuilderRun, InstanceDocument
from tablevault.names import TempRef
from tablevault.queries.read import instance_document
from tablevault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tablevault.engine.builder_result import BuilderResult
    from tablevault.engine.calls.spending import Purse, Spent

_DIGITS = 12
"""Of a cost: sums of binary fractions end in digits that nobody reported."""


def purse_of(vault: Vault, temp: TempRef) -> Purse:
    """Return what an execution of a temporary instance is charged to."""
    from tablevault.engine.calls.spending import Purse

    table_id = vault.snapshot().table(temp.table).id
    last = vault.journal.index.latest(table_id, temp.version, active=False, successful=False)
    process = ""
    if last is not None:
        try:
            process = instance_document(vault, last).process
        except TableVaultError:
            process = ""  # a broken document is told by whoever needs it
    return Purse(version=_version(table_id, temp), last=process)


def spent_for(vault: Vault, temp: TempRef) -> Spent:
    """Return what was spent since the version of a temporary instance had its last instance."""
    table_id = vault.snapshot().table(temp.table).id
    return total_of(vault.calls.spent(_version(table_id, temp)))


def spent_by_builders(vault: Vault, temp: TempRef) -> Mapping[str, Spent]:
    """Return the same by builder."""
    return vault.calls.spent(_version(vault.snapshot().table(temp.table).id, temp))


def calls_of(
    document: InstanceDocument, before: Mapping[str, Spent], index: str
) -> tuple[int, float | None]:
    """Return calls and cost of the execution that made an instance, without its index builder.

    Parameters
    ----------
    document : InstanceDocument
        Of the instance: it accounts for executions that failed before, too.
    before : mapping of str to Spent
        What those had spent, by builder.
    index : str
        Name of the index builder.
    """
    runs = {name: run for name, run in document.execution.items() if name != index}
    earlier = [before[name] for name in runs if name in before]
    calls = sum(run.calls or 0 for run in runs.values()) - sum(each.calls for each in earlier)
    costs = [run.cost for run in runs.values() if run.cost is not None]
    cost = sum(costs) - sum(each.cost or 0.0 for each in earlier) if costs else None
    return max(0, calls), 0.0 if not calls else cost


def total_of(spent: Mapping[str, Spent]) -> Spent:
    """Add up what builders have spent."""
    from tablevault.engine.calls.spending import together

    return together(spent.values())


def run_of(result: BuilderResult, spent: Spent | None) -> BuilderRun:
    """Describe what one builder did, and what it has spent."""
    return BuilderRun(
        computed=result.rows - result.reused,
        reused=result.reused,
        reason=result.reason,
        calls=0 if spent is None else spent.calls,
        input_tokens=None if spent is None else spent.input_tokens,
        output_tokens=None if spent is None else spent.output_tokens,
        cost=None if spent is None or spent.cost is None else float(_rounded(spent.cost)),
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


def _version(table_id: str, temp: TempRef) -> str:
    """Name a version of a table, whatever the table is called."""
    return f"{table_id}/{temp.version}"


def _rounded(cost: float) -> str:
    """Format a cost."""
    return f"{cost:.{_DIGITS}g}"
