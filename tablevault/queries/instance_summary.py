"""Instance summary: how one instance was made, and what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tablevault.errors import TableVaultError
from tablevault.history.catalog.operation_log import Entry
from tablevault.history.commits.documents import BuilderRun, InstanceDocument
from tablevault.model.instance import Instance
from tablevault.names import BlobId, index_builder
from tablevault.queries.calls import (
    CallSummary,
    FailedCall,
    RowCall,
    calls_of_rows,
    failures,
    read_calls,
    summaries,
)
from tablevault.queries.diff import (
    InstanceDiff,
    artifact_changes,
    document_diff,
    format_cell,
    frame_difference,
    is_null,
    repr_cell,
)
from tablevault.secrets import redact
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.frames.frame_diff import Codes, FrameDiff
    from tablevault.frames.parquet import FrameColumns


RowsState = Literal["same", "compared", "absent", "large", "later", "damaged"]
"""``absent``: a dataframe is not in this vault. ``large``: more than is compared for a report.
``later``: enough others were compared."""

HeadState = Literal["absent", "large", "damaged"]
"""Why a report has no rows of a dataframe, as in `RowsState`."""

Cell = str | None
"""A cell as text, None for a null."""

_MOST_SHOWN = 8
_MOST_CHARACTERS = 2_000
_LEAST_SKIPPED = 100
"""Characters that two texts have in common before the first of them are left out."""
_MOST_COLUMNS_SHOWN = 40
_MOST_COMPARED_LINES = 4_000
_MOST_CELLS = 5_000_000
_MOST_COLUMNS = 500
_MOST_BYTES = 32 << 20


@dataclass(slots=True)
class Allowance:
    """What may still be spent on comparing rows."""

    comparisons: int
    cells: int
    size: int
    """Bytes of files."""

    def spend(self, cells: int, size: int) -> bool:
        """Take one comparison of so many cells and bytes, if there is enough left."""
        if self.comparisons < 1 or cells > self.cells or size > self.size:
            return False
        self.comparisons -= 1
        self.cells -= cells
        self.size -= size
        return True


@dataclass(frozen=True, slots=True)
class FrameHead:
    """The first rows of a dataframe."""

    columns: Sequence[str]
    rows: Sequence[tuple[Cell, ...]]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> FrameHead:
        """Return all rows of a dataframe."""
        nulls = frame.isna().to_numpy().tolist()
        rows = zip(frame.itertuples(index=False, name=None), nulls, strict=True)
        return cls(
            columns=[str(name) for name in frame.columns],
            rows=_without_keys([tuple(map(format_cell, row, null)) for row, null in rows]),
        )


def _without_keys(rows: list[tuple[Cell, ...]]) -> list[tuple[Cell, ...]]:
    """Cut cells to what a report shows at most, and redact what looks like a key."""
    shown = [tuple(cell and cell[:_MOST_CHARACTERS] for cell in row) for row in rows]
    # All at once: a search takes longer to begin than to read some cells.
    text = "\n\n".join(cell for row in shown for cell in row if cell)
    if redact(text) == text:
        return shown
    return [tuple(cell and redact(cell) for cell in row) for row in shown]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChanges:
    """How many rows and cells are not the same, and the first of them."""

    added: int
    removed: int
    cells: int
    is_reordered: bool
    key: tuple[str, ...]
    added_head: FrameHead | None
    """The first of these rows; None when there are none."""
    removed_head: FrameHead | None
    changed_cells: Sequence[tuple[Cell, ...]]
    """Key or position of the row, column, value before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceChanges:
    """The difference of an instance from the one before it in its version."""

    diff: InstanceDiff
    """What the documents say, without rows; an empty text of a builder or of a code module was
    too long to be compared."""
    rows_state: RowsState
    rows: RowChanges | None
    """None unless `rows_state` is ``compared``."""

    @property
    def column_count(self) -> int:
        """How many columns were added, removed or changed."""
        parts = self.diff.columns_added, self.diff.columns_removed, self.diff.columns_changed
        return sum(map(len, parts))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is different, as far as it was compared."""
        return self.rows_state == "same" and not self.column_count and self.diff.is_empty


def instance_changes(before: Instance, after: Instance, allowance: Allowance) -> InstanceChanges:
    """Compare two instances: first what their documents say, then rows if that is allowed.

    Raises
    ------
    TableVaultError
        A document cannot be read.
    """
    state, rows = _rows(before, after, allowance)
    diff = replace(
        document_diff(before, after, _MOST_COMPARED_LINES),
        is_reordered=rows is not None and rows.is_reordered,
        artifacts=_artifact_changes(before, after),
    )
    return InstanceChanges(diff=diff, rows_state=state, rows=rows)


def local_frame_size(instance: Instance) -> int | None:
    """Return the bytes of a dataframe; None when it is not here or its pointer is unreadable."""
    try:
        pointer = instance.frame_pointer
    except TableVaultError:
        return None
    return pointer.size if pointer is not None and instance.has_frame() else None


def _rows(
    before: Instance, after: Instance, allowance: Allowance
) -> tuple[RowsState, RowChanges | None]:
    """Compare the rows, unless the logical hashes say that they are the same."""
    both = (before, before.document), (after, after.document)
    if before.document.digest == after.document.digest != "":
        return "same", None
    sizes = [local_frame_size(each) for each, _ in both]
    size = sum(each or 0 for each in sizes)
    if None in sizes:
        return "absent", None
    cells = sum(document.rows * len(document.dtypes) for _, document in both)
    widest = max(len(document.dtypes) for _, document in both)
    if cells > _MOST_CELLS or widest > _MOST_COLUMNS or size > _MOST_BYTES:
        return "large", None
    if not allowance.spend(cells, size):
        return "later", None
    try:
        frames = frame_difference(before, after)
        return ("same", None) if frames is None else ("compared", _row_changes(frames))
    except TableVaultError:
        return "damaged", None


def _row_changes(frames: FrameDiff) -> RowChanges:
    """Count what is different, and format the first of it."""
    head = frames.changed_head(_MOST_SHOWN)
    changed: list[tuple[Cell, ...]] = [
        (_key(row), str(column), *_both(before, after))
        for row, (column, before, after) in zip(
            head.index.tolist(), head.itertuples(index=False, name=None), strict=True
        )
    ]
    return RowChanges(
        added=len(frames.added_rows),
        removed=len(frames.removed_rows),
        cells=frames.cell_count,
        is_reordered=frames.is_reordered,
        key=tuple(frames.key),
        added_head=_first_rows(frames.new, frames.added_rows),
        removed_head=_first_rows(frames.old, frames.removed_rows),
        changed_cells=tuple(_without_keys(changed)),
    )


def _first_rows(columns: FrameColumns, places: Codes) -> FrameHead | None:
    """Format the first of some rows, as many columns as one can read; None for no rows."""
    if not len(places):
        return None
    return FrameHead.of(columns.frame(places[:_MOST_SHOWN]).iloc[:, :_MOST_COLUMNS_SHOWN])


def _key(row: object) -> str:
    """Format the key of a row, or its position."""
    if isinstance(row, tuple):
        return ", ".join(map(_key, row))
    return row if isinstance(row, str) else repr_cell(row)


def _both(before: object, after: object) -> tuple[Cell, Cell]:
    """Format a cell before and after so that the two look different."""
    one, other = (format_cell(each, is_null(each)) for each in (before, after))
    if one is None or other is None:
        return one, other
    if one.split() == other.split() or not (one and other):  # a page shows no blanks
        one, other = repr_cell(before), repr_cell(after)
    if _common_length(one, other) <= _LEAST_SKIPPED:
        return one, other
    one, other = redact(one), redact(other)  # no key is cut in two
    start = max(0, _common_length(one, other) - _LEAST_SKIPPED // 2)
    return f"…{one[start:]}", f"…{other[start:]}"


def _common_length(one: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _artifact_changes(before: Instance, after: Instance) -> dict[str, str]:
    """Compare artifacts by what is in them; where a document is broken there are none."""
    try:
        return artifact_changes(before, after)
    except TableVaultError:
        return {}


# -- how it was made ----------------------------------------------------------------------------

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
    calls: Sequence[RowCall]
    """Calls that filled the first rows, where these were asked for."""
    changes: InstanceChanges | None
    """None when there is no instance before it, or the document of that one is broken."""
    head: FrameHead | HeadState | None
    """The first rows, or why there are none; None when they were not asked for."""

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
            self.text("code", name, blob)
        is_shown = with_head or document.errors > 0
        file = read_calls(instance, fetch=False) if is_shown else None
        return InstanceDetails(
            document=document,
            builders=self._builders(instance),
            failures=failures(file) if file and document.errors else [],
            calls=calls_of_rows(file, instance.instance_id, _HEAD_ROWS)
            if file and with_head
            else [],
            changes=None if before is None else self._changes(before, instance),
            head=_head(instance) if with_head else None,
        )

    def _builders(self, instance: Instance) -> list[BuilderSummary]:
        """Return what each builder did."""
        document = instance.document
        for name, blob in document.builders.items():
            self.text("builder", name, blob)
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

    def text(self, kind: str, name: str, blob: str) -> SourceText | None:
        """Read and keep a text; None where a shallow clone lacks it."""
        if blob not in self.texts:
            try:
                content = self.vault.repository.read_blob(BlobId(blob))
            except (KeyError, ValueError):
                return None
            lines = redact(content.decode("utf-8-sig", "replace")).splitlines()
            self.texts[blob] = SourceText(id=blob, kind=kind, name=name, lines=lines)
        return self.texts[blob]

    def _changes(self, before: Instance, instance: Instance) -> InstanceChanges | None:
        """Compare with the instance before; None when the document of that one is broken."""
        try:
            return instance_changes(before, instance, self.allowance)
        except TableVaultError:
            return None


def _head(instance: Instance) -> FrameHead | HeadState:
    """Read the first rows, if they are here."""
    size = local_frame_size(instance)
    if size is None:
        return "absent"
    if size > _HEAD_BYTES:
        return "large"
    names = list(instance.document.dtypes)[:_HEAD_COLUMNS]
    if not names:
        return FrameHead(columns=(), rows=())
    from tablevault.frames.parquet import read_frame

    try:
        return FrameHead.of(read_frame(instance.frame_file(), columns=names, rows=_HEAD_ROWS))
    except TableVaultError:
        return "damaged"
