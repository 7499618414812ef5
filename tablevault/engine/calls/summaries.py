"""Calls as dataframes and as sums by builder, and the expected time and cost of calls."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.engine.calls.records import NO_ROW, CallRecord
from tablevault.engine.calls.store import SELECT_CALLS, CallStore
from tablevault.engine.fingerprints.fingerprint import Fingerprint

COLUMNS: Final = {
    "builder": "string",
    "row": "Int64",
    "code": "string",
    "outcome": "string",
    "made_in": "string",
    "started_at": "Float64",
    "duration_s": "Float64",
    "error": "string",
    "process": "string",
    "gen_ai.request.model": "string",
    "gen_ai.usage.input_tokens": "Int64",
    "gen_ai.usage.output_tokens": "Int64",
    "cost": "Float64",
    "attempts": "Int64",
}
"""Columns and dtypes. ``row`` is below 0 for a call of no single row, ``code`` hexadecimal,
``made_in`` the first instance that held the call, times in seconds since the epoch."""
_NAMES: Final = {
    "instance": "made_in",
    "model": "gen_ai.request.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
}
_LATEST_S: Final = 4e9
_SELECT: Final = SELECT_CALLS.replace(" FROM calls c", ", c.instance FROM calls c", 1)
_TAKEN: Final = _SELECT.replace("c.row", "f.row", 1) + " JOIN found f ON f.call = c.id"


def calls_of_file(table: pa.Table | None, instance: str = "") -> pd.DataFrame:
    """Return the calls in the file of an instance as a dataframe; an empty one without a file.

    Parameters
    ----------
    table : pyarrow.Table, optional
        Of schema `tablevault.engine.calls.call_file.SCHEMA`; untrusted input.
    instance : str
        Id of the instance.
    """
    if table is None:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in COLUMNS.items()})
    names = [next((old for old, new in _NAMES.items() if new == name), name) for name in COLUMNS]
    plain = [
        column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for column in map(table.column, names)
    ]
    dtypes = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.string(): pd.StringDtype(),
    }
    frame = pa.table(plain, [*COLUMNS]).to_pandas(types_mapper=dtypes.get)
    frame["attempts"] = frame["attempts"].astype("Int64").fillna(1)
    frame = frame.dropna(subset=["builder", "row", "outcome"])
    return _checked(frame.assign(made_in=frame["made_in"].fillna(instance)))


def calls_of_execution(store: CallStore, number: int) -> pd.DataFrame:
    """Return the calls that an execution has made so far, with failed ones, and those it reused."""
    taken = store.read(f"{_TAKEN} WHERE f.execution = ? ORDER BY c.id", (number,))
    placed = {row[0] for row in taken}
    made = store.read(f"{_SELECT} WHERE c.execution = ? ORDER BY c.id", (number,))
    return _frame([*(row for row in made if row[0] not in placed), *taken])


def totals_of_file(table: pa.Table | None) -> Iterator[tuple[str, float | None, Mapping[str, int]]]:
    """Sum up the calls of a file by builder.

    Yields
    ------
    str
        Name of the builder.
    float or None
        Total duration of its calls in seconds; the call of a generator lasts as long as its
        items. None if it was not measured.
    mapping of str to int
        Number of calls by the instance for which they were made; without the instance itself.
    """
    if table is None:
        return
    some = pa.table(
        {
            "builder": table.column("builder").cast(pa.string()),
            "instance": table.column("instance").cast(pa.string()),
            "is_whole": pc.equal(table.column("row"), NO_ROW),
            "duration_s": table.column("duration_s"),
        }
    )
    groups = some.group_by(["builder", "instance", "is_whole"])
    totals = groups.aggregate([("duration_s", "sum"), ("duration_s", "count"), ([], "count_all")])
    durations: dict[str, dict[bool, float]] = {}
    reused: dict[str, dict[str, int]] = {}
    for each in totals.to_pylist():
        builder, instance, is_whole = each["builder"], each["instance"], each["is_whole"]
        if builder is None or is_whole is None:
            continue
        measured = durations.setdefault(builder, {})
        if each["duration_s_count"]:
            measured[is_whole] = measured.get(is_whole, 0.0) + each["duration_s_sum"]
        from_others = reused.setdefault(builder, {})
        if instance is not None:
            from_others[instance] = from_others.get(instance, 0) + each["count_all"]
    for builder, measured in durations.items():
        yield builder, measured.get(True, measured.get(False)), reused[builder]


def function_of(store: CallStore, builder: str, code: object) -> tuple[str, str]:
    """Return module and function of a call; "" if its code is not recorded.

    Parameters
    ----------
    store : CallStore
        The records of this machine.
    builder : str
        Name of the builder; ``@module.function`` for a cached function.
    code : str
        Digest of the code as hexadecimal digits.
    """
    try:
        text = store.code_record(bytes.fromhex(str(code)))
    except ValueError:
        text = None
    record = {} if text is None else json.loads(text)
    module, function = str(record.get("module", "")), str(record.get("function", ""))
    if not builder.startswith("@"):
        return module, function
    name = builder.removeprefix("@")  # the code of a method is that of its class
    module = module or name.rpartition(".")[0]
    return module, name.removeprefix(f"{module}.")


def _frame(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """Return rows of `_SELECT` as a dataframe, each call once.

    A call that an accepted change of code keeps is recorded again under its new key. The later
    record has the row, the earlier one the code that really ran.
    """
    held = [(CallRecord._make(fields), made_in) for *fields, made_in in rows]
    codes: dict[object, bytes] = {}
    latest: dict[object, int] = {}
    for call, _ in sorted(held, key=lambda each: each[0].id):
        codes.setdefault(_made(call), call.code)
        latest[_made(call)] = call.id
    frame = pd.DataFrame(
        [
            (*call._replace(code=codes[_made(call)]), made_in)
            for call, made_in in held
            if latest[_made(call)] == call.id
        ],
        columns=[*CallRecord._fields, "instance"],
        dtype=object,
    )
    frame["code"] = [code.hex() for code in frame["code"]]
    frame["started_at"] = frame["started_at"].where(frame["started_at"] != 0.0, None)
    frame["duration_s"] = frame["duration_s"].where(frame["started_at"].notna(), None)
    return _checked(frame.rename(columns=_NAMES)[[*COLUMNS]].astype(COLUMNS))


def _made(call: CallRecord) -> object:
    """Return the fields that all records of one call share."""
    return call.builder, call.inputs, call.process, call.started_at


def _checked(calls: pd.DataFrame) -> pd.DataFrame:
    """Replace impossible times and costs, which untrusted input may hold, by null."""
    started, cost = calls["started_at"], calls["cost"]
    return calls.assign(
        started_at=started.where((started > 0) & (started < _LATEST_S)),
        cost=cost.where(cost.abs() < float("inf")),
    )


_LATEST_CALLS: Final = 100_000
"""Latest calls of all code among which those of one function are searched."""
_USED_CALLS: Final = 1000
_SPENT: Final = (
    "SELECT duration_s, cost FROM calls WHERE id > (SELECT max(id) FROM calls) - ?1"
    " AND code IN (SELECT id FROM codes"
    " WHERE hex(digest) IN (SELECT upper(value) FROM json_each(?4)))"
    " AND outcome = 'ok' AND duration_s > 0 AND (row = ?2) = ?3 ORDER BY id DESC LIMIT ?5"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Mean time and cost of earlier calls; None if there are none.

    Attributes
    ----------
    seconds : float, optional
        Duration of a call.
    cost : float, optional
        Its cost, in the currency of the reports.
    """

    seconds: float | None = None
    cost: float | None = None


def expected(store: CallStore, code: Fingerprint, *, whole: bool) -> Expected:
    """Return the expected time and cost of a call: by this code, else by earlier code.

    Parameters
    ----------
    store : CallStore
        The records.
    code : Fingerprint
        Fingerprint of the function.
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
    found = store.read(_SPENT, (_LATEST_CALLS, NO_ROW, whole, digests, _USED_CALLS))
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
    """Return the mean; None if there are no values."""
    return sum(values) / len(values) if values else None
