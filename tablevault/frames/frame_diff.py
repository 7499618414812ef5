"""Comparison of two dataframe files, cell by cell, one column in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.frames.column_encoding import whole_array
from tablevault.frames.digest import fixed_bytes, plain_array
from tablevault.frames.object_columns import objects_of
from tablevault.frames.parquet import FrameColumns
from tablevault.frames.tagged_json import text_to_compare

Codes: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"
"""A number for each row."""

_CELL_COLUMNS = ("column", "old", "new")


def cell_codes(array: pa.Array | pa.ChunkedArray) -> Codes:
    """Return a number for each cell of a stored column, with both frames to compare in it.

    Nulls are equal to each other and to nothing else. Every NaN is one value, and no null; zero
    with a negative sign is another number than zero (`tablevault.frames.digest`).

    Parameters
    ----------
    array : pyarrow.Array or pyarrow.ChunkedArray
        Of any type.

    Returns
    -------
    array of int64
        The numbers mean nothing beyond this call.
    """
    array = plain_array(array)
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), dtype=np.int64)
    if pa.types.is_struct(kind):
        parts = [cell_codes(part) for part in (array.is_null(), *array.flatten())]
        return _combined(parts, len(array))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        array = _list_bytes(array)
    elif _is_word(kind):
        words = fixed_bytes(array).view(f"<i{kind.bit_width // 8}")[:, 0].astype(np.int64)
        return _apart(words, array)
    encoded: Any = array.dictionary_encode(null_encoding="encode").indices
    return np.asarray(encoded.to_numpy(zero_copy_only=False), dtype=np.int64)


def _apart(codes: Codes, array: pa.Array) -> Codes:
    """Replace the numbers of nulls by one that no value has."""
    if not array.null_count:
        return codes
    null = array.is_null().to_numpy(zero_copy_only=False)
    least = int(codes[~null].min(initial=0))
    if least == np.iinfo(np.int64).min:
        codes, least = np.asarray(pd.factorize(codes)[0], dtype=np.int64), 0
    return np.where(null, np.int64(least - 1), codes)


def _is_word(kind: pa.DataType) -> bool:
    """Return whether a value takes 1 to 8 bytes of a buffer of its own."""
    if pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        return False
    return pa.types.is_primitive(kind) and int(kind.bit_width) in (8, 16, 32, 64)


def _combined(parts: list[Codes], rows: int) -> Codes:
    """Return a number for each combination of numbers."""
    joined = np.zeros(rows, dtype=np.int64)
    for part in parts:
        dense, words = pd.factorize(part)
        joined = np.asarray(
            pd.factorize(joined * np.int64(max(1, len(words))) + dense)[0], dtype=np.int64
        )
    return joined


def _list_bytes(array: pa.ListArray | pa.LargeListArray) -> pa.Array:
    """Return each list as bytes: the numbers of its items."""
    lengths = pc.list_value_length(array).cast(pa.int64()).fill_null(0)
    items = np.ascontiguousarray(cell_codes(array.flatten()))
    ends = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=ends[1:])
    ends *= items.itemsize
    texts = pa.Array.from_buffers(
        pa.large_binary(), len(array), [None, pa.py_buffer(ends), pa.py_buffer(items)]
    )
    return pc.if_else(array.is_valid(), texts, None)


@dataclass(frozen=True)
class FrameDiff:
    """The difference of two frames; rows and cells are read when they are asked for."""

    old: FrameColumns
    new: FrameColumns
    key: tuple[str, ...]
    """Columns that say which row is which; empty when position and content do."""
    columns_added: Mapping[str, str]
    columns_removed: Mapping[str, str]
    columns_changed: Mapping[str, tuple[str, str]]
    """Dtypes before and after of columns whose cells cannot be compared."""
    added_rows: Codes
    """Positions in the new frame."""
    removed_rows: Codes
    """Positions in the old frame."""
    is_reordered: bool
    """Rows that are in both stand in another order."""
    cells: Mapping[str, tuple[Codes, Codes]]
    """By column: rows before and after of the cells that changed."""

    @property
    def is_empty(self) -> bool:
        """Return whether there is no difference."""
        columns = self.columns_added or self.columns_removed or self.columns_changed
        rows = len(self.added_rows) + len(self.removed_rows)
        return not (columns or rows or self.cells or self.is_reordered)

    @property
    def cell_count(self) -> int:
        """Number of cells that changed."""
        return sum(len(rows) for _, rows in self.cells.values())

    @cached_property
    def added(self) -> pd.DataFrame:
        """Rows of the new frame that the old one lacks."""
        return self.new.frame(self.added_rows)

    @cached_property
    def removed(self) -> pd.DataFrame:
        """Rows of the old frame that the new one lacks."""
        return self.old.frame(self.removed_rows)

    @cached_property
    def changed(self) -> pd.DataFrame:
        """Cells that changed, one a row: ``column``, ``old``, ``new``."""
        return self.changed_head(None)

    def changed_head(self, most: int | None) -> pd.DataFrame:
        """Return the first cells that changed, by row and then by column."""
        cells = {name: _first(*rows, most) for name, rows in self.cells.items()}
        names = list(cells)
        rows = _joined([after for _, after in cells.values()])
        numbers = _joined(
            [np.full(len(after), place) for place, (_, after) in enumerate(cells.values())]
        )
        order = np.lexsort((numbers, rows))[:most]
        old, new = (np.empty(len(order), dtype=object) for _ in range(2))
        offset = 0
        for name, (before, after) in cells.items():
            mine = np.flatnonzero((order >= offset) & (order < offset + len(after)))
            wanted = order[mine] - offset
            old[mine] = objects_of(self.old.cells(name, before[wanted]).tolist())
            new[mine] = objects_of(self.new.cells(name, after[wanted]).tolist())
            offset += len(after)
        found = np.array([*names, None], dtype=object)[numbers[order]]
        values = (pd.Series(each, dtype=object) for each in (found, old, new))
        frame = pd.DataFrame(dict(zip(_CELL_COLUMNS, values, strict=True)))
        frame.index = self._index(rows[order])
        return frame

    def _index(self, rows: Codes) -> pd.Index:
        """Return which rows are meant: by key, else by position in the new frame."""
        if not self.key:
            return pd.Index(rows, name="row")
        parts = [self.new.cells(name, rows).reset_index(drop=True) for name in self.key]
        if len(parts) == 1:
            single: pd.Index = pd.Index(parts[0], name=self.key[0])
            return single
        return pd.MultiIndex.from_arrays(parts, names=self.key)


def compare_frames(old: FrameColumns, new: FrameColumns, key: Sequence[str] = ()) -> FrameDiff:
    """Find what is different.

    A row is known by `key`. Where there is none, where a key column is not in both with one
    dtype, and where it is not unique, rows with the same content are the same row; of the others,
    those at the same place between the same neighbours are one row that changed, if a cell of it
    did not.

    Parameters
    ----------
    old, new : FrameColumns
        Before and after.
    key : sequence of str, optional
        Columns whose values are unique.
    """
    both = _shared(new, old)
    kept = [name for name in both if old.dtypes[name] == new.dtypes[name]]
    pairs = _pairs_by_key(old, new, key) if key and set(key) <= set(kept) else None
    used = tuple(key) if pairs is not None else ()
    if pairs is None:
        pairs = _pairs_by_content(old, new, kept)
    (before, after), unsure = pairs.rows, pairs.unsure
    cells: dict[str, tuple[Codes, Codes]] = {}
    same = np.zeros(len(before), dtype=np.int64)
    compared = [name for name in kept if name not in used]
    for name in compared:
        ours, theirs = _codes(old, new, name)
        differs = ours[before] != theirs[after]
        same += ~differs
        if differs.any():
            cells[name] = (np.flatnonzero(differs), np.flatnonzero(differs))
    # Rows that were paired by their place alone, and have nothing in common, are two rows.
    apart = unsure & (same == 0) if len(compared) > 1 else np.zeros(len(before), dtype=np.bool_)
    cells = {
        name: (before[places], after[places])
        for name, (found, _) in cells.items()
        if len(places := found[~apart[found]])
    }
    before, after = before[~apart], after[~apart]
    ordered = after[np.argsort(before, kind="stable")]
    return FrameDiff(
        old=old,
        new=new,
        key=used,
        columns_added={name: kind for name, kind in new.dtypes.items() if name not in old.dtypes},
        columns_removed={name: kind for name, kind in old.dtypes.items() if name not in new.dtypes},
        columns_changed=dict(_changed_columns(old, new, both)),
        added_rows=_others(after, new.rows),
        removed_rows=_others(before, old.rows),
        is_reordered=bool((np.diff(ordered) < 0).any()) or both != _shared(old, new),
        cells=cells,
    )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Which row before is which row after."""

    rows: tuple[Codes, Codes]
    unsure: np.ndarray[Any, np.dtype[np.bool_]]
    """Paired by their place alone."""


def _pairs_by_key(old: FrameColumns, new: FrameColumns, key: Sequence[str]) -> _Pairs | None:
    """Pair rows that have the same key; None when it is not unique."""
    before, after = _row_ids(old, new, key, exactly=True)
    ours, theirs = pd.Index(before), pd.Index(after)
    if not (ours.is_unique and theirs.is_unique):
        return None
    places = ours.get_indexer(theirs).astype(np.int64)
    found = np.flatnonzero(places >= 0)
    return _Pairs((places[found], found), np.zeros(len(found), dtype=np.bool_))


def _pairs_by_content(old: FrameColumns, new: FrameColumns, names: Sequence[str]) -> _Pairs:
    """Pair rows of the same content, and rows in the same place between those."""
    before, after = _row_ids(old, new, names)
    start = _common_start(before, after)
    end = _common_start(before[start:][::-1], after[start:][::-1])
    ours, theirs = (ids[start : len(ids) - end] for ids in (before, after))
    # The same content may be there several times: the first is the first, and so on.
    dense = pd.factorize(np.concatenate([ours, theirs]))[0]
    most = len(dense) + 1
    left, right = _in_both(_within(dense[: len(ours)], most), _within(dense[len(ours) :], most))
    tail = np.arange(end)
    match_old = _joined([np.arange(start), left + start, len(before) - end + tail])
    match_new = _joined([np.arange(start), right + start, len(after) - end + tail])
    gap_old, gap_new = _same_gaps(match_old, match_new, len(before), len(after))
    unsure = np.zeros(len(match_old) + len(gap_old), dtype=np.bool_)
    unsure[len(match_old) :] = True
    return _Pairs((_joined([match_old, gap_old]), _joined([match_new, gap_new])), unsure)


def _same_gaps(left: Codes, right: Codes, old_rows: int, new_rows: int) -> tuple[Codes, Codes]:
    """Pair the rows that have no partner yet and follow the same pair: first with first."""
    partner = np.full(old_rows + 1, -1, dtype=np.int64)
    partner[left] = right
    ours, theirs = _others(left, old_rows), _others(right, new_rows)
    gap_old = partner[_last_before(left, ours)]  # -1 finds the last one, which is -1
    gap_new = _last_before(right, theirs)
    most = new_rows + old_rows + 2
    one, other = _in_both(_within(gap_old, most), _within(gap_new, most))
    return ours[one], theirs[other]


def _in_both(one: Codes, other: Codes) -> tuple[Codes, Codes]:
    """Find where the numbers stand that are in both; none is there twice."""
    _, left, right = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    return left.astype(np.int64), right.astype(np.int64)


def _last_before(matched: Codes, rows: Codes) -> Codes:
    """Return for each of `rows` the last one before it that is matched, -1 when there is none."""
    ordered = np.concatenate([[-1], np.sort(matched)])
    found: Codes = ordered[np.searchsorted(ordered, rows) - 1]
    return found


def _within(gaps: Any, most: int) -> Codes:  # noqa: ANN401 - numbers as numpy and pandas give them
    """Count those that have the same number, from 0, and join both numbers to one."""
    counts = pd.Series(gaps).groupby(gaps, sort=False).cumcount().to_numpy()
    return (np.asarray(gaps, dtype=np.int64) + 1) * most + counts


def _row_ids(
    old: FrameColumns, new: FrameColumns, names: Iterable[str], *, exactly: bool = False
) -> tuple[Codes, Codes]:
    """Return a number for each row, by the content of some columns.

    Two rows of other content have the same number once in 2**64 pairs unless `exactly`; if they
    are paired for that, their cells tell.
    """
    ids = np.zeros(old.rows + new.rows, dtype=np.int64)
    for name in names:
        codes = np.concatenate(_codes(old, new, name))
        ids = _combined([ids, codes], len(ids)) if exactly else _hashed(ids ^ _hashed(codes))
    return ids[: old.rows], ids[old.rows :]


def _hashed(codes: Codes) -> Codes:
    """Spread numbers over all 64 bits, one to one."""
    return pd.util.hash_array(codes).view(np.int64)


def _codes(old: FrameColumns, new: FrameColumns, name: str) -> tuple[Codes, Codes]:
    """Return the numbers of the cells of one column of both frames."""
    if old.rule(name)[:2] == new.rule(name)[:2]:
        one, other = old.column(name), new.column(name)
    else:
        # Objects are stored as what they all are, if they are one kind of thing.
        one, other = (_as_text(frame, name) for frame in (old, new))
    chunks = [whole_array(each) for each in (one, other)]
    codes = cell_codes(pa.chunked_array(chunks, type=chunks[0].type))
    return codes[: old.rows], codes[old.rows :]


def _as_text(frame: FrameColumns, name: str) -> pa.ChunkedArray:
    """Return objects as the text that says what they are."""
    values = frame.cells(name, np.arange(frame.rows))
    # Among objects, None and NaN are two values.
    null = [False] * len(values) if values.dtype == object else values.isna().tolist()
    texts = [
        None if missing else text_to_compare(value, row)
        for row, (value, missing) in enumerate(zip(values.tolist(), null, strict=True))
    ]
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _changed_columns(
    old: FrameColumns, new: FrameColumns, both: Iterable[str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Find the columns that have another dtype, or other categories."""
    for name in both:
        dtypes = old.dtypes[name], new.dtypes[name]
        if dtypes[0] != dtypes[1]:
            yield name, dtypes
        elif dtypes[0] == "category" and old.rule(name) != new.rule(name):
            yield name, (dtypes[0], f"{dtypes[1]}, other categories")


def _shared(one: FrameColumns, other: FrameColumns) -> list[str]:
    """Name the columns that are in both, in the order of one of them."""
    return [name for name in one.names if name in other.dtypes]


def _first(before: Codes, after: Codes, most: int | None) -> tuple[Codes, Codes]:
    """Keep of pairs of rows those that come first afterwards; all when `most` is None."""
    if most is None or len(after) <= most:
        return before, after
    places = np.argpartition(after, most)[:most]
    return before[places], after[places]


def _common_start(one: Codes, other: Codes) -> int:
    """Count how many numbers at the start are the same."""
    most = min(len(one), len(other))
    differs = np.flatnonzero(one[:most] != other[:most])
    return int(differs[0]) if len(differs) else most


def _others(rows: Codes, most: int) -> Codes:
    """List the rows that are not among `rows`."""
    missing = np.ones(most, dtype=np.bool_)
    missing[rows] = False
    return np.flatnonzero(missing)


def _joined(parts: Sequence[Any]) -> Codes:
    """Put arrays of numbers one after the other."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts]).astype(np.int64)
