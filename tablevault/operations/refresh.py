"""``refresh``: execute stale tables again, in the order in which tables read each other."""

from __future__ import annotations

import graphlib
import heapq
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tablevault.errors import (
    TableVaultError,
    TVArgumentError,
    TVBudgetError,
    TVRefreshError,
    user_traceback,
)
from tablevault.history.commits.documents import InstanceDocument
from tablevault.model.view import VaultView
from tablevault.names import TempRef, index_builder
from tablevault.operations.call_costs import runs_of, spent_by_builders, spent_since
from tablevault.operations.execute import ExecuteInstance, check_budget
from tablevault.operations.instances import CreateInstance
from tablevault.operations.plan import PlanOptions, plan_anew
from tablevault.plans import ExecutionPlan, PlannedBuilder, RefreshedTable, RefreshReport, total
from tablevault.queries.inputs import Place
from tablevault.queries.staleness import Current, Staleness
from tablevault.secrets import text_to_keep
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

if TYPE_CHECKING:
    from tablevault.engine.execution.preview import ExpectedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOptions:
    """How tables are refreshed; see `TableVault.refresh`."""

    dry_run: bool = False
    accept_code: bool | None = None
    max_calls: int | None = None
    max_cost: float | None = None


@dataclass(slots=True, kw_only=True)
class _RefreshBudget:
    """What the tables that are still to be made may spend; None for any amount."""

    calls: int | None
    cost: float | None

    @property
    def is_used_up(self) -> bool:
        """Return whether no call can be paid for any more."""
        return self.calls == 0 or (self.cost is not None and self.cost <= 0)

    def spend(self, calls: int, cost: float | None) -> None:
        """Take off what a table has cost."""
        if self.calls is not None:
            self.calls = max(0, self.calls - calls)
        if self.cost is not None:
            self.cost = max(0.0, self.cost - (cost or 0.0))


def refresh(
    vault: Vault, tables: str | Sequence[str] | None, *, options: RefreshOptions
) -> RefreshReport:
    """Execute stale tables again, or return which would be executed."""
    check_budget("refresh", options.max_calls, options.max_cost)
    view = vault.live_view()
    staleness = Staleness(vault, view)
    wanted = _wanted(view, staleness, tables)
    order = [place for place in in_order(staleness) if place in wanted]
    if options.dry_run:
        planned = tuple(_planned(vault, staleness, order, options))
        return RefreshReport(tables=planned, dry_run=True)
    return _Refresh(vault, staleness, options).run(order)


def _wanted(
    view: VaultView, staleness: Staleness, tables: str | Sequence[str] | None
) -> frozenset[Place]:
    """Return the places that are named, all without names, and those that they read, on and on."""
    if tables is None:
        return frozenset(staleness.instances)
    found: set[Place] = set()
    waiting: list[Place] = []
    for name in [tables] if isinstance(tables, str) else tables:
        waiting += _named(view, staleness, name)
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += staleness.reads(place)
    return frozenset(found)


def _named(view: VaultView, staleness: Staleness, name: str) -> list[Place]:
    """Return the places that ``reviews`` or ``reviews/base`` names."""
    if not isinstance(name, str):
        raise TVArgumentError(
            f"Argument tables of refresh holds {name!r} ({type(name).__name__}).",
            'It has to hold text such as "reviews" or "reviews/base".',
            argument="tables",
        )
    name, _, version = name.partition("/")
    table = view.table(name)
    found = [
        place
        for place in staleness.instances
        if place.table == name and version in ("", place.version)
    ]
    if not found:
        table.latest(version, active=False)
    return found


# -- the order ----------------------------------------------------------------------------------


def in_order(staleness: Staleness) -> list[Place]:
    """Sort places so that each follows those that it reads; of others, the older ones first.

    Where places read each other in a circle, as long as each of them reads an earlier instance
    of the others, they follow each other by age, too: there is no right place to begin.
    """
    ages = {place: number for number, place in enumerate(staleness.instances)}
    reads = {place: {*staleness.reads(place)} for place in ages}
    while True:
        sorter = graphlib.TopologicalSorter(reads)
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            circle = error.args[1]
            youngest = max(circle, key=lambda place: ages[place])
            for place in circle:
                if place != youngest:
                    reads[place].discard(youngest)
            reads[youngest].discard(youngest)
            continue
        return _by_age(sorter, ages)


def _by_age(sorter: graphlib.TopologicalSorter[Place], ages: Mapping[Place, int]) -> list[Place]:
    """Take from a sorter what is oldest among what is ready."""
    order: list[Place] = []
    ready = [(ages[place], place) for place in sorter.get_ready()]
    heapq.heapify(ready)
    while ready:
        _, place = heapq.heappop(ready)
        order.append(place)
        sorter.done(place)
        for each in sorter.get_ready():
            heapq.heappush(ready, (ages[each], each))
    return order


# -- a dry run ----------------------------------------------------------------------------------


def _planned(
    vault: Vault, staleness: Staleness, order: Sequence[Place], options: RefreshOptions
) -> Iterator[RefreshedTable]:
    """Yield what a refresh would do; only index builders are called, which make the rows."""
    expected: dict[Place, ExpectedTable] = {}
    calls: set[tuple[bytes, bytes]] = set()
    stopped: set[Place] = set()
    for place in order:
        if behind := sorted(staleness.reads(place) & stopped):
            stopped.add(place)
            yield _left(place, f"it reads {' and '.join(map(str, behind))}")
            continue
        before = {each: expected[each] for each in expected if each in staleness.reads(place)}
        try:
            reasons = staleness.reasons(place)
            current = staleness.current(place)
            can_be = current.instance.active and not current.is_by_hand
            if not can_be or not (reasons or before):
                continue
            is_callable = not vault.snapshot().table(place.table).side_effects
            plan_options = PlanOptions(run_index=is_callable, accept_code=options.accept_code)
            plan, found = plan_anew(vault, current, before, calls, options=plan_options)
        except Exception as error:  # noqa: BLE001 - a refresh would go on with the others, too
            stopped.add(place)
            yield _failed(place, error)
            continue
        if not found.digest or found.digest != current.document.digest:
            expected[place] = found
        yield _of_plan(current, plan, (*reasons, *(f"after {each}" for each in before)))


def _of_plan(current: Current, found: ExecutionPlan, reasons: Sequence[str]) -> RefreshedTable:
    """Describe a planned execution that replaces a current instance."""
    _, *columns = found.builders
    is_exact = found.rows_from == "index builder" and found.has_exact_calls
    return RefreshedTable(
        name=current.place.table,
        version=current.place.version,
        state="planned",
        reason="; ".join(reasons),
        calls=total(each.calls for each in columns),
        retries=sum(_retries(each, current.document) for each in columns),
        is_exact=is_exact or not columns,
        reused=sum(each.reused for each in columns),
        seconds=found.seconds,
        cost=total(each.cost for each in columns),
    )


def _retries(planned: PlannedBuilder, document: InstanceDocument) -> int:
    """Count the rows of a builder that failed in an instance and would be asked again."""
    run = document.execution.get(planned.name)
    failed = 0 if run is None else run.errors or 0
    return failed if planned.rows is None else min(failed, planned.rows - planned.reused)


# -- a refresh ----------------------------------------------------------------------------------


class _Refresh:
    """Executes tables again, one after the other."""

    def __init__(self, vault: Vault, staleness: Staleness, options: RefreshOptions) -> None:
        self._vault = vault
        self._staleness = staleness
        self._seen = vault.snapshot().commit
        self._options = options
        self._budget = _RefreshBudget(calls=options.max_calls, cost=options.max_cost)
        self._has_ended = False
        self._stopped: set[Place] = set()
        self._errors: list[Exception] = []

    def run(self, order: Sequence[Place]) -> RefreshReport:
        """Execute the tables that are stale when their turn comes.

        Raises
        ------
        TVRefreshError
            Some failed; all others are done.
        """
        found = [each for place in order if (each := self._refreshed(place)) is not None]
        report = RefreshReport(tables=tuple(found))
        if self._errors:
            raise _error(report) from _cause(self._errors)
        return report

    def _look(self) -> Staleness:
        """Compare with the vault as it is now."""
        view = self._vault.live_view()
        if view.commit != self._seen:
            self._staleness, self._seen = Staleness(self._vault, view), view.commit
        return self._staleness

    def _refreshed(self, place: Place) -> RefreshedTable | None:
        """Execute one again; None where that is not needed."""
        staleness = self._look()
        if place not in staleness.instances or not staleness.instances[place].active:
            return None
        if behind := sorted(staleness.reads(place) & self._stopped):
            self._stopped.add(place)
            return _left(place, f"it reads {' and '.join(map(str, behind))}")
        try:
            reasons = staleness.reasons(place)
            if reasons and self._has_ended:
                self._stopped.add(place)
                return _left(place, "the budget is used up")
            return self._make(staleness.current(place), reasons) if reasons else None
        except Exception as error:  # noqa: BLE001 - what does not read this table is made nevertheless
            if isinstance(error, TableVaultError) and self._is_made(place):
                return None
            return self._fail(place, error)

    def _fail(self, place: Place, error: Exception) -> RefreshedTable:
        """Note that a table could not be refreshed."""
        self._has_ended |= isinstance(error, TVBudgetError) and self._budget.is_used_up
        self._stopped.add(place)
        self._errors.append(error)
        return _failed(place, error)

    def _is_made(self, place: Place) -> bool:
        """Return whether another process has made it meanwhile."""
        try:
            staleness = self._look()
            return place not in staleness.instances or not staleness.reasons(place)
        except TableVaultError:
            return False

    def _make(self, current: Current, reasons: Sequence[str]) -> RefreshedTable:
        """Execute a copy of an instance, or what was prepared already."""
        vault, (table, version) = self._vault, current.place
        started = time.monotonic()
        if vault.temp(TempRef(*current.place)) is None:
            CreateInstance(
                table_name=table,
                version=version,
                origin_id=current.instance.instance_id,
                description=current.document.description,
            ).run(vault)
        execution = ExecuteInstance(
            table_name=table,
            version=version,
            accept_code=self._options.accept_code,
            max_calls=self._budget.calls,
            max_cost=self._budget.cost,
        )
        spent = partial(spent_by_builders, vault, current.instance.table_id, version)
        before = spent()
        try:
            process_id = execution.run(vault)
        except BaseException:
            self._budget.spend(*spent_since(before, spent(), index_builder(table)))
            raise
        document = self._made(current, process_id)
        calls, cost = spent_since(before, runs_of(document), index_builder(table))
        self._budget.spend(calls, cost)
        return RefreshedTable(
            name=table,
            version=version,
            state="made",
            reason="; ".join(reasons),
            instance_id=document.id,
            calls=calls,
            reused=sum(
                run.reused
                for name, run in document.execution.items()
                if name != index_builder(table)
            ),
            seconds=time.monotonic() - started,
            cost=cost,
            errors=document.errors,
        )

    def _made(self, current: Current, process_id: str) -> InstanceDocument:
        """Find the instance that an execution has made."""
        view, instance = self._vault.view(), current.instance
        made = view.catalog.instances(instance.table_id, instance.version)
        for each in reversed(view.instances_of(made)):
            if each.document.process == process_id:
                return each.document
        raise AssertionError("an execution that ended has made an instance")


def _left(place: Place, reason: str) -> RefreshedTable:
    """Describe a table that was left as it was."""
    return RefreshedTable(name=place.table, version=place.version, state="left", reason=reason)


def _failed(place: Place, error: Exception) -> RefreshedTable:
    """Describe a table that could not be refreshed."""
    return RefreshedTable(
        name=place.table, version=place.version, state="failed", reason=_text_of(error)
    )


def _text_of(error: Exception) -> str:
    """Return the text of an error, with the note that names the row."""
    if isinstance(error, TableVaultError):
        return Wording(error.message, " ", error.hint) if error.hint else error.message
    text = f"{type(error).__name__}: {' '.join(text_to_keep(error).split())}".removesuffix(": ")
    notes = getattr(error, "__notes__", [])[-1:]
    return " ".join([text.removesuffix(".") + ".", *(f"{note}." for note in notes)])


def _error(report: RefreshReport) -> TVRefreshError:
    """Make the error that says which tables failed, which were left, and which are done."""
    places = {
        state: [each.place for each in report.tables if each.state == state]
        for state in ("failed", "left", "made")
    }
    lines: list[str] = []
    for each in report.tables:
        if each.state in {"failed", "left"}:
            lines += [f"\n  {each.place} {each.state}: ", each.reason]
    made = ", ".join(places["made"]) or "nothing"
    first = next(each for each in report.tables if each.state == "failed")
    return TVRefreshError(
        Wording(f"{len(places['failed'])} of {len(report.tables)} tables failed:", *lines),
        Wording(
            f"Made: {made}. Calls that finished are kept: correct what is wrong, and call ",
            Call("refresh"),
            " again, or go on with one table: ",
            Call("execute_instance", table_name=first.name, version=first.version),
            ".",
        ),
        **{state: ", ".join(names) for state, names in places.items()},
    )


def _cause(errors: Sequence[Exception]) -> Exception:
    """Return the cause of the error: what functions raised, without frames of the package."""
    shown = [error.with_traceback(user_traceback(error) or error.__traceback__) for error in errors]
    return shown[0] if len(shown) == 1 else ExceptionGroup("Several tables failed", shown)
