"""One attempt at an execution: what earlier ones kept, and what this one notes for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

from tablevault.journal.operation import Operation, TempDraft
from tablevault.journal.record import Json
from tablevault.names import ProcessId
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.checkpoint import Part
    from tablevault.engine.row_log import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What a paused execution holds on to, so that it goes on as it began.

    Attributes
    ----------
    sources : sequence of (str, str, str)
        Table, selector and instance id of references.
    origin : str, optional
        Id of the instance that it started from, "" when there was none; None for an execution
        that has not begun.
    """

    sources: Sequence[tuple[str, str, str]] = ()
    origin: str | None = None


def fixed_by(vault: Vault, process_id: str) -> Fixed:
    """Give what a paused execution holds on to; nothing for a new one."""
    record = vault.journal.files.read(ProcessId(process_id)) if process_id else None
    if record is None or "sources" not in record.plan:
        return Fixed()
    return Fixed(
        sources=cast("Sequence[tuple[str, str, str]]", record.plan["sources"]),
        origin=cast("str", record.plan.get("origin", "")),
    )


class Attempt:
    """Keeps what is finished in the folder of the temporary instance, until it is materialised.

    Implements :class:`tablevault.engine.checkpoint.Checkpoint`. Between two rows, and between two
    builders, it lets the process be stopped.

    Parameters
    ----------
    vault : Vault
        The vault.
    operation : Operation
        The execution. What an earlier one left is removed, unless it is the same process.
    draft : TempDraft
        Its temporary instance.
    decided : callable
        Says, when the first function is about to be called, to what the process holds on.
    """

    def __init__(
        self,
        vault: Vault,
        operation: Operation,
        draft: TempDraft,
        decided: Callable[[], Mapping[str, Json]],
    ) -> None:
        from tablevault.engine.checkpoint import FileCheckpoint

        folder = vault.journal.checkpoints.folder(draft.tip)
        self._kept = FileCheckpoint(folder, operation.process_id)
        self._operation = operation
        self._decided = decided

    def __enter__(self) -> Self:
        """Open; it is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._kept.close()

    def begin(self, parts: Sequence[Part]) -> None:
        """Note the builders, and what was decided."""
        self._kept.begin(parts)
        self._operation.note(self._decided())

    def finished(self, builder: str) -> dict[str, pd.Series] | None:
        """Give the columns of a builder that ended in an earlier attempt."""
        self._operation.check()
        return self._kept.finished(builder)

    def rows(self, builder: str, columns: Sequence[str]) -> dict[int, Values]:
        """Give the rows that an earlier attempt finished."""
        return self._kept.rows(builder, columns)

    def append(self, builder: str, row: int, values: Values) -> None:
        """Keep a finished row."""
        self._kept.append(builder, row, values)
        self._operation.check()

    def check(self) -> None:
        """Raise TVProcessError when somebody wants the process to stop."""
        self._operation.check()

    def finish(self, builder: str, columns: Mapping[str, pd.Series]) -> None:
        """Keep the columns of a builder that ended, a step of the process."""
        self._kept.finish(builder, columns)
        self._operation.step(builder)
        self._operation.check()
