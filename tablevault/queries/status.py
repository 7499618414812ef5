"""What of a vault is up to date, what is stale and why, and what is in preparation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tablevault import render
from tablevault.errors import TableVaultError
from tablevault.names import TempRef
from tablevault.queries.inputs import Place
from tablevault.queries.processes import ProcessSummary, unfinished
from tablevault.queries.staleness import Staleness
from tablevault.vault import Vault

State = Literal["current", "stale", "behind", "inactive", "missing"]
Work = Literal["", "in preparation", "running", "paused", "interrupted"]

COLUMNS = ("table", "state", "rows", "made", "reason", "temporary instance")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStatus:
    """A version of a table: its current instance, which was materialised last, and what is next.

    Attributes
    ----------
    name, version : str
        The table, and the version; "" for a table that has neither instances nor temporary ones.
    instance_id : str
        The current instance, "" when there is none.
    state : str
        "current": executing it again would change nothing, as far as that can be seen without
        calling a function. "stale": see `reasons`. "behind": it becomes stale if a table that it
        reads changes, which is stale or behind itself. "inactive": superseded, so it is not read.
        "missing": there is no instance.
    reasons : tuple of str
        Why it is stale, or behind; empty when it is not.
    errors : int
        Rows whose calls failed and were kept as errors.
    rows : int
        Rows of the current instance.
    materialized_at : str
        When it was made, RFC 3339, UTC; "" when there is none.
    work : str
        The work on the temporary instance: "" when there is none, else "in preparation",
        "running", "paused", or "interrupted" where the program crashed.
    process_id : str
        The process that works on it, or waits to go on; "" when there is none.
    """

    name: str
    version: str
    instance_id: str = ""
    state: State = "missing"
    reasons: tuple[str, ...] = ()
    errors: int = 0
    rows: int = 0
    materialized_at: str = ""
    work: Work = ""
    process_id: str = ""

    @property
    def is_stale(self) -> bool:
        """Whether `refresh` would execute it again."""
        return self.state == "stale"

    @property
    def reason(self) -> str:
        """All reasons in one text."""
        return "; ".join(self.reasons)

    @property
    def place(self) -> str:
        """Table and version as ``reviews/base``, the table alone when it has no version."""
        return f"{self.name}/{self.version}" if self.version else self.name

    @property
    def shown_work(self) -> str:
        """The work on the temporary instance, and its process."""
        return f"{self.work} ({self.process_id})" if self.process_id else self.work

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of `COLUMNS`."""
        made = self.materialized_at[:19].replace("T", " ")
        rows = f"{self.rows:,}" if self.instance_id else ""
        return self.place, self.state, rows, made, self.reason, self.shown_work

    def __str__(self) -> str:
        """Describe it in a line."""
        text = ": ".join(filter(None, (self.state, self.reason)))
        return f"{self.place}: {text}" + (f" [{self.shown_work}]" if self.work else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Which tables are stale, and why; :meth:`tablevault.TableVault.status` makes it.

    Attributes
    ----------
    tables : tuple of TableStatus
        One for each version of each table, by name.
    """

    tables: tuple[TableStatus, ...]

    @property
    def stale(self) -> tuple[TableStatus, ...]:
        """Those that are stale."""
        return tuple(each for each in self.tables if each.is_stale)

    @property
    def note(self) -> str:
        """The numbers in a sentence."""
        if not self.tables:
            return "There are no tables."
        if not self.stale:
            return "Nothing is stale."
        return f"{len(self.stale):,} of {len(self.tables):,} stale."

    def __str__(self) -> str:
        """Show each version of each table as a line, and the numbers."""
        return "\n".join([*map(str, self.tables), self.note])

    def __repr__(self) -> str:
        """Show the same."""
        return str(self)

    def _repr_html_(self) -> str:
        """Show a table in a notebook; its texts are escaped."""
        return render.table_html(self.note, COLUMNS, [each.cells for each in self.tables])


def status(vault: Vault) -> Status:
    """Compare all current instances with what would be made now."""
    view = vault.view()
    staleness = Staleness(vault, view)
    names = set(view.table_names.values())
    temps = {Place(*each.ref): each.ref for each in view.temps() if each.ref.table in names}
    processes = {Place(each.table, each.version): each for each in unfinished(vault)}
    places = {*staleness.instances, *temps}
    empty = names.difference(place.table for place in places)
    found = [
        _table_status(staleness, place, (temps.get(place), processes.get(place)))
        for place in places
    ]
    found = _with_behind(staleness, found)
    found += [TableStatus(name=name, version="") for name in empty]
    return Status(tables=tuple(sorted(found, key=lambda each: (each.name, each.version))))


def _with_behind(staleness: Staleness, tables: Iterable[TableStatus]) -> list[TableStatus]:
    """Mark what is current as long as nothing is refreshed that it reads."""
    found = {Place(each.name, each.version): each for each in tables}
    stale = [place for place, each in found.items() if each.is_stale]
    for place, read in staleness.behind(stale).items():
        if found[place].state == "current":
            reasons = tuple(f"reads {each}, which is {found[each].state}" for each in read)
            found[place] = replace(found[place], state="behind", reasons=reasons)
    return [*found.values()]


def _table_status(
    staleness: Staleness, place: Place, next_one: tuple[TempRef | None, ProcessSummary | None]
) -> TableStatus:
    """Describe one place; a document that cannot be read is a reason."""
    work, process = _work(*next_one)
    instance = staleness.instances.get(place)
    if instance is None:
        return TableStatus(name=place.table, version=place.version, work=work, process_id=process)
    errors = rows = 0
    try:
        current = staleness.current(place)
        errors, rows = current.document.errors, current.document.rows
        reasons = staleness.reasons(place)
    except TableVaultError as error:
        reasons = (error.message,)
    return TableStatus(
        name=place.table,
        version=place.version,
        instance_id=instance.instance_id,
        state="inactive" if not instance.active else "stale" if reasons else "current",
        reasons=reasons,
        errors=errors,
        rows=rows,
        materialized_at=instance.materialized_at,
        work=work,
        process_id=process,
    )


def _work(ref: TempRef | None, process: ProcessSummary | None) -> tuple[Work, str]:
    """Return the work on a temporary instance, and its process."""
    if process is not None and process.state != "failed":
        return process.state, process.process_id
    return ("", "") if ref is None else ("in preparation", "")
