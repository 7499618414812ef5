"""Counts the calls that are lost with deleted instances: those that no other instance holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tablevault.engine.calls.call_file import KEY_BYTES
from tablevault.render import counted

_ROWS_AT_ONCE: Final = 1 << 16
_MOST_ROWS: Final = 10_000_000
"""Limit of rows of deleted instances that are counted, and of rows of others that are compared:
each takes about three seconds."""
_ROWS_UNSORTED: Final = 1 << 20
_ROWS_TO_OPEN: Final = 5_000
"""Opening a file takes as long as comparing so many rows."""
_COLUMNS: Final = ("builder", "key", "code", "outcome", "cost")
_UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, KeyError)

Keys: TypeAlias = npt.NDArray[np.uint64]
"""A hash of inputs and code for each call; the probability of a collision among a million different
calls is one in forty million."""
Costs: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenCalls:
    """Calls that can no longer be reused.

    Attributes
    ----------
    calls : int
        Number of calls; an upper bound unless `is_exact`.
    cost : float, optional
        Their cost, as far as functions reported it; None if none did.
    is_exact : bool
        False if files of the remaining instances are missing or unreadable, or there are too many
        rows to compare.
    uncounted : int
        Deleted instances whose file is missing, unreadable, or beyond the limit.
    """

    calls: int
    cost: float | None
    is_exact: bool
    uncounted: int

    def __str__(self) -> str:
        """Return a sentence for people; "" if nothing is forgotten."""
        found = []
        if self.calls:
            most = "" if self.is_exact else "at most "
            cost = "" if self.cost is None else f", cost {self.cost:,.6g}"
            number = counted(self.calls, "call")
            found.append(f"Forgets {most}{number} that no other instance holds{cost}.")
        if self.uncounted:
            whose = counted(self.uncounted, "instance")
            found.append(f"The calls of {whose} were not counted.")
        return " ".join(found)


def forgotten_calls(gone: Iterable[Path | None], others: Iterable[Path | None]) -> ForgottenCalls:
    """Count the calls in some files that are in none of the others.

    Takes sixteen bytes of memory for each different call, and those of a million rows.

    Parameters
    ----------
    gone : iterable of Path or None
        Files of the deleted instances, the newest first; None for a missing one.
    others : iterable of Path or None
        Files of the remaining instances; read until all calls are found.
    """
    keys, costs, uncounted = _held_in(gone)
    is_left, is_exact = _not_held(keys, others)
    known = costs[is_left & ~np.isnan(costs)]
    return ForgottenCalls(
        calls=int(is_left.sum()),
        cost=float(known.sum()) if len(known) else None,
        is_exact=is_exact,
        uncounted=uncounted,
    )


def _held_in(paths: Iterable[Path | None]) -> tuple[Keys, Costs, int]:
    """Return the keys in files, sorted, with their costs, and the number of files not read."""
    found = [(np.empty(0, np.uint64), np.empty(0, np.float64))]
    rows = unsorted = uncounted = 0
    for path in paths:
        if rows > _MOST_ROWS:
            uncounted += 1
            continue
        rows += _ROWS_TO_OPEN
        try:
            for each in _read(path):
                found.append(each)
                rows += len(each[0])
                unsorted += len(each[0])
        except _UNREADABLE:
            uncounted += 1
        if unsorted > max(_ROWS_UNSORTED, len(found[0][0])):
            found, unsorted = [_united(found)], 0
    return *_united(found), uncounted


def _united(found: Sequence[tuple[Keys, Costs]]) -> tuple[Keys, Costs]:
    """Return each key once, sorted, with its cost."""
    keys, first = np.unique(np.concatenate([each for each, _ in found]), return_index=True)
    return keys, np.concatenate([each for _, each in found])[first]


def _not_held(keys: Keys, others: Iterable[Path | None]) -> tuple[npt.NDArray[np.bool_], bool]:
    """Return which keys are in none of the files, and whether all files were compared."""
    is_left, is_exact, rows = np.ones(len(keys), np.bool_), True, 0
    for path in others if len(keys) else ():
        if rows > _MOST_ROWS:
            return is_left, False
        rows += _ROWS_TO_OPEN
        try:
            for held, _ in _read(path):
                rows += len(held)
                held.sort()  # searchsorted is faster on sorted values
                at = np.minimum(np.searchsorted(keys, held), len(keys) - 1)
                is_left[at[keys[at] == held]] = False
        except _UNREADABLE:
            is_exact = False
        if not is_left.any():
            return is_left, True
    return is_left, is_exact


def _read(path: Path | None) -> Iterator[tuple[Keys, Costs]]:
    """Yield keys and costs of the successful calls in a file, in batches.

    Index builders are left out, as in budgets: most run in every execution.
    """
    if path is None:
        raise FileNotFoundError("the file is not here")
    file = pq.ParquetFile(path)
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[*_COLUMNS]):
        builders, outcomes = (batch[name].cast(pa.string()) for name in ("builder", "outcome"))
        is_wanted = pc.and_(pc.is_valid(batch["key"]), pc.not_equal(outcomes, "error"))
        is_index = pc.ends_with(builders, "_index")
        some = batch.filter(pc.and_(is_wanted, pc.invert(is_index)))
        keys = some["key"]
        raw = np.frombuffer(
            keys.buffers()[1], np.uint8, len(keys) * KEY_BYTES, keys.offset * KEY_BYTES
        )
        first = raw.reshape(-1, KEY_BYTES)[:, :8].copy().view(np.uint64)[:, 0]
        codes = some["code"].dictionary_encode()
        numbers = np.array([_number(code) for code in codes.dictionary.to_pylist()], np.uint64)
        of_code = numbers[codes.indices.to_numpy(zero_copy_only=False)]
        yield first ^ of_code, some["cost"].to_numpy(zero_copy_only=False)


def _number(code: str | None) -> int:
    """Return a hash of the digest of a code."""
    digest = hashlib.blake2b((code or "").encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
