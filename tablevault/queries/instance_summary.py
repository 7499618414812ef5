"""Instance summary: how one instance was made, and what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tablevault.errors import TableVaultError
from tablevault.history.catalog.operation_log import Entry
from tablevault.history.commits.documents import BuilderRun, InstanceDocument
from tablevault.model.instance import Instance
from tablevault.names import BlobId, index_builder
from tablevault.queries.calls import CallSummary, FailedCall, failures, summaries
from tablevault.queries.instance_changes import (
    Allowance,
    FrameHead,
    InstanceChanges,
    instance_changes,
    local_frame_size,
)
from tablevault.vault import Vault

_HEAD_ROWS, _HEAD_COLUMNS = 5, 30
_HEAD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """The text of a builder or of a code module, which many instances may share."""

    id: str
    """Git id of the blob."""
    kind: str
    """``builder`` or ``code``."""
    name: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSummary:
    """What a builder did for an instance."""

    name: str
    is_index: bool
    """It says which rows there are, and always runs."""
    text_id: str
    """Of its `SourceText`, "" when there is none."""
    run: BuilderRun | None
    """None where its execution was not noted."""
    calls: CallSummary | None
    """None where the file of the calls is not here, or has none of this builder."""

    @property
    def reused_from(self) -> list[str]:
        """Instances whose calls the instance holds; the one with the most of them first."""
        found = {} if self.calls is None else self.calls.reused_from
        return sorted(found, key=lambda each: (-found[each], each))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDetails:
    """How an instance was made."""

    document: InstanceDocument
    builders: Sequence[BuilderSummary]
    """In the order in which they ran."""
    failures: Sequence[FailedCall]
    """Calls that failed, whose rows stayed null."""
    changes: InstanceChanges | None
    """None when there is no instance before it, or the document of that one is broken."""
    head: FrameHead | None
    """None when it was not asked for, or the dataframe is not in this vault."""

    @property
    def results(self) -> tuple[int, int] | None:
        """How many results column builders computed and reused, one a row; None when not known.

        An index builder finds the rows there are and always runs, so it does not count.
        """
        runs = [each.run for each in self.builders if each.run is not None and not each.is_index]
        return (sum(r.computed for r in runs), sum(r.reused for r in runs)) if runs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSummary:
    """One materialised instance."""

    instance: Instance
    entry: Entry | None
    """The operation that made it; None where its commit does not say."""
    rows_before: int | None
    """Rows of the instance before it in its version; None when that is not known."""
    is_current: bool
    """Whether readers of its version get it unless they name an instance."""
    details: InstanceDetails | None
    """None for earlier instances, and where the document is broken."""

    @property
    def id(self) -> str:
        """Id of the instance."""
        return self.instance.instance_id

    @property
    def author(self) -> str:
        """Who made it, "" when that is not known."""
        return "" if self.entry is None else self.entry.author

    @property
    def rows(self) -> int | None:
        """Number of rows; None when that is not known."""
        return None if self.entry is None else self.entry.rows

    @property
    def duration_s(self) -> float | None:
        """Seconds from the start of the process, pauses included; None when not known."""
        if self.entry is None or self.entry.started is None:
            return None
        return max(0.0, self.entry.ended - self.entry.started)

    @property
    def results(self) -> tuple[int, int] | None:
        """How many results column builders computed and reused; None when not known."""
        return None if self.details is None else self.details.results


@dataclass(frozen=True, slots=True)
class DetailsReader:
    """Reads how instances were made; each text once, comparisons as far as they are allowed."""

    vault: Vault
    """One that fetches nothing."""
    allowance: Allowance
    texts: dict[str, SourceText] = field(default_factory=dict)
    """What was read, by id."""

    def details(
        self, instance: Instance, before: Instance | None, *, with_head: bool
    ) -> InstanceDetails | None:
        """Read how an instance was made; None when its document is broken."""
        try:
            document = instance.document
        except TableVaultError:
            return None
        for name, blob in document.code.items():
            self._read_text("code", name, blob)
        return InstanceDetails(
            document=document,
            builders=self._builders(instance),
            failures=failures(instance) if document.errors else [],
            changes=None if before is None else self._changes(before, instance),
            head=_head(instance) if with_head else None,
        )

    def _builders(self, instance: Instance) -> list[BuilderSummary]:
        """Return what each builder did."""
        document = instance.document
        for name, blob in document.builders.items():
            self._read_text("builder", name, blob)
        calls = summaries(instance) if document.execution else {}
        return [
            BuilderSummary(
                name=name,
                is_index=name == index_builder(instance.table_name),
                text_id=document.builders.get(name, ""),
                run=document.execution.get(name),
                calls=calls.get(name),
            )
            for name in dict.fromkeys([*document.execution, *document.builders])
        ]

    def _read_text(self, kind: str, name: str, blob: str) -> None:
        """Keep a text, unless a shallow clone lacks it."""
        if blob in self.texts:
            return
        try:
            content = self.vault.repository.read_blob(BlobId(blob))
        except (KeyError, ValueError):
            return
        lines = content.decode("utf-8-sig", "replace").splitlines()
        self.texts[blob] = SourceText(id=blob, kind=kind, name=name, lines=lines)

    def _changes(self, before: Instance, instance: Instance) -> InstanceChanges | None:
        """Compare with the instance before; None when the document of that one is broken."""
        try:
            return instance_changes(before, instance, self.allowance)
        except TableVaultError:
            return None


def _head(instance: Instance) -> FrameHead | None:
    """Read the first rows, if they are here."""
    size = local_frame_size(instance)
    names = list(instance.document.dtypes)[:_HEAD_COLUMNS]
    if size is None or size > _HEAD_BYTES or not names:
        return None
    from tablevault.frames.parquet import read_frame

    try:
        return FrameHead.of(read_frame(instance.frame_file(), columns=names, rows=_HEAD_ROWS))
    except TableVaultError:
        return None
