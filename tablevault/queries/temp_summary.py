"""Temporary instances for a report: builders, progress, and why the last execution failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tablevault.errors import TableVaultError
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.git.repository import Commit
from tablevault.model.temp import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import TableId, TempRef
from tablevault.queries.log import Entry, is_about, preparation, uncommitted
from tablevault.queries.partial import run_of_temp
from tablevault.queries.processes import active
from tablevault.transactions.process_history import read_past
from tablevault.vault import Vault

_MOST_TEMPS = 100
_MAKE_INSTANCES = frozenset({"execute_instance", "write_instance"})

State = Literal["running", "paused", "interrupted", "failed"]
"""``interrupted``: its program crashed. ``failed``: it ended with an error and left no commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSummary:
    """A process that has not ended, or that ended with an error."""

    process_id: str
    operation: str
    table: str
    """"" when it is about no table, as for `version`."""
    version: str
    author: str
    started: float
    """Unix s, as `stopped`."""
    stopped: float | None
    """None while it runs."""
    state: State
    error: str
    """Class and text, "" without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderProgress:
    """How many rows a builder has filled."""

    builder: str
    rows: int
    total: int | None
    """Rows of the table; None as long as the index builder runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TempSummary:
    """A temporary instance."""

    version: str
    commit: Commit
    """Its last change."""
    document: InstanceDocument
    builders: Mapping[str, str]
    """Name to git blob id."""
    progress: Sequence[BuilderProgress]
    """Builders of the last execution, in their order; empty when there was none."""
    process: ProcessSummary | None
    """The last one that was to make an instance of it."""

    @property
    def state(self) -> str:
        """State of that process; "in preparation" without one."""
        return "in preparation" if self.process is None else self.process.state


def unfinished(vault: Vault) -> list[ProcessSummary]:
    """Return the processes that have not ended, oldest first."""
    return [_unfinished(process) for process in active(vault).values()]


def temp_summaries(
    vault: Vault,
    view: VaultView,
    tables: Mapping[str, TableId],
    processes: Sequence[ProcessSummary],
) -> dict[str, list[TempSummary]]:
    """Return the temporary instances of some tables.

    Parameters
    ----------
    vault : Vault
        An opened vault.
    view : VaultView
        A view of it that was pinned with its temporary branches.
    tables : mapping of str to TableId
        Names and ids of the tables.
    processes : sequence of ProcessSummary
        From `unfinished`.
    """
    found: dict[str, list[TempSummary]] = {}
    failures = _failures(vault)
    known = [temp for temp in view.temps() if temp.ref.table in tables]
    for temp in known[:_MOST_TEMPS]:
        table = temp.ref.table
        try:
            process = next((each for each in processes if _is_of(each, temp.ref)), None)
            if process is None:
                process = _last_failure(view, temp, tables[table], failures)
            found.setdefault(table, []).append(_temp_summary(vault, temp, process))
        except TableVaultError:
            continue
    return found


def _failures(vault: Vault) -> list[Entry]:
    """Return for each name of a table and version the last process that made no instance of it."""
    latest = {
        (entry.table, entry.version): entry
        for entry in uncommitted(read_past(vault.state))
        if entry.error and entry.operation in _MAKE_INSTANCES
    }
    return sorted(latest.values(), key=lambda entry: entry.ended, reverse=True)


def _is_of(process: ProcessSummary, temp: TempRef) -> bool:
    """Return whether a process works on a temporary instance."""
    return (process.table, process.version) == (temp.table, temp.version)


def _last_failure(
    view: VaultView, temp: TempInstance, table_id: TableId, failures: Sequence[Entry]
) -> ProcessSummary | None:
    """Return the last process that failed since a temporary instance was created.

    Only this copy of the vault knows of it, since it left no commit. `failures` are newest first.
    """
    read, repository = view.catalog.read, view.repository
    candidates = (each for each in failures if each.version == temp.ref.version)
    last = next((each for each in candidates if is_about(read, each, table_id)), None)
    if last is None:
        return None
    *_, first = preparation(repository, temp.tip)
    if last.ended < repository.commit(first).time:
        return None
    return ProcessSummary(
        process_id=last.process_id,
        operation=last.operation,
        table=temp.ref.table,
        version=last.version,
        author=last.author,
        started=last.ended if last.started is None else last.started,
        stopped=last.ended,
        state="failed",
        error=last.error,
    )


def _temp_summary(vault: Vault, temp: TempInstance, process: ProcessSummary | None) -> TempSummary:
    """Describe a temporary instance."""
    return TempSummary(
        version=temp.ref.version,
        commit=temp.parts.repository.commit(temp.tip),
        document=temp.document,
        builders=dict(temp.snapshot.builders(*temp.ref)),
        progress=_progress(vault, temp),
        process=process,
    )


def _progress(vault: Vault, temp: TempInstance) -> list[BuilderProgress]:
    """Count the rows of the last execution; the index builder is the first and sets the total."""
    run = run_of_temp(vault, temp)
    if run is None:
        return []
    rows = run.progress()
    first = run.parts[0].name
    total = rows[first] if first in run.ended() else None
    return [BuilderProgress(builder=name, rows=rows[name], total=total) for name in rows]


def _unfinished(process: Mapping[str, object]) -> ProcessSummary:
    """Describe a process that has not ended."""
    given = process["data"]
    arguments = given if isinstance(given, dict) else {}
    error = process["error"]
    text = ": ".join(filter(None, map(str, error))) if isinstance(error, list) else ""
    is_running = process["is_running"] is True
    return ProcessSummary(
        process_id=str(process["process_id"]),
        operation=str(process["operation"]),
        table=str(arguments.get("table_name") or ""),
        version=str(arguments.get("version") or ""),
        author=str(process["author"]),
        started=_time(process["start_time"]),
        stopped=None if is_running else _time(process["log_time"]),
        state="running" if is_running else "paused" if text else "interrupted",
        error=text,
    )


def _time(value: object) -> float:
    """Return a time of a process as a number."""
    return float(value) if isinstance(value, int | float) else 0.0
