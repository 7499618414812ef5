"""The calls of instances and executions: listed, summed up, and found again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError, TVArgumentError, TVTableError
from tablevault.history.catalog import operation_log
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import Table
from tablevault.names import TempRef, is_temp_id, version_of
from tablevault.transactions.records import Record
from tablevault.vault import Vault
from tablevault.wording import Call, Parameter, Wording

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.calls.call_file import CallFile, CallSource, CallSources
    from tablevault.engine.execution.partial import PartialRun


_log = logging.getLogger("tablevault")


def call_sources(table: Table, origin: Instance | None) -> CallSources:
    """Return the instances whose calls an execution of a table may find.

    The calls of its origin are brought from a remote when they are not here. Those of the other
    instances of the table count where they are here, the newest ones first.
    """
    from tablevault.engine.calls.call_file import CallSources

    return CallSources(
        origin=None if origin is None else _source(origin), others=_others(table, origin)
    )


def source_of(vault: Vault, instance_id: str) -> CallSource | None:
    """Return the calls and the dataframe of an instance; nothing is brought from a remote.

    None when the instance was deleted, or its dataframe is not here.
    """
    view = vault.view()
    instance = view.instance(instance_id)
    view.release()  # for what is read later
    if instance is None or instance.deleted_at or not instance.has_frame():
        return None
    return _source(instance, fetch=False)


def _source(instance: Instance, *, fetch: bool = True) -> CallSource:
    """Return the calls of an instance, which are read when they are asked for."""
    from tablevault.engine.calls.call_file import CallSource

    return CallSource(
        instance=instance.instance_id,
        calls=cache(lambda: read_calls(instance, fetch=fetch)),
        frame=cache(lambda: _frame(instance)),
    )


def _others(table: Table, origin: Instance | None) -> Iterator[CallSource]:
    """Yield the other instances of a table, the newest ones first."""
    for each in reversed(table.instances()):
        if origin is None or each.instance_id != origin.instance_id:
            yield _source(each, fetch=False)


def _frame(instance: Instance) -> pd.DataFrame | None:
    """Read the dataframe of an instance; None when it cannot be had."""
    from tablevault.frames.parquet import read_frame

    try:
        return read_frame(instance.frame_file())
    except TableVaultError as error:
        _log.warning("The calls of %s are left out: %s", instance.instance_id, error)
        return None


def read_calls(instance: Instance, *, fetch: bool = True) -> CallFile | None:
    """Read the calls of an instance; None when it has none that can be believed.

    Parameters
    ----------
    fetch : bool, default True
        Whether to bring them from a remote when they are not here.
    """
    from tablevault.engine.calls.call_file import CallFile, CallFileError

    store = instance.parts.store
    try:
        pointer = instance.calls_pointer
        if pointer is None or not (fetch or store.has(pointer)):
            return None
        return CallFile.read(store.file(pointer), instance.document.digest)
    except (TableVaultError, CallFileError) as error:
        _log.warning("The calls of %s are left out: %s", instance.instance_id, error)
        return None


# -- executions ---------------------------------------------------------------------------------


def run_of_temp(vault: Vault, temp: TempInstance) -> PartialRun | None:
    """Find the execution that runs or ran last on a temporary instance; None when none did."""
    from tablevault.engine.execution.partial import find_run

    find_source = cache(lambda instance: source_of(vault, instance))
    return find_run(vault.calls, temp.creation, find_source)


def run_of_process(vault: Vault, record: Record) -> PartialRun | None:
    """Find what a process has made; None when it makes nothing, or has not begun to."""
    table, version = (record.request.arguments.get(key) for key in ("table_name", "version"))
    if record.request.operation != "execute_instance" or not (
        isinstance(table, str) and isinstance(version, str)
    ):
        return None
    temp = vault.temp(TempRef(table=table, version=version))
    run = None if temp is None else run_of_temp(vault, temp)
    return run if run is not None and run.process_id == record.process_id else None


def finished_rows(vault: Vault, table: str, version: str) -> dict[str, int]:
    """Count the finished rows of each builder of a temporary instance; empty when there is none."""
    temp = vault.temp(TempRef(table=table, version=version))
    run = None if temp is None else run_of_temp(vault, temp)
    return {} if run is None else run.progress()


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
    from tablevault.engine.calls.summaries import calls_of_file
    from tablevault.frames.parquet import read_frame

    table = vault.view().table(table_name)
    if is_temp_id(instance_id):
        return _of_temp(vault, table.temp(version_of(instance_id)))
    instance = table.instance(instance_id) if instance_id else _latest(vault, table, version)
    document = instance.document
    file = read_calls(instance)
    calls = calls_of_file(None if file is None else file.table, instance.instance_id)
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


def failures(file: CallFile) -> list[FailedCall]:
    """List the calls that failed for rows without a result."""
    from tablevault.engine.calls.summaries import calls_of_file

    calls = calls_of_file(file.table)
    calls = calls[calls["row"] >= 0].drop_duplicates(["builder", "row"], keep="last")
    failed = calls[calls["outcome"] != "ok"].fillna({"error": ""})
    return [
        FailedCall(builder=str(builder), row=int(row), error=str(error))
        for builder, row, error in zip(
            failed["builder"], failed["row"], failed["error"], strict=True
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCall:
    """The call that filled cells of a row."""

    row: int
    builder: str
    started_at: float | None
    """Unix seconds; None for a call of under a millisecond, as is its duration."""
    duration_s: float | None
    code: str
    """Fingerprint of the code that made it."""
    made_in: str
    """Id of the instance that it was made in."""


def calls_of_rows(file: CallFile, instance_id: str, count: int) -> list[RowCall]:
    """List the calls that filled the first rows of an instance."""
    import pyarrow.compute as pc

    from tablevault.engine.calls.summaries import calls_of_file

    of_rows = (pc.field("row") >= 0) & (pc.field("row") < count)
    calls = calls_of_file(file.table.filter(of_rows), instance_id)
    calls = calls[calls["outcome"] == "ok"].sort_values("row", kind="stable")
    names = [each.name for each in fields(RowCall)]
    plain = calls.fillna({"code": ""})[names].astype(object)
    plain = plain.where(plain.notna(), None)
    return [
        RowCall(**dict(zip(names, record, strict=True)))
        for record in plain.itertuples(index=False, name=None)
    ]


def forgotten_with(table: Table, gone: Sequence[Instance]) -> str:
    """Return how many calls are forgotten when instances of a table are deleted, as a sentence.

    Calls that another instance of the table holds, or one that was copied from the table, are not
    forgotten. No file is brought from a remote.

    Returns
    -------
    str
        A sentence; "" where nothing is forgotten.
    """
    view, deleted = table.view, {each.instance_id for each in gone}
    files = list(_call_paths(gone[::-1]))  # the newest holds most
    if not files:
        return ""
    from tablevault.engine.calls.forgotten import forgotten_calls

    copies = view.catalog.instances_with_ids(operation_log.copies(view.catalog.read, table.id))
    others = (
        each
        for each in (*table.instances()[::-1], *view.instances_of(copies))
        if not each.deleted_at and each.instance_id not in deleted
    )
    return str(forgotten_calls(files, _call_paths(others)))


def _call_paths(instances: Iterable[Instance]) -> Iterator[Path | None]:
    """Yield the files of the calls of instances that have any; None for one that is not here."""
    for each in instances:
        store = each.parts.store
        try:
            if each.calls_pointer is not None:
                is_here = store.has(each.calls_pointer)
                yield store.file(each.calls_pointer) if is_here else None
        except TableVaultError:
            yield None


def summaries(instance: Instance) -> dict[str, CallSummary]:
    """Sum up by builder the calls that an instance holds; empty where their file is not here."""
    from tablevault.engine.calls.summaries import totals_of_file

    file = read_calls(instance, fetch=False)
    return {
        builder: CallSummary(duration_s=duration_s, reused_from=reused_from)
        for builder, duration_s, reused_from in totals_of_file(None if file is None else file.table)
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

    from tablevault.engine.calls.instance_calls import kept_calls
    from tablevault.engine.calls.summaries import calls_of_execution, calls_of_file

    run = run_of_temp(vault, temp)
    builders = () if run is None else tuple(part.name for part in run.parts)
    key = () if run is None else run.parts[0].primary_key
    calls = calls_of_file(None)
    if run is not None:
        kept = [table for name, rows in run.kept().items() for table in kept_calls(name, rows)]
        made = calls_of_execution(vault.calls, run.number)
        calls = pd.concat([made, *map(calls_of_file, kept)], ignore_index=True)
    shown = _shown(vault, calls, builders, temp.builders())
    if run is not None and key and len(calls):
        shown = _with_key(shown, run.frame(key))
    shown.attrs["instance_id"] = str(temp.instance_id)
    return shown


def _shown(
    vault: Vault, calls: pd.DataFrame, builders: Sequence[str], texts: Mapping[str, bytes]
) -> pd.DataFrame:
    """Return calls as they are shown: by builder and row, failed ones first, then as recorded."""
    import pandas as pd

    places = {name: place for place, name in enumerate(builders)}
    shown = calls.assign(
        _place=calls["builder"].map(places).astype("Float64").fillna(len(places)),
        _is_of_row=calls["row"].fillna(-1) >= 0,
        _has_value=calls["outcome"] == "ok",
    ).sort_values(
        ["_place", "builder", "_is_of_row", "row", "_has_value"],
        ascending=[True, True, False, True, True],
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
    from tablevault.engine.calls.summaries import function_of

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
