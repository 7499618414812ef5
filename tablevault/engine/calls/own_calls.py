"""The calls that earlier attempts of an execution have made: read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tablevault.engine.calls.keys import ARGUMENTS_BYTES
from tablevault.engine.calls.records import WHOLE, CallRecord
from tablevault.engine.calls.store import CallStore

_LATEST: Final = (
    "SELECT max(id) FROM calls WHERE EXISTS"
    " (SELECT 1 FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL)"
)
_COUNT: Final = (
    "SELECT count(*) FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL"
)
_WHOLE: Final = (
    "SELECT 1 FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL AND row = ?"
)
_CODES: Final = (
    "SELECT k.digest, count(*) FROM calls c JOIN codes k ON k.id = c.code WHERE c.id IN"
    " (SELECT max(id) FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL"
    " GROUP BY inputs) GROUP BY k.digest ORDER BY min(c.id)"
)
_OWN: Final = " AND +c.execution = ? AND c.builder = ? AND c.id <= ?"
"""The plus sign keeps SQLite from reading all calls of the execution to find some."""
_BY_ARGUMENTS: Final = (
    "SELECT 1 FROM calls WHERE length(inputs) = ? AND builder NOT LIKE '@%' LIMIT 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCalls:
    """The results that an execution itself had of a builder at some moment.

    Attributes
    ----------
    store : CallStore
        Where they are.
    execution : int
        Number of the execution.
    builder : str
        Name of the builder.
    latest : int
        Number of the latest call of the store at that moment; 0 where the builder had none.
    """

    store: CallStore
    execution: int
    builder: str
    latest: int

    def find(self, inputs: Iterable[bytes]) -> dict[bytes, CallRecord]:
        """Find calls by inputs; of several with the same inputs the latest."""
        if not self.latest:
            return {}
        return self.store.find_where(inputs, _OWN, (self.execution, self.builder, self.latest))

    def count(self) -> int:
        """Return how many there are."""
        ((count,),) = self._read(_COUNT) if self.latest else [(0,)]
        return int(count)

    def has_whole(self) -> bool:
        """Return whether the call for a whole table is among them."""
        return bool(self._read(_WHOLE, WHOLE))

    def codes(self) -> dict[bytes, int]:
        """Return the digests of the code that made them, and how many calls each has made."""
        return dict(self._read(_CODES))

    def _read(self, sql: str, *more: object) -> list[tuple[Any, ...]]:
        """Read what a query selects."""
        return self.store.read(sql, (self.execution, self.builder, *more))


def own_calls(store: CallStore, execution: int, builder: str) -> OwnCalls:
    """Return the results that an execution itself has of a builder by now."""
    found = store.read(_LATEST, (execution, builder))
    latest = next((number for (number,) in found if number), 0)
    return OwnCalls(store=store, execution=execution, builder=builder, latest=latest)


def has_calls_by_arguments(store: CallStore) -> bool:
    """Return whether there are calls of builders that are found by their arguments alone."""
    return bool(store.read(_BY_ARGUMENTS, (ARGUMENTS_BYTES,)))
