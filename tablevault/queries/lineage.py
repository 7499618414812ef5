"""What instances were made from, and what was made from them, also as OpenLineage events."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from tablevault import render
from tablevault.errors import TableVaultError
from tablevault.history.catalog import operation_log
from tablevault.history.catalog.catalog import IndexedInstance
from tablevault.history.commits.documents import InstanceDocument
from tablevault.model.instance import Instance, by_age
from tablevault.model.view import VaultView
from tablevault.names import SELF, BlobId, InstanceId, TableId, is_instance_id, version_of
from tablevault.queries.lineage_drawing import (
    Box,
    Graph,
    branches,
    draw_graph,
    mermaid,
    tree_lines,
    without_circles,
)
from tablevault.queries.log import no_such_instance, table_id_of
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from tablevault.engine.builders.builder import Builder


Event = dict[str, object]
"""An event of https://openlineage.io/spec/2-0-2/OpenLineage.json: for each instance a run with a
START and a final event. A version of a table is a dataset and the job that makes it; the
instance is the version of the dataset."""


_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
_URLS = {
    "schema": f"{_FACETS}/1-0-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "version": f"{_FACETS}/1-0-0/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "columnLineage": f"{_FACETS}/1-0-1/ColumnLineageDatasetFacet.json"
    "#/$defs/ColumnLineageDatasetFacet",
    "outputStatistics": "https://openlineage.io/spec/1-0-1/OutputStatisticsOutputDatasetFacet.json"
    "#/$defs/OutputStatisticsOutputDatasetFacet",
    "documentation": f"{_FACETS}/1-0-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageInstance:
    """An instance as OpenLineage events describe it."""

    node: LineageNode
    document: InstanceDocument | None
    """None when this vault does not know the instance."""
    read: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By column the columns that it was made from: name of the dataset, and of its column."""


@dataclass(frozen=True, slots=True)
class Producer:
    """The producer of events: the vault, and the program."""

    vault_id: str
    program: str

    @property
    def namespace(self) -> str:
        """Namespace of jobs and datasets."""
        return f"tablevault:{self.vault_id}"

    def events(self, made: LineageInstance, inputs: Sequence[LineageInstance]) -> Iterator[Event]:
        """Yield how an instance was made; nothing of one that is not known."""
        document = made.document
        if document is None:
            return
        end = "COMPLETE" if document.success else "ABORT"
        times = (document.started_at or document.materialized_at, document.materialized_at)
        read = [self._dataset(each) for each in inputs]
        for kind, time in zip(("START", end), times, strict=True):
            is_end = kind != "START"
            yield {
                "eventType": kind,
                "eventTime": time,
                "producer": self.program,
                "schemaURL": _SCHEMA,
                "run": {"runId": self._run_id(document.process)},
                "job": self._job(made, document),
                "inputs": read,
                "outputs": [self._output(made, document)] if is_end else [],
            }

    def _run_id(self, process_id: str) -> str:
        """Return the process id if it is a UUID, else one that is made from it."""
        try:
            return str(uuid.UUID(process_id))
        except ValueError:
            return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.namespace}/{process_id}"))

    def _job(self, made: LineageInstance, document: InstanceDocument) -> Event:
        """Describe what makes the instances of a version."""
        job: Event = {"namespace": self.namespace, "name": made.node.dataset}
        if document.description:
            facet = self._facet("documentation", {"description": document.description})
            job["facets"] = {"documentation": facet}
        return job

    def _dataset(self, made: LineageInstance) -> dict[str, Any]:
        """Describe an instance: the dataset, its version, its columns."""
        facets = {"version": self._facet("version", {"datasetVersion": made.node.instance_id})}
        if made.document is not None:
            fields = [{"name": name, "type": dtype} for name, dtype in made.document.dtypes.items()]
            facets["schema"] = self._facet("schema", {"fields": fields})
        return {"namespace": self.namespace, "name": made.node.dataset, "facets": facets}

    def _output(self, made: LineageInstance, document: InstanceDocument) -> Event:
        """Describe the instance that was made."""
        dataset = self._dataset(made)
        if made.read:
            dataset["facets"] |= {"columnLineage": self._columns(made)}
        counted = self._facet("outputStatistics", {"rowCount": document.rows})
        return {**dataset, "outputFacets": {"outputStatistics": counted}}

    def _columns(self, made: LineageInstance) -> Event:
        """Describe what the columns were made from."""
        fields = {
            column: {
                "inputFields": [
                    {"namespace": self.namespace, "name": name, "field": source}
                    for name, source in sources
                ]
            }
            for column, sources in made.read.items()
        }
        return self._facet("columnLineage", {"fields": fields})

    def _facet(self, name: str, content: Event) -> Event:
        """Add to a facet what every facet has."""
        return {"_producer": self.program, "_schemaURL": _URLS[name], **content}


# -- lineage ------------------------------------------------------------------------------------

_PROGRAM = "https://pypi.org/project/tablevault/"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNode:
    """An instance."""

    instance_id: str
    table_name: str
    """Name of the table today, its last one when it was deleted."""
    version: str
    materialized_at: str
    """RFC 3339, UTC; "" when the instance is not in this history."""
    success: bool
    deleted_at: str
    """RFC 3339, UTC; "" when it was not deleted."""

    @property
    def dataset(self) -> str:
        """Name of the dataset, and of the job that makes it."""
        return f"{self.table_name}/{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEdge:
    """One instance was made from another one."""

    source_id: str
    instance_id: str
    kind: str
    """``depends`` when a builder read it, or it was named; ``origin`` when it was copied from."""


@dataclass(frozen=True)
class Lineage:
    """Instances, and which was made from which; there are no circles."""

    roots: tuple[str, ...]
    """Ids of the instances that were asked for, newest first."""
    nodes: tuple[LineageNode, ...]
    """All instances, oldest first."""
    edges: tuple[LineageEdge, ...]
    _producer: Producer = field(repr=False)
    _made: Callable[[str], LineageInstance] = field(repr=False)
    _sources: tuple[tuple[str, str], ...] = field(repr=False)
    """All that nodes were made from, also what is neither up nor down from the roots."""

    def upstream(self, instance_id: str) -> tuple[str, ...]:
        """Return the instances that one was made from directly."""
        return tuple(each.source_id for each in self.edges if each.instance_id == instance_id)

    def downstream(self, instance_id: str) -> tuple[str, ...]:
        """Return the instances that were made from one directly."""
        return tuple(each.instance_id for each in self.edges if each.source_id == instance_id)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each edge.

        Returns
        -------
        pandas.DataFrame
            Columns ``source_table``, ``source_id``, ``table_name``, ``instance_id``, ``kind``, all
            of dtype string.
        """
        import pandas as pd

        tables = {node.instance_id: node.table_name for node in self.nodes}
        columns = {
            "source_table": [tables[each.source_id] for each in self.edges],
            "source_id": [each.source_id for each in self.edges],
            "table_name": [tables[each.instance_id] for each in self.edges],
            "instance_id": [each.instance_id for each in self.edges],
            "kind": [each.kind for each in self.edges],
        }
        return pd.DataFrame(columns, dtype="string")

    def to_mermaid(self) -> str:
        """Write a Mermaid flowchart, as Markdown pages show it."""
        return mermaid(self._graph())

    def to_openlineage(self) -> list[dict[str, object]]:
        """Return each instance as OpenLineage run events, ready for ``json.dumps``.

        Returns
        -------
        list of dict
            A START and a COMPLETE event for each instance, oldest first; ABORT for one that is
            partial. A version of a table is a dataset, an instance the version of it. The facet
            ``columnLineage`` has the columns that references of builders name.
        """
        made = cache(self._made)
        sources: dict[str, dict[str, LineageInstance]] = {}
        for source, instance_id in self._sources:
            sources.setdefault(instance_id, {})[source] = made(source)
        events: list[Event] = []
        for node in self.nodes:
            inputs = sources.get(node.instance_id, {})
            events.extend(self._producer.events(made(node.instance_id), list(inputs.values())))
        return events

    def __str__(self) -> str:
        """Show it as a tree: what each instance was made from, and what was made from it."""
        return "\n".join(tree_lines(self._graph(), self.roots)) or "no instance"

    def __rich__(self) -> Text:
        """Draw it as a tree in a terminal."""
        return render.lines(branches(str(self).splitlines()))

    def _repr_pretty_(self, printer: render.Printer, cycle: bool) -> None:  # noqa: ARG002 - theirs
        """Show it in the terminal of IPython, and where a notebook cannot show HTML."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Draw it in a notebook."""
        return draw_graph(self._graph())

    def _graph(self) -> Graph:
        """Return what is to be drawn."""
        boxes, roots = {}, set(self.roots)
        for node in self.nodes:
            note = "deleted" if node.deleted_at else ""
            if not node.materialized_at:
                note = "not in this history"
            elif not node.success:
                note = f"{note}, partial" if note else "partial"
            boxes[node.instance_id] = Box(
                title=node.table_name or "?",
                name=node.instance_id,
                note=note,
                is_root=node.instance_id in roots,
                is_gone=bool(node.deleted_at) or not node.materialized_at,
            )
        edges = [
            (each.source_id, each.instance_id, "origin" if each.kind == "origin" else "")
            for each in self.edges
        ]
        return Graph(boxes, edges)


def lineage(vault: Vault, table: str, instance_id: str) -> Lineage:
    """Find what is up and down from an instance, or from all instances of a table.

    Raises
    ------
    TVArgumentError
        There never was such a table or instance.
    """
    view = vault.view(with_temps=True)
    roots = _roots(view, table, instance_id)
    ids = operation_log.related(view.catalog.read, roots)
    found = [each for each in operation_log.sources(view.catalog.read, ids) if each.source_id]
    edges = without_circles(
        (each.source_id, each.instance_id, each.kind) for each in found if each.source_id in ids
    )
    everything = ids | {each.source_id for each in found}
    rows = view.catalog.instances_with_ids(everything)
    known = {str(each.instance_id): each for each in view.instances_of(rows)}
    # Columns are looked up when they are asked for.
    view.release()

    def age(each: str) -> tuple[str, str]:
        return by_age(known[each]) if each in known else ("", each)

    # Newest first: ids of instances made within one second come in any order.
    newest = sorted(edges, key=lambda edge: age(edge[1]), reverse=True)
    named = {each.source_id: each.table_name for each in found}
    names = view.table_names
    missing = sorted(everything - known.keys())
    described = {each: missing_node(each, named.get(each, "")) for each in missing}
    described |= {each: node_of(instance, names) for each, instance in known.items()}

    def made(each: str) -> LineageInstance:
        document = _document(known.get(each))
        columns = {} if document is None else columns_read(known[each], known)
        return LineageInstance(
            node=described[each],
            document=document,
            read={
                column: list(dict.fromkeys((name_of(source), name) for source, name in fields))
                for column, fields in columns.items()
            },
        )

    def name_of(source: str) -> str:
        return (described.get(source) or missing_node(source, named.get(source, "?"))).dataset

    return Lineage(
        roots=tuple(roots),
        nodes=tuple(node for each, node in described.items() if each in ids),
        edges=tuple(LineageEdge(source_id=a, instance_id=b, kind=kind) for a, b, kind in newest),
        _producer=Producer(view.snapshot.vault().id, _PROGRAM),
        _made=made,
        _sources=tuple((each.source_id, each.instance_id) for each in found),
    )


def _document(instance: Instance | None) -> InstanceDocument | None:
    """Read the document of an instance; None where it is broken."""
    try:
        return None if instance is None else instance.document
    except TableVaultError:
        return None


def _roots(view: VaultView, table: str, instance_id: str) -> list[str]:
    """Find the instances that are meant, newest first."""
    table_id = table_id_of(view, table)
    if not instance_id:
        return [each.instance_id for each in reversed(view.catalog.instances(table_id))]
    found = view.catalog.instance(instance_id)
    if found is None or found.table_id != table_id:
        raise no_such_instance(table, instance_id)
    return [instance_id]


def node_of(instance: IndexedInstance, names: Mapping[TableId, str]) -> LineageNode:
    """Describe an instance."""
    return LineageNode(
        instance_id=instance.instance_id,
        table_name=names.get(instance.table_id, instance.table_name),
        version=instance.version,
        materialized_at=instance.materialized_at,
        success=instance.success,
        deleted_at=instance.deleted_at,
    )


def missing_node(instance_id: str, table: str) -> LineageNode:
    """Describe an instance of which only the name is known here, as in a shallow clone."""
    return LineageNode(
        instance_id=instance_id,
        table_name=table,
        version=version_of(instance_id),
        materialized_at="",
        success=True,
        deleted_at="",
    )


# -- columns ----------------------------------------------------------------------------------

Field = tuple[InstanceId, str]
"""A column of an instance."""
_Named = tuple[str, str, tuple[str, ...] | None]
"""Table, selector and columns of a reference; all columns when None."""


def columns_read(
    instance: Instance, known: Mapping[str, Instance]
) -> Mapping[str, tuple[Field, ...]]:
    """Return for each column of an instance the columns of others that its builder read for it.

    A column of the same table stands for the columns that it was made from. Left out are columns
    that a function reads by itself, references whose table another reference names, and builders
    that cannot be parsed any more.
    """
    from tablevault.engine.builders.builder import parse_recorded
    from tablevault.engine.references.view import POSITION_NAMES

    document = instance.document
    made: dict[str, tuple[Field, ...]] = {}

    def read(named: _Named) -> Iterable[Field]:
        table, selector, columns = named
        if table == SELF:
            own = made if columns is None else [each for each in columns if each in made]
            return [field for each in own for field in made[each]]
        source = _source(document, table, selector)
        if source is None:
            return ()
        every = _every(known.get(source) or _find(instance, source))
        return [
            (source, each)
            for each in columns or every
            if each in every or each not in POSITION_NAMES
        ]

    for name, blob in document.builders.items():
        try:
            text = instance.snapshot.text_of(BlobId(blob), name)
            builder = parse_recorded(name, text, table=instance.table_name)
        except (TableVaultError, KeyError, ValueError):
            continue
        fields = tuple(
            dict.fromkeys(
                field for each in _named(builder, document.dtypes) for field in read(each)
            )
        )
        made.update(dict.fromkeys(builder.changed_columns or (), fields))
    return {column: fields for column, fields in made.items() if fields}


def _named(builder: Builder, own: Collection[str]) -> list[_Named]:
    """List what a builder reads: its arguments, and what else it depends on."""
    from tablevault.engine.builders.reads import reads_of

    found: list[_Named] = []
    for each in reads_of(builder.arguments, own):
        found.append((SELF, "", each.cells))
        found.extend((whole.table, whole.selector, whole.columns) for whole in each.wholes)
    found.extend((each.table, each.selector, each.columns) for each in builder.dependencies)
    return found


def _source(document: InstanceDocument, table: str, selector: str) -> InstanceId | None:
    """Find the instance that a reference meant then."""
    found = [each for name, each in document.dependencies if name == table]
    if selector:
        part_of: Callable[[str], str] = str if is_instance_id(selector) else version_of
        found = [each for each in found if part_of(each) == selector]
    return found[0] if len(set(found)) == 1 else None


def _find(instance: Instance, source: InstanceId) -> Instance | None:
    """Find an instance that another one read."""
    row = instance.catalog.instance(source)
    return None if row is None else Instance.of(row, instance.parts, instance.catalog)


def _every(instance: Instance | None) -> Collection[str]:
    """Name all columns of an instance; none when it is not known here."""
    document = _document(instance)
    return () if document is None else document.dtypes
