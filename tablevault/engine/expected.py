"""A table as far as a plan knows what an execution would make."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from tablevault.engine.matching import is_artifact
from tablevault.engine.tables import Draft
from tablevault.frames.parquet import read_frame, write_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTable:
    """What is known of the instance that an execution would make.

    Attributes
    ----------
    columns : tuple of str
        All columns, in order.
    known : frozenset of str
        Those of which every cell is known.
    rows : int
        How many rows there will be; as far as anybody can tell where no column is known.
    content : bytes
        The known columns as Parquet: what is read of them is what will be read of the instance.
    digest : str
        Logical digest of the dataframe; "" unless all columns are known.
    """

    columns: tuple[str, ...]
    known: frozenset[str] = frozenset()
    rows: int = 0
    content: bytes = b""
    digest: str = ""

    def knows(self, columns: Collection[str] | None) -> bool:
        """Return whether all that some columns will hold is known; of the whole table when None."""
        wanted = self.columns if columns is None else self.known.union(self.columns) & {*columns}
        return bool(self.known) and self.known.issuperset(wanted)

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Read known columns."""
        return read_frame(io.BytesIO(self.content), columns=columns)


def expected_of(draft: Draft, columns: tuple[str, ...], lacking: Collection[str]) -> ExpectedTable:
    """Describe what a draft holds, some columns of which lack cells.

    Files of artifacts may be others although their names stay: such columns are not known.
    """
    stored = {name: draft.stored(name) for name in columns if name not in lacking}
    known = [name for name, series in stored.items() if not is_artifact(series)]
    if not known:
        return ExpectedTable(columns=columns, rows=draft.rows)
    sink = io.BytesIO()
    file = write_frame(draft.finished(known), sink)
    return ExpectedTable(
        columns=columns,
        known=frozenset(known),
        rows=draft.rows,
        content=sink.getvalue(),
        digest=file.digest if len(known) == len(columns) else "",
    )
