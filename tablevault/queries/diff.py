"""What is different between two instances of a table: rows, columns, builders, code, sources."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from tablevault import render
from tablevault.errors import TVArgumentError
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.commits.snapshot import Snapshot
from tablevault.model.instance import Instance
from tablevault.model.view import Table
from tablevault.names import BlobId, index_builder
from tablevault.queries.dataframe import plain
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from tablevault.frames.frame_diff import FrameDiff

_SHOWN = 10
_READABLE = (str, date, time, timedelta, Decimal)
"""Values that ``str`` formats better than ``repr``; the times of pandas are among them."""


@dataclass(frozen=True)
class InstanceDiff:
    """What changed from one instance to another.

    Rows and cells are read from the files of the instances when they are first asked for.
    """

    table_name: str
    old_id: str
    new_id: str
    columns_added: Mapping[str, str]
    """Name to dtype."""
    columns_removed: Mapping[str, str]
    """Name to dtype."""
    columns_changed: Mapping[str, tuple[str, str]]
    """Name to both dtypes, of columns whose cells are not compared."""
    primary_key: tuple[str, ...]
    """Columns by which rows were compared; empty when it was by position and content."""
    is_reordered: bool
    """Rows or columns that are in both have another order."""
    description: tuple[str, str]
    """Before and after."""
    builders: Mapping[str, str]
    """Name to unified diff, of those that are not the same."""
    code: Mapping[str, str]
    """Module to unified diff, of those that ran and are not the same."""
    dependencies_added: tuple[tuple[str, str], ...]
    """Table and instance id of what the new instance read and the old did not."""
    dependencies_removed: tuple[tuple[str, str], ...]
    artifacts: Mapping[str, str]
    """Name to ``added``, ``removed`` or ``changed``."""
    reasons: Mapping[str, str]
    """Builder to why its function was called for the new instance, such as which argument or which
    code had changed; as its execution noted it, which compared with the instance it began with."""
    _frames: FrameDiff | None = field(repr=False)

    @property
    def added(self) -> pd.DataFrame:
        """Rows that are new, as in the new instance; index ``row`` is their position there."""
        return self._rows(lambda frames: frames.added)

    @property
    def removed(self) -> pd.DataFrame:
        """Rows that are gone, as in the old instance; index ``row`` is their position there."""
        return self._rows(lambda frames: frames.removed)

    @property
    def changed(self) -> pd.DataFrame:
        """Cells that are not the same, one a row, with ``column``, ``old`` and ``new`` (object).

        The index is the primary key; without one ``row``, the position in the new instance.
        """
        return self._rows(lambda frames: frames.changed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is different but ids, times and authors."""
        texts = self.builders or self.code or self.artifacts
        sources = self.dependencies_added or self.dependencies_removed
        same = self.description[0] == self.description[1]
        frames = self._frames is None or self._frames.is_empty
        return frames and same and not (texts or sources)

    def __str__(self) -> str:
        """Show it as lines of text."""
        return "\n".join(
            f"{line.mark:1} {render.visible(line.text)}".rstrip() for line in self._lines()
        )

    def __rich__(self) -> Text:
        """Show it in a terminal, in colours."""
        return render.marked(self._lines())

    def _repr_pretty_(self, printer: render.Printer, cycle: bool) -> None:  # noqa: ARG002 - theirs
        """Show it in the terminal of IPython, and where a notebook cannot show HTML."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return render.marked_html(self._lines())

    def _rows(self, part: Callable[[FrameDiff], pd.DataFrame]) -> pd.DataFrame:
        """Return a part of what is different in the frames, which the caller may change."""
        if self._frames is None:
            import pandas as pd

            return pd.DataFrame()
        return part(self._frames).copy()

    def _lines(self) -> Iterator[render.Marked]:
        """Yield what is different, line by line."""
        yield render.Marked("", f"{self.table_name}: from {self.old_id} to {self.new_id}")
        if self.is_empty:
            yield render.Marked("", "no difference")
            return
        if self.description[0] != self.description[1]:
            yield render.Marked("-", f"description: {self.description[0]}")
            yield render.Marked("+", f"description: {self.description[1]}")
        yield from _changes("column", _columns(self))
        if self._frames is not None:
            yield from _rows_shown(self._frames)
        for name, reason in self.reasons.items():
            yield render.Marked("~", f"made anew by {name}: {reason}")
        for kind, texts in (("builder", self.builders), ("code", self.code)):
            for name, text in texts.items():
                yield render.Marked("~", f"{kind} {name}")
                for line in text.splitlines()[2:]:
                    is_place = line.startswith("@@")
                    yield render.Marked(
                        *(("  ", line) if is_place else (f"  {line[:1]}", line[1:]))
                    )
        sources = [(mark, f"{table}/{instance}") for mark, table, instance in _sources(self)]
        yield from _changes("dependency", sources)
        marks = {"added": "+", "removed": "-", "changed": "~"}
        yield from _changes(
            "artifact", [(marks[how], each) for each, how in self.artifacts.items()]
        )


def diff(vault: Vault, table: str, instance_id: str, other_id: str) -> InstanceDiff:
    """Find what changed from `other_id` to `instance_id`.

    Raises
    ------
    TVArgumentError
        There is no such table or instance, or none of the version before it.
    TVTableError, TVFileError
        A dataframe is not here, or damaged.
    """
    place = vault.view().table(table)
    new = place.instance(instance_id)
    old = place.instance(other_id) if other_id else _before(place, new)
    frames = frame_difference(old, new)
    index = index_builder(new.table_name)
    return replace(
        document_diff(old, new),
        table_name=table,
        columns_changed={} if frames is None else frames.columns_changed,
        primary_key=() if frames is None else frames.key,
        is_reordered=frames is not None and frames.is_reordered,
        artifacts=artifact_changes(old, new),
        # That of the index builder mostly runs in any case.
        reasons={
            name: run.reason
            for name, run in new.document.execution.items()
            if run.computed and name != index
        },
        _frames=frames,
    )


def document_diff(old: Instance, new: Instance, most_lines: float = math.inf) -> InstanceDiff:
    """Compare what documents say of two instances, their builders and their code.

    Parameters
    ----------
    old, new : Instance
        Before and after.
    most_lines : float, default inf
        The difference of a text with more lines is "".
    """
    before, after = old.document, new.document
    files = [each.snapshot.builders(each.table_name, each.version) for each in (old, new)]
    changed = partial(_changed_texts, new.snapshot, most_lines)
    return InstanceDiff(
        table_name=new.table_name,
        old_id=old.instance_id,
        new_id=new.instance_id,
        columns_added=_missing_columns(after, before),
        columns_removed=_missing_columns(before, after),
        columns_changed={
            name: (before.dtypes[name], dtype)
            for name, dtype in after.dtypes.items()
            if before.dtypes.get(name, dtype) != dtype
        },
        primary_key=after.primary_key,
        is_reordered=False,
        description=(before.description, after.description),
        builders=changed("builders/{}.yaml", *files),
        code=changed("code/{}.py", before.code, after.code),
        dependencies_added=_missing_sources(after, before),
        dependencies_removed=_missing_sources(before, after),
        artifacts={},
        reasons={},
        _frames=None,
    )


def _before(table: Table, new: Instance) -> Instance:
    """Find the instance before another one, of the same version."""
    found = new.previous()
    if found is not None:
        return found
    others = [each for each in table.instances() if each.instance_id != new.instance_id]
    hint = "The table has no other one yet."
    if others:
        call = Call(
            "diff",
            table_name=table.name,
            instance_id=new.instance_id,
            other_instance_id=others[-1].instance_id,
        )
        hint = Wording("Name one of another version: ", call, ".")
    raise TVArgumentError(
        f'Instance "{new.instance_id}" is the first of version "{new.version}" of table '
        f'"{table.name}" that there is.',
        hint,
        table=table.name,
        instance=new.instance_id,
    )


def frame_difference(old: Instance, new: Instance) -> FrameDiff | None:
    """Compare the dataframes; None when the logical hash says that they are the same."""
    if old.document.digest == new.document.digest != "":
        return None
    from tablevault.frames.frame_diff import compare_frames
    from tablevault.frames.parquet import FrameColumns

    files = [FrameColumns(each.frame_file()) for each in (old, new)]
    return compare_frames(files[0], files[1], new.document.primary_key)


def _changed_texts(
    snapshot: Snapshot, most_lines: float, path: str, old: Mapping[str, str], new: Mapping[str, str]
) -> dict[str, str]:
    """Compare by name the texts that have another id; "" for one that is too long."""
    found = {}
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        names = [path.format(name) if name in side else "/dev/null" for side in (old, new)]
        one, other = (
            _blob_text(snapshot, side[name]).splitlines() if name in side else []
            for side in (old, new)
        )
        is_long = max(len(one), len(other)) > most_lines
        lines = () if is_long else difflib.unified_diff(one, other, names[0], names[1], lineterm="")
        found[name] = "\n".join(lines)
    return found


def _blob_text(snapshot: Snapshot, blob: str) -> str:
    """Read the text of a builder or module; it may be missing where history was cut."""
    try:
        return snapshot.repository.read_blob(BlobId(blob)).decode("utf-8", "replace")
    except (KeyError, ValueError):
        return f"blob {blob}\n"


def _missing_columns(one: InstanceDocument, other: InstanceDocument) -> dict[str, str]:
    """Return the columns that one instance has and the other has not, with their dtypes."""
    return {name: dtype for name, dtype in one.dtypes.items() if name not in other.dtypes}


def _missing_sources(one: InstanceDocument, other: InstanceDocument) -> tuple[tuple[str, str], ...]:
    """List what one instance read and the other did not."""
    known = {instance for _, instance in other.dependencies}
    return tuple((table, each) for table, each in one.dependencies if each not in known)


def artifact_changes(old: Instance, new: Instance) -> dict[str, str]:
    """Compare artifacts by what is in them."""
    before, after = old.artifacts(), new.artifacts()
    found = {name: "added" for name in after if name not in before}
    found |= {name: "removed" for name in before if name not in after}
    found |= {name: "changed" for name in after if before.get(name, after[name]) != after[name]}
    return dict(sorted(found.items()))


def _columns(diff: InstanceDiff) -> list[tuple[str, str]]:
    """List what is different in the columns."""
    return [
        *(("+", f"{name} ({dtype})") for name, dtype in diff.columns_added.items()),
        *(("-", f"{name} ({dtype})") for name, dtype in diff.columns_removed.items()),
        *(("~", f"{name} ({one} to {two})") for name, (one, two) in diff.columns_changed.items()),
    ]


def _sources(diff: InstanceDiff) -> Iterator[tuple[str, str, str]]:
    """List what is different in what was read."""
    yield from (("+", *each) for each in diff.dependencies_added)
    yield from (("-", *each) for each in diff.dependencies_removed)


def _changes(what: str, changes: list[tuple[str, str]]) -> Iterator[render.Marked]:
    """Show the first changes of one kind."""
    for mark, text in changes[:_SHOWN]:
        yield render.Marked(mark, f"{what} {text}")
    if len(changes) > _SHOWN:
        yield render.Marked("", f"{what}: {len(changes) - _SHOWN:,} more")


def _rows_shown(frames: FrameDiff) -> Iterator[render.Marked]:
    """Show the first rows and cells, and how many there are."""
    counts = (
        f"rows: {len(frames.added_rows):,} added, {len(frames.removed_rows):,} removed; "
        f"cells: {frames.cell_count:,} changed"
    )
    yield render.Marked("", counts + ("; another order" if frames.is_reordered else ""))
    for mark, columns, places in (
        ("-", frames.old, frames.removed_rows),
        ("+", frames.new, frames.added_rows),
    ):
        if len(places):
            shown = columns.frame(places[:_SHOWN])
            for row, values in zip(shown.index, shown.itertuples(index=False), strict=True):
                cells = ", ".join(
                    f"{name}={_in_line(value)}"
                    for name, value in zip(columns.names, values, strict=True)
                )
                yield render.Marked(mark, f"row {row}: {cells}")
    head = frames.changed_head(_SHOWN)
    name = ", ".join(frames.key) or "row"
    for row, (column, old, new) in zip(
        head.index, head.itertuples(index=False, name=None), strict=True
    ):
        before, after = _in_line(old), _in_line(new)
        if before == after:
            before, after = repr_cell(old), repr_cell(new)
        yield render.Marked("~", f"{name} {_in_line(row)}, {column}: {before} to {after}")


def _in_line(value: object) -> str:
    """Format a cell among others: text in quotes."""
    return (
        repr_cell(value) if isinstance(value, str) else format_cell(value, is_null(value)) or "null"
    )


def is_null(value: object) -> bool:
    """Return whether a cell is null; a list of nulls is none."""
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or value != value  # noqa: PLR0124 - NaN


def format_cell(value: object, has_none: object) -> str | None:
    """Format a cell for a person: text as it is, None for a null."""
    if has_none is True:
        return None
    if isinstance(value, _READABLE):
        return str(value)
    shown = None if isinstance(value, float) else plain(value)
    if isinstance(shown, list | dict):
        return json.dumps(shown, ensure_ascii=False)
    return shown if isinstance(shown, str) else repr_cell(value)


def repr_cell(value: object) -> str:
    """Format a cell; a number of numpy as a number."""
    is_number = type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
    return repr(value.item() if is_number else value)  # type: ignore[attr-defined]  # all of them have it
