"""The file of an instance as an Arrow dataset: scanned in place, never copied into pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tablevault.queries.read import FrameQuery, find_query_instance, frame_file
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pyarrow.dataset


def get_dataset(vault: Vault, query: FrameQuery) -> pyarrow.dataset.Dataset:
    """Open the Parquet file of an instance; its artifacts are the relative names."""
    import pyarrow.dataset

    instance = find_query_instance(vault, query)
    return pyarrow.dataset.dataset(frame_file(vault, instance), format="parquet")
