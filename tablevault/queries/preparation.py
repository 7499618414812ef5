"""Temporary instances: their builders, how far an execution of them is, and why the last failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tablevault.errors import TableVaultError
from tablevault.journal.past import read_past
from tablevault.model.temp import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import TableId, TempRef
from tablevault.queries import processes
from tablevault.queries.log import Entry, is_about, preparation, uncommitted
from tablevault.queries.partial import run_of_temp
from tablevault.vault import Vault

_MOST_TEMPS = 100
_MAKE_INSTANCES = frozenset({"execute_instance", "write_instance"})

State = Literal["running", "paused", "interrupted", "failed"]
"""``interrupted``: its program is gone. ``failed``: it ended with an error and left no commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
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
class Progress:
    """How many rows a builder has filled."""

    builder: str
    rows: int
    total: int | None
    """Rows of the table; None as long as the index builder runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A temporary instance."""

    version: str
    author: str
    at: float
    """Unix s of the last change."""
    description: str
    external_edit: bool
    builders: Mapping[str, str]
    """Name to git blob id."""
    progress: tuple[Progress, ...]
    """Builders of the last execution, in their order; empty when there was none."""
    attempt: Attempt | None
    """The last try to make an instance of it."""

    @property
    def state(self) -> str:
        """State of the last try; "in preparation" without one."""
        return "in preparation" if self.attempt is None else self.attempt.state


def unfinished(vault: Vault) -> list[Attempt]:
    """Return the processes that have not ended, oldest first."""
    return [_unfinished(process) for process in processes.active(vault).values()]


def preparations(
    vault: Vault, tables: Mapping[str, TableId], attempts: Sequence[Attempt]
) -> dict[str, list[Preparation]]:
    """Return the temporary instances of some tables.

    Parameters
    ----------
    vault : Vault
        An opened vault.
    tables : mapping of str to TableId
        Names and ids of the tables.
    attempts : sequence of Attempt
        From `unfinished`.
    """
    found: dict[str, list[Preparation]] = {}
    failures = _failures(vault)
    view = vault.view(with_temps=True)
    known = [temp for temp in view.temps() if temp.ref.table in tables]
    for temp in known[:_MOST_TEMPS]:
        table = temp.ref.table
        try:
            attempt = next((each for each in attempts if _is_of(each, temp.ref)), None)
            if attempt is None:
                attempt = _last_failure(view, temp, tables[table], failures)
            found.setdefault(table, []).append(_preparation(vault, temp, attempt))
        except TableVaultError:
            continue
    return found


def _failures(vault: Vault) -> list[Entry]:
    """Return for each name of a table and version the last time that no instance came of it."""
    latest = {
        (entry.table, entry.version): entry
        for entry in uncommitted(read_past(vault.state))
        if entry.error and entry.operation in _MAKE_INSTANCES
    }
    return sorted(latest.values(), key=lambda entry: entry.ended, reverse=True)


def _is_of(attempt: Attempt, temp: TempRef) -> bool:
    """Return whether a process works on a temporary instance."""
    return (attempt.table, attempt.version) == (temp.table, temp.version)


def _last_failure(
    view: VaultView, temp: TempInstance, table_id: TableId, failures: Sequence[Entry]
) -> Attempt | None:
    """Return the latest failed try since a temporary instance was created; `failures` newest first.

    Only this copy of the vault knows of it: what failed left no commit.
    """
    read, repository = view.catalog.read, view.parts.repository
    candidates = (each for each in failures if each.version == temp.ref.version)
    last = next((each for each in candidates if is_about(read, each, table_id)), None)
    if last is None:
        return None
    *_, first = preparation(repository, temp.tip)
    if last.ended < repository.commit(first).time:
        return None
    return Attempt(
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


def _preparation(vault: Vault, temp: TempInstance, attempt: Attempt | None) -> Preparation:
    """Describe a temporary instance."""
    commit = temp.parts.repository.commit(temp.tip)
    return Preparation(
        version=temp.ref.version,
        author=commit.author,
        at=commit.time,
        description=temp.document.description,
        external_edit=temp.document.external_edit,
        builders=dict(temp.snapshot.builders(*temp.ref)),
        progress=_progress(vault, temp),
        attempt=attempt,
    )


def _progress(vault: Vault, temp: TempInstance) -> tuple[Progress, ...]:
    """Count what the last execution has made; the index builder is the first and sets the total."""
    run = run_of_temp(vault, temp)
    if run is None:
        return ()
    rows = run.progress()
    first = run.parts[0].name
    total = rows[first] if first in run.ended() else None
    return tuple(Progress(builder=name, rows=rows[name], total=total) for name in rows)


def _unfinished(process: Mapping[str, object]) -> Attempt:
    """Describe a process that has not ended."""
    given = process["data"]
    arguments = given if isinstance(given, dict) else {}
    error = process["error"]
    text = ": ".join(filter(None, map(str, error))) if isinstance(error, list) else ""
    is_running = process["is_running"] is True
    return Attempt(
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
