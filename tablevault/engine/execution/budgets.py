"""What calls may cost: budgets, and a file that counts calls when they begin."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.spending import Spent
from tablevault.engine.execution.concurrency import Stop
from tablevault.errors import TVBudgetError
from tablevault.limits_and_prices import Limits, Price
from tablevault.render import counted
from tablevault.wording import Wording

_LOOK_S: Final = 0.05
TRIES: Final = 3
"""After so many calls without a report there will be none."""
_log = logging.getLogger("tablevault")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What limits the calls of one execution, besides what its builders say.

    Attributes
    ----------
    vault : Limits
        Those of the vault.
    prices : mapping of str to Price
        What tokens cost, by model.
    max_calls : int, optional
        Calls that this attempt may make.
    max_cost : float, optional
        What they may cost.
    rates : Path, optional
        File of rates that are shared with other processes; without it, no rate is kept.
    begun : Path, optional
        Folder in which calls under a budget are counted when they begin; without it, budgets do
        not know of calls that a kill interrupted.
    """

    vault: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=lambda: MappingProxyType({}))
    max_calls: int | None = None
    max_cost: float | None = None
    rates: Path | None = None
    begun: Path | None = None


class BegunCalls:
    """Counts calls when they begin and when they end, by builder; for several threads.

    There is one file for each version of a table. Its first line says for which process; each
    other one has a builder, calls that began, calls that ended, and what these cost. Lines are not
    synced: they outlive the process, and a power cut leaves only what has a record.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def start(self, version: str, process: str, recorded: Mapping[str, Spent]) -> dict[str, Spent]:
        """Go on counting.

        Parameters
        ----------
        version : str
            Names the version of a table.
        process : str
            Id of the process.
        recorded : mapping of str to Spent
            What its earlier attempts spent, as far as there are records, by builder.

        Returns
        -------
        dict of str to Spent
            The same with calls that have no record. Each of those that did not end counts as much
            as the dearest one that did: a budget is not to be exceeded.
        """
        path = self._folder / _digest(version)
        head = _digest(process)
        spent = dict(recorded)
        for builder, found in _read(path, head).items():
            known = spent.get(builder, Spent())
            if found.calls > known.calls:
                spent[builder] = known._replace(calls=found.calls, cost=found.cost)
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        lines = (_line(name, each.calls, each.calls, each.cost) for name, each in spent.items())
        beside.write_text(f"{head}\n{''.join(lines)}", encoding="utf-8")
        beside.replace(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return spent

    def add(self, builder: str) -> None:
        """Count a call that begins."""
        self._write(_line(builder, 1, 0, 0.0))

    def end(self, builder: str, cost: float) -> None:
        """Count a call that has ended, and cost so much."""
        self._write(_line(builder, 0, 1, cost))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: str) -> None:
        """Append a line, at once."""
        if self._file is not None:
            os.write(self._file, line.encode())


def _line(builder: str, begun: int, ended: int, cost: float | None) -> str:
    """Return a line of the file."""
    return f"{builder}\t{begun}\t{ended}\t{cost or 0.0!r}\n"


def _read(path: Path, head: str) -> dict[str, Spent]:
    """Return what a file says of a process, by builder; nothing if it is about another one."""
    try:
        first, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, ValueError):
        return {}
    sums: dict[str, list[float]] = {}
    for line in lines if first == head else ():
        builder, *texts = line.split("\t")
        try:
            begun, ended, cost = map(float, texts)
        except ValueError:
            continue  # a power cut may have left half a line
        if math.isfinite(begun + ended + cost):
            total = sums.setdefault(builder, [0.0, 0.0, 0.0, 0.0])
            dearest = max(total[3], cost / ended if ended else 0.0)
            sums[builder] = [total[0] + begun, total[1] + ended, total[2] + cost, dearest]
    return {
        builder: Spent(calls=int(begun), cost=cost + (begun - ended) * dearest if ended else None)
        for builder, (begun, ended, cost, dearest) in sums.items()
    }


def _digest(text: str) -> str:
    """Return a name of fixed length."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True, kw_only=True)
class Budget:
    """A number of calls, and an amount of money; for several threads.

    What calls cost is known afterwards. So while calls are under way that may use up the rest,
    others wait: not more than the last of them costs is spent beyond the amount. As long as none
    has shown what it costs, up to the third, one is made after the other.

    Attributes
    ----------
    owner : str
        What the errors call it.
    calls, cost : optional
        What there is.
    hint : Wording
        Where it can be raised.
    """

    owner: str
    calls: int | None
    cost: float | None
    hint: Wording
    spent_calls: int = 0
    spent_cost: float = 0.0
    _running: int = 0
    _ended: int = 0
    _largest: float = 0.0
    _has_cost: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self, spent: Spent) -> None:
        """Count what was spent before."""
        self.spent_calls = spent.calls
        self.spent_cost = spent.cost or 0.0

    def check(self, builder: ResolvedBuilder, calls: int) -> None:
        """Raise TVBudgetError where so many calls more are too many."""
        if self.calls is not None and self.spent_calls + calls > self.calls:
            raise self._used_up(builder, counted(self.calls, "call"))

    def begin(self, builder: ResolvedBuilder, stop: Stop) -> None:
        """Count a call that begins; wait as long as those that run may use up the money.

        Raises
        ------
        TVBudgetError
            There is nothing left.
        """
        while True:
            with self._changed:
                if self.calls is not None and self.spent_calls >= self.calls:
                    raise self._used_up(builder, counted(self.calls, "call"))
                if self.cost is not None and self.spent_cost >= self.cost:
                    raise self._used_up(builder, f"a cost of {self.cost:g}")
                if self._is_enough():
                    self.spent_calls += 1
                    self._running += 1
                    return
                self._changed.wait(_LOOK_S)
            stop.sleep(0.001)

    def charge(self, cost: float) -> None:
        """Count money that was spent."""
        with self._changed:
            self.spent_cost += cost
            self._has_cost = True

    def end(self, cost: float) -> None:
        """Count a call that has ended, and cost so much."""
        with self._changed:
            self._running -= 1
            self._ended += 1
            self._largest = max(self._largest, cost)
            if self.cost is not None and not self._has_cost and self._ended == TRIES:
                _log.warning(
                    "Nothing is charged to %s, %g: the first %d calls reported no cost. Report it "
                    "with report_usage, or set prices.MODEL in the vault.",
                    self.owner,
                    self.cost,
                    TRIES,
                )
            self._changed.notify_all()

    def _is_enough(self) -> bool:
        """Return whether there is money for one more call while others run."""
        if self.cost is None or not self._running:
            return True
        if not self._largest:
            return self._ended >= TRIES
        return self.spent_cost + self._running * self._largest < self.cost

    def _used_up(self, builder: ResolvedBuilder, what: str) -> TVBudgetError:
        """Make the error for a call that there is nothing left for."""
        return TVBudgetError(
            f'Builder "{builder.name}": {self.owner}, {what}, is used up. What is finished is '
            "kept, and is not paid for again.",
            self.hint,
            builder=builder.name,
        )
