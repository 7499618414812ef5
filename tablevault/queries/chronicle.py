"""All that a vault can tell of itself at once: tables, their instances, what came from what.

Nothing is fetched and nothing is run. What is told is bounded: the latest of each table in full,
earlier ones in a line, and counts of what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tablevault.errors import TableVaultError
from tablevault.history import logbook
from tablevault.history.index import IndexedInstance
from tablevault.history.logbook import LogEntry
from tablevault.history.snapshot import Snapshot
from tablevault.names import TableId, temp_of_ref, version_of
from tablevault.queries import log, processes
from tablevault.queries.change import Allowance
from tablevault.queries.logged import Entry
from tablevault.queries.making import Making, Reader, SourceText
from tablevault.queries.partial import run_of_temp
from tablevault.queries.resolve import Temp, find_table, temp_or_none
from tablevault.vault import Vault

_MOST_TABLES = 300
_MOST_LISTED = 1_000
_MOST_DETAILED, _DETAILED_OF_ALL = 25, 500
_MOST_COMPARED, _COMPARED_OF_ALL = 10, 150
_CELLS_OF_ALL = 30_000_000
_BYTES_OF_ALL = 256 << 20
_MOST_OPERATIONS = 25
_MOST_DRAFTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One materialised instance."""

    instance_id: str
    version: str
    at: str
    """RFC 3339, UTC."""
    author: str
    operation: str
    rows: int | None
    """None when that is not known, as for ``rows_before``."""
    rows_before: int | None
    """Rows of the instance before it in its version."""
    duration_s: float | None
    """From the start of the process, pauses included."""
    success: bool
    active: bool
    current: bool
    """What readers of its version get unless they name an instance."""
    deleted_at: str
    deleted_by: str
    undone: bool
    """It is gone because its making was undone."""
    making: Making | None
    """None for those that are told in a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A temporary instance."""

    version: str
    author: str
    at: float
    """Unix s of the last change."""
    description: str
    external_edit: bool
    builders: tuple[str, ...]
    progress: tuple[tuple[str, int], ...]
    """Builders of an execution that has not ended, and the rows that they made so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table."""

    name: str
    description: str
    created_by: str
    created_at: str
    multiple_artifacts: bool
    side_effects: bool
    problem: str
    """Why nothing can be told of it, "" mostly."""
    instances: tuple[Instance, ...]
    """Newest first."""
    more: int
    """Instances that are left out."""
    drafts: tuple[Draft, ...]

    @property
    def latest(self) -> Instance | None:
        """What readers get unless they name an instance."""
        return next((each for each in self.instances if each.current), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An instance in the lineage, perhaps one that is not here."""

    instance_id: str
    table: str
    version: str
    at: str
    """"" when it is not in this history."""
    success: bool
    active: bool
    gone: bool
    """Deleted, or not in this history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One instance was made from another one."""

    source: str
    target: str
    kind: str
    """``depends`` or ``origin``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A process that runs, is paused, or crashed."""

    process_id: str
    operation: str
    author: str
    started: float
    where: str
    is_running: bool
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chronicle:
    """A vault, or one table of it, as it is at one commit."""

    name: str
    """Of the folder."""
    description: str
    created_by: str
    created_at: str
    commit: str
    at: float
    """Unix s of that commit."""
    table: str
    """The one table that was asked for, "" for all."""
    tables: tuple[Table, ...]
    """In the order of their creation."""
    more_tables: int
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    texts: Mapping[str, SourceText]
    operations: tuple[Entry, ...]
    """The latest, newest first."""
    more_operations: bool
    unfinished: tuple[Unfinished, ...]


def chronicle(vault: Vault, table: str = "") -> Chronicle:
    """Tell of a vault, or of one table.

    Raises
    ------
    TVArgumentError
        There is no such table.
    """
    # An object that is not here stays where it is.
    vault = Vault(path=vault.path, author=vault.author)
    snapshot = vault.snapshot()
    document = snapshot.vault()
    if table:
        find_table(vault, snapshot, table)
    names = [table] if table else _by_age(vault, snapshot)
    shown = names[:_MOST_TABLES]
    reader = Reader(vault, Allowance(0, 0, 0))
    drafts = _drafts(vault, shown)
    tables = tuple(_table(reader, snapshot, name, drafts, len(shown)) for name in shown)
    nodes, edges = _lineage(vault, snapshot, tables, alone=bool(table))
    operations = log.entries(vault, table, "", _MOST_OPERATIONS + 1)
    head = vault.journal.repository.commit(snapshot.commit)
    return Chronicle(
        name=vault.path.name,
        description=document.description,
        created_by=document.created_by,
        created_at=document.created_at,
        commit=snapshot.commit,
        at=head.time,
        table=table,
        tables=tables,
        more_tables=len(names) - len(shown),
        nodes=nodes,
        edges=edges,
        texts=reader.texts,
        operations=tuple(operations[:_MOST_OPERATIONS]),
        more_operations=len(operations) > _MOST_OPERATIONS,
        unfinished=tuple(_unfinished(vault, table)),
    )


def _by_age(vault: Vault, snapshot: Snapshot) -> list[str]:
    """List the tables in the order of their creation, those with a broken document last."""
    created = vault.journal.index.created_order()

    def age(name: str) -> tuple[bool, str, str]:
        try:
            return False, created.get(snapshot.table(name).id, ""), name
        except TableVaultError:
            return True, "", name

    return sorted(snapshot.table_names(), key=age)


# -- tables -------------------------------------------------------------------------------------


def _table(
    reader: Reader,
    snapshot: Snapshot,
    name: str,
    drafts: Mapping[str, Sequence[Draft]],
    tables: int,
) -> Table:
    """Tell of a table."""
    try:
        document = snapshot.table(name)
    except TableVaultError as error:
        return Table(
            name=name,
            description="",
            created_by="",
            created_at="",
            multiple_artifacts=False,
            side_effects=False,
            problem=str(error),
            instances=(),
            more=0,
            drafts=tuple(drafts.get(name, ())),
        )
    every = reader.vault.journal.index.ever(document.id)
    return Table(
        name=name,
        description=document.description,
        created_by=document.created_by,
        created_at=document.created_at,
        multiple_artifacts=document.multiple_artifacts,
        side_effects=document.side_effects,
        problem="",
        instances=tuple(_instances(reader, document.id, every, tables)),
        more=max(0, len(every) - _MOST_LISTED),
        drafts=tuple(drafts.get(name, ())),
    )


def _instances(
    reader: Reader, table_id: TableId, every: Sequence[IndexedInstance], tables: int
) -> list[Instance]:
    """Tell of the instances of a table, newest first; `every` is in the order of their making."""
    made_by = logbook.makings(reader.vault.journal.index.read, table_id)
    before: dict[str, IndexedInstance | None] = {}
    last: dict[str, IndexedInstance] = {}
    current: dict[str, str] = {}
    for each in every:
        before[each.instance_id] = last.get(each.version)
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
        previous = None if each.deleted_at else before[each.instance_id]
        making = None
        is_current = current.get(each.version) == each.instance_id
        if place < detailed:
            making = reader.making(each, previous, with_head=is_current)
        earlier = None if previous is None else made_by.get(previous.instance_id)
        rows_before = None if earlier is None else earlier.rows
        told = _instance(each, made_by.get(each.instance_id), making)
        found.append(replace(told, rows_before=rows_before, current=is_current))
    return found


def _instance(each: IndexedInstance, made: LogEntry | None, making: Making | None) -> Instance:
    """Put together what index, log and document say of an instance by itself."""
    started = None if made is None else made.started
    return Instance(
        instance_id=each.instance_id,
        version=each.version,
        at=each.materialized_at,
        author="" if made is None else made.author,
        operation="" if made is None else made.operation,
        rows=None if made is None else made.rows,
        rows_before=None,
        duration_s=None if made is None or started is None else max(0.0, made.at - started),
        success=each.success,
        active=each.active,
        current=False,
        deleted_at=each.deleted_at,
        deleted_by=each.deleted_by,
        undone=each.withdrawn,
        making=making,
    )


def _drafts(vault: Vault, tables: Sequence[str]) -> dict[str, list[Draft]]:
    """Tell of the temporary instances, by table."""
    found: dict[str, list[Draft]] = {}
    refs = sorted(vault.journal.repository.temp_refs())
    for ref in [each for each in map(temp_of_ref, refs) if each is not None][:_MOST_DRAFTS]:
        if ref.table not in tables:
            continue
        try:
            temp = temp_or_none(vault.journal.repository, ref)
        except TableVaultError:
            continue
        if temp is not None:
            found.setdefault(ref.table, []).append(_draft(vault, temp))
    return found


def _draft(vault: Vault, temp: Temp) -> Draft:
    """Tell of a temporary instance."""
    repository = vault.journal.repository
    commit = repository.commit(temp.tip)
    run = run_of_temp(vault, temp)
    return Draft(
        version=temp.ref.version,
        author=commit.author,
        at=commit.time,
        description=temp.document.description,
        external_edit=temp.document.external_edit,
        builders=tuple(Snapshot(repository, temp.tip).builders(temp.ref.table, temp.ref.version)),
        progress=() if run is None else tuple(run.progress().items()),
    )


# -- lineage, processes -------------------------------------------------------------------------


def _lineage(
    vault: Vault, snapshot: Snapshot, tables: Sequence[Table], *, alone: bool
) -> tuple[dict[str, Node], tuple[Edge, ...]]:
    """Find what came from what; of one table all that is up and down from it."""
    index = vault.journal.index
    ids = {each.instance_id for table in tables for each in table.instances}
    if alone:
        ids = logbook.related(index.read, ids)
    found = [each for each in logbook.sources(index.read, ids) if each.source_id]
    names: dict[str, str] = {}
    for name in snapshot.table_names():
        try:
            names[snapshot.table(name).id] = name
        except TableVaultError:
            continue
    everything = ids | {each.source_id for each in found}
    nodes: dict[str, Node] = {
        each.instance_id: Node(
            instance_id=each.instance_id,
            table=names.get(each.table_id, each.table_name),
            version=each.version,
            at=each.materialized_at,
            success=each.success,
            active=each.active,
            gone=bool(each.deleted_at),
        )
        for each in index.instances_with_ids(everything)
    }
    for each in found:
        if each.source_id not in nodes:
            nodes[each.source_id] = Node(
                instance_id=each.source_id,
                table=each.table_name or "?",
                version=version_of(each.source_id),
                at="",
                success=True,
                active=False,
                gone=True,
            )
    return nodes, tuple(
        Edge(source=each.source_id, target=each.instance_id, kind=each.kind)
        for each in found
        if each.instance_id in nodes
    )


def _unfinished(vault: Vault, table: str) -> list[Unfinished]:
    """Tell of the processes that have not ended, oldest first."""
    found = []
    for process_id, process in processes.active(vault).items():
        given = process["data"]
        arguments = given if isinstance(given, dict) else {}
        about = str(arguments.get("table_name") or "")
        if table and about != table:
            continue
        version = str(arguments.get("version") or "")
        error = process["error"]
        texts = [str(each) for each in error] if isinstance(error, list) else []
        started = process["start_time"]
        found.append(
            Unfinished(
                process_id=process_id,
                operation=str(process["operation"]),
                author=str(process["author"]),
                started=float(started) if isinstance(started, int | float) else 0.0,
                where=f"{about}/{version}" if about and version else about,
                is_running=process["is_running"] is True,
                error=": ".join(filter(None, texts)),
            )
        )
    return found
