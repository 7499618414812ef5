"""A dataframe file by its columns: stored as they are, or decoded for the rows that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tablevault.frames.parquet import DAMAGE, decode_stored, opened, unreadable
from tablevault.frames.parquet_metadata import read_facts

_FEW_CELLS = 200_000
_FEW_BYTES = 2 << 20


@dataclass
class FrameColumns:
    """The columns of one file; a column is read anew each time it is asked for.

    A small file is read once: to open it costs more than to hold it.
    """

    path: Path
    rows: int = field(init=False)
    names: tuple[str, ...] = field(init=False)
    _facts: Mapping[str, Any] | None = field(init=False)
    _is_small: bool = field(init=False)
    _held: pa.Table | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Read what stands at the end of the file."""
        with self._open() as file:
            self.rows = file.metadata.num_rows
            self.names = tuple(file.schema_arrow.names)
            self._types = file.schema_arrow.types
            sizes = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
            self._is_small = (
                self.rows * len(self.names) <= _FEW_CELLS
                and sum(size.total_byte_size for size in sizes) <= _FEW_BYTES
            )
            self._facts = read_facts(file.metadata.metadata or {}, list(self.names), self.path)

    @cached_property
    def dtypes(self) -> Mapping[str, str]:
        """Name of the dtype of each column."""
        return {
            name: str(kind if self._facts is None else self._facts[name]["dtype"])
            for name, kind in zip(self.names, self._types, strict=True)
        }

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        """Name of the Arrow type of each column; to look for a name takes long where many are."""
        return dict(zip(self.names, map(str, self._types), strict=True))

    def rule(self, name: str) -> tuple[str, object, object]:
        """Return Arrow type and facts, which say what stored cells mean, and the categories."""
        kind = self._kinds[name]
        facts = dict(self._facts[name]) if self._facts is not None else {}
        words = facts.pop("words", None)
        return kind, facts, words

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column in its stored form."""
        if self._held is None:
            wanted = None if self._is_small else [name]
            with self._open() as file:
                # Threads share columns out between them: for one, they only cost.
                read = file.read(columns=wanted, use_threads=False)
            if not self._is_small:
                return read.column(name)
            self._held = read
        return self._held.column(name)

    def frame(self, places: Sequence[int] | np.ndarray[Any, Any]) -> pd.DataFrame:
        """Read rows; the index, named ``row``, says where they stand."""
        return pd.DataFrame(
            {name: self.cells(name, places) for name in self.names},
            index=pd.Index(np.asarray(places, dtype=np.int64), name="row"),
        )

    def cells(self, name: str, places: Sequence[int] | np.ndarray[Any, Any]) -> pd.Series:
        """Read cells of one column, at index ``row``."""
        taken = self.column(name).take(pa.array(places, pa.int64()))
        index = pd.Index(np.asarray(places, dtype=np.int64), name="row")
        values = decode_stored(taken, self._facts and self._facts[name])
        dtype = object if values.dtype == object else None  # else pandas would guess another
        return pd.Series(values, index=index, name=name, dtype=dtype)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        """Open the file; whatever is wrong with it is one error."""
        try:
            with opened(self.path, page_checksum_verification=True) as file:
                yield file
        except (pa.ArrowException, OSError, *DAMAGE) as problem:
            raise unreadable(self.path, problem) from problem
