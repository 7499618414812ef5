"""Processes that have not ended, and whether one has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from tablevault.journal.record import Record
from tablevault.vault import Vault


class ActiveProcess(Mapping[str, object]):
    """Read-only facts of a process, as items and as attributes."""

    def __init__(self, record: Record) -> None:
        fields = asdict(record)
        self._fields: dict[str, object] = {
            "process_id": record.process_id,
            "author": record.author,
            "parent_id": record.parent,
            "start_time": record.started_at,
            "log_time": record.updated_at,
            "operation": record.request.operation,
            "complete_steps": [name for name, _ in record.steps],
            "step_times": [at for _, at in record.steps],
            "data": fields["request"]["arguments"],
            "resources": [hold.resource for hold in record.holds],
            "error": list(record.error),
            "pid": record.pid,
            "force_takedown": not record.named,
        }

    def __getitem__(self, key: str) -> object:
        """Give one fact."""
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        """Name the facts."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Count the facts."""
        return len(self._fields)

    def __getattr__(self, name: str) -> object:
        """Give one fact as an attribute."""
        fields = self.__dict__.get("_fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"an active process has no fact {name!r}")

    def __repr__(self) -> str:
        """Show all facts."""
        return f"ActiveProcess({self._fields!r})"


def active(vault: Vault) -> dict[str, ActiveProcess]:
    """Give the processes that have not ended, oldest first."""
    return {record.process_id: ActiveProcess(record) for record in vault.journal.files.every()}


def is_complete(vault: Vault, process_id: str) -> bool:
    """Tell whether a process ended, in whatever way."""
    journal = vault.journal
    if not process_id or journal.files.read(process_id) is not None:  # type: ignore[arg-type]  # any text may be asked for
        return False
    return journal.index.process(process_id) is not None or journal.files.remembers(process_id)
