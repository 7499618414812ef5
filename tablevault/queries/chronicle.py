"""All that a vault can tell of itself at once: tables, their instances, what came from what.

Nothing is fetched and nothing is run. What is told is bounded: the latest of each table in full,
earlier ones in a line, and counts of what is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tablevault.errors import TableVaultError
from tablevault.history import logbook
from tablevault.history.documents import TableDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.logbook import LogEntry
from tablevault.history.snapshot import Snapshot
from tablevault.names import BlobId, TableId, index_builder, version_of
from tablevault.queries import log
from tablevault.queries.change import Allowance
from tablevault.queries.logged import Entry
from tablevault.queries.making import Making, Reader, SourceText
from tablevault.queries.preparation import Attempt, Preparation, preparations, unfinished
from tablevault.queries.resolve import find_table
from tablevault.queries.settings import Settings, settings
from tablevault.vault import Vault

_MOST_TABLES = 300
_MOST_LISTED = 1_000
_MOST_DETAILED, _DETAILED_OF_ALL = 25, 500
_MOST_COMPARED, _COMPARED_OF_ALL = 10, 150
_CELLS_OF_ALL = 30_000_000
_BYTES_OF_ALL = 256 << 20
_MOST_OPERATIONS = 25
_UNREADABLE = TableDocument(
    id=TableId(""),
    description="",
    multiple_artifacts=False,
    side_effects=False,
    created_by="",
    created_at="",
)
_MOST_SETTINGS = 20


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

    @property
    def results(self) -> tuple[int, int] | None:
        """How many results column builders computed and reused; None when not known."""
        return None if self.making is None else self.making.results


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
    preparations: tuple[Preparation, ...]
    settings: tuple[Settings, ...]
    """Of the builders of `latest`, or of a temporary instance where there is no instance yet."""

    @property
    def latest(self) -> Instance | None:
        """What readers get unless they name an instance."""
        return next((each for each in self.instances if each.current), None)

    @property
    def kept(self) -> int:
        """How many instances are not deleted."""
        return sum(not each.deleted_at for each in self.instances) + self.more

    @property
    def states(self) -> tuple[str, ...]:
        """States of what readers get, and of each temporary instance; each state once."""
        latest = self.latest
        found = [] if latest is None else ["current" if latest.success else "partial"]
        found += [each.state for each in self.preparations]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An instance in the lineage, perhaps one that is not here."""

    instance_id: str
    table: str
    version: str
    at: str
    """"" when it is not in this history."""
    success: bool
    current: bool
    """What readers of its version get unless they name an instance."""
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
    unfinished: tuple[Attempt, ...]
    """Processes that have not ended, but for those that `Table.preparations` tell of."""

    @property
    def instance_count(self) -> int:
        """How many instances the tables ever had."""
        return sum(len(table.instances) + table.more for table in self.tables)


def chronicle(vault: Vault, table: str = "") -> Chronicle:
    """Describe a vault, or one table of it.

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
    documents = dict(_documents(snapshot, shown))
    attempts = unfinished(vault)
    ids = {name: each.id for name, each in documents.items() if isinstance(each, TableDocument)}
    temps = preparations(vault, ids, attempts)
    tables = tuple(
        _table(reader, name, document, temps.get(name, []), len(shown))
        for name, document in documents.items()
    )
    shown_elsewhere = [each.attempt for table in temps.values() for each in table]
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
        unfinished=tuple(
            each for each in attempts if table in ("", each.table) and each not in shown_elsewhere
        ),
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


def _documents(
    snapshot: Snapshot, names: Iterable[str]
) -> Iterator[tuple[str, TableDocument | TableVaultError]]:
    """Read the documents of tables; an error stands for one that cannot be read."""
    for name in names:
        try:
            yield name, snapshot.table(name)
        except TableVaultError as error:
            yield name, error


def _table(
    reader: Reader,
    name: str,
    document: TableDocument | TableVaultError,
    temps: Sequence[Preparation],
    tables: int,
) -> Table:
    """Describe a table; `tables` are described in all."""
    problem = ""
    if isinstance(document, TableVaultError):
        problem = str(document)
        document = _UNREADABLE
    every = reader.vault.journal.index.ever(document.id)
    instances = tuple(_instances(reader, document.id, every, tables))
    return Table(
        name=name,
        description=document.description,
        created_by=document.created_by,
        created_at=document.created_at,
        multiple_artifacts=document.multiple_artifacts,
        side_effects=document.side_effects,
        problem=problem,
        instances=instances,
        more=max(0, len(every) - _MOST_LISTED),
        preparations=tuple(temps),
        settings=tuple(_settings(reader, name, instances, temps)),
    )


def _settings(
    reader: Reader, table: str, instances: Sequence[Instance], temps: Sequence[Preparation]
) -> Iterator[Settings]:
    """Return the settings of the builders that count now, the index builder first."""
    latest = next((each for each in instances if each.current), None)
    if latest is not None:
        runs = () if latest.making is None else latest.making.builders
        texts = {run.name: run.text_id for run in runs if run.text_id}
    else:
        texts = dict(next((each.builders for each in temps if each.builders), {}))
    names = sorted(texts, key=lambda name: name != index_builder(table))
    for name in names[:_MOST_SETTINGS]:
        blob = texts[name]
        with contextlib.suppress(KeyError, ValueError):  # a history that lacks a blob
            content = reader.vault.journal.repository.read_blob(BlobId(blob))
            yield settings(name, blob, content.decode("utf-8-sig", "replace"))


def _instances(
    reader: Reader, table_id: TableId, every: Sequence[IndexedInstance], tables: int
) -> list[Instance]:
    """Describe the instances of a table, newest first; `every` has the oldest first."""
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


# -- lineage --------------------------------------------------------------------------------------


def _lineage(
    vault: Vault, snapshot: Snapshot, tables: Sequence[Table], *, alone: bool
) -> tuple[dict[str, Node], tuple[Edge, ...]]:
    """Find what came from what; of one table all that is up and down from it."""
    index = vault.journal.index
    ids = {each.instance_id for table in tables for each in table.instances}
    if alone:
        ids = logbook.related(index.read, ids)
    found = [each for each in logbook.sources(index.read, ids) if each.source_id]
    nodes = _nodes(vault, snapshot, ids | {each.source_id for each in found})
    for each in found:
        if each.source_id not in nodes:
            nodes[each.source_id] = Node(
                instance_id=each.source_id,
                table=each.table_name or "?",
                version=version_of(each.source_id),
                at="",
                success=True,
                current=False,
                gone=True,
            )
    return nodes, tuple(
        Edge(source=each.source_id, target=each.instance_id, kind=each.kind)
        for each in found
        if each.instance_id in nodes
    )


def _nodes(vault: Vault, snapshot: Snapshot, ids: Collection[str]) -> dict[str, Node]:
    """Describe instances by their ids, under the present names of their tables."""
    index = vault.journal.index
    instances = index.instances_with_ids(ids)
    names = {
        document.id: name
        for name, document in _documents(snapshot, snapshot.table_names())
        if isinstance(document, TableDocument)
    }
    latest = (
        index.latest(table_id, version, active=True, successful=False)
        for table_id, version in {(each.table_id, each.version) for each in instances}
    )
    current = {each.instance_id for each in latest if each is not None}
    return {
        each.instance_id: Node(
            instance_id=each.instance_id,
            table=names.get(each.table_id, each.table_name),
            version=each.version,
            at=each.materialized_at,
            success=each.success,
            current=each.instance_id in current,
            gone=bool(each.deleted_at),
        )
        for each in instances
    }
