"""The calls of an instance: what was asked, when, at what cost, and where it was reused from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.model.instance import Instance
from tablevault.model.temp import TempInstance
from tablevault.model.view import Table
from tablevault.names import TempRef, is_temp_id, version_of
from tablevault.queries.call_files import read_calls
from tablevault.queries.partial import run_of_temp
from tablevault.vault import Vault
from tablevault.wording import Call, Parameter, Wording

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {
    "builder": "string",
    "row": "Int64",
    "outcome": "string",
    "made_in": "string",
    "started_at": "datetime64[us, UTC]",
    "duration_s": "Float64",
    "error": "string",
    "process": "string",
    "module": "string",
    "function": "string",
    "code": "string",
    "gen_ai.request.model": "string",
    "gen_ai.usage.input_tokens": "Int64",
    "gen_ai.usage.output_tokens": "Int64",
    "cost": "Float64",
    "attempts": "Int64",
}
"""Columns of the answer; those of the primary key come behind ``row``."""
_BEFORE_KEY = 2
_OUTCOMES = ("", "ok", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummary:
    """The calls of a builder that an instance holds.

    Attributes
    ----------
    duration_s : float, optional
        How long those took together that took a millisecond; None where none did.
    reused_from : mapping of str to int
        Instances in which calls were made, and how many; without the instance itself.
    """

    duration_s: float | None
    reused_from: Mapping[str, int]


def get_calls(
    vault: Vault, table: str, instance_id: str = "", version: str = "", *, outcome: str = ""
) -> pd.DataFrame:
    """Return the calls of an instance; its id is in ``attrs["instance_id"]``."""
    if outcome not in _OUTCOMES:
        raise TVArgumentError(
            Wording("Argument ", Parameter("get_calls", "outcome"), f' is "{outcome}".'),
            'It has to be "ok" or "error", or empty for all calls.',
            argument="outcome",
        )
    calls = _calls(vault, table, instance_id, version)
    if not outcome:
        return calls
    of_outcome = (calls["outcome"] == "ok") == (outcome == "ok")
    return calls[of_outcome.fillna(value=False)].reset_index(drop=True)


def _calls(vault: Vault, table_name: str, instance_id: str, version: str) -> pd.DataFrame:
    """Return all calls of an instance."""
    from tablevault.engine.calls.listing import listed
    from tablevault.frames.parquet import read_frame

    table = vault.view().table(table_name)
    if is_temp_id(instance_id):
        return _of_temp(vault, table.temp(version_of(instance_id)))
    instance = table.instance(instance_id) if instance_id else _latest(vault, table, version)
    document = instance.document
    file = read_calls(instance)
    calls = listed(None if file is None else file.table, instance.instance_id)
    shown = _shown(vault, calls, tuple(document.builders), instance.builders())
    key = list(document.primary_key)
    if key and len(calls):
        shown = _with_key(shown, read_frame(instance.frame_file(), columns=key))
    shown.attrs["instance_id"] = str(instance.instance_id)
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call whose row stayed null."""

    builder: str
    row: int
    error: str


def failures(instance: Instance) -> list[FailedCall]:
    """List the calls that failed for rows without a result; none where their file is not here."""
    from tablevault.engine.calls.listing import listed

    file = read_calls(instance, fetch=False)
    if file is None:
        return []
    calls = listed(file.table, instance.instance_id)
    calls = calls[calls["row"] >= 0].drop_duplicates(["builder", "row"], keep="last")
    failed = calls[calls["outcome"] != "ok"].fillna({"error": ""})
    return [
        FailedCall(builder=str(builder), row=int(row), error=str(error))
        for builder, row, error in zip(
            failed["builder"], failed["row"], failed["error"], strict=True
        )
    ]


def summaries(instance: Instance) -> dict[str, CallSummary]:
    """Sum up by builder the calls that an instance holds; empty where their file is not here."""
    from tablevault.engine.calls.listing import summed

    file = read_calls(instance, fetch=False)
    return {
        builder: CallSummary(duration_s=duration_s, reused_from=reused_from)
        for builder, duration_s, reused_from in summed(None if file is None else file.table)
    }


def _latest(vault: Vault, table: Table, version: str) -> Instance:
    """Find the latest instance; an error names the calls of an execution that has not ended."""
    try:
        return table.latest(version)
    except TVTableError as error:
        ref = TempRef(table=table.name, version=version)
        temp = table.view.temp(ref) if version else None
        if temp is None or run_of_temp(vault, temp) is None:
            raise
        raise TVTableError(
            error.message,
            Wording(
                "Calls of an execution that has not ended: ",
                Call("get_calls", table_name=table.name, instance_id=ref.instance_id),
                ".",
            ),
            **error.facts,
        ) from error


def _of_temp(vault: Vault, temp: TempInstance) -> pd.DataFrame:
    """Return the calls of the execution that runs on a temporary instance, or ran last.

    Those of rows that it keeps of instances are among them.
    """
    import pandas as pd

    from tablevault.engine.calls.held import kept_calls
    from tablevault.engine.calls.listing import listed, recorded_of_execution

    run = run_of_temp(vault, temp)
    builders = () if run is None else tuple(part.name for part in run.parts)
    key = () if run is None else run.parts[0].primary_key
    calls = listed(None)
    if run is not None:
        kept = [table for name, rows in run.kept().items() for table in kept_calls(name, rows)]
        made = recorded_of_execution(vault.calls, run.number)
        calls = pd.concat([made, *map(listed, kept)], ignore_index=True)
    shown = _shown(vault, calls, builders, temp.builders())
    if run is not None and key and len(calls):
        shown = _with_key(shown, run.frame(key))
    shown.attrs["instance_id"] = str(temp.instance_id)
    return shown


def _shown(
    vault: Vault, calls: pd.DataFrame, builders: Sequence[str], texts: Mapping[str, bytes]
) -> pd.DataFrame:
    """Return calls as they are shown: by builder and row, failed ones first; rows without place."""
    import pandas as pd

    places = {name: place for place, name in enumerate(builders)}
    shown = calls.assign(
        _place=calls["builder"].map(places).astype("Float64").fillna(len(places)),
        _is_of_row=calls["row"].fillna(-1) >= 0,
        _has_value=calls["outcome"] == "ok",
    ).sort_values(
        ["_place", "builder", "_is_of_row", "row", "_has_value", "started_at"],
        ascending=[True, True, False, True, True, True],
        kind="stable",
        ignore_index=True,
    )
    functions = _functions(vault, shown, texts)
    started = (shown["started_at"] * 1e6).round().astype("Int64")
    return pd.DataFrame(
        {
            **shown,
            "row": shown["row"].where(shown["_is_of_row"]),
            "started_at": pd.to_datetime(started, unit="us", utc=True),
            "module": [module or None for module, _ in functions],
            "function": [function or None for _, function in functions],
        }
    )[[*_DTYPES]].astype(_DTYPES)


def _functions(
    vault: Vault, calls: pd.DataFrame, texts: Mapping[str, bytes]
) -> list[tuple[str, str]]:
    """Return module and function of each call: as recorded here, else as the builder names them."""
    from tablevault.engine.builders.document import read_written
    from tablevault.engine.calls.listing import function_of

    known: dict[tuple[str, str], tuple[str, str]] = {}
    found = []
    for builder, code in zip(calls["builder"], calls["code"], strict=True):
        if (builder, code) not in known:
            place = function_of(vault.calls, builder, code)
            if not any(place) and builder in texts:
                written = read_written(texts[builder].decode("utf-8", "replace"))
                place = written.module, written.function
            known[builder, code] = place
        found.append(known[builder, code])
    return found


def _with_key(shown: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """Add the primary key of each row; null for a call that belongs to no row."""
    places = shown["row"].fillna(-1).astype("int64").to_numpy()
    found = key.reset_index(drop=True).reindex(places).reset_index(drop=True)
    for at, name in enumerate(found.columns):
        label = f"key.{name}" if name in _DTYPES else name
        shown.insert(_BEFORE_KEY + at, label, found[name])
    return shown
