"""Before each call: may it begin, within its budgets and rates, and if not yet, when."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.spending import Spent, sum_of
from tablevault.engine.calls.usage import Meter, UsageReport
from tablevault.engine.execution.budgets import TRIES, BegunCalls, Budget, RunLimits
from tablevault.engine.execution.concurrency import Stop
from tablevault.engine.execution.rates import Kind, Rates, now, seconds_of
from tablevault.engine.execution.retrying import LONGEST_WAIT_S, asked_wait, headers_of, status_of
from tablevault.limits_and_prices import Limits
from tablevault.progress import Progress, counted_within
from tablevault.wording import Either, Wording

_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 0.5
_TOO_MANY: Final = 429


class Gate:
    """Lets the calls of one builder begin.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    run : RunLimits
        What limits it besides its own limits.
    budgets : sequence of Budget
        What its calls are charged to.
    rates : Rates, optional
        The shared schedule.
    progress : Progress
        Shows costs, and calls that wait for a rate.
    """

    def __init__(
        self,
        builder: ResolvedBuilder,
        run: RunLimits,
        budgets: Sequence[Budget],
        rates: Rates | None,
        progress: Progress,
    ) -> None:
        self._builder = builder
        self._progress = progress
        self._begun: BegunCalls | None = None
        self._prices = run.prices
        self._budgets = budgets
        self._rates = rates
        self._limits = _by_name(builder.limits, run.vault) if rates is not None else ()
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._is_trying = False
        self._ended = 0
        self._with_tokens = 0
        self._tokens = 0

    @property
    def is_open(self) -> bool:
        """Whether nothing is limited or priced."""
        return not (self._budgets or self._limits or self._prices)

    @property
    def is_free(self) -> bool:
        """Whether calls may begin at any time, in any number."""
        return not (self._budgets or self._limits)

    def meter(self) -> Meter:
        """Return what adds up the usage of one call."""
        return Meter(self._priced)

    def note_in(self, begun: BegunCalls) -> None:
        """Let a file tell which calls have begun: a kill loses none."""
        self._begun = begun

    def expect(self, spent: Spent) -> None:
        """Expect as many tokens of a call as those of earlier attempts took, until some end."""
        tokens = (spent.input_tokens or 0) + (spent.output_tokens or 0)
        if tokens:
            self._with_tokens = 1
            self._tokens = round(tokens / spent.calls)

    def check(self, calls: int) -> None:
        """Raise TVBudgetError where so many calls more are too many for a budget."""
        for budget in self._budgets:
            budget.check(self._builder, calls)

    @contextmanager
    def passing(self, meter: Meter, stop: Stop) -> Iterator[None]:
        """Wait until a call may begin, and count it: it is made in the body.

        Raises
        ------
        TVBudgetError
            There is nothing left of a budget.
        """
        taken = []
        before = meter.cost
        try:
            for budget in self._budgets:
                budget.begin(self._builder, stop)
                taken.append(budget)
            with self._pacing(meter, stop), self._noted(meter):
                yield
        finally:
            for budget in taken:
                budget.end(meter.cost - before)

    @contextmanager
    def _noted(self, meter: Meter) -> Iterator[None]:
        """Note a call when it begins and when it has ended: a kill may come in between."""
        if self._begun is None:
            yield
            return
        before = meter.cost
        self._begun.add(self._builder.name)
        try:
            yield
        finally:
            self._begun.end(self._builder.name, meter.cost - before)

    def _priced(self, used: UsageReport) -> UsageReport:
        """Add the cost of a report by the price of its model, and charge it."""
        if used.cost is None and used.model is not None:
            price = self._prices.get(used.model)
            if price is not None:
                cost = price.cost(used.input_tokens or 0, used.output_tokens or 0)
                used = used._replace(cost=cost)
        if used.cost:
            for budget in self._budgets:
                budget.charge(used.cost)
            self._progress.count("cost", used.cost)
        return used

    # -- rates ----------------------------------------------------------------------------------

    @contextmanager
    def _pacing(self, meter: Meter, stop: Stop) -> Iterator[None]:
        """Wait for the rates, and correct them by what the call has used."""
        if not self._limits:
            yield
            return
        before = meter.tokens
        expected = 0.0
        try:
            expected = self._wait(stop)
            yield
        except Exception as error:
            self._hold_back(error)
            raise
        finally:
            self._correct(meter.tokens - before, expected)

    def _wait(self, stop: Stop) -> float:
        """Wait until all rates have room, and return for how many tokens room was taken."""
        if any(each.tokens_per_minute is not None for each in self._limits):
            while not self._may_try():
                stop.sleep(_LOOK_S)
        with self._counting:
            expected = self._tokens / self._with_tokens if self._with_tokens else 0.0
        while not self._turn.acquire(timeout=_LOOK_S):
            stop.sleep(0.001)
        try:
            for limits in self._limits:
                units: dict[Kind, float] = {}
                if limits.calls_per_minute is not None:
                    units["calls"] = seconds_of(1, limits.calls_per_minute)
                if limits.tokens_per_minute is not None:
                    units["tokens"] = seconds_of(expected, limits.tokens_per_minute)
                assert self._rates is not None
                while wait := self._rates.take(limits.name, units, now()):
                    with counted_within(self._progress, "waiting"):
                        stop.sleep(min(wait, _LONGEST_LOOK_S))
        finally:
            self._turn.release()
        return expected

    def _may_try(self) -> bool:
        """Return whether a call may begin although others run.

        As long as the tokens of a call are unknown, calls are made one after the other.
        """
        with self._counting:
            if self._with_tokens or self._ended >= TRIES:
                return True
            if self._is_trying:
                return False
            self._is_trying = True
            return True

    def _correct(self, tokens: int, expected: float) -> None:
        """Correct the rates of tokens by those that a call has used."""
        with self._counting:
            self._is_trying = False
            self._ended += 1
            self._with_tokens += tokens > 0
            self._tokens += tokens
        for limits in self._limits:
            if limits.tokens_per_minute is not None and tokens != expected:
                assert self._rates is not None
                seconds = seconds_of(tokens - expected, limits.tokens_per_minute)
                self._rates.correct(limits.name, "tokens", seconds, now())

    def _hold_back(self, error: Exception) -> None:
        """Let all wait where a server has said that a limit is used up."""
        wait = asked_wait(error) if status_of(error) == _TOO_MANY else None
        if not wait or wait > LONGEST_WAIT_S or self._rates is None:
            return
        headers = headers_of(error)
        for kind, name in (("calls", "requests"), ("tokens", "tokens")):
            if headers.get(f"x-ratelimit-remaining-{name}", "").strip() == "0":
                for limits in self._limits:
                    self._rates.hold(limits.name, kind, now() + wait, now())  # type: ignore[arg-type]  # of the two above


class Limiting:
    """The budgets and rates of one execution.

    Parameters
    ----------
    run : RunLimits
        What limits it.
    progress : Progress
        Shows costs, and calls that wait for a rate.
    """

    def __init__(self, run: RunLimits, progress: Progress) -> None:
        self._progress = progress
        self.prices = run.prices
        self._run = run
        self._spent: Mapping[str, Spent] = {}
        self._rates: Rates | None = None
        self._begun = None if run.begun is None else BegunCalls(run.begun)
        vault = run.vault
        self._vault = Budget(
            owner="the budget of the vault for one execution",
            calls=vault.calls,
            cost=vault.cost,
            hint=Wording(
                "Raise it: ",
                Either("limits in vault.yaml", "`tablevault config limits.calls N`"),
                ", then go on.",
            ),
        )
        self._attempt = Budget(
            owner="what this attempt may spend",
            calls=run.max_calls,
            cost=run.max_cost,
            hint=Wording(
                "Execute again, with a larger ",
                Either("max_calls or max_cost", "--max-calls or --max-cost"),
                " or without.",
            ),
        )

    def start(self, builders: Sequence[ResolvedBuilder], ledger: Ledger) -> None:
        """Count what earlier attempts at the execution have spent, by builder."""
        budgets = (self._run.vault, *(builder.limits for builder in builders))
        spent = ledger.spent_before()
        if self._begun and any(each.has_budget for each in budgets):
            spent = self._begun.start(ledger.account.version, ledger.process, spent)
        self._spent = spent
        columns = [builder.name for builder in builders if builder.kind != "index"]
        self._vault.start(sum_of(spent[name] for name in columns if name in spent))

    def gate(self, builder: ResolvedBuilder) -> Gate:
        """Return what lets the calls of a builder begin."""
        budgets = []
        own = builder.limits
        if own.has_budget:
            budget = Budget(
                owner="the budget in its limits",
                calls=own.calls,
                cost=own.cost,
                hint=Wording("Raise it in the builder, then go on."),
            )
            budget.start(self._spent.get(builder.name, Spent()))
            budgets.append(budget)
        if builder.kind != "index":
            budgets += [
                each
                for each in (self._vault, self._attempt)
                if each.calls is not None or each.cost is not None
            ]
        if (own.has_rate or self._run.vault.has_rate) and self._run.rates is not None:
            self._rates = self._rates or Rates(self._run.rates)
        gate = Gate(builder, self._run, budgets, self._rates, self._progress)
        gate.expect(self._spent.get(builder.name, Spent()))
        if budgets and self._begun is not None:
            gate.note_in(self._begun)
        return gate

    def close(self) -> None:
        """Close the files."""
        if self._begun is not None:
            self._begun.close()
        if self._rates is not None:
            self._rates.close()


def _by_name(own: Limits, vault: Limits) -> tuple[Limits, ...]:
    """Return the rates of a builder and of the vault, each name once with the smaller rates."""
    rated = [each for each in (own, vault) if each.has_rate]
    if len(rated) == 2 and own.name == vault.name:  # noqa: PLR2004 - both of them
        return (
            Limits(
                name=own.name,
                calls_per_minute=_smaller(own.calls_per_minute, vault.calls_per_minute),
                tokens_per_minute=_smaller(own.tokens_per_minute, vault.tokens_per_minute),
            ),
        )
    return tuple(rated)


def _smaller(one: float | None, other: float | None) -> float | None:
    """Return the smaller of two rates; None is none."""
    known = [each for each in (one, other) if each is not None]
    return min(known, default=None)
