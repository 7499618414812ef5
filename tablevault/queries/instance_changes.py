"""What an instance changed against the one before it: bounded, and without fetching anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tablevault.errors import TableVaultError
from tablevault.history.commits.snapshot import Snapshot
from tablevault.model.instance import Instance
from tablevault.queries.diff import (
    InstanceDiff,
    artifact_changes,
    blob_text,
    frame_difference,
    missing_sources,
    shown,
    spelled,
    unified,
)

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.frames.cell_codes import Codes
    from tablevault.frames.columns import FrameColumns
    from tablevault.frames.compare import FrameDiff

RowsState = Literal["same", "compared", "absent", "large", "later", "damaged"]
"""``absent``: a dataframe is not in this vault. ``large``: more than is compared for a report.
``later``: enough others were compared."""

Cell = str | None
"""A cell as text, None for a null."""

_MOST_SHOWN = 8
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
            rows=[tuple(map(shown, row, null)) for row, null in rows],
        )


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
    changed_cells: Sequence[tuple[str, str, Cell, Cell]]
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
    old, new = before.document, after.document
    state, rows = _rows(before, after, allowance)
    diff = InstanceDiff(
        table_name=after.table_name,
        old_id=before.instance_id,
        new_id=after.instance_id,
        columns_added={key: new.dtypes[key] for key in new.dtypes if key not in old.dtypes},
        columns_removed={key: old.dtypes[key] for key in old.dtypes if key not in new.dtypes},
        columns_changed={
            name: (old.dtypes[name], dtype)
            for name, dtype in new.dtypes.items()
            if name in old.dtypes and old.dtypes[name] != dtype
        },
        primary_key=new.primary_key,
        is_reordered=rows is not None and rows.is_reordered,
        description=(old.description, new.description),
        builders=_texts(after.snapshot, old.builders, new.builders),
        code=_texts(after.snapshot, old.code, new.code),
        dependencies_added=missing_sources(new, old),
        dependencies_removed=missing_sources(old, new),
        artifacts=_artifact_changes(before, after),
        reasons={},
        _frames=None,
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
    return RowChanges(
        added=len(frames.added_rows),
        removed=len(frames.removed_rows),
        cells=frames.cell_count,
        is_reordered=frames.is_reordered,
        key=tuple(frames.key),
        added_head=_first_rows(frames.new, frames.added_rows),
        removed_head=_first_rows(frames.old, frames.removed_rows),
        changed_cells=tuple(
            (_key(row), str(column), *_both(before, after))
            for row, (column, before, after) in zip(
                head.index.tolist(), head.itertuples(index=False, name=None), strict=True
            )
        ),
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
    return row if isinstance(row, str) else spelled(row)


def _both(before: object, after: object) -> tuple[Cell, Cell]:
    """Format a cell before and after so that the two look different."""
    one, other = (shown(each, _is_null(each)) for each in (before, after))
    return (spelled(before), spelled(after)) if one == other else (one, other)


def _is_null(value: object) -> bool:
    """Return whether a cell is null; a list of nulls is none."""
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or value != value  # noqa: PLR0124 - NaN


def _texts(snapshot: Snapshot, old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Compare by name the texts that have another id; "" for one that is too long."""
    found = {}
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        one, other = (
            {name: blob_text(snapshot, side[name])} if name in side else {} for side in (old, new)
        )
        longest = max(text.count("\n") for side in (one, other) for text in side.values())
        is_long = longest > _MOST_COMPARED_LINES
        found[name] = "" if is_long else unified(one, other, "{}").get(name, "")
    return found


def _artifact_changes(before: Instance, after: Instance) -> dict[str, str]:
    """Compare artifacts by what is in them; where a document is broken there are none."""
    try:
        return artifact_changes(before.artifacts(), after.artifacts())
    except TableVaultError:
        return {}
