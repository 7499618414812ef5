"""Processes that have not ended, and whether one has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tablevault.names import is_process_id
from tablevault.queries.calls import run_of_process
from tablevault.transactions.records import Record
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording


class ActiveProcess(Mapping[str, object]):
    """Read-only facts of a process, as items and as attributes; ``str`` gives them as JSON.

    Attributes
    ----------
    process_id : str
        The id that was given, or a random one.
    operation : str
        The method that was called.
    author : str
        Who called it.
    parent_id : str
        The process in whose function it was called, "" when there is none.
    start_time : float
        When it began, Unix seconds.
    log_time : float
        When its record was written last, Unix seconds.
    complete_steps : list of str
        What is done.
    step_times : list of float
        When each of them was, Unix seconds.
    data : dict
        Its arguments, and under ``plan`` what it has decided.
    resources : list of str
        What it holds.
    start_success : bool
        True: an operation is listed once all is checked that can be checked in advance.
    execution_success : bool or None
        False when it failed and is paused.
    error : list of str
        Class and text of that failure, both "" without one.
    pid : int
        The program that ran it last.
    force_takedown : bool
        An error ends it, since no id was given.
    is_running : bool
        A program runs it now.
    rows : dict of str to int
        Finished rows of each builder of an execution.
    errors : dict of str to int
        Rows that failed and have no result, of builders that have any.
    cost : dict of str to float
        What the process has spent on builders whose functions report it.
    log : str
        File with what an execution in the background prints, else "".
    """

    def __init__(self, vault: Vault, record: Record) -> None:
        self._fields = _facts(vault, record)

    def __getitem__(self, key: str) -> object:
        """Return one fact."""
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        """Name the facts."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Count the facts."""
        return len(self._fields)

    def __getattr__(self, name: str) -> object:
        """Return one fact as an attribute."""
        fields = self.__dict__.get("_fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"an active process has no fact {name!r}")

    def __repr__(self) -> str:
        """Show all facts."""
        return f"ActiveProcess({self._fields!r})"

    def __str__(self) -> str:
        """Format all facts as JSON, without the arguments: these may be long."""
        import json

        shown = {key: value for key, value in self._fields.items() if key != "data"}
        return json.dumps(shown, indent=4, default=str)


def _facts(vault: Vault, record: Record) -> dict[str, object]:
    """Return all of a process; it is in the journal only once its setup has succeeded."""
    run = run_of_process(vault, record)
    arguments = dict(record.request.arguments)
    log = str(vault.parts.log_file(record.process_id)) if arguments.get("background") else ""
    return {
        "process_id": record.process_id,
        "author": record.author,
        "parent_id": record.parent,
        "start_time": record.started_at,
        "log_time": record.updated_at,
        "operation": record.request.operation,
        "complete_steps": [name for name, _ in record.steps],
        "step_times": [at for _, at in record.steps],
        "data": {**arguments, **({"plan": dict(record.plan)} if record.plan else {})},
        "resources": list(dict.fromkeys(hold.resource for hold in record.holds)),
        "start_success": True,
        "execution_success": False if record.error[0] else None,
        "error": list(record.error),
        "pid": record.pid,
        "force_takedown": not record.named,
        "is_running": vault.records.is_alive(record.process_id),
        "rows": {} if run is None else run.progress(),
        "errors": {} if run is None else run.errors(),
        "cost": {} if run is None else run.cost(),
        "log": log,
    }


def active(vault: Vault) -> dict[str, ActiveProcess]:
    """Return the processes that have not ended, oldest first."""
    return {record.process_id: ActiveProcess(vault, record) for record in vault.records.every()}


def is_complete(vault: Vault, process_id: str) -> bool:
    """Return whether a process ended, in whatever way."""
    if not is_process_id(process_id) or vault.records.read(process_id) is not None:
        return False
    catalog = vault.view(with_temps=True).catalog
    return catalog.process(process_id) is not None or vault.records.remembers(process_id)


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
    """Class and text, "" without one; calls that it names are those of a `Wording`."""
    advice: str = ""
    """How to go on with it or give it up, "" while it runs and when it has ended."""


def unfinished(vault: Vault) -> list[ProcessSummary]:
    """Return the processes that have not ended, oldest first."""
    return [_summary(vault, record) for record in vault.records.every()]


def _summary(vault: Vault, record: Record) -> ProcessSummary:
    """Describe a process that has not ended."""
    arguments, (kind, text) = record.request.arguments, record.error
    is_running = vault.records.is_alive(record.process_id)
    return ProcessSummary(
        process_id=record.process_id,
        operation=record.request.operation,
        table=str(arguments.get("table_name") or ""),
        version=str(arguments.get("version") or ""),
        author=record.author,
        started=record.started_at,
        stopped=None if is_running else record.updated_at,
        state="running" if is_running else "paused" if kind else "interrupted",
        error=Wording(kind, ": ", text) if text else kind,
        advice="" if is_running else _advice(record),
    )


def _advice(record: Record) -> Wording:
    """Return how to go on with a process that has stopped, or to give it up."""
    restart = Call("TableVault", db_dir=BLANK, restart=True)
    resume = record.resumption if record.named else Wording("Run ", restart)
    stop = Call("stop_process", to_stop_process_id=record.process_id)
    return Wording(resume, " to go on with it, or give it up: ", stop, ".")
