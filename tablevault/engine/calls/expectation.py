"""What calls of a function are expected to take: the mean of those that were made."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from tablevault.engine.calls.call_record import WHOLE
from tablevault.engine.calls.store import CallStore
from tablevault.engine.fingerprints.fingerprint import Fingerprint

_LATEST_CALLS: Final = 100_000
"""Among so many calls of all code those of one function are looked for."""
_USED_CALLS: Final = 1000
_SPENT: Final = (
    "SELECT c.duration_s, c.cost FROM (SELECT * FROM calls ORDER BY id DESC LIMIT ?1) c"
    " JOIN codes k ON k.id = c.code WHERE c.outcome = 'ok' AND c.duration_s > 0"
    " AND (c.row = ?2) = ?3 AND hex(k.digest) IN (SELECT upper(value) FROM json_each(?4)) LIMIT ?5"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one call takes, the mean of earlier ones; None where nothing is known.

    Attributes
    ----------
    seconds : float, optional
        How long it takes.
    cost : float, optional
        What it costs, in the currency of whoever reported it.
    """

    seconds: float | None = None
    cost: float | None = None


def expected(store: CallStore, code: Fingerprint, *, whole: bool) -> Expected:
    """Return what calls of a function take: by this code, else by other code of it.

    Parameters
    ----------
    store : CallStore
        The calls that were made.
    code : Fingerprint
        Of the function.
    whole : bool
        Whether it is called once for the whole table.
    """
    found = _spent(store, [code.digest], whole=whole) or _spent(
        store, _codes_of(store, code.module, code.function), whole=whole
    )
    return Expected(
        seconds=_mean([seconds for seconds, _ in found]),
        cost=_mean([cost for _, cost in found if cost is not None]),
    )


def _spent(
    store: CallStore, codes: Collection[bytes], *, whole: bool
) -> list[tuple[float, float | None]]:
    """Return time and cost of the latest calls of some code."""
    digests = json.dumps([code.hex() for code in codes])
    found = store.read(_SPENT, (_LATEST_CALLS, WHOLE, whole, digests, _USED_CALLS))
    return [(seconds, cost) for seconds, cost in found]


def _codes_of(store: CallStore, module: str, function: str) -> set[bytes]:
    """Return the digests of all code that a function has had."""
    records = store.read("SELECT digest, record FROM codes WHERE record IS NOT NULL", ())
    noted = ((digest, json.loads(record)) for digest, record in records)
    return {
        digest
        for digest, record in noted
        if (record["module"], record["function"]) == (module, function)
    }


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return sum(values) / len(values) if values else None
