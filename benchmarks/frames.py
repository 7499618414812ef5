"""A large frame against raw pyarrow: write with sha256 and sync, and read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pairs import Row, from_times, timed

from tablevault import TableVault

ROWS = 1_000_000
AIM = "1.15"


def make_frame(rows: int, seed: int) -> pd.DataFrame:
    """Four whole-number columns, three of floats, three of text; nullable dtypes."""
    random = np.random.default_rng(seed)
    columns: dict[str, object] = {
        f"int{n}": pd.array(random.integers(0, 10**6, rows), dtype="Int64") for n in range(4)
    }
    columns |= {f"float{n}": pd.array(random.random(rows), dtype="Float64") for n in range(3)}
    words = np.array([f"word {n} of a vocabulary" for n in range(50_000)], dtype=object)
    columns |= {
        f"text{n}": pd.array(words[random.integers(0, len(words), rows)], dtype="string")
        for n in range(3)
    }
    return pd.DataFrame(columns)


def raw_write(frame: pd.DataFrame, path: Path) -> None:
    """Write, hash and sync, as an object store has to."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, path, compression="zstd", use_content_defined_chunking=True)
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())


def against_raw(folder: Path, pairs: int) -> list[Row]:
    """Measure write_instance and get_dataframe; each write has new values."""
    vault = TableVault(folder / "vault", "ana", create=True)
    vault.create_table("big")
    ours_write, raw_writes, ours_read, raw_reads = [], [], [], []
    for number in range(max(3, pairs // 5)):
        frame = make_frame(ROWS, number)
        path = folder / "raw.parquet"
        vault.create_instance("big", external_edit=True)
        ours_write.append(timed(lambda _, f=frame: vault.write_instance(f, "big"), 0))
        raw_writes.append(timed(lambda _, f=frame, p=path: raw_write(f, p), 0))
        # Whoever reads first after a write gets its memory from the system, page by page.
        for ours, raw in (([], []), (ours_read, raw_reads), (ours_read, raw_reads)):
            ours.append(timed(lambda _: vault.get_dataframe("big"), 0))
            raw.append(timed(lambda _, p=path: pq.read_table(p).to_pandas(), 0))
    return [
        from_times("write_instance", ours_write[1:], raw_writes[1:], aim=AIM),
        from_times("get_dataframe", ours_read, raw_reads, aim=AIM),
    ]
