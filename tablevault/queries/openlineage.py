"""Instances as events of OpenLineage, for catalogues that collect them.

The form is that of https://openlineage.io/spec/2-0-2/OpenLineage.json: for each instance a run,
with a START and a final event. A version of a table is a dataset and the job that makes it; the
instance is the version of the dataset.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tablevault.history.commits.documents import InstanceDocument

Event = dict[str, object]


def dataset_name(table: str, version: str) -> str:
    """Name the dataset, and the job that makes it."""
    return f"{table}/{version}"


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
class Made:
    """An instance, for those who collect."""

    table: str
    version: str
    instance_id: str
    document: InstanceDocument | None
    """None when this vault does not know the instance."""
    read: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By column the columns that it was made from: name of the dataset, and of its column."""


@dataclass(frozen=True, slots=True)
class Producer:
    """Who tells: the vault, and the program."""

    vault_id: str
    program: str

    @property
    def namespace(self) -> str:
        """Namespace of jobs and datasets."""
        return f"tablevault:{self.vault_id}"

    def events(self, made: Made, inputs: Sequence[Made]) -> Iterator[Event]:
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

    def _job(self, made: Made, document: InstanceDocument) -> Event:
        """Describe what makes the instances of a version."""
        job: Event = {"namespace": self.namespace, "name": dataset_name(made.table, made.version)}
        if document.description:
            facet = self._facet("documentation", {"description": document.description})
            job["facets"] = {"documentation": facet}
        return job

    def _dataset(self, made: Made) -> dict[str, Any]:
        """Describe an instance: the dataset, its version, its columns."""
        facets = {"version": self._facet("version", {"datasetVersion": made.instance_id})}
        if made.document is not None:
            fields = [{"name": name, "type": dtype} for name, dtype in made.document.dtypes.items()]
            facets["schema"] = self._facet("schema", {"fields": fields})
        name = dataset_name(made.table, made.version)
        return {"namespace": self.namespace, "name": name, "facets": facets}

    def _output(self, made: Made, document: InstanceDocument) -> Event:
        """Describe the instance that was made."""
        dataset = self._dataset(made)
        if made.read:
            dataset["facets"] |= {"columnLineage": self._columns(made)}
        counted = self._facet("outputStatistics", {"rowCount": document.rows})
        return {**dataset, "outputFacets": {"outputStatistics": counted}}

    def _columns(self, made: Made) -> Event:
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
        """Sign a facet."""
        return {"_producer": self.program, "_schemaURL": _URLS[name], **content}
