"""Vault summary: tables, instances and temporary instances, and their lineage, for a report.

Nothing is fetched and nothing is run. The summary is bounded: the latest instances of each table
have details, earlier ones have none, and the oldest are only counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tablevault.errors import TableVaultError
from tablevault.history.catalog import operation_log
from tablevault.history.catalog.operation_log import Entry
from tablevault.history.commits.documents import InstanceDocument, TableDocument, VaultDocument
from tablevault.history.git.repository import Commit
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import Table, VaultView
from tablevault.names import TableId, TempRef, index_builder
from tablevault.queries import log
from tablevault.queries.calls import run_of_temp
from tablevault.queries.instance_summary import (
    Allowance,
    DetailsReader,
    InstanceSummary,
    SourceText,
)
from tablevault.queries.lineage import LineageEdge, LineageNode, missing_node, node_of
from tablevault.queries.log import is_about, preparation, uncommitted
from tablevault.queries.processes import ProcessSummary, unfinished
from tablevault.queries.status import TableStatus, status
from tablevault.transactions.records import read_history
from tablevault.vault import Vault

_MOST_ARGUMENTS = 12
_REFERENCE = re.compile(r"<<[^<>]*(?:<<[^<>]*>>[^<>]*)*>>")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSettings:
    """What a person sets in a builder, as it is written there."""

    name: str
    text_id: str
    """Git id of its text."""
    function: str
    """Module and function."""
    columns: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    """Name and value; one that only passes a reference on is left out."""
    more_arguments: int
    versions: tuple[str, ...] = ()
    """Versions that have it, with the state of a temporary instance; empty when all have it."""


def builder_settings(name: str, text_id: str, text: str) -> BuilderSettings:
    """Return the settings of a builder; a text that is no builder has a name only."""
    from tablevault.engine.builders.document import read_written

    written = read_written(text)
    given = [each for each in written.arguments if not _REFERENCE.fullmatch(each[1])]
    return BuilderSettings(
        name=name,
        text_id=text_id,
        function=".".join(filter(None, (written.module, written.function))),
        columns=written.columns,
        arguments=tuple(given[:_MOST_ARGUMENTS]),
        more_arguments=max(0, len(given) - _MOST_ARGUMENTS),
    )


_MOST_TEMPS = 100
_MAKE_INSTANCES = frozenset({"execute_instance", "write_instance"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderProgress:
    """How many rows a builder has filled."""

    builder: str
    rows: int
    total: int | None
    """Rows of the table; None as long as the index builder runs."""
    failed: int
    """Rows that failed and have no result."""
    first_failed: int | None


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
        for entry in uncommitted(read_history(vault.state))
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
    failed = run.failed()
    return [
        BuilderProgress(
            builder=name,
            rows=rows[name],
            total=total,
            failed=failed.get(name, (0, None))[0],
            first_failed=failed.get(name, (0, None))[1],
        )
        for name in rows
    ]


_MOST_TABLES = 300
_MOST_LISTED = 1_000
_MOST_DETAILED, _DETAILED_OF_ALL = 25, 500
_MOST_COMPARED, _COMPARED_OF_ALL = 10, 150
_CELLS_OF_ALL = 30_000_000
_BYTES_OF_ALL = 256 << 20
_MOST_OPERATIONS = 25
_MOST_SETTINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSummary:
    """One table."""

    name: str
    document: TableDocument | None
    """None when it cannot be read, for the reason in `problem`."""
    problem: str
    instances: Sequence[InstanceSummary]
    """Newest first."""
    more: int
    """Instances that are left out."""
    temps: Sequence[TempSummary]
    stale: Mapping[str, TableStatus]
    """By their ids, the current instances that are stale or behind."""
    settings: Sequence[BuilderSettings]
    """Of the builders of `current` and of `temps`."""
    more_settings: int

    @property
    def current(self) -> Sequence[InstanceSummary]:
        """The current instance of each version, the newest first."""
        return [each for each in self.instances if each.is_current]

    @property
    def latest(self) -> InstanceSummary | None:
        """The newest of the current instances."""
        return next(iter(self.current), None)

    @property
    def kept(self) -> int:
        """How many instances are not deleted."""
        return sum(not each.instance.deleted_at for each in self.instances) + self.more

    @property
    def states(self) -> Sequence[str]:
        """States of current and of temporary instances, and whether calls failed; each once."""
        found = ["current" if each.instance.success else "partial" for each in self.current]
        found += [each.state for each in self.stale.values()]
        found += ["errors" for each in self.current if each.instance.errors]
        return list(dict.fromkeys([*found, *(each.state for each in self.temps)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSummary:
    """A vault, or one table of it, as it is at one commit."""

    name: str
    """Of the folder."""
    document: VaultDocument
    commit: Commit
    table: str
    """The one table that was asked for, "" for all."""
    tables: Sequence[TableSummary]
    """In the order of their creation."""
    more_tables: int
    nodes: Mapping[str, LineageNode]
    """Instances in the lineage by their ids, deleted ones and those not in this history too."""
    current: Collection[str]
    """Ids of those that readers of their version get unless they name an instance."""
    edges: Sequence[LineageEdge]
    texts: Mapping[str, SourceText]
    operations: Sequence[Entry]
    """The latest, newest first."""
    more_operations: bool
    unfinished: Sequence[ProcessSummary]
    """Processes that have not ended, but for those of `TableSummary.temps`."""

    @property
    def instance_count(self) -> int:
        """How many instances of the tables are not deleted."""
        return sum(table.kept for table in self.tables)


def vault_summary(vault: Vault, table: str = "") -> VaultSummary:
    """Describe a vault, or one table of it.

    Raises
    ------
    TVArgumentError
        There is no such table.
    """
    vault = Vault(path=vault.path, author=vault.author)  # it fetches nothing
    view = vault.view(with_temps=True)
    tables = [view.table(table)] if table else _by_age(view)
    shown = tables[:_MOST_TABLES]
    reader = DetailsReader(vault, Allowance(0, 0, 0))
    processes = unfinished(vault)
    documents = {each.name: _document(each) for each in shown}
    ids = {each.name: each.id for each in shown if isinstance(documents[each.name], TableDocument)}
    temps = temp_summaries(vault, view, ids, processes)
    stale = _stale(vault)
    summaries = [
        _table(reader, each, temps.get(each.name, []), stale, len(shown)) for each in shown
    ]
    listed = {each.id for summary in summaries for each in summary.instances}
    if table:
        listed = operation_log.related(view.catalog.read, listed)
    nodes, current, edges = _lineage(view, listed)
    operations = log.entries(vault, table, "", _MOST_OPERATIONS + 1)
    in_tables = [each.process for some in temps.values() for each in some]
    return VaultSummary(
        name=vault.path.name,
        document=view.snapshot.vault(),
        commit=vault.repository.commit(view.commit),
        table=table,
        tables=summaries,
        more_tables=len(tables) - len(shown),
        nodes=nodes,
        current=current,
        edges=edges,
        texts=reader.texts,
        operations=operations[:_MOST_OPERATIONS],
        more_operations=len(operations) > _MOST_OPERATIONS,
        unfinished=[
            each for each in processes if table in ("", each.table) and each not in in_tables
        ],
    )


def _stale(vault: Vault) -> Mapping[str, TableStatus]:
    """Return the current instances that are stale or behind, by their ids.

    Where the document of a table cannot be read, which the page tells, that is not known.
    """
    try:
        return {each.instance_id: each for each in status(vault).tables if each.reasons}
    except TableVaultError:
        return {}


def _by_age(view: VaultView) -> list[Table]:
    """List the tables in the order of their creation, those with a broken document last."""
    created = view.catalog.created_order()

    def age(table: Table) -> tuple[bool, str, str]:
        document = _document(table)
        is_broken = isinstance(document, TableVaultError)
        return is_broken, "" if is_broken else created.get(table.id, ""), table.name

    return sorted(view.tables(), key=age)


def _document(table: Table) -> TableDocument | TableVaultError:
    """Read the document of a table; return the error for one that cannot be read."""
    try:
        return table.document
    except TableVaultError as error:
        return error


# -- tables -------------------------------------------------------------------------------------


def _table(
    reader: DetailsReader,
    table: Table,
    temps: Sequence[TempSummary],
    stale: Mapping[str, TableStatus],
    tables: int,
) -> TableSummary:
    """Describe a table; `tables` are described in all."""
    document = _document(table)
    is_broken = isinstance(document, TableVaultError)
    every = [] if is_broken else table.view.instances_of(table.view.catalog.with_deleted(table.id))
    instances = _instances(reader, table, every, tables)
    settings, more_settings = _settings(reader, table.name, instances, temps)
    return TableSummary(
        name=table.name,
        document=document if isinstance(document, TableDocument) else None,
        problem=document.wording if isinstance(document, TableVaultError) else "",
        instances=instances,
        more=max(0, len(every) - _MOST_LISTED),
        temps=temps,
        stale={each.id: stale[each.id] for each in instances if each.id in stale},
        settings=settings,
        more_settings=more_settings,
    )


def _settings(
    reader: DetailsReader,
    table: str,
    instances: Sequence[InstanceSummary],
    temps: Sequence[TempSummary],
) -> tuple[list[BuilderSettings], int]:
    """Return the settings of the builders that count now, and how many of them are left out."""
    texts = [
        (each.instance.version, each.details.document.builders)
        for each in instances
        if each.is_current and each.details is not None
    ]
    texts += [(f"{temp.version} ({temp.state})", temp.builders) for temp in temps if temp.builders]
    versions: dict[tuple[str, str], list[str]] = {}
    for version, builders in texts:
        for named in builders.items():
            versions.setdefault(named, []).append(version)
    ordered = sorted(versions, key=lambda named: (named[0] != index_builder(table), named[0]))
    found = []
    for name, text_id in ordered[:_MOST_SETTINGS]:
        source = reader.text("builder", name, text_id)
        if source is not None:
            of = versions[name, text_id]
            settings = builder_settings(name, text_id, "\n".join(source.lines))
            found.append(replace(settings, versions=() if len(of) == len(texts) else tuple(of)))
    return found, max(0, len(ordered) - _MOST_SETTINGS)


def _instances(
    reader: DetailsReader, table: Table, every: Sequence[Instance], tables: int
) -> list[InstanceSummary]:
    """Describe the instances of a table, newest first; `every` has the oldest first."""
    if not every:
        return []
    entries = operation_log.creation_entries(table.view.catalog.read, table.id)
    before: dict[str, Instance | None] = {}
    last: dict[str, Instance] = {}
    current: dict[str, str] = {}
    for each in every:
        before[each.instance_id] = None if each.deleted_at else last.get(each.version)
        if not each.deleted_at:
            last[each.version] = each
            if each.active:
                current[each.version] = each.instance_id
    # Each table has its share, so that a large one leaves something for the others.
    allowance = reader.allowance
    allowance.comparisons = max(1, min(_MOST_COMPARED, _COMPARED_OF_ALL // tables))
    allowance.cells, allowance.size = _CELLS_OF_ALL // tables, _BYTES_OF_ALL // tables
    detailed = max(2, min(_MOST_DETAILED, _DETAILED_OF_ALL // tables))
    found = []
    for place, each in enumerate(every[::-1][:_MOST_LISTED]):
        previous = before[each.instance_id]
        is_current = current.get(each.version) == each.instance_id
        earlier = None if previous is None else entries.get(previous.instance_id)
        details = None
        if place < detailed:
            details = reader.details(each, previous, with_head=is_current)
        summary = InstanceSummary(
            instance=each,
            entry=entries.get(each.instance_id),
            rows_before=None if earlier is None else earlier.rows,
            is_current=is_current,
            details=details,
        )
        found.append(summary)
    return found


# -- lineage --------------------------------------------------------------------------------------


def _lineage(
    view: VaultView, ids: Collection[str]
) -> tuple[Mapping[str, LineageNode], Collection[str], Sequence[LineageEdge]]:
    """Return instances and their sources, the current ones of them, and what came from what."""
    sources = [each for each in operation_log.sources(view.catalog.read, ids) if each.source_id]
    known = view.catalog.instances_with_ids({*ids, *(each.source_id for each in sources)})
    names = {
        table.id: table.name
        for table in view.tables()
        if isinstance(_document(table), TableDocument)
    }
    nodes = {str(each.instance_id): node_of(each, names) for each in known}
    for each in sources:
        if each.source_id not in nodes:
            nodes[each.source_id] = missing_node(each.source_id, each.table_name or "?")
    latest = (
        view.catalog.latest(table_id, version, active=True, successful=False)
        for table_id, version in {(each.table_id, each.version) for each in known}
    )
    return (
        nodes,
        {each.instance_id for each in latest if each is not None},
        [
            LineageEdge(source_id=each.source_id, instance_id=each.instance_id, kind=each.kind)
            for each in sources
            if each.instance_id in nodes
        ],
    )
