"""What an instance changed against the one before it: bounded, and never fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tablevault.errors import TableVaultError
from tablevault.history.documents import InstanceDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import frame_path
from tablevault.queries.artifacts import artifact_ids
from tablevault.queries.diff import (
    Side,
    artifact_changes,
    blob_text,
    frame_difference,
    shown,
    spelled,
    unified,
)
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.frames.codes import Codes
    from tablevault.frames.columns import FrameColumns
    from tablevault.frames.compare import FrameDiff
    from tablevault.objects.pointer import Pointer

RowsState = Literal["same", "compared", "absent", "large", "later", "damaged"]
"""``absent``: a dataframe is not in this vault. ``large``: more than is compared for a report.
``later``: enough others were compared."""

Cell = str | None
"""A cell as text, None for a null."""

_MOST_SHOWN = 8
_MOST_NAMES = 40
_MOST_LINES = 400
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """A builder or a code module that is not the same."""

    kind: str
    """``builder`` or ``code``."""
    name: str
    lines: tuple[str, ...]
    """A unified diff without the lines that name the files."""
    more: int
    """Lines that are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """How many rows and cells are not the same, and the first of them."""

    added: int
    removed: int
    cells: int
    is_reordered: bool
    key: tuple[str, ...]
    added_rows: tuple[tuple[tuple[str, Cell], ...], ...]
    """Rows as pairs of column and value."""
    removed_rows: tuple[tuple[tuple[str, Cell], ...], ...]
    changed_cells: tuple[tuple[str, str, Cell, Cell], ...]
    """Key or position of the row, column, value before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The difference of an instance from the one before it in its version."""

    before_id: str
    rows_before: int
    columns_added: tuple[tuple[str, str], ...]
    """Name and dtype."""
    columns_removed: tuple[tuple[str, str], ...]
    columns_changed: tuple[tuple[str, str, str], ...]
    """Name, dtype before and after."""
    description: tuple[str, str]
    texts: tuple[TextChange, ...]
    sources_added: tuple[tuple[str, str], ...]
    """Table and instance id."""
    sources_removed: tuple[tuple[str, str], ...]
    artifacts: tuple[tuple[str, str], ...]
    """Name, and ``added``, ``removed`` or ``changed``."""
    more_artifacts: int
    rows_state: RowsState
    rows: RowChange | None
    """None unless ``rows_state`` is ``compared``."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is different, as far as it was compared."""
        columns = self.columns_added or self.columns_removed or self.columns_changed
        rest = self.texts or self.sources_added or self.sources_removed or self.artifacts
        same = self.description[0] == self.description[1]
        return self.rows_state == "same" and same and not (columns or rest)


def change(
    vault: Vault,
    old: IndexedInstance,
    before: InstanceDocument,
    new: IndexedInstance,
    after: InstanceDocument,
    allowance: Allowance,
) -> Change:
    """Compare two instances: what stands in their documents first, rows if that is allowed."""
    files = _artifact_changes(vault, old, new)
    state, rows = _rows(vault, (old, before), (new, after), allowance)
    shared = before.dtypes.keys() & after.dtypes.keys()
    return Change(
        before_id=old.instance_id,
        rows_before=before.rows,
        columns_added=tuple(each for each in after.dtypes.items() if each[0] not in shared),
        columns_removed=tuple(each for each in before.dtypes.items() if each[0] not in shared),
        columns_changed=tuple(
            (name, before.dtypes[name], dtype)
            for name, dtype in after.dtypes.items()
            if name in shared and before.dtypes[name] != dtype
        ),
        description=(before.description, after.description),
        texts=(
            *_texts(vault, "builder", before.builders, after.builders),
            *_texts(vault, "code", before.code, after.code),
        ),
        sources_added=_missing(after, before),
        sources_removed=_missing(before, after),
        artifacts=tuple(files.items())[:_MOST_NAMES],
        more_artifacts=max(0, len(files) - _MOST_NAMES),
        rows_state=state,
        rows=rows,
    )


def frame_pointer(vault: Vault, instance: IndexedInstance) -> Pointer | None:
    """Return the pointer of a dataframe if that is here and may be read; nothing is fetched."""
    try:
        made = Snapshot(vault.journal.repository, instance.commit)
        pointer = made.pointer(frame_path(instance.table_name, instance.version))
    except TableVaultError:
        return None
    return pointer if pointer is not None and vault.store.has(pointer) else None


def _rows(
    vault: Vault, old: Side, new: Side, allowance: Allowance
) -> tuple[RowsState, RowChange | None]:
    """Compare the rows, unless the logical hashes say that they are the same."""
    if old[1].digest == new[1].digest != "":
        return "same", None
    pointers = [frame_pointer(vault, each) for each, _ in (old, new)]
    sizes = [pointer.size for pointer in pointers if pointer is not None]
    if len(sizes) < len(pointers):
        return "absent", None
    cells = sum(each.rows * len(each.dtypes) for _, each in (old, new))
    widest = max(len(each.dtypes) for _, each in (old, new))
    if cells > _MOST_CELLS or widest > _MOST_COLUMNS or sum(sizes) > _MOST_BYTES:
        return "large", None
    if not allowance.spend(cells, sum(sizes)):
        return "later", None
    try:
        frames = frame_difference(vault, old, new)
        return ("same", None) if frames is None else ("compared", _row_change(frames))
    except TableVaultError:
        return "damaged", None


def _row_change(frames: FrameDiff) -> RowChange:
    """Count what is different, and spell the first of it."""
    head = frames.changed_head(_MOST_SHOWN)
    return RowChange(
        added=len(frames.added_rows),
        removed=len(frames.removed_rows),
        cells=frames.cell_count,
        is_reordered=frames.is_reordered,
        key=tuple(frames.key),
        added_rows=_spelled_rows(frames.new, frames.added_rows),
        removed_rows=_spelled_rows(frames.old, frames.removed_rows),
        changed_cells=tuple(
            (_key(row), str(column), *_both(before, after))
            for row, (column, before, after) in zip(
                head.index.tolist(), head.itertuples(index=False, name=None), strict=True
            )
        ),
    )


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


def _spelled_rows(columns: FrameColumns, places: Codes) -> tuple[tuple[tuple[str, Cell], ...], ...]:
    """Format the first of some rows, as many columns as one can look at."""
    if not len(places):
        return ()
    some = columns.frame(places[:_MOST_SHOWN]).iloc[:, :_MOST_NAMES]
    names = [str(name) for name in some.columns]
    return tuple(
        tuple(zip(names, map(shown, row, nulls), strict=True))
        for row, nulls in zip(
            some.itertuples(index=False, name=None), some.isna().to_numpy().tolist(), strict=True
        )
    )


def _texts(
    vault: Vault, kind: str, old: Mapping[str, str], new: Mapping[str, str]
) -> Iterable[TextChange]:
    """Compare the texts that have another id."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    snapshot = vault.snapshot()
    for name in sorted(names):
        sides = [
            {name: blob_text(snapshot, side[name])} if name in side else {} for side in (old, new)
        ]
        if any(text.count("\n") > _MOST_COMPARED_LINES for side in sides for text in side.values()):
            yield TextChange(kind=kind, name=name, lines=(), more=_MOST_COMPARED_LINES)
            continue
        lines = unified(sides[0], sides[1], "{}").get(name, "").splitlines()[2:]
        yield TextChange(
            kind=kind,
            name=name,
            lines=tuple(lines[:_MOST_LINES]),
            more=max(0, len(lines) - _MOST_LINES),
        )


def _artifact_changes(
    vault: Vault, old: IndexedInstance, new: IndexedInstance
) -> Mapping[str, str]:
    """Compare artifacts by what is in them; where a document is broken there are none."""
    try:
        return artifact_changes(artifact_ids(vault, old), artifact_ids(vault, new))
    except TableVaultError:
        return {}


def _missing(one: InstanceDocument, other: InstanceDocument) -> tuple[tuple[str, str], ...]:
    """List what one instance read and the other did not."""
    known = {instance for _, instance in other.dependencies}
    return tuple((table, each) for table, each in one.dependencies if each not in known)[
        :_MOST_NAMES
    ]
