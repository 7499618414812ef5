"""Calls as a dataframe: those that an instance holds, or an execution that has not ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.engine.calls.call_record import WHOLE, CallRecord
from tablevault.engine.calls.store import SELECT_CALLS, CallStore

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
"""Columns and dtypes. ``row`` is below 0 where a call is of no row, ``code`` hexadecimal,
``made_in`` the instance that held a call first, times in seconds, since the epoch."""
_NAMES: Final = {
    "instance": "made_in",
    "model": "gen_ai.request.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
}
_LATEST_S: Final = 4e9
_SELECT: Final = SELECT_CALLS.replace(" FROM calls c", ", c.instance FROM calls c", 1)
_TAKEN: Final = _SELECT.replace("c.row", "f.row", 1) + " JOIN found f ON f.call = c.id"


def listed(table: pa.Table | None, instance: str = "") -> pd.DataFrame:
    """Return the calls of a file that belongs to an instance; none where there is no file.

    Parameters
    ----------
    table : pyarrow.Table, optional
        Of schema `tablevault.engine.calls.call_file.SCHEMA`; it may come from anywhere.
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


def recorded_of_execution(store: CallStore, number: int) -> pd.DataFrame:
    """Return the calls that an execution has made so far, failed ones too, and those it took."""
    taken = store.read(f"{_TAKEN} WHERE f.execution = ? ORDER BY c.id", (number,))
    placed = {row[0] for row in taken}
    made = store.read(f"{_SELECT} WHERE c.execution = ? ORDER BY c.id", (number,))
    return _frame([*(row for row in made if row[0] not in placed), *taken])


def summed(table: pa.Table | None) -> Iterator[tuple[str, float | None, Mapping[str, int]]]:
    """Sum up the calls of a file by builder.

    Yields
    ------
    str
        Name of the builder.
    float or None
        How long its calls took together, in seconds; that of a generator lasts as long as its
        items. None where nobody measured.
    mapping of str to int
        Instances for which calls were made, and how many; without that of the file.
    """
    if table is None:
        return
    some = pa.table(
        {
            "builder": table.column("builder").cast(pa.string()),
            "instance": table.column("instance").cast(pa.string()),
            "is_whole": pc.equal(table.column("row"), WHOLE),
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
    """Return module and function of a call; "" where nobody has noted what its code is.

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

    After a change of code that was accepted a call is recorded again under its new key. The later
    record has the row, the earlier one the code that has really run.
    """
    held = [(CallRecord._make(fields), made_in) for *fields, made_in in rows]
    codes: dict[object, bytes] = {}
    latest: dict[object, int] = {}
    for call, _ in sorted(held, key=lambda each: each[0].id):
        codes.setdefault(_made(call), call.code)
        latest[_made(call)] = call.id
    cells = [
        (
            call.builder,
            call.row,
            codes[_made(call)].hex(),
            call.outcome,
            made_in,
            call.started_at or None,
            call.duration_s if call.started_at else None,
            call.error,
            call.process,
            call.model,
            call.input_tokens,
            call.output_tokens,
            call.cost,
            call.attempts,
        )
        for call, made_in in held
        if latest[_made(call)] == call.id
    ]
    return _checked(pd.DataFrame(cells, columns=[*COLUMNS], dtype=object).astype(COLUMNS))


def _made(call: CallRecord) -> object:
    """Return what all records of one call have in common."""
    return call.builder, call.inputs, call.process, call.started_at


def _checked(calls: pd.DataFrame) -> pd.DataFrame:
    """Leave out times and costs that cannot be, which a file from elsewhere may hold."""
    started, cost = calls["started_at"], calls["cost"]
    return calls.assign(
        started_at=started.where((started > 0) & (started < _LATEST_S)),
        cost=cost.where(cost.abs() < float("inf")),
    )
